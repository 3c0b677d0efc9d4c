//! TLS towards a server.

use super::socket::Socket;
use crate::buffer::OfThread;
use futures_lite::{AsyncRead, AsyncWrite};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    future::poll_fn,
    io::{self, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A TLS connection that we have opened.
pub(crate) struct TlsToServer {
    socket: Socket,
    tls: proxy_runtime::TlsToServer<OfThread>,
}

impl TlsToServer {
    /// The handshake.
    ///
    /// # Errors
    /// What rustls has against the server is within an [`io::Error`] of the kind `InvalidData`.
    pub(crate) async fn connect(
        mut socket: Socket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let mut tls = proxy_runtime::TlsToServer::new(config, name)?;
        poll_fn(|cx| polled(tls.handshake(&mut Now(&mut socket, cx)))).await?;
        Ok(TlsToServer { socket, tls })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether another read may yield bytes without asking the kernel.
    pub(crate) fn has_more(&self) -> bool {
        self.tls.has_more()
    }

    /// 0 is the server's end. With room for [`proxy_runtime::PLAINTEXT`] nothing stays behind but a part of a record.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        polled(self.tls.read(&mut Now(&mut self.socket, cx), bytes))
    }

    /// Takes at most [`proxy_runtime::PLAINTEXT`] bytes, and none before what it took earlier has left.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        polled(self.tls.write(&mut Now(&mut self.socket, cx), bytes))
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.tls.flush(&mut Now(&mut self.socket, cx)))
    }

    /// Sends what was written and close_notify, and ends the write half. Reading goes on.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(polled(self.tls.close(&mut Now(&mut self.socket, cx))))?;
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// What the socket can do now; where it would have to wait, the task is woken when it need not.
struct Now<'a, 'b>(&'a mut Socket, &'a mut Context<'b>);

impl Read for Now<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.0).poll_read(self.1, bytes))
    }
}

impl Write for Now<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        blocking(Pin::new(&mut *self.0).poll_write(self.1, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocking<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
