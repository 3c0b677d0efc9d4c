//! The one place where threads wait, and what wakes them.

use crate::stream::Stream;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{AsFd, AsRawFd as _},
    io::Errno,
};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task,
    time::{Duration, Instant},
};

/// What a thread waits for; everything that is named here must be tried when [`wait`](Self::wait) returns.
#[derive(Default)]
pub(crate) struct Wait<'a> {
    polled: Vec<PollFd<'a>>,
    deadline: Option<Instant>,
}

/// What a connection is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl<'a> Wait<'a> {
    pub(crate) fn readable(&mut self, source: &'a impl AsFd) {
        self.polled.push(PollFd::new(source, PollFlags::IN));
    }

    pub(crate) fn writable(&mut self, source: &'a impl AsFd) {
        self.polled.push(PollFd::new(source, PollFlags::OUT));
    }

    /// A connection of which nothing is wanted is left out: its end would be reported again and again.
    pub(crate) fn stream(&mut self, stream: &'a Stream, interest: Interest) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, interest.read);
        flags.set(PollFlags::OUT, interest.write);
        if !flags.is_empty() {
            self.polled.push(PollFd::new(stream.tcp(), flags));
        }
    }

    /// The earliest one counts.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.deadline = Some(
            self.deadline
                .map_or(deadline, |before| before.min(deadline)),
        );
    }

    /// Blocks until something is ready or the deadline has come.
    pub(crate) fn wait(mut self) -> Ready<'a> {
        let timeout = self.deadline.map(|deadline| {
            // Rounded up, so that the deadline has come when the time is over.
            let left = deadline.saturating_duration_since(Instant::now());
            left + Duration::from_nanos(1)
        });
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut self.polled, timeout.as_ref()) {
            Ok(_) => return Ready(Some(self.polled)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nothing but a lack of memory leads here: the callers try everything again after a while.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        Ready(None)
    }
}

/// What a wait has found; `None`: it could not look.
pub(crate) struct Ready<'a>(Option<Vec<PollFd<'a>>>);

impl Ready<'_> {
    /// Whether there may be news of this one: bytes, room, its end or an error.
    pub(crate) fn has(&self, source: &impl AsFd) -> bool {
        let source = source.as_fd().as_raw_fd();
        let news = |p: &PollFd<'_>| p.as_fd().as_raw_fd() == source && !p.revents().is_empty();
        self.0.as_ref().is_none_or(|polled| polled.iter().any(news))
    }
}

/// Wakes one thread from another one, or from a future's waker.
pub(crate) struct Wake {
    woken: AtomicBool,
    sender: UnixStream,
    receiver: UnixStream,
}

impl Wake {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Arc::new(Wake {
            woken: AtomicBool::new(false),
            sender,
            receiver,
        }))
    }

    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            // A full socket wakes as well as a fuller one.
            let _ = (&self.sender).write(&[1]);
        }
    }

    /// Whether it was woken since the last time.
    pub(crate) fn take(&self) -> bool {
        if !self.woken.load(Ordering::SeqCst) {
            return false;
        }
        // First the byte, then the mark: whoever comes in between sends another byte.
        let _ = (&self.receiver).read(&mut [0; 16]);
        self.woken.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn source(&self) -> &UnixStream {
        &self.receiver
    }
}

impl task::Wake for Wake {
    fn wake(self: Arc<Self>) {
        Wake::wake(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Wake::wake(self);
    }
}

/// Something that is told once and heard by all who wait for it: told by dropping the teller, or by the teller's end.
pub(crate) fn told_once() -> io::Result<(Teller, Heard)> {
    let (teller, heard) = UnixStream::pair()?;
    heard.set_nonblocking(true)?;
    Ok((Teller(Some(teller)), Heard(heard)))
}

pub(crate) struct Teller(Option<UnixStream>);

impl Teller {
    /// Nobody listens.
    pub(crate) fn needless() -> Self {
        Teller(None)
    }

    pub(crate) fn tell(&mut self) {
        self.0 = None;
    }
}

/// Readable once it has been told, and from then on.
pub(crate) struct Heard(UnixStream);

impl Heard {
    pub(crate) fn source(&self) -> &UnixStream {
        &self.0
    }

    pub(crate) fn is_told(&self) -> bool {
        matches!((&self.0).read(&mut [0]), Ok(0))
    }
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Running,
    /// Say farewell, drain.
    Draining,
    /// End now.
    Cut,
}

/// The runtime's shutdown: told to all sessions, with two sockets for all of them.
pub(crate) struct Stop {
    level: AtomicU8,
    tellers: Mutex<[Teller; 2]>,
    draining: Heard,
    cut: Heard,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        let (drain, draining) = told_once()?;
        let (end, cut) = told_once()?;
        Ok(Stop {
            level: AtomicU8::new(Level::Running as u8),
            tellers: Mutex::new([drain, end]),
            draining,
            cut,
        })
    }

    pub(crate) fn level(&self) -> Level {
        match self.level.load(Ordering::SeqCst) {
            0 => Level::Running,
            1 => Level::Draining,
            _ => Level::Cut,
        }
    }

    /// Never lowers.
    pub(crate) fn raise(&self, level: Level) {
        self.level.fetch_max(level as u8, Ordering::SeqCst);
        let mut tellers = self.tellers.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, teller) in [Level::Draining, Level::Cut].into_iter().zip(&mut *tellers) {
            if level >= at {
                teller.tell();
            }
        }
    }

    /// What is readable once the level is above this one.
    pub(crate) fn beyond(&self, level: Level) -> &UnixStream {
        match level {
            Level::Running => self.draining.source(),
            Level::Draining | Level::Cut => self.cut.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(source: &UnixStream) -> bool {
        let mut polled = [PollFd::new(source, PollFlags::IN)];
        let at_once = Timespec::default();
        poll(&mut polled, Some(&at_once)).unwrap() > 0
    }

    #[test]
    fn waking_is_heard_once() {
        let wake = Wake::new().unwrap();
        assert!(!wake.take());
        wake.wake();
        wake.wake();
        assert!(is_readable(wake.source()));
        assert!(wake.take());
        assert!(!is_readable(wake.source()));
        assert!(!wake.take());
        task::Waker::from(wake.clone()).wake();
        assert!(wake.take());
    }

    #[test]
    fn levels_are_told_one_after_the_other() {
        let stop = Stop::new().unwrap();
        assert!(!is_readable(stop.beyond(Level::Running)));
        stop.raise(Level::Draining);
        assert!(is_readable(stop.beyond(Level::Running)));
        assert!(!is_readable(stop.beyond(Level::Draining)));
        stop.raise(Level::Cut);
        stop.raise(Level::Draining);
        assert_eq!(stop.level(), Level::Cut);
        assert!(is_readable(stop.beyond(Level::Draining)));
    }

    #[test]
    fn a_deadline_has_come_when_its_wait_is_over() {
        let deadline = Instant::now() + Duration::from_millis(3);
        let mut wait = Wait::default();
        wait.until(deadline + Duration::from_secs(60));
        wait.until(deadline);
        wait.wait();
        assert!(Instant::now() >= deadline);
    }
}
