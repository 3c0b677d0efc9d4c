//! A store with a memory.

use super::{Change, Saved, Store, StoreError, Update, spelling};
use crate::messages::saved as messages;
use budget::Budget;
use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

mod budget;

/// A store with a memory: what is not written yet is kept, served by [`load`](Saver::load), and written later.
///
/// It works under any executor: the store's blocking calls run on the `blocking` pool, and a thread of its own retries
/// for as long as something is pending. Saves that come in while one is being written go out together with the next. Where the
/// store wants to be written seldom ([`Store::pace`]), access tokens wait for the next write.
pub struct Saver {
    inner: Arc<Inner>,
}

/// What became of a save.
#[derive(Debug)]
pub enum Outcome {
    /// On disk.
    Written,
    /// Kept in memory, to be written with others: the store wants to be written seldom.
    Waiting,
    /// Kept in memory and retried.
    Pending(StoreError),
    /// Not made, because the section holds something else by now.
    Changed,
}

/// What [`Saver::flush`] could not save.
#[derive(Debug, Clone)]
pub struct Unsaved {
    /// The section's heading.
    pub heading: String,
    /// Why.
    pub error: StoreError,
}

/// The first retry comes after this, each further one after twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

impl Saver {
    /// A saver over this store; retries after one second to one minute.
    pub fn new(store: Arc<dyn Store>) -> Arc<Saver> {
        Saver::with_retry(store, FIRST_RETRY, LAST_RETRY)
    }

    /// The same with other times: before the first retry, and the longest between two.
    pub fn with_retry(store: Arc<dyn Store>, first: Duration, longest: Duration) -> Arc<Saver> {
        let budget = store.pace().map(|pace| Budget::new(pace, Instant::now()));
        let state = State {
            wait: first,
            budget,
            ..State::default()
        };
        let inner = Inner {
            store,
            state: Mutex::new(state),
            changed: Condvar::new(),
            writing: Mutex::default(),
            retry: (first, longest),
            errors: AtomicU64::new(0),
        };
        Arc::new(Saver {
            inner: Arc::new(inner),
        })
    }

