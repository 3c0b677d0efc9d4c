//! Until relay: sockets, handshakes and the clock on one side, the [`Driver`] with its session on the other.

use crate::{
    buffer::Lent,
    establish::{Connecting, Upgrade},
    session::Context,
    stream::Stream,
    wait::{Interest, Level, Wait, Wake},
};
use proxy_proto::Side;
use proxy_runtime::{
    BUFFER, Driver, End, ListenerConfig, Outcome, SessionRecord, Step, messages, trouble,
};
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{self, Waker},
    time::Instant,
};
use tracing::{Span, debug};

/// Drives one session until its relay begins or it ends.
pub(crate) struct Pump {
    driver: Driver,
    context: Arc<Context>,
    client: Leg,
    server: Leg,
    wake: Arc<Wake>,
    waker: Waker,
    /// Whether the client's first bytes have been seen, or TLS makes that needless.
    recognised: bool,
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
    ) -> io::Result<Self> {
        let wake = Wake::new()?;
        let authenticate = context.authenticate.clone();
        let mut pump = Pump {
            driver: Driver::new(authenticate, config, client_address, record),
            context,
            recognised: client.is_tls(),
            client: Leg::new(State::Open(client)),
            server: Leg::new(State::Absent),
            waker: Waker::from(wake.clone()),
            wake,
        };
        pump.connect();
        Ok(pump)
    }

    pub(crate) fn run(mut self) -> Outcome<Stream> {
        loop {
            let progress = self.turn();
            if self.driver.ended() {
                let [client, server] = [&mut self.client, &mut self.server].map(Leg::take_stream);
                return self.driver.finish(client, server);
            }
            if !progress {
                self.wait();
            }
        }
    }

    /// Tries everything once; whether anything moved.
    fn turn(&mut self) -> bool {
        let mut progress = self.hear_stop();
        progress |= self.driver.look_at_the_clock();
        progress |= self.ask_for_the_login();
        progress |= self.take_steps();
        for side in [Side::Client, Side::Server] {
            // Whoever announces the relay is the last one to move something: bytes that the session got behind it would be lost.
            if self.driver.ended() {
                return true;
            }
            progress |= self.establish(side);
            progress |= self.send(side);
            progress |= self.take_steps();
        }
        if !self.driver.ended() {
            progress |= self.look_at_first_bytes();
        }
        // Both sides in every turn, whatever is still to be written: two busy peers must not block each other.
        for side in [Side::Client, Side::Server] {
            if self.driver.ended() {
                return true;
            }
            progress |= self.receive(side);
            progress |= self.take_steps();
        }
        progress
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

    /// Blocks until one of the things that [`turn`](Self::turn) tries may succeed.
    fn wait(&self) {
        let mut wait = Wait::default();
        wait.readable(self.wake.source());
        let heard = match self.driver.is_stopping() {
            true => Level::Draining,
            false => Level::Running,
        };
        wait.readable(self.context.stop.beyond(heard));
        if let Some(due) = self.driver.due() {
            wait.until(due);
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
        let unsent = !self.driver.transmit(side).is_empty() || stream.unsent() || leg.closing;
        Interest {
            read: !leg.ended && self.driver.read_budget(side) > 0,
            write: unsent && !leg.broken,
        }
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
        let (config, record) = (self.driver.config().clone(), self.driver.record().clone());
        let span = self.context.spans.lend(Span::current());
        let (workers, wake) = (&self.context.workers, self.wake.clone());
        let connecting = Connecting::begin(workers, config, record, span, timeout, wake);
        self.server = Leg::new(State::Connecting(connecting));
    }

    fn hear_stop(&mut self) -> bool {
        match self.context.stop.level() {
            Level::Running => false,
            Level::Draining => self.driver.shut_down(),
            Level::Cut => {
                self.driver.end_with(End::Cut);
                true
            }
        }
    }

    /// The future is polled whenever anything woke this thread; that costs no more than to find out what it was.
    fn ask_for_the_login(&mut self) -> bool {
        self.wake.take();
        let mut cx = task::Context::from_waker(&self.waker);
        self.driver.poll_login(&mut cx)
    }

    /// Connections and handshakes.
    fn establish(&mut self, side: Side) -> bool {
        let config = self.driver.config().clone();
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

    fn send(&mut self, side: Side) -> bool {
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
                State::Open(stream) => match stream.write(bytes) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => {
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
            Ok(1) if trouble::begins_tls(first[0]) => self.driver.end_with(End::TlsOnPlaintext),
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
        let result = stream.read(&mut bytes[..budget]);
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(count) if count > 0 => {
                self.driver.input(side, &mut bytes[..count]);
            }
            result => {
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
        let deadline = Instant::now() + self.context.options.handshake_timeout;
        let leg = self.leg(side);
        match std::mem::replace(&mut leg.state, State::Absent) {
            State::Open(stream) if !stream.is_tls() => {
                leg.state = State::Upgrading(Upgrade::new(stream, deadline));
            }
            _ => {
                let why = messages::client::NOTHING_TO_UPGRADE;
                self.driver.upgraded(side, Err(why.to_owned()));
            }
        }
    }
}
