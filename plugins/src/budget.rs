//! How much processor time a session's scripts may use.

use crate::messages;
use std::{
    cell::Cell,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What a session may use beyond what calls and bytes allow.
const SESSION: Duration = Duration::from_secs(30);

/// What each call adds.
const CALL: Duration = Duration::from_millis(10);

/// What each byte adds: 1 ms for 1 KiB.
const BYTE: Duration = Duration::from_nanos(976);

/// How deep functions of ours that call the script may be within each other. Each level takes some KiB of the thread's stack,
/// and a thread that runs out of it takes the whole process along.
const NESTED: usize = 16;

/// Processor time of the thread that is running a script. A busy machine takes nothing off it.
#[derive(Debug)]
pub(crate) struct Budget {
    one_call: Duration,
    memory: usize,
    /// All of these in nanoseconds.
    began: AtomicU64,
    used: AtomicU64,
    allowed: AtomicU64,
    running: AtomicBool,
    nested: AtomicUsize,
    /// Bytes that levels hold outside of Lua's memory.
    held: AtomicUsize,
    /// How the running call has been told to stop.
    exhausted: Mutex<Option<String>>,
}

/// A limit was hit.
#[derive(Clone, Debug)]
pub(crate) struct Exhausted(String);

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Exhausted {}

/// A level; see [`Budget::nest`].
pub(crate) struct Nested<'a> {
    budget: &'a Budget,
    held: Cell<usize>,
}

impl Nested<'_> {
    /// This level holds so many bytes now, outside of Lua's memory.
    ///
    /// # Errors
    /// When all levels together hold more than scripts may have.
    pub(crate) fn holds(&self, bytes: usize) -> mlua::Result<()> {
        let held = &self.budget.held;
        held.fetch_sub(self.held.replace(bytes), Ordering::Relaxed);
        let before = held.fetch_add(bytes, Ordering::Relaxed);
        match before.saturating_add(bytes) > self.budget.memory {
            true => Err(mlua::Error::MemoryError(
                messages::libraries::NO_MEMORY.to_owned(),
            )),
            false => Ok(()),
        }
    }
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        self.budget
            .held
            .fetch_sub(self.held.get(), Ordering::Relaxed);
        self.budget.nested.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    /// So much time for each call, and bytes of memory for all of it.
    pub(crate) fn new(one_call: Duration, memory: usize) -> Self {
        Budget {
            one_call,
            memory,
            began: AtomicU64::new(0),
            used: AtomicU64::new(0),
            allowed: AtomicU64::new(nanos(SESSION)),
            running: AtomicBool::new(false),
            nested: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            exhausted: Mutex::new(None),
        }
    }

    /// A call of a script begins, with so many bytes to look at.
    pub(crate) fn begin(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let more = nanos(CALL).saturating_add(nanos(BYTE).saturating_mul(bytes));
        let allowed = self.allowed.load(Ordering::Relaxed).saturating_add(more);
        self.allowed.store(allowed, Ordering::Relaxed);
        self.began.store(nanos(clock()), Ordering::Relaxed);
        *self.exhausted() = None;
        self.running.store(true, Ordering::Relaxed);
    }

    /// The call is over.
    pub(crate) fn end(&self) {
        let used = self.used.load(Ordering::Relaxed);
        self.used
            .store(used.saturating_add(self.elapsed()), Ordering::Relaxed);
        self.running.store(false, Ordering::Relaxed);
    }

    /// One level deeper, until this is dropped.
    ///
    /// # Errors
    /// When it is too deep.
    pub(crate) fn nest(&self) -> mlua::Result<Nested<'_>> {
        let before = self.nested.fetch_add(1, Ordering::Relaxed);
        let nested = Nested {
            budget: self,
            held: Cell::new(0),
        };
        match before < NESTED {
            true => Ok(nested),
            false => Err(mlua::Error::runtime(messages::libraries::nested_too_deep(
                NESTED,
            ))),
        }
    }

    /// Whether the running call may go on.
    pub(crate) fn check(&self) -> Result<(), Exhausted> {
        if !self.running.load(Ordering::Relaxed) {
            return Ok(());
        }
        let elapsed = self.elapsed();
        let one_call = nanos(self.one_call);
        let used = self.used.load(Ordering::Relaxed).saturating_add(elapsed);
        let text = if elapsed > one_call {
            messages::running::slow_call(self.one_call.as_millis())
        } else if used > self.allowed.load(Ordering::Relaxed) {
            messages::running::slow_session(Duration::from_nanos(used).as_secs())
        } else {
            return Ok(());
        };
        self.exhausted().get_or_insert_with(|| text.clone());
        Err(Exhausted(text))
    }

    /// Whether the running call has been told to stop.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted().is_some()
    }

    /// How the last call was told to stop.
    pub(crate) fn exhaustion(&self) -> Option<String> {
        self.exhausted().clone()
    }

    /// Says where the script stood when it was told to stop.
    pub(crate) fn locate(&self, place: &str) {
        if let Some(text) = &mut *self.exhausted()
            && !text.starts_with(place)
        {
            text.insert_str(0, place);
        }
    }

    /// Bytes of memory that the session's scripts may use.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    fn exhausted(&self) -> MutexGuard<'_, Option<String>> {
        self.exhausted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> u64 {
        nanos(clock()).saturating_sub(self.began.load(Ordering::Relaxed))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burn(budget: &Budget) -> Exhausted {
        loop {
            if let Err(exhausted) = budget.check() {
                return exhausted;
            }
        }
    }

    #[test]
    fn a_call_ends_when_its_time_is_used_up() {
        let budget = Budget::new(Duration::from_millis(5), 0);
        budget.begin(0);
        assert!(burn(&budget).to_string().contains("5 ms"));
        assert!(budget.is_exhausted());
        budget.end();
        assert!(budget.check().is_ok(), "between calls nothing is counted");
        budget.begin(0);
        assert!(!budget.is_exhausted());
    }

    #[test]
    fn levels_share_the_memory() {
        let budget = Budget::new(Duration::from_secs(1), 100);
        let outer = budget.nest().unwrap();
        outer.holds(50).unwrap();
        outer.holds(60).unwrap();
        {
            let inner = budget.nest().unwrap();
            inner.holds(40).unwrap();
            assert!(inner.holds(41).is_err());
        }
        outer.holds(100).unwrap();
        let levels: Vec<_> = (1..NESTED).map(|_| budget.nest().unwrap()).collect();
        assert!(budget.nest().is_err());
        drop(levels);
        assert!(budget.nest().is_ok());
    }

    #[test]
    fn a_session_has_its_own_limit() {
        let budget = Budget::new(Duration::from_secs(3600), 0);
        budget
            .used
            .store(nanos(SESSION + CALL + CALL), Ordering::Relaxed);
        budget.begin(1024 * 100);
        assert!(budget.check().is_ok(), "bytes give more time");
        budget.begin(0);
        budget.used.store(nanos(SESSION) * 2, Ordering::Relaxed);
        assert!(burn(&budget).to_string().contains("60 s"));
    }
}
