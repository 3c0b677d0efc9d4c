//! TLS handshakes on either side, and what to tell when one fails.

use crate::{
    stream::{Socket, Stream, TlsToServer},
    timer::Timer,
};
use futures_lite::FutureExt;
use futures_rustls::TlsAcceptor;
use proxy_runtime::{messages::client as messages, trouble};
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use std::{
    future::{Future, poll_fn},
    io,
    sync::Arc,
    time::Duration,
};

/// The handshake with a client; the error says what its user can do.
pub(crate) async fn with_client(
    socket: Socket,
    config: Arc<ServerConfig>,
    timeout: Duration,
) -> Result<Stream, String> {
    let first = within(timeout, first_byte(&socket)).await;
    match first {
        None => {
            return Err(messages::CLIENT_IS_SILENT.to_owned());
        }
        Some(Err(error)) => return Err(trouble::plain(&error)),
        Some(Ok(None)) => return Err(messages::CLIENT_LEFT.to_owned()),
        Some(Ok(Some(byte))) if !trouble::begins_tls(byte) => {
            return Err(messages::CLIENT_IS_PLAIN.to_owned());
        }
        Some(Ok(Some(_))) => {}
    }
    let handshake = TlsAcceptor::from(config).accept(socket.read_ahead());
    match within(timeout, handshake).await {
        None => Err(messages::SLOW_HANDSHAKE.to_owned()),
        Some(Ok(tls)) => Ok(Stream::ToClient(Box::new(tls))),
        Some(Err(error)) => Err(trouble::with_client(&error)),
    }
}

/// The handshake with a server, whose certificate must be valid for `host`. The error says why it failed.
pub(crate) async fn with_server(
    socket: Socket,
    config: Arc<ClientConfig>,
    host: &str,
    timeout: Duration,
) -> Result<Stream, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| trouble::bad_name(host))?;
    let handshake = TlsToServer::connect(socket, config, name);
    match within(timeout, handshake).await {
        None => Err(messages::SLOW_HANDSHAKE.to_owned()),
        Some(Ok(tls)) => Ok(Stream::ToServer(Box::new(tls))),
        Some(Err(error)) => Err(trouble::with_server(&error)),
    }
}

/// `None` when the time is over.
pub(crate) async fn within<T>(timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
    async { Some(future.await) }
        .or(async {
            Timer::after(timeout).await;
            None
        })
        .await
}

async fn first_byte(socket: &Socket) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let count = poll_fn(|cx| socket.poll_peek(cx, &mut byte)).await?;
    Ok((count > 0).then_some(byte[0]))
}
