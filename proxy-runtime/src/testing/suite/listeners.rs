//! Listeners: bound, kept, moved, refused.

use crate::testing::{PATIENCE, Runtime, Stage};
use crate::{ListenError, ListenerConfig, Options};
use proxy_proto::{LocalTls, Protocol};
use std::{
    io::Read,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

/// In front of a server that accepts connections and says nothing.
fn silent<R: Runtime>() -> Stage<R> {
    Stage::new(Protocol::Imap)
}

fn listener<R: Runtime>(
    stage: &Stage<R>,
    heading: &str,
    address: &str,
    port: u16,
) -> ListenerConfig {
    let mut listener = stage.listener(stage.session());
    listener.heading = heading.into();
    listener.address = address.to_owned();
    listener.port = port;
    listener
}

fn addresses<R: Runtime>(stage: &Stage<R>) -> Vec<SocketAddr> {
    let listeners = stage.runtime.listeners();
    let addresses = listeners.into_iter().flat_map(|bound| bound.addresses);
    addresses.collect()
}

fn reachable(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// IPv4, and IPv6 where there is some.
pub fn the_default_address_takes_both_families<R: Runtime>() {
    let stage = silent::<R>();
    let everywhere = listener(&stage, "IMAP-1993", "::", 0);
    stage.runtime.apply(vec![everywhere]).unwrap();
    let port = addresses(&stage)[0].port();
    assert!(reachable(SocketAddr::new([127, 0, 0, 1].into(), port)));
    if has_ipv6() {
        assert!(reachable(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)));
    }
}

/// IPv6 first.
pub fn a_host_name_takes_all_its_addresses_with_one_port<R: Runtime>() {
    let stage = silent::<R>();
    let named = listener(&stage, "POP-1995", "localhost", 0);
    stage.runtime.apply(vec![named.clone()]).unwrap();
    let bound = addresses(&stage);
    assert!(bound.iter().all(|address| address.ip().is_loopback()));
    assert!(
        bound
            .iter()
            .all(|address| address.port() == bound[0].port())
    );
    assert!(bound.is_sorted_by_key(|address| address.is_ipv4()));
    assert!(bound.iter().all(|address| reachable(*address)));
    // Resolved again, to the same addresses.
    stage.runtime.apply(vec![named]).unwrap();
    assert_eq!(addresses(&stage), bound);
    assert!(bound.iter().all(|address| reachable(*address)));
}

/// With what to do.
pub fn a_port_in_use_is_named_and_nothing_changes<R: Runtime>() {
    let stage = silent::<R>();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let first = listener(&stage, "IMAP-1993", "127.0.0.1", 0);
    stage.runtime.apply(vec![first]).unwrap();
    let before = stage.runtime.listeners();
    let errors = stage
        .runtime
        .apply(vec![
            listener(&stage, "POP-1995", "127.0.0.1", 0),
            listener(&stage, "SMTP-1465", "127.0.0.1", port),
        ])
        .unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with(&format!(
            "[SMTP-1465]: cannot listen on 127.0.0.1 port {port}: the port is in use"
        )),
        "{texts:?}"
    );
    assert_eq!(stage.runtime.listeners(), before);
    assert!(reachable(before[0].addresses[0]));
}

/// A name that never has an address (RFC 6761).
pub fn an_unknown_name_to_listen_on_is_named<R: Runtime>() {
    let stage = silent::<R>();
    let unknown = listener(&stage, "IMAP-1993", "no-such-host.invalid", 0);
    let errors = stage.runtime.apply(vec![unknown]).unwrap_err();
    assert!(
        matches!(&errors[..], [ListenError::Resolve { .. }]),
        "{errors:?}"
    );
}

