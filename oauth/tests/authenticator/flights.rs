//! One request at a time, for the right logins.

use crate::world::{BY_CLIENT, BY_CODE, BY_PASSWORD, USER, World, attempt, config, settings};
use futures_lite::future::{block_on, poll_once};
use oauth::authenticator::Denial;

#[test]
fn fifty_first_logins_make_one_request() {
    let world = World::new(&config(BY_CLIENT));
    world.provider.hold();
    let logins: Vec<_> = (0..50).map(|_| world.start("pw")).collect();
    world.provider.wait_for(1);
    world.provider.release();
    for login in logins {
        assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-1"));
    }
    assert_eq!(world.provider.requests(), 1);
    assert_eq!(world.store.saves(), 1);
}

#[test]
fn fifty_first_logins_ask_the_user_once() {
    let world = World::new(&config(BY_CODE));
    let logins: Vec<_> = (0..50).map(|_| world.start("pw")).collect();
    world.user.consent();
    for login in logins {
        assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-1"));
    }
    assert!(world.user.was_left_alone());
}

#[test]
fn another_password_does_not_share_a_consent() {
    let world = World::new(&config(BY_CODE));
    let first = world.start("mine");
    let question = world.user.question();
    let text = world.temporary("theirs");
    assert!(
        text.contains("another password") && text.contains(USER),
        "{text}"
    );
    question.redirect("code=c");
    assert_eq!(first.join().expect("no panic").as_deref(), Ok("access-1"));
    assert!(world.user.was_left_alone());
}

#[test]
fn another_password_does_not_share_a_token_that_needs_no_user() {
    let world = World::new(&config(BY_CLIENT));
    world.provider.hold();
    let first = world.start("mine");
    world.provider.wait_for(1);
    let second = world.start("theirs");
    world.provider.release();
    assert_eq!(first.join().expect("no panic").as_deref(), Ok("access-1"));
    let denial = second.join().expect("no panic").expect_err("not theirs");
    assert!(matches!(denial, Denial::Denied(_)), "{denial:?}");
    assert_eq!(world.provider.requests(), 1);
}

#[test]
fn a_refresh_is_shared_by_those_whose_password_opens_the_token() {
    let world = World::new(&config(BY_CLIENT));
    world.token("right");
    world.clock.advance(3600);
    world.provider.hold();
    let logins: Vec<_> = (0..10).map(|_| world.start("right")).collect();
    world.provider.wait_for(2);
    assert!(world.denied("wrong").contains("wrong password"));
    world.provider.release();
    for login in logins {
        assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-2"));
    }
    assert_eq!(world.provider.requests(), 2);
    assert_eq!(
        world.provider.last().value("refresh_token"),
        Some("refresh-1")
    );
}

#[test]
fn a_wrong_password_waits_for_the_refresh_before_it_asks_afresh() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("right");
    world.user.consent();
    login.join().expect("no panic").expect("a token");
    world.clock.advance(3600);
    world.provider.hold();
    let right = world.start("right");
    world.provider.wait_for(2);
    let wrong = world.start("wrong");
    world.provider.release();
    assert_eq!(right.join().expect("no panic").as_deref(), Ok("access-2"));
    let question = world.user.question();
    assert!(question.request.who.password_differs);
    question.redirect("error=access_denied");
    assert!(wrong.join().expect("no panic").is_err());
}

#[test]
fn a_refresh_is_not_kept_waiting_by_anothers_consent() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("right");
    world.user.consent();
    login.join().expect("no panic").expect("a token");
    let wrong = world.start("wrong");
    let question = world.user.question();
    world.clock.advance(500);
    world.store.edit(USER, |saved| {
        saved.access_token_expiry = Some("0".to_owned())
    });
    assert_eq!(world.token("right"), "access-2");
    question.redirect("error=access_denied");
    assert!(wrong.join().expect("no panic").is_err());
}

#[test]
fn accounts_do_not_wait_for_each_other() {
    let text = format!(
        "{}[other@example.com]\ntoken_url = https://provider.example/token\nclient_id = id\n\
         oauth2_scope = mail\n{BY_PASSWORD}\n",
        config(BY_CODE)
    );
    let world = World::new(&text);
    let waiting = world.start("pw");
    let question = world.user.question();
    assert!(
        world
            .login_from("other@example.com", "pw", "127.0.0.1")
            .is_ok()
    );
    question.redirect("code=c");
    assert!(waiting.join().expect("no panic").is_ok());
}

#[test]
fn a_consent_outlives_the_login_that_began_it() {
    let world = World::new(&config(BY_CODE));
    let mut login = Box::pin(world.authenticator.token(attempt(USER, "pw")));
    let question = block_on(async {
        // until the flight is under way
        while poll_once(&mut login).await.is_none() && world.user.was_left_alone() {
            futures_lite::future::yield_now().await;
        }
        world.user.question()
    });
    drop(login);
    let told = question.redirect("code=c");
    assert_eq!(
        told.recv_blocking(),
        Ok(Ok(oauth::consent::Granted::default()))
    );
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.provider.requests(), 1);
}

