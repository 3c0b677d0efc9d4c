//! What is answered to a request, and to whom.
//!
//! In this order: health is for everybody; the `Host` must be ours, else somebody's page has pointed a name of its own at this
//! machine (DNS rebinding); style, script and icon hold nothing; all the rest wants the token. Whatever changes something is a POST
//! whose `Origin` is ours and that brings along the word from our own page.

#![allow(
    clippy::result_large_err,
    reason = "one answer is made for each request"
)]

use super::{
    door::{Door, Notice, STAY, Visit},
    host::Hosts,
    house::House,
    page,
};
use crate::{
    consent::qr_svg,
    messages::{self, common, console as texts, sentence},
};
use async_io::Timer;
use futures_lite::FutureExt;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{self, HeaderName, HeaderValue},
};
use maud::Markup;
use std::{
    borrow::Cow,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{debug, info, warn};

/// Longest body of a form in octets: addresses of final pages have three thousand, with some providers.
const FORM: usize = 32 * 1024;

/// Longest wait for the body of a form.
const READING: Duration = Duration::from_secs(10);

/// What is sent back.
pub(super) type Answer = Response<Full<Bytes>>;

/// Answers requests.
pub(super) struct Desk {
    pub(super) house: Arc<dyn House>,
    pub(super) door: Door,
    pub(super) hosts: Hosts,
    /// Of its own for each port: browsers send cookies to every port of a host.
    pub(super) cookie: String,
}

impl Desk {
    /// Answers one request; every answer has the headers that keep browsers careful.
    pub(super) async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Answer
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut answer = match self.route(request, peer).await {
            Ok(answer) | Err(answer) => answer,
        };
        for (name, value) in HEADERS {
            answer
                .headers_mut()
                .insert(name.clone(), HeaderValue::from_static(value));
        }
        answer
    }

    async fn route<B>(&self, request: Request<B>, peer: SocketAddr) -> Result<Answer, Answer>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if path == "/healthz" {
            only_reading(&head.method)?;
            return Ok(match self.house.health() {
                Ok(()) => text(StatusCode::OK, "ok\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            });
        }
        let host = self.host(&head.headers, peer)?;
        if let Some((kind, contents)) = file(path) {
            only_reading(&head.method)?;
            return Ok(answer(StatusCode::OK, kind, contents));
        }
        if head.method == Method::POST {
            same_origin(&head.headers, host)?;
            let form = form(body).await?;
            return self.post(path, &form, &head.headers, peer).await;
        }
        only_reading(&head.method)?;
        let query = head.uri.query().unwrap_or_default();
        match path {
            "/" => self.front(query, &head.headers, peer).await,
            "/metrics" => {
                self.let_in(&head.headers)?;
                let metrics = self.house.metrics().await;
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                Ok(answer(StatusCode::OK, kind, metrics))
            }
            "/state.json" => {
                self.let_in(&head.headers)?;
                let state = self.house.state().await;
                match serde_json::to_string(&state) {
                    Ok(json) => Ok(answer(StatusCode::OK, "application/json", json)),
                    Err(error) => Err(text(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        format!("{error}\n"),
                    )),
                }
            }
            _ => match consent(path) {
                Some((id, "qr.svg")) => {
                    self.visit(&head.headers)?;
                    let svg = self.house.qr(id).and_then(|address| qr_svg(&address));
                    let svg = svg.ok_or_else(nothing)?;
                    Ok(answer(StatusCode::OK, "image/svg+xml", svg))
                }
                _ => Err(nothing()),
            },
        }
    }

    /// The overview; or, with the token, a cookie and the way to it.
    async fn front(
        &self,
        query: &str,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Answer, Answer> {
        if let Some(token) = parameter(query.as_bytes(), "token") {
            return self.admit(&token, peer);
        }
        let visit = self.visit(headers)?;
        let state = self.house.state().await;
        Ok(html(StatusCode::OK, &page::overview(&state, &visit)))
    }

    async fn post(
        &self,
        path: &str,
        form: &[u8],
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Answer, Answer> {
        if path == "/sign-in" {
            return self.admit(&parameter(form, "token").unwrap_or_default(), peer);
        }
        let visit = self.visit(headers)?;
        if !visit.wrote(&parameter(form, "form").unwrap_or_default()) {
            let page = page::words(texts::PAGE_OUT_OF_DATE, texts::FORM_OUT_OF_DATE);
            return Err(html(StatusCode::FORBIDDEN, &page));
        }
        let notice = match (path, consent(path)) {
            ("/sign-out", _) => {
                self.door.leave(&visit);
                let mut answer = to_the_front();
                set_cookie(&mut answer, &self.cookie, "", 0);
                return Ok(answer);
            }
            ("/debug", _) => {
                let on = match parameter(form, "debug").as_deref() {
                    Some("on") => true,
                    Some("off") => false,
                    _ => return Err(bad_form()),
                };
                self.house.set_debug(on).await;
                Notice {
                    good: true,
                    text: sentence(match on {
                        true => texts::DEBUG_IS_ON,
                        false => messages::serve::DEBUG_OFF,
                    }),
                }
            }
            (_, Some((id, "answer"))) => {
                let address = parameter(form, "address").ok_or_else(bad_form)?;
                let (good, text) = match self.house.answer(id, address).await {
                    Ok(text) => (true, text),
                    Err(text) => (false, text),
                };
                let text = sentence(&text);
                Notice { good, text }
            }
            (_, Some((id, "dismiss"))) => match self.house.dismiss(id) {
                true => Notice {
                    good: true,
                    text: sentence(texts::DISMISSED),
                },
                false => Notice {
                    good: false,
                    text: sentence(messages::consent::NO_LONGER_WAITING),
                },
            },
            _ => return Err(nothing()),
        };
        self.door.tell(&visit, notice, Instant::now());
        Ok(to_the_front())
    }

    /// Signs a browser in, and takes the token out of its address bar.
    fn admit(&self, token: &str, peer: SocketAddr) -> Result<Answer, Answer> {
        match self.door.admit(token, Instant::now()) {
            Ok(Some(cookie)) => {
                info!(client = %peer, "{}", texts::SIGNED_IN_TO_CONSOLE);
                let mut answer = to_the_front();
                set_cookie(&mut answer, &self.cookie, cookie.expose(), STAY.as_secs());
                Ok(answer)
            }
            Ok(None) => {
                warn!(client = %peer, "{}", texts::WRONG_TOKEN);
                let why = sentence(texts::NOT_THE_TOKEN);
                Err(html(StatusCode::FORBIDDEN, &page::sign_in(Some(&why))))
            }
            Err(error) => Err(text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{error}\n"),
            )),
        }
    }

    /// The visitor; else the page on which one signs in.
    fn visit(&self, headers: &HeaderMap) -> Result<Visit, Answer> {
        self.door
            .visitor(cookies(headers, &self.cookie), Instant::now())
            .ok_or_else(|| html(StatusCode::UNAUTHORIZED, &page::sign_in(None)))
    }

    /// Whether a program has the token, or a browser the cookie.
    fn let_in(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if bearer.is_some_and(|(_, token)| self.door.opens_with(token.trim())) {
            return Ok(());
        }
        let visitor = cookies(headers, &self.cookie);
        if bearer.is_none() && self.door.visitor(visitor, Instant::now()).is_some() {
            return Ok(());
        }
        // No full stop: its end is a header.
        let wanted = format!("{}\n", texts::TOKEN_WANTED);
        let mut answer = text(StatusCode::UNAUTHORIZED, wanted);
        answer.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"emailproxy\""),
        );
        Err(answer)
    }

    /// The request's `Host`, if it is ours.
    fn host<'a>(&self, headers: &'a HeaderMap, peer: SocketAddr) -> Result<&'a str, Answer> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok(),
            _ => None,
        };
        match host.filter(|host| self.hosts.are_ours(host)) {
            Some(host) => Ok(host),
            None => {
                let name = host.unwrap_or(texts::NO_NAME);
                debug!(%peer, "{}", texts::other_name(name));
                Err(refusal(
                    StatusCode::MISDIRECTED_REQUEST,
                    texts::NOT_BY_THIS_NAME,
                ))
            }
        }
    }
}

