//! Listening sockets that can be told to refuse connections and to serve again.

use crate::{Service, mail, provider, shared::Shared};
use async_io::{Async, Timer};
use futures_lite::future;
use std::{
    future::Future,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

/// A task for the sandbox's executor.
pub(crate) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An order to a listener, and where to report that it is carried out.
pub(crate) struct Switch {
    pub(crate) refuse: bool,
    pub(crate) done: async_channel::Sender<io::Result<()>>,
}

/// Open connections over all services; beyond it new ones are closed at once.
const MAX_OPEN: usize = 16_384;

/// The sockets of one service: 127.0.0.1, and ::1 with the same port where that can be had (clients that are told
/// `localhost` may try it first).
pub(crate) struct Sockets {
    pub(crate) address: SocketAddr,
    listeners: Vec<Async<TcpListener>>,
}

impl Sockets {
    pub(crate) fn bind(port: u16) -> io::Result<Sockets> {
        // A free port on 127.0.0.1 may be taken on ::1, by somebody whom clients of ours would then reach.
        let mut attempts = if port == 0 { 50 } else { 1 };
        loop {
            attempts -= 1;
            match Sockets::bind_both(port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
                result => return result,
            }
        }
    }

    fn bind_both(port: u16) -> io::Result<Sockets> {
        let named = |address: SocketAddr| {
            move |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {address}: {e}"))
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let ipv4 = TcpListener::bind(address).map_err(named(address))?;
        let address = ipv4.local_addr()?;
        let mut listeners = vec![Async::new(ipv4)?];
        let second = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
        match TcpListener::bind(second) {
            Ok(ipv6) => listeners.push(Async::new(ipv6)?),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(named(second)(error));
            }
            // No IPv6 on this machine.
            Err(_) => {}
        }
        Ok(Sockets { address, listeners })
    }

    async fn accept(&self) -> io::Result<Async<TcpStream>> {
        let (stream, _) = match &self.listeners[..] {
            [one] => one.accept().await?,
            [one, two, ..] => future::or(one.accept(), two.accept()).await?,
            [] => future::pending().await,
        };
        stream.get_ref().set_nodelay(true)?;
        Ok(stream)
    }
}

/// Accepts connections for ever, and carries out switches.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    service: Service,
    mut sockets: Sockets,
    switches: async_channel::Receiver<Switch>,
    jobs: async_channel::Sender<Job>,
) {
    enum Next {
        Connection(io::Result<Async<TcpStream>>),
        Order(Switch),
        End,
    }
    loop {
        let order = async {
            match switches.recv().await {
                Ok(switch) => Next::Order(switch),
                Err(_) => Next::End,
            }
        };
        let connection = async { Next::Connection(sockets.accept().await) };
        match future::or(order, connection).await {
            Next::End => return,
            Next::Order(Switch { refuse, done }) => {
                let result = if refuse {
                    sockets.listeners.clear();
                    Ok(())
                } else if sockets.listeners.is_empty() {
                    Sockets::bind(sockets.address.port()).map(|bound| sockets = bound)
                } else {
                    Ok(())
                };
                // The one who asked may have gone.
                let _ = done.send(result).await;
            }
            Next::Connection(Err(error)) => {
                tracing::debug!(?service, %error, "accept");
                // Out of descriptors: give others time to close theirs.
                Timer::after(Duration::from_millis(20)).await;
            }
            Next::Connection(Ok(stream)) => {
                if shared.open_connections() >= MAX_OPEN {
                    continue;
                }
                let closed = shared.listen_for_close(service);
                let guard = shared.opened(service);
                let shared = shared.clone();
                let job = async move {
                    let number = guard.number;
                    let conversation = async {
                        match service {
                            Service::Provider => provider::serve(shared.clone(), stream).await,
                            _ => mail::serve(shared.clone(), service, number, stream).await,
                        }
                    };
                    let over = async {
                        closed.await;
                        Ok(())
                    };
                    if let Err(error) = future::or(over, conversation).await {
                        tracing::debug!(?service, number, %error, "connection");
                    }
                    drop(guard);
                };
                if jobs.send(Box::pin(job)).await.is_err() {
                    return;
                }
            }
        }
    }
}
