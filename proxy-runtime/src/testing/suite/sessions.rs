//! Up to the login.

use crate::testing::{
    Authority, Lines, PATIENCE, Peer, Runtime, Stage,
    stage::{ends, expected_token, greeting, log_in, log_in_and_talk, login, serve, talk},
    until,
};
use crate::{Options, Stopped};
use proxy_proto::{LocalTls, Protocol, UpstreamTls};
use std::{
    net::TcpListener,
    sync::{atomic::Ordering, mpsc},
    time::Duration,
};

fn whole_session<R: Runtime>(protocol: Protocol) {
    let stage = Stage::<R>::new(protocol);
    let (mut client, server) = stage.connected(stage.session(), serve);
    log_in_and_talk(&mut client, protocol, "right");
    assert_eq!(server.join().unwrap(), expected_token());
    stage.sessions_are_gone();
    assert_eq!(stage.accounts.open.load(Ordering::SeqCst), 0);
}

/// IMAP.
pub fn imap_from_greeting_to_end<R: Runtime>() {
    whole_session::<R>(Protocol::Imap);
}

/// POP.
pub fn pop_from_greeting_to_end<R: Runtime>() {
    whole_session::<R>(Protocol::Pop);
}

/// SMTP.
pub fn smtp_from_greeting_to_end<R: Runtime>() {
    whole_session::<R>(Protocol::Smtp);
}

/// And the authenticator hears of the open session.
pub fn a_refused_login_leaves_the_session_usable<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (mut client, server) = stage.connected(stage.session(), serve);
    client.hear_from("* OK");
    client.say("A0 LOGIN user@example.com wrong\r\n");
    let refusal = client.hear_from("A0 ");
    assert!(
        refusal.starts_with("A0 NO [AUTHENTICATIONFAILED]"),
        "{refusal}"
    );
    log_in(&mut client, Protocol::Imap, "right");
    client.say("first\r\n");
    assert_eq!(client.hear().as_deref(), Some("echo first"));
    // What is echoed has been relayed, so the authenticator has heard of the session.
    assert_eq!(stage.accounts.open.load(Ordering::SeqCst), 1);
    talk(&mut client);
    server.join().unwrap();
}

/// STARTTLS towards the server.
pub fn the_server_side_is_upgraded_by_starttls<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Smtp);
    let mut session = stage.session();
    session.upstream_tls = UpstreamTls::StartTls;
    let address = stage.apply(stage.listener(session));
    let local = stage.authority.leaf("localhost").server_config();
    let server = stage.accept(move |peer, protocol| {
        let mut plain = Lines(peer);
        plain.greet(protocol);
        plain.hear_from("EHLO");
        plain.say("250-mx.example\r\n250 STARTTLS\r\n");
        assert_eq!(plain.hear().as_deref(), Some("STARTTLS"));
        plain.say("220 go ahead\r\n");
        let mut server = Lines(plain.0.secured_by(local).unwrap());
        let token = server.take_login(protocol).unwrap();
        server.echo();
        token
    });
    log_in_and_talk(&mut Lines::connect(address), Protocol::Smtp, "right");
    assert!(!server.join().unwrap().is_empty());
}

/// Implicit TLS towards the client.
pub fn the_client_side_speaks_tls_from_the_first_byte<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let (client, server) = stage.connected(session, serve);
    log_in_and_talk(&mut stage.upgraded(client), Protocol::Pop, "right");
    assert_eq!(server.join().unwrap(), expected_token());
}

/// STARTTLS towards the client.
pub fn the_client_side_is_upgraded_by_starttls<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Smtp);
    let mut session = stage.session();
    session.local_tls = LocalTls::StartTlsRequired;
    let (mut client, server) = stage.connected(session, serve);
    client.hear_from("220 ");
    client.say("EHLO laptop.example\r\n");
    client.hear_from("250 ");
    client.say("STARTTLS\r\n");
    client.hear_from("220 ");
    let mut client = stage.upgraded(client);
    log_in(&mut client, Protocol::Smtp, "right");
    talk(&mut client);
    assert_eq!(server.join().unwrap(), expected_token());
}

/// It cannot be told so, but it is not kept either.
pub fn a_client_without_tls_on_a_tls_port_is_let_go<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let mut client = Lines::connect(stage.apply(stage.listener(session)));
    client.say("A1 CAPABILITY\r\n");
    assert_eq!(client.hear(), None);
    stage.sessions_are_gone();
}

