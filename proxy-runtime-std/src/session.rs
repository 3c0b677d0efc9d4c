//! One thread per session: from accept to the last byte.

use crate::{
    handshake::{self, Trouble},
    pump::Pump,
    relay::relay,
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
    sync::Arc,
    time::Instant,
};
use tracing::{debug, error, error_span, warn};

/// A session's stack. The authenticator's future runs on it too.
pub(crate) const STACK: usize = 1024 * 1024;

/// What sessions share.
pub(crate) struct Context {
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) options: Options,
    pub(crate) stop: Stop,
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
) {
    let id = ticket.id();
    let client = tracing::field::Empty;
    let span = error_span!("session", id, server = &*config.heading, client);
    let _entered = span.enter();
    let began = Instant::now();
    let whole = AssertUnwindSafe(|| {
        let mut stream = Stream::new(tcp)?;
        let client = match &config.proxy_protocol {
            None => Some(address),
            Some(_) => named_client(&context, &config, &mut stream, address, &mut ticket),
        };
        let Some(client) = client else {
            return Ok(());
        };
        span.record("client", tracing::field::display(client));
        debug!("opened");
        let record = ticket.begin(client);
        session(context, config, stream, client, &record).map(drop)
    });
    match catch_unwind(whole) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            if ticket.record().is_none() {
                ticket.turned_away(TurnedAway::NoResources);
            }
            warn!(
                "cannot be served: {}: a higher limit on open files may help",
                trouble::plain(&error)
            );
        }
        Err(panic) => {
            error!(
                "ended by a defect of the proxy, please report it: {}",
                text_of(&*panic)
            );
            if let Some(record) = ticket.record() {
                record.defect();
            }
        }
    }
    debug!(seconds = began.elapsed().as_secs(), "closed");
    // Only now is the session counted as gone.
    drop(ticket);
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

/// Serves one client whose connection has just been accepted, on this thread.
pub(crate) fn session(
    context: Arc<Context>,
    config: Arc<ListenerConfig>,
    mut client: Stream,
    address: SocketAddr,
    record: &Arc<SessionRecord>,
) -> io::Result<Ended> {
    if let (LocalTls::Implicit, Some(local)) = (&config.session.local_tls, &config.local_tls) {
        let timeout = context.options.handshake_timeout;
        match handshake::with_client(&mut client, local.clone(), timeout, &context.stop) {
            Ok(()) => record.tls(Side::Client, true),
            Err(Trouble::Failed(why)) => {
                record.tls(Side::Client, false);
                warn!("TLS with the client failed: {why}");
                return Ok(Ended::before_login(format!(
                    "TLS with the client failed: {why}"
                )));
            }
            Err(Trouble::Stopped) => {
                return Ok(Ended::before_login(Reason::Shutdown.to_string()));
            }
        }
    }

    let drain = config.session.limits.drain;
    let outcome = Pump::new(context.clone(), config, address, record.clone(), client)?.run();

    Ok(match outcome {
        Outcome::Relay {
            client,
            server,
            login,
            open,
        } => {
            let relayed = relay(client, server, &context.stop, drain, record);
            drop(open);
            relayed.log(&login);
            Ended {
                login: Some(login),
                up: relayed.up,
                down: relayed.down,
                why: relayed.why.to_string(),
            }
        }
        Outcome::Closed { reason, sides } => {
            part(sides);
            Ended::before_login(reason.to_string())
        }
        Outcome::TlsOnPlaintext(why) => Ended::before_login(why),
        Outcome::Cut => Ended::before_login("cut off"),
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
