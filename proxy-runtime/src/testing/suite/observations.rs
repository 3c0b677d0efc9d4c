//! What a runtime tells of itself.

use crate::testing::{
    Lines, Runtime, Stage, USER,
    stage::{log_in, log_in_and_talk, serve, talk},
    until,
};
use crate::{Counts, LoginCounts, Outcomes, Phase};
use proxy_proto::{LocalTls, Protocol, UpstreamTls};
use std::{net::TcpListener, sync::atomic::Ordering};

fn counts<R: Runtime>(stage: &Stage<R>) -> Counts {
    let counters = stage.runtime.counters();
    let (heading, counts) = &counters[0];
    assert_eq!(&**heading, "TEST-1");
    *counts
}

const ONE: Outcomes = Outcomes { ok: 1, failed: 0 };

/// From the login to the relay, with its bytes while it is open.
pub fn an_open_session_is_shown<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (mut client, server) = stage.connected(stage.session(), serve);
    let here = client.0.tcp().local_addr().unwrap();
    client.hear_from("* OK");
    client.say("A1 LOGIN user@example.com wait\r\n");
    stage.a_login_waits();
    let before = stage.runtime.open_sessions();
    assert_eq!(before.len(), 1);
    assert_eq!(before[0].phase, Phase::Login);
    assert_eq!(
        (&*before[0].listener, before[0].client, &before[0].user),
        ("TEST-1", here, &None)
    );
    stage.accounts.approved.notify(1);
    client.hear_from("A1 OK");
    client.say("first\r\n");
    assert_eq!(client.hear().as_deref(), Some("echo first"));
    // The bytes are told once they are moved, which the client may hear of earlier.
    until("the bytes are told", || {
        let relay = &stage.runtime.open_sessions()[0];
        (relay.to_server, relay.to_client) == (7, 12)
    });
    let relay = &stage.runtime.open_sessions()[0];
    assert_eq!((relay.id, relay.phase), (before[0].id, Phase::Relay));
    assert_eq!(relay.user.as_deref(), Some(USER));
    let seen = counts(&stage);
    assert_eq!((seen.open, seen.to_server, seen.to_clients), (1, 7, 12));
    talk(&mut client);
    server.join().unwrap();
    stage.sessions_are_gone();
    assert!(stage.runtime.open_sessions().is_empty());
    let seen = counts(&stage);
    // With what `talk` adds.
    assert_eq!((seen.open, seen.sessions), (0, 1));
    assert_eq!((seen.to_server, seen.to_clients), (7 + 7, 12 + 12));
}

/// A refused login, one that is accepted, TLS on both sides, once from the first byte and once behind STARTTLS.
pub fn what_happens_is_counted<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let (client, server) = stage.connected(session, serve);
    let mut client = stage.upgraded(client);
    client.hear_from("+OK");
    client.say("USER user@example.com\r\nPASS wrong\r\n");
    client.hear_from("-ERR");
    log_in(&mut client, Protocol::Pop, "right");
    talk(&mut client);
    server.join().unwrap();
    stage.sessions_are_gone();
    let seen = counts(&stage);
    let logins = LoginCounts {
        accepted: 1,
        refused: 1,
        ..LoginCounts::default()
    };
    assert_eq!((seen.sessions, seen.logins), (1, logins));
    assert_eq!(
        [seen.connects, seen.tls_with_clients, seen.tls_with_servers],
        [ONE, ONE, ONE]
    );
    assert_eq!((seen.to_server, seen.to_clients), (7, 12));

    let stage = Stage::<R>::new(Protocol::Smtp);
    let mut session = stage.session();
    session.local_tls = LocalTls::StartTlsRequired;
    session.upstream_tls = UpstreamTls::StartTls;
    let address = stage.apply(stage.listener(session));
    let local = stage.authority.leaf("localhost").server_config();
    let server = stage.accept(move |peer, protocol| {
        let mut plain = Lines(peer);
        plain.greet(protocol);
        plain.hear_from("EHLO");
        plain.say("250-mx.example\r\n250 STARTTLS\r\n");
        plain.hear_from("STARTTLS");
        plain.say("220 go ahead\r\n");
        let mut server = Lines(plain.0.secured_by(local).unwrap());
        server.take_login(protocol).unwrap();
        server.echo();
    });
    let mut client = Lines::connect(address);
    client.hear_from("220 ");
    client.say("EHLO laptop.example\r\n");
    client.hear_from("250 ");
    client.say("STARTTLS\r\n");
    client.hear_from("220 ");
    let mut client = stage.upgraded(client);
    log_in(&mut client, Protocol::Smtp, "right");
    talk(&mut client);
    server.join().unwrap();
    stage.sessions_are_gone();
    let seen = counts(&stage);
    assert_eq!(
        [seen.connects, seen.tls_with_clients, seen.tls_with_servers],
        [ONE, ONE, ONE]
    );
}