/// The future is dropped.
pub fn a_client_that_leaves_gives_up_its_request<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (mut client, server) = stage.connected(stage.session(), |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol)
    });
    client.hear_from("* OK");
    client.say(&login(Protocol::Imap, "wait"));
    stage.a_login_waits();
    drop(client);
    stage.sessions_are_gone();
    assert_eq!(stage.accounts.waiting.load(Ordering::SeqCst), 0);
    assert_eq!(server.join().unwrap(), None);
}

/// The server says nothing, not even TLS.
pub fn a_client_that_leaves_while_connecting_is_noticed<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let client = Lines::connect(stage.apply(stage.listener(stage.session())));
    let _server = stage.server.accept().unwrap();
    assert_eq!(stage.runtime.sessions(), 1);
    drop(client);
    stage.sessions_are_gone();
}

/// The client sees one slow login.
pub fn a_server_that_leaves_during_consent_is_connected_anew<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (leave, leaving) = mpsc::channel::<()>();
    let (mut client, first) = stage.connected(stage.session(), move |mut server, protocol| {
        server.greet(protocol);
        // Answers what the proxy asks on its own, and leaves once the login waits.
        let mut asked = Lines(server.0.clone());
        let answering = std::thread::spawn(move || {
            while let Some(line) = asked.hear() {
                let tag = line.split(' ').next().unwrap_or_default();
                asked.say(&format!(
                    "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n{tag} OK done\r\n"
                ));
            }
        });
        leaving.recv().unwrap();
        server.0.close().unwrap();
        // The proxy's own end shows that it has noticed.
        answering.join().unwrap();
    });
    client.hear_from("* OK");
    client.say(&login(Protocol::Imap, "wait"));
    stage.a_login_waits();
    leave.send(()).unwrap();
    first.join().unwrap();
    let second = stage.accept_tls(serve);
    stage.accounts.approved.notify(usize::MAX);
    client.hear_from("A1 OK");
    talk(&mut client);
    assert_eq!(second.join().unwrap(), expected_token());
}

/// The others do not notice.
pub fn a_panic_ends_one_session_only<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (mut healthy, server) = stage.connected(stage.session(), serve);
    healthy.hear_from("* OK");
    log_in(&mut healthy, Protocol::Imap, "right");

    let mut ill = Lines::connect(stage.runtime.listeners()[0].addresses[0]);
    let other = stage.accept_tls(|mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol)
    });
    ill.hear_from("* OK");
    ill.say(&login(Protocol::Imap, "panic"));
    ends(&mut ill);
    assert_eq!(other.join().unwrap(), None);

    talk(&mut healthy);
    server.join().unwrap();
    stage.sessions_are_gone();
}

/// In all protocols.
pub fn shutdown_says_farewell_before_login<R: Runtime>() {
    for (protocol, farewell) in [
        (Protocol::Imap, "* BYE"),
        (Protocol::Pop, "-ERR [SYS/TEMP]"),
        (Protocol::Smtp, "421 "),
    ] {
        let stage = Stage::<R>::new(protocol);
        let (asked, asking) = mpsc::channel();
        let (mut client, server) = stage.connected(stage.session(), move |mut server, protocol| {
            server.greet(protocol);
            while server.hear().is_some() {
                asked.send(()).unwrap();
            }
        });
        if protocol == Protocol::Imap {
            // The server leaves the proxy's own question for capabilities open, so that no greeting is passed on:
            // the farewell comes all the same.
            asking.recv_timeout(PATIENCE).unwrap();
        } else {
            client.hear_from(greeting(protocol));
        }
        let hearing = std::thread::spawn(move || {
            client.hear_from(farewell);
            assert_eq!(client.hear(), None);
        });
        let stopped = stage.runtime.shutdown(PATIENCE);
        assert_eq!(stopped, Stopped { cut_off: 0 });
        hearing.join().unwrap();
        server.join().unwrap();
    }
}

/// Whoever has not even begun needs no farewell.
pub fn shutdown_ends_an_unfinished_handshake<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let mut client = Lines::connect(stage.apply(stage.listener(session)));
    until("a session", || stage.runtime.sessions() > 0);
    let stopped = stage.runtime.shutdown(PATIENCE);
    assert_eq!(stopped, Stopped { cut_off: 0 });
    assert_eq!(client.hear(), None);
}