/// All of them are named.
pub fn configurations_that_cannot_work_are_refused_before_anything_is_bound<R: Runtime>() {
    let stage = silent::<R>();
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let mut without = listener(&stage, "IMAP-1", "127.0.0.1", 0);
    without.session = Arc::new(session);
    let errors = stage
        .runtime
        .apply(vec![
            without,
            listener(&stage, "IMAP-60001", "127.0.0.1", 60001),
            listener(&stage, "POP-60001", "127.0.0.1", 60001),
        ])
        .unwrap_err();
    assert!(
        matches!(
            &errors[..],
            [
                ListenError::NoCertificate { .. },
                ListenError::Duplicate { .. }
            ]
        ),
        "{errors:?}"
    );
    assert!(stage.runtime.listeners().is_empty());
}

/// By difference.
pub fn a_change_keeps_binds_and_closes<R: Runtime>() {
    let stage = silent::<R>();
    let first = listener(&stage, "IMAP-1993", "127.0.0.1", 0);
    let second = listener(&stage, "POP-1995", "127.0.0.1", 0);
    stage.runtime.apply(vec![first.clone(), second]).unwrap();
    let before = stage.runtime.listeners();
    let third = listener(&stage, "SMTP-1465", "127.0.0.1", 0);
    stage.runtime.apply(vec![third, first]).unwrap();
    let after = stage.runtime.listeners();
    let headings: Vec<&str> = after.iter().map(|bound| &*bound.heading).collect();
    assert_eq!(headings, ["SMTP-1465", "IMAP-1993"]);
    assert_eq!(after[1], before[0]);
    assert!(reachable(after[0].addresses[0]));
    // The closed one's port is free again.
    TcpListener::bind(before[1].addresses[0]).unwrap();
}

/// From all addresses to one.
pub fn a_port_can_move_to_another_address<R: Runtime>() {
    let stage = silent::<R>();
    let apply = |address: &str, port: u16| {
        stage
            .runtime
            .apply(vec![listener(&stage, "IMAP-1993", address, port)])
    };
    apply("0.0.0.0", 0).unwrap();
    let port = addresses(&stage)[0].port();
    // With its number the listener counts as another one than that of port 0; both want the same port.
    apply("0.0.0.0", port).unwrap_err();
    stage.runtime.apply(Vec::new()).unwrap();
    apply("0.0.0.0", port).unwrap();
    apply("127.0.0.1", port).unwrap();
    let moved = SocketAddr::new([127, 0, 0, 1].into(), port);
    assert_eq!(addresses(&stage), [moved]);
    assert!(reachable(moved));
}

/// To an address that no machine has (RFC 5737).
pub fn a_port_that_cannot_move_stays_where_it_was<R: Runtime>() {
    let stage = silent::<R>();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let apply = |address: &str| {
        stage
            .runtime
            .apply(vec![listener(&stage, "IMAP-1993", address, port)])
    };
    apply("127.0.0.1").unwrap();
    let errors = apply("192.0.2.1").unwrap_err();
    assert!(
        errors[0].to_string().contains("no such address"),
        "{errors:?}"
    );
    let stays = SocketAddr::new([127, 0, 0, 1].into(), port);
    assert_eq!(addresses(&stage), [stays]);
    assert!(reachable(stays));
}

/// By address.
pub fn clients_beyond_the_limit_are_turned_away_and_places_are_given_back<R: Runtime>() {
    let options = Options {
        max_sessions_per_address: Some(1),
        ..Options::default()
    };
    let stage = Stage::<R>::with(Protocol::Imap, options);
    let address = stage.apply(stage.listener(stage.session()));
    let first = TcpStream::connect(address).unwrap();
    // The server's side is opened once the first one is a session.
    let upstream = stage.server.accept().unwrap();
    assert_eq!(stage.runtime.sessions(), 1);
    let mut second = TcpStream::connect(address).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let ended = second.read(&mut [0; 16]);
    assert!(
        !matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        "it hangs"
    );
    assert_eq!(ended.unwrap_or(0), 0);
    drop((first, upstream));
    stage.sessions_are_gone();
}

/// And ends what hangs behind them.
pub fn shutdown_closes_the_listeners<R: Runtime>() {
    let stage = silent::<R>();
    let address = stage.apply(stage.listener(stage.session()));
    stage.runtime.shutdown(Duration::from_secs(5));
    assert!(stage.runtime.listeners().is_empty());
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(stage.runtime.sessions(), 0);
}
