//! Threads for work that may wait: made when all are busy, and kept for a while.
//!
//! Each piece of work has a thread to itself from its beginning to its end, so that one that waits keeps nobody else from
//! anything. There is no limit but the number of sessions, which has one.

use proxy_runtime::messages::session as messages;
use std::{
    any::Any,
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tracing::error;

/// A worker's stack. The authenticator's future runs on it, and so do filters.
pub(crate) const STACK: usize = 1024 * 1024;

/// Workers without work that are kept. What each of them has touched of its stack is memory that nobody uses.
const KEPT: usize = 8;

/// How long a worker without work is kept.
const PATIENCE: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

/// Hands work to threads.
#[derive(Clone, Default)]
pub(crate) struct Workers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    given: Condvar,
}

/// There is never more work here than there are workers who wait for it.
#[derive(Default)]
struct State {
    work: VecDeque<Work>,
    free: usize,
    closed: bool,
}

impl Workers {
    /// Workers that end as soon as they have nothing to do: right for a single session.
    pub(crate) fn not_kept() -> Self {
        let workers = Workers::default();
        workers.close();
        workers
    }

    /// Gives `work` to a thread that is free, else to a new one. A panic ends the work, is logged, and goes no further.
    ///
    /// # Errors
    /// Where there is no thread to be had; with the work, which nobody has begun.
    pub(crate) fn give<T, W>(&self, with: T, work: W) -> Result<(), (T, io::Error)>
    where
        T: Send + 'static,
        W: FnOnce(T) + Send + 'static,
    {
        // A thread that cannot begin drops what it was to do.
        let slot = Arc::new(Mutex::new(Some(with)));
        let theirs = slot.clone();
        let work: Work = Box::new(move || {
            let taken = lock(&theirs).take();
            if let Some(with) = taken {
                work(with);
            }
        });
        let mut state = lock(&self.0.state);
        if state.free > state.work.len() {
            state.work.push_back(work);
            drop(state);
            self.0.given.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = self.0.clone();
        let begun = thread::Builder::new()
            .name("worker".to_owned())
            .stack_size(STACK)
            .spawn(move || shared.serve(work));
        match begun {
            Ok(_) => Ok(()),
            Err(error) => match lock(&slot).take() {
                Some(with) => Err((with, error)),
                None => Ok(()),
            },
        }
    }

    /// From now on nobody is kept.
    pub(crate) fn close(&self) {
        lock(&self.0.state).closed = true;
        self.0.given.notify_all();
    }
}

impl Shared {
    /// What a worker does, beginning with `first`.
    fn serve(&self, first: Work) {
        let mut next = Some(first);
        while let Some(work) = next {
            caught(work);
            next = self.next();
        }
    }

    /// Waits for work; `None` when the worker is not needed any more.
    fn next(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        if state.closed || state.free >= KEPT {
            return None;
        }
        state.free += 1;
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let over = state.closed || left.is_zero();
            if !state.work.is_empty() || over {
                state.free -= 1;
                return state.work.pop_front();
            }
            let waited = self.given.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// `None`: it has panicked, which is logged.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(panic) => {
            error!("{}", messages::defect(text_of(&*panic)));
            None
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => messages::DEFECT_WITHOUT_TEXT,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_runtime::testing::until;
    use std::{
        sync::{Barrier, mpsc},
        thread::ThreadId,
    };

    fn give(workers: &Workers, work: impl FnOnce() + Send + 'static) {
        assert!(workers.give((), |()| work()).is_ok());
    }

    /// The thread that does the next piece of work.
    fn who(workers: &Workers) -> ThreadId {
        let (say, heard) = mpsc::channel();
        give(workers, move || say.send(thread::current().id()).unwrap());
        heard.recv().unwrap()
    }

    fn until_free(workers: &Workers, free: usize) {
        until("so many free workers", || {
            let state = lock(&workers.0.state);
            state.work.is_empty() && state.free == free
        });
    }

    #[test]
    fn who_is_free_is_asked_first_and_who_is_busy_never() {
        let workers = Workers::default();
        let first = who(&workers);
        until_free(&workers, 1);
        let (go_on, wait) = mpsc::channel::<()>();
        let (say, heard) = mpsc::channel();
        give(&workers, move || {
            say.send(thread::current().id()).unwrap();
            let _ = wait.recv();
        });
        assert_eq!(heard.recv().unwrap(), first);
        assert_ne!(who(&workers), first);
        drop(go_on);
        until_free(&workers, 2);
    }

    #[test]
    fn a_panic_costs_no_thread() {
        let workers = Workers::default();
        let first = who(&workers);
        until_free(&workers, 1);
        give(&workers, || panic!("as planned"));
        until_free(&workers, 1);
        assert_eq!(who(&workers), first);
    }

    #[test]
    fn work_that_comes_all_at_once_is_done_at_once_and_few_threads_are_kept() {
        let workers = Workers::default();
        let all = Arc::new(Barrier::new(2 * KEPT + 1));
        for _ in 0..2 * KEPT {
            let all = all.clone();
            give(&workers, move || {
                all.wait();
            });
        }
        all.wait();
        until_free(&workers, KEPT);
        workers.close();
        until_free(&workers, 0);
        // Work is still done, but by threads that are not kept.
        let last = who(&workers);
        assert_ne!(who(&workers), last);
    }
}
