//! Who is served, through what.

use crate::testing::{
    Authority, Lines, PATIENCE, Runtime, Stage,
    stage::{expected_token, greet_only, log_in, log_in_and_talk, serve, talk},
    until,
};
use crate::{Options, Stopped};
use proxy_proto::{LocalTls, Protocol};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Nothing is said to them.
pub fn allow_from_turns_others_away<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let mut listener = stage.listener(stage.session());
    listener.allow_from = Some("192.0.2.0/24, 2001:db8::/32".parse().unwrap());
    let address = stage.apply(listener.clone());
    assert_eq!(Lines::connect(address).hear(), None);
    assert_eq!(stage.runtime.sessions(), 0);
    // The listener stays; only who is served changes.
    listener.allow_from = Some("127.0.0.0/8".parse().unwrap());
    assert_eq!(stage.apply(listener), address);
    let server = stage.accept_tls(serve);
    log_in_and_talk(&mut Lines::connect(address), Protocol::Pop, "right");
    server.join().unwrap();
}

/// Version 1 and 2, before plaintext and before TLS.
pub fn a_balancer_names_the_client<R: Runtime>() {
    let v1 = b"PROXY TCP4 203.0.113.9 127.0.0.1 4321 993\r\n".to_vec();
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    v2.extend([203, 0, 113, 9, 127, 0, 0, 1, 0x10, 0xe1, 0x03, 0xe1]);
    let named: SocketAddr = "203.0.113.9:4321".parse().unwrap();
    for header in [v1, v2] {
        for tls in [LocalTls::None, LocalTls::Implicit] {
            let stage = Stage::<R>::new(Protocol::Pop);
            let mut session = stage.session();
            session.local_tls = tls;
            let mut listener = stage.listener(session);
            listener.proxy_protocol = Some("127.0.0.1".parse().unwrap());
            listener.allow_from = Some("203.0.113.0/24".parse().unwrap());
            let mut client = Lines::connect(stage.apply(listener));
            let server = stage.accept_tls(serve);
            // In two parts, the second one with the client's own bytes where it speaks first.
            client.0.write(&header[..7]).unwrap();
            thread::sleep(Duration::from_millis(1));
            client.0.write(&header[7..]).unwrap();
            if tls == LocalTls::Implicit {
                client = stage.upgraded(client);
            }
            log_in_and_talk(&mut client, Protocol::Pop, "right");
            assert_eq!(server.join().unwrap(), expected_token());
            assert_eq!(*stage.accounts.clients.lock().unwrap(), [named]);
        }
    }
}

/// Whatever it sends.
pub fn who_is_no_balancer_is_turned_away<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut listener = stage.listener(stage.session());
    listener.proxy_protocol = Some("192.0.2.1".parse().unwrap());
    let mut client = Lines::connect(stage.apply(listener));
    assert_eq!(client.hear(), None);
}

/// At once when it sends something else, in time when it sends nothing.
pub fn a_balancer_without_a_header_is_turned_away<R: Runtime>() {
    let options = Options {
        handshake_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    for (options, words) in [(Options::default(), "A1 NOOP\r\n"), (options, "")] {
        let stage = Stage::<R>::with(Protocol::Imap, options);
        let mut listener = stage.listener(stage.session());
        listener.proxy_protocol = Some("127.0.0.1".parse().unwrap());
        let mut client = Lines::connect(stage.apply(listener));
        client.say(words);
        assert_eq!(client.hear(), None);
        stage.sessions_are_gone();
    }
}

/// Nobody is owed a farewell.
pub fn shutdown_ends_the_wait_for_a_header<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut listener = stage.listener(stage.session());
    listener.proxy_protocol = Some("127.0.0.1".parse().unwrap());
    let mut balancer = Lines::connect(stage.apply(listener));
    balancer.say("PROXY TCP4 ");
    until("a session", || stage.runtime.sessions() == 1);
    let stopped = stage.runtime.shutdown(PATIENCE);
    assert_eq!(stopped, Stopped { cut_off: 0 });
    assert_eq!(balancer.hear(), None);
}

