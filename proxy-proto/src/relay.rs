//! Once the login has succeeded: bytes pass, through filters where the configuration has some.

use crate::{
    Reason, Side, Time,
    core::{Core, Phase},
    filter::{Chain, Failed},
    timers::Timers,
};

/// The silence after which a drain with filters is over.
const QUIET: Time = Time::from_secs(1);

impl Core {
    /// Passes bytes without showing them; in an open session through its filters.
    pub(crate) fn pass(&mut self, to: Side, bytes: &[u8]) {
        if self.chain.is_none() {
            return self.link_mut(to).send.push(bytes);
        }
        if self.phase == Phase::Relay && self.link(to).eof {
            self.timers.half_closed = Some(self.now + self.config.limits.half_closed);
        }
        self.server_spoke_last = to == Side::Client;
        self.hasten_drain();
        self.filter(|chain, sink| chain.pass(to.other(), bytes, sink));
    }

    /// Lets the filters do something; what they put out is queued. One that fails ends the session.
    pub(crate) fn filter(
        &mut self,
        work: impl FnOnce(&mut Chain, &mut dyn FnMut(Side, &[u8])) -> Result<(), Failed>,
    ) {
        let Some(mut chain) = self.chain.take() else {
            return;
        };
        let result = work(&mut chain, &mut |to, bytes| {
            self.link_mut(to).send.push(bytes)
        });
        match result {
            Ok(()) => self.chain = Some(chain),
            Err(Failed(why)) => self.close(Reason::Filter(why)),
        }
    }

    /// In relay: the client is no longer read, the server's bytes are passed on until the deadline.
    pub(crate) fn drain(&mut self) {
        self.shutting_down = true;
        self.timers.drain = Some(self.now + self.config.limits.drain);
        self.drain_until = self.timers.drain;
        self.hasten_drain();
    }

    /// A server that spoke last and is silent for a while has nothing more to say: its drain need not last any longer. Without
    /// filters that is the driver's to see.
    fn hasten_drain(&mut self) {
        if let (Some(until), Some(_)) = (self.drain_until, &self.chain) {
            self.timers.drain = Some(match self.server_spoke_last {
                true => until.min(self.now + QUIET),
                false => until,
            });
        }
    }

    pub(crate) fn begin_relay(&mut self) {
        self.phase = Phase::Relay;
        self.timers = Timers {
            drain: self.timers.drain,
            ..Timers::default()
        };
        for side in [Side::Client, Side::Server] {
            if self.phase == Phase::Relay && !self.link(side).receive.is_empty() {
                let held = self.link_mut(side).receive.lend();
                self.pass(side.other(), &held);
            }
        }
        for side in [Side::Client, Side::Server] {
            if self.phase == Phase::Relay && self.link(side).eof {
                self.relay_eof(side);
            }
        }
    }

    /// In relay: this side has ended, which is passed on once its bytes are out.
    pub(crate) fn relay_eof(&mut self, from: Side) {
        self.link_mut(from).eof = true;
        if self.chain.is_some() {
            self.timers.half_closed = Some(self.now + self.config.limits.half_closed);
            self.filter(|chain, sink| chain.end(from, sink));
        }
    }

    /// Whether the filters want more of this side. What they send back to it adds to its own backlog: a side that sends
    /// without reading its answers is not read for ever.
    pub(crate) fn filters_ready(&self, from: Side) -> bool {
        match &self.chain {
            None => true,
            Some(chain) => {
                let backlog = self.link(from).send.len();
                chain.ready(from) && backlog < 4 * self.config.limits.send_buffer
            }
        }
    }
}
