//! The threads that run sessions.

use crate::{messages, reactor::Reactor};
use async_channel::Receiver;
use futures_lite::{FutureExt, future::yield_now};
use proxy_runtime::{messages::client::no_thread, trouble::plain};
use smol::{Executor, Task};
use std::{
    future::Future,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Tasks that a thread runs before it looks at its sockets again.
const BATCH: usize = 32;

/// Stack of a thread with one session: filters run on it.
const STACK: usize = 2 * 1024 * 1024;

/// Most threads with one session: each begins a log span, and the registry of tracing-subscriber panics at the 4,097th thread
/// that does.
const APART: usize = 4000;

/// Threads, each with an executor and a reactor of its own: a session stays on the thread where it began, so that nothing
/// is handed from one thread to another, and no lock is contended, for its bytes. They end when this is dropped.
pub(crate) struct Workers {
    each: Arc<[Arc<Worker>]>,
    /// They end when it is closed.
    running: async_channel::Sender<()>,
    ended: Receiver<()>,
    apart: Arc<AtomicUsize>,
}

struct Worker {
    executor: Executor<'static>,
    /// Sessions that are open.
    sessions: AtomicUsize,
}

impl Workers {
    /// # Errors
    /// When a thread cannot be started.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (running, ended) = async_channel::bounded::<()>(1);
        let mut each = Vec::new();
        for number in 1..=threads {
            let worker = Arc::new(Worker {
                executor: Executor::new(),
                sessions: AtomicUsize::new(0),
            });
            let (mine, ended) = (worker.clone(), ended.clone());
            thread::Builder::new()
                .name(format!("sessions-{number}"))
                .spawn(move || mine.run(&ended))?;
            each.push(worker);
        }
        Ok(Workers {
            each: each.into(),
            running,
            ended,
            apart: Arc::default(),
        })
    }

    /// Runs something that is no session.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task<()> {
        self.each[0].executor.spawn(future)
    }

    pub(crate) fn crew(&self) -> Crew {
        Crew {
            workers: Arc::downgrade(&self.each),
            ended: self.ended.clone(),
            apart: self.apart.clone(),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.running.close();
    }
}

impl Worker {
    fn run(&self, ended: &Receiver<()>) {
        let tasks = async {
            loop {
                for _ in 0..BATCH {
                    self.executor.tick().await;
                }
                yield_now().await;
            }
        };
        // Nothing is ever sent: receiving fails once the sender is gone.
        run(tasks, ended);
    }
}

/// Runs the future on this thread until it or the workers' time is over.
fn run(future: impl Future<Output = ()>, ended: &Receiver<()>) {
    let all = future.or(async {
        let _ = ended.recv().await;
    });
    match Reactor::new() {
        Ok(reactor) => reactor.block_on(all),
        // Not on this system: that of async-io serves all threads.
        Err(_) => async_io::block_on(all),
    }
}

/// Starts sessions, as long as there are workers.
#[derive(Clone)]
pub(crate) struct Crew {
    workers: Weak<[Arc<Worker>]>,
    ended: Receiver<()>,
    /// Threads with one session.
    apart: Arc<AtomicUsize>,
}

impl Crew {
    /// Gives the session to the thread that has the fewest. False when the workers are gone.
    pub(crate) fn begin(&self, session: impl Future<Output = ()> + Send + 'static) -> bool {
        let Some(workers) = self.workers.upgrade() else {
            return false;
        };
        let open = |worker: &&Arc<Worker>| worker.sessions.load(Ordering::Relaxed);
        let Some(worker) = workers.iter().min_by_key(open) else {
            return false;
        };
        let place = Place::take(worker);
        // A future that is awaited by another one is kept twice: once as it was, once as it runs.
        let session = Box::pin(session);
        worker
            .executor
            .spawn(async move {
                session.await;
                drop(place);
            })
            .detach();
        true
    }

    /// Gives the session a thread and a reactor of its own: what it does there holds up no other one. False when the
    /// workers are gone.
    ///
    /// # Errors
    /// When the thread cannot be started, or there are too many; the text says so of the client.
    pub(crate) fn begin_apart(
        &self,
        session: impl Future<Output = ()> + Send + 'static,
    ) -> Result<bool, String> {
        if self.ended.is_closed() {
            return Ok(false);
        }
        let place = Apart::take(&self.apart, APART)
            .ok_or_else(|| messages::too_many_with_plugins(APART))?;
        let ended = self.ended.clone();
        thread::Builder::new()
            .name("session".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                run(Box::pin(session), &ended);
                drop(place);
            })
            .map_err(|error| no_thread(plain(&error)))?;
        Ok(true)
    }
}

/// Counts a thread with one session.
struct Apart(Arc<AtomicUsize>);

impl Apart {
    /// `None` when there are `most` already.
    fn take(threads: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Apart(threads.clone());
        (threads.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a session of one worker.
struct Place(Weak<Worker>);

impl Place {
    fn take(worker: &Arc<Worker>) -> Self {
        worker.sessions.fetch_add(1, Ordering::Relaxed);
        Place(Arc::downgrade(worker))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(worker) = self.0.upgrade() {
            worker.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn threads_with_one_session_are_limited() {
        let threads = Arc::default();
        let first = Apart::take(&threads, 2).unwrap();
        let _second = Apart::take(&threads, 2).unwrap();
        assert!(Apart::take(&threads, 2).is_none());
        drop(first);
        let _third = Apart::take(&threads, 2).unwrap();
    }

    #[test]
    fn the_thread_with_the_fewest_sessions_gets_the_next() {
        let workers = Workers::start(2).unwrap();
        let crew = workers.crew();
        let (told, names) = async_channel::unbounded();
        let mut ends = Vec::new();
        let mut begin = || {
            let (end, ended) = async_channel::bounded::<()>(1);
            let told = told.clone();
            ends.push(end);
            assert!(crew.begin(async move {
                told.send(thread::current().name().unwrap().to_owned())
                    .await
                    .unwrap();
                let _ = ended.recv().await;
                drop(told);
            }));
            names.recv_blocking().unwrap()
        };
        let mut sessions = HashMap::<_, u32>::new();
        for _ in 0..4 {
            *sessions.entry(begin()).or_default() += 1;
        }
        assert_eq!(sessions.into_values().collect::<Vec<_>>(), [2, 2]);

        drop(ends);
        // All are given back before the next one looks.
        while workers
            .each
            .iter()
            .any(|worker| worker.sessions.load(Ordering::Relaxed) > 0)
        {
            thread::yield_now();
        }
        drop(workers);
        assert!(!crew.begin(async {}));
    }
}
