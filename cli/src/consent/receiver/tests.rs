//! Real sockets, with a browser that is a few lines long.

use super::*;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use oauth::consent::{Granted, Outcome};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A request of `ada@example.org` on a port that was free a moment ago.
fn request(redirect_uri: &str, state: &str) -> CodeRequest {
    CodeRequest {
        who: Who {
            account: "ada@example.org".into(),
            user: "ada@example.org".into(),
            client: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))),
            password_differs: false,
        },
        redirect_uri: redirect_uri.into(),
        redirect_listen_address: None,
        any_loopback_port: false,
        state: Secret::new(state),
        expires_in: Duration::from_secs(60),
        url: Arc::new(|redirect_uri| {
            format!("https://provider.example/?redirect_uri={redirect_uri}")
        }),
    }
}

/// A port that is free on both loopback families now.
fn free_port() -> u16 {
    let both = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    address::bind_ephemeral(&both).unwrap()[0]
        .local_addr()
        .unwrap()
        .port()
}

/// Sends one GET and returns the whole answer.
async fn get(address: SocketAddr, host: &str, target: &str) -> io::Result<String> {
    say(
        address,
        &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    )
    .await
}

async fn say(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = Async::<TcpStream>::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn v4(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Runs `browser` while `waiting` serves; what `waiting` got meanwhile is answered with `outcome`.
async fn while_waiting<T>(
    waiting: Waiting,
    outcome: Outcome,
    browser: impl Future<Output = T>,
) -> (Option<(String, String)>, T) {
    let (sender, got) = async_channel::bounded(1);
    let serving = smol::spawn(async move {
        let answer = waiting.answer().await;
        drop(waiting);
        let _ = sender.send((answer.redirected, answer.redirect_uri)).await;
        let _ = answer.outcome.send(outcome).await;
    });
    let seen = browser.await;
    drop(serving);
    (got.try_recv().ok(), seen)
}

#[test]
fn the_redirect_is_handed_over_and_success_is_shown_afterwards() {
    smol::block_on(async {
        let port = free_port();
        let receiver = Receiver::default();
        let waiting = receiver
            .open(&request(&format!("http://localhost:{port}"), "right"))
            .await
            .unwrap();
        let host = format!("localhost:{port}");
        let browser = get(v4(port), &host, "/?code=c%20d&state=right");
        let (got, page) = while_waiting(waiting, Ok(Granted::default()), browser).await;
        let page = page.unwrap();
        assert_eq!(
            got.unwrap(),
            (
                format!("http://localhost:{port}/?code=c%20d&state=right"),
                format!("http://localhost:{port}")
            )
        );
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        for part in [
            "Signed in",
            "ada@example.org",
            "192.0.2.7",
            "no-store",
            "default-src 'none'",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        // Nobody waits any more: nobody listens any more.
        assert!(Async::<TcpStream>::connect(v4(port)).await.is_err());
    });
}

#[test]
fn both_loopback_families_are_served() {
    smol::block_on(async {
        let port = free_port();
        let receiver = Receiver::default();
        let waiting = receiver
            .open(&request(&format!("http://localhost:{port}"), "right"))
            .await
            .unwrap();
        if waiting.sockets.len() == 1 {
            return eprintln!("this machine has one loopback family only");
        }
        let host = format!("localhost:{port}");
        let browser = get(
            (Ipv6Addr::LOCALHOST, port).into(),
            &host,
            "/?code=c&state=right",
        );
        let (got, page) = while_waiting(waiting, Ok(Granted::default()), browser).await;
        assert!(got.is_some() && page.unwrap().starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn a_failure_says_why_and_is_escaped() {
    smol::block_on(async {
        let port = free_port();
        let receiver = Receiver::default();
        let mut request = request(&format!("http://127.0.0.1:{port}/back"), "right");
        request.who.password_differs = true;
        let waiting = receiver.open(&request).await.unwrap();
        let host = format!("127.0.0.1:{port}");
        let browser = get(v4(port), &host, "/back?error=access_denied&state=right");
        let (got, page) = while_waiting(waiting, Err("<denied>".into()), browser).await;
        let page = page.unwrap();
        assert!(got.unwrap().0.contains("/back?error=access_denied"));
        assert!(!page.starts_with("HTTP/1.1 200"), "{page}");
        for part in [
            "Not signed in",
            "&lt;denied&gt;",
            "differs from the saved one",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    });
}

#[test]
fn what_is_not_the_redirect_is_refused_and_the_wait_goes_on() {
    smol::block_on(async {
        let port = free_port();
        let receiver = Receiver::default();
        let waiting = receiver
            .open(&request(&format!("http://localhost:{port}/cb"), "right"))
            .await
            .unwrap();
        let host = format!("localhost:{port}");
        let browser = async {
            for (host, target, status) in [
                (host.as_str(), "/favicon.ico", 404),
                (host.as_str(), "/?code=c&state=right", 404),
                (host.as_str(), "/cb?code=c&state=wrong", 400),
                (host.as_str(), "/cb?code=c", 400),
                (host.as_str(), "/cb?code=c&state=right&state=right", 400),
                (host.as_str(), "/cb?state=right", 400),
                ("evil.example", "/cb?code=c&state=right", 400),
                ("localhost", "/cb?code=c&state=right", 400),
            ] {
                let page = get(v4(port), host, target).await.unwrap();
                assert!(
                    page.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{host} {target}: {page}"
                );
            }
            let two = format!(
                "GET /cb?code=c&state=right HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n"
            );
            assert!(
                say(v4(port), &two)
                    .await
                    .unwrap()
                    .starts_with("HTTP/1.1 400 ")
            );
            let none = "GET /cb?code=c&state=right HTTP/1.0\r\n\r\n";
            assert!(say(v4(port), none).await.unwrap().contains(" 400 "));
            let post = format!(
                "POST /cb?code=c&state=right HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
            );
            assert!(
                say(v4(port), &post)
                    .await
                    .unwrap()
                    .starts_with("HTTP/1.1 405 ")
            );
            let long = format!("/cb?code={}&state=right", "c".repeat(2 * HEAD_SIZE));
            // Refused, or cut off while it is still being sent.
            if let Ok(page) = get(v4(port), &host, &long).await {
                assert!(page.is_empty() || page.starts_with("HTTP/1.1 4"), "{page}");
            }
            get(v4(port), &host, "/cb?code=c&state=right")
                .await
                .unwrap()
        };
        let (got, page) = while_waiting(waiting, Ok(Granted::default()), browser).await;
        assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
        assert!(got.is_some());
    });
}

#[test]
fn accounts_on_one_address_are_told_apart_by_state() {
    smol::block_on(async {
        let port = free_port();
        let receiver = Receiver::default();
        let uri = format!("http://localhost:{port}");
        let first = receiver.open(&request(&uri, "first")).await.unwrap();
        let second = receiver.open(&request(&uri, "second")).await.unwrap();
        let host = format!("localhost:{port}");
        let (got, page) = while_waiting(
            second,
            Ok(Granted::default()),
            get(v4(port), &host, "/?code=2&state=second"),
        )
        .await;
        assert!(got.unwrap().0.contains("code=2") && page.unwrap().contains("Signed in"));
        let (got, page) = while_waiting(first, Ok(Granted::default()), async {
            let again = get(v4(port), &host, "/?code=2&state=second").await.unwrap();
            assert!(again.starts_with("HTTP/1.1 400 "), "{again}");
            get(v4(port), &host, "/?code=1&state=first").await
        })
        .await;
        assert!(got.unwrap().0.contains("code=1") && page.unwrap().contains("Signed in"));
    });
}

#[test]
fn an_outcome_that_never_comes_is_a_failure() {
    smol::block_on(async {
        let port = free_port();
        let receiver = Receiver::default();
        let waiting = receiver
            .open(&request(&format!("http://localhost:{port}"), "right"))
            .await
            .unwrap();
        let serving = smol::spawn(async move { drop(waiting.answer().await) });
        let page = get(
            v4(port),
            &format!("localhost:{port}"),
            "/?code=c&state=right",
        )
        .await
        .unwrap();
        serving.await;
        assert!(page.contains("Not signed in"), "{page}");
    });
}

#[test]
fn a_listen_address_stands_in_for_the_redirect_uri() {
    smol::block_on(async {
        let port = free_port();
        let receiver = Receiver::default();
        let mut request = request("https://mail.example/oauth", "right");
        request.redirect_listen_address = Some(format!("http://127.0.0.1:{port}"));
        let waiting = receiver.open(&request).await.unwrap();
        assert_eq!(waiting.redirect_uri(), "https://mail.example/oauth");
        let (got, page) = while_waiting(
            waiting,
            Ok(Granted::default()),
            get(v4(port), "mail.example", "/oauth?code=c&state=right"),
        )
        .await;
        assert!(page.unwrap().starts_with("HTTP/1.1 200 "));
        assert_eq!(
            got.unwrap().0,
            "https://mail.example/oauth?code=c&state=right"
        );
    });
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    smol::block_on(async {
        let taken = TcpListener::bind(v4(0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let receiver = Receiver::default();
        let mut request = request(&format!("http://localhost:{port}"), "right");
        // Any port will do only where none was given.
        request.any_loopback_port = true;
        let Err(ConsentError::Unable(text)) = receiver.open(&request).await else {
            panic!("it listens")
        };
        assert!(
            text.contains(&port.to_string()) && text.contains("redirect_uri"),
            "{text}"
        );
        assert!(receiver.lock().sockets.is_empty() && receiver.lock().waiting.is_empty());
    });
}

#[test]
fn without_a_port_and_without_port_80_any_free_one_is_taken() {
    smol::block_on(async {
        // Taken, or forbidden: either way it cannot be had after this.
        let _taken = address::bind_one(v4(80));
        let receiver = Receiver::default();
        let mut request = request("http://localhost", "right");
        let Err(ConsentError::Unable(text)) = receiver.open(&request).await else {
            panic!("it listens on port 80")
        };
        assert!(text.contains("port 80"), "{text}");
        request.any_loopback_port = true;
        let waiting = receiver.open(&request).await.unwrap();
        let uri = waiting.redirect_uri().to_owned();
        let port: u16 = uri
            .strip_prefix("http://localhost:")
            .unwrap()
            .parse()
            .unwrap();
        let (got, page) = while_waiting(
            waiting,
            Ok(Granted::default()),
            get(
                v4(port),
                &format!("localhost:{port}"),
                "/?code=c&state=right",
            ),
        )
        .await;
        assert!(page.unwrap().starts_with("HTTP/1.1 200 "));
        assert_eq!(got.unwrap().1, uri);
    });
}

#[test]
fn an_https_redirect_without_a_listen_address_cannot_be_received() {
    smol::block_on(async {
        let Err(ConsentError::Unable(text)) = Receiver::default()
            .open(&request("https://localhost:8443", "s"))
            .await
        else {
            panic!("it listens")
        };
        assert!(text.contains("redirect_listen_address"), "{text}");
    });
}
