//! Until relay: sockets, handshakes, the clock and the authenticator on one side, the [`Session`] on the other.

use crate::{
    buffer, connect,
    handshake::{self, within},
    session::Context,
    stop::{Level, Watch},
    stream::Stream,
    timer::Timer,
};
use proxy_proto::{
    Bearer, BoxFuture, Event, LoginRequest, Reason, Refusal, RequestId, Session, Side, Time,
    Upstream, UpstreamTls,
};
use proxy_runtime::{ListenerConfig, SessionRecord, trouble};
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::{Duration, Instant},
};
use tracing::{debug, info};

/// Rounds of one wake-up before the other sessions get their turn. Each round moves at most one buffer per side.
const ROUNDS: usize = 16;

/// How the part of a session before relay ends. Streams are handed back as far as they are open.
pub(crate) enum Outcome {
    /// Bytes may go from stream to stream. The guard is what the authenticator wants to be told of the session's end.
    Relay {
        client: Stream,
        server: Stream,
        login: Arc<str>,
        open: Box<dyn Send + Sync>,
    },
    /// The session is over; what it still had to say is in `farewell`.
    Closed {
        reason: Reason,
        client: Option<Stream>,
        server: Option<Stream>,
        farewell: [Vec<u8>; 2],
    },
    /// A plaintext connection whose client speaks TLS.
    TlsOnPlaintext,
    /// The runtime ends at once.
    Cut,
}

/// Drives one session until its relay begins or it ends.
pub(crate) struct Pump {
    session: Session,
    context: Arc<Context>,
    config: Arc<ListenerConfig>,
    client_address: SocketAddr,
    record: Arc<SessionRecord>,
    epoch: Instant,
    client: Leg,
    server: Leg,
    login: Option<(RequestId, BoxFuture<Result<Bearer, Refusal>>)>,
    authenticated: Option<Arc<str>>,
    timer: Timer,
    armed: Option<Time>,
    watch: Watch,
    stopping: bool,
    /// Whether the client's first bytes have been seen, or TLS makes that needless.
    recognised: bool,
    ended: Option<End>,
}

enum End {
    Relay,
    Closed(Reason),
    TlsOnPlaintext,
    Cut,
}

/// One side's connection.
struct Leg {
    state: State,
    /// TLS may hold written bytes.
    unflushed: bool,
    /// `ShutdownWrite` was asked for and is not complete.
    closing: bool,
    /// Nothing more comes from there, and the session knows.
    ended: bool,
    /// Writing failed: what the session sends from now on goes nowhere.
    broken: bool,
}

enum State {
    Absent,
    Open(Stream),
    Connecting(BoxFuture<Result<Stream, String>>),
    Upgrading(BoxFuture<Result<Stream, String>>),
}

impl Leg {
    fn new(state: State) -> Self {
        Leg {
            state,
            unflushed: false,
            closing: false,
            ended: false,
            broken: false,
        }
    }

    fn into_stream(self) -> Option<Stream> {
        match self.state {
            State::Open(stream) => Some(stream),
            _ => None,
        }
    }
}

impl Pump {
    pub(crate) fn new(
        context: Arc<Context>,
        config: Arc<ListenerConfig>,
        client_address: SocketAddr,
        record: Arc<SessionRecord>,
        client: Stream,
        watch: Watch,
    ) -> Self {
        let session = Session::new(config.session.clone(), Duration::ZERO);
        let mut pump = Pump {
            session,
            context,
            config,
            client_address,
            record,
            epoch: Instant::now(),
            recognised: client.is_tls(),
            client: Leg::new(State::Open(client)),
            server: Leg::new(State::Absent),
            login: None,
            authenticated: None,
            timer: Timer::never(),
            armed: None,
            watch,
            stopping: false,
            ended: None,
        };
        pump.connect();
        pump
    }

