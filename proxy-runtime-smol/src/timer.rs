//! Timers.

use crate::reactor::Alarm;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// A timer of the thread's own reactor, or of async-io's where it has none. It costs nothing while it is not set.
pub(crate) enum Timer {
    Own(Alarm),
    Shared(async_io::Timer),
}

impl Timer {
    pub(crate) fn never() -> Self {
        match Alarm::new() {
            Some(alarm) => Timer::Own(alarm),
            None => Timer::Shared(async_io::Timer::never()),
        }
    }

    pub(crate) fn after(duration: Duration) -> Self {
        let mut timer = Timer::never();
        // What lies beyond all clocks is never.
        if let Some(due) = Instant::now().checked_add(duration) {
            timer.set_at(due);
        }
        timer
    }

    pub(crate) fn at(due: Instant) -> Self {
        let mut timer = Timer::never();
        timer.set_at(due);
        timer
    }

    pub(crate) fn set_at(&mut self, due: Instant) {
        match self {
            Timer::Own(alarm) => alarm.set(Some(due)),
            Timer::Shared(timer) => timer.set_at(due),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Timer::Own(alarm) => alarm.set(None),
            Timer::Shared(timer) => timer.clear(),
        }
    }
}

impl Future for Timer {
    type Output = ();

    /// Ready once for each time that it is set.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Timer::Own(alarm) => alarm.poll(cx),
            Timer::Shared(timer) => Pin::new(timer).poll(cx).map(|_| ()),
        }
    }
}
