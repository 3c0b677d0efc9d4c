//! What a runtime is asked to do, and what it tells.

use crate::{Networks, OutgoingProxy};
use proxy_proto::SessionConfig;
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

/// One listener: where clients arrive, and which server they are taken to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// The name in logs and in [`LoginRequest::server`](proxy_proto::LoginRequest), such as `IMAP-1993`.
    pub heading: Arc<str>,
    /// IP address or host name to listen on. `::` takes IPv6 and IPv4 (`0.0.0.0` where there is no IPv6);
    /// a host name stands for every address that it resolves to.
    pub address: String,
    /// The local port; 0 takes a free one, which the runtime's `listeners` tells.
    pub port: u16,
    /// The server's host name or IP address; its certificate must be valid for it.
    pub upstream_host: Arc<str>,
    /// The server's port.
    pub upstream_port: u16,
    /// Listening sockets that somebody else has opened for this listener (sd_listen_fds(3)): they are used, as duplicates, in place
    /// of its address and port. Empty, the default: there are none.
    pub ready: Vec<Arc<TcpListener>>,
    /// Protocol, TLS on either side, limits, filters.
    pub session: Arc<SessionConfig>,
    /// Certificate and key for the client's side; needed unless [`SessionConfig::local_tls`] is `None`.
    pub local_tls: Option<Arc<rustls::ServerConfig>>,
    /// Roots for the server's side, from [`Trust::client_config`](crate::Trust::client_config).
    pub upstream_tls: Arc<rustls::ClientConfig>,
    /// Networks whose clients are served; others are turned away at accept. `None`, the default: everybody is served.
    pub allow_from: Option<Networks>,
    /// Balancers that put a PROXY protocol header before every connection; whoever else connects is turned away. The
    /// address in the header is the client's from then on, for `allow_from`, limits, logs and the authenticator.
    /// `None`, the default: there are no headers.
    pub proxy_protocol: Option<Networks>,
    /// The proxy through which the server is reached. `None`, the default: directly.
    pub outgoing_proxy: Option<Arc<OutgoingProxy>>,
    /// Most sessions of this listener at a time. `None`, the default: no limit but those of [`Options`].
    pub max_sessions: Option<usize>,
}

impl ListenerConfig {
    /// A listener on `::` and `port` that serves everybody, without TLS material for the client's side.
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
            ready: Vec::new(),
            session: session.into(),
            local_tls: None,
            upstream_tls,
            allow_from: None,
            proxy_protocol: None,
            outgoing_proxy: None,
            max_sessions: None,
        }
    }

    /// Whether this one can go on with the sockets of `other`: the same address and port (port 0: and heading).
    pub fn same_sockets(&self, other: &ListenerConfig) -> bool {
        self.address == other.address
            && self.port == other.port
            && (self.port != 0 || self.heading == other.heading)
    }
}

/// What holds for all listeners of a runtime.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Threads that run sessions where sessions share threads; 0: one for each core.
    pub threads: usize,
    /// Most sessions at a time; further clients are turned away at once. `None`: no limit. Default 20,000.
    pub max_sessions: Option<usize>,
    /// Most sessions of one client address at a time. `None`: no limit. Default 10,000.
    pub max_sessions_per_address: Option<usize>,
    /// Longest time for resolving the server's name, connecting and, where the server speaks TLS from the
    /// first byte, the handshake. Default 30 s.
    pub connect_timeout: Duration,
    /// Longest time for any other TLS handshake, and for a PROXY protocol header. Default 30 s.
    pub handshake_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 0,
            max_sessions: Some(20_000),
            max_sessions_per_address: Some(10_000),
            connect_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(30),
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

/// How a runtime's `shutdown` went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Sessions that were not done at the deadline.
    pub cut_off: usize,
}
