//! Room for short answers beside bulk.
//!
//! A session that moves bulk keeps a processor busy, and so do the server and the client at its ends where they are on the same
//! machine or bridge. The system's scheduler gives each of them slices of some milliseconds, which is what a short answer of
//! another session would have to wait for. So bulk pauses after each quantum for as long as others are talking: its peers then
//! have to wait for it from time to time, and processors come free. Nobody pauses for bulk alone, or when nobody else has
//! said anything lately.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Bytes that a session moves at once and still is one that talks: commands, and answers of some lines.
pub const SHORT: u64 = 4096;

/// How long ago something short counts, in milliseconds.
const LATELY: u64 = 5;

/// How long after its last quantum a session still moves bulk, in milliseconds.
const GOING_ON: u64 = 100;

/// How long bulk pauses; the system adds some 50 µs of its own.
const PAUSE: Duration = Duration::from_micros(50);

static PACE: Pace = Pace::new();

/// When a session has last moved a whole quantum. Bulk comes in small pieces, too, and these are no talk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bulk(u64);

impl Bulk {
    /// The session has moved a whole quantum and may have more: pauses the thread where others talk.
    pub fn give_way(&mut self) {
        let now = now();
        self.0 = now;
        if PACE.is_talk(now) {
            thread::sleep(PAUSE);
        }
    }

    /// Says how many bytes the session has moved in one turn.
    pub fn moved(self, bytes: u64) {
        if bytes > 0 && bytes <= SHORT {
            let now = now();
            if !self.is_going_on(now) {
                PACE.talk(now);
            }
        }
    }

    fn is_going_on(self, now: u64) -> bool {
        self.0 != 0 && now.saturating_sub(self.0) <= GOING_ON
    }
}

/// Milliseconds since the first call, and one.
fn now() -> u64 {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    let passed = BEGINNING.get_or_init(Instant::now).elapsed();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX - 1) + 1
}

/// When something short was moved last.
struct Pace {
    /// 0: never.
    last: AtomicU64,
}

impl Pace {
    const fn new() -> Self {
        Pace {
            last: AtomicU64::new(0),
        }
    }

    fn talk(&self, now: u64) {
        // Written once in a millisecond only: threads share it.
        if self.last.load(Relaxed) != now {
            self.last.store(now, Relaxed);
        }
    }

    fn is_talk(&self, now: u64) -> bool {
        match self.last.load(Relaxed) {
            0 => false,
            last => now.saturating_sub(last) <= LATELY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_of_bulk_are_no_talk() {
        assert!(!Bulk::default().is_going_on(1));
        let bulk = Bulk(10);
        for (at, expected) in [(10, true), (110, true), (111, false)] {
            assert_eq!(bulk.is_going_on(at), expected, "at {at}");
        }
    }

    #[test]
    fn bulk_gives_way_for_a_while_after_something_short() {
        let pace = Pace::new();
        assert!(!pace.is_talk(1), "nobody has ever said anything");
        pace.talk(10);
        for (at, expected) in [(10, true), (15, true), (16, false), (1000, false)] {
            assert_eq!(pace.is_talk(at), expected, "at {at}");
        }
        // Threads read the clock one after the other, and write in any order.
        pace.talk(20);
        assert!(pace.is_talk(19));
    }
}
