//! How many sessions there are, and whether there may be one more.

use event_listener::{Event, listener};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts sessions, in all and by client address.
#[derive(Debug, Default)]
pub(crate) struct Census {
    counts: Mutex<Counts>,
    empty: Event,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A session's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    census: Arc<Census>,
    address: IpAddr,
}

/// Which limit turned a client away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    All,
    Address,
}

impl Census {
    /// One more session, if neither limit is reached.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        most: Option<usize>,
        most_per_address: Option<usize>,
    ) -> Result<Ticket, Full> {
        let mut counts = self.counts();
        if most.is_some_and(|most| counts.all >= most) {
            return Err(Full::All);
        }
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if most_per_address.is_some_and(|most| here >= most) {
            return Err(Full::Address);
        }
        counts.all += 1;
        counts.by_address.insert(address, here + 1);
        Ok(Ticket {
            census: self.clone(),
            address,
        })
    }

    pub(crate) fn sessions(&self) -> usize {
        self.counts().all
    }

    /// Completes when there is no session any more.
    pub(crate) async fn emptied(&self) {
        loop {
            listener!(self.empty => none_left);
            if self.sessions() == 0 {
                return;
            }
            none_left.await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.census.counts();
        counts.all -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.address);
            }
        }
        if counts.all == 0 {
            self.census.empty.notify(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_places_are_given_back() {
        let census = Arc::new(Census::default());
        let one: IpAddr = [127, 0, 0, 1].into();
        let two: IpAddr = [127, 0, 0, 2].into();
        let first = census.admit(one, Some(2), Some(1)).unwrap();
        assert_eq!(
            census.admit(one, Some(2), Some(1)).unwrap_err(),
            Full::Address
        );
        let second = census.admit(two, Some(2), Some(1)).unwrap();
        assert_eq!(census.admit(two, Some(2), None).unwrap_err(), Full::All);
        drop(first);
        assert_eq!(census.sessions(), 1);
        let first = census.admit(one, Some(2), Some(1)).unwrap();
        drop((first, second));
        assert_eq!(census.sessions(), 0);
        assert!(census.counts().by_address.is_empty());
        smol::block_on(census.emptied());
    }
}