    pub(crate) fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        for _ in 0..ROUNDS {
            let mut progress = self.poll_stop(cx);
            progress |= self.poll_timer(cx);
            progress |= self.poll_login(cx);
            for side in [Side::Client, Side::Server] {
                progress |= self.poll_future(side, cx);
                progress |= self.poll_send(side, cx);
            }
            progress |= self.poll_events();
            if self.ended.is_none() {
                progress |= self.poll_first_bytes(cx);
            }
            if self.ended.is_none() {
                // Both sides in every round, whatever is still to be written: two busy peers must not block each other.
                for side in [Side::Client, Side::Server] {
                    progress |= self.poll_receive(side, cx);
                }
                progress |= self.poll_events();
            }
            if let Some(end) = self.ended.take() {
                return Poll::Ready(self.finish(end));
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn now(&self) -> Time {
        self.epoch.elapsed()
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn connect(&mut self) {
        let config = self.config.clone();
        let timeout = self.context.options.connect_timeout;
        let handshake_timeout = self.context.options.handshake_timeout;
        let record = self.record.clone();
        self.server = Leg::new(State::Connecting(Box::pin(async move {
            let host = &config.upstream_host;
            let (port, seconds) = (config.upstream_port, timeout.as_secs());
            let late = || trouble::slow_connect(host, port, seconds);
            let began = Instant::now();
            let connected = within(timeout, connect::to_server(&config)).await;
            let connected = connected.unwrap_or_else(|| Err(late()));
            record.connected(connected.is_ok());
            let socket = connected?;
            if config.session.upstream_tls != UpstreamTls::Implicit {
                return Ok(Stream::Plain(socket));
            }
            let tls = config.upstream_tls.clone();
            let handshake = handshake::with_server(socket, tls, host, handshake_timeout);
            let left = timeout.saturating_sub(began.elapsed());
            let secured = within(left, handshake).await;
            let secured = secured.unwrap_or_else(|| Err(late()));
            record.tls(Side::Server, secured.is_ok());
            secured
        })));
    }

    fn poll_stop(&mut self, cx: &mut task::Context<'_>) -> bool {
        match self.watch.poll(cx) {
            Level::Draining if !self.stopping => {
                self.stopping = true;
                let now = self.now();
                self.session.shutdown(now);
                true
            }
            Level::Cut => {
                self.ended = Some(End::Cut);
                true
            }
            _ => false,
        }
    }

    fn poll_timer(&mut self, cx: &mut task::Context<'_>) -> bool {
        let due = self.session.poll_timeout();
        if due != self.armed {
            self.armed = due;
            match due {
                Some(due) => self.timer.set_at(self.epoch + due),
                None => self.timer.clear(),
            }
        }
        if due.is_none() || Pin::new(&mut self.timer).poll(cx).is_pending() {
            return false;
        }
        // A timer that has fired must be set again even when the time stays the same.
        self.armed = None;
        let now = self.now();
        self.session.handle_timeout(now);
        true
    }

    fn poll_login(&mut self, cx: &mut task::Context<'_>) -> bool {
        let Some((id, future)) = &mut self.login else {
            return false;
        };
        let Poll::Ready(answer) = future.as_mut().poll(cx) else {
            return false;
        };
        let id = *id;
        self.login = None;
        if let Err(refusal) = &answer {
            self.record.no_bearer(refusal);
        }
        let now = self.now();
        if let Err(misuse) = self.session.provide_credentials(id, answer, now) {
            debug!("the answer to a login came too late: {misuse}");
        }
        true
    }

    /// Connections and handshakes.
    fn poll_future(&mut self, side: Side, cx: &mut task::Context<'_>) -> bool {
        let leg = self.leg(side);
        let (connecting, future) = match &mut leg.state {
            State::Connecting(future) => (true, future),
            State::Upgrading(future) => (false, future),
            _ => return false,
        };
        let Poll::Ready(result) = future.as_mut().poll(cx) else {
            return false;
        };
        let failure = match result {
            Ok(stream) => {
                leg.state = State::Open(stream);
                None
            }
            Err(why) => {
                leg.state = State::Absent;
                Some(why)
            }
        };
        let now = self.now();
        match (connecting, failure) {
            (true, None) => {
                let secure = self.config.session.upstream_tls == UpstreamTls::Implicit;
                debug!(secure, "connected to the server");
                let upstream = Upstream {
                    host: self.config.upstream_host.clone(),
                    port: self.config.upstream_port,
                    secure,
                };
                self.session.connected(upstream, now);
            }
            (true, Some(why)) => {
                debug!("{why}");
                self.session.connect_failed(&why, now);
            }
            (false, None) => {
                debug!("TLS with the {side} is established");
                self.record.tls(side, true);
                if let Err(misuse) = self.session.tls_established(side, now) {
                    // Only a defect leads here; the connection is not to be used any further.
                    self.session.tls_failed(side, &misuse.to_string(), now);
                }
            }
            (false, Some(why)) => {
                debug!("TLS with the {side} failed: {why}");
                self.record.tls(side, false);
                self.session.tls_failed(side, &why, now);
            }
        }
        true
    }

    fn poll_send(&mut self, side: Side, cx: &mut task::Context<'_>) -> bool {
        let mut progress = false;
        loop {
            let leg = match side {
                Side::Client => &mut self.client,
                Side::Server => &mut self.server,
            };
            let bytes = self.session.transmit(side);
            let count = match &mut leg.state {
                _ if bytes.is_empty() => break,
                _ if leg.broken => bytes.len(),
                State::Open(stream) => match stream.poll_write(cx, bytes) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(count)) => {
                        leg.unflushed = true;
                        count
                    }
                    Poll::Ready(Err(error)) => {
                        debug!("writing to the {side} failed: {error}");
                        leg.broken = true;
                        bytes.len()
                    }
                },
                // Before a connection there is nothing to send; behind a failed one nobody to send it to.
                State::Absent => bytes.len(),
                State::Connecting(_) | State::Upgrading(_) => break,
            };
            self.session.advance(side, count);
            progress = true;
        }
        let now = self.now();
        let leg = self.leg(side);
        if leg.broken && !leg.ended {
            leg.ended = true;
            self.session.handle_eof(side, now);
            return true;
        }
        let State::Open(stream) = &mut leg.state else {
            return progress;
        };
        if leg.unflushed && stream.poll_flush(cx).is_ready() {
            leg.unflushed = false;
        }
        if leg.closing && stream.poll_close(cx).is_ready() {
            leg.closing = false;
        }
        progress
    }

    /// A client that speaks TLS to a plaintext port cannot be answered, only named. Looking does not take the bytes.
    fn poll_first_bytes(&mut self, cx: &mut task::Context<'_>) -> bool {
        let State::Open(Stream::Plain(socket)) = &self.client.state else {
            return false;
        };
        if self.recognised {
            return false;
        }
        let mut first = [0];
        match socket.poll_peek(cx, &mut first) {
            Poll::Pending => return false,
            Poll::Ready(Ok(1)) if trouble::begins_tls(first[0]) => {
                self.ended = Some(End::TlsOnPlaintext);
            }
            // The end and errors are found again when the socket is read.
            Poll::Ready(_) => {}
        }
        self.recognised = true;
        true
    }

    fn poll_receive(&mut self, side: Side, cx: &mut task::Context<'_>) -> bool {
        if side == Side::Client && !self.recognised {
            // Bytes that come between the look and this read must not slip past it.
            return false;
        }
        let budget = self.session.read_budget(side).min(buffer::SIZE);
        let leg = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        let State::Open(stream) = &mut leg.state else {
            return false;
        };
        if leg.ended || budget == 0 {
            return false;
        }
        let mut bytes = buffer::lend();
        let result = stream.poll_read(cx, &mut bytes[..budget]);
        let now = self.epoch.elapsed();
        match result {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) if count > 0 => {
                self.session.handle_input(side, &bytes[..count], now);
                // There may be a password in it, and the buffer is kept.
                bytes[..count].fill(0);
            }
            Poll::Ready(result) => {
                if let Err(error) = result {
                    debug!("reading from the {side} failed: {error}");
                }
                leg.ended = true;
                // A server that leaves before relay is answered in kind; a client may still wait for its answer.
                leg.closing = side == Side::Server;
                self.session.handle_eof(side, now);
            }
        }
        true
    }

