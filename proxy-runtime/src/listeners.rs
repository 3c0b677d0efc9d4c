//! The listeners that are open, and how they become others.

use crate::{
    Bound, ListenError, ListenerConfig, Place, bind, check, messages::configuration as messages,
    trouble::plain,
};
use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The configuration that a listener's next client gets.
#[derive(Clone, Debug)]
pub struct Current(Arc<Mutex<Arc<ListenerConfig>>>);

impl Current {
    fn new(config: ListenerConfig) -> Self {
        Current(Arc::new(Mutex::new(Arc::new(config))))
    }

    /// The configuration now.
    pub fn get(&self) -> Arc<ListenerConfig> {
        self.lock().clone()
    }

    fn set(&self, config: ListenerConfig) {
        *self.lock() = Arc::new(config);
    }

    fn lock(&self) -> MutexGuard<'_, Arc<ListenerConfig>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a runtime accepts, and how it waits.
pub trait Acceptor: Sync {
    /// Accepts at one socket until it is closed.
    type Accepting: Send;

    /// Begins to accept at a listening socket.
    ///
    /// # Errors
    /// When the socket cannot be used.
    fn accept(&self, socket: TcpListener, current: Current) -> io::Result<Self::Accepting>;

    /// Completes when the socket is closed.
    fn close(&self, accepting: Self::Accepting) -> impl Future<Output = ()> + Send;

    /// The addresses of a host name.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Something went wrong that no error tells.
    fn warn(&self, text: &str);
}

/// The listeners of a runtime. Changes must come one after the other: the runtime has a lock for that.
pub struct Listeners<A: Acceptor> {
    acceptor: A,
    open: Mutex<Vec<Open<A::Accepting>>>,
}

/// A listener whose sockets are open; there is at least one.
struct Open<T> {
    current: Current,
    sockets: Vec<(SocketAddr, T)>,
}

impl<A: Acceptor> Listeners<A> {
    /// None yet.
    pub fn new(acceptor: A) -> Self {
        Listeners {
            acceptor,
            open: Mutex::default(),
        }
    }

    /// The open listeners, in the order of the last [`apply`](Self::apply).
    pub fn bound(&self) -> Vec<Bound> {
        let bound = |open: &Open<_>| Bound {
            heading: open.current.get().heading.clone(),
            addresses: open.sockets.iter().map(|(address, _)| *address).collect(),
        };
        self.open().iter().map(bound).collect()
    }

    /// Their headings, in the same order.
    pub fn headings(&self) -> Vec<Arc<str>> {
        let open = self.open();
        let headings = open.iter().map(|one| one.current.get().heading.clone());
        headings.collect()
    }

