//! What a session told its driver, in a form that can be compared.

#[cfg(doc)]
use proxy_proto::Event;
use proxy_proto::{Reason, Side};

/// An event as it is recorded: comparable, without identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// [`Event::UpgradeTls`].
    UpgradeTls(Side),
    /// [`Event::Reconnect`].
    Reconnect,
    /// [`Event::NeedCredentials`].
    NeedCredentials {
        /// The login name.
        user: String,
        /// The local password.
        password: String,
        /// How the server refused the last bearer.
        after: Option<String>,
    },
    /// [`Event::Abandoned`].
    Abandoned,
    /// [`Event::Authenticated`].
    Authenticated {
        /// The login name.
        login: String,
        /// The identity sent upstream.
        user: String,
    },
    /// [`Event::Refused`].
    Refused {
        /// The login name.
        login: String,
        /// The server's answer.
        text: String,
    },
    /// [`Event::Dialogue`], as it is displayed.
    Dialogue(String),
    /// [`Event::Relay`].
    Relay,
    /// [`Event::ShutdownWrite`].
    ShutdownWrite(Side),
    /// [`Event::Closed`].
    Closed(Reason),
    /// An event that this harness does not know.
    Unknown(String),
}

impl Seen {
    /// The form in which transcripts name the event.
    pub fn canonical(&self) -> String {
        match self {
            Seen::UpgradeTls(side) => format!("UpgradeTls {side}"),
            Seen::Reconnect => "Reconnect".into(),
            Seen::NeedCredentials {
                user,
                password,
                after,
            } => {
                let mut text = format!("NeedCredentials user={user} password={password}");
                if let Some(after) = after {
                    text.push_str(" after=");
                    text.push_str(after);
                }
                text
            }
            Seen::Abandoned => "Abandoned".into(),
            Seen::Authenticated { login, user } => {
                format!("Authenticated login={login} user={user}")
            }
            Seen::Refused { login, text } => format!("Refused login={login} text={text}"),
            Seen::Dialogue(line) => format!("Dialogue {}", line.trim_start()),
            Seen::Relay => "Relay".into(),
            Seen::ShutdownWrite(side) => format!("ShutdownWrite {side}"),
            Seen::Closed(reason) => format!("Closed {}", reason_kind(reason)),
            Seen::Unknown(text) => format!("Unknown {text}"),
        }
    }
}

/// The kind of a reason without its free text: `ClientLeft`, `Protocol client`, `Limit server`, …
pub fn reason_kind(reason: &Reason) -> String {
    match reason {
        Reason::ClientLeft => "ClientLeft".into(),
        Reason::ServerLeft => "ServerLeft".into(),
        Reason::Finished => "Finished".into(),
        Reason::Unreachable(_) => "Unreachable".into(),
        Reason::ClientTls(_) => "ClientTls".into(),
        Reason::Protocol(side, _) => format!("Protocol {side}"),
        Reason::Limit(side, _) => format!("Limit {side}"),
        Reason::TimedOut(side, _) => format!("TimedOut {side}"),
        Reason::Shutdown => "Shutdown".into(),
        other => format!("{other:?}"),
    }
}
