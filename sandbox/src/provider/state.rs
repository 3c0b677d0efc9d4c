//! What the provider has issued and still honours.

use super::key::ServiceKey;
use crate::{Options, Protocol};
use aws_lc_rs::rand;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// How long a code is good for, and how long a consent page may stay open.
pub(crate) const CODE_LIFETIME: Duration = Duration::from_secs(60);
pub(crate) const PAGE_LIFETIME: Duration = Duration::from_secs(900);
pub(crate) const DEVICE_LIFETIME: Duration = Duration::from_secs(600);

/// Entries in each table; what is oldest makes room.
const KEEP: usize = 50_000;

/// The provider's memory.
pub(crate) struct State {
    accounts: Vec<crate::Account>,
    daemon: Arc<str>,
    key: OnceLock<ServiceKey>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
pub(crate) struct Tables {
    /// Consent pages that were shown, by the one-time value in their form.
    pub(crate) pages: Table<Page>,
    pub(crate) codes: Table<Code>,
    pub(crate) access: Table<Token>,
    pub(crate) refresh: Table<Token>,
    pub(crate) devices: Table<Device>,
    /// `jti` values that have been used.
    pub(crate) assertions: Table<()>,
    grants: u64,
}

/// An authorisation request that waits for the user.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) client: &'static str,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) scope: String,
    pub(crate) challenge: Option<String>,
    /// The device code concerned, when it is not an authorisation request.
    pub(crate) device: Option<String>,
}

/// An authorisation code.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) page: Page,
    pub(crate) user: Arc<str>,
    pub(crate) grant: u64,
    pub(crate) used: bool,
}

/// An access or refresh token.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) client: &'static str,
    pub(crate) user: Arc<str>,
    pub(crate) scope: String,
    /// Tokens that come from one consent share it.
    pub(crate) grant: u64,
}

/// A device authorisation.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) client: &'static str,
    pub(crate) scope: String,
    pub(crate) user_code: String,
    pub(crate) decision: Option<Result<Arc<str>, ()>>,
    pub(crate) interval: Duration,
    pub(crate) polled: Option<Instant>,
}

/// Things by their random name, each with an end.
pub(crate) struct Table<T>(HashMap<String, (Instant, T)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table(HashMap::new())
    }
}

impl<T> Table<T> {
    pub(crate) fn insert(&mut self, name: String, item: T, lifetime: Duration) {
        let now = Instant::now();
        if self.0.len() >= KEEP {
            self.0.retain(|_, (end, _)| *end > now);
        }
        if self.0.len() >= KEEP {
            let first = self
                .0
                .iter()
                .min_by_key(|(_, (end, _))| *end)
                .map(|(name, _)| name.clone());
            first.and_then(|name| self.0.remove(&name));
        }
        let end = now
            .checked_add(lifetime)
            .unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 86_400));
        self.0.insert(name, (end, item));
    }

    pub(crate) fn get(&mut self, name: &str) -> Option<&mut T> {
        self.0
            .get_mut(name)
            .filter(|(end, _)| *end > Instant::now())
            .map(|(_, item)| item)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<T> {
        self.0
            .remove(name)
            .filter(|(end, _)| *end > Instant::now())
            .map(|(_, item)| item)
    }

    /// Time left, for introspection.
    pub(crate) fn left(&self, name: &str) -> Option<Duration> {
        self.0
            .get(name)
            .and_then(|(end, _)| end.checked_duration_since(Instant::now()))
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.0.retain(|_, (_, item)| keep(item));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let now = Instant::now();
        self.0
            .iter()
            .filter(move |(_, (end, _))| *end > now)
            .map(|(name, (_, item))| (name.as_str(), item))
    }
}

impl Tables {
    pub(crate) fn next_grant(&mut self) -> u64 {
        self.grants += 1;
        self.grants
    }

    /// Ends every token that came from one consent.
    pub(crate) fn revoke_grant(&mut self, grant: u64) {
        self.access.retain(|token| token.grant != grant);
        self.refresh.retain(|token| token.grant != grant);
    }
}

