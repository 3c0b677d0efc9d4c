//! What is logged, at every level.

use crate::world::{BY_CODE, BY_PASSWORD, USER, World, config};
use std::{
    fmt::{Debug, Write},
    sync::Mutex,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

static LINES: Mutex<String> = Mutex::new(String::new());

/// Keeps every event of the whole process.
struct Keep;

impl Subscriber for Keep {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut Line);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Line);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Line);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line;

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut lines = LINES.lock().expect("no panic while writing");
        writeln!(lines, "{field}={value:?}").expect("memory");
    }
}

#[test]
fn the_log_names_accounts_and_no_secret() {
    tracing::subscriber::set_global_default(Keep).expect("the only one");
    let secrets = [
        "l0g-client",
        "l0g-password",
        "l0g-wrong",
        "l0g-access",
        "l0g-refresh",
        "l0g-code",
    ];
    let unsecret = |text: &str| {
        text.replace("cl1ent", "l0g-client")
            .replace(USER, "log@example.com")
    };
    let login = |world: &World, password: &str| {
        world
            .login_from("log@example.com", password, "127.0.0.1")
            .map(|_| ())
    };
    let answer = r#"{"access_token":"l0g-access","refresh_token":"l0g-refresh"}"#;
    let repeat = format!(
        r#"{{"error":"invalid_grant","error_description":"{}"}}"#,
        secrets.join(" ")
    );
    let world = World::new(&unsecret(&config(BY_PASSWORD)));
    world.provider.answer(200, answer);
    login(&world, "l0g-password").expect("a token");
    world.clock.advance(3600);
    world.provider.fail("a time-out");
    login(&world, "l0g-password").expect_err("no answer");
    world.provider.answer(
        400,
        &repeat
            .replace("l0g-password l0g-wrong l0g-access", "")
            .replace("l0g-code", ""),
    );
    world.provider.answer(
        400,
        &repeat.replace("l0g-wrong l0g-access l0g-refresh l0g-code", ""),
    );
    login(&world, "l0g-password").expect_err("refused");
    let keep = format!(
        "{}[emailproxy]\ndelete_account_token_on_password_error = False\n",
        unsecret(&config(BY_CODE))
    );
    let world = world.restart(&keep);
    login(&world, "l0g-wrong").expect_err("wrong");
    let world = World::new(&unsecret(&config(BY_CODE)));
    let attempt = std::thread::spawn({
        let (authenticator, mut attempt) = (
            world.authenticator.clone(),
            crate::world::attempt("log@example.com", "l0g-password"),
        );
        attempt.rejected = None;
        move || futures_lite::future::block_on(authenticator.token(attempt)).map(|_| ())
    });
    world.provider.answer(200, answer);
    let question = world.user.question();
    let state = question.request.state.expose().to_owned();
    question.redirect("code=l0g-code");
    attempt.join().expect("no panic").expect("a token");

    let lines = LINES.lock().expect("no panic while writing").clone();
    for expected in [
        "log@example.com",
        "new access token, good for 3600 seconds",
        "wrong password",
        "***",
    ] {
        assert!(lines.contains(expected), "{expected} is not in the log");
    }
    for secret in secrets.iter().copied().chain([state.as_str()]) {
        let line = lines.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}
