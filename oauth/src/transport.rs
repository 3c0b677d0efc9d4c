//! The one place that talks HTTP: isahc behind a trait.

use crate::messages::provider as messages;
use futures_lite::AsyncReadExt;
use isahc::{HttpClient, config::Configurable, config::RedirectPolicy, error::ErrorKind};
use proxy_proto::BoxFuture;
use std::{fmt, net::IpAddr, time::Duration};
use url::Url;
use zeroize::Zeroizing;

/// An answer with a longer body is refused.
pub const MAX_BODY: usize = 256 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request to the provider. No `Debug`: the form holds secrets.
pub struct Request {
    /// `https`, or `http` towards a loopback address.
    pub url: String,
    /// POST with this `application/x-www-form-urlencoded` body; without it, GET.
    pub form: Option<Zeroizing<String>>,
}

/// The provider's answer, whatever its status. No `Debug`: the body holds secrets.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// At most [`MAX_BODY`] octets.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer; one line, no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportError(pub String);

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TransportError {}

/// Sends one request; never follows redirects.
pub trait Transport: Send + Sync {
    /// The answer, whatever its status.
    fn send(&self, request: Request) -> BoxFuture<Result<Answer, TransportError>>;
}

/// isahc with one shared client: honours `https_proxy`, `http_proxy`, `no_proxy` (no proxy is asked for loopback addresses), and
/// `SSL_CERT_FILE`, which takes the place of the
/// system's roots. TLS 1.2 at least.
///
/// isahc writes bodies to the tracing target `isahc::wire` at TRACE: a subscriber must leave that target off.
pub struct Http {
    client: HttpClient,
}

impl Http {
    /// Starts the client's thread.
    pub fn new() -> Result<Self, TransportError> {
        Http::with_timeouts(CONNECT_TIMEOUT, TIMEOUT)
    }

    /// The same with other limits: until a connection stands, and until a whole answer is there.
    pub fn with_timeouts(connect: Duration, whole: Duration) -> Result<Self, TransportError> {
        let client = HttpClient::builder()
            .redirect_policy(RedirectPolicy::None)
            .automatic_decompression(false)
            .connect_timeout(connect)
            .timeout(whole)
            .default_header(
                "user-agent",
                concat!("emailproxy/", env!("CARGO_PKG_VERSION")),
            )
            .default_header("accept", "application/json")
            .build()
            .map_err(|e| TransportError(messages::no_http(e)))?;
        Ok(Http { client })
    }
}

impl Transport for Http {
    fn send(&self, request: Request) -> BoxFuture<Result<Answer, TransportError>> {
        let client = self.client.clone();
        Box::pin(async move {
            let Host {
                name: host,
                loopback,
            } = secure_host(&request.url)?;
            let failed = |e: isahc::Error| TransportError(why(&host, &e));
            let mut builder = isahc::Request::builder().uri(&request.url);
            if loopback {
                // a proxy elsewhere cannot reach this computer's own addresses
                builder = builder.proxy(None);
            }
            let request = match request.form {
                // isahc keeps the body until it is sent: the copy it gets cannot be wiped from here
                Some(form) => builder
                    .method("POST")
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(isahc::AsyncBody::from(form.as_bytes().to_vec())),
                None => builder.method("GET").body(isahc::AsyncBody::empty()),
            }
            .map_err(|_| TransportError(messages::unusable_url(&host)))?;
            let response = client.send_async(request).await.map_err(failed)?;
            let status = response.status().as_u16();
            let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
            response
                .into_body()
                .take(MAX_BODY as u64 + 1)
                .read_to_end(&mut body)
                .await
                .map_err(|e| TransportError(messages::cut_off(&host, e)))?;
            if body.len() > MAX_BODY {
                return Err(TransportError(messages::too_much(&host, "256 KiB")));
            }
            Ok(Answer { status, body })
        })
    }
}

struct Host {
    name: String,
    /// It is this computer.
    loopback: bool,
}

/// The URL's host, if secrets may be sent there: by https, or to this computer.
fn secure_host(url: &str) -> Result<Host, TransportError> {
    let parsed = Url::parse(url).map_err(|e| TransportError(messages::bad_url(e)))?;
    let Some(host) = parsed.host() else {
        return Err(TransportError(messages::NO_HOST.to_owned()));
    };
    let loopback = match host {
        url::Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => IpAddr::V6(address).to_canonical().is_loopback(),
    };
    match parsed.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        scheme => Err(TransportError(messages::not_https(&host, scheme))),
    }?;
    Ok(Host {
        name: host.to_string(),
        loopback,
    })
}