impl State {
    pub(crate) fn new(options: &Options) -> io::Result<State> {
        let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let Some(first) = options.accounts.first() else {
            return wrong("a sandbox needs at least one account".into());
        };
        let daemon = options.daemon_account.as_deref().unwrap_or(&first.address);
        if !options
            .accounts
            .iter()
            .any(|account| account.address.eq_ignore_ascii_case(daemon))
        {
            return wrong(format!(
                "the daemon's account {daemon} is none of the sandbox's accounts"
            ));
        }
        Ok(State {
            accounts: options.accounts.clone(),
            daemon: daemon.into(),
            key: OnceLock::new(),
            tables: Mutex::default(),
        })
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn accounts(&self) -> &[crate::Account] {
        &self.accounts
    }

    /// The account's address in its own spelling.
    pub(crate) fn account(&self, address: &str) -> Option<Arc<str>> {
        let account = self
            .accounts
            .iter()
            .find(|account| account.address.eq_ignore_ascii_case(address))?;
        Some(account.address.as_str().into())
    }

    pub(crate) fn password_opens(&self, address: &str, password: &str) -> Option<Arc<str>> {
        let account = self
            .accounts
            .iter()
            .find(|account| account.address.eq_ignore_ascii_case(address))?;
        (account.password == password).then(|| account.address.as_str().into())
    }

    pub(crate) fn daemon(&self) -> Arc<str> {
        self.daemon.clone()
    }

    pub(crate) fn service_key(&self) -> io::Result<&ServiceKey> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let key = ServiceKey::generate()?;
        // Another thread may have been faster: its key stands.
        Ok(self.key.get_or_init(|| key))
    }

    pub(crate) fn issue_directly(&self, account: &str, lifetime: Duration) -> Option<String> {
        let user = self.account(account)?;
        let mut tables = self.tables();
        let grant = tables.next_grant();
        let name = random("at-");
        let token = Token {
            client: super::client::CONFIDENTIAL.id,
            user,
            scope: "mail".into(),
            grant,
        };
        tables.access.insert(name.clone(), token, lifetime);
        Some(name)
    }

    /// Whether this access token is live, belongs to this user and covers this protocol; the user's own spelling.
    pub(crate) fn bearer(
        &self,
        token: &str,
        user: &str,
        protocol: Protocol,
    ) -> Result<Arc<str>, &'static str> {
        let mut tables = self.tables();
        let token = tables
            .access
            .get(token)
            .ok_or("the access token is unknown, revoked or expired")?;
        if !token.user.eq_ignore_ascii_case(user) {
            return Err("the access token belongs to another user");
        }
        let own = match protocol {
            Protocol::Imap => "mail.imap",
            Protocol::Pop => "mail.pop",
            Protocol::Smtp => "mail.smtp",
        };
        if !token
            .scope
            .split(' ')
            .any(|scope| scope == "mail" || scope == own)
        {
            return Err("the access token's scope does not cover this protocol");
        }
        Ok(token.user.clone())
    }

    pub(crate) fn revoke_access_tokens(&self) {
        self.tables().access.retain(|_| false);
    }

    pub(crate) fn revoke_all(&self) {
        let mut tables = self.tables();
        tables.access.retain(|_| false);
        tables.refresh.retain(|_| false);
        tables.codes.retain(|_| false);
    }
}

/// A new name that nobody can guess: 256 bits.
pub(crate) fn random(prefix: &str) -> String {
    let mut bytes = [0; 32];
    // aws-lc aborts the process rather than fail here; the error type is the interface's.
    if rand::fill(&mut bytes).is_err() {
        unreachable!("aws-lc has no entropy");
    }
    format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// A code for people to type: eight letters that are hard to mistake, `BCDF-GHJK` (RFC 8628 §6.1).
pub(crate) fn user_code() -> String {
    const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
    let digits = random("");
    let mut code = String::with_capacity(9);
    for (index, byte) in digits.bytes().take(8).enumerate() {
        if index == 4 {
            code.push('-');
        }
        code.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    }
    code
}
