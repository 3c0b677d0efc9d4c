//! A TCP connection.

use crate::{buffer::Lent, reactor::Registration};
use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};
use proxy_runtime::PLAINTEXT;
use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A TCP connection, with a read-ahead for TLS. It belongs to the task that uses it.
pub(crate) struct Socket {
    source: Source,
    ahead: Option<Ahead>,
    reads_ahead: bool,
}

enum Source {
    /// Served by the reactor of the thread on which it was made.
    Own(TcpStream, Registration),
    /// Served by async-io's, where the thread has none.
    Shared(Async<TcpStream>),
    /// It got lost on the way from one to the other.
    Lost,
}

struct Ahead {
    bytes: Lent,
    start: usize,
    end: usize,
}

impl Socket {
    /// Takes a new connection over.
    pub(crate) fn new(tcp: Async<TcpStream>) -> Self {
        Socket::of(match Registration::new(tcp.get_ref()) {
            Some(registration) => match tcp.into_inner() {
                Ok(tcp) => Source::Own(tcp, registration),
                Err(_) => Source::Lost,
            },
            None => Source::Shared(tcp),
        })
    }

    /// Connects to one address.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Socket::of(match Registration::connect(address).await {
            Some(result) => {
                let (tcp, registration) = result?;
                Source::Own(tcp, registration)
            }
            None => Source::Shared(Async::<TcpStream>::connect(address).await?),
        }))
    }

    fn of(source: Source) -> Self {
        let socket = Socket {
            source,
            ahead: None,
            reads_ahead: false,
        };
        if let Ok(tcp) = socket.tcp() {
            proxy_runtime::prepare(tcp);
        }
        socket
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

    /// Wakes the task when the thread's other sockets have been looked at, too.
    pub(super) fn rest(&self, cx: &mut Context<'_>) -> io::Result<()> {
        match &self.source {
            Source::Own(_, registration) => registration.rest(cx),
            Source::Shared(tcp) => {
                // The first answer may be one that was due earlier.
                for _ in 0..2 {
                    match tcp.poll_writable(cx) {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(result) => result?,
                    }
                }
                cx.waker().wake_by_ref();
            }
            Source::Lost => return Err(lost()),
        }
        Ok(())
    }

    /// Closes with a reset, as a peer does that crashes.
    #[cfg(test)]
    pub(crate) fn reset(self) {
        let options = socket2::SockRef::from(self.tcp().unwrap());
        let _ = options.set_linger(Some(std::time::Duration::ZERO));
    }

    /// The first bytes, left in place: how many there are, 0 at the end.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &self.source {
            Source::Own(tcp, registration) => {
                registration.poll_read(cx, || tcp.peek(bytes).map(|count| (count, true)))
            }
            Source::Shared(tcp) => loop {
                match tcp.get_ref().peek(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(tcp.poll_readable(cx))?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return Poll::Ready(result),
                }
            },
            Source::Lost => Poll::Ready(Err(lost())),
        }
    }

    /// One read of the kernel's buffer, `bytes` not being empty.
    fn poll_kernel(&mut self, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.source {
            Source::Own(tcp, registration) => registration.poll_read(cx, || {
                let count = tcp.read(bytes)?;
                // A read that returns less than it could has emptied the socket.
                Ok((count, count == 0 || count == bytes.len()))
            }),
            Source::Shared(tcp) => Pin::new(tcp).poll_read(cx, bytes),
            Source::Lost => Poll::Ready(Err(lost())),
        }
    }

    pub(crate) fn tcp(&self) -> io::Result<&TcpStream> {
        match &self.source {
            Source::Own(tcp, _) => Ok(tcp),
            Source::Shared(tcp) => Ok(tcp.get_ref()),
            Source::Lost => Err(lost()),
        }
    }
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ahead.is_none() {
            if !this.reads_ahead || bytes.len() >= PLAINTEXT {
                return this.poll_kernel(cx, bytes);
            }
            let mut lent = Lent::lend();
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
        match &mut self.get_mut().source {
            Source::Own(tcp, registration) => registration.poll_write(cx, || tcp.write(bytes)),
            Source::Shared(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Source::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().source {
            Source::Own(tcp, registration) => {
                registration.poll_write(cx, || tcp.write_vectored(bytes))
            }
            Source::Shared(tcp) => Pin::new(tcp).poll_write_vectored(cx, bytes),
            Source::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.tcp()?.shutdown(Shutdown::Write) {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
