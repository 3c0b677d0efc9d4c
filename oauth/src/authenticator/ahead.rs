//! Renewal ahead of time: while sessions of an account are open its token is refreshed in the background a little before a login
//! would have to wait for that.
//!
//! One timer serves all accounts. It looks once a minute at the wall clock, so that after a suspended night the tokens are renewed
//! within a minute of waking. The keys come from memory; what only the password can do is left to the next login.

use super::{
    Authenticator, Denial, MARGIN, errand::Errand, flight, flight::Flight, flight::Landing,
    flight::Setback, is_checked_by_provider, lock, saved::Proof, saved::Unlocked,
};
use crate::{
    crypt::random,
    keyring::Tag,
    settings::{Account, Settings},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

/// Seconds between two looks.
const LOOK: u64 = 60;
/// Renewal begins so many seconds before a login would have to renew, and up to as many earlier: not all accounts at once.
/// No less than [`LOOK`], or logins would be first.
const LEAD: u64 = 60;
/// Tokens that live no longer than this, in seconds, are left to the logins: they would be renewed all the time.
const SHORTEST: u64 = 600;
/// Renewals that one look begins; the others come a second later. (After a suspended night all are due.)
const AT_ONCE: usize = 8;
/// Pause after a failure, doubled with each further one, in seconds.
const FIRST_PAUSE: u64 = 60;
const LONGEST_PAUSE: u64 = 3600;

/// Accounts with open sessions.
#[derive(Default)]
pub(super) struct Sessions(Mutex<Watched>);

impl Sessions {
    /// Open sessions of the account.
    pub(super) fn count(&self, account: &str) -> usize {
        let watched = lock(&self.0);
        watched.open.get(account).map_or(0, |open| open.sessions)
    }
}

#[derive(Default)]
struct Watched {
    open: HashMap<Arc<str>, Open>,
    /// The timer runs.
    watching: bool,
}

#[derive(Default)]
struct Open {
    sessions: usize,
    trouble: Option<Trouble>,
}

/// The access token with this tag could not be renewed.
#[derive(Clone, Copy)]
struct Trouble {
    token: Tag,
    failures: u32,
    /// No further attempt before this time.
    until: u64,
}

/// A session that relays; it has ended when this is dropped.
pub struct OpenSession {
    authenticator: Weak<Authenticator>,
    /// `None`: there is no such account any more.
    account: Option<Arc<str>>,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let (Some(authenticator), Some(account)) = (self.authenticator.upgrade(), &self.account)
        else {
            return;
        };
        let mut watched = lock(&authenticator.sessions.0);
        if let Some(open) = watched.open.get_mut(account) {
            open.sessions -= 1;
            if open.sessions == 0 {
                watched.open.remove(account);
            }
        }
    }
}

impl Authenticator {
    /// A session of this login name has begun its relay. Until what is returned is dropped the account's token is renewed in the
    /// background, a little before logins would have to wait for it.
    pub fn session_opened(self: &Arc<Self>, user: &str) -> OpenSession {
        let account = self.account(&self.settings(), user);
        let account = account.map(|account| account.name.clone());
        if let Some(account) = &account {
            let mut watched = lock(&self.sessions.0);
            watched.open.entry(account.clone()).or_default().sessions += 1;
            if !std::mem::replace(&mut watched.watching, true) {
                (self.spawn)(Box::pin(watch(Arc::downgrade(self))));
            }
        }
        OpenSession {
            authenticator: Arc::downgrade(self),
            account,
        }
    }

    /// Renews what is due; the time until the next look, or `None` where no session is open any more.
    async fn look(self: &Arc<Self>) -> Option<Duration> {
        let names: Vec<Arc<str>> = {
            let mut watched = lock(&self.sessions.0);
            watched.watching = !watched.open.is_empty();
            watched.open.keys().cloned().collect()
        };
        if names.is_empty() {
            return None;
        }
        let settings = self.settings();
        let mut begun = 0;
        for name in names {
            let Some(account) = settings.account(&name).filter(|a| a.name == name) else {
                continue;
            };
            let Some(token) = self.due(&settings, &account).await else {
                continue;
            };
            if begun == AT_ONCE {
                return Some(Duration::from_secs(1));
            }
            begun += usize::from(self.renew(&settings, &account, token));
        }
        Some(Duration::from_secs(LOOK))
    }

