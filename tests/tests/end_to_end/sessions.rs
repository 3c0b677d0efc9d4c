//! Whole sessions: connections, TLS, relay and their end.

use super::{PATIENCE, PROTOCOLS};
use harness::{
    end_to_end::{Client, Flow, Runtime, USER, World, plain},
    over_both_runtimes,
};
use rustix::process::Signal;
use sandbox::Protocol;

over_both_runtimes! {
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