    /// Makes `listeners` the ones that are open: new ones are bound, missing ones closed, those with the same
    /// address and port stay bound ([`ListenerConfig::same_sockets`]) and take over the rest of the new configuration
    /// for later clients; host names among them are resolved again. Ports given up are free when this completes.
    ///
    /// # Errors
    /// All listeners that cannot be opened; in that case nothing has changed.
    pub async fn apply(&self, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>> {
        let errors = check(&listeners);
        if !errors.is_empty() {
            return Err(errors);
        }
        let existing: Vec<Arc<ListenerConfig>> =
            self.open().iter().map(|one| one.current.get()).collect();
        let (kept, fresh): (Vec<_>, Vec<_>) = listeners
            .iter()
            .partition(|new| existing.iter().any(|old| new.same_sockets(old)));
        let leaving = |old: &ListenerConfig| !kept.iter().any(|new| new.same_sockets(old));
        // A port may move from one address to another: its old sockets have to go before the new ones can be bound.
        let in_the_way = |old: &ListenerConfig| {
            leaving(old) && old.port != 0 && fresh.iter().any(|new| new.port == old.port)
        };
        let (moving, new): (Vec<&ListenerConfig>, Vec<&ListenerConfig>) =
            fresh.iter().partition(|new| {
                existing
                    .iter()
                    .any(|old| in_the_way(old) && old.port == new.port)
            });
        let headings: Vec<Arc<str>> = kept.iter().map(|config| config.heading.clone()).collect();

        let mut bound = self.bind_each(new).await?;
        let displaced: Vec<Open<_>> = {
            let mut open = self.open();
            let (displaced, rest) = std::mem::take(&mut *open)
                .into_iter()
                .partition(|one| in_the_way(&one.current.get()));
            *open = rest;
            displaced
        };
        let before: Vec<_> = displaced.iter().map(|one| one.current.get()).collect();
        self.close_each(displaced).await;
        match self.bind_each(moving).await {
            Ok(moved) => bound.extend(moved),
            Err(errors) => {
                self.reopen(before).await;
                return Err(errors);
            }
        }
        let leaving = self.replace(listeners, bound);
        self.close_each(leaving).await;
        for heading in headings {
            self.refresh(&heading).await;
        }
        Ok(())
    }

    /// Closes them all.
    pub async fn close(&self) {
        let open = std::mem::take(&mut *self.open());
        self.close_each(open).await;
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open<A::Accepting>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn close_each(&self, listeners: Vec<Open<A::Accepting>>) {
        for (_, accepting) in listeners.into_iter().flat_map(|one| one.sockets) {
            self.acceptor.close(accepting).await;
        }
    }

    async fn bind_each(
        &self,
        listeners: Vec<&ListenerConfig>,
    ) -> Result<Vec<(ListenerConfig, Vec<TcpListener>)>, Vec<ListenError>> {
        let mut bound = Vec::new();
        let mut errors = Vec::new();
        for config in listeners {
            match self.bind(config).await {
                Ok(sockets) => bound.push((config.clone(), sockets)),
                Err(error) => errors.push(error),
            }
        }
        match errors.is_empty() {
            true => Ok(bound),
            false => Err(errors),
        }
    }

    async fn bind(&self, config: &ListenerConfig) -> Result<Vec<TcpListener>, ListenError> {
        let place = match Place::of(&config.address) {
            Place::Name if config.ready.is_empty() => {
                let resolved = self.acceptor.resolve(&config.address, config.port).await;
                Place::resolved(resolved.map_err(|source| ListenError::Resolve {
                    heading: config.heading.clone(),
                    address: config.address.clone(),
                    source,
                })?)
            }
            place => place,
        };
        bind(config, &place, config.port)
    }

    /// Opens again what was closed for others that could not be opened.
    async fn reopen(&self, listeners: Vec<Arc<ListenerConfig>>) {
        for config in listeners {
            match self.bind(&config).await {
                Ok(sockets) => {
                    let reopened = self.accept(Arc::unwrap_or_clone(config), sockets);
                    self.open().extend(reopened);
                }
                Err(error) => self.acceptor.warn(&messages::not_opened_again(error)),
            }
        }
    }

    /// Puts the listeners in their new order; returns those that are not among them any more.
    fn replace(
        &self,
        listeners: Vec<ListenerConfig>,
        mut bound: Vec<(ListenerConfig, Vec<TcpListener>)>,
    ) -> Vec<Open<A::Accepting>> {
        let mut open = self.open();
        let mut before = std::mem::take(&mut *open);
        for config in listeners {
            if let Some(index) = before
                .iter()
                .position(|old| config.same_sockets(&old.current.get()))
            {
                let stays = before.swap_remove(index);
                stays.current.set(config);
                open.push(stays);
            } else if let Some(index) = bound.iter().position(|(new, _)| config.same_sockets(new)) {
                let (_, sockets) = bound.swap_remove(index);
                open.extend(self.accept(config, sockets));
            }
        }
        before
    }

    fn accept(
        &self,
        config: ListenerConfig,
        sockets: Vec<TcpListener>,
    ) -> Option<Open<A::Accepting>> {
        let current = Current::new(config);
        let sockets: Vec<_> = sockets
            .into_iter()
            .filter_map(|socket| self.accept_at(socket, &current))
            .collect();
        (!sockets.is_empty()).then_some(Open { current, sockets })
    }

    fn accept_at(
        &self,
        socket: TcpListener,
        current: &Current,
    ) -> Option<(SocketAddr, A::Accepting)> {
        let begun = socket
            .local_addr()
            .and_then(|address| Ok((address, self.acceptor.accept(socket, current.clone())?)));
        begun
            .map_err(|error| {
                let heading = current.get().heading.clone();
                let text = messages::cannot_accept_at(heading, plain(&error));
                self.acceptor.warn(&text);
            })
            .ok()
    }

    /// Follows a host name to other addresses. What cannot be resolved or bound leaves the listener as it is.
    async fn refresh(&self, heading: &Arc<str>) {
        let found = self.open().iter().find_map(|one| {
            let config = one.current.get();
            let addresses: Vec<_> = one.sockets.iter().map(|(address, _)| *address).collect();
            (config.heading == *heading).then_some((config, addresses))
        });
        let Some((config, have)) = found else {
            return;
        };
        if Place::of(&config.address) != Place::Name || !config.ready.is_empty() {
            return;
        }
        let resolved = match self.acceptor.resolve(&config.address, config.port).await {
            Ok(resolved) => Place::resolved(resolved),
            Err(error) => {
                let text = messages::not_followed(heading, &config.address, error);
                return self.acceptor.warn(&text);
            }
        };
        let Place::Each(wanted) = &resolved else {
            return;
        };
        let has = |address: &IpAddr| have.iter().any(|bound| bound.ip() == *address);
        let missing: Vec<IpAddr> = wanted.iter().filter(|one| !has(one)).copied().collect();
        let port = have.first().map_or(config.port, SocketAddr::port);
        let mut sockets = Vec::new();
        for address in missing {
            // An address that this machine lacks is told only when it was all there is.
            if let Ok(bound) = bind(&config, &Place::Each(vec![address]), port) {
                sockets.extend(bound);
            }
        }
        let leaving = {
            let mut open = self.open();
            let Some(one) = open
                .iter_mut()
                .find(|one| one.current.get().heading == *heading)
            else {
                return;
            };
            let current = one.current.clone();
            let added = sockets
                .into_iter()
                .filter_map(|socket| self.accept_at(socket, &current));
            one.sockets.extend(added);
            let (stays, leaving): (Vec<_>, Vec<_>) = std::mem::take(&mut one.sockets)
                .into_iter()
                .partition(|(address, _)| wanted.contains(&address.ip()));
            // With none of the new addresses at hand, the old ones are better than nothing.
            match stays.is_empty() {
                true => {
                    one.sockets = leaving;
                    let text = messages::nowhere_to_follow(heading, &config.address);
                    self.acceptor.warn(&text);
                    Vec::new()
                }
                false => {
                    one.sockets = stays;
                    one.sockets.sort_by_key(|(address, _)| address.is_ipv4());
                    leaving
                }
            }
        };
        for (_, accepting) in leaving {
            self.acceptor.close(accepting).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trust;
    use futures_lite::future::block_on;
    use proxy_proto::{Protocol, SessionConfig};

    /// Accepts nothing; its host names have the addresses that the test says.
    #[derive(Default)]
    struct Still(Mutex<Vec<IpAddr>>);

    impl Acceptor for &Still {
        type Accepting = TcpListener;

        fn accept(&self, socket: TcpListener, _: Current) -> io::Result<TcpListener> {
            Ok(socket)
        }

        async fn close(&self, socket: TcpListener) {
            drop(socket);
        }

        async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let addresses = self.0.lock().unwrap();
            match addresses.is_empty() {
                true => Err(io::ErrorKind::NotFound.into()),
                false => Ok(addresses
                    .iter()
                    .map(|address| SocketAddr::new(*address, port))
                    .collect()),
            }
        }

        fn warn(&self, _: &str) {}
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_kept_host_name_is_followed() {
        let still = Still::default();
        let resolve_to = |last: &[u8]| {
            *still.0.lock().unwrap() = last.iter().map(|n| [127, 0, 0, *n].into()).collect();
        };
        let listeners = Listeners::new(&still);
        let folder = crate::testing::Authority::new();
        let mut config = ListenerConfig::new(
            "IMAP-1993",
            0,
            "127.0.0.1",
            993,
            SessionConfig::new(Protocol::Imap),
            Trust::only(folder.path("ca.pem"))
                .client_config(None)
                .unwrap(),
        );
        config.address = "mail.example".to_owned();
        let apply = || block_on(listeners.apply(vec![config.clone()])).unwrap();
        let bound = || -> Vec<SocketAddr> { listeners.bound()[0].addresses.clone() };

        resolve_to(&[1, 2]);
        apply();
        let first = bound();
        let port = first[0].port();
        let at = |last: u8| SocketAddr::new([127, 0, 0, last].into(), port);
        assert_eq!(first, [at(1), at(2)]);
        resolve_to(&[2, 3]);
        apply();
        assert_eq!(bound(), [at(2), at(3)]);
        TcpListener::bind(at(1)).unwrap();
        // A name that cannot be resolved for the moment changes nothing.
        resolve_to(&[]);
        apply();
        assert_eq!(bound(), [at(2), at(3)]);
        // Nor do addresses that this machine lacks (RFC 5737).
        *still.0.lock().unwrap() = vec![[192, 0, 2, 1].into()];
        apply();
        assert_eq!(bound(), [at(2), at(3)]);
    }
}