/// Not for the balancer itself, which may look whether the proxy is there.
pub fn allow_from_holds_for_whom_the_balancer_names<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let mut listener = stage.listener(stage.session());
    listener.proxy_protocol = Some("127.0.0.1".parse().unwrap());
    listener.allow_from = Some("203.0.113.0/24".parse().unwrap());
    let address = stage.apply(listener);
    for header in [
        "PROXY TCP4 198.51.100.1 127.0.0.1 1 2\r\n",
        "PROXY UNKNOWN\r\n",
    ] {
        let mut client = Lines::connect(address);
        client.say(header);
        assert_eq!(client.hear(), None, "{header}");
    }
    let server = stage.accept_tls(greet_only);
    let mut balancer = Lines::connect(address);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    balancer.0.write(local).unwrap();
    balancer.hear_from("+OK");
    balancer.0.close().unwrap();
    server.join().unwrap();
}

/// Reads one request as this proxy knows it, answers, and passes bytes on; returns what was asked for.
fn proxy(
    converse: impl FnOnce(&mut TcpStream) -> Vec<u8> + Send + 'static,
    server: SocketAddr,
) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        let asked = converse(&mut near);
        let mut far = TcpStream::connect(server).unwrap();
        let (mut from_far, mut to_near) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let back = thread::spawn(move || {
            let _ = std::io::copy(&mut from_far, &mut to_near);
            let _ = to_near.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut near, &mut far);
        let _ = far.shutdown(std::net::Shutdown::Write);
        back.join().unwrap();
        asked
    });
    (port, thread)
}

fn read<const N: usize>(from: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

/// With a login.
pub fn a_socks_proxy_is_gone_through<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let converse = |near: &mut TcpStream| {
        assert_eq!(read::<4>(near), [5, 2, 0, 2]);
        near.write_all(&[5, 2]).unwrap();
        assert_eq!(&read::<12>(near), b"\x01\x03ada\x06sesame");
        near.write_all(&[1, 0]).unwrap();
        assert_eq!(read::<5>(near), [5, 1, 0, 3, 9]);
        let asked = read::<11>(near).to_vec();
        near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        asked
    };
    let (port, through) = proxy(converse, stage.server.local_addr().unwrap());
    let mut listener = stage.listener(stage.session());
    let url = format!("socks5://ada:sesame@127.0.0.1:{port}");
    listener.outgoing_proxy = Some(std::sync::Arc::new(url.parse().unwrap()));
    let upstream_port = listener.upstream_port;
    let mut client = Lines::connect(stage.apply(listener));
    let server = stage.accept_tls(serve);
    log_in_and_talk(&mut client, Protocol::Imap, "right");
    assert_eq!(server.join().unwrap(), expected_token());
    let asked = [b"localhost", &upstream_port.to_be_bytes()[..]].concat();
    assert_eq!(through.join().unwrap(), asked);
}

/// Without TLS behind it, the server's greeting may come with the proxy's answer.
pub fn an_http_proxy_is_gone_through<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Smtp);
    let converse = |near: &mut TcpStream| {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.extend(read::<1>(near));
        }
        near.write_all(b"HTTP/1.1 200 OK\r\nVia: somebody\r\n\r\n220 mx.example ready\r\n")
            .unwrap();
        asked
    };
    let (port, through) = proxy(converse, stage.server.local_addr().unwrap());
    let mut session = stage.session();
    session.upstream_tls = proxy_proto::UpstreamTls::StartTls;
    let mut listener = stage.listener(session);
    let url = format!("http://127.0.0.1:{port}");
    listener.outgoing_proxy = Some(std::sync::Arc::new(url.parse().unwrap()));
    let upstream_port = listener.upstream_port;
    let mut client = Lines::connect(stage.apply(listener));
    let local = stage.authority.leaf("localhost").server_config();
    let server = stage.accept(move |peer, protocol| {
        let mut plain = Lines(peer);
        plain.hear_from("EHLO");
        plain.say("250-mx.example\r\n250 STARTTLS\r\n");
        plain.hear_from("STARTTLS");
        plain.say("220 go ahead\r\n");
        let mut server = Lines(plain.0.secured_by(local).unwrap());
        server.take_login(protocol).unwrap();
        server.echo();
    });
    log_in_and_talk(&mut client, Protocol::Smtp, "right");
    server.join().unwrap();
    let asked = String::from_utf8(through.join().unwrap()).unwrap();
    let line = format!("CONNECT localhost:{upstream_port} HTTP/1.1\r\n");
    assert!(asked.starts_with(&line), "{asked}");
}