/// What every answer carries. Referrers stay on this site, and there they are wanted: without them browsers would send
/// `Origin: null` along with our own forms.
const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// The files that need no token: kind and contents.
fn file(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/style.css" => ("text/css; charset=utf-8", include_str!("files/style.css")),
        "/script.js" => (
            "text/javascript; charset=utf-8",
            include_str!("files/script.js"),
        ),
        "/icon.svg" | "/favicon.ico" => ("image/svg+xml", include_str!("files/icon.svg")),
        _ => return None,
    })
}

/// `/consents/7/answer`: number and what is wanted.
fn consent(path: &str) -> Option<(u64, &str)> {
    let (id, what) = path.strip_prefix("/consents/")?.split_once('/')?;
    Some((id.parse().ok()?, what))
}

fn only_reading(method: &Method) -> Result<(), Answer> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, common::ONLY_GET);
    answer
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    Err(answer)
}

/// Whether a form was sent by a page of ours: browsers say so.
fn same_origin(headers: &HeaderMap, host: &str) -> Result<(), Answer> {
    let value = |name: HeaderName| headers.get(name).map(|value| value.as_bytes());
    let origin = value(header::ORIGIN).is_some_and(|origin| {
        let named = origin.strip_prefix(b"http://");
        named.is_some_and(|named| named.eq_ignore_ascii_case(host.as_bytes()))
    });
    let site = value(HeaderName::from_static("sec-fetch-site"));
    if origin && site.is_none_or(|site| site == b"same-origin") {
        return Ok(());
    }
    Err(refusal(StatusCode::FORBIDDEN, texts::FORM_OF_OTHERS))
}

/// Reads the body of a form.
async fn form<B>(body: B) -> Result<Bytes, Answer>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let late = async {
        Timer::after(READING).await;
        Err(io::Error::from(io::ErrorKind::TimedOut).into())
    };
    match Limited::new(body, FORM).collect().or(late).await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, texts::FORM_TOO_LONG))
        }
        Err(_) => Err(bad_form()),
    }
}

/// The only value of that name; `None` where it is absent or given twice.
fn parameter(form: &[u8], name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(form).filter(|(key, _)| key == name);
    let (_, value) = values.next()?;
    values.next().is_none().then(|| Cow::into_owned(value))
}

/// The values of the cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// For this host alone, out of scripts' reach, and not sent along by other sites.
fn set_cookie(answer: &mut Answer, name: &str, value: &str, seconds: u64) {
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
        cookie.set_sensitive(true);
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

fn to_the_front() -> Answer {
    let mut answer = text(StatusCode::SEE_OTHER, "");
    answer
        .headers_mut()
        .insert(header::LOCATION, HeaderValue::from_static("/"));
    answer
}

fn nothing() -> Answer {
    refusal(StatusCode::NOT_FOUND, common::NOTHING_HERE)
}

fn bad_form() -> Answer {
    refusal(StatusCode::BAD_REQUEST, texts::FORM_INCOMPLETE)
}

/// Why there is nothing else, for a program or a person.
fn refusal(status: StatusCode, why: &str) -> Answer {
    text(status, format!("{}\n", sentence(why)))
}

fn html(status: StatusCode, page: &Markup) -> Answer {
    answer(status, "text/html; charset=utf-8", page.0.clone())
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", text)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests;