    /// What is saved in the section `heading`, with pending changes over it. Where the store cannot be read, what was
    /// read or written last is given instead.
    ///
    /// # Errors
    /// The store cannot be read and nothing is known of this section.
    pub async fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        let (inner, heading) = (self.inner.clone(), heading.to_owned());
        blocking::unblock(move || inner.load(&heading)).await
    }

    /// The section with this name, exactly or else ignoring letter case; also where it is not written yet.
    ///
    /// # Errors
    /// The store cannot be read and no such section is known.
    pub async fn spelling(&self, name: &str) -> Result<Option<String>, StoreError> {
        let (inner, name) = (self.inner.clone(), name.to_owned());
        blocking::unblock(move || {
            let here = {
                let state = inner.state();
                let names = state.pending.keys().chain(state.known.keys());
                spelling(&name, names).cloned()
            };
            if here.as_deref() == Some(&name) {
                return Ok(here);
            }
            match inner.store.headings() {
                Ok(found) => Ok(spelling(&name, &found).cloned().or(here)),
                Err(_) if here.is_some() => Ok(here),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Makes the changes: on disk when this says [`Outcome::Written`], else in memory until they can be written. Once it has
    /// been polled they are made, even where nobody waits for the end.
    ///
    /// A change that no store can hold (a line break in heading or value) is answered with [`Outcome::Pending`] and
    /// dropped, so that it does not keep all others from being saved.
    pub async fn save(&self, heading: &str, changes: Vec<Change>) -> Outcome {
        self.make(heading, None, changes).await
    }

    /// The same, but only while the section holds what [`load`](Saver::load) has said of it, `last_activity` apart: else this says
    /// [`Outcome::Changed`]. Changes that could not be written at once are dropped if somebody else changes the section first.
    pub async fn save_unless_changed(
        &self,
        heading: &str,
        seen: &Saved,
        changes: Vec<Change>,
    ) -> Outcome {
        self.make(heading, Some(seen), changes).await
    }

    async fn make(&self, heading: &str, seen: Option<&Saved>, changes: Vec<Change>) -> Outcome {
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let unfit = |text: &str| breaks(text) || text.trim().len() != text.len();
        if breaks(heading)
            || changes
                .iter()
                .any(|c| c.value.as_deref().is_some_and(unfit))
        {
            return Outcome::Pending(StoreError(messages::not_one_line(self.describe())));
        }
        let can_wait = changes.iter().all(can_wait);
        let Some(number) = self.inner.remember(heading, seen, changes) else {
            return Outcome::Changed;
        };
        if can_wait && self.inner.waits_for_others() {
            return Outcome::Waiting;
        }
        let (inner, heading) = (self.inner.clone(), heading.to_owned());
        let (sender, receiver) = async_channel::bounded(1);
        // Detached: a login that is given up must not take a rotated refresh token with it.
        blocking::unblock(move || {
            inner.gather();
            let _ = sender.try_send(inner.write_for(&heading, number));
        })
        .detach();
        match receiver.recv().await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.inner.retry_later(None);
                Outcome::Pending(StoreError(messages::save_broken_off(self.describe())))
            }
        }
    }

    /// Tries once more to write all that is pending; says what could not be saved. For the end of the process.
    pub async fn flush(&self) -> Vec<Unsaved> {
        let inner = self.inner.clone();
        blocking::unblock(move || match inner.write(true) {
            Ok(_) => Vec::new(),
            Err(error) => {
                let state = inner.state();
                let mut headings: Vec<&String> = state.pending.keys().collect();
                headings.sort();
                let unsaved = |heading: &String| Unsaved {
                    heading: heading.clone(),
                    error: error.clone(),
                };
                headings.into_iter().map(unsaved).collect()
            }
        })
        .await
    }

    /// The headings of all sections, those included that are still to be written.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn headings(&self) -> Result<Vec<String>, StoreError> {
        let inner = self.inner.clone();
        blocking::unblock(move || {
            let mut headings = inner.store.headings()?;
            let state = inner.state();
            let mut pending: Vec<_> = state.pending.keys().cloned().collect();
            pending.retain(|heading| !headings.contains(heading));
            pending.sort();
            headings.append(&mut pending);
            Ok(headings)
        })
        .await
    }

    /// How often the store could not be read or written since the start; retries count.
    pub fn errors(&self) -> u64 {
        self.inner.errors.load(Ordering::Relaxed)
    }

    /// For logs: the file's path or the secret's name.
    pub fn describe(&self) -> String {
        self.inner.store.describe()
    }
}

/// An access token is not worth a write of its own where those are few: another one can be had for the refresh token.
fn can_wait(change: &Change) -> bool {
    matches!(
        change.option,
        "access_token" | "access_token_expiry" | "last_activity"
    )
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.inner.state().closed = true;
        self.inner.changed.notify_all();
    }
}

struct Inner {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    /// Rung when nothing is pending any more, when the next write is due earlier, and when the saver is dropped.
    changed: Condvar,
    /// Held while the store writes: one write at a time, each with all that has come in meanwhile.
    writing: Mutex<()>,
    retry: (Duration, Duration),
    errors: AtomicU64,
}

#[derive(Default)]
struct State {
    pending: HashMap<String, Pending>,
    saves: u64,
    /// By heading: the last save that was dropped because somebody else had changed the section.
    dropped: HashMap<String, u64>,
    /// Finished writes.
    writes: u64,
    /// What sections held when they were last seen; only those that hold anything.
    known: HashMap<String, Saved>,
    /// The user has been told that saving fails.
    trouble: bool,
    /// The thread that writes later runs.
    retrying: bool,
    /// When it does so.
    due: Option<Instant>,
    /// The pause after the next failure.
    wait: Duration,
    budget: Option<Budget>,
    closed: bool,
}

/// Changes to a section that are not written yet.
struct Pending {
    /// What the section has to hold for them; `None`: whatever it holds.
    seen: Option<Saved>,
    /// Each with the number of its save.
    changes: Vec<(Change, u64)>,
}

