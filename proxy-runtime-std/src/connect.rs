//! Connections to servers, made by a thread of their own, because resolving a name blocks.

use crate::{
    handshake,
    stream::Stream,
    wait::{Heard, Interest, Wait},
};
use proxy_proto::{Side, UpstreamTls};
use proxy_runtime::{DialogueProgress, ListenerConfig, OutgoingProxy, SessionRecord, trouble};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

/// Head start of each address over the next one (RFC 8305 §5 recommends 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

/// How long something may take, and how it hears that nobody waits for it any more.
pub(crate) struct Patience<'a> {
    pub(crate) deadline: Instant,
    pub(crate) given_up: &'a Heard,
}

impl Patience<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline || self.given_up.is_told()
    }

    fn wait_for(&self, stream: &Stream, interest: Interest) {
        let mut wait = Wait::default();
        wait.stream(stream, interest);
        self.add_to(&mut wait);
        wait.wait();
    }

    fn add_to<'b>(&'b self, wait: &mut Wait<'b>) {
        wait.readable(self.given_up.source());
        wait.until(self.deadline);
    }
}

/// Connects to the server of a listener, through its outgoing proxy if it has one, and establishes TLS where it is spoken
/// from the first byte. The error is fit to be shown to a client.
pub(crate) fn to_server(
    config: &ListenerConfig,
    record: &SessionRecord,
    timeout: Duration,
    given_up: &Heard,
) -> Result<Stream, String> {
    let patience = Patience {
        deadline: Instant::now() + timeout,
        given_up,
    };
    let (host, port) = (&*config.upstream_host, config.upstream_port);
    let slow = || trouble::slow_connect(host, port, timeout.as_secs());
    let connected = match &config.outgoing_proxy {
        None => connect(host, port, &patience),
        Some(proxy) => through(proxy, host, port, &patience),
    };
    let connected = connected.and_then(|stream| stream.ok_or_else(slow));
    // Who is given up has not failed.
    if connected.is_ok() || !given_up.is_told() {
        record.connected(connected.is_ok());
    }
    let mut stream = connected?;
    if config.session.upstream_tls == UpstreamTls::Implicit {
        let secured = secure(&mut stream, config, &patience);
        let secured = secured.and_then(|in_time| in_time.then_some(()).ok_or_else(slow));
        if secured.is_ok() || !given_up.is_told() {
            record.tls(Side::Server, secured.is_ok());
        }
        secured?;
    }
    Ok(stream)
}

/// Establishes TLS; `false` when the patience is over.
fn secure(
    stream: &mut Stream,
    config: &ListenerConfig,
    patience: &Patience<'_>,
) -> Result<bool, String> {
    let failed = |why: String| trouble::tls_failed(&config.upstream_host, &why);
    handshake::begin_with_server(stream, config).map_err(failed)?;
    loop {
        match stream.handshake() {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if patience.is_over() {
                    return Ok(false);
                }
                patience.wait_for(stream, stream.handshake_interest());
            }
            Err(error) => return Err(failed(trouble::with_server(&error))),
        }
    }
}

/// Connects to the first address of `host` that answers; `None` when the patience is over.
fn connect(host: &str, port: u16, patience: &Patience<'_>) -> Result<Option<Stream>, String> {
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => (host, port)
            .to_socket_addrs()
            .map_err(|error| trouble::unresolved(host, &error))?
            .collect(),
    };
    let failures = match race(proxy_runtime::families_in_turn(addresses), patience) {
        Ok(tcp) => match tcp.map(Stream::new).transpose() {
            Ok(stream) => return Ok(stream),
            Err(error) => return Err(trouble::plain(&error)),
        },
        Err(failures) => failures,
    };
    Err(trouble::unreachable(host, port, &failures))
}