    fn poll_events(&mut self) -> bool {
        let mut progress = false;
        while let Some(event) = self.session.poll_event() {
            progress = true;
            match event {
                Event::UpgradeTls(side) => self.upgrade(side),
                Event::Reconnect => {
                    debug!("connecting to the server anew");
                    self.connect();
                }
                Event::NeedCredentials { id, login, after } => {
                    debug!(user = &*login.user, "login");
                    let request = LoginRequest {
                        login,
                        protocol: self.config.session.protocol,
                        server: self.config.heading.clone(),
                        client: self.client_address,
                        after,
                    };
                    self.login = Some((id, self.context.authenticate.authenticate(request)));
                }
                Event::Abandoned(id) => {
                    if self.login.as_ref().is_some_and(|(open, _)| *open == id) {
                        self.login = None;
                        self.record.login_abandoned();
                    }
                }
                Event::Authenticated { login, user } => {
                    info!(login = &*login, user = &*user, "logged in");
                    self.record.login_accepted(&login);
                    self.authenticated = Some(login);
                }
                Event::Refused { login, text } => {
                    self.record.login_refused();
                    info!(login = &*login, "the mail server refused the login: {text}");
                    let protocol = self.config.session.protocol;
                    self.context.authenticate.refused(&login, protocol, &text);
                }
                Event::Dialogue(line) => debug!(target: "emailproxy::dialogue", "{line}"),
                Event::Relay => self.ended = Some(End::Relay),
                Event::ShutdownWrite(side) => {
                    self.leg(side).closing = true;
                }
                Event::Closed(reason) => self.ended = Some(End::Closed(reason)),
                other => debug!("not understood: {other:?}"),
            }
        }
        progress
    }

