//! A thread's own reactor, on epoll with edges.

use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, epoll, eventfd},
    fd::OwnedFd,
    io::Errno,
    time::Timespec,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    future::{Future, poll_fn},
    io,
    net::{SocketAddr, TcpStream},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker, ready},
    time::{Duration, Instant},
};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// The key of what wakes the thread itself.
const WAKE: u64 = 0;

/// Runs one future on this thread and serves the sockets that are registered meanwhile.
pub(crate) struct Reactor(Arc<Shared>);

struct Shared {
    epoll: OwnedFd,
    /// Written to by other threads.
    wake: OwnedFd,
    /// The future wants to be polled.
    woken: AtomicBool,
    /// The thread is in the kernel, or on its way there: only `wake` reaches it.
    asleep: AtomicBool,
    last_key: AtomicU64,
    bells: Mutex<HashMap<u64, Arc<Bell>>>,
    /// Tasks that let the others have their turn.
    resting: Mutex<Vec<Waker>>,
    /// Alarms that are set and have been polled, the next one first.
    alarms: Mutex<BTreeMap<(Instant, u64), Waker>>,
}

impl Reactor {
    /// # Errors
    /// When the system is out of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let shared = Shared {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            woken: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            last_key: AtomicU64::new(WAKE),
            bells: Mutex::default(),
            resting: Mutex::default(),
            alarms: Mutex::default(),
        };
        // With edges it need not be read: each write is one.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(WAKE);
        epoll::add(&shared.epoll, &shared.wake, data, flags)?;
        Ok(Reactor(Arc::new(shared)))
    }

    /// Runs the future to its end. Sockets made within it are registered here.
    pub(crate) fn block_on<T>(self, future: impl Future<Output = T>) -> T {
        let shared = &self.0;
        CURRENT.with(|current| *current.borrow_mut() = Some(shared.clone()));
        let waker = Waker::from(shared.clone());
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        let mut events = Vec::with_capacity(EVENTS);
        let output = loop {
            shared.woken.store(false, SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                break output;
            }
            shared.wait(&mut events);
        };
        CURRENT.with(|current| *current.borrow_mut() = None);
        output
    }
}

impl Shared {
    /// Takes events until the future has a reason to be polled.
    fn wait(&self, events: &mut Vec<epoll::Event>) {
        loop {
            self.asleep.store(true, SeqCst);
            let busy = self.woken.load(SeqCst) || !locked(&self.resting).is_empty();
            let timeout = match busy {
                true => Some(AT_ONCE),
                false => self.until_next_alarm(),
            };
            events.clear();
            // A failure (a signal) is no event: then the loop goes round once more.
            let _ = epoll::wait(&self.epoll, spare_capacity(events), timeout.as_ref());
            self.asleep.store(false, SeqCst);
            if !events.is_empty() {
                let bells = locked(&self.bells);
                for event in events.iter() {
                    let (key, flags) = ({ event.data }.u64(), event.flags);
                    if let Some(bell) = bells.get(&key) {
                        bell.ring(flags);
                    }
                }
            }
            self.ring_alarms();
            // Behind those who have waited for their bytes.
            for waker in std::mem::take(&mut *locked(&self.resting)) {
                waker.wake();
            }
            if self.woken.load(SeqCst) {
                return;
            }
        }
    }
}

impl Shared {
    fn until_next_alarm(&self) -> Option<Timespec> {
        let next = locked(&self.alarms).keys().next()?.0;
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Some(AT_ONCE);
        }
        // The kernel counts in milliseconds here: rather one too late than going round for a part of one. A day is
        // as good as for ever, and no kernel refuses it.
        let left = left.min(Duration::from_secs(86_400)) + Duration::from_millis(1);
        Some(Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(0),
            tv_nsec: (left.subsec_millis() * 1_000_000).into(),
        })
    }

    fn ring_alarms(&self) {
        let mut alarms = locked(&self.alarms);
        if alarms.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(next) = alarms.first_entry()
            && next.key().0 <= now
        {
            next.remove().wake();
        }
    }
}

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, SeqCst) && self.asleep.load(SeqCst) {
            // It cannot fail before 2⁶⁴ - 1 were added.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }
}

/// A socket that is known to its thread's reactor. The kernel forgets it when it is closed.
pub(crate) struct Registration {
    reactor: Arc<Shared>,
    key: u64,
    bell: Arc<Bell>,
}

impl Registration {
    /// `None` on a thread without reactor, or when there is no memory for it.
    pub(crate) fn new(tcp: &TcpStream) -> Option<Self> {
        // The first attempt tells.
        Registration::with(tcp, READABLE | WRITABLE)
    }

    /// Connects to `address`; `None` on a thread without reactor.
    pub(crate) async fn connect(address: SocketAddr) -> Option<io::Result<(TcpStream, Self)>> {
        CURRENT
            .with(|current| current.borrow().is_some())
            .then_some(())?;
        Some(Registration::connect_here(address).await)
    }

