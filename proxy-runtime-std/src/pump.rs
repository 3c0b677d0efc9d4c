//! Until relay: sockets, handshakes, the clock and the authenticator on one side, the [`Session`] on the other.

use crate::{
    buffer,
    establish::{Connecting, Upgrade},
    session::Context,
    stream::Stream,
    wait::{Interest, Level, Wait, Wake},
};
use proxy_proto::{
    Bearer, BoxFuture, Event, LoginRequest, Reason, Refusal, RequestId, Session, Side, Time,
    Upstream, UpstreamTls,
};
use proxy_runtime::{ListenerConfig, SessionRecord, trouble};
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{self, Poll, Waker},
    time::{Duration, Instant},
};
use tracing::{debug, info};

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
    wake: Arc<Wake>,
    waker: Waker,
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
    Connecting(Connecting),
    Upgrading(Upgrade),
}

impl Leg {
    fn new(state: State) -> Self {
        Leg {
            state,
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
    ) -> io::Result<Self> {
        let wake = Wake::new()?;
        let mut pump = Pump {
            session: Session::new(config.session.clone(), Duration::ZERO),
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
            waker: Waker::from(wake.clone()),
            wake,
            stopping: false,
            ended: None,
        };
        pump.connect();
        Ok(pump)
    }

    pub(crate) fn run(mut self) -> Outcome {
        loop {
            let progress = self.turn();
            if let Some(end) = self.ended.take() {
                return self.finish(end);
            }
            if !progress {
                self.wait();
            }
        }
    }

    /// Tries everything once; whether anything moved.
    fn turn(&mut self) -> bool {
        let mut progress = self.hear_stop();
        progress |= self.look_at_the_clock();
        progress |= self.ask_for_the_login();
        for side in [Side::Client, Side::Server] {
            progress |= self.establish(side);
            progress |= self.send(side);
        }
        progress |= self.take_events();
        if self.ended.is_none() {
            progress |= self.look_at_first_bytes();
        }
        if self.ended.is_none() {
            // Both sides in every turn, whatever is still to be written: two busy peers must not block each other.
            for side in [Side::Client, Side::Server] {
                progress |= self.receive(side);
            }
            progress |= self.take_events();
        }
        progress
    }

    /// Blocks until one of the things that [`turn`](Self::turn) tries may succeed.
    fn wait(&self) {
        let mut wait = Wait::default();
        wait.readable(self.wake.source());
        let heard = match self.stopping {
            true => Level::Draining,
            false => Level::Running,
        };
        wait.readable(self.context.stop.beyond(heard));
        if let Some(due) = self.session.poll_timeout() {
            wait.until(self.epoch + due);
        }
        for (side, leg) in [(Side::Client, &self.client), (Side::Server, &self.server)] {
            match &leg.state {
                State::Open(stream) => wait.stream(stream, self.interest(side, leg, stream)),
                State::Upgrading(upgrade) => {
                    upgrade.add_to(&mut wait);
                }
                State::Absent | State::Connecting(_) => {}
            }
        }
        wait.wait();
    }

    fn interest(&self, side: Side, leg: &Leg, stream: &Stream) -> Interest {
        let unsent = !self.session.transmit(side).is_empty() || stream.unsent() || leg.closing;
        Interest {
            read: !leg.ended && self.session.read_budget(side) > 0,
            write: unsent && !leg.broken,
        }
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

    /// Lets another thread connect to the server.
    fn connect(&mut self) {
        let timeout = self.context.options.connect_timeout;
        let (config, record) = (self.config.clone(), self.record.clone());
        let connecting = Connecting::begin(config, record, timeout, self.wake.clone());
        self.server = Leg::new(State::Connecting(connecting));
    }

    fn hear_stop(&mut self) -> bool {
        match self.context.stop.level() {
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

    fn look_at_the_clock(&mut self) -> bool {
        let now = self.now();
        if self.session.poll_timeout().is_none_or(|due| due > now) {
            return false;
        }
        self.session.handle_timeout(now);
        true
    }

    /// The future is polled whenever anything woke this thread; that costs no more than to find out what it was.
    fn ask_for_the_login(&mut self) -> bool {
        self.wake.take();
        let Some((id, future)) = &mut self.login else {
            return false;
        };
        let mut cx = task::Context::from_waker(&self.waker);
        let Poll::Ready(answer) = future.as_mut().poll(&mut cx) else {
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
    fn establish(&mut self, side: Side) -> bool {
        let config = self.config.clone();
        let leg = self.leg(side);
        let (connecting, result) = match &mut leg.state {
            State::Connecting(connecting) => {
                let Some(result) = connecting.take_result() else {
                    return false;
                };
                (true, result)
            }
            State::Upgrading(upgrade) => match upgrade.go_on(side, &config) {
                None => return false,
                Some(Err(why)) => (false, Err(why)),
                Some(Ok(())) => match std::mem::replace(&mut leg.state, State::Absent) {
                    State::Upgrading(upgrade) => (false, Ok(upgrade.into_stream())),
                    _ => return false,
                },
            },
            _ => return false,
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

    fn send(&mut self, side: Side) -> bool {
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
                State::Open(stream) => match stream.write(bytes) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
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
        if let State::Open(stream) = &mut leg.state {
            let done = match leg.closing {
                true => stream.close(),
                false => stream.flush(),
            };
            if !matches!(&done, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                leg.closing = false;
                leg.broken |= done.is_err();
                progress |= done.is_err() && !leg.ended;
            }
        }
        progress
    }

    /// A client that speaks TLS to a plaintext port cannot be answered, only named. Looking does not take the bytes.
    fn look_at_first_bytes(&mut self) -> bool {
        let State::Open(stream) = &self.client.state else {
            return false;
        };
        if self.recognised {
            return false;
        }
        let mut first = [0];
        match stream.peek(&mut first) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(1) if trouble::begins_tls(first[0]) => self.ended = Some(End::TlsOnPlaintext),
            // The end and errors are found again when the socket is read.
            _ => {}
        }
        self.recognised = true;
        true
    }

    fn receive(&mut self, side: Side) -> bool {
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
        let result = stream.read(&mut bytes[..budget]);
        let now = self.epoch.elapsed();
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(count) if count > 0 => {
                self.session.handle_input(side, &bytes[..count], now);
                // There may be a password in it, and the buffer is kept.
                bytes[..count].fill(0);
            }
            result => {
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

    fn take_events(&mut self) -> bool {
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
                Event::ShutdownWrite(side) => self.leg(side).closing = true,
                Event::Closed(reason) => self.ended = Some(End::Closed(reason)),
                other => debug!("not understood: {other:?}"),
            }
        }
        progress
    }

    fn upgrade(&mut self, side: Side) {
        let deadline = Instant::now() + self.context.options.handshake_timeout;
        let leg = self.leg(side);
        match std::mem::replace(&mut leg.state, State::Absent) {
            State::Open(stream) if !stream.is_tls() => {
                leg.state = State::Upgrading(Upgrade::new(stream, deadline));
            }
            _ => {
                let now = self.now();
                let why = "there is no plaintext connection to upgrade";
                self.session.tls_failed(side, why, now);
            }
        }
    }

    fn finish(mut self, end: End) -> Outcome {
        let (client, server) = (self.client.into_stream(), self.server.into_stream());
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
