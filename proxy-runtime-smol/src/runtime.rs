//! Listeners and sessions on an executor of their own.

use crate::{
    handshake::within,
    listen::{self, Current},
    session::Context,
    stop::Level,
};
use async_io::Async;
use proxy_proto::Authenticate;
use proxy_runtime::{Bound, Census, ListenError, ListenerConfig, Options, Stopped};
use smol::{Executor, Task};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    thread,
    time::Duration,
};

/// Listeners, sessions and the threads that run them. Dropping it ends all of them at once;
/// [`shutdown`](Self::shutdown) does so gracefully.
pub struct Runtime {
    context: Arc<Context>,
    census: Arc<Census>,
    executor: Arc<Executor<'static>>,
    /// One change at a time.
    changing: smol::lock::Mutex<()>,
    open: Mutex<Vec<Open>>,
    /// The threads end when it is closed.
    running: async_channel::Sender<()>,
}

/// A listener whose sockets are open.
struct Open {
    current: Current,
    addresses: Vec<SocketAddr>,
    /// One for each socket; dropping them closes the sockets.
    accepting: Vec<Task<()>>,
}

impl Open {
    fn config(&self) -> Arc<ListenerConfig> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Completes when the sockets are closed.
    async fn close(self) {
        for task in self.accepting {
            task.cancel().await;
        }
    }
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
        let executor = Arc::new(Executor::new());
        let (running, ended) = async_channel::bounded::<()>(1);
        for number in 1..=threads {
            let executor = executor.clone();
            let ended = ended.clone();
            // Nothing is ever sent: receiving fails, and the thread ends, once the sender is gone.
            thread::Builder::new()
                .name(format!("sessions-{number}"))
                .spawn(move || {
                    let _ = async_io::block_on(executor.run(ended.recv()));
                })?;
        }
        let census = Census::new(options.max_sessions, options.max_sessions_per_address);
        let context = Context {
            authenticate,
            options,
            stop: Arc::default(),
            last_id: AtomicU64::new(0),
        };
        Ok(Runtime {
            context: Arc::new(context),
            census: Arc::new(census),
            executor,
            changing: smol::lock::Mutex::new(()),
            open: Mutex::default(),
            running,
        })
    }

    /// Makes `listeners` the ones that are open: new ones are bound, missing ones closed, those with the same
    /// address and port stay bound (port 0: with the same address and heading) and take over the rest of the new
    /// configuration for later clients. Open sessions go on as they began. Ports given up are free when this returns.
    ///
    /// # Errors
    /// All listeners that cannot be opened; in that case nothing has changed.
    pub async fn apply(&self, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>> {
        let errors = proxy_runtime::check(&listeners);
        if !errors.is_empty() {
            return Err(errors);
        }
        let _changing = self.changing.lock().await;
        let existing: Vec<Arc<ListenerConfig>> = self.open().iter().map(Open::config).collect();
        let (kept, fresh): (Vec<_>, Vec<_>) = listeners
            .iter()
            .partition(|new| existing.iter().any(|old| new.same_sockets(old)));
        let leaving = |old: &ListenerConfig| !kept.iter().any(|new| new.same_sockets(old));
        // A port may move from one address to another: its old sockets have to go before the new ones can be bound.
        let in_the_way = |old: &ListenerConfig| {
            leaving(old) && old.port != 0 && fresh.iter().any(|new| new.port == old.port)
        };
        let (moving, new): (Vec<&ListenerConfig>, Vec<&ListenerConfig>) =
            fresh.iter().partition(|new| {
                existing
                    .iter()
                    .any(|old| in_the_way(old) && old.port == new.port)
            });

        let mut bound = bind_each(new).await?;
        let displaced: Vec<Open> = {
            let mut open = self.open();
            let (displaced, rest) = std::mem::take(&mut *open)
                .into_iter()
                .partition(|one| in_the_way(&one.config()));
            *open = rest;
            displaced
        };
        let displaced_configs: Vec<_> = displaced.iter().map(Open::config).collect();
        for one in displaced {
            one.close().await;
        }
        match bind_each(moving).await {
            Ok(moved) => bound.extend(moved),
            Err(errors) => {
                for old in displaced_configs {
                    match listen::bind(&old).await {
                        Ok(sockets) => {
                            let reopened = self.accept_on(Arc::unwrap_or_clone(old), sockets);
                            self.open().extend(reopened);
                        }
                        Err(error) => tracing::error!("a listener is lost: {error}"),
                    }
                }
                return Err(errors);
            }
        }

        let leaving = self.replace(listeners, bound);
        for one in leaving {
            one.close().await;
        }
        Ok(())
    }

    /// Puts the listeners in their new order; returns those that are not among them any more.
    fn replace(
        &self,
        listeners: Vec<ListenerConfig>,
        mut bound: Vec<(ListenerConfig, Vec<TcpListener>)>,
    ) -> Vec<Open> {
        let mut open = self.open();
        let mut before = std::mem::take(&mut *open);
        for config in listeners {
            if let Some(index) = before
                .iter()
                .position(|old| config.same_sockets(&old.config()))
            {
                let stays = before.swap_remove(index);
                *stays.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                open.push(stays);
            } else if let Some(index) = bound.iter().position(|(new, _)| config.same_sockets(new)) {
                let (_, sockets) = bound.swap_remove(index);
                open.extend(self.accept_on(config, sockets));
            }
        }
        before
    }

    /// The open listeners, in the order of the last [`apply`](Self::apply).
    pub fn listeners(&self) -> Vec<Bound> {
        let bound = |open: &Open| Bound {
            heading: open.config().heading.clone(),
            addresses: open.addresses.clone(),
        };
        self.open().iter().map(bound).collect()
    }

    /// How many sessions are open now, those before login included.
    pub fn sessions(&self) -> usize {
        self.census.sessions()
    }

    /// Ends gracefully: listeners are closed; sessions before login get their protocol's farewell; relays are
    /// drained, with nothing injected. Sessions that are not done after `deadline` are cut off.
    pub async fn shutdown(&self, deadline: Duration) -> Stopped {
        let _changing = self.changing.lock().await;
        let open = std::mem::take(&mut *self.open());
        for one in open {
            one.close().await;
        }
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

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept_on(&self, config: ListenerConfig, sockets: Vec<TcpListener>) -> Option<Open> {
        let current: Current = Arc::new(Mutex::new(Arc::new(config)));
        let mut addresses = Vec::new();
        let mut accepting = Vec::new();
        for socket in sockets {
            let registered = socket
                .local_addr()
                .and_then(|address| Async::new(socket).map(|listener| (address, listener)));
            match registered {
                Ok((address, listener)) => {
                    addresses.push(address);
                    accepting.push(self.executor.spawn(listen::accept(
                        listener,
                        current.clone(),
                        self.context.clone(),
                        self.census.clone(),
                        Arc::downgrade(&self.executor),
                    )));
                }
                Err(error) => tracing::error!("a listening socket cannot be used: {error}"),
            }
        }
        (!addresses.is_empty()).then_some(Open {
            current,
            addresses,
            accepting,
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.context.stop.raise(Level::Cut);
        self.running.close();
    }
}

async fn bind_each(
    listeners: Vec<&ListenerConfig>,
) -> Result<Vec<(ListenerConfig, Vec<TcpListener>)>, Vec<ListenError>> {
    let mut bound = Vec::new();
    let mut errors = Vec::new();
    for config in listeners {
        match listen::bind(config).await {
            Ok(sockets) => bound.push((config.clone(), sockets)),
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(bound),
        false => Err(errors),
    }
}
