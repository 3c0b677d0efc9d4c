//! Listeners: bound, kept, moved, refused.

use super::{Authority, PATIENCE};
use crate::{ListenError, ListenerConfig, Options, Runtime};
use proxy_proto::{
    Authenticate, Bearer, BoxFuture, LocalTls, LoginRequest, Protocol, Refusal, SessionConfig,
};
use std::{
    io::Read,
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

struct Nobody;

impl Authenticate for Nobody {
    fn authenticate(&self, _: LoginRequest) -> BoxFuture<Result<Bearer, Refusal>> {
        Box::pin(async { Err(Refusal::Denied("nobody may enter".to_owned())) })
    }
}

fn runtime(options: Options) -> Runtime {
    Runtime::start(Arc::new(Nobody), options).unwrap()
}

/// In front of a server that accepts connections and says nothing.
struct Silent {
    authority: Authority,
    server: TcpListener,
}

impl Silent {
    fn new() -> Self {
        Silent {
            authority: Authority::new(),
            server: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn listener(&self, heading: &str, address: &str, port: u16) -> ListenerConfig {
        let mut listener = ListenerConfig::new(
            heading,
            port,
            "127.0.0.1",
            self.server.local_addr().unwrap().port(),
            SessionConfig::new(Protocol::Imap),
            self.authority.trust().client_config(None).unwrap(),
        );
        listener.address = address.to_owned();
        listener
    }
}

fn apply(runtime: &Runtime, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>> {
    smol::block_on(runtime.apply(listeners))
}

fn addresses(runtime: &Runtime) -> Vec<SocketAddr> {
    runtime
        .listeners()
        .into_iter()
        .flat_map(|bound| bound.addresses)
        .collect()
}

fn reachable(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn the_default_address_takes_both_families() {
    let silent = Silent::new();
    let runtime = runtime(Options::default());
    apply(&runtime, vec![silent.listener("IMAP-1993", "::", 0)]).unwrap();
    let port = addresses(&runtime)[0].port();
    assert!(reachable(SocketAddr::new([127, 0, 0, 1].into(), port)));
    if has_ipv6() {
        assert!(reachable(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port)));
    }
}

#[test]
fn a_host_name_takes_all_its_addresses_with_one_port() {
    let silent = Silent::new();
    let runtime = runtime(Options::default());
    apply(&runtime, vec![silent.listener("POP-1995", "localhost", 0)]).unwrap();
    let bound = addresses(&runtime);
    assert!(bound.iter().all(|address| address.ip().is_loopback()));
    assert!(
        bound
            .iter()
            .all(|address| address.port() == bound[0].port())
    );
    assert!(bound.is_sorted_by_key(|address| address.is_ipv4()));
    assert!(bound.iter().all(|address| reachable(*address)));
}

#[test]
fn a_port_in_use_is_named_and_nothing_changes() {
    let silent = Silent::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let runtime = runtime(Options::default());
    apply(&runtime, vec![silent.listener("IMAP-1993", "127.0.0.1", 0)]).unwrap();
    let before = runtime.listeners();
    let errors = apply(
        &runtime,
        vec![
            silent.listener("POP-1995", "127.0.0.1", 0),
            silent.listener("SMTP-1465", "127.0.0.1", port),
        ],
    )
    .unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with(&format!(
            "[SMTP-1465]: cannot listen on 127.0.0.1 port {port}: the port is in use"
        )),
        "{texts:?}"
    );
    assert_eq!(runtime.listeners(), before);
    assert!(reachable(before[0].addresses[0]));
}

#[test]
fn an_unknown_name_to_listen_on_is_named() {
    let silent = Silent::new();
    let runtime = runtime(Options::default());
    let errors = apply(
        &runtime,
        vec![silent.listener("IMAP-1993", "no-such-host.invalid", 0)],
    )
    .unwrap_err();
    assert!(
        matches!(&errors[..], [ListenError::Resolve { .. }]),
        "{errors:?}"
    );
}

#[test]
fn configurations_that_cannot_work_are_refused_before_anything_is_bound() {
    let silent = Silent::new();
    let runtime = runtime(Options::default());
    let mut session = SessionConfig::new(Protocol::Imap);
    session.local_tls = LocalTls::Implicit;
    let mut without = silent.listener("IMAP-1", "127.0.0.1", 0);
    without.session = Arc::new(session);
    let errors = apply(
        &runtime,
        vec![
            without,
            silent.listener("IMAP-60001", "127.0.0.1", 60001),
            silent.listener("POP-60001", "127.0.0.1", 60001),
        ],
    )
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
    assert!(runtime.listeners().is_empty());
}

#[test]
fn a_change_keeps_binds_and_closes() {
    let silent = Silent::new();
    let runtime = runtime(Options::default());
    let first = silent.listener("IMAP-1993", "127.0.0.1", 0);
    let second = silent.listener("POP-1995", "127.0.0.1", 0);
    apply(&runtime, vec![first.clone(), second]).unwrap();
    let before = runtime.listeners();
    let third = silent.listener("SMTP-1465", "127.0.0.1", 0);
    apply(&runtime, vec![third, first]).unwrap();
    let after = runtime.listeners();
    let headings: Vec<&str> = after.iter().map(|bound| &*bound.heading).collect();
    assert_eq!(headings, ["SMTP-1465", "IMAP-1993"]);
    assert_eq!(after[1], before[0]);
    assert!(reachable(after[0].addresses[0]));
    // The closed one's port is free again.
    TcpListener::bind(before[1].addresses[0]).unwrap();
}

#[test]
fn a_port_can_move_to_another_address() {
    let silent = Silent::new();
    let runtime = runtime(Options::default());
    apply(&runtime, vec![silent.listener("IMAP-1993", "0.0.0.0", 0)]).unwrap();
    let port = addresses(&runtime)[0].port();
    // With its number the listener counts as another one than that of port 0; both want the same port.
    apply(
        &runtime,
        vec![silent.listener("IMAP-1993", "0.0.0.0", port)],
    )
    .unwrap_err();
    apply(&runtime, Vec::new()).unwrap();
    apply(
        &runtime,
        vec![silent.listener("IMAP-1993", "0.0.0.0", port)],
    )
    .unwrap();
    apply(
        &runtime,
        vec![silent.listener("IMAP-1993", "127.0.0.1", port)],
    )
    .unwrap();
    assert_eq!(
        addresses(&runtime),
        [SocketAddr::new([127, 0, 0, 1].into(), port)]
    );
    assert!(reachable(addresses(&runtime)[0]));
}

#[test]
fn a_port_that_cannot_move_stays_where_it_was() {
    let silent = Silent::new();
    let runtime = runtime(Options::default());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    apply(
        &runtime,
        vec![silent.listener("IMAP-1993", "127.0.0.1", port)],
    )
    .unwrap();
    // A documentation address (RFC 5737): no machine has it.
    let errors = apply(
        &runtime,
        vec![silent.listener("IMAP-1993", "192.0.2.1", port)],
    )
    .unwrap_err();
    assert!(
        errors[0].to_string().contains("no such address"),
        "{errors:?}"
    );
    assert_eq!(
        addresses(&runtime),
        [SocketAddr::new([127, 0, 0, 1].into(), port)]
    );
    assert!(reachable(addresses(&runtime)[0]));
}

#[test]
fn clients_beyond_the_limit_are_turned_away_and_places_are_given_back() {
    let silent = Silent::new();
    let mut options = Options::default();
    options.max_sessions_per_address = Some(1);
    let runtime = runtime(options);
    apply(&runtime, vec![silent.listener("IMAP-1993", "127.0.0.1", 0)]).unwrap();
    let address = addresses(&runtime)[0];
    let first = TcpStream::connect(address).unwrap();
    // The server's side is opened once the first one is a session.
    let upstream = silent.server.accept().unwrap();
    assert_eq!(runtime.sessions(), 1);
    let mut second = TcpStream::connect(address).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(second.read(&mut [0; 16]).unwrap_or(0), 0);
    drop((first, upstream));
    let begin = std::time::Instant::now();
    while runtime.sessions() > 0 {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn shutdown_closes_the_listeners() {
    let silent = Silent::new();
    let runtime = runtime(Options::default());
    apply(&runtime, vec![silent.listener("IMAP-1993", "127.0.0.1", 0)]).unwrap();
    let address = addresses(&runtime)[0];
    smol::block_on(runtime.shutdown(Duration::from_secs(5)));
    assert!(runtime.listeners().is_empty());
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(runtime.sessions(), 0);
}