fn why(host: &str, error: &isahc::Error) -> String {
    match error.kind() {
        ErrorKind::NameResolution => messages::unknown_host(host),
        ErrorKind::ConnectionFailed => messages::unreachable(host),
        ErrorKind::Timeout => messages::too_slow(host),
        ErrorKind::BadServerCertificate => messages::untrusted(host),
        _ => messages::not_asked(host, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;
    use std::{
        env,
        io::{Read, Write},
        net::TcpListener,
        process::Command,
        thread,
    };

    /// Serves one connection with `answer`; gives its URL, and what was asked.
    fn serve(answer: Vec<u8>) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/token", listener.local_addr().expect("bound"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut asked = Vec::new();
            let mut buffer = [0; 4096];
            while !(asked.ends_with(b"\r\n\r\n") || asked.ends_with(b"end=1")) {
                match stream.read(&mut buffer).expect("readable") {
                    0 => break,
                    n => asked.extend_from_slice(&buffer[..n]),
                }
            }
            // the client may have left in the middle of a long answer
            let _ = stream.write_all(&answer);
            String::from_utf8_lossy(&asked).into_owned()
        });
        (url, server)
    }

    fn ask(url: String, form: Option<&str>) -> Result<Answer, TransportError> {
        let form = form.map(|form| Zeroizing::new(form.to_owned()));
        block_on(Http::new()?.send(Request { url, form }))
    }

    #[test]
    fn forms_are_posted_and_answers_read() {
        let (url, server) = serve(
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
                .to_vec(),
        );
        let answer = ask(url, Some("a=b&end=1")).expect("an answer");
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body.as_slice(), b"{}");
        let asked = server.join().expect("served").to_lowercase();
        assert!(asked.starts_with("post /token http/1.1\r\n"), "{asked}");
        assert!(
            asked.contains("content-type: application/x-www-form-urlencoded\r\n"),
            "{asked}"
        );
        assert!(asked.contains("user-agent: emailproxy/"), "{asked}");
        assert!(asked.ends_with("\r\n\r\na=b&end=1"), "{asked}");
    }

    #[test]
    fn redirects_are_answers() {
        let (url, server) = serve(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_vec(),
        );
        assert_eq!(ask(url, None).expect("an answer").status, 302);
        assert!(server.join().expect("served").starts_with("GET /token"));
    }

    #[test]
    fn huge_answers_are_refused() {
        let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        answer.resize(answer.len() + MAX_BODY + 1, b' ');
        let (url, server) = serve(answer);
        let error = ask(url, None).err().expect("refused");
        assert!(error.0.contains("256 KiB"), "{error}");
        server.join().expect("served");
    }

    /// This test again, in a process that finds these variables set; whether it passes.
    fn again(test: &str, variables: &[(&str, &str)]) -> bool {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["--exact", &format!("transport::tests::{test}")]);
        for name in ["no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        let output = command.envs(variables.iter().copied()).output();
        output.is_ok_and(|output| output.status.success())
    }

    const URL: &str = "TRANSPORT_TEST_URL";

    #[test]
    fn this_computer_is_asked_without_a_proxy() {
        if let Ok(url) = env::var(URL) {
            assert_eq!(ask(url, Some("end=1")).expect("an answer").status, 200);
            return;
        }
        let nobody = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .map(|address| format!("http://{address}"))
            .expect("a port");
        let (url, server) =
            serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec());
        assert!(again(
            "this_computer_is_asked_without_a_proxy",
            &[
                (URL, &url),
                ("http_proxy", &nobody),
                ("https_proxy", &nobody)
            ]
        ));
        assert!(server.join().expect("served").starts_with("POST /token"));
    }

    #[test]
    fn other_hosts_are_asked_through_the_proxy() {
        if let Ok(url) = env::var(URL) {
            assert!(ask(url, Some("end=1")).is_err());
            return;
        }
        let (proxy, server) = serve(b"HTTP/1.1 502 No\r\nConnection: close\r\n\r\n".to_vec());
        assert!(again(
            "other_hosts_are_asked_through_the_proxy",
            &[
                (URL, "https://provider.example/token"),
                ("https_proxy", &proxy)
            ]
        ));
        let asked = server.join().expect("served");
        assert!(
            asked.starts_with("CONNECT provider.example:443 "),
            "{asked}"
        );
    }

    #[test]
    fn nobody_there_is_said() {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a port");
        let error = ask(format!("http://{port}/token"), None)
            .err()
            .expect("nobody there");
        assert!(error.0.contains("127.0.0.1 cannot be reached"), "{error}");
    }

    #[test]
    fn secrets_go_by_https_or_stay_on_this_computer() {
        for url in [
            "https://provider.example/token",
            "http://localhost:8080/token",
            "http://127.1.2.3/",
            "http://[::1]:80/",
            "http://[::ffff:127.0.0.1]/",
        ] {
            assert!(secure_host(url).is_ok(), "{url}");
        }
        for url in [
            "http://provider.example/token",
            "http://localhost.example/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "file:///etc/passwd",
            "nonsense",
            "",
        ] {
            let error = secure_host(url).err();
            assert!(error.is_some(), "{url}");
        }
    }
}
