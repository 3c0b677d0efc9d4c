//! Sockets that wait for mail clients.

use crate::session::{self, Context};
use async_io::{Async, Timer};
use proxy_runtime::{Census, ListenError, ListenerConfig, Place};
use smol::Executor;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use tracing::warn;

/// Opens the sockets of one listener.
pub(crate) async fn bind(config: &ListenerConfig) -> Result<Vec<TcpListener>, ListenError> {
    let place = match Place::of(&config.address) {
        Place::Name => resolve(config).await?,
        place => place,
    };
    proxy_runtime::bind(config, &place, config.port)
}

async fn resolve(config: &ListenerConfig) -> Result<Place, ListenError> {
    let resolved = smol::net::resolve((config.address.as_str(), config.port)).await;
    resolved
        .map(Place::resolved)
        .map_err(|source| ListenError::Resolve {
            heading: config.heading.clone(),
            address: config.address.clone(),
            source,
        })
}

/// The configuration that a listener's next client gets.
pub(crate) type Current = Arc<Mutex<Arc<ListenerConfig>>>;

/// Accepts for ever; what fails is logged and tried again.
pub(crate) async fn accept(
    listener: Async<TcpListener>,
    current: Current,
    context: Arc<Context>,
    census: Arc<Census>,
    executor: Weak<Executor<'static>>,
) {
    const SHORTEST: Duration = Duration::from_millis(20);
    const LONGEST: Duration = Duration::from_secs(1);
    let mut pause = SHORTEST;
    let mut turned_away = Rare::default();
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
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
                if pause == SHORTEST {
                    warn!(
                        "cannot accept a client: {error}: trying again; a higher limit on open files may help"
                    );
                }
                Timer::after(pause).await;
                pause = LONGEST.min(pause * 2);
                continue;
            }
        };
        pause = SHORTEST;
        let config = current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        // A dual-stack socket shows IPv4 clients as mapped addresses.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let admitted = census
            .admit(&config.heading, config.max_sessions)
            .and_then(|mut ticket| ticket.attribute(address.ip()).map(|()| ticket));
        let ticket = match admitted {
            Ok(ticket) => ticket,
            Err(full) => {
                if let Some(count) = turned_away.count() {
                    let server = &*config.heading;
                    warn!(server, %address, count, "client turned away: {full}");
                }
                continue;
            }
        };
        let Some(executor) = executor.upgrade() else {
            return;
        };
        executor
            .spawn(session::serve(
                context.clone(),
                config,
                tcp,
                address,
                ticket,
            ))
            .detach();
    }
}

/// Lets a message through at most every ten seconds, with the number of those since the last one.
#[derive(Default)]
struct Rare {
    count: usize,
    last: Option<Instant>,
}

impl Rare {
    fn count(&mut self) -> Option<usize> {
        self.count += 1;
        if self
            .last
            .is_some_and(|last| last.elapsed() < Duration::from_secs(10))
        {
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}
