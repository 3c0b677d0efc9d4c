//! Right, wrong and guessed passwords; unknown accounts.

use crate::world::{BY_CLIENT, BY_CODE, BY_PASSWORD, USER, World, config};
use oauth::authenticator::Denial;

fn keep_tokens(options: &str) -> String {
    format!(
        "{}[emailproxy]\ndelete_account_token_on_password_error = False\n",
        config(options)
    )
}

/// The tokens of a first login by code.
fn consented(config: &str) -> World {
    let world = World::new(config);
    let login = world.start("right");
    world.user.consent();
    assert!(login.join().expect("no panic").is_ok());
    world
}

#[test]
fn an_empty_password_is_refused() {
    let world = World::new(&config(BY_CLIENT));
    assert!(world.denied("").contains("no password"));
    assert_eq!(world.provider.requests(), 0);
}

#[test]
fn a_wrong_password_is_refused_where_tokens_are_to_be_kept() {
    let world = consented(&keep_tokens(BY_CODE));
    let before = world.store.log();
    let text = world.denied("wrong");
    assert!(
        text.contains("wrong password") && text.contains(USER),
        "{text}"
    );
    assert!(world.user.was_left_alone());
    assert_eq!(world.store.log(), before);
    assert_eq!(world.token("right"), "access-1");
}

#[test]
fn a_wrong_password_asks_afresh_and_costs_nothing_until_then() {
    let world = consented(&config(BY_CODE));
    let login = world.start("other");
    let question = world.user.question();
    assert!(question.request.who.password_differs);
    // the old password goes on working while the question is open
    assert_eq!(world.token("right"), "access-1");
    question.redirect("error=access_denied");
    assert!(login.join().expect("no panic").is_err());
    assert_eq!(world.token("right"), "access-1");
    // once the authorisation succeeds, the tokens are those of the new password
    let login = world.start("other");
    world.user.consent();
    assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-2"));
    assert_eq!(world.token("other"), "access-2");
}

#[test]
fn flows_without_a_user_never_start_afresh_on_a_wrong_password() {
    let world = World::new(&config(BY_CLIENT));
    assert_eq!(world.token("right"), "access-1");
    assert!(world.denied("wrong").contains("wrong password"));
    assert_eq!(world.provider.requests(), 1);
    let world = world.restart(&config(BY_CLIENT));
    assert!(world.denied("wrong").contains("wrong password"));
    assert_eq!(world.token("right"), "access-1");
    assert_eq!(world.provider.requests(), 0);
}

#[test]
fn a_changed_mailbox_password_is_tried_at_the_provider() {
    let world = World::new(&config(BY_PASSWORD));
    assert_eq!(world.token("old"), "access-1");
    world.provider.answer(
        400,
        r#"{"error":"invalid_grant","error_description":"AADSTS50126: no"}"#,
    );
    let text = world.denied("typo");
    assert!(
        text.contains("does not accept this login name and password"),
        "{text}"
    );
    assert_eq!(world.token("old"), "access-1");
    assert_eq!(world.token("new"), "access-3");
    assert_eq!(world.provider.last().value("password"), Some("new"));
}

#[test]
fn strangers_cannot_tell_an_unknown_account_from_a_wrong_password() {
    let world = consented(&keep_tokens(BY_CODE));
    let at = |user: &str| match world.login_from(user, "guess", "192.0.2.1") {
        Err(Denial::Denied(text)) => text,
        other => panic!("{:?}", other.err()),
    };
    let (known, unknown) = (at(USER), at("nobody@example.com"));
    assert_eq!(
        known.replace(USER, "X"),
        unknown.replace("nobody@example.com", "X")
    );
    // at the computer itself they are told apart
    let text = world
        .login_from("nobody@example.com", "guess", "127.0.0.1")
        .err();
    assert!(matches!(text, Some(Denial::Denied(text)) if text.contains("add a section")));
}

