//! Listens, and hands requests to the desk. Connections are few, short and bounded in number, size and time.

use super::{address::ConsoleAddress, answer::Desk, door::Door, host::Hosts, house::House, token};
use crate::messages::{common, console as texts};
use async_io::{Async, Timer};
use futures_lite::FutureExt;
use hyper::{server::conn::http1, service::service_fn};
use proxy_proto::Secret;
use smol::{Task, lock::Semaphore};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::{debug, info, warn};

/// Connections served at once; further ones are closed.
const CONNECTIONS: usize = 64;
/// Longest wait for a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Longest request head in octets.
const HEAD_SIZE: usize = 16 * 1024;
/// Longest life of a connection: a form with a pasted address waits for the token.
const CONNECTION: Duration = Duration::from_secs(180);

/// The console's listener; dropping it closes it.
pub(super) struct Server {
    house: Arc<dyn House>,
    token_file: PathBuf,
    connections: Arc<Semaphore>,
    open: Mutex<Option<Open>>,
}

struct Open {
    wanted: ConsoleAddress,
    bound: Vec<SocketAddr>,
    _accepting: Vec<Task<()>>,
    _attendance: Box<dyn Send + Sync>,
}

impl Server {
    /// One that is closed still. Its token is kept in `token_file`.
    pub(super) fn new(house: Arc<dyn House>, token_file: PathBuf) -> Self {
        Server {
            house,
            token_file,
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            open: Mutex::default(),
        }
    }

    /// Listens there from now on, or no longer; gives the link that opens it where it has been opened anew. What listens there
    /// already goes on.
    ///
    /// # Errors
    ///
    /// When it cannot: one line that says what to do. Then nothing has changed.
    pub(super) async fn listen(
        &self,
        wanted: Option<&ConsoleAddress>,
    ) -> Result<Option<Secret>, String> {
        let Some(wanted) = wanted else {
            if self.lock().take().is_some() {
                info!("{}", texts::CONSOLE_CLOSED);
            }
            return Ok(None);
        };
        if self
            .lock()
            .as_ref()
            .is_some_and(|open| open.wanted == *wanted)
        {
            return Ok(None);
        }
        let (address, path) = (wanted.clone(), self.token_file.clone());
        let (sockets, token) = smol::unblock(move || {
            // Whoever finds the port open finds the token, too.
            let token = token::read_or_make(&path)?;
            let sockets = address
                .bind()
                .map_err(|error| cannot_listen(&address, &error))?;
            Ok::<_, String>((sockets, token))
        })
        .await?;
        let open = self.serve(wanted, sockets, token.clone())?;
        let url = wanted.url(port(&open.bound));
        info!("{}", texts::console_is_at(&url, self.token_file.display()));
        if !open.bound.iter().all(|address| address.ip().is_loopback()) {
            let port = port(&open.bound);
            warn!("{}", texts::reachable_from_elsewhere(wanted, port));
        }
        *self.lock() = Some(open);
        Ok(Some(link(&url, &token)))
    }

    fn serve(
        &self,
        wanted: &ConsoleAddress,
        sockets: Vec<TcpListener>,
        token: Secret,
    ) -> Result<Open, String> {
        let failed = |error: io::Error| cannot_listen(wanted, &error);
        let bound = sockets
            .iter()
            .map(TcpListener::local_addr)
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?;
        let desk = Arc::new(Desk {
            house: self.house.clone(),
            door: Door::new(token),
            hosts: Hosts {
                loopback_only: bound.iter().all(|address| address.ip().is_loopback()),
                name: wanted.name().map(str::to_owned),
            },
            cookie: format!("emailproxy-console-{}", port(&bound)),
        });
        let mut accepting = Vec::new();
        for socket in sockets {
            let socket = Async::new(socket).map_err(failed)?;
            let (desk, connections) = (desk.clone(), self.connections.clone());
            accepting.push(smol::spawn(accept(socket, desk, connections)));
        }
        Ok(Open {
            wanted: wanted.clone(),
            bound,
            _accepting: accepting,
            _attendance: self.house.attend(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The page's address with the token that opens it.
pub(super) fn link(url: &str, token: &Secret) -> Secret {
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", token.expose())
        .finish();
    Secret::new(format!("{url}?{query}"))
}

fn port(bound: &[SocketAddr]) -> u16 {
    bound.first().map_or(0, SocketAddr::port)
}

fn cannot_listen(address: &ConsoleAddress, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => texts::LOW_PORT,
        io::ErrorKind::AddrInUse => texts::PORT_TAKEN,
        _ => texts::ANOTHER_ADDRESS,
    };
    texts::console_cannot_listen(address, error, advice)
}

async fn accept(socket: Async<TcpListener>, desk: Arc<Desk>, connections: Arc<Semaphore>) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => match connections.try_acquire_arc() {
                Some(permit) => {
                    let desk = desk.clone();
                    smol::spawn(async move {
                        connection(&desk, stream, peer).await;
                        drop(permit);
                    })
                    .detach();
                }
                None => debug!(%peer, "{}", common::too_many_connections(common::THE_CONSOLE)),
            },
            Err(error) => {
                warn!("{}", texts::console_cannot_accept(error));
                Timer::after(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn connection(desk: &Desk, stream: Async<TcpStream>, peer: SocketAddr) {
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(desk.answer(request, peer).await) });
    let mut http = http1::Builder::new();
    http.timer(SmolTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .keep_alive(false);
    let served = async {
        if let Err(error) = http.serve_connection(FuturesIo::new(stream), service).await {
            let text = common::connection_failed(common::THE_CONSOLE, error);
            debug!(%peer, "{text}");
        }
    };
    let too_long = async {
        Timer::after(CONNECTION).await;
    };
    served.or(too_long).await;
}
