//! The one type that a driver drives.

use crate::{
    Bearer, Event, Misuse, Reason, Refusal, RequestId, SessionConfig,
    core::{Core, Phase, ServerLink},
    frame::{Broken, Framed},
    machine::{Farewell, Machine, machine},
    messages, redact,
    refusal::{refuse, unusable},
    sasl,
    timers::Expired,
};
use std::{fmt, sync::Arc, time::Duration};

/// Time since an epoch of the driver's own; only differences matter.
pub type Time = Duration;

/// One of the two connections of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The mail client's connection.
    Client,
    /// The provider's mail server's connection.
    Server,
}

impl Side {
    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Client => "client",
            Side::Server => "server",
        })
    }
}

/// A connection to the server that has just been opened.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The host name as configured (it is named in OAUTHBEARER).
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// Whether TLS is established already (verified certificate and host name).
    pub secure: bool,
}

/// One client, one server, one protocol.
pub struct Session {
    pub(crate) core: Core,
    pub(crate) machine: Box<dyn Machine + Send>,
}

impl Session {
    /// A session whose client has connected (and, with [`LocalTls::Implicit`](crate::LocalTls), whose TLS is
    /// established). The driver opens the server's connection and reports with [`connected`](Self::connected) or
    /// [`connect_failed`](Self::connect_failed).
    pub fn new(config: Arc<SessionConfig>, now: Time) -> Self {
        let machine = machine(config.protocol);
        Session {
            core: Core::new(config, now),
            machine,
        }
    }

    // ---- inputs

    /// The connection to the server is open; also after [`Event::Reconnect`].
    pub fn connected(&mut self, upstream: Upstream, now: Time) {
        self.core.tick(now);
        if self.core.phase != Phase::Dialogue || self.core.server_link != ServerLink::Connecting {
            return;
        }
        self.core.connected(upstream);
        self.machine.connected(&mut self.core);
        self.turn();
    }

    /// The server cannot be reached; `why` is told to the client and must be fit for that: control characters are
    /// removed and it is cut at 400 bytes.
    pub fn connect_failed(&mut self, why: &str, now: Time) {
        self.core.tick(now);
        if self.core.phase != Phase::Dialogue || self.core.server_link != ServerLink::Connecting {
            return;
        }
        self.server_failed(why, Reason::Unreachable(redact::one_line(why)));
        self.turn();
    }

    /// The handshake begun at [`Event::UpgradeTls`] is complete. Towards the server, certificate and host name were
    /// verified (RFC 7817, RFC 9525). What was learnt before it is forgotten.
    ///
    /// # Errors
    /// [`Misuse::NoUpgradePending`] where no handshake was asked for.
    pub fn tls_established(&mut self, side: Side, now: Time) -> Result<(), Misuse> {
        self.core.tick(now);
        let overtaken = side == Side::Server && self.core.server_link != ServerLink::Up;
        if self.core.phase != Phase::Dialogue || overtaken {
            // The session has given the connection up meanwhile; the driver could not know.
            return Ok(());
        }
        self.core.tls_established(side)?;
        self.machine.tls_established(&mut self.core, side);
        self.turn();
        Ok(())
    }

    /// The handshake begun at [`Event::UpgradeTls`] failed.
    pub fn tls_failed(&mut self, side: Side, why: &str, now: Time) {
        self.core.tick(now);
        let why = redact::one_line(why);
        match side {
            Side::Client => self.core.abort(Reason::ClientTls(why)),
            Side::Server if self.core.phase == Phase::Dialogue => {
                let text = messages::server_tls_failed(why);
                self.upstream_unusable(&text, Reason::Unreachable(text.clone()));
            }
            Side::Server => {}
        }
        self.turn();
    }

    /// How many bytes may be read from this side now; 0: do not read it. In relay it depends on the other side's
    /// backlog, never on this side's pending writes.
    pub fn read_budget(&self, from: Side) -> usize {
        self.core.read_budget(from)
    }