impl Pending {
    fn update(&self, heading: &str) -> Update {
        Update {
            heading: heading.to_owned(),
            seen: self.seen.clone(),
            changes: self.changes.iter().map(|(c, _)| c.clone()).collect(),
        }
    }
}

impl State {
    /// Somebody else has changed the section: what is pending for it was meant for another one.
    fn drop_pending(&mut self, heading: &str) {
        self.pending.remove(heading);
        self.dropped.insert(heading.to_owned(), self.saves);
    }

    fn clashes(&self, heading: &str, read: &Result<Saved, StoreError>) -> bool {
        match (read, self.pending.get(heading)) {
            (Ok(now), Some(pending)) => !pending.update(heading).fits(now),
            _ => false,
        }
    }
}

/// What became of a write.
enum Written {
    /// Nothing is pending that was so before.
    All,
    /// The store is not to be written now.
    NotNow,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count<T>(&self, result: &Result<T, StoreError>) {
        if result.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The save's number; `None` where what it rests on is not there any more.
    fn remember(&self, heading: &str, seen: Option<&Saved>, changes: Vec<Change>) -> Option<u64> {
        let mut state = self.state();
        let number = state.saves + 1;
        match state.pending.get_mut(heading) {
            None => {
                let pending = Pending {
                    seen: seen.cloned(),
                    changes: changes.into_iter().map(|c| (c, number)).collect(),
                };
                state.pending.insert(heading.to_owned(), pending);
            }
            Some(pending) => {
                if let (Some(base), Some(seen)) = (&pending.seen, seen) {
                    let mut now = base.clone();
                    now.apply(&pending.update(heading).changes);
                    if !now.agrees_with(seen) {
                        return None;
                    }
                }
                if seen.is_none() {
                    pending.seen = None;
                }
                for change in changes {
                    let other = |(earlier, _): &(Change, u64)| earlier.option != change.option;
                    pending.changes.retain(other);
                    pending.changes.push((change, number));
                }
            }
        }
        state.saves = number;
        Some(number)
    }

    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        let writes = self.state().writes;
        let mut read = self.store.load(heading);
        let mut state = self.state();
        if state.writes != writes || state.clashes(heading, &read) {
            // What was read may be older than a change that is pending no more, or newer than one that is still being written.
            drop(state);
            let _writing = self.turn();
            read = self.store.load(heading);
            state = self.state();
            if state.clashes(heading, &read) {
                state.drop_pending(heading);
                told_of_change(heading);
            }
        }
        self.count(&read);
        let mut saved = match read {
            Ok(saved) => {
                if saved == Saved::default() {
                    state.known.remove(heading);
                } else {
                    state.known.insert(heading.to_owned(), saved.clone());
                }
                saved
            }
            Err(error) => match state.known.get(heading) {
                Some(known) => {
                    tracing::warn!("{}", messages::known_instead(error, heading));
                    known.clone()
                }
                None if state.pending.contains_key(heading) => {
                    tracing::warn!("{}", messages::pending_instead(error, heading));
                    Saved::default()
                }
                None => return Err(error),
            },
        };
        if let Some(pending) = state.pending.get(heading) {
            saved.apply(&pending.update(heading).changes);
        }
        Ok(saved)
    }

    /// Whether a save that can wait does so; then the write that it waits for is planned.
    fn waits_for_others(self: &Arc<Self>) -> bool {
        let now = Instant::now();
        let due = self.state().budget.as_mut().and_then(|b| b.next_round(now));
        if due.is_some() {
            self.retry_later(due);
        }
        due.is_some()
    }

    fn gather(&self) {
        if let Some(pace) = self.store.pace() {
            std::thread::sleep(pace.gather);
        }
    }

    /// Writes all that is pending, for the save with this number.
    fn write_for(self: &Arc<Self>, heading: &str, number: u64) -> Outcome {
        let result = self.write(false);
        let state = self.state();
        if state
            .dropped
            .get(heading)
            .is_some_and(|last| *last >= number)
        {
            return Outcome::Changed;
        }
        match result {
            Ok(Written::All) => Outcome::Written,
            Ok(Written::NotNow) => Outcome::Waiting,
            Err(error) => Outcome::Pending(error),
        }
    }

