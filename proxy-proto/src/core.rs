//! What every protocol's machine has at hand: both links, events, timers, and the login under way.

use crate::{
    Bearer, Event, LocalTls, Login, Misuse, Reason, RedactedLine, Rejection, RequestId,
    SessionConfig, Side, Time, Upstream, UpstreamTls,
    buffer::{ReceiveBuffer, SendBuffer},
    filter::{Chain, Failed, Opened},
    redact,
    timers::{Expired, Timers},
};
use std::{collections::VecDeque, sync::Arc};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The protocols are spoken here.
    Dialogue,
    /// The login has succeeded; held client bytes are framed once more.
    Settling,
    /// Bytes pass.
    Relay,
    /// The last bytes for the client are on their way.
    Closing,
    /// Over.
    Closed,
}

/// TLS on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Plaintext.
    Plain,
    /// The positive answer or command is being flushed; then the handshake begins.
    Flushing,
    /// The driver does the handshake.
    Handshake,
    /// Established.
    Secure,
}

/// The connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerLink {
    /// The driver is connecting.
    Connecting,
    /// Open.
    Up,
    /// Closed by the server; opened again when a bearer is there.
    Gone,
}

/// One side's connection.
pub(crate) struct Link {
    pub(crate) receive: ReceiveBuffer,
    pub(crate) send: SendBuffer,
    pub(crate) tls: Tls,
    /// The peer will send nothing more.
    pub(crate) eof: bool,
    /// `ShutdownWrite` has been told.
    shut: bool,
}

impl Link {
    fn new(tls: Tls) -> Self {
        Link {
            receive: ReceiveBuffer::default(),
            send: SendBuffer::default(),
            tls,
            eof: false,
            shut: false,
        }
    }
}

/// A login that the client has asked for and that has not been answered yet.
pub(crate) struct Attempt {
    pub(crate) login: Login,
    /// The open request for credentials.
    pub(crate) request: Option<RequestId>,
    /// The bearer to be sent.
    pub(crate) bearer: Option<Bearer>,
    /// The one more try has been made.
    pub(crate) retried: bool,
}

/// What a client may do before it has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientMay {
    /// A login is served.
    pub(crate) login: bool,
    /// STARTTLS (STLS) is served.
    pub(crate) starttls: bool,
}

pub(crate) struct Core {
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) phase: Phase,
    pub(crate) client: Link,
    pub(crate) server: Link,
    pub(crate) server_link: ServerLink,
    pub(crate) upstream: Option<Upstream>,
    pub(crate) attempt: Option<Attempt>,
    /// The bytes at hand go on behind the frame that is being taken.
    pub(crate) more_follows: bool,
    /// A login has been refused: from then on the server may close without ending the session.
    pub(crate) refused_before: bool,
    /// Held client bytes that are still to be framed once more after the login, once that has begun.
    pub(crate) unsettled: Option<usize>,
    pub(crate) timers: Timers,
    pub(crate) now: Time,
    events: VecDeque<Event>,
    errors: u32,
    next_request: u64,
    reason: Option<Reason>,
    relay_announced: bool,
    /// What the bytes of an open session pass, where the configuration has filters.
    pub(crate) chain: Option<Box<Chain>>,
    pub(crate) server_spoke_last: bool,
    /// When a drain must be over.
    pub(crate) drain_until: Option<Time>,
    pub(crate) shutting_down: bool,
}

impl Core {
    pub(crate) fn new(config: Arc<SessionConfig>, now: Time) -> Self {
        let client_tls = match config.local_tls {
            LocalTls::Implicit => Tls::Secure,
            _ => Tls::Plain,
        };
        let timers = Timers {
            before_login: Some(now + config.limits.before_login),
            server_answer: Some(now + config.limits.server_answer),
            ..Timers::default()
        };
        Core {
            config,
            phase: Phase::Dialogue,
            client: Link::new(client_tls),
            server: Link::new(Tls::Plain),
            server_link: ServerLink::Connecting,
            upstream: None,
            attempt: None,
            more_follows: false,
            refused_before: false,
            unsettled: None,
            timers,
            now,
            events: VecDeque::new(),
            errors: 0,
            next_request: 0,
            reason: None,
            relay_announced: false,
            chain: None,
            server_spoke_last: true,
            drain_until: None,
            shutting_down: false,
        }
    }

