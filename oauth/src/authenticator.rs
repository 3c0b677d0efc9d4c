//! Login name and password in, bearer token out: one request per account at a time.

use crate::{consent::Consent, settings::Settings, store::Saver, transport::Transport};
use proxy_proto::{BoxFuture, Mechanism, Protocol, Secret};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// PBKDF2 iterations of values that are written now.
pub const NEW_ITERATIONS: u32 = 1_200_000;

/// Runs a future to its end, detached; the embedder's executor.
pub type Spawn = Arc<dyn Fn(BoxFuture<()>) + Send + Sync>;

/// Wall-clock time and waiting, so that tests need not wait.
pub trait Clock: Send + Sync {
    /// Seconds since 1970.
    fn now(&self) -> u64;
    /// Completes after `time`.
    fn sleep(&self, time: Duration) -> BoxFuture<()>;
}

/// The computer's clock, with async-io's timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs())
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        Box::pin(async move {
            async_io::Timer::after(time).await;
        })
    }
}

/// What an [`Authenticator`] is made of.
pub struct Parts {
    /// Accounts and options.
    pub settings: Arc<Settings>,
    /// Where tokens live.
    pub saver: Arc<Saver>,
    /// Reads tokens that were left in the configuration file, when tokens live elsewhere.
    pub config_saver: Option<Arc<Saver>>,
    /// Asks the user.
    pub consent: Arc<dyn Consent>,
    /// Talks to the provider.
    pub transport: Arc<dyn Transport>,
    /// Runs flights, which outlive the logins that began them.
    pub spawn: Spawn,
    /// [`SystemClock`] outside tests.
    pub clock: Arc<dyn Clock>,
    /// [`NEW_ITERATIONS`] outside tests.
    pub new_iterations: u32,
}

/// A login to be answered.
pub struct Attempt {
    /// As the client gave it.
    pub user: Arc<str>,
    /// The local password; never empty.
    pub password: Secret,
    /// Chooses `sasl_user_imap` and kin.
    pub protocol: Protocol,
    /// Where the client comes from.
    pub client: IpAddr,
    /// The server has just refused the token that was given for this login; the text is its answer.
    pub rejected: Option<String>,
}

/// What goes upstream.
pub struct Token {
    /// The access token.
    pub token: Secret,
    /// The identity to send.
    pub user: Arc<str>,
    /// `sasl_mechanism`.
    pub mechanism: Option<Mechanism>,
}

/// Why there is no token: one line for the client that names the account and says what to do; no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A wrong password, a denied consent, a refused token.
    Denied(String),
    /// Provider or store in trouble, time-outs.
    Temporary(String),
}

/// The heart of this crate.
pub struct Authenticator {
    #[allow(dead_code)]
    parts: Parts,
}

impl Authenticator {
    /// Starts without any flight; no IO.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Authenticator { parts })
    }

    /// Replaces the settings (SIGHUP); results that come in under other settings of their account are dropped.
    pub fn reload(&self, settings: Arc<Settings>) {
        let _ = settings;
    }

    /// Answers a login.
    pub async fn token(self: &Arc<Self>, attempt: Attempt) -> Result<Token, Denial> {
        let _ = attempt;
        Err(Denial::Temporary(String::new()))
    }

    /// Waits until what was to be saved is saved, or the store has refused once more.
    pub async fn flush(&self) {}
}
