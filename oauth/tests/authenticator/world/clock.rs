//! A clock that tests move.

use super::{START, lock};
use event_listener::Event;
use futures_lite::future::block_on;
use oauth::authenticator::Clock;
use proxy_proto::BoxFuture;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// A clock that stands still, except that short waits (up to half a minute) pass at once.
pub(crate) struct Stopped {
    state: Arc<(Mutex<u64>, Event)>,
    slept: Mutex<Vec<u64>>,
}

impl Stopped {
    pub(crate) fn new() -> Self {
        Stopped {
            state: Arc::new((Mutex::new(START), Event::new())),
            slept: Mutex::default(),
        }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        *lock(&self.state.0) += seconds;
        self.state.1.notify(usize::MAX);
    }

    /// Until so many waits of so many seconds have begun.
    pub(crate) fn wait_for_sleeps(&self, seconds: u64, count: usize) {
        block_on(async {
            loop {
                let changed = self.state.1.listen();
                if self.slept().iter().filter(|s| **s == seconds).count() >= count {
                    return;
                }
                changed.await;
            }
        });
    }

    /// The waits so far, in seconds.
    pub(crate) fn slept(&self) -> Vec<u64> {
        lock(&self.slept).clone()
    }
}

impl Clock for Stopped {
    fn now(&self) -> u64 {
        *lock(&self.state.0)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        let until = self.now() + time.as_secs();
        lock(&self.slept).push(time.as_secs());
        self.state.1.notify(usize::MAX);
        if time.as_secs() <= 30 {
            self.advance(time.as_secs());
            return Box::pin(async {});
        }
        let state = self.state.clone();
        Box::pin(async move {
            loop {
                let changed = state.1.listen();
                if *lock(&state.0) >= until {
                    return;
                }
                changed.await;
            }
        })
    }
}
