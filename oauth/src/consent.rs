//! The trait by which a user is asked. The front ends (receiver, terminal, …) live in the command, and say in the log that somebody
//! is asked, and where to go.

use crate::settings::Options;
use futures_lite::future;
use proxy_proto::{BoxFuture, Secret};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// What every consent surface shows beside the URL or code.
#[derive(Clone, Debug)]
pub struct Who {
    /// The account's heading.
    pub account: Arc<str>,
    /// The login name as the client gave it.
    pub user: Arc<str>,
    /// Where the login came from; `None` for a consent begun at the command line.
    pub client: Option<IpAddr>,
    /// The login's password is not the one that the saved tokens are encrypted with.
    pub password_differs: bool,
}

/// A consent by authorisation code (RFC 6749 §4.1).
pub struct CodeRequest {
    /// Who asks.
    pub who: Who,
    /// `redirect_uri` as configured; default `http://localhost`.
    pub redirect_uri: String,
    /// Where the receiver listens instead.
    pub redirect_listen_address: Option<String>,
    /// The provider accepts any port on a loopback redirect (Microsoft, Google).
    pub any_loopback_port: bool,
    /// The random `state`: tells apart accounts that share an address; compared in constant time.
    pub state: Secret,
    /// How long the user has.
    pub expires_in: Duration,
    /// The authorisation URL for the redirect URI that is really used.
    pub url: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

/// The user came back from the provider.
pub struct CodeAnswer {
    /// The whole URL (or path and query) that the provider redirected to.
    pub redirected: String,
    /// The redirect URI that stood in the authorisation URL.
    pub redirect_uri: String,
    /// To be told what became of it: the surface shows success only after the token was really obtained.
    /// Dropped without a word: shown as a failure.
    pub outcome: async_channel::Sender<Outcome>,
}

/// What became of a consent: a token that is saved, or why there is none (one line).
pub type Outcome = Result<Granted, String>;

/// A token was obtained and saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Whom the provider's `id_token` names, where that is somebody else than the account. Worth a warning, no more: aliases and
    /// shared mailboxes have good reasons for it.
    pub other_person: Option<String>,
}

/// A consent by device code (RFC 8628).
#[derive(Clone, Debug)]
pub struct DeviceRequest {
    /// Who asks.
    pub who: Who,
    /// Where the user goes.
    pub verification_uri: String,
    /// The same with the code in it, where the provider gives it.
    pub verification_uri_complete: Option<String>,
    /// What the user types there.
    pub user_code: String,
    /// How long the user has.
    pub expires_in: Duration,
}

/// A device code on display; withdrawn when dropped.
pub trait Shown: Send + Sync {
    /// Completes when the user dismisses the request, or has done so; where nobody can, never.
    fn dismissed(&self) -> BoxFuture<()> {
        Box::pin(future::pending())
    }

    /// Told what became of it.
    fn ended(&self, outcome: &Outcome) {
        let _ = outcome;
    }
}

/// Nothing that could be dismissed.
impl Shown for () {}

/// Why there is no answer of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsentError {
    /// Nobody could be asked, or nobody answered; one line that says what to do.
    Unable(String),
    /// The user has dismissed the request.
    Dismissed,
}

/// Asks the user.
pub trait Consent: Send + Sync {
    /// Told the options of `[emailproxy]`: when the authenticator is made, and when the settings are read again.
    fn configured(&self, options: &Options) {
        let _ = options;
    }

    /// Shows the URL and waits for the redirect; gives up after `expires_in`. Dropping the future withdraws the question.
    fn ask_code(&self, request: CodeRequest) -> BoxFuture<Result<CodeAnswer, ConsentError>>;
    /// Shows URL and code until what is returned is dropped.
    fn show_device(&self, request: DeviceRequest) -> Box<dyn Shown>;
}
