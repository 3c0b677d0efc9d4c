//! Sockets that wait for mail clients.

use crate::{
    census::{Census, Full},
    session::{self, Context},
};
use async_io::{Async, Timer};
use proxy_proto::{LocalTls, SessionConfig};
use smol::Executor;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use tracing::warn;

/// One listener: where clients arrive, and which server they are taken to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// The name in logs and in [`LoginRequest::server`](proxy_proto::LoginRequest), such as `IMAP-1993`.
    pub heading: Arc<str>,
    /// IP address or host name to listen on. `::` takes IPv6 and IPv4 (`0.0.0.0` where there is no IPv6);
    /// a host name stands for every address that it resolves to.
    pub address: String,
    /// The local port; 0 takes a free one, which [`Runtime::listeners`](crate::Runtime::listeners) tells.
    pub port: u16,
    /// The server's host name or IP address; its certificate must be valid for it.
    pub upstream_host: Arc<str>,
    /// The server's port.
    pub upstream_port: u16,
    /// Protocol, TLS on either side, limits.
    pub session: Arc<SessionConfig>,
    /// Certificate and key for the client's side; needed unless [`SessionConfig::local_tls`] is `None`.
    pub local_tls: Option<Arc<rustls::ServerConfig>>,
    /// Roots for the server's side, from [`Trust::client_config`](crate::Trust::client_config).
    pub upstream_tls: Arc<rustls::ClientConfig>,
}

impl ListenerConfig {
    /// A listener on `::` and `port`, without TLS material for the client's side.
    pub fn new(
        heading: impl Into<Arc<str>>,
        port: u16,
        upstream_host: impl Into<Arc<str>>,
        upstream_port: u16,
        session: impl Into<Arc<SessionConfig>>,
        upstream_tls: Arc<rustls::ClientConfig>,
    ) -> Self {
        ListenerConfig {
            heading: heading.into(),
            address: "::".to_owned(),
            port,
            upstream_host: upstream_host.into(),
            upstream_port,
            session: session.into(),
            local_tls: None,
            upstream_tls,
        }
    }
}

/// A listener that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The heading of its configuration.
    pub heading: Arc<str>,
    /// The addresses that it is bound to, never empty.
    pub addresses: Vec<SocketAddr>,
}

/// Why a listener cannot be opened; its text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be resolved.
    #[error(
        "[{heading}]: the address {address} to listen on cannot be resolved ({source}): check its spelling, or use an IP address"
    )]
    Resolve {
        /// The listener's heading.
        heading: Arc<str>,
        /// As configured.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The socket cannot be bound.
    #[error("[{heading}]: cannot listen on {address} port {port}: {}", explain(*port, source))]
    Bind {
        /// The listener's heading.
        heading: Arc<str>,
        /// As configured.
        address: String,
        /// As configured.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// TLS is wanted on the client's side, but there is neither certificate nor key.
    #[error(
        "[{heading}]: TLS towards the client needs a certificate and a key: set local_certificate_path and local_key_path"
    )]
    NoCertificate {
        /// The listener's heading.
        heading: Arc<str>,
    },
    /// Two listeners of one configuration want the same address and port.
    #[error("[{heading}]: {address} port {port} is taken by [{other}]: give each its own port")]
    Duplicate {
        /// The listener's heading.
        heading: Arc<str>,
        /// As configured.
        address: String,
        /// As configured.
        port: u16,
        /// The heading that has it already.
        other: Arc<str>,
    },
}

fn explain(port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use, by another program or another copy of this one: stop that one, or choose another port"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "permission denied: ports below 1024 need privileges: choose a port from 1024 on, or grant them (on Linux: CAP_NET_BIND_SERVICE)"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: use ::, 127.0.0.1 or one of its own addresses".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Connections that the system holds until they are accepted; it may allow fewer.
const BACKLOG: i32 = 1024;

/// Checks what can be wrong without any socket.
pub(crate) fn check(listeners: &[ListenerConfig]) -> Vec<ListenError> {
    let mut errors = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        let ListenerConfig {
            heading,
            address,
            port,
            ..
        } = listener;
        if listener.session.local_tls != LocalTls::None && listener.local_tls.is_none() {
            errors.push(ListenError::NoCertificate {
                heading: heading.clone(),
            });
        }
        let taken = listeners[..index]
            .iter()
            .find(|other| *port != 0 && other.port == *port && other.address == *address);
        if let Some(other) = taken {
            errors.push(ListenError::Duplicate {
                heading: heading.clone(),
                address: address.clone(),
                port: *port,
                other: other.heading.clone(),
            });
        }
    }
    errors
}

