//! What is done with sockets besides reading and writing.

use socket2::{SockRef, TcpKeepalive};
use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Prepares a new connection to either side: small segments leave at once (`TCP_NODELAY`), and a dead peer is noticed in
/// about ten minutes (keepalive).
pub fn prepare(tcp: &TcpStream) {
    let options = SockRef::from(tcp);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(300))
        .with_interval(Duration::from_secs(60));
    // Either fails only when the connection has gone already, which the next read tells.
    let _ = options.set_tcp_nodelay(true);
    let _ = options.set_tcp_keepalive(&keepalive);
}

/// Lets this process open as many files as its hard limit allows; a session takes two to six. Returns the limit, `None`
/// where there is none. A program calls this once, before it starts a runtime.
///
/// # Errors
/// When the system refuses; the limit is as before then.
#[cfg(unix)]
pub fn raise_open_files_limit() -> io::Result<Option<u64>> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        )?;
    }
    Ok(limit.maximum)
}

/// There is no such limit here.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn raise_open_files_limit() -> io::Result<Option<u64>> {
    Ok(None)
}

/// Families in turn, beginning with that of the first address, so that one broken family delays but never prevents
/// (RFC 8305 §4).
pub fn families_in_turn(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut first = first.into_iter();
    let mut second = second.into_iter();
    let mut result = VecDeque::new();
    loop {
        let pair = (first.next(), second.next());
        result.extend(pair.0);
        result.extend(pair.1);
        if pair == (None, None) {
            return result;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn families_take_turns() {
        let of = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter()
                .map(|text| SocketAddr::new(text.parse().unwrap(), 1))
                .collect()
        };
        let mixed = of(&["::1", "::2", "::3", "127.0.0.1"]);
        assert_eq!(
            families_in_turn(mixed).into_iter().collect::<Vec<_>>(),
            of(&["::1", "127.0.0.1", "::2", "::3"])
        );
        assert!(families_in_turn(Vec::new()).is_empty());
    }

    #[test]
    fn connections_are_prepared() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        prepare(&tcp);
        assert!(tcp.nodelay().unwrap());
        assert!(SockRef::from(&tcp).keepalive().unwrap());
    }

    #[cfg(unix)]
    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        use rustix::process::{Resource, getrlimit};
        let limit = raise_open_files_limit().unwrap();
        let now = getrlimit(Resource::Nofile);
        assert_eq!((now.current, now.maximum), (limit, limit));
    }
}