    /// Writes all that is pending, if the store may be written now or that is `pressing`.
    fn write(self: &Arc<Self>, pressing: bool) -> Result<Written, StoreError> {
        let _writing = self.turn();
        let (updates, last) = {
            let mut state = self.state();
            let pending = state.pending.iter();
            let mut updates: Vec<Update> = pending.map(|(h, pending)| pending.update(h)).collect();
            if updates.is_empty() {
                return Ok(Written::All);
            }
            updates.sort_by(|one, other| one.heading.cmp(&other.heading));
            if let Some(budget) = &mut state.budget
                && let Err(due) = budget.spend(Instant::now())
                && !pressing
            {
                if budget.tell() {
                    let minutes = budget.interval().as_secs() / 60;
                    tracing::warn!("{}", messages::few_writes(self.store.describe(), minutes));
                }
                drop(state);
                self.retry_later(Some(due));
                return Ok(Written::NotNow);
            }
            (updates, state.saves)
        };
        let result = self.store.save_all(&updates);
        self.count(&result);
        let mut state = self.state();
        match result {
            Ok(made) => {
                state.writes += 1;
                state.wait = self.retry.0;
                for (update, made) in updates.iter().zip(made) {
                    state.written(update, made, last);
                }
                if std::mem::take(&mut state.trouble) {
                    tracing::info!("{}", messages::saved_again(self.store.describe()));
                }
                if state.pending.is_empty() {
                    state.due = None;
                    self.changed.notify_all();
                }
                Ok(Written::All)
            }
            Err(error) => {
                if let Some(budget) = &mut state.budget {
                    budget.give_back();
                }
                if !std::mem::replace(&mut state.trouble, true) {
                    let names: Vec<&str> = updates.iter().map(|update| &*update.heading).collect();
                    tracing::warn!("{}", messages::not_saved(names.join(", "), &error));
                }
                drop(state);
                self.retry_later(None);
                Err(error)
            }
        }
    }

    /// Has all that is pending written at this time, or after the pause that follows a failure.
    fn retry_later(self: &Arc<Self>, due: Option<Instant>) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        let due = due.unwrap_or_else(|| {
            let wait = state.wait;
            state.wait = (wait * 2).min(self.retry.1);
            Instant::now() + wait
        });
        state.due = Some(state.due.map_or(due, |earlier| earlier.min(due)));
        self.changed.notify_all();
        if state.retrying {
            return;
        }
        let inner = self.clone();
        let thread = std::thread::Builder::new().name("token-retry".to_owned());
        match thread.spawn(move || inner.retry()) {
            Ok(_) => state.retrying = true,
            Err(error) => tracing::warn!("{}", messages::no_retries(error)),
        }
    }

    fn retry(self: Arc<Self>) {
        let mut state = self.state();
        loop {
            if state.closed || state.pending.is_empty() {
                state.retrying = false;
                return;
            }
            let now = Instant::now();
            let left = state
                .due
                .map_or(self.retry.1, |due| due.saturating_duration_since(now));
            if left.is_zero() {
                state.due = None;
                drop(state);
                let _ = self.write(false);
                state = self.state();
            } else {
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl State {
    /// What became of an update that held all saves up to this one.
    fn written(&mut self, update: &Update, made: bool, last: u64) {
        if !made {
            self.drop_pending(&update.heading);
            return told_of_change(&update.heading);
        }
        let known = self.known.entry(update.heading.clone()).or_default();
        known.apply(&update.changes);
        let Some(pending) = self.pending.get_mut(&update.heading) else {
            return;
        };
        pending.changes.retain(|(_, number)| *number > last);
        if let Some(seen) = &mut pending.seen {
            seen.apply(&update.changes);
        }
        if pending.changes.is_empty() {
            self.pending.remove(&update.heading);
        }
    }
}

fn told_of_change(heading: &str) {
    tracing::info!("{}", messages::changed_by_others(heading));
}
