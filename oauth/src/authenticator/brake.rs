//! The brake on guesses at passwords, per client address. Logins whose key is in memory never get here.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

/// Wrong passwords without a pause.
const FREE: u64 = 5;
/// Seconds after which one wrong password is forgotten.
const FORGET: u64 = 20;
/// Longest pause before an attempt, in seconds.
const LONGEST: u64 = 16;
/// Attempts of one address that may wait at once.
const WAITING: u32 = 8;
/// Addresses remembered.
const REMEMBERED: usize = 16_384;

#[derive(Default)]
pub(super) struct Brake {
    addresses: HashMap<IpAddr, Guesses>,
}

#[derive(Clone, Copy)]
struct Guesses {
    wrong: u64,
    since: u64,
    waiting: u32,
}

impl Guesses {
    /// What is left of the wrong passwords.
    fn fade(&mut self, now: u64) {
        let faded = now.saturating_sub(self.since) / FORGET;
        self.wrong = self.wrong.saturating_sub(faded);
        self.since += faded * FORGET;
    }
}

impl Brake {
    /// How long an attempt from here has to wait; `None` when too many wait already. After a wait call [`Brake::waited`].
    pub(super) fn wait(&mut self, address: IpAddr, now: u64) -> Option<Duration> {
        let Some(guesses) = self.addresses.get_mut(&network(address)) else {
            return Some(Duration::ZERO);
        };
        guesses.fade(now);
        let Some(excess) = guesses.wrong.checked_sub(FREE) else {
            return Some(Duration::ZERO);
        };
        if guesses.waiting >= WAITING {
            return None;
        }
        guesses.waiting += 1;
        Some(Duration::from_secs((1 << excess.min(10)).min(LONGEST)))
    }

    /// An attempt that had to wait has done so, or has given up.
    pub(super) fn waited(&mut self, address: IpAddr) {
        if let Some(guesses) = self.addresses.get_mut(&network(address)) {
            guesses.waiting = guesses.waiting.saturating_sub(1);
        }
    }

    /// A password from here was wrong.
    pub(super) fn wrong(&mut self, address: IpAddr, now: u64) {
        if self.addresses.len() >= REMEMBERED {
            self.addresses.retain(|_, guesses| {
                guesses.fade(now);
                guesses.wrong > 0 || guesses.waiting > 0
            });
        }
        if self.addresses.len() >= REMEMBERED {
            return;
        }
        let guesses = self.addresses.entry(network(address)).or_insert(Guesses {
            wrong: 0,
            since: now,
            waiting: 0,
        });
        guesses.fade(now);
        guesses.wrong = (guesses.wrong + 1).min(FREE + 10);
    }
}

/// A household or a host has a /64 of IPv6 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESSER: &str = "192.0.2.1";

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_guesser_is_slowed_down_and_nobody_else() {
        let mut brake = Brake::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = brake.wait(at(GUESSER), 100).expect("few wait");
            if !wait.is_zero() {
                brake.waited(at(GUESSER));
            }
            waits.push(wait.as_secs());
            brake.wrong(at(GUESSER), 100);
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(brake.wait(at("192.0.2.2"), 100), Some(Duration::ZERO));
    }

    #[test]
    fn time_forgives() {
        let mut brake = Brake::default();
        for _ in 0..20 {
            brake.wrong(at(GUESSER), 100);
        }
        assert!(
            brake
                .wait(at(GUESSER), 100)
                .is_some_and(|wait| wait.as_secs() == 16)
        );
        brake.waited(at(GUESSER));
        assert_eq!(
            brake.wait(at(GUESSER), 100 + 11 * FORGET),
            Some(Duration::ZERO)
        );
    }

    #[test]
    fn only_so_many_wait() {
        let mut brake = Brake::default();
        for _ in 0..6 {
            brake.wrong(at(GUESSER), 100);
        }
        let waiting = (0..20)
            .filter(|_| brake.wait(at(GUESSER), 100).is_some())
            .count();
        assert_eq!(waiting, WAITING as usize);
        brake.waited(at(GUESSER));
        assert!(brake.wait(at(GUESSER), 100).is_some());
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let mut brake = Brake::default();
        for host in 0..8 {
            brake.wrong(at(&format!("2001:db8::{host}")), 100);
        }
        assert!(
            brake
                .wait(at("2001:db8::ffff"), 100)
                .is_some_and(|wait| !wait.is_zero())
        );
        assert_eq!(brake.wait(at("2001:db8:0:1::1"), 100), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut brake = Brake::default();
        for host in 0..40_000u32 {
            brake.wrong(IpAddr::V4(host.into()), 100);
        }
        assert!(brake.addresses.len() <= REMEMBERED);
    }
}
