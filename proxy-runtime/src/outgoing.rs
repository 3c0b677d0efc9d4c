//! The proxy through which servers are reached, and the dialogue that asks it for a connection.

mod http;
mod socks;

use crate::messages::{configuration, server};
use proxy_proto::Secret;
use std::{fmt, str::FromStr, sync::Arc};
use url::Url;

/// A SOCKS5 or HTTP proxy, from a URL: `socks5://[user:password@]host[:port]` (1080 where there is no port),
/// `http://[user:password@]host[:port]` (3128). User and password may be percent-encoded. The proxy resolves the
/// servers' names. Neither `Debug` nor any error shows user or password.
#[derive(Clone)]
pub struct OutgoingProxy {
    kind: Kind,
    host: Arc<str>,
    port: u16,
    credentials: Option<(String, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socks5,
    Http,
}

impl OutgoingProxy {
    /// The proxy's own host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Begins to ask for a connection to a server.
    pub fn dialogue(&self, host: &str, port: u16) -> Dialogue {
        Dialogue(match self.kind {
            Kind::Socks5 => Either::Socks(socks::Dialogue::new(self, host, port)),
            Kind::Http => Either::Http(http::Dialogue::new(self, host, port)),
        })
    }
}

impl fmt::Display for OutgoingProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Socks5 => "SOCKS5",
            Kind::Http => "HTTP",
        };
        f.write_str(&server::outgoing_proxy(kind, &self.host, self.port))
    }
}

impl fmt::Debug for OutgoingProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingProxy")
            .field("kind", &self.kind)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl FromStr for OutgoingProxy {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        let url = Url::parse(text).map_err(|_| BadProxy::Unreadable)?;
        let (kind, usual) = match url.scheme() {
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            "http" => (Kind::Http, 3128),
            _ => return Err(BadProxy::Scheme),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(BadProxy::Unreadable);
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(BadProxy::Unreadable)?;
        // Url takes port 80 of http for none.
        let explicit_80 = text.trim_end_matches('/').ends_with(":80");
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, password) => {
                let user = decoded(user)?;
                let password = decoded(password.unwrap_or_default())?;
                let too_long = user.len() > 255 || password.len() > 255;
                let colon = kind == Kind::Http && user.contains(':');
                let control = [&user, &password]
                    .iter()
                    .any(|s| s.chars().any(char::is_control));
                if too_long || colon || control || (kind == Kind::Socks5 && user.is_empty()) {
                    return Err(BadProxy::Credentials);
                }
                Some((user, Secret::new(password)))
            }
        };
        Ok(OutgoingProxy {
            kind,
            host: host.trim_matches(['[', ']']).into(),
            port: url
                .port()
                .unwrap_or(match kind == Kind::Http && explicit_80 {
                    true => 80,
                    false => usual,
                }),
            credentials,
        })
    }
}

/// Undoes percent-encoding (RFC 3986 §2.1).
fn decoded(text: &str) -> Result<String, BadProxy> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = more.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.ok_or(BadProxy::Credentials)?);
        rest = &more[2..];
    }
    String::from_utf8(bytes).map_err(|_| BadProxy::Credentials)
}

/// Why the URL of a proxy cannot be used. The URL is not repeated: a password may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadProxy {
    /// It is no URL, or has more than host, port and credentials.
    Unreadable,
    /// Another scheme than `socks5` or `http`.
    Scheme,
    /// User or password cannot be sent.
    Credentials,
}

impl fmt::Display for BadProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadProxy::Unreadable => configuration::BAD_PROXY_URL,
            BadProxy::Scheme => configuration::BAD_PROXY_SCHEME,
            BadProxy::Credentials => configuration::BAD_PROXY_CREDENTIALS,
        })
    }
}

impl std::error::Error for BadProxy {}

/// One request for a connection. Send what [`transmit`](Self::transmit) gives, hand over what comes back, and leave
/// unread what [`DialogueProgress::Open`] does not count: it is the server's.
pub struct Dialogue(Either);

enum Either {
    Socks(socks::Dialogue),
    Http(http::Dialogue),
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogueProgress {
    /// All of them were the proxy's, and it goes on.
    More,
    /// The connection to the server is open; the first `used` bytes were the proxy's.
    Open {
        /// How many of the bytes were the proxy's.
        used: usize,
    },
}

/// Why a proxy opens no connection: one line, fit to be shown to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Dialogue {
    /// What is to be sent now; empty when it is the proxy's turn. It may hold the password.
    pub fn transmit(&mut self) -> Vec<u8> {
        match &mut self.0 {
            Either::Socks(dialogue) => dialogue.transmit(),
            Either::Http(dialogue) => dialogue.transmit(),
        }
    }

    /// Takes the next bytes from the proxy, which must not be empty.
    ///
    /// # Errors
    /// When the proxy refuses, or answers in another language.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<DialogueProgress, Refused> {
        match &mut self.0 {
            Either::Socks(dialogue) => dialogue.feed(bytes),
            Either::Http(dialogue) => dialogue.feed(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> OutgoingProxy {
        text.parse().unwrap()
    }

    #[test]
    fn urls_are_read() {
        let plain = parsed("socks5://proxy.example");
        assert_eq!((plain.host(), plain.port()), ("proxy.example", 1080));
        assert!(plain.credentials.is_none());
        let v6 = parsed("http://[::1]:8080/");
        assert_eq!((v6.host(), v6.port()), ("::1", 8080));
        assert_eq!(parsed("http://proxy.example:80").port(), 80);
        assert_eq!(parsed("http://proxy.example").port(), 3128);
        let known = parsed("socks5h://ada%40example.org:p%3Aw@10.0.0.1:9");
        let (user, password) = known.credentials.as_ref().unwrap();
        assert_eq!(
            (user.as_str(), password.expose()),
            ("ada@example.org", "p:w")
        );
        assert_eq!(known.to_string(), "the SOCKS5 proxy 10.0.0.1 port 9");
    }

    #[test]
    fn nothing_shows_the_credentials() {
        let known = parsed("http://ada:sesame@10.0.0.1:9");
        for shown in [format!("{known:?}"), format!("{known}")] {
            assert!(
                !shown.contains("sesame") && !shown.contains("ada"),
                "{shown}"
            );
        }
    }

    #[test]
    fn other_urls_are_refused() {
        let error = |text: &str| text.parse::<OutgoingProxy>().unwrap_err();
        assert_eq!(error("https://proxy.example"), BadProxy::Scheme);
        assert_eq!(error("socks4://proxy.example"), BadProxy::Scheme);
        assert_eq!(error("proxy.example"), BadProxy::Unreadable);
        assert_eq!(error("socks5://"), BadProxy::Unreadable);
        assert_eq!(error("http://proxy.example/path"), BadProxy::Unreadable);
        assert_eq!(error("http://a%0d:b@proxy.example"), BadProxy::Credentials);
        assert_eq!(error("http://a%3ab:c@proxy.example"), BadProxy::Credentials);
        let long = format!("socks5://{}:b@proxy.example", "a".repeat(256));
        assert_eq!(error(&long), BadProxy::Credentials);
    }
}
