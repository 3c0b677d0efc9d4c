//! Until relay: sockets, handshakes and the clock on one side, the [`Driver`] with its session on the other.

use crate::{
    buffer::Lent,
    connect,
    handshake::{self, within},
    session::Context,
    stop::{Level, Watch},
    stream::Stream,
    timer::Timer,
};
use proxy_proto::{BoxFuture, Side, UpstreamTls};
use proxy_runtime::{
    BUFFER, Driver, End, ListenerConfig, Outcome, SessionRecord, Step, messages, trouble,
};
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Instant,
};
use tracing::debug;

/// Rounds of one wake-up before the other sessions get their turn. Each round moves at most one buffer per side.
const ROUNDS: usize = 16;

/// Drives one session until its relay begins or it ends.
pub(crate) struct Pump {
    driver: Driver,
    context: Arc<Context>,
    client: Leg,
    server: Leg,
    timer: Timer,
    armed: Option<Instant>,
    watch: Watch,
    /// Whether the client's first bytes have been seen, or TLS makes that needless.
    recognised: bool,
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

    fn take_stream(&mut self) -> Option<Stream> {
        match std::mem::replace(&mut self.state, State::Absent) {
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
        let authenticate = context.authenticate.clone();
        let mut pump = Pump {
            driver: Driver::new(authenticate, config, client_address, record),
            context,
            recognised: client.is_tls(),
            client: Leg::new(State::Open(client)),
            server: Leg::new(State::Absent),
            timer: Timer::never(),
            armed: None,
            watch,
        };
        pump.connect();
        pump
    }

    pub(crate) fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Outcome<Stream>> {
        for _ in 0..ROUNDS {
            let progress = self.round(cx);
            if self.driver.ended() {
                let [client, server] = [&mut self.client, &mut self.server].map(Leg::take_stream);
                return Poll::Ready(self.driver.finish(client, server));
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tries everything once; whether anything moved.
    fn round(&mut self, cx: &mut task::Context<'_>) -> bool {
        let mut progress = self.poll_stop(cx);
        progress |= self.poll_timer(cx);
        progress |= self.driver.poll_login(cx);
        progress |= self.take_steps();
        for side in [Side::Client, Side::Server] {
            // Whoever announces the relay is the last one to move something: bytes that the session got behind it would be lost.
            if self.driver.ended() {
                return true;
            }
            progress |= self.poll_future(side, cx);
            progress |= self.poll_send(side, cx);
            progress |= self.take_steps();
        }
        if !self.driver.ended() {
            progress |= self.poll_first_bytes(cx);
        }
        // Both sides in every round, whatever is still to be written: two busy peers must not block each other.
        for side in [Side::Client, Side::Server] {
            if self.driver.ended() {
                return true;
            }
            progress |= self.poll_receive(side, cx);
            progress |= self.take_steps();
        }
        progress
    }

    fn leg(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn take_steps(&mut self) -> bool {
        let mut progress = false;
        while let Some(step) = self.driver.next_step() {
            progress = true;
            match step {
                Step::Connect => self.connect(),
                Step::Upgrade(side) => self.upgrade(side),
                Step::EndWriting(side) => self.leg(side).closing = true,
                Step::Done => {}
            }
        }
        progress
    }

    fn connect(&mut self) {
        let config = self.driver.config().clone();
        let timeout = self.context.options.connect_timeout;
        let handshake_timeout = self.context.options.handshake_timeout;
        let record = self.driver.record().clone();
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
            let secured = match secured {
                Some(secured) => secured.map_err(|why| trouble::tls_failed(host, &why)),
                None => Err(late()),
            };
            record.tls(Side::Server, secured.is_ok());
            secured
        })));
    }

    fn poll_stop(&mut self, cx: &mut task::Context<'_>) -> bool {
        match self.watch.poll(cx) {
            Level::Running => false,
            Level::Draining => self.driver.shut_down(),
            Level::Cut => {
                self.driver.end_with(End::Cut);
                true
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut task::Context<'_>) -> bool {
        let due = self.driver.due();
        if due != self.armed {
            self.armed = due;
            match due {
                Some(due) => self.timer.set_at(due),
                None => self.timer.clear(),
            }
        }
        if due.is_none() || Pin::new(&mut self.timer).poll(cx).is_pending() {
            return false;
        }
        // A timer that has fired must be set again even when the time stays the same.
        self.armed = None;
        self.driver.look_at_the_clock()
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
        let (state, result) = match result {
            Ok(stream) => (State::Open(stream), Ok(())),
            Err(why) => (State::Absent, Err(why)),
        };
        leg.state = state;
        match connecting {
            true => self.driver.connected(result),
            false => self.driver.upgraded(side, result),
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
            let bytes = self.driver.transmit(side);
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
                        debug!(
                            "{}",
                            messages::session::writing_failed(side, trouble::plain(&error))
                        );
                        leg.broken = true;
                        bytes.len()
                    }
                },
                // Before a connection there is nothing to send; behind a failed one nobody to send it to.
                State::Absent => bytes.len(),
                State::Connecting(_) | State::Upgrading(_) => break,
            };
            self.driver.advance(side, count);
            progress = true;
        }
        let leg = self.leg(side);
        if leg.broken && !leg.ended {
            leg.ended = true;
            self.driver.ended_reading(side);
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
                self.driver.end_with(End::TlsOnPlaintext);
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
        let budget = self.driver.read_budget(side).min(BUFFER);
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
        let mut bytes = Lent::lend();
        let result = stream.poll_read(cx, &mut bytes[..budget]);
        match result {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) if count > 0 => {
                self.driver.input(side, &mut bytes[..count]);
            }
            Poll::Ready(result) => {
                if let Err(error) = result {
                    debug!(
                        "{}",
                        messages::session::reading_failed(side, trouble::plain(&error))
                    );
                }
                leg.ended = true;
                // A server that leaves before relay is answered in kind; a client may still wait for its answer.
                leg.closing = side == Side::Server;
                self.driver.ended_reading(side);
            }
        }
        true
    }

    fn upgrade(&mut self, side: Side) {
        let config = self.driver.config().clone();
        let timeout = self.context.options.handshake_timeout;
        let leg = self.leg(side);
        let State::Open(Stream::Plain(socket)) = std::mem::replace(&mut leg.state, State::Absent)
        else {
            let why = messages::client::NOTHING_TO_UPGRADE;
            self.driver.upgraded(side, Err(why.to_owned()));
            return;
        };
        leg.unflushed = false;
        leg.state = State::Upgrading(match side {
            Side::Client => Box::pin(async move {
                match config.local_tls.clone() {
                    Some(local) => handshake::with_client(socket, local, timeout).await,
                    None => Err(messages::client::NO_CERTIFICATE.to_owned()),
                }
            }),
            Side::Server => Box::pin(async move {
                let host = config.upstream_host.clone();
                handshake::with_server(socket, config.upstream_tls.clone(), &host, timeout).await
            }),
        });
    }
}
