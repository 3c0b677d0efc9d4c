//! Peers that break, stall, dribble or never listen.

use super::relays::{BOTH, PLAIN, UPSTREAM, relayed};
use crate::testing::{
    Authority, Lines, Pattern, Runtime, Stage,
    stage::{ends, log_in_and_talk, serve},
    until,
};
use crate::{Options, Stopped};
use proxy_proto::{LocalTls, Protocol};
use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

/// Before login it is told to the client; in relay the client's connection ends, and what came before has arrived.
pub fn a_server_that_resets_ends_the_session<R: Runtime>() {
    for (protocol, farewell) in [
        (Protocol::Imap, "* BYE"),
        (Protocol::Pop, "-ERR [SYS/TEMP]"),
        (Protocol::Smtp, "421 "),
    ] {
        let stage = Stage::<R>::new(protocol);
        let (mut client, server) = stage.connected(stage.session(), |mut server, protocol| {
            server.greet(protocol);
            // The proxy's own question in IMAP, the client's elsewhere.
            server.hear();
            server.0.reset();
        });
        match protocol {
            Protocol::Imap => {}
            Protocol::Pop => {
                client.hear_from("+OK");
                client.say("CAPA\r\n");
            }
            Protocol::Smtp => {
                client.hear_from("220 ");
                client.say("EHLO laptop.example\r\n");
            }
        }
        client.hear_from(farewell);
        assert_eq!(client.hear(), None);
        server.join().unwrap();
        stage.sessions_are_gone();
    }
    for tls in [PLAIN, BOTH] {
        let stage = Stage::<R>::new(Protocol::Imap);
        let (mut client, mut server) = relayed(&stage, tls);
        server.write(b"* 1 EXISTS\r\n").unwrap();
        let mut line = [0; 12];
        let mut count = 0;
        while count < line.len() {
            count += client.read(&mut line[count..]).unwrap();
        }
        assert_eq!(&line, b"* 1 EXISTS\r\n");
        server.reset();
        assert_eq!(client.read(&mut line).unwrap_or(0), 0);
        client.reset();
        stage.sessions_are_gone();
    }
}

/// The other half stays.
pub fn a_server_that_has_said_all_still_hears_its_client<R: Runtime>() {
    for tls in [PLAIN, BOTH] {
        let stage = Stage::<R>::new(Protocol::Imap);
        let (mut client, mut server) = relayed(&stage, tls);
        server.write(b"* OK\r\n").unwrap();
        server.close().unwrap();
        assert_eq!(client.read_to_end().unwrap(), b"* OK\r\n");
        let mail = Pattern::bytes(6, 300_000);
        let sent = mail.clone();
        let sending = thread::spawn(move || {
            client.write(&sent).unwrap();
            client.close().unwrap();
        });
        assert!(server.read_to_end().unwrap() == mail);
        sending.join().unwrap();
        stage.sessions_are_gone();
    }
}

/// Ours, for somebody else.
pub fn a_server_with_a_certificate_for_another_name_gets_no_session<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let local = stage.authority.leaf("mail.example").server_config();
    let address = stage.apply(stage.listener(stage.session()));
    let server = stage.accept(move |peer, _| peer.secured_by(local).map(drop));
    let farewell = Lines::connect(address).hear_from("* BYE [UNAVAILABLE]");
    assert!(farewell.contains("is for another name"), "{farewell}");
    // With TLS 1.3 a server is done before the client decides.
    let _ = server.join().unwrap();
    assert!(stage.accounts.clients.lock().unwrap().is_empty());
}

