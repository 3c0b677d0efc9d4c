//! Listeners and sessions on an executor of their own.

use crate::{handshake::within, listen, session::Context, stop::Level, workers::Workers};
use async_io::Async;
use proxy_proto::Authenticate;
use proxy_runtime::{
    Acceptor, Bound, Census, Counts, Current, ListenError, ListenerConfig, Listeners, OpenSession,
    Options, Stopped,
};
use smol::Task;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZero,
    sync::Arc,
    thread,
    time::Duration,
};

/// Listeners, sessions and the threads that run them. Dropping it ends all of them at once;
/// [`shutdown`](Self::shutdown) does so gracefully.
pub struct Runtime {
    context: Arc<Context>,
    census: Arc<Census>,
    /// One change at a time.
    changing: smol::lock::Mutex<()>,
    listeners: Listeners<Tasks>,
}

impl Runtime {
    /// Starts the threads; there are no listeners yet.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(authenticate: Arc<dyn Authenticate>, options: Options) -> io::Result<Runtime> {
        let threads = match options.threads {
            0 => thread::available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        let workers = Workers::start(threads)?;
        let census = Census::new(options.max_sessions, options.max_sessions_per_address);
        let context = Context {
            authenticate,
            options,
            stop: Arc::default(),
        };
        let (context, census) = (Arc::new(context), Arc::new(census));
        let tasks = Tasks {
            context: context.clone(),
            census: census.clone(),
            workers,
        };
        Ok(Runtime {
            context,
            census,
            changing: smol::lock::Mutex::new(()),
            listeners: Listeners::new(tasks),
        })
    }

    /// Makes `listeners` the ones that are open: new ones are bound, missing ones closed, those with the same
    /// address and port stay bound (port 0: with the same address and heading) and take over the rest of the new
    /// configuration for later clients; host names among them are resolved again. Open sessions go on as they began. Ports given up are free when this returns.
    ///
    /// # Errors
    /// All listeners that cannot be opened; in that case nothing has changed.
    pub async fn apply(&self, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>> {
        let _changing = self.changing.lock().await;
        self.listeners.apply(listeners).await
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
    pub async fn shutdown(&self, deadline: Duration) -> Stopped {
        let _changing = self.changing.lock().await;
        self.listeners.close().await;
        self.context.stop.raise(Level::Draining);
        if within(deadline, self.census.emptied()).await.is_some() {
            return Stopped { cut_off: 0 };
        }
        let cut_off = self.census.sessions();
        self.context.stop.raise(Level::Cut);
        // They only have to be told; whatever blocks must not keep the program from ending.
        within(Duration::from_secs(1), self.census.emptied()).await;
        Stopped { cut_off }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.context.stop.raise(Level::Cut);
    }
}

/// One task for each listening socket, one for each session.
struct Tasks {
    context: Arc<Context>,
    census: Arc<Census>,
    workers: Workers,
}

impl Acceptor for Tasks {
    type Accepting = Task<()>;

    fn accept(&self, socket: TcpListener, current: Current) -> io::Result<Task<()>> {
        Ok(self.workers.spawn(listen::accept(
            Async::new(socket)?,
            current,
            self.context.clone(),
            self.census.clone(),
            self.workers.crew(),
        )))
    }

    async fn close(&self, accepting: Task<()>) {
        accepting.cancel().await;
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        smol::net::resolve((host, port)).await
    }

    fn warn(&self, text: &str) {
        tracing::warn!("{text}");
    }
}
