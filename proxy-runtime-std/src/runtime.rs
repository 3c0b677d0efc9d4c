//! Listeners, and what is started and ended with a runtime.

use crate::{
    parking::{Parking, attend},
    session::{self, Come, Context, Ended},
    spans::Spans,
    stream::Stream,
    wait::{Heard, Level, Stop, Teller, Wait, told_once},
    workers::{STACK, Workers},
};
use futures_lite::future::block_on;
use proxy_proto::Authenticate;
use proxy_runtime::{
    Acceptor, Backoff, Bound, Census, Counts, Current, ListenError, ListenerConfig, Listeners,
    OpenSession, Options, Rare, SessionRecord, Stopped, TurnedAway, admit,
    messages::client as messages, trouble::plain,
};
use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tracing::{error_span, warn};

/// Listeners and sessions. Dropping it ends all of them at once; [`shutdown`](Self::shutdown) does so gracefully.
///
/// Its methods block; [`apply`](Self::apply) as long as a host name is resolved, [`shutdown`](Self::shutdown) up to its
/// deadline.
pub struct Runtime {
    context: Arc<Context>,
    census: Arc<Census>,
    /// One change at a time.
    changing: Mutex<()>,
    listeners: Listeners<Threads>,
}

impl Runtime {
    /// There are no listeners yet. [`Options::threads`] has no meaning here.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn start(authenticate: Arc<dyn Authenticate>, options: Options) -> io::Result<Runtime> {
        let census = Census::new(options.max_sessions, options.max_sessions_per_address);
        let census = Arc::new(census);
        let context = Arc::new(Context {
            authenticate,
            options,
            stop: Stop::new()?,
            spans: Spans::start()?,
            workers: Workers::default(),
            parking: Parking::open()?,
        });
        let attended = context.clone();
        thread::Builder::new()
            .name("parking".to_owned())
            .stack_size(STACK)
            .spawn(move || attend(&attended))?;
        let threads = Threads {
            context: context.clone(),
            census: census.clone(),
        };
        Ok(Runtime {
            context,
            census,
            changing: Mutex::new(()),
            listeners: Listeners::new(threads),
        })
    }

    /// Makes `listeners` the ones that are open: new ones are bound, missing ones closed, those with the same
    /// address and port stay bound (port 0: with the same address and heading) and take over the rest of the new
    /// configuration for later clients; host names among them are resolved again. Open sessions go on as they began.
    /// Ports given up are free when this returns.
    ///
    /// # Errors
    /// All listeners that cannot be opened; in that case nothing has changed.
    pub fn apply(&self, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        block_on(self.listeners.apply(listeners))
    }

    /// Other limits on sessions ([`Options::max_sessions`], [`Options::max_sessions_per_address`]) for later clients.
    pub fn limit(&self, max_sessions: Option<usize>, max_sessions_per_address: Option<usize>) {
        self.census.limit(max_sessions, max_sessions_per_address);
    }

    /// The open listeners, in the order of the last [`apply`](Self::apply).
    pub fn listeners(&self) -> Vec<Bound> {
        self.listeners.bound()
    }

    /// How many sessions are open now, those before login included.
    pub fn sessions(&self) -> usize {
        self.census.sessions()
    }

    /// What each listener has done since the runtime started, by heading: the open ones first, in the order of
    /// [`listeners`](Self::listeners), then those that are closed. Costs a look at every open session.
    pub fn counters(&self) -> Vec<(Arc<str>, Counts)> {
        self.census.counters(&self.listeners.headings())
    }

    /// The sessions that are open, the oldest first. Connections of balancers that have not said yet for whom they stand
    /// are not among them.
    pub fn open_sessions(&self) -> Vec<OpenSession> {
        self.census.open_sessions()
    }

    /// Ends gracefully: listeners are closed; sessions before login get their protocol's farewell; relays are
    /// drained, with nothing injected. Sessions that are not done after `deadline` are cut off.
    pub fn shutdown(&self, deadline: Duration) -> Stopped {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        block_on(self.listeners.close());
        self.context.stop.raise(Level::Draining);
        self.context.workers.close();
        if self.census.emptied_by(Instant::now() + deadline) {
            return Stopped { cut_off: 0 };
        }
        let cut_off = self.census.sessions();
        self.context.stop.raise(Level::Cut);
        // They only have to be told; whatever blocks must not keep the program from ending.
        self.census
            .emptied_by(Instant::now() + Duration::from_secs(1));
        Stopped { cut_off }
    }
}

