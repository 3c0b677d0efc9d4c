//! Work for one account that several logins may wait for, and what is remembered of an account between logins.

use super::{Authenticator, Denial, lock};
use crate::{keyring::Tag, messages::login as messages};
use event_listener::{Event, listener};
use proxy_proto::Secret;
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// A forced refresh is made at most so often, in seconds.
pub(super) const FORCED_EVERY: u64 = 600;
/// Longest pause after failures, in seconds.
const LONGEST_PAUSE: u64 = 64;

/// One refresh or authorisation on its way. It is keyed by account, and by password and settings (the tag).
#[derive(Default)]
pub(super) struct Flight {
    result: OnceLock<Result<Secret, Setback>>,
    /// The user is being asked: this may take minutes.
    asking: AtomicBool,
    changed: Event,
}

impl Flight {
    /// The access token, once it is there.
    pub(super) async fn wait(&self) -> Result<Secret, Setback> {
        loop {
            if let Some(result) = self.result.get() {
                return result.clone();
            }
            listener!(self.changed => changed);
            if let Some(result) = self.result.get() {
                return result.clone();
            }
            changed.await;
        }
    }

    /// Completes when it has landed, or turns out to need the user.
    pub(super) async fn wait_or_asking(&self) {
        while !self.has_landed() && !self.is_asking() {
            listener!(self.changed => changed);
            if self.has_landed() || self.is_asking() {
                return;
            }
            changed.await;
        }
    }

    /// The user is being asked from now on.
    pub(super) fn ask(&self) {
        self.asking.store(true, Ordering::Release);
        self.changed.notify(usize::MAX);
    }

    pub(super) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Acquire)
    }

    pub(super) fn has_landed(&self) -> bool {
        self.result.get().is_some()
    }

    /// Wakes all who wait; only the first result counts.
    pub(super) fn land(&self, result: Result<Secret, Setback>) {
        let _ = self.result.set(result);
        self.changed.notify(usize::MAX);
    }
}

/// Why a flight brought no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// The answer to every login on board.
    Denial(Denial),
    /// What is saved has changed since the logins looked at it: they look again.
    Changed,
}

impl From<Denial> for Setback {
    fn from(denial: Denial) -> Self {
        Setback::Denial(denial)
    }
}

/// A flight on its way.
pub(super) struct Aloft {
    pub(super) tag: Tag,
    /// Of the account's settings: a flight under older ones does not stand in the way.
    pub(super) fingerprint: [u8; 32],
    /// Nobody waits for it: it renews a token ahead of its time.
    pub(super) ahead: bool,
    pub(super) flight: Arc<Flight>,
}

/// Lands a flight whatever happens to its task: those who wait are never left waiting.
pub(super) struct Landing {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) account: Arc<str>,
    pub(super) flight: Arc<Flight>,
}

impl Landing {
    pub(super) fn land(self, result: Result<Secret, Setback>) {
        self.leave();
        self.flight.land(result);
    }

    fn leave(&self) {
        self.authenticator.state(&self.account, |state| {
            state
                .flights
                .retain(|aloft| !Arc::ptr_eq(&aloft.flight, &self.flight));
        });
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.flight.has_landed() {
            self.leave();
            self.flight.land(Err(Setback::Denial(Denial::Temporary(
                messages::broken_off(&self.account),
            ))));
        }
    }
}

/// Flights of one account write one after the other.
#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<HashSet<Arc<str>>>,
    left: Event,
}

/// Nobody else writes this account until it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    account: Arc<str>,
}

impl Turns {
    pub(super) async fn take(&self, account: &Arc<str>) -> Turn<'_> {
        loop {
            listener!(self.left => left);
            if lock(&self.taken).insert(account.clone()) {
                return Turn {
                    turns: self,
                    account: account.clone(),
                };
            }
            left.await;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.turns.taken).remove(&self.account);
        self.turns.left.notify(usize::MAX);
    }
}

/// What is remembered of an account while the process runs.
#[derive(Default)]
pub(super) struct AccountState {
    pub(super) flights: Vec<Aloft>,
    /// Lifetime of the access token with this tag, in seconds.
    pub(super) lifetime: Option<(Tag, u64)>,
    pub(super) pause: Option<Pause>,
    pub(super) refusals: Refusals,
    pub(super) stray: Option<Stray>,
}

/// A grant that could not be saved for good, because the password of what is saved was changed meanwhile, or could still be. It
/// belongs to whoever opens the tokens that it replaces: under a new password these are the same.
pub(super) struct Stray {
    /// Of the tokens that it replaces.
    pub(super) from: Vec<Tag>,
    /// Of the account's settings.
    pub(super) fingerprint: [u8; 32],
    pub(super) access: Secret,
    /// Unix time.
    pub(super) expiry: u64,
    /// `None`: the provider has not replaced it.
    pub(super) refresh: Option<Secret>,
}

impl AccountState {
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty()
            && self.lifetime.is_none()
            && self.pause.is_none()
            && self.refusals.is_idle()
            && self.stray.is_none()
    }
}

/// No request before this time, after so many failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    failures: u32,
    pub(super) until: u64,
}

