//! How accounts stand, and what is counted: for people and machines that watch. Nothing secret is in it.

use super::{Authenticator, Denial, flight::Setback, lock};
use crate::{
    flow::{Failure, Grant},
    messages::saved as messages,
    settings::{Account, FlowKind},
    store::Saved,
};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Accounts of which something is remembered. With catch-alls anybody can make up names.
const REMEMBERED: usize = 1024;

/// Upper bounds of [`TimeSpent::buckets`], in milliseconds.
const BOUNDS: [u64; 8] = [50, 100, 250, 500, 1_000, 2_500, 10_000, 30_000];

/// One account, as it stands now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountOverview {
    /// The heading under which its tokens are saved, which is its login name.
    pub heading: Arc<str>,
    /// How its tokens are obtained.
    pub flow: FlowKind,
    /// Whether it has tokens.
    pub state: Standing,
    /// The last login that got a token: `last_activity` as saved, or a later one of this process. Now, while sessions are open.
    pub last_used: Option<SystemTime>,
    /// Sessions that are past their login.
    pub open_sessions: usize,
    /// Something is saved that only the account's password opens: the next login does not choose it any more.
    pub password_set: bool,
    /// Why the last login, or renewal ahead of time, brought no token (one line, without secrets), and when; gone with the next
    /// success. Or why the store cannot be read.
    pub last_error: Option<(SystemTime, String)>,
}

/// Whether an account has tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is saved that would serve: the next login starts an authorisation.
    Unauthorised,
    /// Tokens are saved.
    Authorised {
        /// When the access token ends. Unknown where that cannot be read; may be past where it can be renewed.
        expires: Option<SystemTime>,
        /// By a refresh token, or because the flow needs no user.
        refreshable: bool,
    },
    /// Its user is being asked right now.
    Waiting,
}

/// What [`Authenticator::authorise`] has brought.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Authorised {
    /// The heading under which the tokens are saved.
    pub heading: Arc<str>,
    /// When the access token ends.
    pub expires: Option<SystemTime>,
    /// The access token can be renewed without the user.
    pub refreshable: bool,
}

/// What has been counted since the start.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Requests to token endpoints.
    pub token_requests: TokenRequests,
    /// Failures to read or write saved tokens; retries count.
    pub store_errors: u64,
    /// Users who were asked.
    pub consents: Consents,
}

/// Requests to token endpoints by what became of them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TokenRequests {
    /// Tokens came.
    pub granted: u64,
    /// The refresh token, code or password is of no more use (`invalid_grant` and its kin).
    pub ended: u64,
    /// Refused for another reason.
    pub refused: u64,
    /// A device code whose user has not answered yet (`authorization_pending`, `slow_down`).
    pub pending: u64,
    /// No answer, or trouble that may pass.
    pub failed: u64,
    /// How long all of them took.
    pub time: TimeSpent,
}

/// Durations, as a Prometheus histogram has them.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TimeSpent {
    /// How many.
    pub count: u64,
    /// All together.
    pub sum: Duration,
    /// Upper bounds, and how many took no longer than that (cumulative; `count` is the one without a bound).
    pub buckets: Vec<(Duration, u64)>,
}

/// Users who were asked for their consent. Those who are being asked now are in none of the three results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consents {
    /// Begun.
    pub asked: u64,
    /// Ended with tokens.
    pub granted: u64,
    /// Refused by the user or the provider, or dismissed.
    pub denied: u64,
    /// Nobody answered, nobody could be asked, or trouble that may pass.
    pub failed: u64,
}

impl Authenticator {
    /// Every account that has a section, in the file's order; then those of catch-alls of which something is saved or that wait for
    /// their user now. Stores are read off the executor.
    pub async fn accounts(&self) -> Vec<AccountOverview> {
        let settings = self.settings();
        let mut accounts: Vec<Arc<Account>> = settings.accounts().cloned().collect();
        let mut seen: HashSet<Arc<str>> = accounts.iter().map(|a| a.name.clone()).collect();
        if settings.options.allow_catch_all_accounts {
            for heading in self.headings_of_others().await {
                let account = settings.account(&heading);
                if let Some(account) = account.filter(|account| seen.insert(account.name.clone())) {
                    accounts.push(account);
                }
            }
        }
        let mut overviews = Vec::with_capacity(accounts.len());
        for account in accounts {
            overviews.push(self.overview(&account).await);
        }
        overviews
    }

    /// What has been counted since the start.
    pub fn counts(&self) -> Counts {
        let config_errors = self.config_saver.as_ref().map_or(0, |saver| saver.errors());
        Counts {
            store_errors: self.saver.errors().saturating_add(config_errors),
            ..self.tally.counts()
        }
    }

