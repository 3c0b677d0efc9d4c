//! Plain clients for the tests: a TLS line client, and form posts by hyper.
#![allow(dead_code, reason = "every test file uses its own part")]

use async_io::Async;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::pem::PemObject as _,
};
use rustls_pki_types::{CertificateDer, ServerName};
use sandbox::{Client, Sandbox};
use serde_json::Value;
use smol_hyper::rt::FuturesIo;
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};
use url::Url;

pub(crate) const ADA: &str = "ada@example.org";
pub(crate) const BROOK: &str = "brook@example.org";

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A line client, in clear or over TLS.
pub(crate) struct Lines(BufReader<Box<dyn Stream>>);

impl Lines {
    pub(crate) fn plain(address: SocketAddr) -> Lines {
        let stream = TcpStream::connect(address).expect("connect");
        // Only so that a broken server fails the test instead of hanging it.
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("time-out");
        Lines(BufReader::new(Box::new(stream)))
    }

    pub(crate) fn tls(sandbox: &Sandbox, address: SocketAddr) -> Lines {
        Lines::plain(address).upgrade(sandbox)
    }

    /// Speaks TLS from here on, trusting the sandbox alone.
    pub(crate) fn upgrade(self, sandbox: &Sandbox) -> Lines {
        assert!(self.0.buffer().is_empty(), "bytes before TLS");
        let connection = ClientConnection::new(
            trust(sandbox),
            ServerName::try_from("localhost").expect("name"),
        )
        .expect("client");
        Lines(BufReader::new(Box::new(StreamOwned::new(
            connection,
            self.0.into_inner(),
        ))))
    }

    pub(crate) fn send(&mut self, line: &str) {
        self.raw(format!("{line}\r\n").as_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("write");
        self.0.get_mut().flush().expect("flush");
    }

    /// One line, without its CRLF; empty at the end of the stream.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(_) => {}
            Err(e)
                if e.kind() == io::ErrorKind::UnexpectedEof
                    || e.kind() == io::ErrorKind::ConnectionReset => {}
            Err(e) => panic!("read: {e}"),
        }
        let line = String::from_utf8(line).expect("text");
        line.strip_suffix("\r\n").unwrap_or(&line).to_owned()
    }

    /// Everything up to and including a line that starts so.
    pub(crate) fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            assert!(
                !line.is_empty() || self.0.fill_buf().is_ok_and(|b| !b.is_empty()),
                "ended after {lines:#?}"
            );
            let found = line.starts_with(start);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    /// Sends a line, and reads up to the line that starts so.
    pub(crate) fn ask(&mut self, line: &str, start: &str) -> Vec<String> {
        self.send(line);
        self.until(start)
    }

    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("octets");
        bytes
    }

    /// The other side has closed.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.0.fill_buf().map_or(true, <[u8]>::is_empty)
    }
}

pub(crate) fn trust(sandbox: &Sandbox) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(sandbox.ca_pem().as_bytes()).expect("PEM"))
        .expect("CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub(crate) fn xoauth2(user: &str, token: &str) -> String {
    BASE64_STANDARD.encode(format!("user={user}\x01auth=Bearer {token}\x01\x01"))
}

pub(crate) fn oauthbearer(user: &str, token: &str) -> String {
    BASE64_STANDARD.encode(format!(
        "n,a={user},\x01host=localhost\x01port=1\x01auth=Bearer {token}\x01\x01"
    ))
}

/// Posts a form to a URL over http; status, and the JSON of the answer.
pub(crate) fn post(
    url: &str,
    fields: &[(&str, &str)],
    authorization: Option<&str>,
) -> (u16, Value) {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let (status, text) = exchange("POST", url, Some(body), authorization);
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

pub(crate) fn exchange(
    method: &str,
    url: &str,
    body: Option<String>,
    authorization: Option<&str>,
) -> (u16, String) {
    let url = Url::parse(url).expect("URL");
    smol::block_on(async {
        let address = SocketAddr::from(([127, 0, 0, 1], url.port().expect("port")));
        let stream = FuturesIo::new(Async::<TcpStream>::connect(address).await.expect("connect"));
        let (mut sender, connection) = http1::handshake(stream).await.expect("handshake");
        let target = &url[url::Position::BeforePath..];
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header("host", "localhost");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .expect("request");
        let answer = async {
            let response = sender.send_request(request).await.expect("answer");
            let status = response.status().as_u16();
            let bytes = response
                .into_body()
                .collect()
                .await
                .expect("body")
                .to_bytes();
            (status, String::from_utf8(bytes.to_vec()).expect("text"))
        };
        let drive = async {
            let _ = connection.await;
            futures_lite::future::pending().await
        };
        futures_lite::future::or(answer, drive).await
    })
}

/// The fields by which a client authenticates in the body.
pub(crate) fn credentials(client: Client) -> Vec<(&'static str, &'static str)> {
    let mut fields = vec![("client_id", client.id)];
    fields.extend(client.secret.map(|secret| ("client_secret", secret)));
    fields
}

/// A token request with these credentials.
pub(crate) fn token(sandbox: &Sandbox, client: Client, fields: &[(&str, &str)]) -> (u16, Value) {
    let mut all: Vec<(&str, &str)> = credentials(client);
    all.extend(fields);
    post(&sandbox.token_url(), &all, None)
}

/// Logs in by IMAP with XOAUTH2; what stands behind the tag.
pub(crate) fn imap_login(sandbox: &Sandbox, user: &str, token: &str) -> (Lines, String) {
    let mut imap = Lines::tls(sandbox, sandbox.imaps());
    imap.until("* OK");
    imap.send(&format!("a AUTHENTICATE XOAUTH2 {}", xoauth2(user, token)));
    let mut line = imap.line();
    if line.starts_with("+ ") {
        imap.send("");
        line = imap.line();
    }
    let answer = line
        .strip_prefix("a ")
        .unwrap_or_else(|| panic!("{line}"))
        .to_owned();
    (imap, answer)
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
        .to_owned()
}
