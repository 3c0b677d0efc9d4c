//! Providers in trouble, refused refreshes, refused tokens.

use crate::world::{BY_CLIENT, BY_CODE, BY_PASSWORD, USER, World, config};
use oauth::authenticator::Denial;

/// An account by code whose access token has just ended.
fn expired() -> World {
    let world = World::new(&config(BY_CODE));
    let login = world.start("pw");
    world.user.consent();
    assert!(login.join().expect("no panic").is_ok());
    world.clock.advance(3600);
    world
}

#[test]
fn trouble_is_temporary_and_keeps_the_refresh_token() {
    for (status, body) in [
        (500, ""),
        (503, "<html>later</html>"),
        (502, r#"{"error":"server_error"}"#),
        (200, "<html>portal</html>"),
        (302, ""),
        (404, "not here"),
        (429, r#"{"error":"too many"}"#),
        (200, "{}"),
    ] {
        let world = expired();
        world.provider.answer(status, body);
        let text = world.temporary("pw");
        assert!(text.contains(USER), "{text}");
        assert!(world.user.was_left_alone(), "{status} {body}");
        assert_eq!(world.token("pw"), "access-3", "{status} {body}");
        assert_eq!(
            world.provider.last().value("refresh_token"),
            Some("refresh-1")
        );
    }
    let world = expired();
    world
        .provider
        .fail("provider.example did not answer in time");
    assert!(world.temporary("pw").contains("did not answer in time"));
    assert_eq!(world.token("pw"), "access-3");
}

#[test]
fn a_client_that_is_refused_keeps_the_refresh_token_too() {
    let world = expired();
    world.provider.answer(
        401,
        r#"{"error":"invalid_client","error_description":"AADSTS7000222: x"}"#,
    );
    assert!(world.denied("pw").contains("has expired: create a new one"));
    assert!(world.user.was_left_alone());
    assert_eq!(world.token("pw"), "access-3");
}

#[test]
fn repeated_trouble_is_not_asked_into_again_and_again() {
    let world = expired();
    for _ in 0..4 {
        world.provider.fail("down");
        world.temporary("pw");
    }
    // up to five seconds are waited for, longer pauses refuse at once
    let requests = world.provider.requests();
    let text = world.temporary("pw");
    assert!(text.contains("asked again in"), "{text}");
    assert_eq!(world.provider.requests(), requests);
    world.clock.advance(100);
    world.token("pw");
}

#[test]
fn an_ended_refresh_token_asks_the_user_again() {
    for body in [
        r#"{"error":"invalid_grant"}"#,
        r#"{"error":"interaction_required"}"#,
        r#"{"error":"invalid_request","error_description":"AADSTS700082: expired"}"#,
    ] {
        let world = expired();
        world.provider.answer(400, body);
        let login = world.start("pw");
        let question = world.user.question();
        assert!(!question.request.who.password_differs);
        question.redirect("code=c");
        assert_eq!(
            login.join().expect("no panic").as_deref(),
            Ok("access-3"),
            "{body}"
        );
    }
}

#[test]
fn tokens_are_renewed_before_they_end_and_serve_while_they_cannot_be() {
    let world = World::new(&config(BY_PASSWORD));
    world.token("pw");
    world.clock.advance(2999);
    assert_eq!(world.token("pw"), "access-1");
    world.clock.advance(1);
    world.provider.answer(500, "");
    assert_eq!(world.token("pw"), "access-1", "good for ten minutes more");
    assert_eq!(world.token("pw"), "access-3");
}

#[test]
fn short_lives_are_halved() {
    let world = World::new(&config(BY_PASSWORD));
    world
        .provider
        .answer(200, r#"{"access_token":"short","expires_in":"60"}"#);
    assert_eq!(world.token("pw"), "short");
    world.clock.advance(29);
    assert_eq!(world.token("pw"), "short");
    world.clock.advance(1);
    assert_eq!(world.token("pw"), "access-2");
}

#[test]
fn a_token_in_its_last_seconds_is_not_handed_out_where_it_can_be_renewed() {
    // for as long as tokens live no longer than that, each login renews
    let world = World::new(&config(BY_PASSWORD));
    for _ in 0..3 {
        world.provider.answer(
            200,
            r#"{"access_token":"brief","refresh_token":"r","expires_in":30}"#,
        );
        assert_eq!(world.token("pw"), "brief");
    }
    assert_eq!(world.provider.requests(), 3);
    world.provider.answer(500, "oops");
    world.temporary("pw");
    assert_eq!(world.token("pw"), "access-5");
    // without a refresh token, where no user has to be asked
    let world = World::new(&config(BY_CLIENT));
    for _ in 0..2 {
        world
            .provider
            .answer(200, r#"{"access_token":"brief","expires_in":30}"#);
        assert_eq!(world.token("pw"), "brief");
    }
    world.provider.fail("down");
    world.temporary("pw");
    assert_eq!(world.provider.requests(), 3);
}

#[test]
fn without_a_refresh_token_the_user_is_not_asked_before_the_end() {
    let world = World::new(&config(BY_CODE));
    world
        .provider
        .answer(200, r#"{"access_token":"only","expires_in":3600}"#);
    let login = world.start("pw");
    world.user.consent();
    login.join().expect("no panic").expect("a token");
    for seconds in [3500, 99] {
        world.clock.advance(seconds);
        assert_eq!(world.token("pw"), "only");
        assert!(world.user.was_left_alone());
    }
    world.clock.advance(1);
    let login = world.start("pw");
    world.user.consent();
    assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-2"));
}

#[test]
fn a_refused_token_is_refreshed_once() {
    let world = World::new(&config(BY_PASSWORD));
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.rejected("pw").as_deref(), Ok("access-2"));
    assert_eq!(
        world.provider.last().value("grant_type"),
        Some("refresh_token")
    );
    let denial = world.rejected("pw").expect_err("once in ten minutes");
    let Denial::Denied(text) = denial else {
        panic!("{denial:?}")
    };
    assert!(
        text.contains(USER) && text.contains("NO [AUTHENTICATIONFAILED] Invalid"),
        "{text}"
    );
    assert_eq!(world.provider.requests(), 2);
    assert_eq!(world.token("pw"), "access-2");
    world.clock.advance(600);
    assert_eq!(world.rejected("pw").as_deref(), Ok("access-3"));
}

#[test]
fn sessions_that_held_the_refused_token_share_its_refresh() {
    let world = World::new(&config(BY_PASSWORD));
    for _ in 0..3 {
        assert_eq!(world.token("pw"), "access-1");
    }
    for _ in 0..3 {
        assert_eq!(world.rejected("pw").as_deref(), Ok("access-2"));
    }
    assert!(world.rejected("pw").is_err());
    assert_eq!(world.provider.requests(), 2);
}

#[test]
fn a_refused_token_without_refresh_token_leads_to_one_fresh_authorisation() {
    let world = World::new(&config(BY_CLIENT));
    world.provider.answer(200, r#"{"access_token":"first"}"#);
    assert_eq!(world.token("pw"), "first");
    assert_eq!(world.rejected("pw").as_deref(), Ok("access-2"));
    assert_eq!(
        world.provider.last().value("grant_type"),
        Some("client_credentials")
    );
    assert!(world.rejected("pw").is_err());
}

#[test]
fn a_forced_refresh_that_met_trouble_does_not_count() {
    let world = World::new(&config(BY_PASSWORD));
    world.token("pw");
    world.provider.fail("down");
    assert!(matches!(world.rejected("pw"), Err(Denial::Temporary(_))));
    assert_eq!(world.token("pw"), "access-1");
    assert_eq!(world.rejected("pw").as_deref(), Ok("access-3"));
}

#[test]
fn no_secret_is_in_any_refusal() {
    let secrets = ["cl1ent", "passw0rd", "refresh-1", "the-c0de"];
    let repeat = format!(
        r#"{{"error":"invalid_client","error_description":"you sent {}"}}"#,
        secrets.join(" and ")
    );
    let check = |text: &str| {
        assert!(text.contains("you sent"), "{text}");
        for secret in secrets {
            assert!(!text.contains(secret), "{text}");
        }
    };
    // each request repeats what it got; what it did not get is no secret of that request
    let world = World::new(&config(BY_PASSWORD));
    world
        .provider
        .answer(401, &repeat.replace("refresh-1 and the-c0de", "nothing"));
    check(&world.denied("passw0rd"));
    let world = World::new(&config(BY_CODE));
    world
        .provider
        .answer(401, &repeat.replace(" and passw0rd and refresh-1", ""));
    let login = world.start("passw0rd");
    let told = world.user.question().redirect("code=the-c0de");
    let denial = login.join().expect("no panic").expect_err("refused");
    check(
        &told
            .recv_blocking()
            .expect("an outcome")
            .expect_err("refused"),
    );
    assert!(matches!(denial, Denial::Denied(text) if { check(&text); true }));
    let world = expired();
    world.provider.answer(
        401,
        &repeat.replace("passw0rd and refresh-1 and the-c0de", "refresh-1"),
    );
    check(&world.denied("pw"));
}
