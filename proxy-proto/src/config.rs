//! What one session is asked to do: protocol, TLS on either side, limits.

use crate::{Limits, filter::Filters};

/// The mail protocol that a session speaks, the same on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051).
    Imap,
    /// POP3 (RFC 1939, RFC 2449, RFC 5034).
    Pop,
    /// Message submission (RFC 5321, RFC 6409, RFC 4954).
    Smtp,
}

impl Protocol {
    /// The protocol's usual name: `IMAP`, `POP` or `SMTP`.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Imap => "IMAP",
            Protocol::Pop => "POP",
            Protocol::Smtp => "SMTP",
        }
    }
}

/// How the client's side of the proxy is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalTls {
    /// Plaintext: the client must not ask for TLS.
    None,
    /// TLS from the first byte (RFC 8314 §3): the driver completes the handshake before
    /// [`Session::new`](crate::Session::new).
    Implicit,
    /// STARTTLS (STLS) is offered; a login before TLS is refused (RFC 3501 §6.2.1, RFC 2595 §4, RFC 3207 §4).
    StartTlsRequired,
    /// STARTTLS (STLS) is offered; a login before TLS is served as well.
    StartTlsOptional,
}

/// How the server's side is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamTls {
    /// TLS from the first byte (RFC 8314 §3): the driver passes `secure: true` to
    /// [`Session::connected`](crate::Session::connected).
    Implicit,
    /// Plaintext, then STARTTLS (STLS); required, never opportunistic (RFC 3501 §6.2.1, RFC 2595 §4, RFC 3207 §4).
    StartTls,
    /// Plaintext for good: bearer tokens travel readable by everyone on the way. For test set-ups of embedders only.
    DangerousPlaintextBearerInClear,
}

/// The configuration of one session; shared between the sessions of a listener.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The protocol of both sides.
    pub protocol: Protocol,
    /// The client's side.
    pub local_tls: LocalTls,
    /// The server's side.
    pub upstream_tls: UpstreamTls,
    /// Whether [`Event::Dialogue`](crate::Event::Dialogue) is wanted.
    pub dialogue: bool,
    /// Bounds on bytes, attempts and times.
    pub limits: Limits,
    /// What stands between client and server once the login has succeeded. `None`, the default: nothing.
    pub filters: Option<Filters>,
}

impl SessionConfig {
    /// A configuration with TLS towards the server, a plaintext local side, default limits and no dialogue.
    pub fn new(protocol: Protocol) -> Self {
        SessionConfig {
            protocol,
            local_tls: LocalTls::None,
            upstream_tls: UpstreamTls::Implicit,
            dialogue: false,
            limits: Limits::default(),
            filters: None,
        }
    }
}