    pub(crate) fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    pub(crate) fn link(&self, side: Side) -> &Link {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(crate) fn link_mut(&mut self, side: Side) -> &mut Link {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    // ---- bytes out

    /// Queues lines for the client and shows them in the dialogue.
    pub(crate) fn tell_client(&mut self, bytes: &[u8]) {
        self.client.send.push(bytes);
        self.show(Side::Client, true, bytes);
    }

    /// Queues lines for the client that may repeat a secret of its own; `shown` stands for them in the dialogue.
    pub(crate) fn tell_client_as(&mut self, bytes: &[u8], shown: &[u8]) {
        self.client.send.push(bytes);
        self.show(Side::Client, true, shown);
    }

    /// Queues lines for the server and shows them in the dialogue. They must hold no secret.
    pub(crate) fn tell_server(&mut self, bytes: &[u8]) {
        self.server.send.push(bytes);
        self.show(Side::Server, true, bytes);
        self.await_server();
    }

    /// Queues a line that holds a bearer; `shown` stands for it in the dialogue.
    ///
    /// This is the one place where a bearer is queued, and it leaves only over TLS (behaviour §9.2).
    pub(crate) fn tell_bearer(
        &mut self,
        bytes: &[u8],
        shown: &[u8],
    ) -> Result<(), InsecureUpstream> {
        if self.server.tls != Tls::Secure
            && self.config.upstream_tls != UpstreamTls::DangerousPlaintextBearerInClear
        {
            return Err(InsecureUpstream);
        }
        self.server.send.push(bytes);
        self.show(Side::Server, true, shown);
        self.await_server();
        Ok(())
    }

    /// Shows bytes in the dialogue, a line each; they must hold no secret.
    pub(crate) fn show(&mut self, side: Side, sent: bool, bytes: &[u8]) {
        if self.config.dialogue {
            for line in redact::lines(bytes) {
                let text = redact::printable(line);
                self.events
                    .push_back(Event::Dialogue(RedactedLine { side, sent, text }));
            }
        }
    }

    /// Shows that the client has sent a response of a SASL exchange, or has cancelled it.
    pub(crate) fn show_response(&mut self, line: &[u8]) {
        let shown = if line == b"*" {
            line
        } else {
            redact::SECRET.as_bytes()
        };
        self.show(Side::Client, false, shown);
    }

    // ---- the login

    /// Opens the request for credentials of a new login.
    pub(crate) fn begin_login(&mut self, login: Login) {
        self.attempt = Some(Attempt {
            login,
            request: None,
            bearer: None,
            retried: false,
        });
        self.timers.before_login = None;
        self.request_credentials(None);
    }

    /// Asks once more, after the server has refused the bearer so; `false`: this login has had its one more try.
    pub(crate) fn try_again(&mut self, rejection: Rejection) -> bool {
        match &mut self.attempt {
            Some(attempt) if !attempt.retried => {
                attempt.retried = true;
                attempt.bearer = None;
                self.request_credentials(Some(rejection));
                true
            }
            _ => false,
        }
    }

    fn request_credentials(&mut self, after: Option<Rejection>) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        self.next_request += 1;
        let id = RequestId(self.next_request);
        attempt.request = Some(id);
        let login = attempt.login.clone();
        self.timers.server_answer = None;
        self.timers.consent = Some(self.now + self.config.limits.consent);
        self.timers.keepalive = Some(self.now + self.config.limits.keepalive);
        self.events
            .push_back(Event::NeedCredentials { id, login, after });
    }

    /// Takes the answer to the open request.
    pub(crate) fn take_request(&mut self, id: RequestId) -> Result<(), Misuse> {
        match &mut self.attempt {
            Some(attempt) if attempt.request == Some(id) => {
                attempt.request = None;
                self.timers.consent = None;
                self.timers.keepalive = None;
                Ok(())
            }
            _ => Err(Misuse::StaleRequest),
        }
    }

    /// The name of the login under way.
    pub(crate) fn login_name(&self) -> &str {
        self.attempt.as_ref().map_or("", |a| &*a.login.user)
    }

    /// Whether a request for credentials is open.
    pub(crate) fn waiting_for_credentials(&self) -> bool {
        self.attempt.as_ref().is_some_and(|a| a.request.is_some())
    }

    /// Tells the driver what the server said to the bearer.
    pub(crate) fn report_refusal(&mut self, line: &str) {
        if let Some(attempt) = &self.attempt {
            self.events.push_back(Event::Refused {
                login: attempt.login.user.clone(),
                text: redact::one_line(line),
            });
        }
    }

    /// The login is over, unsuccessfully.
    pub(crate) fn end_attempt(&mut self) {
        if let Some(id) = self.attempt.take().and_then(|a| a.request) {
            self.events.push_back(Event::Abandoned(id));
        }
        self.timers.consent = None;
        self.timers.keepalive = None;
        self.refused_before = true;
        self.timers.before_login = Some(self.now + self.config.limits.before_login);
    }

    /// The server has accepted the bearer: from here on nothing is spoken any more. What it has said before its `answer`,
    /// and that, goes to the client.
    pub(crate) fn accepted(&mut self, before: &[u8], answer: &[u8]) {
        self.show(Side::Client, true, answer);
        let mut opened = None;
        if let Some(attempt) = self.attempt.take() {
            let login = attempt.login.user;
            let user = attempt.bearer.map_or_else(|| login.clone(), |b| b.user);
            opened = Some(Opened {
                login: login.clone(),
                user: user.clone(),
            });
            self.events.push_back(Event::Authenticated { login, user });
        }
        self.timers = Timers {
            before_login: Some(self.now + self.config.limits.before_login),
            ..Timers::default()
        };
        self.phase = Phase::Settling;
        if let (Some(filters), Some(opened)) = (&self.config.filters, opened) {
            match filters.chain(&opened) {
                Ok(chain) => self.chain = Some(Box::new(chain)),
                Err(Failed(why)) => return self.close(Reason::Filter(why)),
            }
            self.filter(Chain::open);
        }
        for bytes in [before, answer] {
            if self.phase == Phase::Settling && !bytes.is_empty() {
                self.pass(Side::Client, bytes);
            }
        }
    }

    /// Counts a refused login or an unusable command; `true`: that was one too many.
    pub(crate) fn count_error(&mut self) -> bool {
        self.errors += 1;
        self.errors >= self.config.limits.errors
    }

    // ---- the server's connection

    /// The server owes an answer from now on.
    pub(crate) fn await_server(&mut self) {
        self.timers.server_answer = Some(self.now + self.config.limits.server_answer);
    }

    /// The server has answered.
    pub(crate) fn server_answered(&mut self) {
        self.timers.server_answer = None;
    }

    pub(crate) fn connected(&mut self, upstream: Upstream) {
        self.server = Link::new(if upstream.secure {
            Tls::Secure
        } else {
            Tls::Plain
        });
        self.upstream = Some(upstream);
        self.server_link = ServerLink::Up;
        self.await_server();
    }

    /// Asks the driver for a new connection.
    pub(crate) fn reconnect(&mut self) {
        self.server = Link::new(Tls::Plain);
        self.server_link = ServerLink::Connecting;
        self.events.push_back(Event::Reconnect);
        self.await_server();
    }

    /// The server has closed; a later login may open a new connection.
    pub(crate) fn server_gone(&mut self) {
        self.server = Link::new(Tls::Plain);
        self.server_link = ServerLink::Gone;
        self.timers.server_answer = None;
    }

    // ---- what is offered

    /// What the client may do now.
    pub(crate) fn client_may(&self) -> ClientMay {
        let plain = self.client.tls != Tls::Secure;
        match self.config.local_tls {
            LocalTls::StartTlsRequired => ClientMay {
                login: !plain,
                starttls: plain,
            },
            LocalTls::StartTlsOptional => ClientMay {
                login: true,
                starttls: plain,
            },
            LocalTls::None | LocalTls::Implicit => ClientMay {
                login: true,
                starttls: false,
            },
        }
    }

    /// Whether TLS with the server has to be started before anything else.
    pub(crate) fn starttls_wanted(&self) -> bool {
        self.config.upstream_tls == UpstreamTls::StartTls && self.server.tls == Tls::Plain
    }

    // ---- TLS

    /// From here on this side is not read; the handshake begins once everything queued for it is out.
    pub(crate) fn upgrade(&mut self, side: Side) {
        self.link_mut(side).tls = Tls::Flushing;
        if side == Side::Server {
            self.await_server();
        }
    }

    pub(crate) fn tls_pending(&self, side: Side) -> bool {
        matches!(self.link(side).tls, Tls::Flushing | Tls::Handshake)
    }

    pub(crate) fn tls_established(&mut self, side: Side) -> Result<(), Misuse> {
        let link = self.link_mut(side);
        if link.tls != Tls::Handshake {
            return Err(Misuse::NoUpgradePending);
        }
        link.tls = Tls::Secure;
        link.receive.clear();
        if side == Side::Server {
            self.server_answered();
        }
        Ok(())
    }

    // ---- the end

    /// Ends the session once what is queued for the client has gone out.
    pub(crate) fn close(&mut self, reason: Reason) {
        if matches!(self.phase, Phase::Closing | Phase::Closed) {
            return;
        }
        if let Some(id) = self.attempt.take().and_then(|a| a.request) {
            self.events.push_back(Event::Abandoned(id));
        }
        self.phase = Phase::Closing;
        self.reason = Some(reason);
        if self.client.tls == Tls::Handshake {
            // Plaintext in the middle of a handshake would be taken for TLS.
            self.client.send.clear();
        }
        self.client.receive.clear();
        self.server.receive.clear();
        self.timers = Timers {
            drain: Some(self.now + self.config.limits.drain),
            ..Timers::default()
        };
    }

    /// Ends the session at once: nobody is there to be told.
    pub(crate) fn abort(&mut self, reason: Reason) {
        self.close(reason);
        self.client.send.clear();
    }

    /// What follows from bytes having gone out: handshakes, `Relay`, half-closes, the end.
    pub(crate) fn settle(&mut self) {
        if self.phase == Phase::Dialogue {
            for side in [Side::Client, Side::Server] {
                let link = self.link_mut(side);
                if link.tls == Tls::Flushing && link.send.is_empty() {
                    link.tls = Tls::Handshake;
                    self.events.push_back(Event::UpgradeTls(side));
                }
            }
        }
        if self.phase == Phase::Relay {
            if !self.relay_announced
                && self.config.filters.is_none()
                && self.client.send.is_empty()
                && self.server.send.is_empty()
            {
                self.relay_announced = true;
                self.events.push_back(Event::Relay);
            }
            for from in [Side::Client, Side::Server] {
                let eof = self.link(from).eof;
                let to = self.link_mut(from.other());
                if eof && !to.shut && to.send.is_empty() {
                    to.shut = true;
                    self.events.push_back(Event::ShutdownWrite(from.other()));
                }
            }
            let drained = self.shutting_down && self.server.eof && self.client.send.is_empty();
            if (self.client.shut && self.server.shut) || drained {
                self.close(if self.shutting_down {
                    Reason::Shutdown
                } else {
                    Reason::Finished
                });
            }
        }
        if self.phase == Phase::Closing && self.client.send.is_empty() {
            self.phase = Phase::Closed;
            self.timers = Timers::default();
            let reason = self.reason.take().unwrap_or(Reason::Finished);
            self.events.push_back(Event::Closed(reason));
        }
    }

    // ---- the driver's questions

    pub(crate) fn read_budget(&self, from: Side) -> usize {
        let limits = &self.config.limits;
        let link = self.link(from);
        if link.eof || self.tls_pending(from) {
            return 0;
        }
        match self.phase {
            Phase::Settling | Phase::Relay if from == Side::Client && self.shutting_down => 0,
            Phase::Dialogue | Phase::Settling => match from {
                // More than the longest frame, so that a frame that is too long is noticed.
                Side::Client => {
                    let line = limits.imap_line + 2 * limits.imap_literal;
                    let room = limits.held.max(line).max(limits.line) + 1;
                    room.saturating_sub(link.receive.len())
                }
                Side::Server if self.server_link != ServerLink::Up => 0,
                Side::Server if self.client.send.len() >= limits.send_buffer => 0,
                Side::Server => {
                    let room = limits.held.max(limits.server_line) + 1;
                    room.saturating_sub(link.receive.len())
                }
            },
            Phase::Relay if !self.filters_ready(from) => 0,
            Phase::Relay => limits
                .send_buffer
                .saturating_sub(self.link(from.other()).send.len()),
            Phase::Closing | Phase::Closed => 0,
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Takes a timer that has run out.
    pub(crate) fn expired(&mut self) -> Option<Expired> {
        self.timers.expired(self.now, self.config.limits.keepalive)
    }
}

/// A bearer was about to leave over a connection that is not TLS.
#[derive(Debug)]
pub(crate) struct InsecureUpstream;
