//! The target `operations`: all calls of a [`Session`] in any order, with nothing between it and the fuzzer.

use super::format::{CANARY, Call, Canaries, Header, Part, USER, read};
use crate::driver::{SIDES, reveals};
use crate::simulation::TOKEN;
use proxy_proto::{
    Bearer, Event, Limits, Mechanism, Refusal, RequestId, Secret, Session, SessionConfig, Side,
    Time, Upstream, UpstreamTls,
};
use std::{sync::Arc, time::Duration};

/// Bit of the header's third byte: the driver ignores budgets and connections.
const RUDE: u8 = 1;

pub(super) fn operations(data: &[u8]) {
    let Some((header, body)) = Header::read(data) else {
        return;
    };
    let Some(parts) = read(body, &mut Canaries::default()) else {
        return;
    };
    let mut embedder = Embedder::new(header.config, header.extra & RUDE != 0);
    for part in parts {
        match part {
            Part::Says(side, bytes) => embedder.input(side, &bytes),
            Part::Call(call) => embedder.call(call),
        }
        embedder.verify();
    }
    embedder.leaves_it_alone();
    embedder.verify_secrets();
}

/// What an embedder knows of its session, and what it has seen of it.
struct Embedder {
    session: Session,
    config: Arc<SessionConfig>,
    polite: bool,
    now: Time,
    /// The session wants a connection to the server.
    wants_server: bool,
    connected: bool,
    secure: bool,
    upgrading: [bool; 2],
    ended: [bool; 2],
    request: Option<RequestId>,
    answered: Option<RequestId>,
    relaying: bool,
    shutting_down: bool,
    closed: bool,
    passwords: Vec<String>,
    to_server: Vec<u8>,
    in_clear: Vec<u8>,
    dialogue: String,
}

fn index(side: Side) -> usize {
    usize::from(side == Side::Server)
}

impl Embedder {
    fn new(config: SessionConfig, rude: bool) -> Self {
        let config = Arc::new(config);
        Embedder {
            session: Session::new(config.clone(), Time::ZERO),
            config,
            polite: !rude,
            now: Time::ZERO,
            wants_server: true,
            connected: false,
            secure: false,
            upgrading: [false; 2],
            ended: [false; 2],
            request: None,
            answered: None,
            relaying: false,
            shutting_down: false,
            closed: false,
            passwords: Vec::new(),
            to_server: Vec::new(),
            in_clear: Vec::new(),
            dialogue: String::new(),
        }
    }