#[test]
fn login_names_cannot_break_the_line() {
    let world = World::new(&config(BY_CLIENT));
    let denial = world
        .login_from("a\r\nb\0@example.com", "pw", "127.0.0.1")
        .err();
    let Some(Denial::Denied(text)) = denial else {
        panic!("{denial:?}")
    };
    assert!(!text.contains(['\r', '\n', '\0']), "{text:?}");
}

#[test]
fn guesses_are_braked_and_right_passwords_are_not() {
    let world = World::new(&config(BY_CLIENT));
    assert!(world.login_from(USER, "right", "192.0.2.1").is_ok());
    for guess in 0..8 {
        let denial = world
            .login_from(USER, &format!("guess {guess}"), "192.0.2.1")
            .err();
        assert!(matches!(denial, Some(Denial::Denied(_))), "{denial:?}");
    }
    assert_eq!(world.clock.slept(), [1, 2, 4]);
    assert!(world.login_from(USER, "right", "192.0.2.1").is_ok());
    assert!(
        world
            .login_from("nobody@example.com", "x", "192.0.2.1")
            .is_err()
    );
    assert_eq!(world.clock.slept(), [1, 2, 4, 8]);
    assert!(world.login_from(USER, "guess", "192.0.2.2").is_err());
    assert_eq!(world.clock.slept().len(), 4);
}

#[test]
fn guesses_that_the_provider_checks_are_braked_and_hold_up_nobody() {
    for options in [
        config(BY_PASSWORD),
        format!(
            "{}[emailproxy]\nuse_login_password_as_client_credentials_secret = True\n",
            config("oauth2_flow = client_credentials")
        ),
    ] {
        let world = World::new(&options);
        for guess in 0..7 {
            world.provider.answer(401, r#"{"error":"invalid_client"}"#);
            let denial = world
                .login_from(USER, &format!("guess {guess}"), "192.0.2.1")
                .err();
            assert!(matches!(denial, Some(Denial::Denied(_))), "{denial:?}");
        }
        assert_eq!(world.clock.slept(), [1, 2]);
        assert!(world.login_from(USER, "right", "192.0.2.2").is_ok());
        assert_eq!(world.clock.slept(), [1, 2]);
    }
}

#[test]
fn logins_that_can_guess_nothing_are_not_braked() {
    let section = |name: &str, options: &str| {
        format!(
            "[{name}@example.com]\ntoken_url = https://provider.example/token\nclient_id = id\n\
             oauth2_scope = mail\n{options}\n"
        )
    };
    let sections = section("client", BY_CLIENT)
        + &section("code", BY_CODE)
        + &section(
            "device",
            "permission_url = https://provider.example/device\noauth2_flow = device",
        );
    let world = World::new(&format!("{}{sections}", config(BY_CLIENT)));
    world.token("right");
    for guess in 0..12 {
        assert!(world.login(&format!("guess {guess}")).is_err());
    }
    let slept = world.clock.slept();
    assert!(slept.last().is_some_and(|last| *last == 16), "{slept:?}");
    assert!(
        world
            .login_from("client@example.com", "pw", "127.0.0.1")
            .is_ok()
    );
    let login = world.start_as("code@example.com", "pw");
    world.user.consent();
    assert!(login.join().expect("no panic").is_ok());
    assert_eq!(
        world.clock.slept()[slept.len()..],
        [600],
        "the user's time only"
    );
    world.provider.answer(
        200,
        r#"{"device_code":"d","user_code":"A","verification_uri":"https://p.example"}"#,
    );
    assert!(
        world
            .login_from("device@example.com", "pw", "127.0.0.1")
            .is_ok()
    );
    assert_eq!(world.clock.slept()[slept.len()..], [600, 5], "the interval");
    // what they have saved now can be guessed at
    assert!(
        world
            .login_from("client@example.com", "guess", "127.0.0.1")
            .is_err()
    );
    assert_eq!(world.clock.slept()[slept.len()..], [600, 5, 16]);
    assert!(
        world
            .login_from("nobody@example.com", "pw", "127.0.0.1")
            .is_err()
    );
    assert_eq!(world.clock.slept()[slept.len()..], [600, 5, 16, 16]);
}
