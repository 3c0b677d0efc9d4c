//! A driver in memory: one [`Session`], two byte streams, virtual time.
//!
//! It does what an IO adapter does (reads within the budgets, writes what is queued, polls events, keeps the timer) and
//! watches the session's own promises while it does so. Broken ones are collected in [`Driver::faults`].

mod checks;
mod seen;

pub use checks::reveals;
use proxy_proto::{
    Bearer, Event, Misuse, Reason, Refusal, RequestId, Session, SessionConfig, Side, Time,
    Upstream, UpstreamTls,
};
pub use seen::{Seen, reason_kind};
use std::{collections::VecDeque, sync::Arc};

/// One session under a driver without IO.
pub struct Driver {
    session: Session,
    config: Arc<SessionConfig>,
    now: Time,
    chunk: usize,
    pending: [VecDeque<u8>; 2],
    pending_eof: [bool; 2],
    read_eof: [bool; 2],
    upgrading: [bool; 2],
    connected: bool,
    secure: bool,
    request: Option<RequestId>,
    answered: Option<RequestId>,
    sent: [Vec<u8>; 2],
    events: Vec<Seen>,
    relaying: bool,
    closed: Option<Reason>,
    residue: bool,
    passwords: Vec<String>,
    tokens: Vec<String>,
    before_relay: Vec<u8>,
    /// The client was read behind its login, more than one byte at a time: where in such a piece relay began, and what
    /// the client may well send on, cannot be told from outside. Reads of single bytes show it.
    blurred: bool,
    to_client: Vec<u8>,
    authenticated: bool,
    in_clear: Vec<u8>,
    dialogue: String,
    dry: bool,
    /// Promises that the session broke, in words.
    pub faults: Vec<String>,
}

fn index(side: Side) -> usize {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}

/// Both sides, client first.
pub const SIDES: [Side; 2] = [Side::Client, Side::Server];

impl Driver {
    /// A session at time zero. No more than `chunk` bytes are handed over or written at once.
    pub fn new(config: SessionConfig, chunk: usize) -> Self {
        let config = Arc::new(config);
        Driver {
            session: Session::new(config.clone(), Time::ZERO),
            config,
            now: Time::ZERO,
            chunk: chunk.max(1),
            pending: [VecDeque::new(), VecDeque::new()],
            pending_eof: [false; 2],
            read_eof: [false; 2],
            upgrading: [false; 2],
            connected: false,
            secure: false,
            request: None,
            answered: None,
            sent: [Vec::new(), Vec::new()],
            events: Vec::new(),
            relaying: false,
            closed: None,
            residue: false,
            passwords: Vec::new(),
            tokens: Vec::new(),
            before_relay: Vec::new(),
            blurred: false,
            to_client: Vec::new(),
            authenticated: false,
            in_clear: Vec::new(),
            dialogue: String::new(),
            dry: false,
            faults: Vec::new(),
        }
    }

    // ---- what peers and the embedder do

    /// The connection to the server is open.
    pub fn connect(&mut self, host: &str, port: u16) {
        self.connected = true;
        self.secure = self.config.upstream_tls == UpstreamTls::Implicit;
        self.pending[1].clear();
        self.pending_eof[1] = false;
        self.read_eof[1] = false;
        self.upgrading[1] = false;
        let upstream = Upstream {
            host: host.into(),
            port,
            secure: self.secure,
        };
        self.session.connected(upstream, self.now);
        self.settle();
    }

    /// The server cannot be reached.
    pub fn connect_failed(&mut self, why: &str) {
        self.session.connect_failed(why, self.now);
        self.settle();
    }

    /// This side has sent these bytes. What no budget admits waits, as it would in a socket.
    pub fn input(&mut self, from: Side, bytes: &[u8]) {
        self.pending[index(from)].extend(bytes);
        self.settle();
    }

    /// This side has sent all it will send.
    pub fn eof(&mut self, from: Side) {
        self.pending_eof[index(from)] = true;
        self.settle();
    }

    /// The handshake of this side is complete.
    pub fn tls_established(&mut self, side: Side) -> Result<(), Misuse> {
        let result = self.session.tls_established(side, self.now);
        if result.is_ok() {
            self.upgrading[index(side)] = false;
            if side == Side::Server {
                self.secure = true;
            }
        }
        self.settle();
        result
    }

    /// The session no longer wants the handshake of this side.
    pub fn forget_upgrade(&mut self, side: Side) {
        self.upgrading[index(side)] = false;
    }

    /// The handshake of this side failed.
    pub fn tls_failed(&mut self, side: Side, why: &str) {
        self.upgrading[index(side)] = false;
        self.session.tls_failed(side, why, self.now);
        self.settle();
    }