    pub(super) async fn authorised(&self, account: &Account) -> Authorised {
        let overview = self.overview(account).await;
        let (expires, refreshable) = match overview.state {
            Standing::Authorised {
                expires,
                refreshable,
            } => (expires, refreshable),
            Standing::Unauthorised | Standing::Waiting => (None, false),
        };
        Authorised {
            heading: overview.heading,
            expires,
            refreshable,
        }
    }

    /// Remembers how a login, or a renewal, went.
    pub(super) fn note(&self, account: &Arc<str>, denial: Option<&Denial>) {
        let now = self.clock.now();
        let mut remembered = lock(&self.remembered.0);
        if !remembered.contains_key(account) && remembered.len() >= REMEMBERED {
            let oldest = remembered.iter().min_by_key(|(_, memory)| memory.at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                remembered.remove(&oldest);
            }
        }
        let memory = remembered.entry(account.clone()).or_default();
        memory.at = now;
        match denial {
            None => {
                memory.used = Some(now);
                memory.error = None;
            }
            Some(Denial::Denied(text) | Denial::Temporary(text)) => {
                memory.error = Some((now, text.clone()));
            }
        }
    }

    async fn overview(&self, account: &Account) -> AccountOverview {
        let name = &account.name;
        let memory = lock(&self.remembered.0).get(name).cloned();
        let memory = memory.unwrap_or_default();
        let open_sessions = self.sessions.count(name);
        let waiting = lock(&self.accounts).get(name).is_some_and(|state| {
            let mut flights = state.flights.iter();
            flights.any(|aloft| aloft.flight.is_asking())
        });
        let (saved, trouble) = match self.saved(name).await {
            Ok(saved) => (saved, None),
            Err(text) => (Saved::default(), Some((self.clock.now(), text))),
        };
        let now = self.clock.now();
        let saved_use = saved.last_activity.as_deref().and_then(number);
        let open_now = (open_sessions > 0).then_some(now);
        AccountOverview {
            heading: name.clone(),
            flow: account.flow,
            state: if waiting {
                Standing::Waiting
            } else {
                state(account.flow, &saved, now)
            },
            last_used: open_now.max(memory.used).max(saved_use).and_then(time),
            open_sessions,
            password_set: has_tokens(&saved) || saved.client_secret_encrypted.is_some(),
            last_error: trouble
                .or(memory.error)
                .and_then(|(at, text)| Some((time(at)?, text))),
        }
    }

    /// What is saved of tokens: in the store, else left in the configuration file.
    async fn saved(&self, heading: &str) -> Result<Saved, String> {
        let saved = self.saver.load(heading).await.map_err(|e| e.0)?;
        if has_tokens(&saved) {
            return Ok(saved);
        }
        match &self.config_saver {
            Some(config) => config.load(heading).await.map_err(|e| e.0),
            None => Ok(saved),
        }
    }

    /// Names that catch-alls may cover: of sections in the stores, and of flights.
    async fn headings_of_others(&self) -> Vec<String> {
        let mut headings = Vec::new();
        for saver in std::iter::once(&self.saver).chain(&self.config_saver) {
            match saver.headings().await {
                Ok(more) => headings.extend(more),
                Err(error) => {
                    tracing::warn!("{}", messages::cannot_be_listed(error));
                }
            }
        }
        let accounts = lock(&self.accounts);
        let flying = accounts
            .iter()
            .filter(|(_, state)| !state.flights.is_empty());
        let mut flying: Vec<String> = flying.map(|(name, _)| name.to_string()).collect();
        flying.sort();
        headings.append(&mut flying);
        headings
    }
}

fn has_tokens(saved: &Saved) -> bool {
    saved.access_token.is_some() || saved.refresh_token.is_some()
}

