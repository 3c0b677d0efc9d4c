//! How many sessions there are, and whether there may be one more.

use crate::{
    messages::client as messages,
    observe::{Counts as Counted, Observations, OpenSession, SessionRecord},
};
use event_listener::{Event, Listener, listener};
use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Counts sessions: in all, by listener and by client address; and keeps what was observed of them.
#[derive(Debug, Default)]
pub struct Census {
    counts: Mutex<Counts>,
    empty: Event,
    observations: Observations,
}

#[derive(Debug, Default)]
struct Counts {
    most: Option<usize>,
    most_per_address: Option<usize>,
    all: usize,
    last_id: u64,
    by_listener: HashMap<Arc<str>, usize>,
    by_address: HashMap<IpAddr, usize>,
}

/// A session's place; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    census: Arc<Census>,
    id: u64,
    listener: Arc<str>,
    address: Option<IpAddr>,
    record: Option<Arc<SessionRecord>>,
}

/// Which limit turned a client away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// That on sessions in all.
    All,
    /// That of the listener.
    Listener,
    /// That on sessions of one address.
    Address,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Full::All => messages::TOO_MANY_SESSIONS,
            Full::Listener => messages::TOO_MANY_OF_LISTENER,
            Full::Address => messages::TOO_MANY_OF_ADDRESS,
        })
    }
}

impl Census {
    /// Nobody yet.
    pub fn new(most: Option<usize>, most_per_address: Option<usize>) -> Self {
        let census = Census::default();
        census.limit(most, most_per_address);
        census
    }

    /// Other limits from now on; sessions beyond them go on.
    pub fn limit(&self, most: Option<usize>, most_per_address: Option<usize>) {
        let mut counts = self.counts();
        counts.most = most;
        counts.most_per_address = most_per_address;
    }

    /// One more session, unless the limit on all or that of its listener is reached. It counts for no address before
    /// [`Ticket::attribute`].
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(
        self: &Arc<Self>,
        listener: &Arc<str>,
        most: Option<usize>,
    ) -> Result<Ticket, Full> {
        let mut counts = self.counts();
        if counts.most.is_some_and(|most| counts.all >= most) {
            return Err(Full::All);
        }
        let here = counts.by_listener.get(listener).copied().unwrap_or(0);
        if most.is_some_and(|most| here >= most) {
            return Err(Full::Listener);
        }
        counts.all += 1;
        counts.last_id += 1;
        counts.by_listener.insert(listener.clone(), here + 1);
        Ok(Ticket {
            census: self.clone(),
            id: counts.last_id,
            listener: listener.clone(),
            address: None,
            record: None,
        })
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.counts().all
    }

    /// Completes when there is no session any more.
    pub async fn emptied(&self) {
        loop {
            listener!(self.empty => none_left);
            if self.sessions() == 0 {
                return;
            }
            none_left.await;
        }
    }

    /// Blocks until there is no session any more or the deadline has come; whether there is none.
    pub fn emptied_by(&self, deadline: Instant) -> bool {
        loop {
            listener!(self.empty => none_left);
            if self.sessions() == 0 {
                return true;
            }
            if none_left.wait_deadline(deadline).is_none() {
                return self.sessions() == 0;
            }
        }
    }

    /// What every listener that was ever heard of has done: first `open` ones in their order, then the others.
    pub fn counters(&self, open: &[Arc<str>]) -> Vec<(Arc<str>, Counted)> {
        self.observations.counters(open)
    }

    /// The sessions that are open, the oldest first. Connections of balancers that have not said for whom they stand are
    /// not among them.
    pub fn open_sessions(&self) -> Vec<OpenSession> {
        self.observations.open_sessions()
    }

    /// A client of this listener is not served: one that has no ticket, because [`admit`](crate::admit) was not asked or a
    /// thread could not take it.
    pub fn turned_away(&self, listener: &Arc<str>, why: crate::TurnedAway) {
        self.observations.turned_away(listener, why);
    }