/// Asks the proxy for a connection to the server.
fn through(
    proxy: &OutgoingProxy,
    host: &str,
    port: u16,
    patience: &Patience<'_>,
) -> Result<Option<Stream>, String> {
    let broken = |error: &io::Error| trouble::proxy_broke(proxy, &trouble::plain(error));
    let Some(mut stream) = connect(proxy.host(), proxy.port(), patience)
        .map_err(|why| trouble::proxy_broke(proxy, &why))?
    else {
        return Ok(None);
    };
    let mut dialogue = proxy.dialogue(host, port);
    let mut bytes = [0; 512];
    loop {
        let out = dialogue.transmit();
        let mut rest = &out[..];
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if patience.is_over() {
                        return Ok(None);
                    }
                    let writable = Interest {
                        read: false,
                        write: true,
                    };
                    patience.wait_for(&stream, writable);
                }
                Err(error) => return Err(broken(&error)),
            }
        }
        // What follows the proxy's answer is the server's, and perhaps TLS: it is looked at, not taken.
        match stream.peek(&mut bytes) {
            Ok(0) => return Err(broken(&io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                let progress = dialogue.feed(&bytes[..count]);
                let (used, open) = match progress.map_err(|refused| refused.to_string())? {
                    DialogueProgress::More => (count, false),
                    DialogueProgress::Open { used } => (used, true),
                };
                stream
                    .read(&mut bytes[..used])
                    .map_err(|error| broken(&error))?;
                if open {
                    return Ok(Some(stream));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if patience.is_over() {
                    return Ok(None);
                }
                let readable = Interest {
                    read: true,
                    write: false,
                };
                patience.wait_for(&stream, readable);
            }
            Err(error) => return Err(broken(&error)),
        }
    }
}

type Failures = Vec<(SocketAddr, io::Error)>;

/// The first connection that is established; `None` when the patience is over.
fn race(
    mut waiting: VecDeque<SocketAddr>,
    patience: &Patience<'_>,
) -> Result<Option<TcpStream>, Failures> {
    let mut running: Vec<(SocketAddr, Socket)> = Vec::new();
    let mut failures = Failures::new();
    let mut next = Instant::now();
    loop {
        let mut index = 0;
        while index < running.len() {
            let (address, socket) = &running[index];
            match outcome(socket) {
                None => index += 1,
                Some(Ok(())) => return Ok(Some(running.swap_remove(index).1.into())),
                Some(Err(error)) => {
                    failures.push((*address, error));
                    running.swap_remove(index);
                    // A failure lets the next one begin at once.
                    next = Instant::now();
                }
            }
        }
        if Instant::now() >= next
            && let Some(address) = waiting.pop_front()
        {
            match begin(address) {
                Ok(socket) => {
                    running.push((address, socket));
                    next = Instant::now() + STAGGER;
                }
                Err(error) => failures.push((address, error)),
            }
            continue;
        }
        if running.is_empty() && waiting.is_empty() {
            return Err(failures);
        }
        if patience.is_over() {
            return Ok(None);
        }
        let mut wait = Wait::default();
        for (_, socket) in &running {
            wait.writable(socket);
        }
        if !waiting.is_empty() {
            wait.until(next);
        }
        patience.add_to(&mut wait);
        wait.wait();
    }
}

fn begin(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket),
        Err(error)
            if error.kind() == io::ErrorKind::WouldBlock
                || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Ok(socket)
        }
        Err(error) => Err(error),
    }
}

/// `None`: not decided yet.
fn outcome(socket: &Socket) -> Option<io::Result<()>> {
    match socket.take_error() {
        Ok(Some(error)) | Err(error) => Some(Err(error)),
        Ok(None) => match socket.peer_addr() {
            Ok(_) => Some(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::told_once;
    use std::net::TcpListener;

    #[test]
    fn a_dead_address_does_not_hide_a_living_one() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = closed.local_addr().unwrap();
        drop(closed);
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        let (_teller, given_up) = told_once().unwrap();
        let patience = Patience {
            deadline: Instant::now() + Duration::from_secs(60),
            given_up: &given_up,
        };
        let tcp = race([dead, address].into(), &patience).unwrap().unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), address);
        let failures = race([dead].into(), &patience).unwrap_err();
        assert_eq!(failures[0].1.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// Systems wait two minutes and longer for an answer to a SYN.
    #[test]
    fn a_silent_address_does_not_hide_a_living_one() {
        // A documentation address (RFC 5737): at best nobody answers.
        let silent = SocketAddr::from(([192, 0, 2, 1], 9));
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        let (_teller, given_up) = told_once().unwrap();
        let patience = Patience {
            deadline: Instant::now() + Duration::from_secs(60),
            given_up: &given_up,
        };
        let tcp = race([silent, address].into(), &patience).unwrap();
        let tcp = tcp.expect("it waits for the silent one");
        assert_eq!(tcp.peer_addr().unwrap(), address);
    }

    #[test]
    fn who_is_given_up_stops() {
        let (teller, given_up) = told_once().unwrap();
        drop(teller);
        let patience = Patience {
            deadline: Instant::now() + Duration::from_secs(3600),
            given_up: &given_up,
        };
        // A documentation address (RFC 5737): at best nobody answers.
        let result = race([SocketAddr::from(([192, 0, 2, 1], 9))].into(), &patience);
        assert!(!matches!(result, Ok(Some(_))));
    }
}
