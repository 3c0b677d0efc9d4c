//! The built program between real sockets: every protocol by every flow, and what goes wrong on the way.
#![cfg(feature = "end-to-end")]

use harness::end_to_end::{Client, Flow, Runtime, USER, World, plain};
use rustix::process::Signal;
use sandbox::{Mechanism, Protocol, Service};
use std::{
    thread,
    time::{Duration, Instant},
};

const PROTOCOLS: [Protocol; 3] = [Protocol::Imap, Protocol::Pop, Protocol::Smtp];
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Makes two tests of each function.
macro_rules! over_both_runtimes {
    ($($test:ident)*) => {
        mod smol {
            $(
                #[test]
                fn $test() {
                    super::$test(super::Runtime::Smol);
                }
            )*
        }
        mod threads {
            $(
                #[test]
                fn $test() {
                    super::$test(super::Runtime::Std);
                }
            )*
        }
    };
}

over_both_runtimes! {
    servers_of_other_kinds
    other_refusals_keep_their_code_and_text
    first_logins_at_once_share_one_request
    an_unreachable_mail_server_is_named_at_once
    starttls_towards_the_server
    starttls_that_is_missing_or_tampered_with
    everything_in_one_write
    large_messages_pass_byte_for_byte
    half_close_in_relay
    a_client_that_leaves_before_login_takes_its_upstream_along
    a_server_that_closes_is_seen_by_the_client
    a_graceful_end
    a_hundred_idle_sessions
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

fn an_unreachable_mail_server_is_named_at_once(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).start();
    for (protocol, farewell) in
        PROTOCOLS
            .into_iter()
            .zip(["* BYE [UNAVAILABLE] ", "-ERR [SYS/TEMP] ", "421 4.4.1 "])
    {
        let service = world.service(protocol);
        world
            .sandbox
            .control()
            .refuse_connections(service, true)
            .expect("the server obeys");
        let mut client = Client::connect(protocol, world.port(protocol));
        let line = client.line();
        assert!(line.starts_with(farewell), "{line}");
        assert_eq!(client.rest(), b"");
        world
            .sandbox
            .control()
            .refuse_connections(service, false)
            .expect("the server obeys");
        world.opened(protocol).work();
    }
    world.end();
}

/// The client sees one EHLO answer (or greeting), and nothing of what happens between proxy and server.
fn starttls_towards_the_server(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).starttls().start();
    for protocol in PROTOCOLS {
        let mut client = world.opened(protocol);
        client.work();
        assert_eq!(world.sandbox.log().logins(protocol), 1, "{protocol:?}");
    }
    assert!(world.bearers().iter().all(|(_, secure)| *secure));
    world.end();
}

/// Neither a server that has no STARTTLS nor one whose positive answer carries more bytes ever sees a token.
fn starttls_that_is_missing_or_tampered_with(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).starttls().start();
    let control = world.sandbox.control();
    for protocol in PROTOCOLS {
        control.set_starttls(protocol, false);
        control.set_plaintext_auth(protocol, true);
        fails_before_login(&world, protocol);
        control.set_starttls(protocol, true);
        let injected = match protocol {
            Protocol::Imap => "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n",
            Protocol::Pop => "+OK injected\r\n",
            Protocol::Smtp => "250 injected\r\n",
        };
        control.inject_after_starttls(protocol, Some(injected.into()));
        fails_before_login(&world, protocol);
        control.inject_after_starttls(protocol, None);
        world.opened(protocol).work();
    }
    assert_eq!(world.bearers().len(), PROTOCOLS.len());
    assert!(world.bearers().iter().all(|(_, secure)| *secure));
    world.end();
}

