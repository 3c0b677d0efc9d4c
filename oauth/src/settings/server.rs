//! `[IMAP-n]`, `[POP-n]` and `[SMTP-n]`.

use super::{
    LocalCertificate, LocalStartTls, Server, Severity, names,
    reader::{Reader, boolean},
};
use crate::messages::settings as messages;
use proxy_proto::Protocol;
use std::{net::IpAddr, path::PathBuf, sync::Arc};

impl Server {
    /// Whether clients may send their password over plaintext.
    pub fn plaintext(&self) -> bool {
        self.local_tls.is_none() || self.local_starttls == LocalStartTls::Optional
    }

    /// Whether only this machine is served, as far as `local_address` and `allow_from` tell.
    pub fn loopback_only(&self) -> bool {
        let host = self.local_address.to_ascii_lowercase();
        let here = match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        // Behind balancers, `allow_from` is about the clients that they name: not about who can connect.
        here || self.proxy_protocol.is_none()
            && self.allow_from.as_deref().is_some_and(within_loopback)
    }
}

/// Whether all networks of a list are within 127.0.0.0/8 and ::1. One that cannot be read is not.
fn within_loopback(networks: &str) -> bool {
    let mut networks = networks
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|network| !network.is_empty())
        .peekable();
    let within = |network: &str| {
        let (address, prefix) = match network.split_once('/') {
            Some((address, prefix)) => (address, prefix.parse::<u8>().ok()),
            None => (network, Some(128)),
        };
        match (address.parse(), prefix) {
            (Ok(IpAddr::V4(address)), Some(prefix)) => address.is_loopback() && prefix >= 8,
            (Ok(IpAddr::V6(address)), Some(prefix)) => address.is_loopback() && prefix == 128,
            _ => false,
        }
    };
    networks.peek().is_some() && networks.all(within)
}

/// What a heading says it is.
pub(super) enum Heading {
    Server(Protocol, u16),
    /// A server was meant; the text says what is wrong.
    Misspelt(String),
    Other,
}

pub(super) fn heading(name: &str) -> Heading {
    const PROTOCOLS: [Protocol; 3] = [Protocol::Imap, Protocol::Pop, Protocol::Smtp];
    for protocol in PROTOCOLS {
        let Some(rest) = name
            .strip_prefix(protocol.name())
            .and_then(|rest| rest.strip_prefix('-'))
        else {
            continue;
        };
        let port = rest
            .parse()
            .ok()
            .filter(|port| *port != 0 && rest.bytes().all(|b| b.is_ascii_digit()));
        return match port {
            Some(port) => Heading::Server(protocol, port),
            None => Heading::Misspelt(messages::not_a_port(
                protocol.name(),
                match protocol {
                    Protocol::Imap => 1993,
                    Protocol::Pop => 1995,
                    Protocol::Smtp => 1587,
                },
            )),
        };
    }
    // "imap-1993", "IMAP 1993", "SMTP_1587"
    for protocol in PROTOCOLS {
        let length = protocol.name().len();
        let Some((word, rest)) = name.split_at_checked(length) else {
            continue;
        };
        let port = rest.trim_matches([' ', '-', '_', ':']);
        if word.eq_ignore_ascii_case(protocol.name()) && port.parse::<u16>().is_ok() {
            return Heading::Misspelt(messages::misspelt_heading(protocol.name(), port));
        }
    }
    Heading::Other
}

/// The server, where it can be used; its problems are in the reader.
pub(super) fn read(
    reader: &mut Reader<'_>,
    name: &str,
    protocol: Protocol,
    port: u16,
    line: usize,
) -> Option<Server> {
    let address = reader.required("server_address");
    if address.is_some_and(|host| !is_host(host)) {
        reader.error("server_address", messages::SERVER_ADDRESS);
    }
    let server_port = match reader.required("server_port") {
        Some(_) => reader.number("server_port", 1, 65535),
        None => None,
    };
    let local_address = reader.text("local_address").unwrap_or("::");
    if !is_host(local_address) {
        reader.error("local_address", messages::LOCAL_ADDRESS);
    }
    let local_tls = certificate(reader);
    let server = Server {
        heading: Arc::from(name),
        protocol,
        port,
        server_address: address.unwrap_or_default().to_owned(),
        server_port: server_port
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or_default(),
        server_starttls: server_starttls(reader, protocol),
        local_address: local_address.to_owned(),
        local_starttls: local_starttls(reader, local_tls.is_some()),
        local_tls,
        server_ca_path: reader.text("server_ca_path").map(PathBuf::from),
        plugins: reader.restriction("plugins"),
        allow_from: reader.restriction("allow_from"),
        proxy_protocol: reader.restriction("proxy_protocol"),
        line,
    };
    let usual = match (protocol, server.server_port) {
        (Protocol::Imap, 143) | (Protocol::Pop, 110) | (Protocol::Smtp, 25 | 587) => Some(true),
        (Protocol::Imap, 993) | (Protocol::Pop, 995) | (Protocol::Smtp, 465) => Some(false),
        _ => None,
    };
    if usual.is_some_and(|starttls| starttls != server.server_starttls) {
        let usual = if server.server_starttls {
            "False"
        } else {
            "True"
        };
        let text = messages::unusual_starttls(server.server_port, usual);
        reader.warn("server_port", text);
    }
    if server.plaintext() && !server.loopback_only() {
        let networks = match server.allow_from.as_deref() {
            Some(networks) => {
                let networks: Vec<&str> = networks.split_whitespace().collect();
                format!(", allow_from = {}", networks.join(" "))
            }
            None => String::new(),
        };
        let listener = format!("local_address = {local_address}{networks}");
        reader.warn("local_address", messages::passwords_in_the_clear(listener));
    }
    reader.usable().then_some(server)
}

fn server_starttls(reader: &mut Reader<'_>, protocol: Protocol) -> bool {
    if reader.entry("server_starttls").is_some() {
        return reader.boolean("server_starttls").unwrap_or(false);
    }
    if protocol == Protocol::Smtp {
        return reader.boolean(names::OLD_STARTTLS).unwrap_or(false);
    }
    false
}

fn certificate(reader: &mut Reader<'_>) -> Option<LocalCertificate> {
    let certificate = reader.text("local_certificate_path");
    let key = reader.text("local_key_path");
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some(LocalCertificate {
            certificate: certificate.into(),
            key: key.into(),
        }),
        (Some(_), None) => {
            reader.error("local_certificate_path", messages::NO_LOCAL_KEY);
            None
        }
        (None, Some(_)) => {
            reader.error("local_key_path", messages::NO_LOCAL_CERTIFICATE);
            None
        }
        (None, None) => None,
    }
}

fn local_starttls(reader: &mut Reader<'_>, certificate: bool) -> LocalStartTls {
    let option = "local_starttls";
    let Some(value) = reader.text(option) else {
        return LocalStartTls::Off;
    };
    let starttls = match boolean(value) {
        Some(true) => LocalStartTls::Required,
        Some(false) => LocalStartTls::Off,
        None if value.eq_ignore_ascii_case("optional") => LocalStartTls::Optional,
        None => {
            reader.error(option, messages::LOCAL_STARTTLS);
            LocalStartTls::Off
        }
    };
    if starttls != LocalStartTls::Off && !certificate {
        reader.problem(
            Severity::Error,
            option,
            messages::STARTTLS_WITHOUT_CERTIFICATE.to_owned(),
        );
    }
    starttls
}

fn is_host(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']'))
}
