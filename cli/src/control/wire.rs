//! What goes over the channel, and what `emailproxy accounts --json` prints. Names and meanings are kept; more may be added.

use crate::consent::{Ask, WaitingConsent};
use oauth::authenticator::{AccountOverview, Authorised, Standing};
use serde::{Deserialize, Serialize};
use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How all accounts stand. Nothing in it is secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Accounts {
    /// Whether a running proxy has told this; else it was read from where tokens are saved.
    pub running: bool,
    /// The accounts with a section, in the file's order; then those that catch-alls cover and that have saved tokens or wait.
    pub accounts: Vec<Account>,
}

/// How one account stands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Account {
    /// Its heading, which is its login name.
    pub account: String,
    /// As in `oauth2_flow`: `authorization_code`, `device`, `client_credentials`, `password`, `service_account`.
    pub flow: String,
    /// `authorised`, `unauthorised`, or `waiting` for its user's consent.
    pub state: String,
    /// When the access token ends (RFC 3339, UTC); null where there is none.
    pub expires: Option<String>,
    /// It can be renewed without the user.
    pub refreshable: bool,
    /// The last login that got a token (RFC 3339, UTC); null where none is known.
    pub last_used: Option<String>,
    /// Sessions that are past their login.
    pub open_sessions: usize,
    /// Why the last login brought no token; null where it did.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<String>,
    /// Something is saved that only the account's password opens.
    pub password_set: bool,
}

impl From<&AccountOverview> for Account {
    fn from(overview: &AccountOverview) -> Self {
        let (state, expires, refreshable) = match overview.state {
            Standing::Unauthorised => ("unauthorised", None, false),
            Standing::Waiting => ("waiting", None, false),
            Standing::Authorised {
                expires,
                refreshable,
            } => ("authorised", expires.and_then(stamp), refreshable),
        };
        let error = overview.last_error.as_ref();
        Account {
            account: overview.heading.to_string(),
            flow: overview.flow.name().to_owned(),
            state: state.to_owned(),
            expires,
            refreshable,
            last_used: overview.last_used.and_then(stamp),
            open_sessions: overview.open_sessions,
            last_error: error.map(|(_, text)| text.clone()),
            last_error_at: error.and_then(|(at, _)| stamp(*at)),
            password_set: overview.password_set,
        }
    }
}

/// A consent that waits.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Waits {
    /// Its number.
    pub id: u64,
    /// The account's heading.
    pub account: String,
    /// The login name as the client gave it.
    pub user: String,
    /// Where the login came from; null for one begun at the command line.
    pub client: Option<IpAddr>,
    /// Its password is not the one that the saved tokens are encrypted with.
    pub password_differs: bool,
    /// How long its user still has.
    pub seconds_left: u64,
    /// Where the user goes.
    pub url: String,
    /// For a device code: the same with the code in it, where there is such an address.
    pub complete_url: Option<String>,
    /// For a device code: the code.
    pub code: Option<String>,
    /// Otherwise: what the final page's address begins with.
    pub redirect_uri: Option<String>,
}

impl From<&WaitingConsent> for Waits {
    fn from(consent: &WaitingConsent) -> Self {
        let (url, complete_url, code, redirect_uri) = match consent.kind.clone() {
            Ask::Browser { url, redirect_uri } => (url, None, None, Some(redirect_uri)),
            Ask::Device {
                url,
                complete_url,
                code,
            } => (url, complete_url, Some(code), None),
        };
        Waits {
            id: consent.id,
            account: consent.account.to_string(),
            user: consent.user.to_string(),
            client: consent.client,
            password_differs: consent.password_differs,
            seconds_left: consent.left().as_secs(),
            url,
            complete_url,
            code,
            redirect_uri,
        }
    }
}

/// A line of the answer to `authorise`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The user is asked.
    Waiting(Waits),
    /// The token is there and saved; the last line.
    Authorised {
        /// The account's heading.
        account: String,
        /// When the access token ends, as Unix time.
        expires: Option<u64>,
        /// It can be renewed without the user.
        refreshable: bool,
    },
    /// It was refused; the last line.
    Refused(String),
    /// Trouble that may pass; the last line.
    Trouble(String),
}

impl From<&Authorised> for Progress {
    fn from(authorised: &Authorised) -> Self {
        let unix = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
        Progress::Authorised {
            account: authorised.heading.to_string(),
            expires: authorised
                .expires
                .and_then(unix)
                .map(|since| since.as_secs()),
            refreshable: authorised.refreshable,
        }
    }
}

/// What became of a request that is answered in one piece.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Answer {
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whom the provider names, where that is not the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_person: Option<String>,
}

/// RFC 3339 in UTC with whole seconds; `None` for what no calendar has.
pub(crate) fn stamp(time: SystemTime) -> Option<String> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    let seconds = i64::try_from(Duration::as_secs(&since)).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    time.format(&Rfc3339).ok()
}