#[cfg(test)]
impl Runtime {
    /// How many sessions have no thread now.
    pub(crate) fn parked(&self) -> usize {
        self.context.parking.count()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.context.stop.raise(Level::Cut);
        self.context.workers.close();
        block_on(self.listeners.close());
    }
}

/// Serves one client, whose connection the caller has accepted, on the caller's thread, to its end. Limits on sessions,
/// `allow_from` and `proxy_protocol` are the caller's own matter. What happens is logged as in a [`Runtime`].
///
/// # Errors
/// When the session cannot even begin: the connection is gone already, or the process has no file descriptors left.
pub fn serve(
    client: TcpStream,
    config: impl Into<Arc<ListenerConfig>>,
    authenticate: Arc<dyn Authenticate>,
    options: &Options,
) -> io::Result<Ended> {
    let address = client.peer_addr()?;
    let context = Context {
        authenticate,
        options: options.clone(),
        stop: Stop::new()?,
        spans: Spans::anywhere(),
        workers: Workers::not_kept(),
        parking: Parking::default(),
    };
    let config = config.into();
    let record = SessionRecord::alone(&config.heading, address);
    let client = Stream::new(client)?;
    let come = session::up_to_relay(Arc::new(context), config, client, address, record)?;
    Ok(match come {
        Come::End(ended) => ended,
        Come::Relay(relaying) => relaying.run(),
    })
}

/// One thread for each listening socket; a worker for each session that has something to do.
struct Threads {
    context: Arc<Context>,
    census: Arc<Census>,
}

struct Accepting {
    thread: thread::JoinHandle<()>,
    end: Teller,
}

impl Acceptor for Threads {
    type Accepting = Accepting;

    fn accept(&self, socket: TcpListener, current: Current) -> io::Result<Accepting> {
        socket.set_nonblocking(true)?;
        let (end, ended) = told_once()?;
        let (context, census) = (self.context.clone(), self.census.clone());
        let thread = thread::Builder::new()
            .name("accept".to_owned())
            .stack_size(STACK)
            .spawn(move || accept(&socket, &current, &context, &census, &ended))?;
        Ok(Accepting { thread, end })
    }

    async fn close(&self, mut accepting: Accepting) {
        accepting.end.tell();
        // A panic in there would be a defect; the socket is closed all the same.
        let _ = accepting.thread.join();
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }

    fn warn(&self, text: &str) {
        warn!("{text}");
    }
}

/// Accepts until it is told to end; what fails is logged and tried again.
fn accept(
    socket: &TcpListener,
    current: &Current,
    context: &Arc<Context>,
    census: &Arc<Census>,
    ended: &Heard,
) {
    let mut backoff = Backoff::default();
    let mut turned_away = Rare::default();
    while !ended.is_told() {
        let (tcp, address) = match socket.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wait = Wait::default();
                wait.readable(socket);
                wait.readable(ended.source());
                wait.wait();
                continue;
            }
            // The client was gone again before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            // Out of file descriptors or memory: sessions that end make room.
            Err(error) => {
                if !backoff.failing() {
                    warn!("{}", messages::cannot_accept(plain(&error)));
                }
                pause(&mut backoff, ended);
                continue;
            }
        };
        backoff.reset();
        let config = current.get();
        // A dual-stack socket shows IPv4 clients as mapped addresses.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let ticket = match admit(census, &config, address) {
            Ok(ticket) => ticket,
            Err(why) => {
                if let Some(count) = turned_away.count() {
                    let server = &*config.heading;
                    warn!(server, %address, count, "{}", messages::client_turned_away(why));
                }
                continue;
            }
        };
        let (id, server) = (ticket.id(), &*config.heading);
        let span = error_span!("session", id, server, client = tracing::field::Empty);
        let span = context.spans.lend(span);
        let heading = config.heading.clone();
        let client = (context.clone(), config, tcp, address, ticket, span);
        let given =
            context
                .workers
                .give(client, |(context, config, tcp, address, ticket, span)| {
                    session::run(context, config, tcp, address, ticket, span);
                });
        // Without a thread the client is let go.
        if let Err((_, error)) = given {
            census.turned_away(&heading, TurnedAway::NoResources);
            if !backoff.failing() {
                let (server, why) = (&*heading, messages::no_thread(plain(&error)));
                warn!(server, %address, "{}", messages::client_turned_away(why));
            }
            pause(&mut backoff, ended);
        }
    }
}

fn pause(backoff: &mut Backoff, ended: &Heard) {
    let mut wait = Wait::default();
    wait.readable(ended.source());
    wait.until(Instant::now() + backoff.pause());
    wait.wait();
}