    /// This side has sent bytes. What no budget admits is lost, as if it had never been sent.
    fn input(&mut self, side: Side, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.polite {
            if side == Side::Server && !self.connected || self.ended[index(side)] {
                return;
            }
            bytes = &bytes[..bytes.len().min(self.session.read_budget(side))];
            if bytes.is_empty() {
                return;
            }
        }
        let to = side.other();
        let before = self.session.transmit(to).to_vec();
        // (A rude driver goes on where a side has ended.)
        let passes = self.polite && self.relaying && !self.closed;
        self.session.handle_input(side, bytes, self.now);
        if passes {
            let after = self.session.transmit(to);
            assert_eq!(
                after,
                [&before, bytes].concat(),
                "relay passes what it is given"
            );
        }
        self.poll();
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Connected { as_configured } => self.connect(as_configured),
            Call::ConnectFailed => {
                if self.polite && !self.wants_server {
                    return;
                }
                self.wants_server = false;
                self.session.connect_failed("no\r\nroute", self.now);
            }
            Call::TlsEstablished(side) => self.handshake(side),
            Call::TlsFailed(side) => {
                if self.polite && !self.upgrading[index(side)] {
                    return;
                }
                self.upgrading[index(side)] = false;
                self.session.tls_failed(side, "bad\ncertificate", self.now);
            }
            Call::Eof(side) => {
                let absent = side == Side::Server && !self.connected;
                if self.polite && (absent || self.session.read_budget(side) == 0) {
                    return;
                }
                self.ended[index(side)] = true;
                self.session.handle_eof(side, self.now);
            }
            Call::Grant { oauthbearer } => self.answer(Ok(Bearer {
                token: Secret::new(TOKEN),
                user: USER.into(),
                mechanism: oauthbearer.then_some(Mechanism::OAuthBearer),
            })),
            Call::GrantUnusable => self.answer(Ok(Bearer {
                token: Secret::new(format!("{TOKEN}\r\nNOOP")),
                user: USER.into(),
                mechanism: None,
            })),
            Call::Deny => self.answer(Err(Refusal::Denied("no\r\nA1 OK forged".into()))),
            Call::Temporary => self.answer(Err(Refusal::Temporary("not\0now".into()))),
            Call::Stale => self.answers_again(),
            Call::Shutdown => {
                self.shutting_down = true;
                self.session.shutdown(self.now);
            }
            Call::Wait => self.wait(),
            Call::Pass(count) => {
                self.now += Duration::from_secs(4 * u64::from(count));
                self.session.handle_timeout(self.now);
            }
            Call::Advance(side, count) => self.write(side, usize::from(count)),
            Call::Serve => self.serve(),
        }
        self.poll();
    }

    fn connect(&mut self, as_configured: bool) {
        if self.polite && !self.wants_server {
            return;
        }
        let configured = self.config.upstream_tls == UpstreamTls::Implicit;
        let secure = configured == as_configured;
        // A rude driver's second connection is ignored: what was secure stays so.
        self.secure = secure || !self.polite && self.secure;
        self.wants_server = false;
        self.connected = true;
        self.ended[1] = false;
        self.upgrading[1] = false;
        let upstream = Upstream {
            host: "mail.example".into(),
            port: 993,
            secure,
        };
        self.session.connected(upstream, self.now);
    }

    fn handshake(&mut self, side: Side) {
        let pending = std::mem::take(&mut self.upgrading[index(side)]);
        let before = SIDES.map(|side| self.session.transmit(side).to_vec());
        let accepted = self.session.tls_established(side, self.now).is_ok();
        if !pending {
            // In a session that is past its dialogue, a late handshake is no mistake; it changes nothing.
            let after = SIDES.map(|side| self.session.transmit(side).to_vec());
            assert_eq!(before, after, "a handshake that nobody had asked for");
        }
        if self.polite && pending {
            assert!(accepted, "a handshake was asked for and is not wanted");
        }
        self.secure |= pending && accepted && side == Side::Server;
    }

    fn answer(&mut self, answer: Result<Bearer, Refusal>) {
        let Some(id) = self.request.take() else {
            return self.answers_again();
        };
        self.answered = Some(id);
        let result = self.session.provide_credentials(id, answer, self.now);
        assert_eq!(result, Ok(()), "the open request was answered");
    }

    /// Answers a request that is no longer open.
    fn answers_again(&mut self) {
        if let Some(id) = self.answered {
            let before = self.session.transmit(Side::Client).len();
            let refusal = Refusal::Denied("stale".into());
            let result = self.session.provide_credentials(id, Err(refusal), self.now);
            assert!(result.is_err(), "a stale answer was accepted");
            assert_eq!(self.session.transmit(Side::Client).len(), before);
        }
    }

    fn wait(&mut self) {
        if let Some(due) = self.session.poll_timeout() {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            let next = self.session.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "the timer stays due"
            );
        }
    }

    fn write(&mut self, side: Side, count: usize) {
        if self.polite && side == Side::Server && !self.connected {
            return;
        }
        let queued = self.session.transmit(side);
        let bytes = &queued[..queued.len().min(count)];
        if side == Side::Server {
            self.to_server.extend_from_slice(bytes);
            if !self.secure {
                self.in_clear.extend_from_slice(bytes);
            }
        }
        self.session.advance(side, count);
    }

    /// Writes everything, until there is nothing more to be written.
    fn serve(&mut self) {
        for _ in 0..1_000 {
            let queued = SIDES.map(|side| self.session.transmit(side).len());
            if queued == [0, 0] || self.polite && !self.connected && queued[0] == 0 {
                return;
            }
            for (side, count) in SIDES.into_iter().zip(queued) {
                self.write(side, count);
                self.poll();
            }
        }
        panic!("there is always more to be written");
    }

    fn poll(&mut self) {
        for _ in 0..100_000 {
            let Some(event) = self.session.poll_event() else {
                return;
            };
            assert!(!self.closed, "an event after Closed: {event:?}");
            self.takes(event);
        }
        panic!("events without end");
    }

    fn takes(&mut self, event: Event) {
        let flushed = |side| self.session.transmit(side).is_empty();
        match event {
            Event::UpgradeTls(side) => {
                assert!(flushed(side), "UpgradeTls before the plaintext is out");
                self.upgrading[index(side)] = true;
            }
            Event::Reconnect => {
                self.wants_server = true;
                self.connected = false;
                self.secure = false;
            }
            Event::NeedCredentials { id, login, .. } => {
                assert!(self.request.is_none(), "a second request while one is open");
                self.request = Some(id);
                self.passwords.push(login.password.expose().to_owned());
            }
            Event::Abandoned(id) => {
                assert_eq!(self.request.take(), Some(id), "abandoned, and not open");
                self.answered = Some(id);
            }
            Event::Dialogue(line) => {
                let line = line.to_string();
                assert!(
                    !line.chars().any(char::is_control),
                    "control characters in the dialogue: {line:?}"
                );
                self.dialogue.push_str(&line);
                self.dialogue.push('\n');
            }
            Event::Relay => {
                assert!(
                    SIDES.into_iter().all(flushed),
                    "Relay before held bytes are out"
                );
                self.relaying = true;
            }
            Event::ShutdownWrite(side) => {
                assert!(flushed(side), "ShutdownWrite before the bytes are out");
            }
            Event::Closed(reason) => {
                assert!(!reason.to_string().contains(['\r', '\n']));
                assert!(flushed(Side::Client), "Closed before the farewell is out");
                self.closed = true;
            }
            _ => {}
        }
    }

    /// What holds after every call.
    fn verify(&self) {
        let budgets = SIDES.map(|side| self.session.read_budget(side));
        let timer = self.session.poll_timeout();
        if self.closed {
            assert_eq!(budgets, [0, 0], "a session that is over reads nothing");
            assert_eq!(timer, None, "a session that is over waits for nothing");
            return;
        }
        if !self.polite {
            return;
        }
        let limits = &self.config.limits;
        for (side, budget) in SIDES.into_iter().zip(budgets) {
            assert!(
                budget <= largest_budget(limits),
                "{side}: a budget of {budget}"
            );
            let queued = self.session.transmit(side).len();
            assert!(
                queued <= longest_queue(limits),
                "{queued} bytes for the {side}"
            );
            if self.upgrading[index(side)] && (self.connected || side == Side::Client) {
                assert_eq!(budget, 0, "plaintext is wanted during a handshake");
                assert_eq!(queued, 0, "bytes for the {side} during its handshake");
            }
        }
        let nothing_left = budgets == [0, 0]
            && timer.is_none()
            && self.request.is_none()
            && !self.wants_server
            && !self.upgrading.contains(&true)
            && SIDES
                .into_iter()
                .all(|side| self.session.transmit(side).is_empty());
        assert!(!nothing_left, "stuck: nothing more can happen");
    }

    /// Nobody says or does anything any more, but what is to be written is: before relay that ends the session.
    fn leaves_it_alone(&mut self) {
        if !self.polite {
            return;
        }
        // As many logins as errors are allowed, each with a keepalive every 20 s of its 660 s.
        for _ in 0..1_000 {
            self.serve();
            self.poll();
            if self.closed || self.relaying && !self.shutting_down {
                return;
            }
            assert!(
                self.session.poll_timeout().is_some(),
                "nothing will ever happen again"
            );
            self.wait();
            self.poll();
            self.verify();
        }
        panic!("a session before relay that nobody speaks to never ends");
    }

    fn verify_secrets(&self) {
        let in_clear_by_wish =
            self.config.upstream_tls == UpstreamTls::DangerousPlaintextBearerInClear;
        assert!(
            in_clear_by_wish || !reveals(&self.in_clear, TOKEN),
            "the bearer was sent in clear"
        );
        assert!(
            !reveals(self.dialogue.as_bytes(), TOKEN),
            "the bearer stands in the dialogue"
        );
        for password in self.passwords.iter().filter(|it| it.contains(CANARY)) {
            assert!(
                !reveals(&self.to_server, password),
                "the server got {password:?}"
            );
            assert!(
                !reveals(self.dialogue.as_bytes(), password),
                "{password:?} stands in the dialogue"
            );
        }
    }
}

/// No side may be asked for more at once: its longest frame, the held input or the send buffer.
fn largest_budget(limits: &Limits) -> usize {
    [
        limits.held,
        limits.line,
        limits.imap_line + 2 * limits.imap_literal,
        limits.server_line,
        limits.send_buffer,
    ]
    .into_iter()
    .fold(0, usize::max)
        + 1
}

/// A full buffer, and behind it all that was held for it and one more answer.
fn longest_queue(limits: &Limits) -> usize {
    limits.send_buffer + limits.capabilities + 2 * largest_budget(limits) + 4_096
}
