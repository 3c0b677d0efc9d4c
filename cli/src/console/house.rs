//! What the console shows of the proxy, and what it may ask of it.
//!
//! The pages know this trait and these plain types only. What they are made of stands in `live.rs`; the tests have a house of
//! their own.

use proxy_proto::BoxFuture;
use serde::Serialize;
use time::UtcOffset;

/// The proxy, as the console sees it.
pub(crate) trait House: Send + Sync {
    /// One look at everything that is shown.
    fn state(&self) -> BoxFuture<State>;

    /// The metrics, in Prometheus's text format.
    fn metrics(&self) -> BoxFuture<String>;

    /// Whether mail programs are served; else why not.
    fn health(&self) -> Result<(), &'static str>;

    /// While what is returned lives, somebody can answer consents here.
    fn attend(&self) -> Box<dyn Send + Sync>;

    /// Hands the address of the browser's final page to the consent that waits for it. What comes back is fit to be shown: that
    /// the account is signed in, or why not.
    fn answer(&self, id: u64, address: String) -> BoxFuture<Result<String, String>>;

    /// Ends a consent; `false` where it has ended by itself.
    fn dismiss(&self, id: u64) -> bool;

    /// What the QR code of a consent leads to; `None` where there is no such consent.
    fn qr(&self, id: u64) -> Option<String>;

    /// Switches debug logging.
    fn set_debug(&self, on: bool) -> BoxFuture<()>;
}

/// Everything that is shown. Points in time are seconds since 1970.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct State {
    pub(crate) version: &'static str,
    pub(crate) now: u64,
    /// When the proxy began to serve.
    pub(crate) since: u64,
    /// The proxy is about to end.
    pub(crate) ending: bool,
    /// Whether debug logging is on.
    pub(crate) debug: bool,
    pub(crate) consents: Vec<ConsentShown>,
    pub(crate) accounts: Vec<AccountShown>,
    pub(crate) servers: Vec<ServerShown>,
    /// The newest ones first, and not more than fit on a page.
    pub(crate) sessions: Vec<SessionShown>,
    /// How many there are in all.
    pub(crate) sessions_open: usize,
    /// The newest ones first.
    pub(crate) events: Vec<EventShown>,
    /// Local time, for the page.
    #[serde(skip)]
    pub(crate) offset: UtcOffset,
}

/// Somebody who has to give permission.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ConsentShown {
    pub(crate) id: u64,
    pub(crate) account: String,
    /// The login name, where it is another one.
    pub(crate) user: Option<String>,
    /// Where the login came from; `None` for a consent begun at the command line.
    pub(crate) client: Option<String>,
    /// The password of the login differs from the saved one.
    pub(crate) password_differs: bool,
    /// When it began, and when nobody waits any more.
    pub(crate) begun: u64,
    pub(crate) ends: u64,
    pub(crate) ask: Ask,
}

/// What is asked of the user.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Ask {
    /// To sign in, and to come back by `redirect_uri`.
    Browser { url: String, redirect_uri: String },
    /// To type a code at an address.
    Device {
        url: String,
        /// The same with the code in it, where the provider gives it.
        complete_url: Option<String>,
        code: String,
    },
}

/// An account of the configuration, or one that a catch-all covers and that has been used.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AccountShown {
    pub(crate) name: String,
    /// `authorization_code`, `device`, …
    pub(crate) flow: &'static str,
    pub(crate) standing: Standing,
    /// When its access token ends.
    pub(crate) token_until: Option<u64>,
    /// A new access token can be had without the user.
    pub(crate) renewable: bool,
    pub(crate) last_used: Option<u64>,
    /// Open sessions.
    pub(crate) sessions: usize,
    /// What was wrong at the last attempt.
    pub(crate) trouble: Option<String>,
}

/// What a login of the account would need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// Tokens are saved: nothing is asked of the user.
    Authorised,
    /// Its user is being asked for permission now.
    Waiting,
    /// The next login asks for permission.
    Unauthorised,
    /// There are no tokens yet, and the next login gets some without asking.
    NeedsNoUser,
}

/// A listener and what has passed through it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerShown {
    /// Such as `IMAP-1993`.
    pub(crate) heading: String,
    /// Where mail programs connect to.
    pub(crate) addresses: Vec<String>,
    /// How they are to be set up: `plaintext`, `TLS`, …
    pub(crate) local: &'static str,
    /// Host and port of the mail server.
    pub(crate) upstream: String,
    /// `TLS` or `STARTTLS`.
    pub(crate) upstream_tls: &'static str,
    pub(crate) open: u64,
    pub(crate) accepted: u64,
    /// Logins that failed, for good or for now.
    pub(crate) failed: u64,
    pub(crate) to_clients: u64,
    pub(crate) to_server: u64,
}

/// A session.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SessionShown {
    pub(crate) id: u64,
    pub(crate) server: String,
    pub(crate) client: String,
    /// The login name, once the server has let it in.
    pub(crate) account: Option<String>,
    pub(crate) since: u64,
    pub(crate) to_client: u64,
    pub(crate) to_server: u64,
}

/// A line of the log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventShown {
    /// Grows by one with each event.
    pub(crate) number: u64,
    pub(crate) time: u64,
    pub(crate) level: Gravity,
    /// What the surroundings know: server, client, session.
    pub(crate) context: String,
    pub(crate) text: String,
}

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Gravity {
    Info,
    Warning,
    Error,
}
