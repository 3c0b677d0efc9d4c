//! One thread per session: from accept to the last byte.

use crate::{
    handshake::{self, Trouble},
    pump::Pump,
    relay::relay,
    spans::{Lent, Spans},
    stream::Stream,
    wait::{Interest, Stop, Wait},
};
use proxy_proto::{Authenticate, LocalTls, Reason, Side};
use proxy_runtime::{
    ListenerConfig, Options, Outcome, PARTING, PARTING_BYTES, SessionRecord, Ticket, TurnedAway,
    identify, trouble,
};
use std::{
    any::Any,
    io,
    net::{SocketAddr, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tracing::{debug, error, warn};

/// A session's stack. The authenticator's future runs on it too.
pub(crate) const STACK: usize = 1024 * 1024;

/// The stack of a relay. Less than a quarter of the other one: glibc gives a new thread the stack of an ended one if that is up to
/// four times as large as it needs to be, and leaves 16 KiB in it that were touched.
const RELAY_STACK: usize = 192 * 1024;

/// What sessions share.
pub(crate) struct Context {
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) options: Options,
    pub(crate) stop: Stop,
    pub(crate) spans: Spans,
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
            debug!("opened");
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
        Some(Ok(Some(relaying))) => hand_over(relaying, last),
        Some(Ok(None)) => last.say(Ok(())),
        Some(Err(error)) => last.say(Err(Some(error))),
        None => last.say(Err(None)),
    }
}

/// `None`: it has panicked, which is logged.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(panic) => {
            error!(
                "ended by a defect of the proxy, please report it: {}",
                text_of(&*panic)
            );
            None
        }
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
                    warn!(
                        "cannot be served: {}: a higher limit on open files may help",
                        trouble::plain(&error)
                    );
                }
                Err(None) => {
                    if let Some(record) = ticket.record() {
                        record.defect();
                    }
                }
            }
            debug!(seconds = began.elapsed().as_secs(), "closed");
        });
        // Only now is the session counted as gone.
        drop(ticket);
    }
}

/// Relays on a thread whose stack no login has touched: touched stacks would be most of what idle sessions hold. Where there
/// is no thread to be had, this one goes on.
fn hand_over(relaying: Relaying, last: Last) {
    let slot = Arc::new(Mutex::new(Some((relaying, last))));
    let theirs = slot.clone();
    let begun = thread::Builder::new()
        .name("relay".to_owned())
        .stack_size(RELAY_STACK)
        .spawn(move || relay_handed_over(&theirs));
    if begun.is_err() {
        relay_handed_over(&slot);
    }
}

fn relay_handed_over(slot: &Mutex<Option<(Relaying, Last)>>) {
    let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((relaying, last)) = taken else {
        return;
    };
    let ended = last.span.in_scope(|| caught(|| relaying.run()));
    last.say(match ended {
        Some(_) => Ok(()),
        None => Err(None),
    });
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
            warn!(%balancer, "turned away: {why}");
            return None;
        }
        Err(Trouble::Stopped) => return None,
    };
    match identify(ticket, config, balancer, origin) {
        Ok(client) => {
            debug!(%balancer, "the client is {client}");
            Some(client)
        }
        Err((client, why)) => {
            warn!(%balancer, %client, "client turned away: {why}");
            None
        }
    }
}

/// How far a session has come on the thread where it began.
pub(crate) enum Come {
    End(Ended),
    Relay(Relaying),
}

/// A session whose relay is to begin.
pub(crate) struct Relaying {
    context: Arc<Context>,
    record: Arc<SessionRecord>,
    client: Stream,
    server: Stream,
    login: Arc<str>,
    open: Box<dyn Send + Sync>,
    drain: Duration,
}

impl Relaying {
    /// Relays, on this thread.
    pub(crate) fn run(self) -> Ended {
        let stop = &self.context.stop;
        let relayed = relay(self.client, self.server, stop, self.drain, &self.record);
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
                let why = format!("TLS with the client failed: {why}");
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
        } => Come::Relay(Relaying {
            context,
            record,
            client,
            server,
            login,
            open,
            drain,
        }),
        Outcome::Closed { reason, sides } => {
            part(sides);
            Come::End(Ended::before_login(reason.to_string()))
        }
        Outcome::TlsOnPlaintext(why) => Come::End(Ended::before_login(why)),
        Outcome::Cut => Come::End(Ended::before_login("cut off")),
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

fn text_of(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no text",
    }
}
