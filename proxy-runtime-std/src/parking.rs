//! Where idle sessions are kept without a thread.
//!
//! One thread for all of them asks the kernel whose socket has news. It moves no byte itself, but hands the session to a worker,
//! so that nobody waits for another one's work. Only the end is different: in a shutdown every parked session has something to
//! do at once, and hardly any of them more than to close, for which thousands of threads would be a poor reason. So the
//! parking thread then takes turns with all of them, none of which waits for a peer.
//!
//! Where there is no epoll nobody can park, and a session keeps its thread.

use crate::{
    relay::Turn,
    session::{Context, Parked},
    wait::{Level, Wait},
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use watch::Watch;

/// How long to wait for a thread to become free where no new one is to be had.
const SHORT_OF_THREADS: Duration = Duration::from_millis(20);

/// The parked sessions. By default there is no room for anybody.
#[derive(Default)]
pub(crate) struct Parking(Mutex<Option<Lot>>);

struct Lot {
    watch: Arc<Watch>,
    parked: HashMap<u64, Box<Parked>>,
    /// Never used twice: news of a session that has left is nobody else's.
    next: u64,
}

impl Parking {
    /// Room for as many as the kernel watches; [`attend`] has to run.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub(crate) fn open() -> io::Result<Self> {
        let lot = Watch::new()?.map(|watch| Lot {
            watch: Arc::new(watch),
            parked: HashMap::new(),
            next: 0,
        });
        Ok(Parking(Mutex::new(lot)))
    }

    /// Keeps an idle session until there is news for it; gives it back when there is no room.
    pub(crate) fn park(&self, session: Box<Parked>) -> Result<(), Box<Parked>> {
        let mut lot = self.lot();
        let Some(lot) = &mut *lot else {
            return Err(session);
        };
        let key = lot.next;
        lot.next += 1;
        let [client, server] = session.sockets();
        if lot.watch.add(client, key).is_err() {
            return Err(session);
        }
        if lot.watch.add(server, key).is_err() {
            lot.watch.remove(client);
            return Err(session);
        }
        lot.parked.insert(key, session);
        Ok(())
    }

    /// Takes a session out for which there is news, if it has not been taken out before.
    fn take(&self, key: u64) -> Option<Box<Parked>> {
        let mut lot = self.lot();
        let lot = lot.as_mut()?;
        let session = lot.parked.remove(&key)?;
        for socket in session.sockets() {
            lot.watch.remove(socket);
        }
        Some(session)
    }

    fn watch(&self) -> Option<Arc<Watch>> {
        self.lot().as_ref().map(|lot| lot.watch.clone())
    }

    /// Takes all sessions out; from now on there is no room.
    fn close(&self) -> Vec<Parked> {
        let lot = self.lot().take();
        lot.map(|lot| lot.parked.into_values().map(|session| *session).collect())
            .unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lot().as_ref().map_or(0, |lot| lot.parked.len())
    }

    fn lot(&self) -> MutexGuard<'_, Option<Lot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the parked sessions of a runtime until it is shut down and the last of them has ended.
pub(crate) fn attend(context: &Context) {
    let Some(watch) = context.parking.watch() else {
        return;
    };
    // Sessions with news, as long as there is no thread for them.
    let mut woken = VecDeque::new();
    // Without the news of a shutdown there would be no end: better nobody parks.
    if watch.add_stop(context.stop.beyond(Level::Running)).is_ok() {
        while context.stop.level() == Level::Running {
            let timeout = (!woken.is_empty()).then_some(SHORT_OF_THREADS);
            let keys = watch.wait(timeout);
            woken.extend(keys.filter_map(|key| context.parking.take(key)));
            while let Some(session) = woken.pop_front() {
                if let Err((session, _)) = context.workers.give(session, Parked::go_on) {
                    woken.push_front(session);
                    break;
                }
            }
        }
    }
    let mut left = context.parking.close();
    left.extend(woken.into_iter().map(|session| *session));
    take_turns(left, context);
}

/// Goes on with all the sessions until they have ended.
fn take_turns(mut sessions: Vec<Parked>, context: &Context) {
    while !sessions.is_empty() {
        let mut again = false;
        let turn = |session: Parked| {
            let (session, turn) = session.turn()?;
            again |= matches!(turn, Turn::Again);
            Some(session)
        };
        sessions = sessions.into_iter().filter_map(turn).collect();
        if again || sessions.is_empty() {
            continue;
        }
        let mut wait = Wait::default();
        for session in &sessions {
            session.relay().add_to(&mut wait);
        }
        let heard = sessions
            .iter()
            .filter_map(|session| session.relay().heard());
        if let Some(level) = heard.min() {
            wait.readable(context.stop.beyond(level));
        }
        wait.wait();
    }
}

#[cfg(target_os = "linux")]
mod watch {
    use rustix::{
        buffer::spare_capacity,
        event::{Timespec, epoll},
        fd::{AsFd, OwnedFd},
    };
    use std::{io, net::TcpStream, os::unix::net::UnixStream, time::Duration};

    /// No session has this key.
    const STOP: u64 = u64::MAX;

    /// Sessions whose news are heard of at once.
    const BATCH: usize = 256;

    /// Tells whose sockets are readable, or broken.
    pub(super) struct Watch(OwnedFd);

    impl Watch {
        pub(super) fn new() -> io::Result<Option<Self>> {
            Ok(Some(Watch(epoll::create(epoll::CreateFlags::CLOEXEC)?)))
        }

        pub(super) fn add(&self, socket: &TcpStream, key: u64) -> io::Result<()> {
            self.add_any(socket, key)
        }

        pub(super) fn add_stop(&self, stop: &UnixStream) -> io::Result<()> {
            self.add_any(stop, STOP)
        }

        fn add_any(&self, source: impl AsFd, key: u64) -> io::Result<()> {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
            epoll::add(&self.0, source, epoll::EventData::new_u64(key), flags)?;
            Ok(())
        }

        pub(super) fn remove(&self, socket: &TcpStream) {
            // It was added, and is open.
            let _ = epoll::delete(&self.0, socket);
        }

        /// The keys of those who have news.
        pub(super) fn wait(&self, timeout: Option<Duration>) -> impl Iterator<Item = u64> {
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            let mut events = Vec::with_capacity(BATCH);
            // Nothing but a signal keeps it from waiting: the caller does so again.
            let _ = epoll::wait(&self.0, spare_capacity(&mut events), timeout.as_ref());
            let keys = events
                .into_iter()
                .map(|event: epoll::Event| event.data.u64());
            keys.filter(|key| *key != STOP)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod watch {
    use std::{io, iter, net::TcpStream, os::unix::net::UnixStream, time::Duration};

    /// There is none.
    pub(super) enum Watch {}

    impl Watch {
        pub(super) fn new() -> io::Result<Option<Self>> {
            Ok(None)
        }

        pub(super) fn add(&self, _: &TcpStream, _: u64) -> io::Result<()> {
            match *self {}
        }

        pub(super) fn add_stop(&self, _: &UnixStream) -> io::Result<()> {
            match *self {}
        }

        pub(super) fn remove(&self, _: &TcpStream) {
            match *self {}
        }

        pub(super) fn wait(&self, _: Option<Duration>) -> iter::Empty<u64> {
            match *self {}
        }
    }
}