/// Within its ClientHello's answer, and within its greeting. Others are served meanwhile.
pub fn a_server_that_stalls_before_login_is_given_up<R: Runtime>() {
    let options = Options {
        connect_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let stage = Stage::<R>::with(Protocol::Imap, options);
    let address = stage.apply(stage.listener(stage.session()));
    let server = stage.accept(|peer, _| {
        // The head of a handshake record, and its beginning.
        let mut tcp = peer.tcp();
        tcp.write_all(&[0x16, 3, 3, 0x10, 0, 2, 0]).unwrap();
        let _ = std::io::copy(&mut tcp, &mut std::io::sink());
    });
    let farewell = Lines::connect(address).hear_from("* BYE [UNAVAILABLE]");
    assert!(farewell.contains("did not answer within"), "{farewell}");
    server.join().unwrap();

    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.limits.server_answer = Duration::from_millis(300);
    let (mut stalled, server) = stage.connected(session, |mut server, _| {
        server.say("* OK half a gree");
        server.hear()
    });
    stalled.hear_from("* BYE");
    assert_eq!(server.join().unwrap(), None);
    stage.sessions_are_gone();
}

/// One that stalls within a record of its mail makes nobody else wait.
pub fn a_stalled_session_holds_up_nobody<R: Runtime>() {
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    let stage = Stage::<R>::with(Protocol::Pop, options);
    let (stalled, server) = relayed(&stage, UPSTREAM);
    server
        .tcp()
        .write_all(&[0x17, 3, 3, 0x10, 0, 1, 2, 3])
        .unwrap();
    let address = stage.runtime.listeners()[0].addresses[0];
    let other = stage.accept_tls(serve);
    log_in_and_talk(&mut Lines::connect(address), Protocol::Pop, "right");
    other.join().unwrap();
    // The other one's place is given back a moment after its end.
    until("the end of the other session", || {
        stage.runtime.sessions() == 1
    });
    stalled.reset();
    stage.sessions_are_gone();
}

/// Before login, with an end and with a reset: nothing of the login reaches the server. In relay: what was sent does, and
/// then the end.
pub fn a_client_that_vanishes_within_a_literal_is_gone<R: Runtime>() {
    for reset in [false, true] {
        let stage = Stage::<R>::new(Protocol::Imap);
        let (mut client, server) = stage.connected(stage.session(), |mut server, protocol| {
            server.greet(protocol);
            server.take_login(protocol)
        });
        client.hear_from("* OK");
        client.say("A1 LOGIN {16}\r\n");
        client.hear_from("+");
        client.say("user@exa");
        match reset {
            true => client.0.reset(),
            false => drop(client),
        }
        assert_eq!(server.join().unwrap(), None);
        stage.sessions_are_gone();
        assert!(stage.accounts.clients.lock().unwrap().is_empty());

        let (mut client, mut server) = relayed(&stage, UPSTREAM);
        let begun = b"A2 APPEND INBOX {1000}\r\nSubject: half";
        client.write(begun).unwrap();
        let mut heard = vec![0; begun.len()];
        let mut count = 0;
        while count < heard.len() {
            count += server.read(&mut heard[count..]).unwrap();
        }
        assert_eq!(heard, begun);
        match reset {
            true => client.reset(),
            false => drop(client),
        }
        assert_eq!(server.read_to_end().unwrap(), b"");
        drop(server);
        stage.sessions_are_gone();
    }
}

/// Time before login is not prolonged by what comes, neither on a plaintext port nor in a TLS handshake.
pub fn a_client_that_sends_a_byte_now_and_then_is_let_go<R: Runtime>() {
    let options = Options {
        handshake_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    for local_tls in [LocalTls::None, LocalTls::Implicit] {
        let stage = Stage::<R>::with(Protocol::Imap, options.clone());
        let mut session = stage.session();
        session.local_tls = local_tls;
        session.limits.before_login = Duration::from_millis(300);
        let address = stage.apply(stage.listener(session));
        let server = (local_tls == LocalTls::None).then(|| {
            let local = stage.authority.leaf("localhost").server_config();
            stage.accept(move |peer, protocol| {
                // On a slow machine the time may be over before TLS is established.
                let mut server = Lines(peer.secured_by(local).ok()?);
                server.greet(protocol);
                server.take_login(protocol)
            })
        });
        let client = Lines::connect(address);
        let mut writing = client.0.clone();
        // The head of a ClientHello of 16 KiB; without TLS, a long tag.
        let first: &[u8] = match local_tls {
            LocalTls::None => b"A",
            _ => &[0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f],
        };
        writing.write(first).unwrap();
        let dribbling = thread::spawn(move || {
            // At least as long as anybody listens.
            while writing.write(b"A").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        stage.sessions_are_gone();
        drop(client);
        dribbling.join().unwrap();
        if let Some(server) = server {
            assert_eq!(server.join().unwrap(), None);
        }
    }
}

/// It asks and asks, and takes no answer: it is held back, and let go in the end.
pub fn a_client_that_never_reads_before_login_is_let_go<R: Runtime>() {
    const TOO_MUCH: usize = 256 << 20;
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.limits.before_login = Duration::from_millis(1500);
    session.limits.drain = Duration::from_millis(100);
    let (mut client, server) = stage.connected(session, |mut server, protocol| {
        server.greet(protocol);
        let text = format!("OK {}", "x".repeat(4000));
        while let Some(line) = server.hear() {
            let (tag, command) = line.split_once(' ').unwrap();
            let untagged = match command {
                "CAPABILITY" => "CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2",
                _ => text.as_str(),
            };
            let answer = format!("* {untagged}\r\n{tag} OK done\r\n");
            if server.0.write(answer.as_bytes()).is_err() {
                break;
            }
        }
    });
    client.hear_from("* OK");
    let commands = b"A NOOP\r\n".repeat(1000);
    let mut sent = 0;
    while client.0.write(&commands).is_ok() {
        sent += commands.len();
        assert!(sent < TOO_MUCH, "it is never held back");
    }
    stage.sessions_are_gone();
    server.join().unwrap();
}

/// A mail that nobody fetches: shutdown has a deadline for it.
pub fn shutdown_does_not_wait_for_a_client_that_never_reads<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (mut client, mut server) = relayed(&stage, UPSTREAM);
    let sending = thread::spawn(move || {
        let block = vec![7; 1 << 16];
        while server.write(&block).is_ok() {}
    });
    // It has begun.
    assert!(client.read(&mut [0; 16]).unwrap() > 0);
    let stopped = stage.runtime.shutdown(Duration::from_millis(200));
    assert_eq!(stopped, Stopped { cut_off: 1 });
    sending.join().unwrap();
    stage.sessions_are_gone();
}

/// One whose greeting has not come is told so when it says something; it is not kept for ever, whatever it does.
pub fn a_client_that_only_connects_is_let_go<R: Runtime>() {
    let options = Options {
        handshake_timeout: Duration::from_millis(200),
        ..Options::default()
    };
    let stage = Stage::<R>::with(Protocol::Imap, options);
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let address = stage.apply(stage.listener(session));
    let mut silent = Lines::connect(address);
    ends(&mut silent);
    stage.sessions_are_gone();
    let stranger = Authority::new().trust().client_config(None).unwrap();
    assert!(Lines::connect(address).0.secure(stranger).is_err());
    stage.sessions_are_gone();
}

/// The proxy's own end of a connection to a server that keeps talking after its QUIT.
pub fn a_server_that_never_stops_talking_is_left<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let (mut client, server) = stage.connected(stage.session(), |mut server, protocol| {
        server.greet(protocol);
        while server.hear().is_some() {}
        let block = b"+OK and another thing\r\n".repeat(1000);
        while server.0.write(&block).is_ok() {}
    });
    client.hear_from("+OK");
    log_in_refused(&mut client);
    client.0.close().unwrap();
    let mut rest = Vec::new();
    let _ = client.0.tcp().read_to_end(&mut rest);
    drop(client);
    stage.sessions_are_gone();
    server.join().unwrap();
}

fn log_in_refused(client: &mut Lines) {
    client.say("USER user@example.com\r\nPASS wrong\r\n");
    client.hear_from("-ERR");
}

/// Sessions come and go while one is in relay: it stays.
pub fn others_that_come_and_go_leave_a_relay_alone<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let (mut client, mut server) = relayed(&stage, BOTH);
    let address = stage.runtime.listeners()[0].addresses[0];
    let upstream = stage.server.try_clone().unwrap();
    thread::spawn(move || while upstream.accept().is_ok() {});
    for number in 0..200 {
        let other = Lines::connect(address);
        if number % 2 == 0 {
            other.0.reset();
        }
        let line = format!("{number:04}");
        client.write(line.as_bytes()).unwrap();
        let mut heard = [0; 4];
        let mut count = 0;
        while count < 4 {
            count += server.read(&mut heard[count..]).unwrap();
        }
        assert_eq!(heard, line.as_bytes());
    }
    until("the others are gone", || stage.runtime.sessions() == 1);
    client.close().unwrap();
    assert_eq!(server.read_to_end().unwrap(), b"");
    server.close().unwrap();
    stage.sessions_are_gone();
}
