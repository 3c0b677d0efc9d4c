//! What a session tells its driver.

use crate::{Login, Rejection, Side, messages};
use std::{fmt, sync::Arc};

/// Identifies one request for credentials; an answer with another one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub(crate) u64);

/// An output of [`Session::poll_event`](crate::Session::poll_event).
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Event {
    /// Begin the TLS handshake on this side, with the next byte of its stream: as its server towards the client, as its
    /// client towards the server. All plaintext has been flushed. Answer with
    /// [`tls_established`](crate::Session::tls_established) or [`tls_failed`](crate::Session::tls_failed)
    /// (RFC 3501 §6.2.1, RFC 2595 §4, RFC 3207 §4).
    UpgradeTls(Side),
    /// The server's connection is of no more use: drop it, open a new one, call
    /// [`connected`](crate::Session::connected) or [`connect_failed`](crate::Session::connect_failed). The session
    /// repeats the greeting phase by itself.
    Reconnect,
    /// Get a bearer and answer with [`provide_credentials`](crate::Session::provide_credentials), within
    /// [`Limits::consent`](crate::Limits::consent). Meanwhile the driver goes on serving both sides.
    NeedCredentials {
        /// To be repeated in the answer.
        id: RequestId,
        /// What the client logged in with.
        login: Login,
        /// Set when the server has just refused the previous bearer of this login.
        after: Option<Rejection>,
    },
    /// The request is of no more use to this session (its client left); a consent may go on without it.
    Abandoned(RequestId),
    /// The server accepted the bearer; its answer is on its way to the client.
    Authenticated {
        /// The login name that the client gave.
        login: Arc<str>,
        /// The identity sent upstream.
        user: Arc<str>,
    },
    /// The server refused the login for good; for logs and advice, the client has been told.
    Refused {
        /// The login name that the client gave.
        login: Arc<str>,
        /// The server's answer and, in parentheses, what its error challenge said: one printable line, at most 400
        /// bytes.
        text: String,
    },
    /// A line of the dialogue before login, secrets replaced; only where the configuration asks for it.
    Dialogue(RedactedLine),
    /// All held bytes are out: from here on the driver may move bytes between the streams without the session. It then
    /// passes EOF on by itself, too. Never told where [`filters`](crate::SessionConfig::filters) stand in between.
    Relay,
    /// Send EOF (close_notify, shutdown of the write half) to this side. All bytes for it have been flushed.
    ShutdownWrite(Side),
    /// The session is over: close both sides.
    Closed(Reason),
}

/// A line of dialogue for logs. Displayed, an arrow says whose connection it passed on and which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactedLine {
    /// Whose connection it passed on.
    pub side: Side,
    /// Whether the proxy sent it (else it received it).
    pub sent: bool,
    /// Printable ASCII, what is not as `\xNN`, of at most 800 bytes; secrets replaced by `[redacted]`.
    pub text: String,
}

impl fmt::Display for RedactedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match (self.side, self.sent) {
            (Side::Client, false) => "client -->",
            (Side::Client, true) => "client <--",
            (Side::Server, false) => "    server -->",
            (Side::Server, true) => "    server <--",
        };
        write!(f, "{arrow} {}", self.text)
    }
}

/// Why a session ended. Displayed, it is one whole sentence for a log.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client closed its side, or said LOGOUT/QUIT.
    ClientLeft,
    /// The server closed its side or said goodbye.
    ServerLeft,
    /// Both sides ended after relay.
    Finished,
    /// The server could not be reached, or its TLS failed.
    Unreachable(String),
    /// A TLS handshake with the client failed.
    ClientTls(String),
    /// A side broke the protocol or a security rule; the text is a whole sentence.
    Protocol(Side, String),
    /// A bound was hit; the text is a whole sentence.
    Limit(Side, String),
    /// A wait took too long; the text is a whole sentence.
    TimedOut(Side, String),
    /// A filter gave up; the text names it.
    Filter(String),
    /// `shutdown` was called.
    Shutdown,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::ClientLeft => f.write_str(messages::CLIENT_CLOSED),
            Reason::ServerLeft => f.write_str(messages::SERVER_CLOSED),
            Reason::Finished => f.write_str(messages::FINISHED),
            Reason::Unreachable(why) => f.write_str(&messages::unreachable(why)),
            Reason::ClientTls(why) => f.write_str(&messages::client_tls_failed(why)),
            Reason::Protocol(_, why)
            | Reason::Limit(_, why)
            | Reason::TimedOut(_, why)
            | Reason::Filter(why) => f.write_str(why),
            Reason::Shutdown => f.write_str(messages::SHUTTING_DOWN),
        }
    }
}
