//! What a runtime has done and is doing, for metrics and for people who look.
//!
//! Every listener counts; every session has a record of its own, which is written by whoever runs that session and read
//! when somebody asks. What a listener's sessions have relayed is summed up then, so that no byte costs more than a store
//! to memory that belongs to its session.

use crate::{Full, TurnedAway};
use proxy_proto::{Refusal, Side};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

/// What one listener has done since the runtime started. Numbers only grow, also when the listener is given another
/// configuration or is closed; [`open`](Self::open) alone goes up and down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Sessions that are open now.
    pub open: u64,
    /// Sessions begun: clients that were not turned away.
    pub sessions: u64,
    /// Clients that were turned away before a session began, by reason.
    pub turned_away: TurnedAwayCounts,
    /// Logins: what became of them. A session may have several.
    pub logins: LoginCounts,
    /// TLS handshakes with clients, from the first byte or behind STARTTLS.
    pub tls_with_clients: Outcomes,
    /// TLS handshakes with servers, from the first byte or behind STARTTLS.
    pub tls_with_servers: Outcomes,
    /// TCP connections to the server, through an outgoing proxy where there is one. All addresses of a name are one
    /// attempt.
    pub connects: Outcomes,
    /// Bytes of plaintext relayed to clients after login; those of open sessions are among them.
    pub to_clients: u64,
    /// Bytes of plaintext relayed to the server after login; those of open sessions are among them.
    pub to_server: u64,
    /// Sessions that a defect of the proxy ended.
    pub defects: u64,
}

/// Clients that were turned away, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnedAwayCounts {
    /// Their network is not among those of [`allow_from`](crate::ListenerConfig::allow_from).
    pub not_allowed: u64,
    /// There was no PROXY protocol header, a wrong one, or one from somebody who is no balancer
    /// ([`proxy_protocol`](crate::ListenerConfig::proxy_protocol)).
    pub proxy_protocol: u64,
    /// There were as many sessions as the runtime may have ([`max_sessions`](crate::Options::max_sessions)).
    pub full: u64,
    /// There were as many sessions as the listener may have ([`max_sessions`](crate::ListenerConfig::max_sessions)).
    pub listener_full: u64,
    /// Their address had as many sessions as it may have
    /// ([`max_sessions_per_address`](crate::Options::max_sessions_per_address)).
    pub address_full: u64,
    /// The system had no thread or no descriptor left for them. Clients whom it does not even let the proxy accept wait
    /// in its queue and are not counted.
    pub no_resources: u64,
}

/// What became of logins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginCounts {
    /// The server let them in.
    pub accepted: u64,
    /// The authenticator or the server refused them for good.
    pub refused: u64,
    /// The client was told to try again later.
    pub temporary: u64,
    /// The client left, or a consent did not come in time.
    pub abandoned: u64,
}

/// How often something worked, and how often it did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// It worked.
    pub ok: u64,
    /// It did not.
    pub failed: u64,
}

/// A session that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenSession {
    /// The number that stands in the log as the session's `id`.
    pub id: u64,
    /// The heading of its listener, such as `IMAP-1993`.
    pub listener: Arc<str>,
    /// The client; behind a balancer the one that the balancer names.
    pub client: SocketAddr,
    /// The login name, once the server has accepted the login.
    pub user: Option<Arc<str>>,
    /// How far it has come.
    pub phase: Phase,
    /// When it began, by the system's clock.
    pub since: SystemTime,
    /// Bytes of plaintext relayed to the client after login.
    pub to_client: u64,
    /// Bytes of plaintext relayed to the server after login.
    pub to_server: u64,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Up to the server's answer to the login.
    Login,
    /// Bytes pass between client and server.
    Relay,
}

/// All counters and open sessions of one runtime.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// In the order in which they were first heard of.
    listeners: Vec<Arc<Tally>>,
    open: HashMap<u64, Arc<SessionRecord>>,
}

/// What a listener counts; bytes are those of sessions that are over.
#[derive(Debug, Default)]
struct Tally {
    heading: Arc<str>,
    sessions: AtomicU64,
    not_allowed: AtomicU64,
    proxy_protocol: AtomicU64,
    full: AtomicU64,
    listener_full: AtomicU64,
    address_full: AtomicU64,
    no_resources: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    temporary: AtomicU64,
    abandoned: AtomicU64,
    tls_with_clients: OutcomeTally,
    tls_with_servers: OutcomeTally,
    connects: OutcomeTally,
    to_clients: AtomicU64,
    to_server: AtomicU64,
    defects: AtomicU64,
}

