//! A browser with a user in front of it.

use async_io::{Async, Timer};
use futures_lite::future;
use futures_rustls::TlsConnector;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, body::Bytes, client::conn::http1, header};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use smol_hyper::rt::FuturesIo;
use std::{io, net::TcpStream, sync::Arc, time::Duration};
use url::Url;

/// Octets of a page.
const MAX_PAGE: usize = 1 << 20;
/// Redirects in a row.
const MAX_REDIRECTS: usize = 10;
/// For one page; the proxy's receiver answers when the token request is done.
const PAGE_TIME: Duration = Duration::from_secs(120);

/// Someone who opens the URL that the proxy shows, and presses a button on the provider's page.
#[derive(Clone)]
pub struct Person {
    tls: Arc<ClientConfig>,
    account: Option<String>,
}

/// Where the browser ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The address bar: the last URL that was asked for, normally the redirect URI with `code` and `state`.
    pub url: String,
    /// The status of the page there; `None` when nothing answers at that address (as when the URL is to be pasted at a
    /// terminal).
    pub status: Option<u16>,
    /// The page there, at most 1 MiB.
    pub body: String,
}

impl Person {
    pub(crate) fn trusting(tls: Arc<ClientConfig>) -> Person {
        Person { tls, account: None }
    }

    /// The same person, choosing this account on the page instead of the one that the client suggested.
    #[must_use]
    pub fn choosing(mut self, account: impl Into<String>) -> Person {
        self.account = Some(account.into());
        self
    }

    /// Opens the URL (an authorisation URL, or a `verification_uri_complete`), approves, and follows the redirects to
    /// the last page. Blocks the thread.
    ///
    /// # Errors
    /// The provider does not answer, or its page has no such button: the error holds the page's text.
    pub fn approve(&self, url: &str) -> io::Result<Visit> {
        smol::block_on(self.decide(url, "approve"))
    }

    /// Opens the URL and denies; see [`Person::approve`].
    ///
    /// # Errors
    /// As [`Person::approve`].
    pub fn deny(&self, url: &str) -> io::Result<Visit> {
        smol::block_on(self.decide(url, "deny"))
    }

    /// [`Person::approve`] for async callers, on any executor.
    ///
    /// # Errors
    /// As [`Person::approve`].
    pub async fn approve_async(&self, url: &str) -> io::Result<Visit> {
        self.decide(url, "approve").await
    }

    /// [`Person::deny`] for async callers, on any executor.
    ///
    /// # Errors
    /// As [`Person::approve`].
    pub async fn deny_async(&self, url: &str) -> io::Result<Visit> {
        self.decide(url, "deny").await
    }

    /// Opens a page and follows its redirects, without pressing anything.
    ///
    /// # Errors
    /// Nothing answers at that URL.
    pub async fn open_async(&self, url: &str) -> io::Result<Visit> {
        self.follow(Method::GET, parse(url)?, None, true).await
    }

    async fn decide(&self, url: &str, decision: &str) -> io::Result<Visit> {
        let visit = self.open_async(url).await?;
        let here = parse(&visit.url)?;
        let Some((action, mut fields)) = form(&visit.body) else {
            if here.origin() == parse(url)?.origin() {
                let text = format!(
                    "no form on the page {} ({:?}): {}",
                    here.path(),
                    visit.status,
                    text(&visit.body)
                );
                return Err(io::Error::other(text));
            }
            // The provider refused without asking, and told the client so.
            return Ok(visit);
        };
        if let Some(account) = &self.account {
            fields.retain(|(name, _)| name != "account");
            fields.push(("account".into(), account.clone()));
        }
        fields.push(("decision".into(), decision.into()));
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let action = here.join(&action).map_err(io::Error::other)?;
        let visit = self
            .follow(Method::POST, action.clone(), Some(body), false)
            .await?;
        if visit.status.is_some_and(|status| status >= 400) && parse(&visit.url)? == action {
            return Err(io::Error::other(format!(
                "the provider refused the form: {}",
                text(&visit.body)
            )));
        }
        Ok(visit)
    }

