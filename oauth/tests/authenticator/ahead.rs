//! Tokens renewed in the background while sessions are open.

use crate::world::{BY_CLIENT, BY_CODE, BY_PASSWORD, USER, World, attempt, config, settings};
use futures_lite::future::block_on;
use oauth::authenticator::OpenSession;

/// A look at all open sessions comes once a minute.
const LOOK: u64 = 60;

/// A world with a token for `pw`.
fn logged_in(options: &str) -> World {
    let world = World::new(&config(options));
    let login = world.start("pw");
    if options == BY_CODE {
        world.user.consent();
    }
    login.join().expect("no panic").expect("a token");
    world
}

/// Opens a session, and waits for the first look.
fn open(world: &World) -> OpenSession {
    let session = world.authenticator.session_opened(USER);
    world.clock.wait_for_sleeps(LOOK, 1);
    session
}

/// Lets time pass, and waits for the look that follows; `looks`: how many there were before.
fn pass(world: &World, seconds: u64, looks: usize) {
    world.clock.advance(seconds);
    world.clock.wait_for_sleeps(LOOK, looks + 1);
}

#[test]
fn no_login_waits_while_a_session_is_open() {
    for options in [BY_PASSWORD, BY_CODE, BY_CLIENT] {
        let world = logged_in(options);
        let _session = open(&world);
        pass(&world, 2870, 1);
        assert_eq!(world.provider.requests(), 1, "730 seconds left: too early");
        pass(&world, 70, 2);
        world.store.wait_for_saves(2);
        assert_eq!(
            world.provider.last().value("refresh_token"),
            Some("refresh-1")
        );
        assert_eq!(world.token("pw"), "access-2");
        assert_eq!(world.provider.requests(), 2);
        assert!(world.user.was_left_alone());
        // saved under the password, not only in memory
        let world = world.restart(&config(options));
        assert_eq!(world.token("pw"), "access-2");
        assert_eq!(world.provider.requests(), 0);
    }
}

#[test]
fn without_an_open_session_nothing_is_renewed() {
    let world = logged_in(BY_PASSWORD);
    let (one, two) = (open(&world), world.authenticator.session_opened(USER));
    drop(one);
    pass(&world, 60, 1);
    drop(two);
    // the timer's last look finds nobody, and ends it
    world.clock.advance(2900);
    let session = world.authenticator.session_opened("nobody@example.com");
    drop(session);
    assert_eq!(world.provider.requests(), 1);
}

#[test]
fn after_a_suspended_night_the_token_is_renewed_at_the_next_look() {
    let world = logged_in(BY_CODE);
    let _session = open(&world);
    pass(&world, 9 * 3600, 1);
    world.store.wait_for_saves(2);
    assert_eq!(world.token("pw"), "access-2");
}

#[test]
fn a_login_waits_for_the_renewal_and_opens_what_it_saved() {
    let text = format!(
        "{}[emailproxy]\ndelete_account_token_on_password_error = False\n",
        config(BY_PASSWORD)
    );
    let world = World::new(&text);
    world.token("pw");
    let _session = open(&world);
    world.provider.hold();
    pass(&world, 3600, 1);
    world.provider.wait_for(2);
    let logins: Vec<_> = (0..5).map(|_| world.start("pw")).collect();
    assert!(world.denied("wrong").contains("wrong password"));
    world.provider.release();
    for login in logins {
        assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-2"));
    }
    assert_eq!(world.provider.requests(), 2);
}

#[test]
fn failures_are_paced_and_hold_up_no_login() {
    let world = logged_in(BY_PASSWORD);
    let _session = open(&world);
    for _ in 0..2 {
        world.provider.fail("down");
    }
    pass(&world, 2950, 1);
    world.provider.wait_for(2);
    let mut looks = 2;
    while world.provider.requests() < 3 {
        assert!(looks < 10_000, "no further attempt within a week");
        pass(&world, 60, looks);
        looks += 1;
    }
    world.clock.advance(650);
    assert_eq!(world.token("pw"), "access-4", "a login asks at once");
}