#[derive(Debug, Default)]
struct OutcomeTally {
    ok: AtomicU64,
    failed: AtomicU64,
}

impl Observations {
    /// The counters of every listener that was ever heard of: first `open` ones in their order, then the others.
    pub(crate) fn counters(&self, open: &[Arc<str>]) -> Vec<(Arc<str>, Counts)> {
        let mut inner = self.inner();
        let mut counts: Vec<(Arc<str>, Counts)> = open
            .iter()
            .map(|heading| inner.tally(heading).counted())
            .collect();
        for tally in &inner.listeners {
            if !open.contains(&tally.heading) {
                counts.push(tally.counted());
            }
        }
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        for (place, (heading, _)) in counts.iter().enumerate() {
            places.entry(heading.clone()).or_insert(place);
        }
        for session in inner.open.values() {
            if let Some(place) = places.get(&session.tally.heading) {
                let (_, counts) = &mut counts[*place];
                counts.open += 1;
                counts.to_clients += session.to_client.load(Relaxed);
                counts.to_server += session.to_server.load(Relaxed);
            }
        }
        counts
    }

    /// The open sessions, the oldest first.
    pub(crate) fn open_sessions(&self) -> Vec<OpenSession> {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let records: Vec<Arc<SessionRecord>> = self.inner().open.values().cloned().collect();
        let mut open: Vec<OpenSession> = records
            .iter()
            .map(|record| OpenSession {
                id: record.id,
                listener: record.tally.heading.clone(),
                client: record.client,
                user: record.user.get().cloned(),
                phase: match record.in_relay.load(Relaxed) {
                    false => Phase::Login,
                    true => Phase::Relay,
                },
                since: clock - now.saturating_duration_since(record.began),
                to_client: record.to_client.load(Relaxed),
                to_server: record.to_server.load(Relaxed),
            })
            .collect();
        open.sort_unstable_by_key(|session| session.id);
        open
    }

    pub(crate) fn turned_away(&self, listener: &Arc<str>, why: TurnedAway) {
        let tally = self.inner().tally(listener);
        add(match why {
            TurnedAway::NoBalancer | TurnedAway::NoHeader => &tally.proxy_protocol,
            TurnedAway::NotAllowed => &tally.not_allowed,
            TurnedAway::Full(Full::All) => &tally.full,
            TurnedAway::Full(Full::Listener) => &tally.listener_full,
            TurnedAway::Full(Full::Address) => &tally.address_full,
            TurnedAway::NoResources => &tally.no_resources,
        });
    }

    /// A session begins.
    pub(crate) fn begin(
        &self,
        id: u64,
        listener: &Arc<str>,
        client: SocketAddr,
    ) -> Arc<SessionRecord> {
        let mut inner = self.inner();
        let tally = inner.tally(listener);
        add(&tally.sessions);
        let record = Arc::new(SessionRecord::new(id, tally, client));
        inner.open.insert(id, record.clone());
        record
    }

