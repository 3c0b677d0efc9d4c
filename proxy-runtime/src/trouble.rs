//! What to tell when a connection or a TLS handshake fails.

use crate::messages::{client, server};
use rustls::{AlertDescription, CertificateError, Error};
use std::{io, net::SocketAddr};

/// A system error without its number where its kind says it all.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error ") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

/// Whether a connection that begins with this byte speaks TLS: a handshake record (RFC 8446 §5.1). No mail command
/// begins with a control character.
pub fn begins_tls(first: u8) -> bool {
    first == 0x16
}

/// Why no address of `host` could be connected to; fit to be shown to a client.
pub fn unreachable(host: &str, port: u16, failures: &[(SocketAddr, io::Error)]) -> String {
    server::cannot_connect(host, port, told(failures))
}

fn told(failures: &[(SocketAddr, io::Error)]) -> String {
    let Some((_, first)) = failures.first() else {
        return server::NO_ADDRESSES.to_owned();
    };
    let first = plain(first);
    if failures.iter().all(|(_, error)| plain(error) == first) {
        return first;
    }
    let each = failures
        .iter()
        .map(|(address, error)| format!("{}: {}", address.ip(), plain(error)));
    each.collect::<Vec<_>>().join(", ")
}

/// Why a host name has no addresses; fit to be shown to a client.
pub fn unresolved(host: &str, error: &io::Error) -> String {
    server::host_unresolved(host, plain(error))
}

/// Why a handshake with a client failed; says what its user can do.
pub fn with_client(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate),
        )) => client::certificate_not_accepted(format_args!("{alert:?}")),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            client::CLIENT_LEFT_HANDSHAKE.to_owned()
        }
        None => plain(error),
    }
}

/// Why a handshake with a server failed; fit to be shown to a client, behind [`tls_failed`]'s words or a session's own
/// ([`Session::tls_failed`](proxy_proto::Session::tls_failed)).
pub fn with_server(error: &io::Error) -> String {
    match tls_error(error) {
        Some(Error::InvalidCertificate(error)) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                server::UNTRUSTED_AUTHORITY.to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                server::CERTIFICATE_EXPIRED.to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                server::CERTIFICATE_NOT_YET_VALID.to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                server::CERTIFICATE_FOR_ANOTHER.to_owned()
            }
            error => server::certificate_refused(error),
        },
        Some(Error::InvalidMessage(_)) => server::NO_TLS_ON_PORT.to_owned(),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            server::SERVER_LEFT_HANDSHAKE.to_owned()
        }
        None => plain(error),
    }
}

fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// A proxy that cannot be reached or leaves; fit to be shown to a client.
pub fn proxy_broke(proxy: &crate::OutgoingProxy, why: &str) -> String {
    server::proxy_unusable(proxy, why)
}

/// `server_address` that no certificate can be for.
pub fn bad_name(host: &str) -> String {
    server::bad_host_name(host)
}

/// TLS from the first byte with the server `host` that has failed; fit to be shown to a client.
pub fn tls_failed(host: &str, why: &str) -> String {
    server::tls_with_server_failed(host, why)
}

/// A server that does not answer within `seconds`.
pub fn slow_connect(host: &str, port: u16, seconds: u64) -> String {
    server::slow_connect(host, port, seconds)
}

/// Advice on a client that speaks TLS to a plaintext port, by what the port offers.
pub fn tls_on_plaintext(local_tls: proxy_proto::LocalTls) -> String {
    let text = match local_tls {
        proxy_proto::LocalTls::None => client::TLS_WITHOUT_CERTIFICATE,
        _ => client::TLS_BEFORE_STARTTLS,
    };
    text.to_owned()
}