    fn upgrade(&mut self, side: Side) {
        let config = self.config.clone();
        let timeout = self.context.options.handshake_timeout;
        let leg = self.leg(side);
        let State::Open(Stream::Plain(socket)) = std::mem::replace(&mut leg.state, State::Absent)
        else {
            let now = self.now();
            self.session
                .tls_failed(side, "there is no plaintext connection to upgrade", now);
            return;
        };
        leg.unflushed = false;
        leg.state = State::Upgrading(match side {
            Side::Client => Box::pin(async move {
                match config.local_tls.clone() {
                    Some(local) => handshake::with_client(socket, local, timeout).await,
                    None => Err("there is no certificate for this listener".to_owned()),
                }
            }),
            Side::Server => Box::pin(async move {
                let host = config.upstream_host.clone();
                handshake::with_server(socket, config.upstream_tls.clone(), &host, timeout).await
            }),
        });
    }

    fn finish(&mut self, end: End) -> Outcome {
        let taken = |leg: &mut Leg| std::mem::replace(leg, Leg::new(State::Absent)).into_stream();
        let (client, server) = (taken(&mut self.client), taken(&mut self.server));
        match (end, client, server) {
            (End::Relay, Some(client), Some(server)) => {
                let login = self.authenticated.take().unwrap_or_else(|| Arc::from(""));
                let open = self.context.authenticate.session_opened(&login);
                Outcome::Relay {
                    client,
                    server,
                    login,
                    open,
                }
            }
            (End::Closed(reason), client, server) => {
                let farewell =
                    [Side::Client, Side::Server].map(|side| self.session.transmit(side).to_vec());
                Outcome::Closed {
                    reason,
                    client,
                    server,
                    farewell,
                }
            }
            (End::TlsOnPlaintext, ..) => Outcome::TlsOnPlaintext,
            // A relay needs both sides; without one of them there is nothing more to do.
            (End::Cut | End::Relay, ..) => Outcome::Cut,
        }
    }
}
