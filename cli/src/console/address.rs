//! Where the console listens: `console_address` and `--console`.

use crate::{
    consent::address::{bind, bind_ephemeral},
    messages::console as texts,
};
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, ToSocketAddrs},
    str::FromStr,
};

/// The port where none is given.
const DEFAULT_PORT: u16 = 8025;

/// A host and a port to listen on. As text: `8025`, `127.0.0.1:8025`, `[::1]:8025`, `localhost`, `console.example:8025`. Without a
/// host it is this machine's loopback, without a port 8025; port 0 is any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleAddress {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// Both families.
    Loopback,
    Ip(IpAddr),
    Name(String),
}

/// Text that is no address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", texts::BAD_ADDRESS)]
pub struct BadConsoleAddress;

impl Default for ConsoleAddress {
    /// Port 8025 of the loopback.
    fn default() -> Self {
        ConsoleAddress {
            host: Host::Loopback,
            port: DEFAULT_PORT,
        }
    }
}

impl FromStr for ConsoleAddress {
    type Err = BadConsoleAddress;

    fn from_str(text: &str) -> Result<Self, BadConsoleAddress> {
        let text = text.trim();
        if is_number(text) {
            return Ok(ConsoleAddress {
                host: Host::Loopback,
                port: text.parse().map_err(|_| BadConsoleAddress)?,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if is_number(port) && (!host.contains(':') || bracketed(host)) => {
                (host, port.parse().map_err(|_| BadConsoleAddress)?)
            }
            _ => (text, DEFAULT_PORT),
        };
        Ok(ConsoleAddress {
            host: self::host(host)?,
            port,
        })
    }
}

impl fmt::Display for ConsoleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Loopback => write!(f, "localhost:{}", self.port),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Ip(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

impl ConsoleAddress {
    /// The name that was given, where it is none of the loopback's.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Loopback | Host::Ip(_) => None,
        }
    }

    /// The page's address, to be opened in a browser on this machine. `bound`: the port that it got, where any was wanted.
    pub(super) fn url(&self, bound: u16) -> String {
        let port = match self.port {
            0 => bound,
            port => port,
        };
        format!("http://{}:{port}/", self.host_to_open())
    }

    /// The loopback is `127.0.0.1`: whoever serves something else on `localhost` need not be sent our cookie.
    fn host_to_open(&self) -> String {
        match &self.host {
            Host::Loopback => Ipv4Addr::LOCALHOST.to_string(),
            Host::Ip(IpAddr::V4(address)) if address.is_unspecified() => {
                Ipv4Addr::LOCALHOST.to_string()
            }
            Host::Ip(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".to_owned(),
            Host::Ip(IpAddr::V4(address)) => address.to_string(),
            Host::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            Host::Name(name) => name.clone(),
        }
    }

    /// Listens there; on every address of a name. Blocks while it is resolved.
    pub(super) fn bind(&self) -> io::Result<Vec<TcpListener>> {
        let addresses: Vec<IpAddr> = match &self.host {
            Host::Loopback => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Host::Ip(address) => vec![*address],
            Host::Name(name) => {
                let mut addresses: Vec<_> = (name.as_str(), 0)
                    .to_socket_addrs()?
                    .map(|address| address.ip())
                    .collect();
                addresses.dedup();
                addresses
            }
        };
        match self.port {
            0 => bind_ephemeral(&addresses),
            port => bind(&addresses, port),
        }
    }
}

fn host(text: &str) -> Result<Host, BadConsoleAddress> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Host::Loopback);
    }
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: Ipv6Addr = inner.parse().map_err(|_| BadConsoleAddress)?;
        return Ok(Host::Ip(address.into()));
    }
    if let Ok(address) = text.parse() {
        return Ok(Host::Ip(address));
    }
    let is_name = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    match is_name {
        true => Ok(Host::Name(text.to_ascii_lowercase())),
        false => Err(BadConsoleAddress),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn bracketed(host: &str) -> bool {
    host.starts_with('[') && host.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_or_without_their_parts() {
        for (text, shown, open) in [
            ("8025", "localhost:8025", "127.0.0.1"),
            ("0", "localhost:0", "127.0.0.1"),
            ("localhost", "localhost:8025", "127.0.0.1"),
            ("LocalHost:81", "localhost:81", "127.0.0.1"),
            ("127.0.0.2:81", "127.0.0.2:81", "127.0.0.2"),
            ("0.0.0.0", "0.0.0.0:8025", "127.0.0.1"),
            ("[::1]:81", "[::1]:81", "[::1]"),
            ("[::]", "[::]:8025", "[::1]"),
            ("::1", "[::1]:8025", "[::1]"),
            (" mail.Example:81 ", "mail.example:81", "mail.example"),
        ] {
            let address: ConsoleAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(address.host_to_open(), open, "{text}");
        }
    }

    #[test]
    fn other_text_is_no_address() {
        for text in [
            "",
            ":8025",
            "65536",
            "localhost:65536",
            "localhost:x",
            "http://localhost:8025",
            "[::1",
            "[x]:81",
            "1.2.3.4.5:81",
            "a b:81",
        ] {
            assert_eq!(
                text.parse::<ConsoleAddress>(),
                Err(BadConsoleAddress),
                "{text}"
            );
        }
    }

    #[test]
    fn a_bare_port_is_that_of_both_loopbacks() {
        let address: ConsoleAddress = "0".parse().unwrap();
        let bound = address.bind().unwrap();
        let ports: Vec<_> = bound.iter().map(|l| l.local_addr().unwrap()).collect();
        assert!(
            ports.iter().all(|address| address.ip().is_loopback()),
            "{ports:?}"
        );
        assert!(
            ports
                .iter()
                .all(|address| address.port() == ports[0].port()),
            "{ports:?}"
        );
    }
}
