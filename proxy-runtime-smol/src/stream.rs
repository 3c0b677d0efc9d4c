//! One connection, plain or TLS.

use crate::buffer::{self, Lent};
use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::TlsStream;
use std::{
    io::{self, IoSlice},
    net::{Shutdown, TcpStream},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

/// A connection to a client or a server.
pub(crate) enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    /// Whether another read may yield bytes without asking the kernel.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::Tls(tls) => {
                let (socket, connection) = tls.get_ref();
                // rustls wants to read as long as it holds no decrypted bytes (nor the end of them).
                socket.has_more() || !connection.wants_read()
            }
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let result = match self {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, bytes),
        };
        match result {
            // Many peers end TLS without close_notify: for mail, whose messages are framed, that is an end like others.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(0))
            }
            result => result,
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = match self {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        };
        match result {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            result => result,
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Flushes, sends close_notify (TLS) and ends the write half.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(socket) => Pin::new(socket).poll_close(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_close(cx),
        }
    }

    /// Arranges for a wake-up after the reactor has looked at the other sessions' sockets. Waking oneself is not
    /// enough: an executor runs many tasks before it returns to the reactor.
    pub(crate) fn wake_after_the_others(&self, cx: &mut Context<'_>) {
        // The first answer may be one that was due earlier.
        for _ in 0..2 {
            if self.socket().tcp.poll_writable(cx).is_pending() {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }
}

/// A TCP connection, with a read-ahead for TLS.
pub(crate) struct Socket {
    tcp: Async<TcpStream>,
    ahead: Option<Ahead>,
    reads_ahead: bool,
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
            ahead: None,
            reads_ahead: false,
        }
    }

    /// From here on more may be read than is asked for: only right when all that follows is TLS.
    pub(crate) fn read_ahead(mut self) -> Self {
        self.reads_ahead = true;
        self
    }

    fn has_more(&self) -> bool {
        self.ahead.is_some()
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
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ahead.is_none() {
            if !this.reads_ahead || bytes.len() >= buffer::SIZE {
                return Pin::new(&mut this.tcp).poll_read(cx, bytes);
            }
            let mut lent = buffer::lend();
            let end = ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut lent))?;
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