/// Whoever is not served, servers that cannot be reached, clients without TLS, logins that nobody waits for.
pub fn troubles_are_counted<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut listener = stage.listener(stage.session());
    listener.upstream_port = closed.local_addr().unwrap().port();
    drop(closed);
    let address = stage.apply(listener.clone());
    Lines::connect(address).hear_from("* BYE");
    stage.sessions_are_gone();
    assert_eq!(counts(&stage).connects, Outcomes { ok: 0, failed: 1 });

    let mut refusing = listener.clone();
    refusing.allow_from = Some("192.0.2.1".parse().unwrap());
    stage.apply(refusing);
    assert_eq!(Lines::connect(address).hear(), None);
    let mut balanced = listener.clone();
    balanced.proxy_protocol = Some("192.0.2.1".parse().unwrap());
    stage.apply(balanced.clone());
    assert_eq!(Lines::connect(address).hear(), None);
    balanced.proxy_protocol = Some("127.0.0.1".parse().unwrap());
    stage.apply(balanced);
    let mut silent = Lines::connect(address);
    silent.0.close().unwrap();
    assert_eq!(silent.hear(), None);
    let mut full = listener.clone();
    full.max_sessions = Some(0);
    stage.apply(full);
    assert_eq!(Lines::connect(address).hear(), None);
    stage.apply(listener);
    stage.runtime.limit(Some(0), None);
    assert_eq!(Lines::connect(address).hear(), None);
    stage.runtime.limit(None, Some(0));
    assert_eq!(Lines::connect(address).hear(), None);
    stage.runtime.limit(None, None);
    stage.sessions_are_gone();
    let away = counts(&stage).turned_away;
    assert_eq!((away.not_allowed, away.proxy_protocol), (1, 2));
    assert_eq!(
        (away.full, away.listener_full, away.address_full),
        (1, 1, 1)
    );
    assert_eq!(counts(&stage).sessions, 1);

    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let address = stage.apply(stage.listener(session.clone()));
    let mut plain = Lines::connect(address);
    plain.say("A1 NOOP\r\n");
    assert_eq!(plain.hear(), None);
    stage.sessions_are_gone();
    let failed = Outcomes { ok: 0, failed: 1 };
    assert_eq!(counts(&stage).tls_with_clients, failed);

    let server = stage.accept(|peer, _| drop(peer));
    let mut client = stage.upgraded(Lines::connect(address));
    client.hear_from("* BYE");
    server.join().unwrap();
    stage.sessions_are_gone();
    assert_eq!(counts(&stage).connects, ONE);
    assert_eq!(counts(&stage).tls_with_servers, failed);

    let (client, _server) = stage.connected(session, serve);
    let mut client = stage.upgraded(client);
    client.hear_from("* OK");
    client.say("A1 LOGIN user@example.com wait\r\n");
    stage.a_login_waits();
    drop(client);
    until("the request is given up", || {
        stage.accounts.waiting.load(Ordering::SeqCst) == 0
    });
    stage.sessions_are_gone();
    assert_eq!(counts(&stage).logins.abandoned, 1);
    assert_eq!(counts(&stage).logins.accepted, 0);
}

/// Those of the listener that stays, and those of one that is closed.
pub fn counters_survive_changes<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let listener = stage.listener(stage.session());
    let address = stage.apply(listener.clone());
    let server = stage.accept_tls(serve);
    log_in_and_talk(&mut Lines::connect(address), Protocol::Pop, "right");
    server.join().unwrap();
    stage.sessions_are_gone();
    let before = counts(&stage);
    let mut other = listener.clone();
    other.heading = "TEST-2".into();
    stage
        .runtime
        .apply(vec![other.clone(), listener.clone()])
        .unwrap();
    let counters = stage.runtime.counters();
    assert_eq!(
        counters,
        [
            ("TEST-2".into(), Counts::default()),
            ("TEST-1".into(), before)
        ]
    );
    stage.runtime.apply(vec![other]).unwrap();
    assert_eq!(stage.runtime.counters(), counters);
    stage.runtime.apply(vec![listener]).unwrap();
    assert_eq!(counts(&stage), before);
}