fn state(flow: FlowKind, saved: &Saved, now: u64) -> Standing {
    let refreshable = saved.refresh_token.is_some() || flow.needs_no_user();
    let expiry = saved.access_token_expiry.as_deref().and_then(number);
    let expiry = expiry.filter(|_| saved.access_token.is_some());
    if has_tokens(saved) && (refreshable || expiry.is_some_and(|expiry| expiry > now)) {
        let expires = expiry.and_then(time);
        return Standing::Authorised {
            expires,
            refreshable,
        };
    }
    Standing::Unauthorised
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `None` for what no clock can show.
fn time(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// How the last logins of accounts went.
#[derive(Default)]
pub(super) struct Remembered(Mutex<HashMap<Arc<str>, Memory>>);

#[derive(Clone, Default)]
struct Memory {
    at: u64,
    used: Option<u64>,
    error: Option<(u64, String)>,
}

/// What is counted.
#[derive(Default)]
pub(super) struct Tally {
    granted: AtomicU64,
    ended: AtomicU64,
    refused: AtomicU64,
    pending: AtomicU64,
    failed: AtomicU64,
    microseconds: AtomicU64,
    /// Not cumulative; the last one has no bound.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    consents_asked: AtomicU64,
    consents_granted: AtomicU64,
    consents_denied: AtomicU64,
    consents_failed: AtomicU64,
}

impl Tally {
    pub(super) fn token_request(&self, result: &Result<Grant, Failure>, time: Duration) {
        add(
            match result {
                Ok(_) => &self.granted,
                Err(Failure::Ended(_)) => &self.ended,
                Err(Failure::Refused { code, .. })
                    if matches!(code.as_str(), "authorization_pending" | "slow_down") =>
                {
                    &self.pending
                }
                Err(Failure::Refused { .. }) => &self.refused,
                Err(Failure::Transient(_)) => &self.failed,
            },
            1,
        );
        add(
            &self.microseconds,
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        );
        let bucket = BOUNDS.partition_point(|bound| time > Duration::from_millis(*bound));
        add(&self.buckets[bucket], 1);
    }

    pub(super) fn consent_asked(&self) {
        add(&self.consents_asked, 1);
    }

    pub(super) fn consent_ended<T>(&self, result: &Result<T, Setback>) {
        add(
            match result {
                Ok(_) => &self.consents_granted,
                Err(Setback::Denial(Denial::Denied(_))) => &self.consents_denied,
                Err(Setback::Denial(Denial::Temporary(_)) | Setback::Changed) => {
                    &self.consents_failed
                }
            },
            1,
        );
    }

    fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut count = 0;
        let mut buckets: Vec<(Duration, u64)> = Vec::with_capacity(BOUNDS.len());
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += read(bucket);
            if let Some(bound) = BOUNDS.get(index) {
                buckets.push((Duration::from_millis(*bound), count));
            }
        }
        Counts {
            token_requests: TokenRequests {
                granted: read(&self.granted),
                ended: read(&self.ended),
                refused: read(&self.refused),
                pending: read(&self.pending),
                failed: read(&self.failed),
                time: TimeSpent {
                    count,
                    sum: Duration::from_micros(read(&self.microseconds)),
                    buckets,
                },
            },
            store_errors: 0,
            consents: Consents {
                asked: read(&self.consents_asked),
                granted: read(&self.consents_granted),
                denied: read(&self.consents_denied),
                failed: read(&self.consents_failed),
            },
        }
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(access: Option<u64>, refresh: bool) -> Saved {
        Saved {
            access_token: access.map(|_| "v1:a".into()),
            access_token_expiry: access.map(|expiry| expiry.to_string()),
            refresh_token: refresh.then(|| "v1:r".into()),
            ..Saved::default()
        }
    }

    #[test]
    fn an_account_is_authorised_while_something_saved_serves() {
        use FlowKind::{AuthorizationCode, ClientCredentials};
        let authorised = |expires, refreshable| Standing::Authorised {
            expires: time(expires),
            refreshable,
        };
        for (flow, saved, expected) in [
            (
                AuthorizationCode,
                saved(None, false),
                Standing::Unauthorised,
            ),
            (
                AuthorizationCode,
                saved(Some(1_001), false),
                authorised(1_001, false),
            ),
            (
                AuthorizationCode,
                saved(Some(1_000), false),
                Standing::Unauthorised,
            ),
            (
                AuthorizationCode,
                saved(Some(999), true),
                authorised(999, true),
            ),
            (
                ClientCredentials,
                saved(Some(999), false),
                authorised(999, true),
            ),
            (
                ClientCredentials,
                saved(None, false),
                Standing::Unauthorised,
            ),
        ] {
            assert_eq!(state(flow, &saved, 1_000), expected);
        }
        let refresh_alone = state(AuthorizationCode, &saved(None, true), 1_000);
        let expected = Standing::Authorised {
            expires: None,
            refreshable: true,
        };
        assert_eq!(refresh_alone, expected);
    }

    #[test]
    fn times_stand_in_cumulative_buckets() {
        let tally = Tally::default();
        let failure = || Err(Failure::Transient(String::new()));
        for milliseconds in [1, 50, 51, 9_999, 60_000] {
            tally.token_request(&failure(), Duration::from_millis(milliseconds));
        }
        let pending = Err(Failure::Refused {
            code: "authorization_pending".into(),
            text: String::new(),
        });
        tally.token_request(&pending, Duration::from_millis(1));
        let requests = tally.counts().token_requests;
        assert_eq!(
            (requests.failed, requests.pending, requests.refused),
            (5, 1, 0)
        );
        assert_eq!(requests.time.count, 6);
        assert_eq!(requests.time.sum, Duration::from_millis(70_102));
        let numbers: Vec<_> = requests.time.buckets.iter().map(|(_, n)| *n).collect();
        assert_eq!(numbers, [3, 4, 4, 4, 4, 4, 5, 5]);
    }
}
