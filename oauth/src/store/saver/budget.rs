//! How many writes are left.

use crate::store::Pace;
use std::time::{Duration, Instant};

/// A bucket of writes: full at first, one more in each interval.
pub(super) struct Budget {
    pace: Pace,
    left: u32,
    /// When the last one came in, or would have if there were room.
    filled: Instant,
    /// The last write.
    written: Option<Instant>,
    /// The user has been told that it is empty.
    told: bool,
}

impl Budget {
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        Budget {
            pace,
            left: pace.burst + 1,
            filled: now,
            written: None,
            told: false,
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.pace.interval
    }

    /// Takes one, or says when there is one.
    pub(super) fn spend(&mut self, now: Instant) -> Result<(), Instant> {
        self.fill(now);
        if self.left == 0 {
            return Err(self.filled + self.pace.interval);
        }
        self.left -= 1;
        self.written = Some(now);
        Ok(())
    }

    /// Nothing has come of the write.
    pub(super) fn give_back(&mut self) {
        self.left = self.left.saturating_add(1).min(self.pace.burst + 1);
        self.written = None;
    }

    /// When that is written which can wait; `None`: now.
    pub(super) fn next_round(&mut self, now: Instant) -> Option<Instant> {
        self.fill(now);
        let due = self.written? + self.pace.interval;
        (due > now).then_some(due)
    }

    /// Whether the user is to be told that it is empty.
    pub(super) fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    fn fill(&mut self, now: Instant) {
        while now.saturating_duration_since(self.filled) >= self.pace.interval {
            if self.left > self.pace.burst {
                self.filled = now;
                self.told = false;
                return;
            }
            self.filled += self.pace.interval;
            self.left += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1200);

    fn budget(now: Instant) -> Budget {
        let pace = Pace {
            gather: Duration::ZERO,
            interval: INTERVAL,
            burst: 2,
        };
        Budget::new(pace, now)
    }

    #[test]
    fn a_burst_and_then_one_in_each_interval() {
        let start = Instant::now();
        let mut budget = budget(start);
        for _ in 0..3 {
            assert_eq!(budget.spend(start), Ok(()));
        }
        let due = start + INTERVAL;
        assert_eq!(budget.spend(start), Err(due));
        assert!(budget.tell() && !budget.tell());
        assert_eq!(budget.spend(due - Duration::from_secs(1)), Err(due));
        assert_eq!(budget.spend(due), Ok(()));
        assert_eq!(budget.spend(due), Err(due + INTERVAL));
        // what was not used is there later, up to the burst
        let later = due + INTERVAL * 10;
        for _ in 0..3 {
            assert_eq!(budget.spend(later), Ok(()));
        }
        assert!(budget.spend(later).is_err() && budget.tell());
    }

    #[test]
    fn no_day_has_more_than_aws_takes() {
        let start = Instant::now();
        let pace = Pace {
            burst: 20,
            ..budget(start).pace
        };
        let mut budget = Budget::new(pace, start);
        let minutes = (0..24 * 60).map(|minute| start + Duration::from_secs(minute * 60));
        let writes = minutes.filter(|now| budget.spend(*now).is_ok()).count();
        assert!((90..100).contains(&writes), "{writes}");
    }

    #[test]
    fn what_can_wait_goes_once_in_an_interval() {
        let start = Instant::now();
        let mut budget = budget(start);
        assert_eq!(budget.next_round(start), None);
        assert_eq!(budget.spend(start), Ok(()));
        assert_eq!(budget.next_round(start), Some(start + INTERVAL));
        budget.give_back();
        assert_eq!(budget.next_round(start), None);
        assert_eq!(budget.spend(start), Ok(()));
        assert_eq!(budget.next_round(start + INTERVAL), None);
    }
}