    async fn connect_here(address: SocketAddr) -> io::Result<(TcpStream, Self)> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        let tcp = TcpStream::from(socket);
        let registration = Registration::with(&tcp, 0).ok_or(io::ErrorKind::OutOfMemory)?;
        let connected = || match tcp.take_error()? {
            Some(error) => Err(error),
            None => match tcp.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                result => result.map(|_| ()),
            },
        };
        poll_fn(|cx| registration.poll_write(cx, connected)).await?;
        // As for one that was connected already.
        registration.bell.state.fetch_or(READABLE, SeqCst);
        Ok((tcp, registration))
    }

    fn with(tcp: &TcpStream, state: u8) -> Option<Self> {
        let reactor = CURRENT.with(|current| current.borrow().clone())?;
        let key = reactor.last_key.fetch_add(1, SeqCst) + 1;
        let bell = Arc::new(Bell::new(state));
        locked(&reactor.bells).insert(key, bell.clone());
        let registration = Registration { reactor, key, bell };
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(key);
        epoll::add(&registration.reactor.epoll, tcp, data, flags).ok()?;
        Some(registration)
    }

    /// Tries `read` when there may be bytes. It returns whether it has left any behind: without, it is not tried
    /// again before the kernel has announced more.
    pub(crate) fn poll_read<T>(
        &self,
        cx: &mut Context<'_>,
        mut read: impl FnMut() -> io::Result<(T, bool)>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.bell.poll(READABLE | CLOSED, cx));
            // Before the read: what is announced meanwhile counts.
            self.bell.state.fetch_and(!READABLE, SeqCst);
            match read() {
                Ok((value, more)) => {
                    if more {
                        self.bell.state.fetch_or(READABLE, SeqCst);
                    }
                    return Poll::Ready(Ok(value));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Behind the end there is always something to be read, if only the end.
                    self.bell.state.fetch_and(!CLOSED, SeqCst);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.bell.state.fetch_or(READABLE, SeqCst);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Tries `write` when there may be room.
    pub(crate) fn poll_write<T>(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.bell.poll(WRITABLE, cx));
            self.bell.state.fetch_and(!WRITABLE, SeqCst);
            let result = write();
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.bell.state.fetch_or(WRITABLE, SeqCst);
                }
                result => {
                    self.bell.state.fetch_or(WRITABLE, SeqCst);
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Wakes the task when the thread has looked at all its sockets.
    pub(crate) fn rest(&self, cx: &Context<'_>) {
        locked(&self.reactor.resting).push(cx.waker().clone());
        // It may be asleep if it is another thread.
        self.reactor.wake_by_ref();
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        locked(&self.reactor.bells).remove(&self.key);
    }
}

const READABLE: u8 = 1;
const WRITABLE: u8 = 2;
/// The peer has ended: there are no more edges, but always something to be read.
const CLOSED: u8 = 4;

/// What is known of one socket, and the task that wants to know.
struct Bell {
    state: AtomicU8,
    task: Mutex<Waiting>,
}

struct Waiting {
    waker: Waker,
    for_what: u8,
}

impl Bell {
    fn new(state: u8) -> Self {
        Bell {
            state: AtomicU8::new(state),
            task: Mutex::new(Waiting {
                waker: Waker::noop().clone(),
                for_what: 0,
            }),
        }
    }

    fn ring(&self, flags: epoll::EventFlags) {
        use epoll::EventFlags as Flags;
        let mut news = 0;
        if flags.intersects(Flags::IN) {
            news |= READABLE;
        }
        if flags.intersects(Flags::OUT) {
            news |= WRITABLE;
        }
        if flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR) {
            news |= READABLE | CLOSED;
        }
        if flags.intersects(Flags::HUP | Flags::ERR) {
            news |= WRITABLE;
        }
        self.state.fetch_or(news, SeqCst);
        let mut task = locked(&self.task);
        if task.for_what & news != 0 {
            task.for_what &= !news;
            task.waker.wake_by_ref();
        }
    }

    /// Ready when one of these is known; otherwise the task will be woken by it.
    fn poll(&self, what: u8, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.load(SeqCst) & what == 0 {
            let mut task = locked(&self.task);
            task.waker.clone_from(cx.waker());
            task.for_what |= what;
            // What rang before the task was known woke nobody.
            if self.state.load(SeqCst) & what == 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}

/// Wakes its task at a time.
pub(crate) struct Alarm {
    reactor: Arc<Shared>,
    due: Option<Instant>,
    /// Its place among the reactor's, where it is once it has been polled.
    key: Option<(Instant, u64)>,
}

impl Alarm {
    /// `None` on a thread without reactor.
    pub(crate) fn new() -> Option<Self> {
        Some(Alarm {
            reactor: CURRENT.with(|current| current.borrow().clone())?,
            due: None,
            key: None,
        })
    }

    pub(crate) fn set(&mut self, due: Option<Instant>) {
        self.withdraw();
        self.due = due;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        if due <= Instant::now() {
            self.set(None);
            return Poll::Ready(());
        }
        let key = *self
            .key
            .get_or_insert_with(|| (due, self.reactor.last_key.fetch_add(1, SeqCst) + 1));
        locked(&self.reactor.alarms)
            .entry(key)
            .and_modify(|waker| waker.clone_from(cx.waker()))
            .or_insert_with(|| cx.waker().clone());
        // On the reactor's thread it is awake, and will look at its alarms before it sleeps.
        if self.reactor.asleep.load(SeqCst) {
            self.reactor.wake_by_ref();
        }
        Poll::Pending
    }

    fn withdraw(&mut self) {
        if let Some(key) = self.key.take() {
            locked(&self.reactor.alarms).remove(&key);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.withdraw();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
