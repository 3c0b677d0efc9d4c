//! Connections to servers: every address of the name is tried.

use crate::{resolve::resolve, stream::Socket, timer::Timer};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use proxy_proto::BoxFuture;
use proxy_runtime::{DialogueProgress, ListenerConfig, OutgoingProxy, trouble};
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// Head start of each address over the next one (RFC 8305 §5 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the server of a listener, through its outgoing proxy if it has one. The error is fit to be shown to a client.
pub(crate) async fn to_server(config: &ListenerConfig) -> Result<Socket, String> {
    let (host, port) = (&*config.upstream_host, config.upstream_port);
    match &config.outgoing_proxy {
        None => connect(host, port).await,
        Some(proxy) => through(proxy, host, port).await,
    }
}

/// Connects to the first address of `host` that answers.
async fn connect(host: &str, port: u16) -> Result<Socket, String> {
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => resolve(host, port)
            .await
            .map_err(|error| trouble::unresolved(host, &error))?,
    };
    let mut race = Race::new(proxy_runtime::families_in_turn(addresses));
    poll_fn(|cx| race.poll(cx))
        .await
        .map_err(|failures| trouble::unreachable(host, port, &failures))
}

/// Asks the proxy for a connection to the server.
async fn through(proxy: &OutgoingProxy, host: &str, port: u16) -> Result<Socket, String> {
    let broken = |error: io::Error| trouble::proxy_broke(proxy, &trouble::plain(&error));
    let connected = connect(proxy.host(), proxy.port()).await;
    let mut tcp = connected.map_err(|why| trouble::proxy_broke(proxy, &why))?;
    let mut dialogue = proxy.dialogue(host, port);
    let mut bytes = [0; 512];
    loop {
        tcp.write_all(&dialogue.transmit()).await.map_err(broken)?;
        // What follows the proxy's answer is the server's, and perhaps TLS: it is looked at, not taken.
        let count = poll_fn(|cx| tcp.poll_peek(cx, &mut bytes)).await;
        let count = count.map_err(broken)?;
        if count == 0 {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        let progress = dialogue.feed(&bytes[..count]);
        let (used, open) = match progress.map_err(|refused| refused.to_string())? {
            DialogueProgress::More => (count, false),
            DialogueProgress::Open { used } => (used, true),
        };
        tcp.read_exact(&mut bytes[..used]).await.map_err(broken)?;
        if open {
            return Ok(tcp);
        }
    }
}

type Attempt = (SocketAddr, BoxFuture<io::Result<Socket>>);

struct Race {
    waiting: VecDeque<SocketAddr>,
    running: Vec<Attempt>,
    failures: Vec<(SocketAddr, io::Error)>,
    next: Timer,
}

impl Race {
    fn new(addresses: VecDeque<SocketAddr>) -> Self {
        let mut race = Race {
            waiting: addresses,
            running: Vec::new(),
            failures: Vec::new(),
            next: Timer::never(),
        };
        race.start_next();
        race
    }

    fn start_next(&mut self) {
        if let Some(address) = self.waiting.pop_front() {
            self.running
                .push((address, Box::pin(Socket::connect(address))));
            self.next = match self.waiting.is_empty() {
                true => Timer::never(),
                false => Timer::after(STAGGER),
            };
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Socket, Vec<(SocketAddr, io::Error)>>> {
        loop {
            let mut index = 0;
            let failed_before = self.failures.len();
            while index < self.running.len() {
                match self.running[index].1.as_mut().poll(cx) {
                    Poll::Ready(Ok(tcp)) => return Poll::Ready(Ok(tcp)),
                    Poll::Ready(Err(error)) => {
                        let (address, _) = self.running.swap_remove(index);
                        self.failures.push((address, error));
                    }
                    Poll::Pending => index += 1,
                }
            }
            let another =
                self.failures.len() > failed_before || Pin::new(&mut self.next).poll(cx).is_ready();
            if another && !self.waiting.is_empty() {
                self.start_next();
            } else if self.running.is_empty() && self.waiting.is_empty() {
                return Poll::Ready(Err(std::mem::take(&mut self.failures)));
            } else {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_dead_address_does_not_hide_a_living_one() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        let mut race = Race::new([closed, address].into());
        let tcp = smol::block_on(poll_fn(|cx| race.poll(cx))).unwrap();
        assert_eq!(tcp.tcp().unwrap().peer_addr().unwrap(), address);
    }

    /// Systems wait two minutes and longer for an answer to a SYN.
    #[test]
    fn a_silent_address_does_not_hide_a_living_one() {
        // A documentation address (RFC 5737): at best nobody answers.
        let silent = SocketAddr::from(([192, 0, 2, 1], 9));
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        let mut race = Race::new([silent, address].into());
        let patience = Duration::from_secs(60);
        let connected = crate::handshake::within(patience, poll_fn(|cx| race.poll(cx)));
        let tcp = smol::block_on(connected).expect("it waits for the silent one");
        let peer = tcp.unwrap().tcp().unwrap().peer_addr().unwrap();
        assert_eq!(peer, address);
    }

    #[test]
    fn refusals_are_named_with_the_server() {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let error = smol::block_on(connect("127.0.0.1", port)).err().unwrap();
        assert_eq!(
            error,
            format!("cannot connect to 127.0.0.1 port {port}: connection refused")
        );
    }

    #[test]
    fn an_unknown_name_is_told() {
        let error = smol::block_on(connect("no-such-host.invalid", 1))
            .err()
            .unwrap();
        assert!(
            error.starts_with("the host name no-such-host.invalid cannot be resolved: "),
            "{error}"
        );
    }
}
