//! How sessions hear that the runtime is shutting down.

use event_listener::{Event, EventListener};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Running,
    /// Say farewell, drain.
    Draining,
    /// End now.
    Cut,
}

/// Told once, heard by all.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    level: AtomicU8,
    raised: Event,
}

impl Stop {
    pub(crate) fn level(&self) -> Level {
        match self.level.load(Ordering::SeqCst) {
            0 => Level::Running,
            1 => Level::Draining,
            _ => Level::Cut,
        }
    }

    /// Never lowers.
    pub(crate) fn raise(&self, level: Level) {
        self.level.fetch_max(level as u8, Ordering::SeqCst);
        self.raised.notify(usize::MAX);
    }
}

/// One session's ear.
pub(crate) struct Watch {
    stop: Arc<Stop>,
    listener: EventListener,
}

impl Watch {
    pub(crate) fn new(stop: Arc<Stop>) -> Self {
        let listener = stop.raised.listen();
        Watch { stop, listener }
    }

    /// The level now; the task is woken when it is raised.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Level {
        // The listener must exist before the level is read, or a raise between the two is missed.
        while Pin::new(&mut self.listener).poll(cx).is_ready() {
            self.listener = self.stop.raised.listen();
        }
        self.stop.level()
    }

    /// Completes when the level is at least this one.
    pub(crate) async fn reached(&mut self, level: Level) {
        poll_fn(|cx| match self.poll(cx) >= level {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await
    }
}