#[test]
fn an_ended_refresh_token_is_left_to_the_next_login() {
    let world = logged_in(BY_CODE);
    let _session = open(&world);
    world.provider.answer(400, r#"{"error":"invalid_grant"}"#);
    pass(&world, 2950, 1);
    world.provider.wait_for(2);
    for looks in 2..8 {
        pass(&world, 600, looks);
    }
    assert_eq!(world.provider.requests(), 2);
    assert!(world.user.was_left_alone());
    world.provider.answer(400, r#"{"error":"invalid_grant"}"#);
    let login = world.start("pw");
    world.user.consent();
    assert_eq!(login.join().expect("no panic").as_deref(), Ok("access-4"));
}

#[test]
fn what_only_the_password_can_do_is_left_to_the_next_login() {
    let by_login_password = format!(
        "{}[emailproxy]\nuse_login_password_as_client_credentials_secret = True\n",
        config("oauth2_flow = client_credentials")
    );
    for text in [by_login_password, config(BY_PASSWORD)] {
        let world = World::new(&text);
        world.provider.answer(200, r#"{"access_token":"only"}"#);
        assert_eq!(world.token("pw"), "only");
        let _session = open(&world);
        pass(&world, 3000, 1);
        pass(&world, 60, 2);
        assert_eq!(world.provider.requests(), 1);
    }
    // after a restart no key is in memory
    let world = logged_in(BY_PASSWORD).restart(&config(BY_PASSWORD));
    let _session = open(&world);
    pass(&world, 3000, 1);
    pass(&world, 60, 2);
    assert_eq!(world.provider.requests(), 0);
}

#[test]
fn tokens_of_short_life_are_left_to_the_logins() {
    let world = World::new(&config(BY_PASSWORD));
    world.provider.answer(
        200,
        r#"{"access_token":"brief","refresh_token":"r","expires_in":600}"#,
    );
    assert_eq!(world.token("pw"), "brief");
    let _session = open(&world);
    pass(&world, 400, 1);
    pass(&world, 60, 2);
    assert_eq!(world.provider.requests(), 1);
}

#[test]
fn a_client_without_refresh_tokens_is_asked_again_ahead_of_time() {
    let world = World::new(&config(BY_CLIENT));
    world.provider.answer(200, r#"{"access_token":"first"}"#);
    assert_eq!(world.token("pw"), "first");
    let _session = open(&world);
    pass(&world, 2950, 1);
    world.store.wait_for_saves(2);
    assert_eq!(
        world.provider.last().value("grant_type"),
        Some("client_credentials")
    );
    assert_eq!(world.token("pw"), "access-2");
}

#[test]
fn a_removed_account_is_not_renewed() {
    let world = logged_in(BY_PASSWORD);
    let _session = open(&world);
    world.authenticator.reload(settings(
        &config(BY_PASSWORD).replace(USER, "else@example.com"),
    ));
    pass(&world, 3000, 1);
    pass(&world, 60, 2);
    assert_eq!(world.provider.requests(), 1);
}

#[test]
fn accounts_share_one_timer_and_spread_their_renewals() {
    let names: Vec<String> = (0..20).map(|n| format!("user{n}@example.com")).collect();
    let sections: String = names
        .iter()
        .map(|name| {
            format!(
                "[{name}]\ntoken_url = https://provider.example/token\nclient_id = id\n\
                 oauth2_scope = mail\n{BY_PASSWORD}\n"
            )
        })
        .collect();
    let world = World::new(&format!("{}{sections}", config(BY_PASSWORD)));
    let mut sessions = Vec::new();
    for name in &names {
        block_on(world.authenticator.token(attempt(name, "pw"))).expect("a token");
        sessions.push(world.authenticator.session_opened(name));
    }
    world.clock.wait_for_sleeps(LOOK, 1);
    let looks = world.clock.slept().iter().filter(|s| **s == LOOK).count();
    assert_eq!(looks, 1);
    assert_eq!(world.provider.requests(), 20);
    world.provider.hold();
    pass(&world, 3600, 1);
    // eight with each look while that many are due
    assert_eq!(world.clock.slept().iter().filter(|s| **s == 1).count(), 2);
    world.provider.wait_for(40);
    world.provider.release();
    // A process that ends while its threads draw random numbers may be aborted by aws-lc, which has destroyed its generators.
    world.store.wait_for_saves(40);
}
