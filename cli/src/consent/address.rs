//! Where a redirect URI is received: addresses, ports and `Host` headers.

use crate::messages::consent as texts;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
};
use url::{Host, Url};

/// How often a port that is free on one loopback family may turn out to be taken on the other.
const EPHEMERAL_ATTEMPTS: usize = 16;

/// Reads a `redirect_uri` or `redirect_listen_address`; the latter may lack its `http://`.
pub(super) fn parse(uri: &str) -> Result<Url, String> {
    let uri = uri.trim();
    let url = if uri.contains("://") {
        Url::parse(uri)
    } else {
        Url::parse(&format!("http://{uri}"))
    };
    match url {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(texts::no_http_address(uri)),
        Err(error) => Err(texts::no_http_address_because(uri, error)),
    }
}

/// Whether the host is this machine's loopback, by name or number.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `uri` with another port and otherwise letter for letter as it was: providers compare the rest as text.
pub(super) fn with_port(uri: &str, port: u16) -> String {
    let start = uri.find("://").map_or(0, |at| at + 3);
    let end = uri[start..]
        .find(['/', '?', '#'])
        .map_or(uri.len(), |at| start + at);
    let authority = &uri[start..end];
    let host = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    };
    format!("{}{host}:{port}{}", &uri[..start], &uri[end..])
}

/// Whether a `Host` header names the host and port of `allowed`.
pub(super) fn host_is(header: &str, allowed: &Url) -> bool {
    if header.is_empty()
        || header.contains(['/', '\\', '@', '?', '#'])
        || header.contains(char::is_whitespace)
    {
        return false;
    }
    Url::parse(&format!("{}://{header}", allowed.scheme())).is_ok_and(|named| {
        named.host() == allowed.host()
            && named.port_or_known_default() == allowed.port_or_known_default()
    })
}

/// The addresses to listen on for this host: both loopback families for `localhost`. Blocks while it resolves other names.
pub(super) fn resolve(url: &Url) -> io::Result<Vec<IpAddr>> {
    match url.host() {
        Some(Host::Ipv4(address)) => Ok(vec![address.into()]),
        Some(Host::Ipv6(address)) => Ok(vec![address.into()]),
        Some(Host::Domain(name)) if name.eq_ignore_ascii_case("localhost") => {
            Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
        }
        Some(Host::Domain(name)) => {
            let mut addresses: Vec<_> = (name, 0)
                .to_socket_addrs()?
                .map(|address| address.ip())
                .collect();
            addresses.dedup();
            Ok(addresses)
        }
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Listens on one port of the loopback families that exist. The same port on both: a browser may choose either, and nobody else
/// must be able to sit on the other.
pub(crate) fn bind_ephemeral(addresses: &[IpAddr]) -> io::Result<Vec<TcpListener>> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..EPHEMERAL_ATTEMPTS {
        match bind(addresses, 0) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            result => return result,
        }
    }
    Err(last)
}

/// Listens on `port` of all addresses (0: whichever is free on the first). A family that this machine lacks is left out as long as
/// another one is there.
pub(crate) fn bind(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut port = port;
    let mut missing = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for &address in addresses {
        match bind_one(SocketAddr::new(address, port)) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) if is_missing_family(&error) => missing = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() {
        Err(missing)
    } else {
        Ok(listeners)
    }
}

/// Listens on one address, without blocking later calls.
pub(super) fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether the address cannot be listened on because the machine has no such address or family (often: no IPv6).
pub(super) fn is_missing_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_put_in_and_the_rest_stays() {
        for (uri, expected) in [
            ("http://localhost", "http://localhost:4711"),
            ("http://localhost/", "http://localhost:4711/"),
            (
                "http://localhost:80/Callback?x=1",
                "http://localhost:4711/Callback?x=1",
            ),
            ("http://[::1]/a", "http://[::1]:4711/a"),
            ("http://[::1]:80", "http://[::1]:4711"),
            ("http://127.0.0.1?a:b", "http://127.0.0.1:4711?a:b"),
        ] {
            assert_eq!(with_port(uri, 4711), expected);
        }
    }

    #[test]
    fn host_headers_are_compared_with_their_default_ports() {
        let url = |text: &str| parse(text).unwrap();
        assert!(host_is("localhost:8080", &url("http://localhost:8080/x")));
        assert!(host_is("LOCALHOST:8080", &url("http://localhost:8080")));
        assert!(host_is("localhost", &url("http://localhost")));
        assert!(host_is("localhost:80", &url("http://localhost")));
        assert!(host_is(
            "mail.example",
            &url("https://mail.example/callback")
        ));
        assert!(host_is("[::1]:81", &url("http://[::1]:81")));
        for (header, allowed) in [
            ("localhost", "http://localhost:8080"),
            ("127.0.0.1:8080", "http://localhost:8080"),
            ("evil.example:8080", "http://localhost:8080"),
            ("x@localhost:8080", "http://localhost:8080"),
            ("localhost:8080/", "http://localhost:8080"),
            ("localhost:8080 ", "http://localhost:8080"),
            ("", "http://localhost"),
        ] {
            assert!(!host_is(header, &url(allowed)), "{header:?} {allowed}");
        }
    }

    #[test]
    fn addresses_may_lack_their_scheme_but_must_be_http() {
        assert_eq!(
            parse("10.0.0.1:8080").unwrap().as_str(),
            "http://10.0.0.1:8080/"
        );
        for wrong in ["ftp://x", "http://", "urn:ietf:wg:oauth:2.0:oob", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn localhost_is_both_families_on_one_port() {
        let addresses = resolve(&parse("http://localhost").unwrap()).unwrap();
        assert_eq!(addresses.len(), 2);
        let listeners = bind_ephemeral(&addresses).unwrap();
        let ports: Vec<_> = listeners
            .iter()
            .map(|l| l.local_addr().unwrap().port())
            .collect();
        assert!(
            ports.iter().all(|port| *port == ports[0] && *port != 0),
            "{ports:?}"
        );
    }
}
