//! The OAuth 2.0 provider: hyper in front of a handful of endpoints.

mod authorize;
pub mod client;
pub(crate) mod key;
mod page;
pub(crate) mod state;
mod token;

use crate::shared::Shared;
use async_io::Async;
use futures_rustls::TlsAcceptor;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    service::service_fn,
};
use serde_json::{Value, json};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use std::{convert::Infallible, io, net::TcpStream, sync::Arc, time::Duration};

/// Octets in a request's body.
const MAX_BODY: usize = 64 << 10;
/// For a request's header to arrive.
const HEADER_TIME: Duration = Duration::from_secs(30);

/// Serves one connection.
pub(crate) async fn serve(shared: Arc<Shared>, stream: Async<TcpStream>) -> io::Result<()> {
    if shared.https {
        let tls = TlsAcceptor::from(shared.authority.server.clone());
        let stream = tls.accept(stream).await?;
        speak_http(shared, FuturesIo::new(stream)).await
    } else {
        speak_http(shared, FuturesIo::new(stream)).await
    }
}

async fn speak_http<S>(shared: Arc<Shared>, stream: S) -> io::Result<()>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request).await.into_response()) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(stream, service)
        .await
        .map_err(io::Error::other)
}

/// A request, read whole.
pub(crate) struct Question {
    method: Method,
    path: String,
    query: Parameters,
    /// `None` when the body is not a form.
    form: Option<Parameters>,
    authorization: Option<String>,
}

/// Decoded parameters, in order.
#[derive(Clone, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(encoded: &[u8]) -> Parameters {
        Parameters(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// A parameter's value; one without a value counts as left out (RFC 6749 §3.1).
    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// The first parameter that is there more than once.
    fn repeated(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
    }
}

/// An answer.
pub(crate) enum Reply {
    Html(StatusCode, String),
    Json(StatusCode, Value),
    /// JSON as a test ordered it, which may be none.
    Raw(StatusCode, String),
    /// `303 See Other`.
    Redirect(String),
    /// 401 to a client that used the `Authorization` header (RFC 6749 §5.2).
    Unauthorized(Value),
    MethodNotAllowed(&'static str),
}

impl Reply {
    fn into_response(self) -> Response<Full<Bytes>> {
        let html = "text/html; charset=utf-8";
        let json = "application/json";
        let (status, kind, body, extra) = match self {
            Reply::Html(status, body) => (status, html, body, None),
            Reply::Json(status, value) => (status, json, value.to_string(), None),
            Reply::Raw(status, body) => (status, json, body, None),
            Reply::Redirect(to) => (
                StatusCode::SEE_OTHER,
                html,
                String::new(),
                Some((header::LOCATION, to)),
            ),
            Reply::Unauthorized(value) => {
                let challenge = (header::WWW_AUTHENTICATE, "Basic realm=\"sandbox\"".into());
                (
                    StatusCode::UNAUTHORIZED,
                    json,
                    value.to_string(),
                    Some(challenge),
                )
            }
            Reply::MethodNotAllowed(allow) => {
                let body = page::error("That is not how this page is asked for.");
                (
                    StatusCode::METHOD_NOT_ALLOWED,
                    html,
                    body,
                    Some((header::ALLOW, allow.into())),
                )
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        headers.insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        );
        headers.insert(header::PRAGMA, header::HeaderValue::from_static("no-cache"));
        headers.insert(
            header::REFERRER_POLICY,
            header::HeaderValue::from_static("no-referrer"),
        );
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            header::HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
            ),
        );
        if let Some((name, value)) = extra
            && let Ok(value) = header::HeaderValue::try_from(value)
        {
            headers.insert(name, value);
        }
        response
    }
}

/// An error in the form of RFC 6749 §5.2.
pub(crate) struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: String,
}

impl OAuthError {
    fn new(code: &'static str, description: impl Into<String>) -> OAuthError {
        let status = match code {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        OAuthError {
            status,
            code,
            description: description.into(),
        }
    }

    fn reply(self, by_header: bool) -> Reply {
        let body = json!({"error": self.code, "error_description": self.description});
        if self.status == StatusCode::UNAUTHORIZED && by_header {
            Reply::Unauthorized(body)
        } else {
            Reply::Json(self.status, body)
        }
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Reply {
    let question = match read(request).await {
        Ok(question) => question,
        Err(status) => {
            return Reply::Html(
                status,
                page::error("This request is too large or incomplete."),
            );
        }
    };
    let (get, post) = (
        question.method == Method::GET,
        question.method == Method::POST,
    );
    match question.path.as_str() {
        "/" if get => Reply::Html(StatusCode::OK, page::home(&shared.provider_url)),
        "/authorize" if get => authorize::consent_page(shared, &question.query),
        "/authorize" if post => match &question.form {
            Some(form) => authorize::consent_page(shared, form),
            None => Reply::Html(
                StatusCode::BAD_REQUEST,
                page::error("The body is not a form."),
            ),
        },
        "/consent" if post => authorize::decide(shared, &question.form.unwrap_or_default()),
        "/device" if get => authorize::device_page(shared, &question.query),
        "/device_authorization" if post => authorize::device_authorization(shared, &question),
        "/token" if post => token::answer(shared, question).await,
        "/introspect" if post => token::introspect(shared, &question),
        "/.well-known/oauth-authorization-server" if get => metadata(shared),
        "/" | "/device" | "/.well-known/oauth-authorization-server" => {
            Reply::MethodNotAllowed("GET")
        }
        "/authorize" => Reply::MethodNotAllowed("GET, POST"),
        "/consent" | "/device_authorization" | "/token" | "/introspect" => {
            Reply::MethodNotAllowed("POST")
        }
        _ => Reply::Html(
            StatusCode::NOT_FOUND,
            page::error("There is no such page here."),
        ),
    }
}

async fn read(request: Request<Incoming>) -> Result<Question, StatusCode> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let form = is_form(&head.headers).then(|| Parameters::parse(&body.to_bytes()));
    let authorization = head.headers.get(header::AUTHORIZATION);
    Ok(Question {
        method: head.method,
        path: head.uri.path().into(),
        query: Parameters::parse(head.uri.query().unwrap_or_default().as_bytes()),
        form,
        authorization: authorization
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// RFC 8414.
fn metadata(shared: &Shared) -> Reply {
    let base = &shared.provider_url;
    Reply::Json(
        StatusCode::OK,
        json!({
            "issuer": base,
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"),
            "device_authorization_endpoint": format!("{base}/device_authorization"),
            "introspection_endpoint": format!("{base}/introspect"),
            "scopes_supported": client::SCOPES,
            "response_types_supported": ["code"],
            "grant_types_supported": [
                client::CODE, client::REFRESH, client::PASSWORD,
                client::CREDENTIALS, client::DEVICE_CODE, client::JWT_BEARER,
            ],
            "token_endpoint_auth_methods_supported":
                ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }),
    )
}
