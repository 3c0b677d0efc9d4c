//! Which sockets a listener needs, and opening them.

use crate::{ListenerConfig, messages::configuration as messages};
use proxy_proto::LocalTls;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
};

/// Why a listener cannot be opened; its text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be resolved.
    #[error("{}", messages::address_unresolved(heading, address, source))]
    Resolve {
        /// The listener's heading.
        heading: Arc<str>,
        /// As configured.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The socket cannot be bound.
    #[error("{}", messages::cannot_listen(heading, address, port, explain(*port, source)))]
    Bind {
        /// The listener's heading.
        heading: Arc<str>,
        /// As configured.
        address: String,
        /// As configured.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// TLS is wanted on the client's side, but there is neither certificate nor key.
    #[error("{}", messages::needs_certificate(heading))]
    NoCertificate {
        /// The listener's heading.
        heading: Arc<str>,
    },
    /// Two listeners of one configuration want the same address and port.
    #[error("{}", messages::port_is_taken(heading, address, port, other))]
    Duplicate {
        /// The listener's heading.
        heading: Arc<str>,
        /// As configured.
        address: String,
        /// As configured.
        port: u16,
        /// The heading that has it already.
        other: Arc<str>,
    },
}

fn explain(port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => messages::PORT_IN_USE.to_owned(),
        io::ErrorKind::PermissionDenied if port < 1024 => {
            messages::PORT_NEEDS_PRIVILEGES.to_owned()
        }
        io::ErrorKind::AddrNotAvailable => messages::ADDRESS_IS_FOREIGN.to_owned(),
        _ => error.to_string(),
    }
}

/// Checks what can be wrong without any socket.
pub fn check(listeners: &[ListenerConfig]) -> Vec<ListenError> {
    let mut errors = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        let ListenerConfig {
            heading,
            address,
            port,
            ..
        } = listener;
        if listener.session.local_tls != LocalTls::None && listener.local_tls.is_none() {
            errors.push(ListenError::NoCertificate {
                heading: heading.clone(),
            });
        }
        let taken = listeners[..index]
            .iter()
            .find(|other| *port != 0 && other.port == *port && other.address == *address);
        if let Some(other) = taken {
            errors.push(ListenError::Duplicate {
                heading: heading.clone(),
                address: address.clone(),
                port: *port,
                other: other.heading.clone(),
            });
        }
    }
    errors
}

/// The addresses that a listener is to be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// All of this machine, IPv6 and IPv4.
    Everywhere,
    /// These, as far as this machine has them.
    Each(Vec<IpAddr>),
    /// Those of a host name, which is still to be resolved: [`resolved`](Self::resolved).
    Name,
}

impl Place {
    /// What [`ListenerConfig::address`] says.
    pub fn of(address: &str) -> Place {
        match address.parse() {
            Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Place::Everywhere,
            Ok(address) => Place::Each(vec![address]),
            Err(_) => Place::Name,
        }
    }

    /// The addresses of a host name, IPv6 first.
    pub fn resolved(addresses: impl IntoIterator<Item = SocketAddr>) -> Place {
        let mut addresses: Vec<IpAddr> = addresses.into_iter().map(|found| found.ip()).collect();
        addresses.sort_by_key(IpAddr::is_ipv4);
        addresses.dedup();
        Place::Each(addresses)
    }
}

/// Opens the sockets of one listener, or duplicates those that are [ready](ListenerConfig::ready), on `port`, which may be another one than that of its configuration (where that is
/// 0 and a port was chosen before).
///
/// # Errors
/// [`ListenError::Bind`] where none of the addresses can be bound, or one for another reason than that this machine
/// lacks it.
pub fn bind(
    config: &ListenerConfig,
    place: &Place,
    port: u16,
) -> Result<Vec<TcpListener>, ListenError> {
    let bound = match place {
        _ if !config.ready.is_empty() => config
            .ready
            .iter()
            .map(|socket| socket.try_clone())
            .collect(),
        Place::Everywhere => bind_everywhere(port),
        Place::Each(addresses) => bind_all(addresses, port),
        Place::Name => bind_all(&[], port),
    };
    bound.map_err(|source| ListenError::Bind {
        heading: config.heading.clone(),
        address: config.address.clone(),
        port: config.port,
        source,
    })
}

/// One socket for IPv6 and IPv4; two where the system has no such sockets; IPv4 alone where there is no IPv6.
fn bind_everywhere(port: u16) -> io::Result<Vec<TcpListener>> {
    match bind_one(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), true) {
        Ok(socket) => Ok(vec![socket]),
        Err(error) if lacks_address(&error) || error.kind() == io::ErrorKind::InvalidInput => {
            bind_all(
                &[Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
                port,
            )
        }
        Err(error) => Err(error),
    }
}

/// One socket for each address that this machine has; `localhost` may name one that it lacks.
fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    /// Free ports are taken with the first address; with the next ones they may be taken already.
    const ATTEMPTS: usize = 16;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match bind_all_once(addresses, port) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && port == 0 && attempt < ATTEMPTS => {}
            result => return result,
        }
    }
}

fn bind_all_once(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    let mut port = port;
    let mut lacking = None;
    for address in addresses {
        match bind_one(SocketAddr::new(*address, port), false) {
            Ok(socket) => {
                port = socket.local_addr()?.port();
                sockets.push(socket);
            }
            Err(error) if lacks_address(&error) => lacking = Some(error),
            Err(error) => return Err(error),
        }
    }
    match sockets.is_empty() {
        true => Err(lacking.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        false => Ok(sockets),
    }
}

/// Connections that the system holds until they are accepted; it may allow fewer.
const BACKLOG: i32 = 1024;

fn bind_one(address: SocketAddr, dual_stack: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // On Windows the option would let another program take the port away.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn lacks_address(error: &io::Error) -> bool {
    #[cfg(unix)]
    const NO_FAMILY: &[i32] = &[97, 47];
    #[cfg(not(unix))]
    const NO_FAMILY: &[i32] = &[10047];
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
        || error
            .raw_os_error()
            .is_some_and(|code| NO_FAMILY.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_name_come_with_ipv6_first_and_once() {
        let found = ["127.0.0.1:1", "[::1]:1", "127.0.0.1:1"];
        let place = Place::resolved(found.map(|text| text.parse().unwrap()));
        let expected = ["::1", "127.0.0.1"].map(|text| text.parse().unwrap());
        assert_eq!(place, Place::Each(expected.to_vec()));
        assert_eq!(Place::of("::"), Place::Everywhere);
        assert_eq!(Place::of("localhost"), Place::Name);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let error = |port, kind: io::ErrorKind| {
            let error = ListenError::Bind {
                heading: "IMAP-143".into(),
                address: "::".to_owned(),
                port,
                source: kind.into(),
            };
            error.to_string()
        };
        assert!(
            error(143, io::ErrorKind::PermissionDenied)
                .contains("ports below 1024 need privileges")
        );
        assert!(!error(1143, io::ErrorKind::PermissionDenied).contains("1024"));
        assert!(error(143, io::ErrorKind::AddrNotAvailable).contains("no such address"));
    }
}