    /// The tag of the account's access token, when it is time to renew it and that can be tried.
    async fn due(&self, settings: &Settings, account: &Account) -> Option<Tag> {
        let holdings = self.holdings(account).await.ok()?;
        let by_password = is_checked_by_provider(settings, account)
            && account.flow.needs_no_user()
            && !holdings.has_encrypted_secret();
        if by_password || !(holdings.has_refresh_token() || account.flow.needs_no_user()) {
            return None;
        }
        let plain = self.plain_secret(account).is_some();
        let unlocked = holdings
            .unlock(
                &self.keyring,
                account,
                &Proof::Keys,
                plain,
                self.form(settings),
            )
            .await;
        let Ok(Unlocked::Open(opened)) = unlocked else {
            return None;
        };
        let access = opened.access.as_ref()?;
        let lifetime = self.lifetime(account, access);
        if lifetime.is_some_and(|lifetime| lifetime <= SHORTEST) {
            return None;
        }
        let token = self.token_tag(access);
        let margin = lifetime.map_or(MARGIN, |lifetime| MARGIN.min(lifetime / 2));
        let lead = LEAD + LEAD * token.spread() / 256;
        let now = self.clock.now();
        (holdings.expiry.saturating_sub(now) <= margin + lead && self.may_renew(account, token))
            .then_some(token)
    }

    /// Whether sessions are open, and no pause after failures.
    fn may_renew(&self, account: &Account, token: Tag) -> bool {
        let now = self.clock.now();
        let watched = lock(&self.sessions.0);
        watched.open.get(&account.name).is_some_and(|open| {
            let pausing = |t: Trouble| t.token == token && now < t.until;
            !open.trouble.is_some_and(pausing)
        })
    }

    /// Begins a flight unless one is on its way. (One that asks the user may take long: it does not stand in the way.)
    fn renew(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        account: &Arc<Account>,
        token: Tag,
    ) -> bool {
        let flight = Arc::<Flight>::default();
        let begun = self.state(&account.name, |state| {
            let free = state.flights.iter().all(|aloft| aloft.flight.is_asking());
            // one that has landed a moment ago may have failed
            if !free || !self.may_renew(account, token) {
                return false;
            }
            state.flights.push(flight::Aloft {
                tag: self.keyring.tag(&[b"ahead", account.name.as_bytes()]),
                fingerprint: account.fingerprint,
                ahead: true,
                flight: flight.clone(),
            });
            true
        });
        if !begun {
            return false;
        }
        let landing = Landing {
            authenticator: self.clone(),
            account: account.name.clone(),
            flight: flight.clone(),
        };
        let errand = Errand {
            authenticator: self.clone(),
            settings: settings.clone(),
            account: account.clone(),
            proof: Proof::Keys,
            user: account.name.clone(),
            client: None,
            afresh: false,
            force: Some(token),
            flight,
        };
        (self.spawn)(Box::pin(async move {
            let result = errand.renew().await;
            let failure = match &result {
                Ok(_) | Err(Setback::Changed) => None,
                Err(Setback::Denial(denial)) => Some(denial),
            };
            if let Some(denial) = failure {
                let authenticator = &errand.authenticator;
                authenticator.note(&errand.account.name, Some(denial));
            }
            errand
                .authenticator
                .renewed(&errand.account.name, token, failure);
            // nobody shares this result: logins open what was saved with their own password
            landing.land(result.and(Err(Setback::Changed)));
        }));
        true
    }

    /// Remembers what became of a renewal.
    fn renewed(&self, account: &Arc<str>, token: Tag, failure: Option<&Denial>) {
        let now = self.clock.now();
        let mut watched = lock(&self.sessions.0);
        let Some(open) = watched.open.get_mut(account) else {
            return;
        };
        open.trouble = failure.map(|denial| {
            let failures = open
                .trouble
                .filter(|trouble| trouble.token == token)
                .map_or(0, |trouble| trouble.failures)
                .saturating_add(1);
            let until = match denial {
                Denial::Temporary(_) => now.saturating_add(pause(failures)),
                // it would be refused again: the next login sees to it
                Denial::Denied(_) => u64::MAX,
            };
            Trouble {
                token,
                failures,
                until,
            }
        });
    }
}

/// Doubles up to an hour, with up to a quarter on top.
fn pause(failures: u32) -> u64 {
    let seconds = FIRST_PAUSE
        .checked_shl(failures.saturating_sub(1).min(16))
        .unwrap_or(LONGEST_PAUSE)
        .min(LONGEST_PAUSE);
    let jitter = random::<1>().map_or(0, |[jitter]| u64::from(jitter));
    seconds + seconds * jitter / 1024
}

/// The timer; ends with the last session, or with the authenticator.
async fn watch(authenticator: Weak<Authenticator>) {
    loop {
        let sleep = {
            let Some(authenticator) = authenticator.upgrade() else {
                return;
            };
            let Some(wait) = authenticator.look().await else {
                return;
            };
            authenticator.clock.sleep(wait)
        };
        sleep.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_an_hour() {
        for (failures, least) in [(1, 60), (2, 120), (6, 1920), (7, 3600), (u32::MAX, 3600)] {
            let pause = pause(failures);
            assert!(
                (least..=least + least / 4).contains(&pause),
                "{failures}: {pause}"
            );
        }
    }

    #[test]
    fn a_look_comes_before_any_login_has_to_renew() {
        const { assert!(LEAD >= LOOK) }
        const { assert!(SHORTEST / 2 > 2 * LEAD) }
    }
}
