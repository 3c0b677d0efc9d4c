//! Catches the browser's final redirect (RFC 6749 §4.1.2, RFC 8252 §7.3) on `redirect_uri` or `redirect_listen_address`.
//!
//! A listener exists only while somebody waits on its address: those who wait drive it, and the last one to leave closes it.

use super::{
    address, belonging_to, is_answer,
    page::{self, Page},
    parameter,
};
use crate::messages::{common, consent as texts};
use async_io::{Async, Timer};
use futures_lite::{FutureExt, future};
use hyper::{Method, Request, body::Incoming, header, server::conn::http1, service::service_fn};
use oauth::consent::{CodeAnswer, CodeRequest, ConsentError, Who};
use proxy_proto::Secret;
use smol::lock::Semaphore;
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::{debug, warn};
use url::Url;

/// Connections served at once; further ones are closed.
const CONNECTIONS: usize = 64;
/// Longest wait for a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// Longest request head in octets (authorisation codes of some providers have two thousand).
const HEAD_SIZE: usize = 32 * 1024;
/// Longest wait of the page for the token.
const OUTCOME: Duration = Duration::from_secs(150);
/// Longest life of a connection.
const CONNECTION: Duration = Duration::from_secs(180);

/// The redirect receiver; clones share their listeners.
#[derive(Clone)]
pub struct Receiver {
    inner: Arc<Mutex<Inner>>,
    connections: Arc<Semaphore>,
}

struct Inner {
    sockets: HashMap<SocketAddr, Arc<Async<TcpListener>>>,
    waiting: Vec<Waiter>,
    next: u64,
}

/// Somebody who waits for a redirect.
struct Waiter {
    id: u64,
    state: Secret,
    who: Who,
    /// The redirect URI that the provider was told.
    redirect_uri: String,
    /// The same parsed, and the listen address where there is one: their hosts and paths are served.
    served: Vec<Url>,
    answers: async_channel::Sender<CodeAnswer>,
}

/// A place in the receiver's queue; leaves it when dropped.
pub struct Waiting {
    receiver: Receiver,
    id: u64,
    sockets: Vec<(SocketAddr, Arc<Async<TcpListener>>)>,
    redirect_uri: String,
    answers: async_channel::Receiver<CodeAnswer>,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            inner: Arc::new(Mutex::new(Inner {
                sockets: HashMap::new(),
                waiting: Vec::new(),
                next: 0,
            })),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }
}

impl Receiver {
    /// Waits until browsers that are connected have their answers: called before a process ends. No longer than two seconds.
    pub(crate) async fn answered(&self) {
        let all = async {
            let mut places = Vec::new();
            for _ in 0..CONNECTIONS {
                places.push(self.connections.acquire().await);
            }
        };
        all.or(async {
            Timer::after(Duration::from_secs(2)).await;
        })
        .await;
    }

