//! When something must have happened.

use crate::Time;

#[derive(Default)]
pub(crate) struct Timers {
    pub(crate) before_login: Option<Time>,
    pub(crate) server_answer: Option<Time>,
    pub(crate) consent: Option<Time>,
    pub(crate) keepalive: Option<Time>,
    pub(crate) half_closed: Option<Time>,
    pub(crate) drain: Option<Time>,
}

/// A timer that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    BeforeLogin,
    ServerAnswer,
    Consent,
    Keepalive,
    HalfClosed,
    Drain,
}

impl Timers {
    /// When the first one runs out.
    pub(crate) fn next(&self) -> Option<Time> {
        [
            self.before_login,
            self.server_answer,
            self.consent,
            self.keepalive,
            self.half_closed,
            self.drain,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Takes one that has run out; the keepalive is due again after `keepalive`.
    pub(crate) fn expired(&mut self, now: Time, keepalive: Time) -> Option<Expired> {
        let due = |timer: &mut Option<Time>| match timer {
            Some(at) if *at <= now => timer.take().is_some(),
            _ => false,
        };
        if due(&mut self.drain) {
            Some(Expired::Drain)
        } else if due(&mut self.consent) {
            Some(Expired::Consent)
        } else if due(&mut self.server_answer) {
            Some(Expired::ServerAnswer)
        } else if due(&mut self.before_login) {
            Some(Expired::BeforeLogin)
        } else if due(&mut self.half_closed) {
            Some(Expired::HalfClosed)
        } else if due(&mut self.keepalive) {
            self.keepalive = Some(now + keepalive);
            Some(Expired::Keepalive)
        } else {
            None
        }
    }
}
