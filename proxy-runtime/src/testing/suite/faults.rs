//! What must not wear a runtime out.

use crate::Stopped;
use crate::testing::{
    Lines, PATIENCE, Peer, Runtime, Stage,
    stage::{log_in, login, serve, talk},
    until,
};
use proxy_proto::{LocalTls, Protocol};
use std::{
    io::Write,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// Clients that connect and leave, some with a reset; descriptors are where they were.
pub fn many_come_and_go_and_leave_nothing<R: Runtime>() {
    const MANY: usize = 1000;
    let stage = Stage::<R>::new(Protocol::Pop);
    let address = stage.apply(stage.listener(stage.session()));
    let server = stage.server.try_clone().unwrap();
    // Accepts and leaves, for as long as there are clients.
    thread::spawn(move || while server.accept().is_ok() {});
    for number in 0..MANY {
        let client = Peer::connect(address);
        if number % 3 == 0 {
            client.reset();
        }
    }
    stage.sessions_are_gone();
    assert!(stage.accounts.clients.lock().unwrap().is_empty());
}

/// Each change swaps the listeners around the one that is talked through.
pub fn changes_under_load_lose_no_session<R: Runtime>() {
    const SESSIONS: usize = 12;
    let stage = Stage::<R>::new(Protocol::Pop);
    let listener = stage.listener(stage.session());
    let address = stage.apply(listener.clone());
    let server = stage.server.try_clone().unwrap();
    let local = stage.authority.leaf("localhost").server_config();
    thread::spawn(move || {
        while let Ok((tcp, _)) = server.accept() {
            let peer = Peer::new(tcp).secured_by(local.clone()).unwrap();
            thread::spawn(move || serve(Lines(peer), Protocol::Pop));
        }
    });
    let left = AtomicUsize::new(SESSIONS);
    thread::scope(|scope| {
        for _ in 0..SESSIONS {
            scope.spawn(|| {
                let mut client = Lines::connect(address);
                client.hear_from("+OK");
                log_in(&mut client, Protocol::Pop, "right");
                for number in 0..100 {
                    client.say(&format!("{number}\r\n"));
                    assert_eq!(client.hear(), Some(format!("echo {number}")));
                }
                talk(&mut client);
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut number = 0;
        while left.load(Ordering::SeqCst) > 0 {
            let mut other = listener.clone();
            other.heading = format!("OTHER-{number}").into();
            stage.runtime.apply(vec![other, listener.clone()]).unwrap();
            number += 1;
        }
        assert!(number > 1);
    });
    stage.sessions_are_gone();
}

/// It is told so, and let go.
pub fn a_client_that_never_logs_in_is_let_go<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.limits.before_login = Duration::from_millis(300);
    let address = stage.apply(stage.listener(session));
    let local = stage.authority.leaf("localhost").server_config();
    let server = stage.accept(move |peer, protocol| {
        // On a slow machine the time may be over before TLS is established.
        let mut server = Lines(peer.secured_by(local).ok()?);
        server.greet(protocol);
        server.take_login(protocol)
    });
    let mut client = Lines::connect(address);
    client.hear_from("* BYE");
    assert_eq!(client.hear(), None);
    assert_eq!(server.join().unwrap(), None);
    stage.sessions_are_gone();
}

/// TLS, and then nothing.
pub fn a_server_that_never_greets_is_given_up<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Smtp);
    let mut session = stage.session();
    session.limits.server_answer = Duration::from_millis(300);
    let address = stage.apply(stage.listener(session));
    let local = stage.authority.leaf("localhost").server_config();
    let server = stage.accept(move |peer, _| Lines(peer.secured_by(local).ok()?).hear());
    let mut client = Lines::connect(address);
    client.hear_from("421 ");
    assert_eq!(client.hear(), None);
    assert_eq!(server.join().unwrap(), None);
}

/// An IMAP client is kept waiting with untagged answers; in the end it may try again.
pub fn a_consent_that_never_comes_ends<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.limits.keepalive = Duration::from_millis(10);
    session.limits.consent = Duration::from_millis(300);
    let (mut client, server) = stage.connected(session, serve);
    client.hear_from("* OK");
    client.say(&login(Protocol::Imap, "wait"));
    client.hear_from("* OK");
    client.hear_from("* OK");
    client.hear_from("A1 NO [UNAVAILABLE]");
    until("the request is given up", || {
        stage.accounts.waiting.load(Ordering::SeqCst) == 0
    });
    log_in(&mut client, Protocol::Imap, "right");
    talk(&mut client);
    server.join().unwrap();
}

/// Somebody may be interfering.
pub fn what_comes_behind_starttls_ends_the_session<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Smtp);
    let mut session = stage.session();
    session.local_tls = LocalTls::StartTlsRequired;
    let (mut client, server) = stage.connected(session, |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol)
    });
    client.hear_from("220 ");
    client.say("EHLO laptop.example\r\n");
    client.hear_from("250 ");
    client.say("STARTTLS\r\nEHLO attacker.example\r\n");
    while let Some(line) = client.hear() {
        assert!(!line.starts_with("250"), "{line}");
    }
    assert_eq!(server.join().unwrap(), None);
    stage.sessions_are_gone();
}

/// The record is never completed; shutdown ends the session all the same.
pub fn a_server_that_stalls_within_a_record_stops_nothing<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let (mut client, server) = stage.connected(stage.session(), |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol).unwrap();
        // The head of a record of 4 KiB, and its beginning.
        let mut tcp = server.0.tcp();
        tcp.write_all(&[0x17, 3, 3, 0x10, 0, 1, 2, 3]).unwrap();
        while server.hear().is_some() {}
    });
    client.hear_from("+OK");
    log_in(&mut client, Protocol::Pop, "right");
    let stopped = stage.runtime.shutdown(PATIENCE);
    assert_eq!(stopped, Stopped { cut_off: 0 });
    assert_eq!(client.hear(), None);
    server.join().unwrap();
}
