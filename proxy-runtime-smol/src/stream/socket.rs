//! A TCP connection that asks the kernel no more than it must.

use crate::buffer::{self, Lent};
use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};
use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, TcpStream},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
    time::Duration,
};

/// A TCP connection, with a read-ahead for TLS.
///
/// A read that returns less than it could have has emptied the socket: the next one waits for the reactor at once, instead
/// of asking the kernel in vain; and a task that was woken for another reason does not ask either.
pub(crate) struct Socket {
    tcp: Async<TcpStream>,
    bell: Arc<Bell>,
    reading: Reading,
    ahead: Option<Ahead>,
    reads_ahead: bool,
}

enum Reading {
    /// There may be bytes.
    Ready,
    /// There are none, or they are left for later: wait before the next read.
    Drained,
    /// The reactor was asked to tell when there are some.
    Waiting,
}

struct Ahead {
    bytes: Lent,
    start: usize,
    end: usize,
}

impl Socket {
    /// Takes a new connection over; small segments leave at once and a dead peer is noticed in some minutes.
    pub(crate) fn new(tcp: Async<TcpStream>) -> Self {
        let options = socket2::SockRef::from(tcp.get_ref());
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(300))
            .with_interval(Duration::from_secs(60));
        // Either fails only when the connection has gone already, which the next read tells.
        let _ = options.set_tcp_nodelay(true);
        let _ = options.set_tcp_keepalive(&keepalive);
        Socket {
            tcp,
            bell: Arc::new(Bell::new()),
            reading: Reading::Ready,
            ahead: None,
            reads_ahead: false,
        }
    }

    /// From here on more may be read than is asked for: only right when all that follows is TLS.
    pub(crate) fn read_ahead(mut self) -> Self {
        self.reads_ahead = true;
        self
    }

    /// Whether bytes were read ahead.
    pub(super) fn has_more(&self) -> bool {
        self.ahead.is_some()
    }

    /// Wakes the task for the next bytes, those that are there already included, after the reactor has looked at all
    /// sockets.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !matches!(self.reading, Reading::Waiting) {
            self.wait()?;
        }
        if !matches!(self.reading, Reading::Waiting) || self.bell.has_rung(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Wakes the task after the reactor has looked at all sockets, whatever comes from this one.
    pub(super) fn pause(&self, cx: &mut Context<'_>) -> io::Result<()> {
        // The first answer may be one that was due earlier.
        for _ in 0..2 {
            match self.tcp.poll_writable(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(result) => result?,
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Writes what the kernel takes at once, for a last word on a connection that is given up.
    pub(super) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.get_ref().write(bytes)
    }

    /// Closes with a reset, as a peer does that crashes.
    #[cfg(test)]
    pub(crate) fn reset(self) {
        let options = socket2::SockRef::from(self.tcp.get_ref());
        let _ = options.set_linger(Some(Duration::ZERO));
    }

    /// The first bytes, left in place: how many there are, 0 at the end.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.tcp.get_ref().peek(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.tcp.poll_readable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// One read of the kernel's buffer, `bytes` not being empty.
    fn poll_kernel(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.reading {
                Reading::Ready => match self.tcp.get_ref().read(bytes) {
                    Ok(count) => {
                        if 0 < count && count < bytes.len() {
                            self.reading = Reading::Drained;
                        }
                        return Poll::Ready(Ok(count));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.reading = Reading::Drained;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Poll::Ready(Err(error)),
                },
                Reading::Drained => self.wait()?,
                Reading::Waiting => {
                    if !self.bell.has_rung(cx.waker()) {
                        return Poll::Pending;
                    }
                    self.reading = Reading::Ready;
                }
            }
        }
    }

    /// Asks the reactor to ring the bell once there are bytes, those that are there already included.
    fn wait(&mut self) -> io::Result<()> {
        self.bell.hush();
        let waker = Waker::from(self.bell.clone());
        let mut cx = Context::from_waker(&waker);
        // The first answer may be about bytes that have been read since.
        for _ in 0..2 {
            match self.tcp.poll_readable(&mut cx) {
                Poll::Pending => {
                    self.reading = Reading::Waiting;
                    return Ok(());
                }
                Poll::Ready(result) => result?,
            }
        }
        self.reading = Reading::Ready;
        Ok(())
    }
}

/// Tells one socket's news apart from the other reasons for which its task is woken.
struct Bell {
    rung: AtomicBool,
    task: Mutex<Waker>,
}

impl Bell {
    fn new() -> Self {
        Bell {
            rung: AtomicBool::new(false),
            task: Mutex::new(Waker::noop().clone()),
        }
    }

    fn hush(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }

    /// Whether it has rung; if not, this task will be woken by it.
    fn has_rung(&self, waker: &Waker) -> bool {
        // The task must be known before looking, or a ring between the two is missed.
        self.task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(waker);
        self.rung.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wake_by_ref();
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ahead.is_none() {
            if !this.reads_ahead || bytes.len() >= buffer::PLAINTEXT {
                return this.poll_kernel(cx, bytes);
            }
            let mut lent = buffer::lend();
            let end = ready!(this.poll_kernel(cx, &mut lent))?;
            if end == 0 {
                return Poll::Ready(Ok(0));
            }
            this.ahead = Some(Ahead {
                bytes: lent,
                start: 0,
                end,
            });
        }
        let Some(ahead) = &mut this.ahead else {
            return Poll::Ready(Ok(0));
        };
        let count = bytes.len().min(ahead.end - ahead.start);
        bytes[..count].copy_from_slice(&ahead.bytes[ahead.start..ahead.start + count]);
        ahead.start += count;
        if ahead.start == ahead.end {
            this.ahead = None;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.tcp.get_ref().shutdown(Shutdown::Write) {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
