//! Login name and password in, bearer token out: one request per account at a time.
//!
//! A login first opens what is saved of its account; a token that lives long enough is all it needs. Else it boards a *flight*: a
//! detached task that refreshes, authorises afresh, asks the user, and saves. Flights are keyed by account, and by password and
//! settings (a keyed hash), so that nobody shares a token or a consent that is not theirs. A flight goes on when the login that
//! began it has left.

mod ahead;
mod brake;
mod denial;
mod errand;
mod flight;
mod grant;
mod login;
mod overview;
pub mod rekey;
mod saved;
mod saving;

use crate::{
    consent::Consent,
    crypt::NoRandomness,
    flow::answer::clean,
    keyring::{Keyring, Tag},
    messages,
    settings::{Account, Settings},
    store::{Saver, Unsaved},
    transport::Transport,
};
pub use ahead::OpenSession;
use brake::Brake;
pub use denial::Denial;
use flight::{AccountState, Turn, Turns};
use login::{Purpose, is_checked_by_provider};
pub use overview::{
    AccountOverview, Authorised, Consents, Counts, Standing, TimeSpent, TokenRequests,
};
use overview::{Remembered, Tally};
use proxy_proto::{BoxFuture, Mechanism, Protocol, Secret};
use saved::{Form, Holdings, Opened};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    thread::available_parallelism,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// PBKDF2 iterations of values that are written now.
pub const NEW_ITERATIONS: u32 = 1_200_000;

/// An access token is renewed so many seconds before its end, or at half its life if that comes later.
const MARGIN: u64 = 600;

/// A token that has no more than this left, in seconds, is not handed out where it can be renewed: the server's clock may be ahead
/// of ours, and the login itself (connecting, TLS, a second try) takes its time.
const LAST_SECONDS: u64 = 30;

/// How often a login looks again after it has waited for another password's flight.
const LOOKS: usize = 16;

/// Longest password: more would only feed the key derivation.
const LONGEST_PASSWORD: usize = 16 * 1024;

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
    /// The local password; an empty one is refused.
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
    /// The access token: visible ASCII.
    pub token: Secret,
    /// The identity to send.
    pub user: Arc<str>,
    /// `sasl_mechanism`.
    pub mechanism: Option<Mechanism>,
}

/// The heart of this crate.
pub struct Authenticator {
    settings: RwLock<Arc<Settings>>,
    saver: Arc<Saver>,
    config_saver: Option<Arc<Saver>>,
    consent: Arc<dyn Consent>,
    transport: Arc<dyn Transport>,
    spawn: Spawn,
    clock: Arc<dyn Clock>,
    new_iterations: u32,
    keyring: Keyring,
    brake: Mutex<Brake>,
    accounts: Mutex<HashMap<Arc<str>, AccountState>>,
    /// Accounts whose plain client secret has been saved encrypted under these settings: from then on the password has to open it.
    sealed: Mutex<HashSet<Arc<str>>>,
    sessions: ahead::Sessions,
    /// Accounts of catch-alls that have got a section since the settings were read: lower case to its spelling.
    spellings: Mutex<HashMap<String, Arc<str>>>,
    turns: Turns,
    tally: Tally,
    remembered: Remembered,
}

impl Authenticator {
    /// Starts without any flight; no IO.
    pub fn new(parts: Parts) -> Result<Arc<Self>, NoRandomness> {
        let threads = available_parallelism()
            .map_or(1, |n| n.get().div_ceil(2))
            .min(4);
        parts.consent.configured(&parts.settings.options);
        Ok(Arc::new(Authenticator {
            settings: RwLock::new(parts.settings),
            saver: parts.saver,
            config_saver: parts.config_saver,
            consent: parts.consent,
            transport: parts.transport,
            spawn: parts.spawn,
            clock: parts.clock,
            new_iterations: parts.new_iterations.max(1),
            keyring: Keyring::new(threads)?,
            brake: Mutex::default(),
            accounts: Mutex::default(),
            sealed: Mutex::default(),
            sessions: ahead::Sessions::default(),
            spellings: Mutex::default(),
            turns: Turns::default(),
            tally: Tally::default(),
            remembered: Remembered::default(),
        }))
    }

    /// Replaces the settings (SIGHUP); results that come in under other settings of their account are dropped.
    pub fn reload(&self, settings: Arc<Settings>) {
        self.consent.configured(&settings.options);
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
        lock(&self.sealed).clear();
        for state in lock(&self.accounts).values_mut() {
            state.pause = None;
        }
    }

    /// Answers a login. Dropping the future withdraws the login only: what it began goes on.
    pub async fn token(self: &Arc<Self>, attempt: Attempt) -> Result<Token, Denial> {
        let (account, access) = self.answer(&attempt, Purpose::Login).await?;
        let tag = self.token_tag(&access);
        self.state(&account.name, |state| state.refusals.hand_out(tag));
        Ok(Token {
            token: access,
            user: sasl_user(&account, attempt.protocol),
            mechanism: account.sasl_mechanism,
        })
    }

    /// Obtains a token of the account now and saves it, as a login would, for whoever sits at the command line. `afresh`: even where
    /// what is saved would serve. Dropping the future leaves on its way what it began.
    ///
    /// # Errors
    ///
    /// As for a login.
    pub async fn authorise(
        self: &Arc<Self>,
        user: &str,
        password: Secret,
        afresh: bool,
    ) -> Result<Authorised, Denial> {
        let attempt = Attempt {
            user: user.into(),
            password,
            protocol: Protocol::Imap,
            client: Ipv4Addr::LOCALHOST.into(),
            rejected: None,
        };
        let (account, _) = self.answer(&attempt, Purpose::Command { afresh }).await?;
        Ok(self.authorised(&account).await)
    }