    /// Takes all of `bytes`, at most [`read_budget(from)`](Self::read_budget) many. More are taken as well, but bounds
    /// then hold only as far as the driver keeps them.
    pub fn handle_input(&mut self, from: Side, bytes: &[u8], now: Time) {
        self.core.tick(now);
        match self.core.phase {
            Phase::Settling if from == Side::Client => {
                let rest = self.settle_piece_by_piece(bytes);
                if !rest.is_empty() {
                    self.handle_input(from, rest, now);
                }
            }
            Phase::Dialogue | Phase::Settling => {
                if self.core.tls_pending(from) {
                    self.residue(from);
                } else if self.core.link(from).receive.is_empty() {
                    let used = self.process(from, bytes);
                    self.keep(from, &bytes[used..]);
                } else {
                    self.keep(from, bytes);
                }
            }
            Phase::Relay => self.core.pass(from.other(), bytes),
            Phase::Closing | Phase::Closed => {}
        }
        self.turn();
    }

    /// This side will send nothing more. Before relay that ends the session, except where it is the server's and a
    /// login is under way or has been refused: then another login, or the same one, gets a new connection.
    pub fn handle_eof(&mut self, from: Side, now: Time) {
        self.core.tick(now);
        match self.core.phase {
            Phase::Dialogue => match from {
                Side::Client => self.core.abort(Reason::ClientLeft),
                Side::Server => self.server_eof(),
            },
            Phase::Settling => self.core.link_mut(from).eof = true,
            Phase::Relay => self.core.relay_eof(from),
            Phase::Closing | Phase::Closed => {}
        }
        self.turn();
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Time) {
        self.core.tick(now);
        while let Some(expired) = self.core.expired() {
            match expired {
                Expired::Keepalive => self.machine.keepalive(&mut self.core),
                Expired::Consent => {
                    let text = messages::nobody_approved(self.core.login_name());
                    self.refuse(&Refusal::Temporary(text));
                }
                Expired::ServerAnswer => {
                    let text = messages::NO_ANSWER;
                    self.server_failed(text, Reason::TimedOut(Side::Server, text.into()));
                }
                Expired::BeforeLogin if self.core.phase == Phase::Settling => {
                    if self.core.client.receive.is_empty() {
                        self.core.begin_relay();
                    } else {
                        let why = messages::UNFINISHED_COMMAND_BEHIND;
                        self.core.abort(Reason::TimedOut(Side::Client, why.into()));
                    }
                }
                Expired::BeforeLogin => {
                    let text = messages::NO_LOGIN;
                    let reason = Reason::TimedOut(Side::Client, text.into());
                    self.farewell(Farewell::Idle, text, reason);
                }
                Expired::HalfClosed => {
                    let silent = match self.core.client.eof {
                        true => Side::Server,
                        false => Side::Client,
                    };
                    let why = messages::silent(silent);
                    self.core.abort(Reason::TimedOut(silent, why));
                }
                Expired::Drain if matches!(self.core.phase, Phase::Settling | Phase::Relay) => {
                    self.core.abort(Reason::Shutdown)
                }
                Expired::Drain => self.core.client.send.clear(),
            }
        }
        self.turn();
    }

    /// Answers [`Event::NeedCredentials`]. An answer that is no longer asked for is refused and dropped.
    ///
    /// # Errors
    /// [`Misuse::StaleRequest`] where `id` is not that of the open request: the client has left, or the wait has
    /// taken too long. It is no fault of the driver's then, and may be ignored.
    pub fn provide_credentials(
        &mut self,
        id: RequestId,
        answer: Result<Bearer, Refusal>,
        now: Time,
    ) -> Result<(), Misuse> {
        self.core.tick(now);
        self.core.take_request(id)?;
        match answer {
            Ok(bearer) if sasl::sendable(&bearer) => {
                if let Some(attempt) = &mut self.core.attempt {
                    attempt.bearer = Some(bearer);
                }
                if self.core.server_link == ServerLink::Gone {
                    self.core.reconnect();
                } else {
                    self.machine.bearer(&mut self.core);
                }
            }
            Ok(_) => {
                let text = messages::unsendable(self.core.login_name());
                self.refuse(&Refusal::Denied(text));
            }
            Err(refusal) => self.refuse(&refusal),
        }
        self.turn();
        Ok(())
    }

