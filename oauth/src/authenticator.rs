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
pub mod rekey;
mod saved;

use crate::{
    consent::Consent,
    crypt::{Kdf, NoRandomness},
    flow::answer::clean,
    keyring::{Busy, Keyring, Tag},
    settings::{Account, FlowKind, Settings},
    store::{Saver, Unsaved},
    transport::Transport,
};
pub use ahead::OpenSession;
use brake::Brake;
pub use denial::Denial;
use denial::{
    busy, consent_pending, is_local, refused_again, refused_to_strangers, wrong_password,
};
use errand::Errand;
use flight::{AccountState, AfterRefusal, Flight, Landing, Setback, Turn, Turns};
use proxy_proto::{BoxFuture, Mechanism, Protocol, Secret};
use saved::{Form, Holdings, Proof, Unlocked};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
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
}

impl Authenticator {
    /// Starts without any flight; no IO.
    pub fn new(parts: Parts) -> Result<Arc<Self>, NoRandomness> {
        let threads = available_parallelism()
            .map_or(1, |n| n.get().div_ceil(2))
            .min(4);
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
        }))
    }

    /// Replaces the settings (SIGHUP); results that come in under other settings of their account are dropped.
    pub fn reload(&self, settings: Arc<Settings>) {
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
        let user = clean(&attempt.user, &[]);
        if attempt.password.is_empty() {
            return Err(Denial::Denied(format!("no password was given for {user}")));
        }
        if attempt.password.expose().len() > LONGEST_PASSWORD {
            return Err(Denial::Denied(format!(
                "the password given for {user} is too long"
            )));
        }
        let settings = self.settings();
        let Some(account) = self.account(&settings, &attempt.user) else {
            return Err(self.unknown(&attempt, &user).await);
        };
        let access = self
            .access_token(&settings, &account, &attempt, &user)
            .await?;
        let tag = self.token_tag(&access);
        self.state(&account.name, |state| state.refusals.hand_out(tag));
        Ok(Token {
            token: access,
            user: sasl_user(&account, attempt.protocol),
            mechanism: account.sasl_mechanism,
        })
    }

    /// Waits until what was to be saved is saved; gives what the store has refused once more. For the end of the process.
    pub async fn flush(&self) -> Vec<Unsaved> {
        self.saver.flush().await
    }

    async fn access_token(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        account: &Arc<Account>,
        attempt: &Attempt,
        user: &str,
    ) -> Result<Secret, Denial> {
        let counted = AtomicBool::new(false);
        let count_wrong = || {
            if !counted.swap(true, Ordering::Relaxed) {
                lock(&self.brake).wrong(attempt.client, self.clock.now());
            }
        };
        for _ in 0..LOOKS {
            let holdings = self.holdings(account).await?;
            let plain = self.plain_secret(account).is_some();
            // Where nothing can be guessed the brake would only hold up the first login of an account.
            let guessable =
                holdings.checks_passwords(plain) || is_checked_by_provider(settings, account);
            if guessable && !holdings.password_is_known(&self.keyring, account, &attempt.password) {
                self.brake(attempt.client, user).await?;
            }
            let unlocked = holdings
                .unlock(
                    &self.keyring,
                    account,
                    &Proof::Password(attempt.password.clone()),
                    plain,
                    self.form(settings),
                )
                .await
                .map_err(|Busy| busy(user))?;
            let need = match unlocked {
                Unlocked::Empty => Need::Authorization,
                Unlocked::Open(opened) => match (opened.access, &attempt.rejected) {
                    (Some(access), None) => {
                        let life = self.life(account, &access, holdings.expiry);
                        if life == Life::Long && !opened.stale {
                            tracing::debug!(account = %account.name, "the saved token serves");
                            return Ok(access);
                        }
                        Need::Renewal
                    }
                    (Some(access), Some(_)) => {
                        let life = self.life(account, &access, holdings.expiry);
                        Need::AfterRefusal {
                            access,
                            long: life == Life::Long,
                        }
                    }
                    (None, _) => Need::Renewal,
                },
                Unlocked::Wrong { secret, iterations } => {
                    count_wrong();
                    let user_decides = !matches!(
                        account.flow,
                        FlowKind::ClientCredentials | FlowKind::ServiceAccount
                    );
                    let afresh = settings.options.delete_account_token_on_password_error;
                    if secret || !user_decides || !afresh {
                        self.pad(attempt, iterations).await;
                        return Err(wrong_password(account, attempt, user, secret));
                    }
                    Need::Authorization
                }
                Unlocked::Damaged { heading, damaged } => {
                    return Err(Denial::Temporary(format!(
                        "{user}: the saved {} {}; remove it from section [{heading}] to log in afresh",
                        damaged.option, damaged.why
                    )));
                }
            };
            let authorization = matches!(need, Need::Authorization);
            match self.board(settings, account, attempt, need) {
                Boarding::Aboard(flight) => {
                    let denial = match flight.wait().await {
                        Ok(access) => return Ok(access),
                        Err(Setback::Changed) => continue,
                        Err(Setback::Denial(denial)) => denial,
                    };
                    let guessed = authorization && is_checked_by_provider(settings, account);
                    if guessed && matches!(denial, Denial::Denied(_)) {
                        count_wrong();
                    }
                    return Err(denial);
                }
                Boarding::NotNeeded(access) => return Ok(access),
                Boarding::After(flight) => flight.wait_or_asking().await,
                Boarding::Refused(denial) => return Err(denial),
            }
        }
        Err(Denial::Temporary(format!(
            "what is saved of {user} keeps changing; try again"
        )))
    }

    /// Joins the flight of this account and password, or begins one.
    fn board(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        account: &Arc<Account>,
        attempt: &Attempt,
        need: Need,
    ) -> Boarding {
        let tag = self.keyring.tag(&[
            b"flight",
            account.name.as_bytes(),
            attempt.password.expose().as_bytes(),
            &account.fingerprint,
        ]);
        let now = self.clock.now();
        let mut accounts = lock(&self.accounts);
        let state = accounts.entry(account.name.clone()).or_default();
        if let Some(aloft) = state.flights.iter().find(|aloft| aloft.tag == tag) {
            if matches!(need, Need::AfterRefusal { .. }) {
                state.refusals.joined();
            }
            return Boarding::Aboard(aloft.flight.clone());
        }
        if let Some(ahead) = state.flights.iter().find(|aloft| aloft.ahead) {
            // it is over soon, never asks the user, and leaves what this login needs
            return Boarding::After(ahead.flight.clone());
        }
        let mut force = None;
        match need {
            Need::Renewal => {}
            Need::Authorization => {
                let mut others = state
                    .flights
                    .iter()
                    .filter(|a| a.fingerprint == account.fingerprint);
                if others.clone().any(|aloft| aloft.flight.is_asking()) {
                    return Boarding::Refused(consent_pending(&account.name));
                }
                if let Some(aloft) = others.next() {
                    return Boarding::After(aloft.flight.clone());
                }
            }
            Need::AfterRefusal { access, long } => {
                let access_tag = self.token_tag(&access);
                match state.refusals.refused(access_tag, now) {
                    AfterRefusal::Refresh => force = Some(access_tag),
                    AfterRefusal::Current if long => return Boarding::NotNeeded(access),
                    AfterRefusal::Current => {}
                    AfterRefusal::Refuse => {
                        let text = attempt.rejected.as_deref().unwrap_or_default();
                        return Boarding::Refused(refused_again(account, text));
                    }
                }
            }
        }
        let flight = Arc::<Flight>::default();
        state.flights.push(flight::Aloft {
            tag,
            fingerprint: account.fingerprint,
            ahead: false,
            flight: flight.clone(),
        });
        drop(accounts);
        let landing = Landing {
            authenticator: self.clone(),
            account: account.name.clone(),
            flight: flight.clone(),
        };
        let errand = Errand {
            authenticator: self.clone(),
            settings: settings.clone(),
            account: account.clone(),
            proof: Proof::Password(attempt.password.clone()),
            client: Some(attempt.client),
            force,
            flight: flight.clone(),
        };
        (self.spawn)(Box::pin(async move {
            let result = errand.run().await;
            let passing =
                |setback: &Setback| !matches!(setback, Setback::Denial(Denial::Denied(_)));
            if force.is_some() && result.as_ref().is_err_and(passing) {
                let account = &errand.account.name;
                errand
                    .authenticator
                    .state(account, |state| state.refusals.not_made());
            }
            landing.land(result);
        }));
        Boarding::Aboard(flight)
    }

    /// The answer to a login name that has no account: to strangers the same as to a wrong password, at the same cost.
    async fn unknown(&self, attempt: &Attempt, user: &str) -> Denial {
        if let Err(denial) = self.brake(attempt.client, user).await {
            return denial;
        }
        lock(&self.brake).wrong(attempt.client, self.clock.now());
        self.pad(attempt, 0).await;
        tracing::info!(client = %attempt.client, "login refused: there is no account {user}");
        if is_local(attempt.client) {
            Denial::Denied(format!(
                "there is no account {user}: add a section [{user}] to the configuration file"
            ))
        } else {
            refused_to_strangers(user)
        }
    }

    /// Brings what a stranger's attempt has cost to what every attempt costs.
    async fn pad(&self, attempt: &Attempt, spent: u32) {
        let missing = self.new_iterations.saturating_sub(spent);
        if missing == 0 || (spent > 0 && is_local(attempt.client)) {
            return;
        }
        if let Ok(kdf) = Kdf::fresh(missing) {
            let _ = self.keyring.derive("", &attempt.password, &kdf).await;
        }
    }

    async fn brake(&self, client: IpAddr, user: &str) -> Result<(), Denial> {
        let wait = lock(&self.brake).wait(client, self.clock.now());
        let Some(wait) = wait else {
            return Err(Denial::Temporary(format!(
                "too many wrong passwords from {client}: {user} has to wait a minute"
            )));
        };
        if !wait.is_zero() {
            struct Waiting<'a>(&'a Mutex<Brake>, IpAddr);
            impl Drop for Waiting<'_> {
                fn drop(&mut self) {
                    lock(self.0).waited(self.1);
                }
            }
            let _waiting = Waiting(&self.brake, client);
            self.clock.sleep(wait).await;
        }
        Ok(())
    }

    async fn holdings(&self, account: &Account) -> Result<Holdings, Denial> {
        Holdings::load(account, &self.saver, self.config_saver.as_deref())
            .await
            .map_err(|e| {
                Denial::Temporary(format!(
                    "the tokens of {} cannot be read: {e}",
                    account.name
                ))
            })
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

/// What a login lacks.
enum Need {
    /// Nothing is saved, or it is saved under another password.
    Authorization,
    /// What is saved has to be refreshed, or rewritten.
    Renewal,
    /// The server refused a token; `access` is the one that is saved now, and whether it has long to live.
    AfterRefusal { access: Secret, long: bool },
}

enum Boarding {
    Aboard(Arc<Flight>),
    NotNeeded(Secret),
    /// Another password's flight comes first.
    After(Arc<Flight>),
    Refused(Denial),
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

/// Whether the login password goes to the provider: what it refuses may be a guess.
fn is_checked_by_provider(settings: &Settings, account: &Account) -> bool {
    match account.flow {
        FlowKind::Password => true,
        FlowKind::ClientCredentials => {
            settings
                .options
                .use_login_password_as_client_credentials_secret
                && account.client_secret.is_none()
        }
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