/// Opens the sockets of one listener.
pub(crate) async fn bind(config: &ListenerConfig) -> Result<Vec<TcpListener>, ListenError> {
    let failed = |source| ListenError::Bind {
        heading: config.heading.clone(),
        address: config.address.clone(),
        port: config.port,
        source,
    };
    match config.address.parse::<IpAddr>() {
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => bind_everywhere(config.port).map_err(failed),
        Ok(address) => bind_all(&[address], config.port).map_err(failed),
        Err(_) => {
            let resolved = smol::net::resolve((config.address.as_str(), config.port)).await;
            let mut addresses: Vec<IpAddr> = resolved
                .map_err(|source| ListenError::Resolve {
                    heading: config.heading.clone(),
                    address: config.address.clone(),
                    source,
                })?
                .into_iter()
                .map(|address| address.ip())
                .collect();
            addresses.sort_by_key(IpAddr::is_ipv4);
            addresses.dedup();
            bind_all(&addresses, config.port).map_err(failed)
        }
    }
}

/// One socket for IPv6 and IPv4; two where the system has no such sockets; IPv4 alone where there is no IPv6.
fn bind_everywhere(port: u16) -> io::Result<Vec<TcpListener>> {
    match bind_one(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), true) {
        Ok(socket) => Ok(vec![socket]),
        Err(error) if lacks_address(&error) || error.kind() == io::ErrorKind::InvalidInput => {
            bind_all(
                &[Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
                port,
            )
        }
        Err(error) => Err(error),
    }
}

/// One socket for each address that this machine has; `localhost` may name one that it lacks.
fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    /// Free ports are taken with the first address; with the next ones they may be taken already.
    const ATTEMPTS: usize = 16;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match bind_all_once(addresses, port) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && port == 0 && attempt < ATTEMPTS => {}
            result => return result,
        }
    }
}

fn bind_all_once(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    let mut port = port;
    let mut lacking = None;
    for address in addresses {
        match bind_one(SocketAddr::new(*address, port), false) {
            Ok(socket) => {
                port = socket.local_addr()?.port();
                sockets.push(socket);
            }
            Err(error) if lacks_address(&error) => lacking = Some(error),
            Err(error) => return Err(error),
        }
    }
    match sockets.is_empty() {
        true => Err(lacking.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        false => Ok(sockets),
    }
}

fn bind_one(address: SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // On Windows the option would let another program take the port away.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn lacks_address(error: &io::Error) -> bool {
    #[cfg(unix)]
    const NO_FAMILY: &[i32] = &[97, 47];
    #[cfg(not(unix))]
    const NO_FAMILY: &[i32] = &[10047];
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
        || error
            .raw_os_error()
            .is_some_and(|code| NO_FAMILY.contains(&code))
}

/// The configuration that a listener's next client gets.
pub(crate) type Current = Arc<Mutex<Arc<ListenerConfig>>>;

/// Accepts for ever; what fails is logged and tried again.
pub(crate) async fn accept(
    listener: Async<TcpListener>,
    current: Current,
    context: Arc<Context>,
    census: Arc<Census>,
    executor: Weak<Executor<'static>>,
) {
    const SHORTEST: Duration = Duration::from_millis(20);
    const LONGEST: Duration = Duration::from_secs(1);
    let mut pause = SHORTEST;
    let mut turned_away = Rare::default();
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The client was gone again before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            // Out of file descriptors or memory: sessions that end make room.
            Err(error) => {
                if pause == SHORTEST {
                    warn!(
                        "cannot accept a client: {error}: trying again; a higher limit on open files may help"
                    );
                }
                Timer::after(pause).await;
                pause = LONGEST.min(pause * 2);
                continue;
            }
        };
        pause = SHORTEST;
        let config = current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // A dual-stack socket shows IPv4 clients as mapped addresses.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let options = &context.options;
        let ticket = census.admit(
            address.ip(),
            options.max_sessions,
            options.max_sessions_per_address,
        );
        let ticket = match ticket {
            Ok(ticket) => ticket,
            Err(full) => {
                if let Some(count) = turned_away.count() {
                    let (what, option) = match full {
                        Full::All => ("there are as many sessions as allowed", "max_sessions"),
                        Full::Address => (
                            "its address has as many sessions as allowed",
                            "max_sessions_per_address",
                        ),
                    };
                    let server = &*config.heading;
                    warn!(server, %address, count, "client turned away: {what} ({option})");
                }
                continue;
            }
        };
        let Some(executor) = executor.upgrade() else {
            return;
        };
        executor
            .spawn(session::serve(
                context.clone(),
                config,
                tcp,
                address,
                ticket,
            ))
            .detach();
    }
}

/// Lets a message through at most every ten seconds, with the number of those since the last one.
#[derive(Default)]
struct Rare {
    count: usize,
    last: Option<Instant>,
}

impl Rare {
    fn count(&mut self) -> Option<usize> {
        self.count += 1;
        if self
            .last
            .is_some_and(|last| last.elapsed() < Duration::from_secs(10))
        {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}
