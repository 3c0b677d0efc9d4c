//! The SDK's requests by isahc, as all others of this crate: one TLS, one set of roots, one way through proxies.

use crate::messages::provider as messages;
use aws_sdk_secretsmanager::{
    config::{
        HttpClient, RuntimeComponents,
        http::{HttpRequest, HttpResponse},
    },
    error::ConnectorError,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_types::body::SdkBody;
use futures_lite::AsyncReadExt;
use isahc::{AsyncBody, Request, config::Configurable, config::RedirectPolicy, error::ErrorKind};
use std::time::Duration;

/// isahc behind the SDK's trait: honours `https_proxy`, `no_proxy` and `SSL_CERT_FILE`. What goes by `http:` (the metadata services
/// of AWS, which hand out credentials, and test servers) never goes through a proxy.
#[derive(Clone, Debug)]
pub(super) struct Isahc {
    client: isahc::HttpClient,
}

/// An answer with a longer body is refused. A secret has at most 64 KiB, which JSON may escape sixfold.
const MAX_BODY: usize = 1024 * 1024;

/// Where the SDK names no other.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(15);

impl Isahc {
    /// Starts the client's thread.
    pub(super) fn new() -> Result<Self, isahc::Error> {
        let client = isahc::HttpClient::builder()
            .redirect_policy(RedirectPolicy::None)
            .automatic_decompression(false)
            .build()?;
        Ok(Isahc { client })
    }
}

impl HttpClient for Isahc {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connect = settings.connect_timeout().unwrap_or(CONNECT_TIMEOUT);
        SharedHttpConnector::new(Connector {
            client: self.client.clone(),
            connect,
            total: connect + settings.read_timeout().unwrap_or(READ_TIMEOUT),
        })
    }
}

#[derive(Debug)]
struct Connector {
    client: isahc::HttpClient,
    connect: Duration,
    total: Duration,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, connect, total) = (self.client.clone(), self.connect, self.total);
        HttpConnectorFuture::new(async move {
            let request = prepared(request, connect, total)?;
            let host = request.uri().host().unwrap_or_default().to_owned();
            let response = client
                .send_async(request)
                .await
                .map_err(|error| failed(&host, &error))?;
            let (parts, body) = response.into_parts();
            let mut octets = Vec::new();
            body.take(MAX_BODY as u64 + 1)
                .read_to_end(&mut octets)
                .await
                .map_err(|error| ConnectorError::io(error.into()))?;
            if octets.len() > MAX_BODY {
                let text = messages::too_much(&host, "1 MiB");
                return Err(ConnectorError::user(text.into()));
            }
            let response = isahc::http::Response::from_parts(parts, SdkBody::from(octets));
            HttpResponse::try_from(response).map_err(|error| ConnectorError::user(error.into()))
        })
    }
}

fn prepared(
    request: HttpRequest,
    connect: Duration,
    total: Duration,
) -> Result<Request<AsyncBody>, ConnectorError> {
    let request = request
        .try_into_http1x()
        .map_err(|error| ConnectorError::user(error.into()))?;
    let (parts, body) = request.into_parts();
    let body = match body.bytes() {
        Some([]) => AsyncBody::empty(),
        Some(octets) => AsyncBody::from(octets.to_vec()),
        None => return Err(ConnectorError::user(messages::NO_BODY.into())),
    };
    let plain = parts.uri.scheme_str() == Some("http");
    let mut builder = Request::builder()
        .method(parts.method)
        .uri(parts.uri)
        .connect_timeout(connect)
        .timeout(total);
    if plain {
        builder = builder.proxy(None);
    }
    if let Some(headers) = builder.headers_mut() {
        *headers = parts.headers;
    }
    builder
        .body(body)
        .map_err(|error| ConnectorError::user(error.into()))
}

/// The kinds tell the SDK whether it is worth another try.
fn failed(host: &str, error: &isahc::Error) -> ConnectorError {
    match error.kind() {
        ErrorKind::Timeout => ConnectorError::timeout(messages::too_slow(host).into()),
        ErrorKind::NameResolution => ConnectorError::io(messages::unknown_host(host).into()),
        ErrorKind::ConnectionFailed => ConnectorError::io(messages::unreachable(host).into()),
        ErrorKind::BadServerCertificate => ConnectorError::user(messages::untrusted(host).into()),
        _ => ConnectorError::io(messages::not_asked(host, error).into()),
    }
}