    /// The account that is meant, and its access token.
    async fn answer(
        self: &Arc<Self>,
        attempt: &Attempt,
        purpose: Purpose,
    ) -> Result<(Arc<Account>, Secret), Denial> {
        let user = clean(&attempt.user, &[]);
        if attempt.password.is_empty() {
            return Err(Denial::Denied(messages::login::no_password(user)));
        }
        if attempt.password.expose().len() > LONGEST_PASSWORD {
            return Err(Denial::Denied(messages::login::long_password(
                user,
                LONGEST_PASSWORD,
            )));
        }
        let settings = self.settings();
        let Some(account) = self.account_with_section(&settings, &attempt.user).await else {
            return Err(self.unknown(attempt, &user).await);
        };
        let result = self
            .access_token(&settings, &account, attempt, &user, purpose)
            .await;
        self.note(&account.name, result.as_ref().err());
        Ok((account, result?))
    }

    /// Waits until what was to be saved is saved; gives what the store has refused once more. For the end of the process.
    pub async fn flush(&self) -> Vec<Unsaved> {
        self.saver.flush().await
    }

    async fn holdings(&self, account: &Account) -> Result<Holdings, Denial> {
        Holdings::load(account, &self.saver, self.config_saver.as_deref())
            .await
            .map_err(|e| Denial::Temporary(messages::saved::cannot_be_opened(&account.name, e)))
    }

    /// As [`Settings::account`]; ignoring letter case also where an account has got its section only now.
    fn account(&self, settings: &Settings, user: &str) -> Option<Arc<Account>> {
        let account = settings.account(user)?;
        let spelling = lock(&self.spellings).get(&user.to_lowercase()).cloned();
        match spelling {
            Some(name) if !account.own_section && name != account.name => {
                settings.account(&name).or(Some(account))
            }
            _ => Some(account),
        }
    }

    /// The same; asks the store too, where an account of a catch-all may have got its section in another letter case: from another
    /// process, or before this one began.
    async fn account_with_section(&self, settings: &Settings, user: &str) -> Option<Arc<Account>> {
        let account = self.account(settings, user)?;
        let folded = account.name.to_lowercase();
        if account.own_section || lock(&self.spellings).contains_key(&folded) {
            return Some(account);
        }
        // a store in trouble says so when the tokens are read
        if let Ok(Some(spelling)) = self.saver.spelling(&account.name).await {
            lock(&self.spellings).insert(folded, spelling.into());
            return self.account(settings, user);
        }
        Some(account)
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn form(&self, settings: &Settings) -> Form {
        Form {
            format: settings.options.token_format,
            iterations: self.new_iterations,
        }
    }

    /// The client secret as it stands in the settings, unless it is to be opened with the password.
    fn plain_secret<'a>(&self, account: &'a Account) -> Option<&'a Secret> {
        account
            .client_secret
            .as_ref()
            .filter(|_| !lock(&self.sealed).contains(&account.name))
    }

    /// Whether the access token serves, considering when it is to be renewed.
    fn life(&self, account: &Account, access: &Secret, expiry: u64) -> Life {
        let margin = self
            .lifetime(account, access)
            .map_or(MARGIN, |lifetime| MARGIN.min(lifetime / 2));
        match expiry.saturating_sub(self.clock.now()) {
            0 => Life::Over,
            left if left <= LAST_SECONDS => Life::Ending,
            left if left <= margin => Life::Short,
            _ => Life::Long,
        }
    }

    /// The access token's lifetime in seconds; not known of those that were issued before this process began.
    fn lifetime(&self, account: &Account, access: &Secret) -> Option<u64> {
        let tag = self.token_tag(access);
        let lifetime = self.state(&account.name, |state| state.lifetime);
        lifetime
            .filter(|(of, _)| *of == tag)
            .map(|(_, lifetime)| lifetime)
    }

    /// To look at what is saved of the account and write it in one step, as far as this process is concerned.
    async fn turn(&self, account: &Arc<str>) -> Turn<'_> {
        self.turns.take(account).await
    }

    fn token_tag(&self, access: &Secret) -> Tag {
        self.keyring.tag(&[b"token", access.expose().as_bytes()])
    }

    fn token_tags(&self, opened: Option<&Opened>) -> Vec<Tag> {
        let tokens = opened.map(|opened| [&opened.access, &opened.refresh]);
        let tokens = tokens.into_iter().flatten().flatten();
        tokens.map(|token| self.token_tag(token)).collect()
    }

    /// What is remembered of the account; forgotten again when it says nothing.
    fn state<T>(&self, account: &Arc<str>, with: impl FnOnce(&mut AccountState) -> T) -> T {
        let mut accounts = lock(&self.accounts);
        let state = accounts.entry(account.clone()).or_default();
        let result = with(state);
        if state.is_idle() {
            accounts.remove(account);
        }
        result
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Long,
    /// To be renewed; still good.
    Short,
    /// Good only where there is no way to renew it without the user.
    Ending,
    Over,
}

fn sasl_user(account: &Account, protocol: Protocol) -> Arc<str> {
    let own = match protocol {
        Protocol::Imap => &account.sasl_user_imap,
        Protocol::Pop => &account.sasl_user_pop,
        Protocol::Smtp => &account.sasl_user_smtp,
    };
    match own.as_ref().or(account.sasl_user.as_ref()) {
        Some(user) => user.as_str().into(),
        None => account.name.clone(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