    /// Ends the session: the protocol's farewell before login, a drain in relay. In relay nothing is injected.
    pub fn shutdown(&mut self, now: Time) {
        self.core.tick(now);
        match self.core.phase {
            Phase::Dialogue => self.farewell(
                Farewell::Shutdown,
                messages::SHUTTING_DOWN,
                Reason::Shutdown,
            ),
            Phase::Settling | Phase::Relay => self.core.drain(),
            Phase::Closing | Phase::Closed => {}
        }
        self.turn();
    }

    // ---- outputs

    /// The bytes to be written to this side; report progress with [`advance`](Self::advance).
    pub fn transmit(&self, to: Side) -> &[u8] {
        self.core.link(to).send.pending()
    }

    /// `written` bytes of [`transmit`](Self::transmit) have gone out; more than were pending counts as all of them.
    pub fn advance(&mut self, to: Side, written: usize) {
        self.core.link_mut(to).send.advance(written);
        self.turn();
    }

    /// The next event; poll after every input and after `advance`, until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.core.poll_timeout()
    }

    // ---- within

    /// Goes on with what is held, and draws the consequences.
    fn turn(&mut self) {
        self.go_on();
        self.core.settle();
    }

    /// Goes on with what is held, until nothing moves.
    pub(crate) fn go_on(&mut self) {
        loop {
            let mut moved = false;
            for side in [Side::Client, Side::Server] {
                let held = self.core.link_mut(side).receive.lend();
                let used = if held.is_empty() {
                    0
                } else {
                    self.process(side, &held)
                };
                // What `process` has closed must not get back what was held for it.
                let gone = side == Side::Server && self.core.server_link != ServerLink::Up;
                if gone || matches!(self.core.phase, Phase::Closing | Phase::Closed) {
                    moved |= used > 0;
                    continue;
                }
                self.core.link_mut(side).receive.restore(held, used);
                moved |= used > 0;
            }
            if self.core.phase == Phase::Settling {
                moved |= self.settle();
            }
            if !moved {
                break;
            }
        }
    }

    /// Keeps what could not be processed. Bytes of a server whose answer ended the session or its connection are
    /// dropped.
    pub(crate) fn keep(&mut self, side: Side, bytes: &[u8]) {
        if bytes.is_empty() || matches!(self.core.phase, Phase::Closing | Phase::Closed) {
            return;
        }
        if side == Side::Server && self.core.server_link != ServerLink::Up {
            return;
        }
        self.core.link_mut(side).receive.push(bytes);
    }

    /// Takes as many frames as the machine accepts; returns the bytes used.
    fn process(&mut self, side: Side, input: &[u8]) -> usize {
        let mut used = 0;
        while used < input.len() && self.ready(side) {
            let rest = &input[used..];
            match self.machine.look(&self.core.config.limits, side, rest) {
                Framed::Incomplete => break,
                Framed::Complete(len) => {
                    used += len;
                    self.core.more_follows = used < input.len();
                    self.machine.frame(&mut self.core, side, &rest[..len]);
                    if side == Side::Server
                        && !self.core.client.receive.is_empty()
                        && !self.core.tls_pending(side)
                        && self.ready(Side::Client)
                    {
                        // What the client has waiting has its turn before the server's next line, as it would have
                        // had that line come later.
                        break;
                    }
                }
                Framed::Literal {
                    end,
                    len,
                    synchronising,
                } => {
                    let so_far = &rest[..end];
                    if !self
                        .machine
                        .literal(&mut self.core, side, so_far, len, synchronising)
                    {
                        used += end;
                    }
                }
                Framed::Broken(broken) => {
                    self.broken(side, broken);
                    return input.len();
                }
            }
            if self.core.tls_pending(side) && used < input.len() {
                self.residue(side);
                return input.len();
            }
        }
        used
    }

    fn ready(&self, side: Side) -> bool {
        let core = &self.core;
        let open = side == Side::Client || core.server_link == ServerLink::Up;
        // A client that does not read its answers is not asked for more commands.
        let read = core.client.send.len() < core.config.limits.send_buffer;
        core.phase == Phase::Dialogue
            && open
            && read
            && !core.tls_pending(side)
            // Nothing that the server says may end up in the middle of the client's handshake.
            && !core.tls_pending(Side::Client)
            && self.machine.accepts(core, side)
    }

    /// Bytes behind a STARTTLS command or its answer: an attacker's, or a client that is not safe to serve.
    fn residue(&mut self, side: Side) {
        let text = match side {
            Side::Client => messages::CLIENT_DATA_BEFORE_TLS,
            Side::Server => messages::SERVER_DATA_BEFORE_TLS,
        };
        let reason = Reason::Protocol(side, text.into());
        match side {
            Side::Client => self.core.close(reason),
            Side::Server => self.upstream_unusable(text, reason),
        }
    }

    fn broken(&mut self, side: Side, broken: Broken) {
        let text = match (side, broken) {
            (Side::Client, Broken::TooLong) => messages::CLIENT_LINE_TOO_LONG,
            (Side::Client, Broken::BareNewline) => messages::CLIENT_BARE_NEWLINE,
            (Side::Server, Broken::TooLong) => messages::SERVER_LINE_TOO_LONG,
            (Side::Server, Broken::BareNewline) => messages::SERVER_BARE_NEWLINE,
        };
        let reason = match broken {
            Broken::TooLong => Reason::Limit(side, text.into()),
            Broken::BareNewline => Reason::Protocol(side, text.into()),
        };
        match side {
            Side::Client => self.farewell(Farewell::BadInput, text, reason),
            Side::Server => self.upstream_unusable(text, reason),
        }
    }

    fn server_eof(&mut self) {
        if self.core.server_link != ServerLink::Up {
            return;
        }
        let idle_after_refusal = self.core.refused_before && !self.machine.client_waits();
        self.core.server_gone();
        if self.core.waiting_for_credentials() {
            // A new connection is opened once there is a bearer to be sent over it.
        } else if self.core.attempt.is_some() {
            let text = messages::SERVER_CLOSED_DURING_LOGIN;
            self.refuse(&Refusal::Temporary(text.into()));
        } else if !idle_after_refusal {
            self.farewell(
                Farewell::Unavailable,
                messages::SERVER_CLOSED,
                Reason::ServerLeft,
            );
        }
    }

    /// The server cannot be reached or does not answer: a login is refused for now and may be tried again, anything
    /// else ends the session.
    fn server_failed(&mut self, why: &str, reason: Reason) {
        let why = redact::one_line(why);
        if self.core.attempt.is_some() {
            self.core.server_gone();
            self.refuse(&Refusal::Temporary(why));
        } else {
            self.farewell(Farewell::Unavailable, &why, reason);
        }
    }

    /// The server cannot be used at all: no second attempt in this session.
    fn upstream_unusable(&mut self, text: &str, reason: Reason) {
        unusable(&mut *self.machine, &mut self.core, text, reason);
    }

    fn refuse(&mut self, refusal: &Refusal) {
        refuse(&mut *self.machine, &mut self.core, refusal);
    }

    fn farewell(&mut self, farewell: Farewell, text: &str, reason: Reason) {
        self.machine.farewell(&mut self.core, farewell, text);
        self.core.close(reason);
    }
}