#[test]
fn a_result_under_changed_settings_is_dropped() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    let question = world.user.question();
    let changed = config(BY_CODE).replace("oauth2_scope = mail", "oauth2_scope = mail more");
    world.authenticator.reload(settings(&changed));
    // a login under the new settings has its own question, whatever is still open
    let second = world.start("pw");
    let second_question = world.user.question();
    assert!((second_question.request.url)("x").contains("mail%20more"));
    let told = question.redirect("code=c");
    let denial = login.join().expect("no panic").expect_err("dropped");
    assert!(matches!(denial, Denial::Temporary(text) if text.contains("settings")));
    assert!(told.recv_blocking().expect("an outcome").is_err());
    assert_eq!(world.store.saves(), 0);
    second_question.redirect("code=c");
    assert_eq!(second.join().expect("no panic").as_deref(), Ok("access-2"));
}

#[test]
fn a_removed_account_gets_nothing() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    let question = world.user.question();
    world
        .authenticator
        .reload(settings(&config(BY_CODE).replace(USER, "else@example.com")));
    question.redirect("code=c");
    assert!(login.join().expect("no panic").is_err());
    assert_eq!(world.store.saves(), 0);
}

#[test]
fn an_unrelated_reload_drops_nothing() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    let question = world.user.question();
    let more = format!("{}[emailproxy]\nmax_sessions = 7\n", config(BY_CODE));
    world.authenticator.reload(settings(&more));
    question.redirect("code=c");
    assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-1"));
}

#[test]
fn a_refresh_does_not_overwrite_what_a_consent_has_saved_meanwhile() {
    for _ in 0..10 {
        let world = World::new(&config(BY_CODE));
        let login = world.start("old");
        world.user.consent();
        login.join().expect("no panic").expect("a token");
        let other = world.start("new");
        let question = world.user.question();
        world.store.edit(USER, |saved| {
            saved.access_token_expiry = Some("0".to_owned())
        });
        world.provider.hold();
        let refreshing = world.start("old");
        world.provider.wait_for(2);
        question.redirect("code=c");
        world.provider.wait_for(3);
        world.provider.release();
        assert_eq!(other.join().expect("no panic").as_deref(), Ok("access-3"));
        // whichever landed first, what the user consented to stays
        assert_eq!(world.token("new"), "access-3");
        // a login whose refresh came too late looks again, and needs a consent of its own
        while !refreshing.is_finished() {
            if !world.user.was_left_alone() {
                world.user.question().fail("nobody is there");
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_refresh_token_that_another_process_has_replaced_asks_nobody() {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    world.user.consent();
    login.join().expect("no panic").expect("a token");
    world.clock.advance(3600);
    world.provider.answer(400, r#"{"error":"invalid_grant"}"#);
    world.provider.hold();
    let login = world.start("pw");
    world.provider.wait_for(2);
    let other = world.restart(&config(BY_CODE));
    assert_eq!(other.token("pw"), "access-1");
    assert_eq!(
        other.provider.last().value("refresh_token"),
        Some("refresh-1")
    );
    world.provider.release();
    assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-1"));
    assert!(world.user.was_left_alone());
    assert_eq!(world.provider.requests(), 2);
}

#[test]
fn a_refresh_under_changed_settings_or_of_a_removed_account_saves_nothing() {
    for changed in [
        config(BY_PASSWORD).replace("client_id = id", "client_id = another"),
        config(BY_PASSWORD).replace(USER, "else@example.com"),
    ] {
        let world = World::new(&config(BY_PASSWORD));
        world.token("pw");
        world.clock.advance(3600);
        world.provider.hold();
        let login = world.start("pw");
        world.provider.wait_for(2);
        let saves = world.store.saves();
        world.authenticator.reload(settings(&changed));
        world.provider.release();
        assert!(login.join().expect("no panic").is_err());
        assert_eq!(world.store.saves(), saves);
        // back under the old settings all is as it was
        world.authenticator.reload(settings(&config(BY_PASSWORD)));
        assert_eq!(world.token("pw"), "access-3");
        assert_eq!(
            world.provider.last().value("refresh_token"),
            Some("refresh-1")
        );
    }
}

#[test]
fn fifty_accounts_wait_for_no_one_elses_provider() {
    let names: Vec<String> = (0..50).map(|n| format!("user{n}@example.com")).collect();
    let sections: String = names
        .iter()
        .map(|name| config(BY_CLIENT).replace(USER, name))
        .map(|text| {
            text.split_once("993\n")
                .map_or_else(String::new, |(_, section)| section.to_owned())
        })
        .collect();
    let world = World::new(&format!("{}{sections}", config(BY_CLIENT)));
    world.provider.hold();
    let logins: Vec<_> = names
        .iter()
        .map(|name| world.start_as(name, "pw"))
        .collect();
    // all of them are at the provider at once
    world.provider.wait_for(50);
    world.provider.release();
    for login in logins {
        assert!(login.join().expect("no panic").is_ok());
    }
    assert_eq!(world.provider.requests(), 50);
}
