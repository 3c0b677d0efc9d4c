//! Whether a client is served.

use crate::{Census, Full, ListenerConfig, Origin, Ticket, messages::client as messages};
use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Decides on a connection that has just been accepted. Where balancers put headers before connections, `peer` must be one
/// of them, and [`identify`] decides on the client. Whoever is turned away is counted.
///
/// # Errors
/// Why it is to be closed at once.
pub fn admit(
    census: &Arc<Census>,
    config: &ListenerConfig,
    peer: SocketAddr,
) -> Result<Ticket, TurnedAway> {
    let admitted = decide(census, config, peer);
    if let Err(why) = &admitted {
        census.observations().turned_away(&config.heading, *why);
    }
    admitted
}

fn decide(
    census: &Arc<Census>,
    config: &ListenerConfig,
    peer: SocketAddr,
) -> Result<Ticket, TurnedAway> {
    if let Some(balancers) = &config.proxy_protocol {
        if !balancers.contains(peer.ip()) {
            return Err(TurnedAway::NoBalancer);
        }
        return Ok(census.admit(&config.heading, config.max_sessions)?);
    }
    if !allowed(config, peer) {
        return Err(TurnedAway::NotAllowed);
    }
    let mut ticket = census.admit(&config.heading, config.max_sessions)?;
    ticket.attribute(peer.ip().to_canonical())?;
    Ok(ticket)
}

/// Decides on the client that a balancer's header names; returns its address. Whoever is turned away is counted.
///
/// # Errors
/// Why it is to be closed at once, with the client's address.
pub fn identify(
    ticket: &mut Ticket,
    config: &ListenerConfig,
    balancer: SocketAddr,
    origin: Origin,
) -> Result<SocketAddr, (SocketAddr, TurnedAway)> {
    let client = match origin {
        Origin::Client(client) => SocketAddr::new(client.ip().to_canonical(), client.port()),
        Origin::Balancer | Origin::Unknown => balancer,
    };
    // A balancer that looks whether the proxy is there is no client.
    let why = if origin != Origin::Balancer && !allowed(config, client) {
        TurnedAway::NotAllowed
    } else {
        match ticket.attribute(client.ip().to_canonical()) {
            Ok(()) => return Ok(client),
            Err(full) => TurnedAway::Full(full),
        }
    };
    ticket.turned_away(why);
    Err((client, why))
}

fn allowed(config: &ListenerConfig, client: SocketAddr) -> bool {
    let networks = config.allow_from.as_ref();
    networks.is_none_or(|networks| networks.contains(client.ip()))
}

/// Why a client is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// Only balancers may connect.
    NoBalancer,
    /// A balancer's connection does not begin with a PROXY protocol header.
    NoHeader,
    /// Its network is not among those that are served.
    NotAllowed,
    /// A limit is reached.
    Full(Full),
    /// The system has no thread or no descriptor left.
    NoResources,
}

impl From<Full> for TurnedAway {
    fn from(full: Full) -> Self {
        TurnedAway::Full(full)
    }
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TurnedAway::NoBalancer => f.write_str(messages::NO_BALANCER),
            TurnedAway::NoHeader => f.write_str(messages::NO_HEADER),
            TurnedAway::NoResources => f.write_str(messages::NO_RESOURCES),
            TurnedAway::NotAllowed => f.write_str(messages::NOT_ALLOWED),
            TurnedAway::Full(full) => full.fmt(f),
        }
    }
}

/// Lets a message through at most every ten seconds, with the number of those since the last one.
#[derive(Debug, Default)]
pub struct Rare {
    count: usize,
    last: Option<Instant>,
}

impl Rare {
    /// Counts one; `Some` with the number since the last time when it is to be told.
    pub fn count(&mut self) -> Option<usize> {
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

/// How long to wait before accepting is tried again: longer each time, up to a second.
#[derive(Debug, Default)]
pub struct Backoff(u32);

impl Backoff {
    /// The next pause; the first one of a row is 20 ms.
    pub fn pause(&mut self) -> Duration {
        let pause = Duration::from_millis(20) * 2_u32.pow(self.0);
        self.0 = (self.0 + 1).min(6);
        pause.min(Duration::from_secs(1))
    }

    /// Whether the last attempt failed as well.
    pub fn failing(&self) -> bool {
        self.0 > 0
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Trust, testing::Authority};
    use proxy_proto::{Protocol, SessionConfig};

    fn listener() -> ListenerConfig {
        let authority = Authority::new();
        ListenerConfig::new(
            "IMAP-1993",
            0,
            "127.0.0.1",
            993,
            SessionConfig::new(Protocol::Imap),
            Trust::only(authority.path("ca.pem"))
                .client_config(None)
                .unwrap(),
        )
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_decide() {
        let census = Arc::new(Census::default());
        let mut config = listener();
        admit(&census, &config, at("203.0.113.1:1")).unwrap();
        config.allow_from = Some("10.0.0.0/8".parse().unwrap());
        admit(&census, &config, at("10.0.0.1:1")).unwrap();
        admit(&census, &config, at("[::ffff:10.0.0.1]:1")).unwrap();
        let refused = admit(&census, &config, at("203.0.113.1:1")).unwrap_err();
        assert_eq!(refused, TurnedAway::NotAllowed);
        assert_eq!(census.sessions(), 0);
    }

    #[test]
    fn behind_a_balancer_the_named_client_counts() {
        let census = Arc::new(Census::new(None, Some(1)));
        let mut config = listener();
        config.allow_from = Some("10.0.0.0/8".parse().unwrap());
        config.proxy_protocol = Some("192.0.2.1".parse().unwrap());
        let balancer = at("192.0.2.1:5");
        let refused = admit(&census, &config, at("10.0.0.1:1")).unwrap_err();
        assert_eq!(refused, TurnedAway::NoBalancer);

        let mut first = admit(&census, &config, balancer).unwrap();
        let client = at("10.0.0.1:7");
        let named = identify(&mut first, &config, balancer, Origin::Client(client));
        assert_eq!(named, Ok(client));
        let mut second = admit(&census, &config, balancer).unwrap();
        let again = identify(&mut second, &config, balancer, Origin::Client(client));
        assert_eq!(again, Err((client, TurnedAway::Full(Full::Address))));
        let stranger = at("203.0.113.1:7");
        let outside = identify(&mut second, &config, balancer, Origin::Client(stranger));
        assert_eq!(outside, Err((stranger, TurnedAway::NotAllowed)));
        let unknown = identify(&mut second, &config, balancer, Origin::Unknown);
        assert_eq!(unknown, Err((balancer, TurnedAway::NotAllowed)));
        let look = identify(&mut second, &config, balancer, Origin::Balancer);
        assert_eq!(look, Ok(balancer));
        let (_, counts) = census.counters(&[])[0];
        assert_eq!(counts.turned_away.not_allowed, 2);
        assert_eq!(counts.turned_away.proxy_protocol, 1);
        assert_eq!(counts.turned_away.address_full, 1);
    }

    #[test]
    fn pauses_grow_to_a_second() {
        let mut backoff = Backoff::default();
        assert!(!backoff.failing());
        let pauses: Vec<u128> = (0..9).map(|_| backoff.pause().as_millis()).collect();
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.pause(), Duration::from_millis(20));
    }
}