/// The server owes an answer and never gives it.
pub fn shutdown_cuts_off_a_relay_that_is_not_done<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let (heard, hearing) = mpsc::channel();
    let (mut client, server) = stage.connected(stage.session(), move |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol);
        heard.send(server.hear()).unwrap();
        server.hear()
    });
    client.hear_from("* OK");
    log_in(&mut client, Protocol::Imap, "right");
    client.say("A2 SEARCH ALL\r\n");
    let heard = hearing.recv_timeout(PATIENCE).unwrap();
    assert_eq!(heard.as_deref(), Some("A2 SEARCH ALL"));
    let stopped = stage.runtime.shutdown(Duration::from_millis(20));
    assert_eq!(stopped, Stopped { cut_off: 1 });
    assert_eq!(client.hear(), None);
    assert_eq!(server.join().unwrap(), None);
}

/// With the server's name.
pub fn an_unreachable_server_is_told_to_the_client<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut listener = stage.listener(stage.session());
    listener.upstream_port = closed.local_addr().unwrap().port();
    drop(closed);
    let mut client = Lines::connect(stage.apply(listener));
    let farewell = client.hear_from("* BYE");
    assert!(farewell.starts_with("* BYE [UNAVAILABLE]"), "{farewell}");
    assert!(farewell.contains("localhost"), "{farewell}");
    assert_eq!(client.hear(), None);
}

/// It accepts and says nothing.
pub fn a_silent_server_is_given_up<R: Runtime>() {
    let options = Options {
        connect_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let stage = Stage::<R>::with(Protocol::Imap, options);
    let mut client = Lines::connect(stage.apply(stage.listener(stage.session())));
    let farewell = client.hear_from("* BYE");
    assert!(farewell.contains("did not answer within"), "{farewell}");
}

/// In front of a server whose certificate lasts until `year` and whose authority may be known.
fn refused_tls<R: Runtime>(known: bool, year: i32, expected: &str) {
    let stage = Stage::<R>::new(Protocol::Smtp);
    let stranger = Authority::new();
    let local = match known {
        true => stage.authority.leaf_until("localhost", year),
        false => stranger.leaf_until("localhost", year),
    };
    let local = local.server_config();
    let address = stage.apply(stage.listener(stage.session()));
    let server = stage.accept(move |peer, _| peer.secured_by(local).map(|_: Peer| ()));
    let farewell = Lines::connect(address).hear_from("421 ");
    assert!(farewell.contains(expected), "{farewell}");
    // With TLS 1.3 a server is done before the client decides: it hears of that at its next read.
    let _ = server.join().unwrap();
    assert!(stage.accounts.clients.lock().unwrap().is_empty());
}

/// Another authority than ours.
pub fn a_server_that_is_not_trusted_gets_no_session<R: Runtime>() {
    refused_tls::<R>(false, 4000, "not trusted");
}

/// Ours, long ago.
pub fn a_server_whose_certificate_has_expired_gets_no_session<R: Runtime>() {
    refused_tls::<R>(true, 2001, "has expired");
}

/// With what to check.
pub fn a_server_without_tls_is_told_to_the_client<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let address = stage.apply(stage.listener(stage.session()));
    let server = stage.accept(|peer, protocol| Lines(peer).greet(protocol));
    let farewell = Lines::connect(address).hear_from("* BYE");
    assert!(
        farewell.contains("does not speak TLS on this port"),
        "{farewell}"
    );
    server.join().unwrap();
}

/// The server is silent: the client is recognised without its help.
pub fn tls_on_a_plaintext_port_is_let_go<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let client = Lines::connect(stage.apply(stage.listener(stage.session())));
    let config = stage.authority.trust().client_config(None).unwrap();
    assert!(client.0.secure(config).is_err());
    stage.sessions_are_gone();
}

/// Later connections to a server take up the TLS session of an earlier one, which saves most of the handshake; each
/// configuration for its own server.
pub fn tls_sessions_with_servers_are_resumed<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    // One configuration for all of them: tickets are the server's.
    let local = stage.authority.leaf("localhost").server_config();
    let address = stage.apply(stage.listener(stage.session()));
    let mut resumed = Vec::new();
    for _ in 0..3 {
        let local = local.clone();
        let server = stage.accept(move |peer, protocol| {
            let peer = peer.secured_by(local).unwrap();
            let resumed = peer.is_resumed();
            serve(Lines(peer), protocol);
            resumed
        });
        log_in_and_talk(&mut Lines::connect(address), Protocol::Pop, "right");
        resumed.push(server.join().unwrap());
        stage.sessions_are_gone();
    }
    assert_eq!(resumed, [false, true, true]);
}