/// Tries to log in, and expects the session to end, or the login to fail, without a bearer at the server.
fn fails_before_login(world: &World, protocol: Protocol) {
    let before = world.bearers().len();
    let mut client = Client::connect(protocol, world.port(protocol));
    // However the session ends, the server must not have seen a bearer; pipelined, so that nothing waits for answers.
    let login = match protocol {
        Protocol::Imap => format!(
            "x1 LOGIN {USER} {}\r\nx2 LOGOUT\r\n",
            Flow::Password.password()
        ),
        Protocol::Pop => format!(
            "USER {USER}\r\nPASS {}\r\nQUIT\r\n",
            Flow::Password.password()
        ),
        Protocol::Smtp => format!(
            "EHLO x\r\nAUTH PLAIN {}\r\nQUIT\r\n",
            plain(Flow::Password.password())
        ),
    };
    client.send(login);
    let said = String::from_utf8(client.rest()).expect("answers are UTF-8");
    assert!(
        !said.contains("x1 OK") && !said.contains("235 ") && !said.contains("injected"),
        "{said}"
    );
    assert_eq!(world.bearers().len(), before);
}

fn everything_in_one_write(runtime: Runtime) {
    let world = World::with(runtime, Flow::ClientCredentials).start();
    let password = "p-w";
    let mut client = Client::connect(Protocol::Imap, world.port(Protocol::Imap));
    client.send(format!(
        "a CAPABILITY\r\nb NOOP\r\nc LOGIN {USER} {{{}}}\r\n{password}\r\nd SELECT INBOX\r\ne LOGIN x y\r\nf NOOP\r\ng LOGOUT\r\n",
        password.len()
    ));
    let said = String::from_utf8(client.rest()).expect("answers are UTF-8");
    let mut position = 0;
    assert!(
        said.contains("\r\ne BAD ") || said.contains("\r\ne NO "),
        "{said}"
    );
    for answer in [
        "* OK", "a OK", "b OK", "+ ", "c OK", "d OK", "f OK", "* BYE", "g OK",
    ] {
        let found = said[position..].find(answer);
        position += found.unwrap_or_else(|| panic!("no {answer:?} behind the others in {said}"));
    }

    let mut client = Client::connect(Protocol::Pop, world.port(Protocol::Pop));
    client.send(format!(
        "CAPA\r\nUSER {USER}\r\nPASS {password}\r\nSTAT\r\nNOOP\r\nQUIT\r\n"
    ));
    let said = String::from_utf8(client.rest()).expect("answers are UTF-8");
    assert!(!said.contains("-ERR"), "{said}");
    // Greeting, CAPA, USER, PASS, STAT, NOOP, QUIT.
    assert_eq!(
        said.lines().filter(|line| line.starts_with("+OK")).count(),
        7,
        "{said}"
    );

    let mut client = Client::connect(Protocol::Smtp, world.port(Protocol::Smtp));
    client.send(format!(
        "EHLO x\r\nAUTH PLAIN {}\r\nMAIL FROM:<{USER}>\r\nRCPT TO:<{USER}>\r\nDATA\r\nSubject: at once\r\n\r\n.\r\nQUIT\r\n",
        plain(password)
    ));
    let said = String::from_utf8(client.rest()).expect("answers are UTF-8");
    let codes: Vec<_> = said
        .lines()
        .filter(|line| line.as_bytes().get(3) == Some(&b' '))
        .map(|line| &line[..3])
        .collect();
    assert_eq!(
        codes,
        ["220", "250", "235", "250", "250", "354", "250", "221"],
        "{said}"
    );
    assert_eq!(world.sandbox.log().mails().len(), 1);
    world.end();
}

