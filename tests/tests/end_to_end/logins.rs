//! Logins: every protocol by every flow, refusals, and servers of every kind.

use super::{PATIENCE, PROTOCOLS};
use harness::{
    end_to_end::{Flow, Runtime, USER, World},
    over_both_runtimes,
};
use sandbox::{Mechanism, Protocol, Service};
use std::{
    thread,
    time::{Duration, Instant},
};

macro_rules! roads {
    ($($name:ident: $protocol:ident by $flow:ident over $runtime:ident;)*) => {$(
        mod $name {
            use super::{Flow, Protocol, Runtime};

            #[test]
            fn succeeds() {
                super::succeeds(Runtime::$runtime, Protocol::$protocol, Flow::$flow);
            }

            #[test]
            fn wrong_password() {
                super::wrong_password(Runtime::$runtime, Protocol::$protocol, Flow::$flow);
            }

            #[test]
            fn refused_token() {
                super::refused_token(Runtime::$runtime, Protocol::$protocol, Flow::$flow);
            }

            #[test]
            fn revoked_token() {
                super::revoked_token(Runtime::$runtime, Protocol::$protocol, Flow::$flow);
            }

            #[test]
            fn provider_down() {
                super::provider_down(Runtime::$runtime, Protocol::$protocol, Flow::$flow);
            }
        }
    )*};
}

roads! {
    imap_password: Imap by Password over Smol;
    imap_client_credentials: Imap by ClientCredentials over Smol;
    imap_code: Imap by Code over Smol;
    pop_password: Pop by Password over Smol;
    pop_client_credentials: Pop by ClientCredentials over Smol;
    pop_code: Pop by Code over Smol;
    smtp_password: Smtp by Password over Smol;
    smtp_client_credentials: Smtp by ClientCredentials over Smol;
    smtp_code: Smtp by Code over Smol;
    // How a token is got is no matter of the runtime's.
    imap_over_threads: Imap by Password over Std;
    pop_over_threads: Pop by Password over Std;
    smtp_over_threads: Smtp by Password over Std;
}

over_both_runtimes! {
    servers_of_other_kinds
    other_refusals_keep_their_code_and_text
    first_logins_at_once_share_one_request
}

/// One token request serves any number of logins, and the server sees the bearer of the right user.
fn succeeds(runtime: Runtime, protocol: Protocol, flow: Flow) {
    let world = World::with(runtime, flow).start();
    for _ in 0..3 {
        world.opened(protocol).work();
    }
    assert_eq!(world.grants(), [flow.grant()]);
    let bearers = world.bearers();
    assert_eq!(bearers.len(), 3);
    for (message, secure) in bearers {
        assert!(
            message.starts_with(&format!("user={USER}\u{1}auth=Bearer ")),
            "{message:?}"
        );
        assert!(secure);
    }
    assert_eq!(world.sandbox.log().logins(protocol), 3);
    world.end();
}

/// A typing mistake is refused on the spot, costs nothing, and the session goes on.
fn wrong_password(runtime: Runtime, protocol: Protocol, flow: Flow) {
    let world = World::with(runtime, flow)
        .option("delete_account_token_on_password_error", "False")
        .start();
    world.opened(protocol).work();
    let mut client = world.client(protocol);
    let answer = client.login("not the password");
    assert!(client.is_refusal(&answer), "{answer}");
    assert_eq!(world.bearers().len(), 1, "the mail server heard of it");
    let answer = world.login(&mut client);
    assert!(client.is_success(&answer), "{answer}");
    client.work();
    assert_eq!(world.grants(), [flow.grant()]);
    world.end();
}

