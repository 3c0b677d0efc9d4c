//! How accounts stand, what is counted, and authorising from the command line.

use crate::world::{BY_CLIENT, BY_CODE, START, USER, World, config};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_lite::future::block_on;
use oauth::{
    authenticator::{AccountOverview, Authorised, Consents, Denial, Standing},
    consent::Granted,
};
use proxy_proto::Secret;
use std::{
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

impl World {
    fn overviews(&self) -> Vec<AccountOverview> {
        block_on(self.authenticator.accounts())
    }

    fn overview(&self) -> AccountOverview {
        let mut overviews = self.overviews();
        assert_eq!(overviews.len(), 1, "{overviews:?}");
        overviews.remove(0)
    }

    fn consents(&self) -> Consents {
        self.authenticator.counts().consents
    }

    /// `authorise` in another thread.
    fn authorise(&self, password: &str, fresh: bool) -> JoinHandle<Result<Authorised, Denial>> {
        let (authenticator, password) = (self.authenticator.clone(), Secret::new(password));
        thread::spawn(move || block_on(authenticator.authorise(USER, password, fresh)))
    }
}

#[test]
fn an_account_is_shown_from_its_first_login_to_its_last_session() {
    let world = World::new(&config(BY_CODE));
    let before = world.overview();
    assert_eq!(
        (&*before.heading, before.state),
        (USER, Standing::Unauthorised)
    );
    assert_eq!((before.last_used, before.password_set), (None, false));

    let login = world.start("pw");
    let question = world.user.question();
    assert_eq!(world.overview().state, Standing::Waiting);
    assert_eq!((world.consents().asked, world.consents().granted), (1, 0));
    question.redirect("code=c");
    assert!(login.join().expect("no panic").is_ok());
    let after = world.overview();
    let authorised = Standing::Authorised {
        expires: Some(at(START + 3600)),
        refreshable: true,
    };
    assert_eq!((after.state, after.password_set), (authorised, true));
    assert_eq!((after.last_used, after.last_error), (Some(at(START)), None));
    assert_eq!((world.consents().asked, world.consents().granted), (1, 1));
    let requests = world.authenticator.counts().token_requests;
    assert_eq!((requests.granted, requests.time.count), (1, 1));

    world.clock.advance(100);
    let session = world.authenticator.session_opened(USER);
    let open = world.overview();
    assert_eq!(
        (open.open_sessions, open.last_used),
        (1, Some(at(START + 100)))
    );
    drop(session);
    assert_eq!(world.overview().open_sessions, 0);
    // another process knows what is saved
    let restarted = world.restart(&config(BY_CODE)).overview();
    assert_eq!(restarted.last_used, Some(at(START)));
}

#[test]
fn the_last_error_stays_until_the_next_success() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    world.user.question().redirect("error=access_denied");
    let Err(Denial::Denied(text)) = login.join().expect("no panic") else {
        panic!("not denied")
    };
    let overview = world.overview();
    assert_eq!(overview.last_error, Some((at(START), text)));
    let login = world.start("pw");
    world.user.question().dismiss();
    let denial = login.join().expect("no panic");
    assert!(matches!(denial, Err(Denial::Denied(text)) if text.contains("dismissed")));
    let login = world.start("pw");
    world.user.question().fail("port 80 is taken");
    assert!(login.join().expect("no panic").is_err());
    let login = world.start("pw");
    world.user.consent();
    assert!(login.join().expect("no panic").is_ok());
    assert_eq!(world.overview().last_error, None);
    let consents = world.consents();
    assert_eq!(
        (
            consents.asked,
            consents.granted,
            consents.denied,
            consents.failed
        ),
        (4, 1, 2, 1)
    );
}

#[test]
fn accounts_of_catch_alls_are_shown_once_something_is_known_of_them() {
    let catch_all = config(BY_CODE).replace(&format!("[{USER}]"), "[@example.com]")
        + "[emailproxy]\nallow_catch_all_accounts = True\n";
    let world = World::new(&catch_all);
    assert!(world.overviews().is_empty());
    let login = world.start("pw");
    let question = world.user.question();
    assert_eq!(world.overview().state, Standing::Waiting);
    question.redirect("code=c");
    assert!(login.join().expect("no panic").is_ok());
    assert_eq!(&*world.overview().heading, USER);
    assert_eq!(&*world.restart(&catch_all).overview().heading, USER);
}

#[test]
fn failures_of_the_store_are_counted() {
    let world = World::new(&config(BY_CLIENT));
    world.store.set_broken(true);
    world.token("pw");
    assert!(world.authenticator.counts().store_errors >= 1);
}

#[test]
fn the_command_line_takes_what_is_saved_or_asks_afresh() {
    let world = World::new(&config(BY_CODE));
    let first = world.authorise("pw", false);
    let question = world.user.question();
    assert_eq!(question.request.who.client, None);
    question.redirect("code=c");
    let authorised = first.join().expect("no panic").expect("authorised");
    assert_eq!((&*authorised.heading, authorised.refreshable), (USER, true));
    assert_eq!(authorised.expires, Some(at(START + 3600)));

    assert!(
        world
            .authorise("pw", false)
            .join()
            .expect("no panic")
            .is_ok()
    );
    assert!(world.user.was_left_alone());
    assert_eq!(world.provider.requests(), 1);

    let fresh = world.authorise("pw", true);
    world.user.question().redirect("error=access_denied");
    assert!(fresh.join().expect("no panic").is_err());
    assert_eq!(world.token("pw"), "access-1", "it keeps what it had");
    let fresh = world.authorise("pw", true);
    world.user.consent();
    assert!(fresh.join().expect("no panic").is_ok());
    assert_eq!(world.token("pw"), "access-2");
}

#[test]
fn a_surface_is_told_when_the_provider_names_somebody_else() {
    let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"email":"Other@Example.com","sub":"7"}"#);
    let body = format!(r#"{{"access_token":"a","refresh_token":"r","id_token":"e30.{claims}."}}"#);
    for (options, other) in [
        ("", Some("Other@Example.com")),
        ("\nsasl_user_smtp = other@example.com", None),
    ] {
        let world = World::new(&config(&format!("{BY_CODE}{options}")));
        world.provider.answer(200, &body);
        let login = world.start("pw");
        let told = world.user.question().redirect("code=c");
        assert!(login.join().expect("no panic").is_ok());
        let granted = Granted {
            other_person: other.map(str::to_owned),
        };
        assert_eq!(told.recv_blocking(), Ok(Ok(granted)));
    }
}