fn large_messages_pass_byte_for_byte(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).large_message().start();
    let messages = world.sandbox.messages(USER, "INBOX");
    let (index, large) = messages
        .iter()
        .enumerate()
        .max_by_key(|(_, message)| message.len())
        .expect("there is mail");
    assert!(large.len() > 20_000_000);

    let mut imap = world.opened(Protocol::Imap);
    imap.command("SELECT INBOX");
    imap.send(format!("x FETCH {} (BODY.PEEK[])\r\n", index + 1));
    let line = imap.line();
    let size = line
        .rsplit_once('{')
        .and_then(|(_, size)| size.strip_suffix('}')?.parse().ok());
    assert_eq!(size, Some(large.len()), "{line}");
    assert!(
        imap.octets(large.len()) == **large,
        "IMAP changed the message"
    );
    imap.until("x OK");

    let mut pop = world.opened(Protocol::Pop);
    pop.send(format!("RETR {}\r\n", index + 1));
    assert!(pop.line().starts_with("+OK"));
    let mut message = Vec::new();
    loop {
        let line = pop.line();
        if line == "." {
            break;
        }
        message.extend_from_slice(line.strip_prefix('.').unwrap_or(&line).as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    assert!(message == **large, "POP changed the message");

    let mut smtp = world.opened(Protocol::Smtp);
    let mut message = b"Subject: up\r\n\r\n".to_vec();
    for number in 0..120_000 {
        // Every octet but NUL, CR and LF occurs; some lines begin with dots.
        let line = (0..70).map(|column: u32| match (number * 7 + column * 13) as u8 {
            0 | b'\r' | b'\n' => b'.',
            octet => octet,
        });
        message.extend(std::iter::repeat_n(b'.', number as usize % 3).chain(line));
        message.extend_from_slice(b"\r\n");
    }
    assert!(message.len() > 8_000_000);
    smtp.submit(&message);
    let mails = world.sandbox.log().mails();
    assert_eq!(mails.len(), 1);
    assert!(*mails[0].message == *message, "SMTP changed the message");
    world.end();
}

/// A client that has said its last word still gets the answer; then the server's end of the stream comes through.
fn half_close_in_relay(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).start();
    let mut client = world.opened(Protocol::Imap);
    client.command("SELECT INBOX");
    client.send("x FETCH 1:* (BODY.PEEK[])\r\n");
    client.close_write();
    let said = client.rest();
    let text = String::from_utf8_lossy(&said);
    assert!(
        text.contains("\r\nx OK"),
        "{} octets, the last: {:?}",
        said.len(),
        &text[text.len().saturating_sub(80)..]
    );
    for message in world.sandbox.messages(USER, "INBOX") {
        assert!(
            said.windows(message.len())
                .any(|window| window == &*message),
            "a message is missing"
        );
    }
    all_closed(&world, Protocol::Imap);
    world.end();
}

fn a_client_that_leaves_before_login_takes_its_upstream_along(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).start();
    for protocol in PROTOCOLS {
        let mut client = world.client(protocol);
        client.close_write();
        client.rest();
        all_closed(&world, protocol);
    }
    world.end();
}

fn a_server_that_closes_is_seen_by_the_client(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).start();
    for protocol in PROTOCOLS {
        let mut client = world.opened(protocol);
        world
            .sandbox
            .control()
            .close_connections(world.service(protocol));
        assert_eq!(client.rest(), b"", "{protocol:?}");
    }
    world.end();
}

fn all_closed(world: &World, protocol: Protocol) {
    let service = world.service(protocol);
    assert!(
        world
            .sandbox
            .log()
            .wait(PATIENCE, |log| log.open_connections(service) == 0),
        "{service:?} still has connections"
    );
}

/// SIGTERM: before login the protocol's farewell, in relay nothing at all.
fn a_graceful_end(runtime: Runtime) {
    let mut world = World::with(runtime, Flow::Password).start();
    let mut before = PROTOCOLS.map(|protocol| world.client(protocol));
    let mut relayed = PROTOCOLS.map(|protocol| world.opened(protocol));
    for client in &mut relayed {
        client.work();
    }
    world.signal(Signal::TERM);
    for (client, farewell) in before
        .iter_mut()
        .zip(["* BYE ", "-ERR [SYS/TEMP] ", "421 "])
    {
        let line = client.line();
        assert!(line.starts_with(farewell), "{line}");
        assert_eq!(client.rest(), b"");
    }
    for client in &mut relayed {
        let injected = client.rest();
        assert_eq!(injected, b"", "{:?}", String::from_utf8_lossy(&injected));
    }
    let status = world.wait_ended();
    world.check(status);
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

fn a_hundred_idle_sessions(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password).start();
    let mut clients: Vec<_> = (0..100)
        .map(|number| world.opened(PROTOCOLS[number % 3]))
        .collect();
    println!("resident with 100 sessions: {:?} KiB", world.resident_kib());
    // All of them still work, the oldest first, and one that is busy holds up none.
    for client in &mut clients {
        client.work();
    }
    assert_eq!(world.grants(), ["password"]);
    drop(clients);
    for protocol in PROTOCOLS {
        all_closed(&world, protocol);
    }
    world.end();
}
