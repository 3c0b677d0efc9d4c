//! A session from accept to the last byte: on a worker while there is something to do, parked while there is not.

use crate::{
    handshake::{self, Trouble},
    parking::Parking,
    pump::Pump,
    relay::{Relay, Turn},
    spans::{Lent, Spans},
    stream::Stream,
    wait::{Interest, Stop, Wait},
    workers::{Workers, caught},
};
use proxy_proto::{Authenticate, LocalTls, Reason, Side};
use proxy_runtime::{
    ListenerConfig, Options, Outcome, PARTING, PARTING_BYTES, Relayed, SessionRecord, Ticket,
    TurnedAway, identify,
    messages::{
        client as messages,
        session::{CLOSED, CUT_OFF},
    },
    trouble,
};
use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Instant,
};
use tracing::{debug, warn};

/// What sessions share.
pub(crate) struct Context {
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) options: Options,
    pub(crate) stop: Stop,
    pub(crate) spans: Spans,
    pub(crate) workers: Workers,
    pub(crate) parking: Parking,
}

/// How a session that was served by [`serve`](crate::serve) ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The login name, if a login succeeded.
    pub login: Option<Arc<str>>,
    /// Bytes from the client to the server after login.
    pub up: u64,
    /// Bytes from the server to the client after login.
    pub down: u64,
    /// One line for a log.
    pub why: String,
}

impl Ended {
    fn before_login(why: impl Into<String>) -> Self {
        Ended {
            login: None,
            up: 0,
            down: 0,
            why: why.into(),
        }
    }
}

/// Serves one client of a runtime. Never panics: a defect ends this session and is logged, the others do not notice.
pub(crate) fn run(
    context: Arc<Context>,
    config: Arc<ListenerConfig>,
    tcp: TcpStream,
    address: SocketAddr,
    mut ticket: Ticket,
    span: Lent,
) {
    let began = Instant::now();
    let come = span.in_scope(|| {
        caught(|| {
            let mut stream = Stream::new(tcp)?;
            let client = match &config.proxy_protocol {
                None => Some(address),
                Some(_) => named_client(&context, &config, &mut stream, address, &mut ticket),
            };
            let Some(client) = client else {
                return Ok(None);
            };
            span.record("client", tracing::field::display(client));
            debug!("{}", messages::OPENED);
            let record = ticket.begin(client);
            let come = up_to_relay(context, config, stream, client, record)?;
            Ok(match come {
                Come::Relay(relaying) => Some(relaying),
                Come::End(_) => None,
            })
        })
    });
    let last = Last {
        ticket,
        began,
        span,
    };
    match come {
        Some(Ok(Some(relaying))) => Parked::go_on(Box::new(Parked {
            relaying: *relaying,
            last,
        })),
        Some(Ok(None)) => last.say(Ok(())),
        Some(Err(error)) => last.say(Err(Some(error))),
        None => last.say(Err(None)),
    }
}

/// What is left to be done for a session when it is over.
struct Last {
    ticket: Ticket,
    began: Instant,
    span: Lent,
}

impl Last {
    /// An error without its cause is a defect.
    fn say(self, how: Result<(), Option<io::Error>>) {
        let Last {
            ticket,
            began,
            span,
        } = self;
        span.in_scope(|| {
            match how {
                Ok(()) => {}
                Err(Some(error)) => {
                    if ticket.record().is_none() {
                        ticket.turned_away(TurnedAway::NoResources);
                    }
                    warn!("{}", messages::cannot_be_served(trouble::plain(&error)));
                }
                Err(None) => {
                    if let Some(record) = ticket.record() {
                        record.defect();
                    }
                }
            }
            debug!(seconds = began.elapsed().as_secs(), "{}", CLOSED);
        });
        // Only now is the session counted as gone.
        drop(ticket);
    }
}

/// A session of a runtime that relays. While nothing moves it needs no thread, and this is all that is left of it.
pub(crate) struct Parked {
    relaying: Relaying,
    last: Last,
}

impl Parked {
    /// Relays on this thread, until the end or until it is parked.
    pub(crate) fn go_on(mut self: Box<Self>) {
        let mut may_park = true;
        loop {
            let Relaying { context, relay, .. } = &mut self.relaying;
            let context = context.clone();
            let run = || caught(|| relay.run(&context.stop, may_park));
            match self.last.span.in_scope(run) {
                Some(None) => match context.parking.park(self) {
                    Ok(()) => return,
                    Err(back) => self = back,
                },
                Some(Some(relayed)) => return self.end(Some(relayed)),
                None => return self.end(None),
            }
            // There was no room.
            may_park = false;
        }
    }

    /// Tries everything once; `None` at the end.
    pub(crate) fn turn(mut self) -> Option<(Self, Turn)> {
        let Relaying { context, relay, .. } = &mut self.relaying;
        let turn = || caught(|| relay.turn(&context.stop));
        match self.last.span.in_scope(turn) {
            Some(Turn::Over(relayed)) => self.end(Some(relayed)),
            Some(turn) => return Some((self, turn)),
            None => self.end(None),
        }
        None
    }

    pub(crate) fn relay(&self) -> &Relay {
        &self.relaying.relay
    }

    /// The client's and the server's.
    pub(crate) fn sockets(&self) -> [&TcpStream; 2] {
        self.relaying.relay.sockets()
    }

    /// `None`: by a defect.
    fn end(self, relayed: Option<Relayed>) {
        let Parked { relaying, last } = self;
        let end = || caught(|| relayed.map(|relayed| relaying.end(relayed)));
        let ended = last.span.in_scope(end).flatten();
        last.say(match ended {
            Some(_) => Ok(()),
            None => Err(None),
        });
    }
}

