//! When a relay is over.

use crate::{messages::session as messages, trouble::plain};
use proxy_proto::Side;
use std::{
    fmt, io,
    time::{Duration, Instant},
};
use tracing::info;

/// Longest silence once one side has ended.
const HALF_CLOSED: Duration = Duration::from_secs(300);

/// A server that spoke last and is silent this long has nothing more to say: its drain is over.
const QUIET: Duration = Duration::from_secs(1);

/// How a relay ended.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes from the client to the server.
    pub up: u64,
    /// Bytes from the server to the client.
    pub down: u64,
    /// Why it is over.
    pub why: Why,
}

impl Relayed {
    /// Tells the log.
    pub fn log(&self, login: &str) {
        let (up, down) = (self.up, self.down);
        info!(login, up, down, "{}", self.why);
    }
}

/// Why a relay is over. Displayed, it is a line for the log.
#[derive(Debug)]
pub enum Why {
    /// Both sides have ended, and all their bytes have been delivered.
    Finished,
    /// A connection broke.
    Broken(Side, io::Error),
    /// One side had ended, the other one was silent for too long.
    HalfClosed,
    /// The runtime is shutting down.
    Stopped,
}

impl Why {
    /// Whether the connections are still there to be closed.
    pub fn leaves_open(&self) -> bool {
        matches!(self, Why::Stopped | Why::HalfClosed)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Finished => f.write_str(messages::FINISHED),
            Why::Broken(side, why) => f.write_str(&messages::connection_broke(side, plain(why))),
            Why::HalfClosed => f.write_str(messages::HALF_CLOSED),
            Why::Stopped => f.write_str(messages::STOPPED),
        }
    }
}

/// Why a direction cannot go on.
#[derive(Debug)]
pub enum Failure {
    /// Its source cannot be read.
    Read(io::Error),
    /// Its sink cannot be written to.
    Write(io::Error),
}

/// How one direction stands after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether bytes were moved in this turn.
    pub moved: bool,
    /// Whether it has ended.
    pub finished: bool,
}

/// Follows a relay: what broke first, and when silence ends it.
#[derive(Debug)]
pub struct Course {
    server_spoke_last: bool,
    broken: Option<(Side, io::Error)>,
    /// When a drain must be over.
    draining: Option<Instant>,
    /// Only when one side has ended, or in a drain.
    silent_until: Option<Instant>,
}

impl Default for Course {
    fn default() -> Self {
        Course {
            // It has answered the login.
            server_spoke_last: true,
            broken: None,
            draining: None,
            silent_until: None,
        }
    }
}

impl Course {
    /// The runtime is shutting down: the client is not to be read any more, and the server has so much time for what it
    /// owes. Whether this is news.
    pub fn drain(&mut self, within: Duration) -> bool {
        if self.draining.is_some() {
            return false;
        }
        self.draining = Some(Instant::now() + within);
        self.silent_until = None;
        true
    }

    /// Whether there is a drain.
    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// The direction that reads `from` has failed; whether the other one must be given up, because there is nobody any more
    /// to write to. What a peer sent before it closed can still be read.
    pub fn broke(&mut self, from: Side, failure: Failure) -> bool {
        let (side, error, gone) = match failure {
            Failure::Read(error) => (from, error, true),
            Failure::Write(error) => (from.other(), error, false),
        };
        self.broken.get_or_insert((side, error));
        gone
    }

    /// How both directions stand after a turn; `Some` at the end.
    pub fn after(&mut self, up: Progress, down: Progress) -> Option<Why> {
        if down.moved {
            self.server_spoke_last = true;
        } else if up.moved {
            self.server_spoke_last = false;
        }
        if up.finished && down.finished {
            return Some(match self.broken.take() {
                Some((side, error)) => Why::Broken(side, error),
                None => Why::Finished,
            });
        }
        let news = up.moved || down.moved || self.silent_until.is_none();
        if let Some(deadline) = self.draining {
            if down.finished {
                return Some(Why::Stopped);
            }
            if news {
                self.silent_until = Some(match self.server_spoke_last {
                    true => deadline.min(Instant::now() + QUIET),
                    false => deadline,
                });
            }
        } else if (up.finished || down.finished) && news {
            self.silent_until = Some(Instant::now() + HALF_CLOSED);
        }
        self.silent_until
            .is_some_and(|until| until <= Instant::now())
            .then(|| self.silence())
    }

    /// Until when silence may last; `None`: for ever.
    pub fn silent_until(&self) -> Option<Instant> {
        self.silent_until
    }

    /// Why a silence that has lasted too long ends the relay.
    pub fn silence(&self) -> Why {
        match self.draining {
            Some(_) => Why::Stopped,
            None => Why::HalfClosed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Progress = Progress {
        moved: false,
        finished: false,
    };
    const MOVED: Progress = Progress {
        moved: true,
        finished: false,
    };
    const OVER: Progress = Progress {
        moved: false,
        finished: true,
    };
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn silence_ends_no_relay_of_two_open_sides() {
        let mut course = Course::default();
        assert!(course.after(MOVED, IDLE).is_none());
        assert_eq!(course.silent_until(), None);
        assert!(course.after(OVER, IDLE).is_none());
        assert!(course.silent_until() > Some(Instant::now() + HALF_CLOSED / 2));
        assert!(matches!(course.after(OVER, OVER), Some(Why::Finished)));
    }

    #[test]
    fn who_broke_first_is_told() {
        let mut course = Course::default();
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(!course.broke(Side::Client, Failure::Write(broken)));
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(course.broke(Side::Client, Failure::Read(reset)));
        let why = course.after(OVER, OVER).unwrap();
        assert!(matches!(&why, Why::Broken(Side::Server, _)), "{why}");
        assert!(
            why.to_string().contains("server broke: broken pipe"),
            "{why}"
        );
    }

    #[test]
    fn a_server_that_owes_an_answer_has_until_the_deadline() {
        let mut course = Course::default();
        assert!(course.after(MOVED, IDLE).is_none());
        assert!(course.drain(HOUR));
        assert!(!course.drain(Duration::ZERO));
        assert!(course.after(IDLE, IDLE).is_none());
        assert!(course.silent_until() > Some(Instant::now() + HOUR / 2));
        // It answers: from then on a short silence is enough.
        assert!(course.after(IDLE, MOVED).is_none());
        assert!(course.silent_until() <= Some(Instant::now() + QUIET));
        assert!(matches!(course.after(IDLE, OVER), Some(Why::Stopped)));
    }

    #[test]
    fn a_drain_without_time_is_over_at_once() {
        let mut course = Course::default();
        course.drain(Duration::ZERO);
        assert!(matches!(course.after(IDLE, IDLE), Some(Why::Stopped)));
    }
}
