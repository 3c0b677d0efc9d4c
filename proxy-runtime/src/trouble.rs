//! What to tell when a connection or a TLS handshake fails.

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
    format!("cannot connect to {host} port {port}: {}", told(failures))
}

fn told(failures: &[(SocketAddr, io::Error)]) -> String {
    let Some((_, first)) = failures.first() else {
        return "the name has no addresses".to_owned();
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
    format!("the host name {host} cannot be resolved: {}", plain(error))
}

/// A client that sends nothing to a TLS port.
pub const CLIENT_IS_SILENT: &str = "it sent nothing: probably it waits for a plaintext greeting: turn on SSL/TLS in the mail client";
/// A client that leaves a TLS port without a word.
pub const CLIENT_LEFT: &str = "it left before TLS was established";
/// A client that speaks plaintext to a TLS port.
pub const CLIENT_IS_PLAIN: &str =
    "it speaks plaintext to a TLS port: turn on SSL/TLS in the mail client";

/// A client whose handshake does not end.
pub const SLOW_CLIENT: &str = "it took too long";
/// A balancer that leaves without a word.
pub const NO_HEADER: &str = "it left before its PROXY protocol header was complete";
/// A balancer that does not send its header.
pub const SLOW_HEADER: &str = "it sent no PROXY protocol header in time: turn that on in the balancer, or take it off this listener's proxy_protocol";

/// Why a handshake with a client failed; says what its user can do.
pub fn with_client(error: &io::Error) -> String {
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

/// Why a handshake with the server `host` failed; fit to be shown to a client.
pub fn with_server(host: &str, error: &io::Error) -> String {
    format!("TLS with {host} failed: {}", server_trouble(error))
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

/// A proxy that cannot be reached or leaves; fit to be shown to a client.
pub fn proxy_broke(proxy: &crate::OutgoingProxy, why: &str) -> String {
    format!("{proxy} (outgoing_proxy) cannot be used: {why}")
}

/// `server_address` that no certificate can be for.
pub fn bad_name(host: &str) -> String {
    format!("{host} is no valid host name: check server_address")
}

/// A handshake with the server `host` that does not end.
pub fn slow_handshake(host: &str) -> String {
    format!("the TLS handshake with {host} took too long")
}

/// A server that does not answer within `seconds`.
pub fn slow_connect(host: &str, port: u16, seconds: u64) -> String {
    format!("{host} port {port} did not answer within {seconds} s")
}

/// Advice on a client that speaks TLS to a plaintext port, by what the port offers.
pub fn tls_on_plaintext(local_tls: proxy_proto::LocalTls) -> String {
    let advice = match local_tls {
        proxy_proto::LocalTls::None => {
            "turn SSL/TLS off in the mail client, or set local_certificate_path and local_key_path"
        }
        _ => "choose STARTTLS instead of SSL/TLS in the mail client",
    };
    format!("the client speaks TLS to a plaintext port: {advice}")
}