impl Pause {
    /// The pause after one more failure: it doubles, with up to a quarter of `jitter` (0–255) on top.
    pub(super) fn after(before: Option<Pause>, now: u64, jitter: u8) -> Pause {
        let failures = before.map_or(0, |pause| pause.failures).saturating_add(1);
        let seconds = 1u64
            .checked_shl(failures - 1)
            .unwrap_or(u64::MAX)
            .min(LONGEST_PAUSE);
        Pause {
            failures,
            until: now + seconds + seconds * u64::from(jitter) / 1024,
        }
    }
}

/// Which access token was handed out how often, and when the server's refusal last led to a refresh.
#[derive(Default)]
pub(super) struct Refusals {
    handed: Option<(Tag, u32)>,
    forced_at: Option<u64>,
    /// Logins that hold the token that was refreshed away, and may still come back with its refusal.
    outstanding: u32,
}

/// What to do about a refused token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterRefusal {
    /// Refresh, whatever the expiry says.
    Refresh,
    /// The saved token is not the one that was refused.
    Current,
    /// The new token was refused as well.
    Refuse,
}

impl Refusals {
    fn is_idle(&self) -> bool {
        self.handed.is_none() && self.forced_at.is_none()
    }

    /// A login gets the access token with this tag.
    pub(super) fn hand_out(&mut self, token: Tag) {
        match &mut self.handed {
            Some((tag, count)) if *tag == token => *count = count.saturating_add(1),
            handed => *handed = Some((token, 1)),
        }
    }

    /// A login's token was refused, and the saved one has this tag.
    pub(super) fn refused(&mut self, token: Tag, now: u64) -> AfterRefusal {
        let handed = match self.handed {
            Some((tag, count)) if tag == token => count,
            _ => return AfterRefusal::Current,
        };
        if self
            .forced_at
            .is_some_and(|at| now < at.saturating_add(FORCED_EVERY))
        {
            if self.outstanding == 0 {
                return AfterRefusal::Refuse;
            }
            self.outstanding -= 1;
            return AfterRefusal::Current;
        }
        self.forced_at = Some(now);
        self.outstanding = handed - 1;
        AfterRefusal::Refresh
    }

    /// A login whose token was refused waits for the refresh that another one began.
    pub(super) fn joined(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// The refresh did not come about, for a reason that may pass: it does not count.
    pub(super) fn not_made(&mut self) {
        self.forced_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;
    use futures_lite::future::{block_on, poll_once, zip};

    #[test]
    fn all_who_wait_get_the_first_result() {
        let flight = Flight::default();
        block_on(async {
            let mut early = Box::pin(flight.wait());
            assert!(poll_once(&mut early).await.is_none());
            flight.land(Ok(Secret::new("token")));
            flight.land(Err(Setback::Changed));
            let (early, late) = zip(early, flight.wait()).await;
            assert!(early.is_ok_and(|t| t.expose() == "token"));
            assert!(late.is_ok_and(|t| t.expose() == "token"));
        });
    }

    #[test]
    fn writers_of_one_account_take_turns_and_others_do_not_wait() {
        let turns = Turns::default();
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        block_on(async {
            let first = turns.take(&a).await;
            let mut second = Box::pin(turns.take(&a));
            assert!(poll_once(&mut second).await.is_none());
            let _other = turns.take(&b).await;
            drop(first);
            let _second = second.await;
        });
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut pause = None;
        let mut lengths = Vec::new();
        for _ in 0..9 {
            let next = Pause::after(pause, 1_000, 0);
            lengths.push(next.until - 1_000);
            pause = Some(next);
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        let many = Pause {
            failures: u32::MAX,
            until: 0,
        };
        assert_eq!(Pause::after(Some(many), 0, 255).until, 64 + 15);
    }

    #[test]
    fn a_refused_token_is_refreshed_once_in_ten_minutes() {
        let keyring = Keyring::new(1).expect("randomness");
        let (old, new) = (keyring.tag(&[b"old"]), keyring.tag(&[b"new"]));
        let mut refusals = Refusals::default();
        refusals.hand_out(old);
        assert_eq!(refusals.refused(old, 100), AfterRefusal::Refresh);
        refusals.hand_out(new);
        assert_eq!(refusals.refused(new, 101), AfterRefusal::Refuse);
        assert_eq!(refusals.refused(new, 699), AfterRefusal::Refuse);
        assert_eq!(refusals.refused(new, 700), AfterRefusal::Refresh);
    }

    #[test]
    fn those_who_held_the_old_token_get_the_new_one_without_a_refresh() {
        let keyring = Keyring::new(1).expect("randomness");
        let (old, new) = (keyring.tag(&[b"old"]), keyring.tag(&[b"new"]));
        let mut refusals = Refusals::default();
        for _ in 0..3 {
            refusals.hand_out(old);
        }
        assert_eq!(refusals.refused(old, 100), AfterRefusal::Refresh);
        // the second waits for that refresh, the third comes when it is over
        refusals.joined();
        refusals.hand_out(new);
        refusals.hand_out(new);
        assert_eq!(refusals.refused(new, 102), AfterRefusal::Current);
        assert_eq!(refusals.refused(new, 103), AfterRefusal::Refuse);
    }

    #[test]
    fn a_token_that_was_never_handed_out_is_worth_a_try() {
        let keyring = Keyring::new(1).expect("randomness");
        let mut refusals = Refusals::default();
        refusals.hand_out(keyring.tag(&[b"old"]));
        assert_eq!(
            refusals.refused(keyring.tag(&[b"new"]), 1),
            AfterRefusal::Current
        );
    }
}
