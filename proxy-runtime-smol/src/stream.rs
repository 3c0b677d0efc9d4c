//! One connection, plain or TLS.

mod socket;
mod to_server;

pub(crate) use socket::Socket;
pub(crate) use to_server::TlsToServer;

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::server::TlsStream;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// A connection to a client or a server.
pub(crate) enum Stream {
    Plain(Socket),
    /// TLS with a client.
    ToClient(Box<TlsStream<Socket>>),
    /// TLS with a server.
    ToServer(Box<TlsToServer>),
}

impl Stream {
    /// Whether another read may yield bytes without asking the kernel.
    pub(crate) fn has_more(&self) -> bool {
        match self {
            Stream::Plain(_) => false,
            Stream::ToClient(tls) => {
                let (socket, connection) = tls.get_ref();
                // rustls wants to read as long as it holds no decrypted bytes (nor the end of them).
                socket.has_more() || !connection.wants_read()
            }
            Stream::ToServer(tls) => tls.has_more(),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        !matches!(self, Stream::Plain(_))
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let result = match self {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, bytes),
            Stream::ToClient(tls) => Pin::new(tls).poll_read(cx, bytes),
            Stream::ToServer(tls) => tls.poll_read(cx, bytes),
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
            Stream::ToClient(tls) => Pin::new(tls).poll_write(cx, bytes),
            Stream::ToServer(tls) => tls.poll_write(cx, bytes),
        };
        match result {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            result => result,
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::ToClient(tls) => Pin::new(tls).poll_flush(cx),
            Stream::ToServer(tls) => tls.poll_flush(cx),
        }
    }

    /// Flushes, sends close_notify (TLS) and ends the write half.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(socket) => Pin::new(socket).poll_close(cx),
            Stream::ToClient(tls) => Pin::new(tls).poll_close(cx),
            Stream::ToServer(tls) => tls.poll_close(cx),
        }
    }

    /// Wakes the task when the other sessions' sockets have been looked at, too. Waking oneself is not enough: an executor
    /// runs many tasks before its thread does that.
    pub(crate) fn rest(&self, cx: &mut Context<'_>) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.rest(cx),
            Stream::ToClient(tls) => tls.get_ref().0.rest(cx),
            Stream::ToServer(tls) => tls.socket().rest(cx),
        }
    }
}