    /// A session is over: what it has relayed becomes its listener's, in one step for whoever sums up.
    pub(crate) fn end(&self, record: &SessionRecord) {
        let mut inner = self.inner();
        inner.open.remove(&record.id);
        let tally = &record.tally;
        tally
            .to_clients
            .fetch_add(record.to_client.load(Relaxed), Relaxed);
        tally
            .to_server
            .fetch_add(record.to_server.load(Relaxed), Relaxed);
        // A thousand sessions that left together need not be remembered for ever.
        if inner.open.capacity() > 1024 && inner.open.len() < inner.open.capacity() / 8 {
            let room = inner.open.len() * 2;
            inner.open.shrink_to(room);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tally(&mut self, heading: &Arc<str>) -> Arc<Tally> {
        // There are a handful of them, so that looking through costs less than hashing.
        if let Some(tally) = self
            .listeners
            .iter()
            .find(|tally| tally.heading == *heading)
        {
            return tally.clone();
        }
        let tally = Arc::new(Tally {
            heading: heading.clone(),
            ..Tally::default()
        });
        self.listeners.push(tally.clone());
        tally
    }
}

impl Tally {
    fn counted(&self) -> (Arc<str>, Counts) {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        let counts = Counts {
            open: 0,
            sessions: of(&self.sessions),
            turned_away: TurnedAwayCounts {
                not_allowed: of(&self.not_allowed),
                proxy_protocol: of(&self.proxy_protocol),
                full: of(&self.full),
                listener_full: of(&self.listener_full),
                address_full: of(&self.address_full),
                no_resources: of(&self.no_resources),
            },
            logins: LoginCounts {
                accepted: of(&self.accepted),
                refused: of(&self.refused),
                temporary: of(&self.temporary),
                abandoned: of(&self.abandoned),
            },
            tls_with_clients: self.tls_with_clients.counted(),
            tls_with_servers: self.tls_with_servers.counted(),
            connects: self.connects.counted(),
            to_clients: of(&self.to_clients),
            to_server: of(&self.to_server),
            defects: of(&self.defects),
        };
        (self.heading.clone(), counts)
    }
}

impl OutcomeTally {
    fn count(&self, ok: bool) {
        add(match ok {
            true => &self.ok,
            false => &self.failed,
        });
    }

    fn counted(&self) -> Outcomes {
        Outcomes {
            ok: self.ok.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// What is known of one session. Whoever runs the session tells it what happens; from [`Ticket::begin`](crate::Ticket::begin),
/// or [`SessionRecord::alone`] where there is no runtime.
#[derive(Debug)]
pub struct SessionRecord {
    id: u64,
    tally: Arc<Tally>,
    client: SocketAddr,
    began: Instant,
    user: OnceLock<Arc<str>>,
    in_relay: AtomicBool,
    to_client: AtomicU64,
    to_server: AtomicU64,
}

impl SessionRecord {
    fn new(id: u64, tally: Arc<Tally>, client: SocketAddr) -> Self {
        SessionRecord {
            id,
            tally,
            client,
            began: Instant::now(),
            user: OnceLock::new(),
            in_relay: AtomicBool::new(false),
            to_client: AtomicU64::new(0),
            to_server: AtomicU64::new(0),
        }
    }

    /// That of a session which no runtime counts.
    pub fn alone(listener: &Arc<str>, client: SocketAddr) -> Arc<Self> {
        let tally = Tally {
            heading: listener.clone(),
            ..Tally::default()
        };
        Arc::new(SessionRecord::new(1, Arc::new(tally), client))
    }

    /// Whether the server could be connected to.
    pub fn connected(&self, ok: bool) {
        self.tally.connects.count(ok);
    }

    /// How a TLS handshake with this side ended.
    pub fn tls(&self, with: Side, ok: bool) {
        match with {
            Side::Client => self.tally.tls_with_clients.count(ok),
            Side::Server => self.tally.tls_with_servers.count(ok),
        }
    }

    /// The server has accepted the login.
    pub fn login_accepted(&self, login: &Arc<str>) {
        add(&self.tally.accepted);
        // There is one login that is accepted in a session.
        let _ = self.user.set(login.clone());
    }

    /// The server has refused the login for good.
    pub fn login_refused(&self) {
        add(&self.tally.refused);
    }

    /// The authenticator has no bearer for a login.
    pub fn no_bearer(&self, refusal: &Refusal) {
        add(match refusal {
            Refusal::Denied(_) => &self.tally.refused,
            Refusal::Temporary(_) => &self.tally.temporary,
        });
    }

    /// Nobody waits for the authenticator's answer any more.
    pub fn login_abandoned(&self) {
        add(&self.tally.abandoned);
    }

    /// The relay begins.
    pub fn relay_begins(&self) {
        self.in_relay.store(true, Relaxed);
    }

    /// How many bytes have been relayed to either side, all in all. Cheap enough for each time that any were.
    pub fn relayed(&self, to_client: u64, to_server: u64) {
        self.to_client.store(to_client, Relaxed);
        self.to_server.store(to_server, Relaxed);
    }

    /// A defect of the proxy ends the session.
    pub fn defect(&self) {
        add(&self.tally.defects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Census;

    fn counts(census: &Census, open: &[&str]) -> Vec<(String, Counts)> {
        let open: Vec<Arc<str>> = open.iter().map(|heading| Arc::from(*heading)).collect();
        let counters = census.counters(&open).into_iter();
        counters
            .map(|(heading, counts)| (heading.to_string(), counts))
            .collect()
    }

    #[test]
    fn bytes_stay_when_their_session_ends() {
        let census = Arc::new(Census::default());
        let imap: Arc<str> = "IMAP-1993".into();
        let client: SocketAddr = "203.0.113.1:5".parse().unwrap();
        let mut ticket = census.admit(&imap, None).unwrap();
        let record = ticket.begin(client);
        record.relayed(7, 3);
        record.relayed(70, 30);
        let (_, open) = counts(&census, &["IMAP-1993"])[0];
        assert_eq!((open.open, open.sessions), (1, 1));
        assert_eq!((open.to_clients, open.to_server), (70, 30));
        drop(ticket);
        let (_, over) = counts(&census, &["IMAP-1993"])[0];
        assert_eq!((over.open, over.sessions), (0, 1));
        assert_eq!((over.to_clients, over.to_server), (70, 30));
        assert!(census.open_sessions().is_empty());
    }

    #[test]
    fn open_listeners_come_first_and_closed_ones_are_not_forgotten() {
        let census = Arc::new(Census::default());
        for heading in ["POP-1995", "IMAP-1993"] {
            let mut ticket = census.admit(&heading.into(), None).unwrap();
            ticket.begin("203.0.113.1:5".parse().unwrap());
        }
        let headings: Vec<String> = counts(&census, &["SMTP-1465", "IMAP-1993"])
            .into_iter()
            .map(|(heading, _)| heading)
            .collect();
        assert_eq!(headings, ["SMTP-1465", "IMAP-1993", "POP-1995"]);
    }

    #[test]
    fn an_open_session_shows_how_far_it_has_come() {
        let census = Arc::new(Census::default());
        let before = SystemTime::now();
        let client: SocketAddr = "203.0.113.1:5".parse().unwrap();
        let mut ticket = census.admit(&"IMAP-1993".into(), None).unwrap();
        // Not identified yet: there is nothing to show.
        assert!(census.open_sessions().is_empty());
        let record = ticket.begin(client);
        let seen = &census.open_sessions()[0];
        assert_eq!((&*seen.listener, seen.client), ("IMAP-1993", client));
        assert_eq!((seen.phase, &seen.user), (Phase::Login, &None));
        assert!(seen.since >= before && seen.since <= SystemTime::now());
        record.login_accepted(&"user@example.com".into());
        record.relay_begins();
        let seen = &census.open_sessions()[0];
        assert_eq!(seen.phase, Phase::Relay);
        assert_eq!(seen.user.as_deref(), Some("user@example.com"));
        assert_eq!(seen.id, ticket.id());
    }

    #[test]
    fn every_outcome_has_its_counter() {
        let census = Arc::new(Census::default());
        let mut ticket = census.admit(&"IMAP-1993".into(), None).unwrap();
        let record = ticket.begin("203.0.113.1:5".parse().unwrap());
        record.connected(false);
        record.connected(true);
        record.tls(Side::Server, true);
        record.tls(Side::Client, false);
        record.no_bearer(&Refusal::Denied(String::new()));
        record.no_bearer(&Refusal::Temporary(String::new()));
        record.login_refused();
        record.login_abandoned();
        record.defect();
        let (_, seen) = counts(&census, &[])[0];
        assert_eq!(seen.connects, Outcomes { ok: 1, failed: 1 });
        assert_eq!(seen.tls_with_servers, Outcomes { ok: 1, failed: 0 });
        assert_eq!(seen.tls_with_clients, Outcomes { ok: 0, failed: 1 });
        let logins = LoginCounts {
            accepted: 0,
            refused: 2,
            temporary: 1,
            abandoned: 1,
        };
        assert_eq!((seen.logins, seen.defects), (logins, 1));
    }

    #[test]
    fn a_crowd_that_left_takes_no_room() {
        let census = Arc::new(Census::default());
        let imap: Arc<str> = "IMAP-1993".into();
        let crowd: Vec<_> = (0..10_000)
            .map(|_| {
                let mut ticket = census.admit(&imap, None).unwrap();
                ticket.begin("203.0.113.1:5".parse().unwrap());
                ticket
            })
            .collect();
        assert_eq!(census.open_sessions().len(), 10_000);
        drop(crowd);
        let (_, seen) = counts(&census, &[])[0];
        assert_eq!((seen.open, seen.sessions), (0, 10_000));
        assert!(census.observations().inner().open.capacity() < 2048);
    }
}
