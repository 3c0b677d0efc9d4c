//! Mail servers as a domain publishes them for mail programs (Thunderbird's autoconfig, draft-ietf-mailmaint-autoconfig).

use super::{
    Failure,
    ask::Terminal,
    gather::{Endpoints, Remote},
};
use crate::messages::add as texts;
use oauth::transport::{Http, Request, Transport};
use proxy_proto::Protocol;
use roxmltree::{Document, Node, ParsingOptions};
use std::time::Duration;
use url::Url;

/// Longest time for one document.
const PATIENCE: Duration = Duration::from_secs(10);
/// More nodes than any such document has.
const MOST_NODES: u32 = 10_000;

/// What a document says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) servers: Vec<Remote>,
    pub(super) endpoints: Option<Endpoints>,
}

/// Where a domain's document may be, in the order in which they are asked. The address itself is told to nobody.
pub(super) fn places(domain: &str) -> [String; 3] {
    [
        format!("https://autoconfig.{domain}/mail/config-v1.1.xml"),
        format!("https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml"),
        format!("https://autoconfig.thunderbird.net/v1.1/{domain}"),
    ]
}

/// Asks for the document at the first of these places that has one.
pub(super) fn look_up(
    places: &[String],
    domain: &str,
    terminal: &mut Terminal,
) -> Result<Found, Failure> {
    let http = Http::with_timeouts(PATIENCE, PATIENCE).map_err(|e| Failure::Failed(e.0))?;
    let mut troubles = Vec::new();
    for place in places {
        let asking = texts::asking(place, PATIENCE.as_secs());
        terminal.progress(&format!("{asking}\n"));
        let request = Request {
            url: place.clone(),
            form: None,
        };
        let trouble = match smol::block_on(http.send(request)) {
            Ok(answer) if answer.status == 200 => {
                let text = String::from_utf8_lossy(&answer.body);
                match read(&text, domain) {
                    Ok(found) => return Ok(found),
                    Err(why) => why,
                }
            }
            Ok(answer) => texts::http_status(answer.status),
            Err(error) => error.0,
        };
        troubles.push(format!("{place}: {trouble}"));
    }
    let text = texts::no_autoconfig(troubles.join("; "));
    Err(Failure::Failed(text))
}

fn read(text: &str, domain: &str) -> Result<Found, String> {
    let options = ParsingOptions {
        nodes_limit: MOST_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options).map_err(texts::no_document)?;
    let root = document.root_element();
    if root.tag_name().name() != "clientConfig" {
        return Err(texts::no_document(texts::NO_CLIENT_CONFIG));
    }
    let mut found = Found::default();
    for node in root.descendants().filter(Node::is_element) {
        match node.tag_name().name() {
            "incomingServer" | "outgoingServer" => found.servers.extend(server(node, domain)),
            "oAuth2" if found.endpoints.is_none() => found.endpoints = endpoints(node),
            _ => {}
        }
    }
    match found.servers.is_empty() {
        true => Err(texts::NO_SERVER_WITH_TLS.to_owned()),
        false => Ok(found),
    }
}

/// `None` for what the proxy has no use for: other protocols, plaintext, names that cannot be one.
fn server(node: Node<'_, '_>, domain: &str) -> Option<Remote> {
    let protocol = match node.attribute("type")?.to_ascii_lowercase().as_str() {
        "imap" => Protocol::Imap,
        "pop3" => Protocol::Pop,
        "smtp" => Protocol::Smtp,
        _ => return None,
    };
    let starttls = match child(node, "socketType")?.to_ascii_uppercase().as_str() {
        "SSL" | "TLS" => false,
        "STARTTLS" => true,
        _ => return None,
    };
    let host = child(node, "hostname")?.replace("%EMAILDOMAIN%", domain);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let usable = host.len() <= 253 && host.contains('.') && host.chars().all(plain);
    let port = child(node, "port")?
        .parse()
        .ok()
        .filter(|port| *port != 0)?;
    usable.then_some(Remote {
        protocol,
        host,
        port,
        starttls,
    })
}

fn endpoints(node: Node<'_, '_>) -> Option<Endpoints> {
    let url = |name| child(node, name).filter(|text| is_https(text));
    Some(Endpoints {
        permission_url: url("authURL")?,
        token_url: url("tokenURL")?,
        scope: child(node, "scope")?
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
    })
}

fn is_https(text: &str) -> bool {
    let one_word = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    one_word && Url::parse(text).is_ok_and(|url| url.scheme() == "https")
}

fn child(node: Node<'_, '_>, name: &str) -> Option<String> {
    let child = node.children().find(|child| child.has_tag_name(name))?;
    let text = child.text()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"<?xml version="1.0"?>
<clientConfig version="1.1">
  <emailProvider id="example.org">
    <domain>example.org</domain>
    <incomingServer type="imap"><hostname>imap.%EMAILDOMAIN%</hostname><port>993</port><socketType>SSL</socketType></incomingServer>
    <incomingServer type="imap"><hostname>plain.example.org</hostname><port>143</port><socketType>plain</socketType></incomingServer>
    <incomingServer type="exchange"><hostname>ews.example.org</hostname><port>443</port><socketType>SSL</socketType></incomingServer>
    <incomingServer type="pop3"><hostname>pop.example.org]
[x]</hostname><port>995</port><socketType>SSL</socketType></incomingServer>
    <outgoingServer type="smtp"><hostname>smtp.example.org</hostname><port>587</port><socketType>STARTTLS</socketType></outgoingServer>
  </emailProvider>
  <oAuth2><issuer>example.org</issuer><scope> mail
    offline </scope><authURL>https://example.org/a</authURL><tokenURL>https://example.org/t</tokenURL></oAuth2>
</clientConfig>"#;

    #[test]
    fn a_document_is_read() {
        let found = read(SAMPLE, "example.org").unwrap();
        let remote = |protocol, host: &str, port, starttls| Remote {
            protocol,
            host: host.to_owned(),
            port,
            starttls,
        };
        assert_eq!(
            found.servers,
            [
                remote(Protocol::Imap, "imap.example.org", 993, false),
                remote(Protocol::Smtp, "smtp.example.org", 587, true),
            ]
        );
        let endpoints = found.endpoints.unwrap();
        assert_eq!(endpoints.scope, "mail offline");
        assert_eq!(endpoints.token_url, "https://example.org/t");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in [
            "",
            "<html></html>",
            "not xml",
            "<clientConfig/>",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><clientConfig>&a;</clientConfig>",
        ] {
            assert!(read(text, "example.org").is_err(), "{text}");
        }
        let insecure = SAMPLE.replace("https://example.org/t", "http://example.org/t");
        assert_eq!(read(&insecure, "example.org").unwrap().endpoints, None);
        let long = format!("<clientConfig>{}</clientConfig>", "<a/>".repeat(20_000));
        assert!(read(&long, "example.org").is_err());
    }
}