/// The client for which a balancer has connected, if it is to be served.
fn named_client(
    context: &Context,
    config: &ListenerConfig,
    stream: &mut Stream,
    balancer: SocketAddr,
    ticket: &mut Ticket,
) -> Option<SocketAddr> {
    let timeout = context.options.handshake_timeout;
    let origin = match handshake::read_header(stream, timeout, &context.stop) {
        Ok(origin) => origin,
        Err(Trouble::Failed(why)) => {
            ticket.turned_away(TurnedAway::NoHeader);
            warn!(%balancer, "{}", messages::balancer_turned_away(why));
            return None;
        }
        Err(Trouble::Stopped) => return None,
    };
    match identify(ticket, config, balancer, origin) {
        Ok(client) => {
            debug!(%balancer, "{}", messages::client_is(client));
            Some(client)
        }
        Err((client, why)) => {
            warn!(%balancer, %client, "{}", messages::client_turned_away(why));
            None
        }
    }
}

/// How far a session has come on the thread where it began.
pub(crate) enum Come {
    End(Ended),
    Relay(Box<Relaying>),
}

/// A session behind its login.
pub(crate) struct Relaying {
    context: Arc<Context>,
    relay: Relay,
    login: Arc<str>,
    open: Box<dyn Send + Sync>,
}

impl Relaying {
    /// Relays on this thread to the end, which is missing only where it cannot be.
    pub(crate) fn run(mut self) -> Ended {
        loop {
            if let Some(relayed) = self.relay.run(&self.context.stop, false) {
                return self.end(relayed);
            }
        }
    }

    /// Closes the connections and tells the authenticator.
    fn end(self, relayed: Relayed) -> Ended {
        drop(self.relay);
        drop(self.open);
        relayed.log(&self.login);
        Ended {
            login: Some(self.login),
            up: relayed.up,
            down: relayed.down,
            why: relayed.why.to_string(),
        }
    }
}

/// Serves one client whose connection has just been accepted until its relay begins, on this thread.
pub(crate) fn up_to_relay(
    context: Arc<Context>,
    config: Arc<ListenerConfig>,
    mut client: Stream,
    address: SocketAddr,
    record: Arc<SessionRecord>,
) -> io::Result<Come> {
    if let (LocalTls::Implicit, Some(local)) = (&config.session.local_tls, &config.local_tls) {
        let timeout = context.options.handshake_timeout;
        match handshake::with_client(&mut client, local.clone(), timeout, &context.stop) {
            Ok(()) => record.tls(Side::Client, true),
            Err(Trouble::Failed(why)) => {
                record.tls(Side::Client, false);
                let why = messages::tls_with_client_failed(why);
                warn!("{why}");
                return Ok(Come::End(Ended::before_login(why)));
            }
            Err(Trouble::Stopped) => {
                let why = Reason::Shutdown.to_string();
                return Ok(Come::End(Ended::before_login(why)));
            }
        }
    }

    let drain = config.session.limits.drain;
    let pump = Pump::new(context.clone(), config, address, record.clone(), client)?;
    Ok(match pump.run() {
        Outcome::Relay {
            client,
            server,
            login,
            open,
        } => Come::Relay(Box::new(Relaying {
            context,
            relay: Relay::new(client, server, record, drain),
            login,
            open,
        })),
        Outcome::Closed { reason, sides } => {
            part(sides);
            Come::End(Ended::before_login(reason.to_string()))
        }
        Outcome::TlsOnPlaintext(why) => Come::End(Ended::before_login(why)),
        Outcome::Cut => Come::End(Ended::before_login(CUT_OFF)),
    })
}

/// Sends the last bytes and ends the write halves; then waits for the peers' ends, because closing a socket with
/// unread bytes resets the connection and can take the farewell with it.
fn part(sides: [(Option<Stream>, Vec<u8>); 2]) {
    let mut leaving: Vec<Leaving> = sides
        .into_iter()
        .filter_map(|(stream, last)| Some(Leaving::new(stream?, last)))
        .collect();
    while !leaving.is_empty() {
        leaving.retain_mut(|one| one.go_on());
        let mut wait = Wait::default();
        for one in &leaving {
            wait.stream(&one.stream, one.interest());
            wait.until(one.deadline);
        }
        if !leaving.is_empty() {
            wait.wait();
        }
    }
}

struct Leaving {
    stream: Stream,
    last: Vec<u8>,
    sent: usize,
    closed: bool,
    ignored: usize,
    deadline: Instant,
}

impl Leaving {
    fn new(stream: Stream, last: Vec<u8>) -> Self {
        Leaving {
            stream,
            last,
            sent: 0,
            closed: false,
            ignored: 0,
            deadline: Instant::now() + PARTING,
        }
    }

    fn interest(&self) -> Interest {
        Interest {
            read: self.closed,
            write: !self.closed,
        }
    }

    /// `false` when the connection may be closed.
    fn go_on(&mut self) -> bool {
        match self.step() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Instant::now() < self.deadline
            }
            _ => false,
        }
    }

    /// Ends only with an error or with the peer's own end.
    fn step(&mut self) -> io::Result<()> {
        while self.sent < self.last.len() {
            self.sent += self.stream.write(&self.last[self.sent..])?;
        }
        if !self.closed {
            self.stream.close()?;
            self.closed = true;
            self.deadline = Instant::now() + PARTING;
        }
        let mut ignored = [0; 1024];
        loop {
            let count = self.stream.read(&mut ignored)?;
            self.ignored += count;
            let enough = self.ignored >= PARTING_BYTES || Instant::now() >= self.deadline;
            if count == 0 || enough {
                break;
            }
        }
        Ok(())
    }
}