    pub(crate) fn observations(&self) -> &Observations {
        &self.observations
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// The session's number: counted from 1 on, for logs.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The session's record, once it has [begun](Self::begin).
    pub fn record(&self) -> Option<&Arc<SessionRecord>> {
        self.record.as_ref()
    }

    /// The client is known, and its session begins.
    pub fn begin(&mut self, client: SocketAddr) -> Arc<SessionRecord> {
        let begin = || {
            self.census
                .observations
                .begin(self.id, &self.listener, client)
        };
        self.record.get_or_insert_with(begin).clone()
    }

    /// A client is not served after all.
    pub fn turned_away(&self, why: crate::TurnedAway) {
        self.census.observations.turned_away(&self.listener, why);
    }

    /// From here on the session counts as one of this address, instead of any other one.
    ///
    /// # Errors
    /// When that address has as many as are allowed; then the session counts for no address.
    pub fn attribute(&mut self, address: IpAddr) -> Result<(), Full> {
        let mut counts = self.census.counts();
        if let Some(before) = self.address.take() {
            counts.leave_address(before);
        }
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.most_per_address.is_some_and(|most| here >= most) {
            return Err(Full::Address);
        }
        counts.by_address.insert(address, here + 1);
        self.address = Some(address);
        Ok(())
    }
}

impl Counts {
    fn leave_address(&mut self, address: IpAddr) {
        if let Some(here) = self.by_address.get_mut(&address) {
            *here -= 1;
            if *here == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(record) = &self.record {
            self.census.observations.end(record);
        }
        let mut counts = self.census.counts();
        counts.all -= 1;
        if let Some(here) = counts.by_listener.get_mut(&self.listener) {
            *here -= 1;
            if *here == 0 {
                counts.by_listener.remove(&self.listener);
            }
        }
        if let Some(address) = self.address {
            counts.leave_address(address);
        }
        if counts.all == 0 {
            self.census.empty.notify(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn limits_hold_and_places_are_given_back() {
        let census = Arc::new(Census::new(Some(2), Some(1)));
        let imap: Arc<str> = "IMAP-1".into();
        let one: IpAddr = [127, 0, 0, 1].into();
        let two: IpAddr = [127, 0, 0, 2].into();
        let mut first = census.admit(&imap, None).unwrap();
        first.attribute(one).unwrap();
        assert_eq!(census.admit(&imap, Some(1)).unwrap_err(), Full::Listener);
        let mut second = census.admit(&imap, Some(2)).unwrap();
        assert_eq!(second.attribute(one), Err(Full::Address));
        second.attribute(two).unwrap();
        assert_eq!(census.admit(&imap, None).unwrap_err(), Full::All);
        // A balancer's connection counts for the client that its header names.
        second.attribute(one).unwrap_err();
        drop(first);
        second.attribute(one).unwrap();
        assert_eq!(census.sessions(), 1);
        assert!(!census.emptied_by(Instant::now()));
        drop(second);
        assert_eq!(census.sessions(), 0);
        assert!(census.counts().by_address.is_empty());
        assert!(census.counts().by_listener.is_empty());
        futures_lite::future::block_on(census.emptied());
        assert!(census.emptied_by(Instant::now()));
    }

    #[test]
    fn other_limits_hold_for_later_sessions() {
        let census = Arc::new(Census::new(Some(1), None));
        let imap: Arc<str> = "IMAP-1".into();
        let first = census.admit(&imap, None).unwrap();
        assert!(census.admit(&imap, None).is_err());
        census.limit(None, None);
        let second = census.admit(&imap, None).unwrap();
        census.limit(Some(1), None);
        drop(first);
        assert!(census.admit(&imap, None).is_err());
        drop(second);
        assert!(census.admit(&imap, None).is_ok());
    }

    #[test]
    fn the_last_one_wakes_who_waits() {
        let census = Arc::new(Census::default());
        let ticket = census.admit(&"IMAP-1".into(), None).unwrap();
        let waiting = census.clone();
        let waiter = std::thread::spawn(move || {
            waiting.emptied_by(Instant::now() + Duration::from_secs(60))
        });
        drop(ticket);
        assert!(waiter.join().unwrap());
    }
}