/// So is one that is not there.
pub fn a_proxy_that_refuses_is_told_to_the_client<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = proxy.local_addr().unwrap().port();
    let mut listener = stage.listener(stage.session());
    let url = format!("http://ada:sesame@127.0.0.1:{port}");
    listener.outgoing_proxy = Some(std::sync::Arc::new(url.parse().unwrap()));
    let address = stage.apply(listener);
    let refusing = thread::spawn(move || {
        let (mut near, _) = proxy.accept().unwrap();
        near.write_all(b"HTTP/1.1 407 Who are you\r\n\r\n").unwrap();
        let _ = near.read_to_end(&mut Vec::new());
    });
    let farewell = Lines::connect(address).hear_from("* BYE [UNAVAILABLE]");
    assert!(farewell.contains("wants a login"), "{farewell}");
    assert!(!farewell.contains("sesame"), "{farewell}");
    refusing.join().unwrap();
    let farewell = Lines::connect(address).hear_from("* BYE [UNAVAILABLE]");
    assert!(farewell.contains("outgoing_proxy"), "{farewell}");
    assert!(farewell.contains("connection refused"), "{farewell}");
}

/// Later clients see the new one.
pub fn certificates_change_and_sessions_stay<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let (client, first) = stage.connected(session.clone(), serve);
    let mut old = stage.upgraded(client);
    old.hear_from("+OK");
    log_in(&mut old, Protocol::Pop, "right");

    let other = Authority::new();
    let mut listener = stage.listener(session);
    listener.local_tls = Some(other.leaf("localhost").server_config());
    let address = stage.apply(listener);
    let client = Lines::connect(address);
    let config = other.trust().client_config(None).unwrap();
    let second = stage.accept_tls(serve);
    let mut new = Lines(client.0.secure(config).unwrap());
    log_in_and_talk(&mut new, Protocol::Pop, "right");
    second.join().unwrap();

    talk(&mut old);
    first.join().unwrap();
}

/// Each its own.
pub fn limits_of_listeners_hold<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut one = stage.listener(stage.session());
    one.max_sessions = Some(1);
    let mut other = one.clone();
    other.heading = "TEST-2".into();
    stage.runtime.apply(vec![one, other]).unwrap();
    let addresses: Vec<_> = stage
        .runtime
        .listeners()
        .iter()
        .map(|bound| bound.addresses[0])
        .collect();
    let first = Lines::connect(addresses[0]);
    until("a session", || stage.runtime.sessions() == 1);
    assert_eq!(Lines::connect(addresses[0]).hear(), None);
    let second = Lines::connect(addresses[1]);
    until("another session", || stage.runtime.sessions() == 2);
    drop((first, second));
    stage.sessions_are_gone();
}

/// For later clients.
pub fn limits_change_while_running<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let address = stage.apply(stage.listener(stage.session()));
    let _first = Lines::connect(address);
    until("a session", || stage.runtime.sessions() == 1);
    stage.runtime.limit(Some(1), None);
    assert_eq!(Lines::connect(address).hear(), None);
    stage.runtime.limit(None, Some(2));
    let _second = Lines::connect(address);
    until("another session", || stage.runtime.sessions() == 2);
    assert_eq!(Lines::connect(address).hear(), None);
}
