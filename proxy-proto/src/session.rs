//! The one type that a driver drives.

use crate::{Bearer, Event, Misuse, Refusal, RequestId, SessionConfig};
use std::{fmt, sync::Arc, time::Duration};

/// Time since an epoch of the driver's own; only differences matter.
pub type Time = Duration;

/// One of the two connections of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The mail client's connection.
    Client,
    /// The provider's mail server's connection.
    Server,
}

impl Side {
    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Client => "client",
            Side::Server => "server",
        })
    }
}

/// A connection to the server that has just been opened.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The host name as configured (it is named in OAUTHBEARER).
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// Whether TLS is established already (verified certificate and host name).
    pub secure: bool,
}

/// One client, one server, one protocol.
pub struct Session {
    config: Arc<SessionConfig>,
}

impl Session {
    /// A session whose client has connected (and, with [`LocalTls::Implicit`](crate::LocalTls), whose TLS is established).
    /// The driver opens the server's connection and reports with [`connected`](Self::connected) or [`connect_failed`](Self::connect_failed).
    pub fn new(config: Arc<SessionConfig>, now: Time) -> Self {
        let _ = now;
        Session { config }
    }

    // ---- inputs

    /// The connection to the server is open; also after [`Event::Reconnect`].
    pub fn connected(&mut self, upstream: Upstream, now: Time) {
        let _ = (upstream, now, &self.config);
    }

    /// The server cannot be reached; `why` is told to the client and must be fit for that.
    pub fn connect_failed(&mut self, why: &str, now: Time) {
        let _ = (why, now);
    }

    /// The handshake begun at [`Event::UpgradeTls`] is complete.
    pub fn tls_established(&mut self, side: Side, now: Time) -> Result<(), Misuse> {
        let _ = (side, now);
        Ok(())
    }

    /// The handshake begun at [`Event::UpgradeTls`] failed.
    pub fn tls_failed(&mut self, side: Side, why: &str, now: Time) {
        let _ = (side, why, now);
    }

    /// How many bytes may be read from this side now; 0: do not read it.
    pub fn read_budget(&self, from: Side) -> usize {
        let _ = from;
        0
    }

    /// Takes all of `bytes`, at most `read_budget(from)` many.
    pub fn handle_input(&mut self, from: Side, bytes: &[u8], now: Time) {
        let _ = (from, bytes, now);
    }

    /// This side will send nothing more.
    pub fn handle_eof(&mut self, from: Side, now: Time) {
        let _ = (from, now);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Time) {
        let _ = now;
    }

    /// Answers [`Event::NeedCredentials`].
    pub fn provide_credentials(
        &mut self,
        id: RequestId,
        answer: Result<Bearer, Refusal>,
        now: Time,
    ) -> Result<(), Misuse> {
        let _ = (id, answer, now);
        Ok(())
    }

    /// Ends the session: the protocol's farewell before login, a drain in relay.
    pub fn shutdown(&mut self, now: Time) {
        let _ = now;
    }

    // ---- outputs

    /// The bytes to be written to this side; report progress with [`advance`](Self::advance).
    pub fn transmit(&self, to: Side) -> &[u8] {
        let _ = to;
        &[]
    }

    /// `written` bytes of [`transmit`](Self::transmit) have gone out.
    pub fn advance(&mut self, to: Side, written: usize) {
        let _ = (to, written);
    }

    /// The next event; poll after every input and after `advance`, until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }
}