    /// Listens for this request's redirect.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on; says what to do about it.
    pub async fn open(&self, request: &CodeRequest) -> Result<Waiting, ConsentError> {
        let configured = address::parse(&request.redirect_uri)
            .map_err(|error| ConsentError::Unable(texts::bad_redirect_uri(error)))?;
        let listen = match &request.redirect_listen_address {
            Some(text) => address::parse(text)
                .map_err(|error| ConsentError::Unable(texts::bad_listen_address(error)))?,
            None => configured.clone(),
        };
        if listen.scheme() == "https" {
            return Err(ConsentError::Unable(texts::redirect_by_https(listen)));
        }
        let addresses = {
            let host = listen.clone();
            smol::unblock(move || address::resolve(&host))
                .await
                .map_err(|error| cannot_listen(&listen, &error))?
        };
        let port = listen.port_or_known_default().unwrap_or(80);
        let any_port = request.any_loopback_port
            && request.redirect_listen_address.is_none()
            && listen.port().is_none()
            && address::is_loopback(&listen);

        let mut inner = self.lock();
        let wanted: Vec<_> = addresses
            .iter()
            .map(|address| SocketAddr::new(*address, port))
            .collect();
        let (sockets, redirect_uri) = match inner.listen(&wanted) {
            Ok(sockets) => (sockets, request.redirect_uri.clone()),
            Err(error) if any_port => {
                debug!("{}", texts::another_port(port, error));
                let listeners = address::bind_ephemeral(&addresses)
                    .map_err(|error| cannot_listen(&listen, &error))?;
                let sockets = inner
                    .adopt(listeners)
                    .map_err(|error| cannot_listen(&listen, &error))?;
                let port = sockets.first().map_or(port, |(address, _)| address.port());
                (sockets, address::with_port(&request.redirect_uri, port))
            }
            Err(error) => return Err(cannot_listen(&listen, &error)),
        };
        let mut served = vec![address::parse(&redirect_uri).unwrap_or(configured)];
        if request.redirect_listen_address.is_some() {
            served.push(listen);
        }
        let (sender, answers) = async_channel::bounded(1);
        let id = inner.next;
        inner.next += 1;
        inner.waiting.push(Waiter {
            id,
            state: request.state.clone(),
            who: request.who.clone(),
            redirect_uri: redirect_uri.clone(),
            served,
            answers: sender,
        });
        drop(inner);
        Ok(Waiting {
            receiver: self.clone(),
            id,
            sockets,
            redirect_uri,
            answers,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The redirect URI to be put into the authorisation URL: as configured, or with the port that was free.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Serves the address until this request's redirect has come.
    pub async fn answer(&self) -> CodeAnswer {
        let mut serving: future::Boxed<Infallible> = Box::pin(future::pending());
        for (_, socket) in &self.sockets {
            serving = Box::pin(serving.or(serve(self.receiver.clone(), Arc::downgrade(socket))));
        }
        let answer = async {
            match self.answers.recv().await {
                Ok(answer) => answer,
                Err(_) => future::pending().await,
            }
        };
        answer.or(async { match serving.await {} }).await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // All under the lock: whoever opens the same address next finds it either shared or closed, never in between.
        let mut inner = self.receiver.lock();
        inner.waiting.retain(|waiter| waiter.id != self.id);
        for (address, socket) in self.sockets.drain(..) {
            drop(socket);
            if inner
                .sockets
                .get(&address)
                .is_some_and(|shared| Arc::strong_count(shared) == 1)
            {
                inner.sockets.remove(&address);
            }
        }
    }
}

type Sockets = Vec<(SocketAddr, Arc<Async<TcpListener>>)>;

impl Inner {
    /// Listens on all of `wanted` that exist on this machine, sharing what is open already.
    fn listen(&mut self, wanted: &[SocketAddr]) -> io::Result<Sockets> {
        let mut sockets = Vec::new();
        let mut fresh = Vec::new();
        let mut missing = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in wanted {
            if let Some(shared) = self.sockets.get(address) {
                sockets.push((*address, Arc::clone(shared)));
                continue;
            }
            match address::bind_one(*address) {
                Ok(listener) => fresh.push(listener),
                Err(error) if address::is_missing_family(&error) => missing = error,
                Err(error) => return Err(error),
            }
        }
        sockets.extend(self.adopt(fresh)?);
        if sockets.is_empty() {
            Err(missing)
        } else {
            Ok(sockets)
        }
    }

    fn adopt(&mut self, listeners: Vec<TcpListener>) -> io::Result<Sockets> {
        let mut sockets = Vec::new();
        for listener in listeners {
            let address = listener.local_addr()?;
            sockets.push((address, Arc::new(Async::new(listener)?)));
        }
        for (address, socket) in &sockets {
            self.sockets.insert(*address, Arc::clone(socket));
        }
        Ok(sockets)
    }
}

fn cannot_listen(listen: &Url, error: &io::Error) -> ConsentError {
    let shown = format!(
        "{}://{}",
        listen.scheme(),
        listen.host_str().unwrap_or_default()
    );
    let port = listen.port_or_known_default().unwrap_or(80);
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => texts::NEEDS_PRIVILEGES,
        io::ErrorKind::AddrInUse => texts::PORT_IN_USE,
        _ => texts::NOT_OURS,
    };
    ConsentError::Unable(texts::cannot_receive(shown, port, error, advice))
}

/// Accepts connections until dropped.
async fn serve(receiver: Receiver, socket: std::sync::Weak<Async<TcpListener>>) -> Infallible {
    loop {
        // The place in the queue owns the listener, and outlives this future.
        let Some(socket) = socket.upgrade() else {
            return future::pending().await;
        };
        match socket.accept().await {
            Ok((stream, peer)) => match receiver.connections.try_acquire_arc() {
                Some(permit) => {
                    let receiver = receiver.clone();
                    smol::spawn(async move {
                        connection(receiver, stream, peer).await;
                        drop(permit);
                    })
                    .detach();
                }
                None => debug!(%peer, "{}", common::too_many_connections(common::THE_RECEIVER)),
            },
            Err(error) => {
                warn!("{}", texts::receiver_cannot_accept(error));
                Timer::after(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn connection(receiver: Receiver, stream: Async<TcpStream>, peer: SocketAddr) {
    let answer = service_fn(|request| {
        let receiver = receiver.clone();
        async move { Ok::<_, Infallible>(respond(&receiver, &request, peer).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(SmolTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_SIZE)
        .keep_alive(false);
    let served = async {
        if let Err(error) = http.serve_connection(FuturesIo::new(stream), answer).await {
            let text = common::connection_failed(common::THE_RECEIVER, error);
            debug!(%peer, "{text}");
        }
    };
    served
        .or(async {
            Timer::after(CONNECTION).await;
        })
        .await;
}

async fn respond(receiver: &Receiver, request: &Request<Incoming>, peer: SocketAddr) -> Page {
    if request.method() != Method::GET {
        return page::wrong_method();
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (
        hosts.next().and_then(|value| value.to_str().ok()),
        hosts.next(),
    ) {
        (Some(host), None) => host,
        _ => return page::refused(texts::NO_HOST),
    };
    let (path, query) = (
        request.uri().path(),
        request.uri().query().unwrap_or_default(),
    );
    let claimed = receiver.lock().claim(host, path, query);
    let (waiter, redirected) = match claimed {
        Claim::Yes(waiter, redirected) => (waiter, redirected),
        Claim::NotFound => return page::not_found(),
        Claim::Refused(why) => {
            warn!(%peer, "{}", texts::redirect_refused(why));
            return page::refused(why);
        }
    };
    let (outcome, outcomes) = async_channel::bounded(1);
    let answer = CodeAnswer {
        redirected,
        redirect_uri: waiter.redirect_uri,
        outcome,
    };
    if waiter.answers.try_send(answer).is_err() {
        return page::failure(&waiter.who, texts::NO_LONGER_WAITING);
    }
    let outcome = async { outcomes.recv().await.ok() }.or(async {
        Timer::after(OUTCOME).await;
        None
    });
    match outcome.await {
        Some(Ok(granted)) => page::success(&waiter.who, &granted),
        Some(Err(why)) => page::failure(&waiter.who, &why),
        None => page::failure(&waiter.who, texts::NOT_FINISHED),
    }
}

enum Claim {
    Yes(Waiter, String),
    NotFound,
    Refused(&'static str),
}

impl Inner {
    /// Takes out the one who waits for exactly this redirect.
    fn claim(&mut self, host: &str, path: &str, query: &str) -> Claim {
        if !self
            .waiting
            .iter()
            .flat_map(|waiter| &waiter.served)
            .any(|url| url.path() == path)
        {
            return Claim::NotFound;
        }
        if !self.waiting.iter().any(|waiter| waiter.serves(host, path)) {
            return Claim::Refused(texts::OTHER_HOST);
        }
        let Some(state) = parameter(query, "state") else {
            return Claim::Refused(texts::NO_STATE);
        };
        let owner = belonging_to(self.waiting.iter().map(|waiter| &waiter.state), &state);
        match owner {
            Some(index) if !self.waiting[index].serves(host, path) => {
                Claim::Refused(texts::OTHER_REDIRECT_URI)
            }
            Some(_) if !is_answer(query) => Claim::Refused(texts::NO_ANSWER_IN_IT),
            Some(index) => {
                let waiter = self.waiting.swap_remove(index);
                let redirected = waiter.served.first().map_or_else(String::new, |url| {
                    format!("{}{path}?{query}", url.origin().ascii_serialization())
                });
                Claim::Yes(waiter, redirected)
            }
            None => Claim::Refused(texts::UNKNOWN_STATE),
        }
    }
}

impl Waiter {
    fn serves(&self, host: &str, path: &str) -> bool {
        self.served.iter().any(|url| address::host_is(host, url))
            && self.served.iter().any(|url| url.path() == path)
    }
}

#[cfg(test)]
mod tests;