    /// Answers the open request; `false` when there is none.
    pub fn credentials(&mut self, answer: Result<Bearer, Refusal>) -> bool {
        let Some(id) = self.request.take() else {
            return false;
        };
        self.answered = Some(id);
        if let Ok(bearer) = &answer {
            self.tokens.push(bearer.token.expose().to_owned());
        }
        if let Err(misuse) = self.session.provide_credentials(id, answer, self.now) {
            self.faults
                .push(format!("the open request was answered, and: {misuse}"));
        }
        self.settle();
        true
    }

    /// Answers a request a second time.
    pub fn stale_credentials(&mut self, answer: Result<Bearer, Refusal>) -> Result<(), Misuse> {
        let Some(id) = self.answered else {
            return Err(Misuse::StaleRequest);
        };
        let result = self.session.provide_credentials(id, answer, self.now);
        self.settle();
        result
    }

    /// Time passes; the session's timer is served whenever it is due.
    pub fn pass(&mut self, time: Time) {
        let target = self.now + time;
        let mut idle = 0;
        while let Some(due) = self.session.poll_timeout() {
            if due > target || self.closed.is_some() {
                break;
            }
            if due <= self.now {
                idle += 1;
            }
            if idle > 100 {
                self.faults.push("the timer stays due for ever".into());
                break;
            }
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.settle();
        }
        self.now = target;
    }

    /// The proxy shuts down.
    pub fn shutdown(&mut self) {
        self.session.shutdown(self.now);
        self.settle();
    }

    /// From now on nothing is written: a peer that does not read.
    pub fn stop_writing(&mut self) {
        self.dry = true;
    }

    // ---- what came of it

    /// Takes what has been sent to this side since the last call.
    pub fn take_sent(&mut self, to: Side) -> Vec<u8> {
        std::mem::take(&mut self.sent[index(to)])
    }

