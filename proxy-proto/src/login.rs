//! What a login asks for and what answers it; the trait by which a runtime gets bearer tokens.

use crate::{Protocol, Secret};
use std::{fmt, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

/// What the client logged in with.
#[derive(Clone)]
pub struct Login {
    /// The login name, as the client sent it: UTF-8 without control characters.
    pub user: Arc<str>,
    /// The local password; never empty.
    pub password: Secret,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What goes upstream instead of the password.
#[derive(Clone)]
pub struct Bearer {
    /// The access token: printable ASCII (RFC 6750 §2.1).
    pub token: Secret,
    /// The identity to name upstream; like the token it must not be empty or hold control characters, or the login is
    /// refused.
    pub user: Arc<str>,
    /// The mechanism to use; `None` chooses by what the server advertises.
    pub mechanism: Option<Mechanism>,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer")
            .field("user", &self.user)
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

/// A SASL mechanism towards the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Google's and Microsoft's mechanism, which no RFC describes: `user=…^Aauth=Bearer …^A^A`.
    XOAuth2,
    /// RFC 7628 §3.1.
    OAuthBearer,
}

impl Mechanism {
    /// The name as servers advertise it.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::XOAuth2 => "XOAUTH2",
            Mechanism::OAuthBearer => "OAUTHBEARER",
        }
    }
}

/// Why there is no bearer. The text is shown to the client: one line that names the account and says what to do.
/// Control characters in it are removed and it is cut at 400 bytes before it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The login is refused: `NO [AUTHENTICATIONFAILED]` (RFC 5530 §3), `-ERR [AUTH]` (RFC 3206 §4), `535 5.7.8`
    /// (RFC 4954 §6).
    Denied(String),
    /// Try again later, with the same password: `NO [UNAVAILABLE]` (RFC 5530 §3), `-ERR [SYS/TEMP]` (RFC 3206 §4),
    /// `454 4.7.0` (RFC 4954 §6).
    Temporary(String),
}

/// How the server refused the last bearer; a hint to renew the token before the one more try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The server's final answer, or the decoded error challenge; one line without control characters.
    pub text: String,
}

/// A login as a runtime hands it to [`Authenticate`].
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// Login name and password.
    pub login: Login,
    /// The protocol.
    pub protocol: Protocol,
    /// The listener's heading, such as `IMAP-1993`.
    pub server: Arc<str>,
    /// Where the client comes from.
    pub client: SocketAddr,
    /// Set when the server refused the bearer that was provided for this login a moment ago.
    pub after: Option<Rejection>,
}

/// A boxed future without borrowed parts, runtime-neutral.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Login in, bearer or refusal out: all that a runtime knows of accounts and tokens.
pub trait Authenticate: Send + Sync {
    /// Answers a login. Dropping the future means that the client has gone; a consent that was begun may go on.
    fn authenticate(&self, request: LoginRequest) -> BoxFuture<Result<Bearer, Refusal>>;

    /// The mail server refused the login of `user` (the login name) for good and said `text`: one printable line. The
    /// client has been told; this is for advice in a log.
    fn refused(&self, user: &str, protocol: Protocol, text: &str) {
        let _ = (user, protocol, text);
    }

    /// An authenticated session of `user` (the login name) has begun its relay. What is returned is dropped when it ends.
    fn session_opened(&self, user: &str) -> Box<dyn Send + Sync> {
        let _ = user;
        Box::new(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let login = Login {
            user: "user@example.com".into(),
            password: Secret::new("secret-1"),
        };
        let bearer = Bearer {
            token: Secret::new("secret-2"),
            user: "user@example.com".into(),
            mechanism: Some(Mechanism::XOAuth2),
        };
        let shown = format!("{login:?} {bearer:?}");
        assert!(shown.contains("user@example.com"), "{shown}");
        assert!(shown.contains("XOAuth2"), "{shown}");
        assert!(!shown.contains("secret-"), "{shown}");
    }
}
