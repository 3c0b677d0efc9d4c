//! TLS handshakes on either side, and what to tell when one fails.

use crate::{
    connect::plain,
    stream::{Socket, Stream},
};
use async_io::Timer;
use futures_lite::FutureExt;
use futures_rustls::{TlsAcceptor, TlsConnector};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, ServerConfig, pki_types::ServerName,
};
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
            return Err("it sent nothing: probably it waits for a plaintext greeting: turn on SSL/TLS in the mail client"
                .to_owned());
        }
        Some(Err(error)) => return Err(plain(&error)),
        Some(Ok(None)) => return Err("it left before TLS was established".to_owned()),
        Some(Ok(Some(byte))) if !begins_tls(byte) => {
            return Err(
                "it speaks plaintext to a TLS port: turn on SSL/TLS in the mail client".to_owned(),
            );
        }
        Some(Ok(Some(_))) => {}
    }
    let handshake = TlsAcceptor::from(config).accept(socket.read_ahead());
    match within(timeout, handshake).await {
        None => Err("it took too long".to_owned()),
        Some(Ok(tls)) => Ok(Stream::Tls(Box::new(tls.into()))),
        Some(Err(error)) => Err(client_trouble(&error)),
    }
}

/// The handshake with a server, whose certificate must be valid for `host`. The error is fit to be shown to a client.
pub(crate) async fn with_server(
    socket: Socket,
    config: Arc<ClientConfig>,
    host: &str,
    timeout: Duration,
) -> Result<Stream, String> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("{host} is no valid host name: check server_address"))?;
    let handshake = TlsConnector::from(config).connect(name, socket.read_ahead());
    match within(timeout, handshake).await {
        None => Err(format!("the TLS handshake with {host} took too long")),
        Some(Ok(tls)) => Ok(Stream::Tls(Box::new(tls.into()))),
        Some(Err(error)) => Err(format!(
            "TLS with {host} failed: {}",
            server_trouble(&error)
        )),
    }
}

/// Whether a connection that begins with this byte speaks TLS: a handshake record (RFC 8446 §5.1). No mail command
/// begins with a control character.
pub(crate) fn begins_tls(first: u8) -> bool {
    first == 0x16
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

fn client_trouble(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate),
        )) => {
            format!(
                "it does not accept the proxy's certificate ({alert:?}): trust it in the mail client, or replace it"
            )
        }
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it left during the handshake: perhaps it does not accept the proxy's certificate"
                .to_owned()
        }
        None => plain(error),
    }
}

fn server_trouble(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::InvalidCertificate(error)) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate comes from an authority that is not trusted: name the authority's certificate in server_ca_path"
                    .to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: check the server, and this machine's clock".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: check this machine's clock".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name: check server_address".to_owned()
            }
            error => format!("its certificate is refused: {error}"),
        },
        Some(Error::InvalidMessage(_)) => {
            "it does not speak TLS on this port: check server_port, or set server_starttls = True"
                .to_owned()
        }
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection: perhaps it does not speak TLS on this port".to_owned()
        }
        None => plain(error),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}