    /// Takes the events since the last call.
    pub fn take_events(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.events)
    }

    /// The events since they were last taken.
    pub fn events_so_far(&self) -> &[Seen] {
        &self.events
    }

    /// Why the session ended, once it has.
    pub fn closed(&self) -> Option<&Reason> {
        self.closed.as_ref()
    }

    /// Whether relay has begun.
    pub fn relaying(&self) -> bool {
        self.relaying
    }

    /// Whether a request for credentials is open.
    pub fn asks_for_credentials(&self) -> bool {
        self.request.is_some()
    }

    /// Whether a handshake with this side is awaited.
    pub fn upgrading(&self, side: Side) -> bool {
        self.upgrading[index(side)]
    }

    /// Whether there is a connection to the server.
    pub fn connected(&self) -> bool {
        self.connected
    }

    /// Whether plaintext lay behind a TLS upgrade, so that its handshake was reported as failed.
    pub fn met_residue(&self) -> bool {
        self.residue
    }

    /// Bytes of this side that no budget has admitted yet.
    pub fn undelivered(&self, from: Side) -> usize {
        self.pending[index(from)].len()
    }

    /// The session's budget for this side.
    pub fn read_budget(&self, from: Side) -> usize {
        self.session.read_budget(from)
    }

    /// How many bytes the session holds ready for this side.
    pub fn queued(&self, to: Side) -> usize {
        self.session.transmit(to).len()
    }

    /// All `Dialogue` lines so far.
    pub fn dialogue(&self) -> &str {
        &self.dialogue
    }

    // ---- the loop

    fn settle(&mut self) {
        let mut rounds = 0usize;
        loop {
            let mut progress = self.poll();
            progress |= self.write();
            progress |= self.poll();
            progress |= self.read();
            if !progress {
                break;
            }
            rounds += 1;
            if rounds > 1_000_000 {
                self.faults.push("the session never comes to rest".into());
                break;
            }
        }
        for side in SIDES {
            if self.upgrading[index(side)] && self.session.read_budget(side) != 0 {
                self.faults.push(format!(
                    "plaintext of the {side} is wanted during its handshake"
                ));
            }
        }
    }

    fn write(&mut self) -> bool {
        let mut progress = false;
        for side in SIDES {
            if self.dry || (side == Side::Server && !self.connected) {
                continue;
            }
            let queued = self.session.transmit(side);
            let count = queued.len().min(self.chunk);
            if count == 0 {
                continue;
            }
            if self.upgrading[index(side)] {
                self.faults
                    .push(format!("bytes for the {side} during its handshake"));
            }
            self.sent[index(side)].extend_from_slice(&queued[..count]);
            if side == Side::Client && !self.authenticated {
                self.to_client.extend_from_slice(&queued[..count]);
            }
            if side == Side::Server && !self.relaying && !self.blurred {
                self.before_relay.extend_from_slice(&queued[..count]);
            }
            if side == Side::Server && !self.secure {
                self.in_clear.extend_from_slice(&queued[..count]);
            }
            self.session.advance(side, count);
            progress = true;
        }
        progress
    }

    fn poll(&mut self) -> bool {
        let mut count = 0;
        while let Some(event) = self.session.poll_event() {
            if self.closed.is_some() {
                self.faults
                    .push(format!("an event after Closed: {event:?}"));
            }
            let seen = self.record(event);
            self.events.push(seen);
            count += 1;
            if count > 100_000 {
                self.faults.push("events without end".into());
                break;
            }
        }
        count > 0
    }

    fn record(&mut self, event: Event) -> Seen {
        match event {
            Event::UpgradeTls(side) => {
                if !self.session.transmit(side).is_empty() {
                    self.faults
                        .push(format!("UpgradeTls before the {side}'s plaintext is out"));
                }
                self.upgrading[index(side)] = true;
                if !self.pending[index(side)].is_empty() {
                    // Plaintext that the peer sent behind its STARTTLS is what the handshake reads first.
                    self.pending[index(side)].clear();
                    self.residue = true;
                    self.upgrading[index(side)] = false;
                    self.session
                        .tls_failed(side, "the peer sent no TLS record", self.now);
                }
                Seen::UpgradeTls(side)
            }
            Event::Reconnect => {
                self.connected = false;
                self.pending[1].clear();
                Seen::Reconnect
            }
            Event::NeedCredentials { id, login, after } => {
                if self.request.is_some() {
                    self.faults
                        .push("a second request while one is open".into());
                }
                self.request = Some(id);
                let password = login.password.expose().to_owned();
                self.passwords.push(password.clone());
                Seen::NeedCredentials {
                    user: login.user.to_string(),
                    password,
                    after: after.map(|rejection| rejection.text),
                }
            }
            Event::Abandoned(id) => {
                if self.request.take() != Some(id) {
                    self.faults
                        .push("a request was abandoned that is not open".into());
                }
                self.answered = Some(id);
                Seen::Abandoned
            }
            Event::Authenticated { login, user } => {
                self.authenticated = true;
                Seen::Authenticated {
                    login: login.to_string(),
                    user: user.to_string(),
                }
            }
            Event::Refused { login, text } => {
                if text.chars().any(char::is_control) || text.len() > 400 {
                    self.faults
                        .push(format!("an unbounded or unprintable refusal: {text:?}"));
                }
                Seen::Refused {
                    login: login.to_string(),
                    text,
                }
            }
            Event::Dialogue(line) => {
                let line = line.to_string();
                if line.chars().any(char::is_control) {
                    self.faults
                        .push(format!("control characters in the dialogue: {line:?}"));
                }
                self.dialogue.push_str(&line);
                self.dialogue.push('\n');
                Seen::Dialogue(line)
            }
            Event::Relay => {
                if SIDES
                    .into_iter()
                    .any(|side| !self.session.transmit(side).is_empty())
                {
                    self.faults.push("Relay before held bytes are out".into());
                }
                self.relaying = true;
                Seen::Relay
            }
            Event::ShutdownWrite(side) => {
                if !self.session.transmit(side).is_empty() {
                    self.faults
                        .push(format!("ShutdownWrite before the {side}'s bytes are out"));
                }
                Seen::ShutdownWrite(side)
            }
            Event::Closed(reason) => {
                if let Reason::Protocol(side, text)
                | Reason::Limit(side, text)
                | Reason::TimedOut(side, text) = &reason
                    && !text.contains(&side.to_string())
                {
                    self.faults
                        .push(format!("whose fault it is cannot be read: {text}"));
                }
                self.closed = Some(reason.clone());
                self.pending = [VecDeque::new(), VecDeque::new()];
                Seen::Closed(reason)
            }
            other => Seen::Unknown(format!("{other:?}")),
        }
    }

    fn read(&mut self) -> bool {
        for side in SIDES {
            let at = index(side);
            let absent = side == Side::Server && !self.connected;
            if self.closed.is_some() || self.upgrading[at] || absent {
                continue;
            }
            let budget = self.session.read_budget(side);
            if budget == 0 {
                continue;
            }
            let count = self.pending[at].len().min(self.chunk).min(budget);
            let unsent = |to| !self.session.transmit(to).is_empty();
            let leaving = self.authenticated && !self.relaying && !self.dry;
            if side == Side::Client && leaving && SIDES.into_iter().any(unsent) {
                // `Relay` is told once all is written: what is read from here on might be relay already.
                continue;
            }
            if count > 0 {
                let bytes: Vec<u8> = self.pending[at].drain(..count).collect();
                self.blurred |= side == Side::Client && self.authenticated && count > 1;
                self.session.handle_input(side, &bytes, self.now);
                return true;
            }
            if self.pending_eof[at] && (self.dry || !SIDES.into_iter().any(unsent)) {
                // Not before all is written, so that what a peer has read when it leaves does not depend on `chunk`.
                self.pending_eof[at] = false;
                self.read_eof[at] = true;
                self.session.handle_eof(side, self.now);
                return true;
            }
        }
        false
    }
}