/// A token that the mail server will never take: one more try with a fresh one, then a refusal.
fn refused_token(runtime: Runtime, protocol: Protocol, flow: Flow) {
    let scope = match protocol {
        Protocol::Imap => "mail.pop offline_access",
        Protocol::Pop => "mail.smtp offline_access",
        Protocol::Smtp => "mail.imap offline_access",
    };
    let world = World::with(runtime, flow).scope(scope).start();
    let mut client = world.client(protocol);
    let answer = world.login(&mut client);
    assert!(client.is_refusal(&answer), "{answer}");
    assert_eq!(world.sandbox.log().logins(protocol), 0);
    let bearers = world.bearers();
    assert_eq!(bearers.len(), 2, "{bearers:?}");
    assert_ne!(bearers[0], bearers[1], "the second try needs another token");
    assert_eq!(world.grants().len(), 2, "{:?}", world.grants());
    // The next login finds out by itself, without a third token.
    let answer = world.client(protocol).login(flow.password());
    assert!(client.is_refusal(&answer), "{answer}");
    assert_eq!(world.grants().len(), 2, "{:?}", world.grants());
    world.end();
}

/// A token that was good once is renewed without anybody noticing.
fn revoked_token(runtime: Runtime, protocol: Protocol, flow: Flow) {
    let world = World::with(runtime, flow).start();
    world.opened(protocol).work();
    world.sandbox.control().revoke_access_tokens();
    world.opened(protocol).work();
    let again = if flow == Flow::ClientCredentials {
        flow.grant()
    } else {
        "refresh_token"
    };
    assert_eq!(world.grants(), [flow.grant(), again]);
    world.end();
}

/// While the provider cannot be reached clients are told to come back later, and nothing that was saved is lost.
fn provider_down(runtime: Runtime, protocol: Protocol, flow: Flow) {
    let world = World::with(runtime, flow).start();
    if flow != Flow::Code {
        take_provider_away(&world);
        let mut client = world.client(protocol);
        let answer = client.login(flow.password());
        assert!(client.is_temporary(&answer), "{answer}");
        assert_eq!(world.bearers(), []);
        bring_provider_back(&world);
        come_back(&world, protocol, flow);
    } else {
        world.opened(protocol).work();
    }
    world.sandbox.control().revoke_access_tokens();
    take_provider_away(&world);
    let mut client = world.client(protocol);
    let answer = client.login(flow.password());
    assert!(client.is_temporary(&answer), "{answer}");
    bring_provider_back(&world);
    come_back(&world, protocol, flow);
    let last = world.grants().pop();
    let again = if flow == Flow::ClientCredentials {
        flow.grant()
    } else {
        "refresh_token"
    };
    assert_eq!(last.as_deref(), Some(again));
    world.end();
}

/// No new connections, and an end to those that were kept alive.
fn take_provider_away(world: &World) {
    let control = world.sandbox.control();
    control
        .refuse_connections(Service::Provider, true)
        .expect("the provider obeys");
    control.close_connections(Service::Provider);
}

fn bring_provider_back(world: &World) {
    world
        .sandbox
        .control()
        .refuse_connections(Service::Provider, false)
        .expect("the provider obeys");
}