    async fn follow(
        &self,
        mut method: Method,
        mut url: Url,
        mut body: Option<String>,
        mut must_answer: bool,
    ) -> io::Result<Visit> {
        for _ in 0..MAX_REDIRECTS {
            let page = match self.fetch(method, &url, body.take()).await {
                Ok(page) => page,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && !must_answer => {
                    return Ok(Visit {
                        url: url.into(),
                        status: None,
                        body: String::new(),
                    });
                }
                Err(error) => return Err(error),
            };
            let (status, location, body) = page;
            match location {
                Some(to) if (300..400).contains(&status) => {
                    url = url.join(&to).map_err(io::Error::other)?;
                    method = Method::GET;
                    must_answer = false;
                }
                _ => {
                    return Ok(Visit {
                        url: url.into(),
                        status: Some(status),
                        body,
                    });
                }
            }
        }
        Err(io::Error::other("the redirects do not end"))
    }

    /// One request over a connection of its own: status, `Location`, body.
    async fn fetch(
        &self,
        method: Method,
        url: &Url,
        body: Option<String>,
    ) -> io::Result<(u16, Option<String>, String)> {
        let late = async {
            Timer::after(PAGE_TIME).await;
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the page takes too long",
            ))
        };
        let request = async {
            let stream = connect(url).await?;
            if url.scheme() == "https" {
                let name = ServerName::try_from(url.host_str().unwrap_or_default().to_owned());
                let name = name.map_err(io::Error::other)?;
                let tls = TlsConnector::from(self.tls.clone());
                exchange(
                    FuturesIo::new(tls.connect(name, stream).await?),
                    method,
                    url,
                    body,
                )
                .await
            } else {
                exchange(FuturesIo::new(stream), method, url, body).await
            }
        };
        future::or(request, late).await
    }
}

fn parse(url: &str) -> io::Result<Url> {
    Url::parse(url).map_err(|e| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{url} is not a URL: {e}"),
        )
    })
}

async fn connect(url: &Url) -> io::Result<Async<TcpStream>> {
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in smol::net::resolve((host.as_str(), port)).await? {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn exchange<S>(
    stream: S,
    method: Method,
    url: &Url,
    body: Option<String>,
) -> io::Result<(u16, Option<String>, String)>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().into(),
    };
    let target = url.query().map_or_else(
        || url.path().to_owned(),
        |query| format!("{}?{query}", url.path()),
    );
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host);
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let request = request
        .body(Full::new(Bytes::from(body.unwrap_or_default())))
        .map_err(io::Error::other)?;
    let answer = async {
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?
            .into_parts();
        let location = head
            .headers
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok());
        let body = Limited::new(body, MAX_PAGE)
            .collect()
            .await
            .map_err(io::Error::other)?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok((head.status.as_u16(), location.map(Into::into), text))
    };
    let drive = async {
        // Its failure is the request's failure, told better there.
        let _ = connection.await;
        future::pending().await
    };
    future::or(answer, drive).await
}

/// Action and preset fields of the provider's consent form. Only what its pages have is understood.
fn form(html: &str) -> Option<(String, Vec<(String, String)>)> {
    let (_, form) = html.split_once("<form method=\"post\"")?;
    let (form, _) = form.split_once("</form>")?;
    let (tag, mut rest) = form.split_once('>')?;
    let action = attribute(tag, "action")?;
    let mut fields = Vec::new();
    while let Some((_, input)) = rest.split_once("<input ") {
        let (tag, after) = input.split_once('>')?;
        rest = after;
        let preset = match attribute(tag, "type").as_deref() {
            Some("hidden") => true,
            Some("radio") => tag.ends_with(" checked"),
            _ => false,
        };
        if preset {
            fields.push((attribute(tag, "name")?, attribute(tag, "value")?));
        }
    }
    Some((action, fields))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, value) = tag.split_once(&format!("{name}=\""))?;
    let (value, _) = value.split_once('"')?;
    let plain = value
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'");
    Some(plain.replace("&amp;", "&"))
}

/// A page without its tags, on one line.
fn text(html: &str) -> String {
    let html = html.split_once("<main>").map_or(html, |(_, main)| main);
    let mut out = String::new();
    for part in html.split('<') {
        out.push_str(part.split_once('>').map_or(part, |(_, text)| text));
        out.push(' ');
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}
