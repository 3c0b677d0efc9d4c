//! A store with a memory.

use super::{Change, Saved, Store, StoreError};
use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A store with a memory: what could not be written yet is kept, served by [`load`](Saver::load), and retried.
///
/// It works under any executor: the store's blocking calls run on the `blocking` pool, and a thread of its own retries
/// for as long as something is pending. Saves that come in while one is being written go out together with the next.
pub struct Saver {
    inner: Arc<Inner>,
}

/// What became of a save.
#[derive(Debug)]
pub enum Outcome {
    /// On disk.
    Written,
    /// Kept in memory and retried.
    Pending(StoreError),
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
        let inner = Inner {
            store,
            state: Mutex::default(),
            changed: Condvar::new(),
            writing: Mutex::default(),
            retry: (first, longest),
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

    /// Makes the changes: on disk when this says [`Outcome::Written`], else in memory until a retry succeeds. Once it has
    /// been polled they are made, even where nobody waits for the end.
    ///
    /// A change that no store can hold (a line break in heading or value) is answered with [`Outcome::Pending`] and
    /// dropped, so that it does not keep all others from being saved.
    pub async fn save(&self, heading: &str, changes: Vec<Change>) -> Outcome {
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let unfit = |text: &str| breaks(text) || text.trim().len() != text.len();
        if breaks(heading)
            || changes
                .iter()
                .any(|c| c.value.as_deref().is_some_and(unfit))
        {
            return Outcome::Pending(StoreError(format!(
                "{}: not a value of one line",
                self.describe()
            )));
        }
        self.inner.remember(heading, changes);
        let inner = self.inner.clone();
        let (sender, receiver) = async_channel::bounded(1);
        // Detached: a login that is given up must not take a rotated refresh token with it.
        blocking::unblock(move || {
            let _ = sender.try_send(inner.write());
        })
        .detach();
        match receiver.recv().await {
            Ok(Ok(())) => Outcome::Written,
            Ok(Err(error)) => Outcome::Pending(error),
            Err(_) => {
                self.inner.retry_later();
                Outcome::Pending(StoreError(format!(
                    "{}: the save broke off",
                    self.describe()
                )))
            }
        }
    }

    /// Tries once more to write all that is pending; says what could not be saved. For the end of the process.
    pub async fn flush(&self) -> Vec<Unsaved> {
        let inner = self.inner.clone();
        blocking::unblock(move || match inner.write() {
            Ok(()) => Vec::new(),
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

    /// For logs: the file's path or the secret's name.
    pub fn describe(&self) -> String {
        self.inner.store.describe()
    }
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
    /// Rung when nothing is pending any more and when the saver is dropped.
    changed: Condvar,
    /// Held while the store writes: one write at a time, each with all that has come in meanwhile.
    writing: Mutex<()>,
    retry: (Duration, Duration),
}

#[derive(Default)]
struct State {
    /// By heading; each change with the number of its save.
    pending: HashMap<String, Vec<(Change, u64)>>,
    saves: u64,
    /// Finished writes.
    writes: u64,
    /// What sections held when they were last seen; only those that hold anything.
    known: HashMap<String, Saved>,
    /// The user has been told that saving fails.
    trouble: bool,
    retrying: bool,
    closed: bool,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, heading: &str, changes: Vec<Change>) {
        let mut state = self.state();
        state.saves += 1;
        let number = state.saves;
        let pending = state.pending.entry(heading.to_owned()).or_default();
        for change in changes {
            pending.retain(|(earlier, _)| earlier.option != change.option);
            pending.push((change, number));
        }
    }

    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        let writes = self.state().writes;
        let mut read = self.store.load(heading);
        let mut state = self.state();
        if state.writes != writes {
            // What was read may be older than a change that is pending no more.
            drop(state);
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            read = self.store.load(heading);
            state = self.state();
        }
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
                    tracing::warn!("{error}; going on with what was read before for {heading}");
                    known.clone()
                }
                None if state.pending.contains_key(heading) => {
                    tracing::warn!("{error}; going on with what is to be saved for {heading}");
                    Saved::default()
                }
                None => return Err(error),
            },
        };
        if let Some(pending) = state.pending.get(heading) {
            let changes: Vec<Change> = pending.iter().map(|(change, _)| change.clone()).collect();
            saved.apply(&changes);
        }
        Ok(saved)
    }

    /// Writes all that is pending.
    fn write(self: &Arc<Self>) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (sections, last) = {
            let state = self.state();
            let mut sections: Vec<(String, Vec<Change>)> = state
                .pending
                .iter()
                .map(|(heading, changes)| {
                    (
                        heading.clone(),
                        changes.iter().map(|(change, _)| change.clone()).collect(),
                    )
                })
                .collect();
            sections.sort_by(|one, other| one.0.cmp(&other.0));
            (sections, state.saves)
        };
        if sections.is_empty() {
            return Ok(());
        }
        let result = self.store.save_all(&sections);
        let mut state = self.state();
        match &result {
            Ok(()) => {
                state.writes += 1;
                for (heading, changes) in &sections {
                    state
                        .known
                        .entry(heading.clone())
                        .or_default()
                        .apply(changes);
                    if let Some(pending) = state.pending.get_mut(heading) {
                        pending.retain(|(_, number)| *number > last);
                        if pending.is_empty() {
                            state.pending.remove(heading);
                        }
                    }
                }
                if std::mem::take(&mut state.trouble) {
                    tracing::info!("{}: tokens are saved again", self.store.describe());
                }
                if state.pending.is_empty() {
                    self.changed.notify_all();
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut state.trouble, true) {
                    let names: Vec<&str> = sections.iter().map(|(heading, _)| &**heading).collect();
                    tracing::warn!(
                        "tokens of {} could not be saved: {error}; they are kept in memory and saving is retried",
                        names.join(", ")
                    );
                }
                drop(state);
                self.retry_later();
            }
        }
        result
    }

    /// Starts the thread that retries, unless it runs.
    fn retry_later(self: &Arc<Self>) {
        let mut state = self.state();
        if state.retrying || state.closed {
            return;
        }
        let inner = self.clone();
        let thread = std::thread::Builder::new().name("token-retry".to_owned());
        match thread.spawn(move || inner.retry()) {
            Ok(_) => state.retrying = true,
            Err(error) => tracing::warn!("saving will be retried at the next save only: {error}"),
        }
    }

    fn retry(self: Arc<Self>) {
        let (mut wait, longest) = self.retry;
        loop {
            let state = self.state();
            let waiting = |state: &mut State| !state.closed && !state.pending.is_empty();
            let waited = self.changed.wait_timeout_while(state, wait, waiting);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.closed || state.pending.is_empty() {
                state.retrying = false;
                return;
            }
            drop(state);
            let _ = self.write();
            wait = (wait * 2).min(longest);
        }
    }
}