/// Logs in again and again, as clients do, until it works: the proxy may wait a while before it asks again.
fn come_back(world: &World, protocol: Protocol, flow: Flow) {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut client = world.client(protocol);
        let answer = client.login(flow.password());
        if client.is_success(&answer) {
            return client.work();
        }
        assert!(client.is_temporary(&answer), "{answer}");
        assert!(Instant::now() < end, "{answer}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn an_empty_password_is_refused() {
    let world = World::with(Runtime::Smol, Flow::ClientCredentials).start();
    for protocol in [Protocol::Imap, Protocol::Smtp] {
        let mut client = world.client(protocol);
        let answer = client.login("");
        assert!(client.is_refusal(&answer), "{answer}");
    }
    assert_eq!(world.grants(), [""; 0]);
    world.end();
}

#[test]
fn a_denied_consent_is_a_refusal() {
    let world = World::with(Runtime::Smol, Flow::Code).start();
    let mut client = world.client(Protocol::Imap);
    let since = world.said().len();
    thread::scope(|scope| {
        let login = scope.spawn(|| {
            let answer = client.login(Flow::Code.password());
            assert!(client.is_refusal(&answer), "{answer}");
        });
        world
            .sandbox
            .person()
            .deny(&world.consent_url(since))
            .expect("the page is there");
        login
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(world.grants(), [""; 0]);
    world.end();
}

/// Another password asks for consent anew; as long as that was not given the saved tokens serve the old password.
#[test]
fn a_mistyped_password_never_costs_a_working_account() {
    let world = World::with(Runtime::Smol, Flow::Code).start();
    world.opened(Protocol::Imap).work();
    let since = world.said().len();
    let mut client = world.client(Protocol::Imap);
    thread::scope(|scope| {
        let login = scope.spawn(|| {
            let answer = client.login("mistyped");
            assert!(client.is_refusal(&answer), "{answer}");
        });
        world
            .sandbox
            .person()
            .deny(&world.consent_url(since))
            .expect("the page is there");
        login
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let mut client = world.client(Protocol::Imap);
    let answer = client.login(Flow::Code.password());
    assert!(client.is_success(&answer), "{answer}");
    assert_eq!(world.grants(), ["authorization_code"]);
    world.end();
}

/// Gmail greets without capabilities, some servers take no initial response, some know OAUTHBEARER alone.
fn servers_of_other_kinds(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).start();
    let control = world.sandbox.control();
    for (greeting, initial_response) in [(false, true), (true, false), (false, false)] {
        control.set_greeting_capabilities(greeting);
        control.set_sasl_ir(initial_response);
        world.opened(Protocol::Imap).work();
    }
    let before = world.bearers().len();
    for protocol in PROTOCOLS {
        control.set_mechanisms(protocol, &[Mechanism::OAuthBearer]);
        let mut client = world.client(protocol);
        if protocol == Protocol::Pop {
            // What a POP server offers is known once somebody has asked for it.
            client.send("CAPA\r\n");
            client.until(".");
        }
        let answer = world.login(&mut client);
        assert!(client.is_success(&answer), "{answer}");
        client.work();
    }
    let bearers = world.bearers().split_off(before);
    assert_eq!(bearers.len(), PROTOCOLS.len());
    for (message, _) in bearers {
        let head = format!("n,a={USER},\u{1}host=localhost\u{1}port=");
        assert!(message.starts_with(&head), "{message:?}");
    }
    world.end();
}

/// A refusal that cannot mean the token reaches the client as it is, and costs no second try.
fn other_refusals_keep_their_code_and_text(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).start();
    let refusals = [
        "NO [ALERT] Too many simultaneous connections",
        "-ERR [IN-USE] Somebody else has the mailbox open",
        "432 4.7.12 A password transition is needed",
    ];
    for (protocol, refusal) in PROTOCOLS.into_iter().zip(refusals) {
        let before = world.bearers().len();
        let control = world.sandbox.control();
        control.answer_credentials(protocol, 1, refusal);
        let mut client = world.client(protocol);
        let answer = world.login(&mut client);
        assert!(answer.ends_with(refusal), "{answer}");
        assert_eq!(world.bearers().len(), before + 1);
        let answer = world.login(&mut client);
        assert!(client.is_success(&answer), "{answer}");
        client.work();
    }
    assert_eq!(world.grants(), ["password"]);
    world.end();
}

/// Clients open several connections at once: one request serves them all.
fn first_logins_at_once_share_one_request(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).start();
    world
        .sandbox
        .control()
        .set_token_delay(Duration::from_millis(300));
    thread::scope(|scope| {
        for number in 0..12 {
            let world = &world;
            scope.spawn(move || world.opened(PROTOCOLS[number % 3]).work());
        }
    });
    assert_eq!(world.grants(), ["password"]);
    world.end();
}

/// What was saved serves after a restart, and the file is still the user's.
#[test]
fn tokens_survive_a_restart() {
    for flow in [Flow::Password, Flow::ClientCredentials, Flow::Code] {
        let mut world = World::with(Runtime::Smol, flow).start();
        world.opened(Protocol::Imap).work();
        world.restart();
        let mut client = world.client(Protocol::Imap);
        let answer = client.login(flow.password());
        assert!(client.is_success(&answer), "{answer}");
        client.work();
        assert_eq!(world.grants(), [flow.grant()]);
        let text = std::fs::read_to_string(world.config()).expect("the configuration is there");
        for option in [
            "token_salt",
            "token_iterations",
            "access_token",
            "access_token_expiry",
        ] {
            assert!(
                text.lines()
                    .any(|line| line.starts_with(&format!("{option} = "))),
                "{option} is missing: {text}"
            );
        }
        world.end();
    }
}
