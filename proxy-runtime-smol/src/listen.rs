//! Sockets that wait for mail clients.

use proxy_proto::SessionConfig;
use std::{io, net::SocketAddr, sync::Arc};

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
