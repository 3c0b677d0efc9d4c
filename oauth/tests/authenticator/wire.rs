//! The flows over real HTTP, against providers as they really answer.

use crate::{
    http::{Reply, Server},
    world::{BY_CLIENT, BY_CODE, BY_PASSWORD, USER, World, config},
};
use oauth::transport::{Http, MAX_BODY};
use std::{sync::Arc, time::Duration};

const TOKEN: &str = r#"{"access_token":"access","refresh_token":"refresh","expires_in":3600}"#;
const DEVICE: &str = "permission_url = https://provider.example/device\noauth2_flow = device";
const DEVICE_CODE: &str =
    r#"{"device_code":"d","user_code":"AB","verification_uri":"https://p.example"}"#;

/// Names, and the values they are to have.
type Parameters<'a> = &'a [(&'a str, Option<&'a str>)];

/// An account of this provider.
fn world(options: &str, server: &Server) -> World {
    world_with(options, server, Http::new().expect("a client"))
}

fn world_with(options: &str, server: &Server, http: Http) -> World {
    let text = config(options).replace("https://provider.example", &server.url);
    World::over_http(&text, Arc::new(http))
}

fn data(file: &str) -> String {
    format!("{}/tests/data/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn answers_as_they_really_come_give_a_token() {
    for body in [
        r#"{"access_token":"access"}"#,
        r#"{"access_token":"access","expires_in":"3599"}"#,
        r#"{"access_token":"access","expires_in":null,"scope":["mail"],"ext_expires_in":7,"id_token":{}}"#,
        r#"{"token_type":"bearer","expires_in":3599.5,"access_token":"access","refresh_token":null}"#,
        "\u{20}\r\n{\"access_token\":\"access\"}\n",
    ] {
        let server = Server::new([Reply::json(body)]);
        assert_eq!(world(BY_PASSWORD, &server).token("pw"), "access", "{body}");
        assert_eq!(server.seen().len(), 1);
    }
    // without a length, until the connection ends; and in chunks
    for raw in [
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{TOKEN}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{TOKEN}\r\n0\r\n\r\n",
            TOKEN.len()
        ),
    ] {
        let server = Server::new([Reply::Raw(raw.into_bytes())]);
        assert_eq!(world(BY_PASSWORD, &server).token("pw"), "access");
    }
}

#[test]
fn trouble_is_temporary_and_the_next_login_gets_the_token() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{\"access_token\":\"acc".to_vec();
    let mut huge =
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"access_token\":\"access\",\"x\":\""
            .to_vec();
    huge.resize(huge.len() + MAX_BODY, b'x');
    huge.extend_from_slice(b"\"}");
    for (reply, expected) in [
        (Reply::status("500 Oops", "oops"), "status 500"),
        (
            Reply::status("503 Later", "<html>later</html>"),
            "a web page",
        ),
        (Reply::status("429 Slow", r#"{"error":"rate"}"#), "rate"),
        (
            Reply::json("<!DOCTYPE html><title>Sign in</title>"),
            "a web page",
        ),
        (Reply::json("{"), "something unknown"),
        (Reply::json(""), "nothing"),
        (Reply::status("404 Not Found", "<html>"), "check its URL"),
        (Reply::Raw(cut), "did not finish"),
        (Reply::Raw(Vec::new()), "could not be asked"),
        (Reply::Raw(b"garbage\r\n\r\n".to_vec()), "127.0.0.1"),
        (Reply::Raw(huge), "more than 256 KiB"),
    ] {
        let server = Server::new([reply, Reply::json(TOKEN)]);
        let world = world(BY_PASSWORD, &server);
        let text = world.temporary("pw");
        assert!(
            text.contains(expected) && text.contains(USER),
            "{expected}: {text}"
        );
        assert_eq!(world.token("pw"), "access", "{expected}");
    }
}

#[test]
fn redirects_are_not_followed() {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let elsewhere = Server::new([Reply::json(TOKEN)]);
        let location: &'static str = format!("Location: {}/token\r\n", elsewhere.url).leak();
        let server = Server::new([Reply::Full(status, location, String::new())]);
        let text = world(BY_PASSWORD, &server).temporary("pw");
        assert!(text.contains("redirects"), "{status}: {text}");
        assert!(
            elsewhere.seen().is_empty(),
            "{status}: secrets went elsewhere"
        );
    }
}

#[test]
fn a_provider_that_says_nothing_is_given_up() {
    let server = Server::new([Reply::Silence, Reply::json(TOKEN)]);
    let brief = Duration::from_millis(100);
    let http = Http::with_timeouts(brief * 50, brief).expect("a client");
    let world = world_with(BY_PASSWORD, &server, http);
    let text = world.temporary("pw");
    assert!(text.contains("did not answer in time"), "{text}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn the_parameters_of_each_flow_arrive() {
    let login_password = format!(
        "{}\n[emailproxy]\nuse_login_password_as_client_credentials_secret = True",
        "oauth2_flow = client_credentials"
    );
    let certificate = format!(
        "oauth2_flow = client_credentials\njwt_certificate_path = {}\njwt_key_path = {}",
        data("rsa.crt"),
        data("rsa.key")
    );
    let resource = format!("{BY_PASSWORD}\noauth2_resource = https://r.example/?a=b&c");
    let expected: [(&str, Parameters<'_>); 4] = [
        (
            &resource,
            &[
                ("grant_type", Some("password")),
                ("username", Some(USER)),
                ("password", Some("pw &+=ü")),
                ("scope", Some("mail")),
                ("resource", Some("https://r.example/?a=b&c")),
                ("client_secret", Some("cl1ent")),
            ],
        ),
        (
            BY_CLIENT,
            &[
                ("grant_type", Some("client_credentials")),
                ("client_secret", Some("cl1ent")),
                ("username", None),
                ("password", None),
            ],
        ),
        (
            &login_password,
            &[
                ("grant_type", Some("client_credentials")),
                ("client_secret", Some("pw &+=ü")),
            ],
        ),
        (
            &certificate,
            &[
                ("grant_type", Some("client_credentials")),
                ("client_secret", None),
                (
                    "client_assertion_type",
                    Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ),
            ],
        ),
    ];
    for (options, parameters) in expected {
        let server = Server::new([Reply::json(TOKEN)]);
        assert_eq!(world(options, &server).token("pw &+=ü"), "access");
        let seen = &server.seen()[0];
        assert_eq!(seen.line, "POST /token HTTP/1.1");
        for (name, value) in parameters {
            assert_eq!(seen.value(name).as_deref(), *value, "{name}");
        }
    }
}

#[test]
fn codes_are_redeemed_and_refresh_tokens_rotated() {
    let server = Server::new([
        Reply::json(TOKEN),
        Reply::json(r#"{"access_token":"second","refresh_token":"rotated","expires_in":"3600"}"#),
        Reply::json(r#"{"access_token":"third"}"#),
    ]);
    let world = world(BY_CODE, &server);
    let login = world.start("pw");
    world.user.consent();
    assert_eq!(login.join().expect("no panic").as_deref(), Ok("access"));
    for expected in ["second", "third"] {
        world.clock.advance(3600);
        assert_eq!(world.token("pw"), expected);
    }
    let seen = server.seen();
    assert_eq!(seen[0].value("code").as_deref(), Some("the-c0de"));
    assert!(seen[0].value("code_verifier").is_some());
    assert_eq!(seen[1].value("refresh_token").as_deref(), Some("refresh"));
    assert_eq!(seen[2].value("refresh_token").as_deref(), Some("rotated"));
}

#[test]
fn a_device_code_comes_by_post_or_else_by_get() {
    let pending = || Reply::status("400 No", r#"{"error":"authorization_pending"}"#);
    for refusal in [None, Some("404 Not Found"), Some("405 Method Not Allowed")] {
        let first = refusal.map(|status| Reply::status(status, "<html>"));
        let rest = [Reply::json(DEVICE_CODE), pending(), Reply::json(TOKEN)];
        let server = Server::new(first.into_iter().chain(rest));
        let world = world(DEVICE, &server);
        assert_eq!(world.token("pw"), "access");
        assert_eq!(world.user.device().user_code, "AB");
        let seen = server.seen();
        assert_eq!(seen[0].line, "POST /device HTTP/1.1");
        assert_eq!(seen[0].value("client_id").as_deref(), Some("id"));
        if refusal.is_some() {
            assert_eq!(seen[1].line, "GET /device?client_id=id&scope=mail HTTP/1.1");
        }
        let last = seen.last().expect("a poll");
        assert_eq!(last.value("device_code").as_deref(), Some("d"));
    }
    // any other failure is not tried again by GET
    let server = Server::new([Reply::status("400 No", r#"{"error":"invalid_client"}"#)]);
    assert!(
        world(DEVICE, &server)
            .denied("pw")
            .contains("invalid_client")
    );
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_service_account_asks_at_its_keys_address() {
    let server = Server::new([Reply::json(TOKEN)]);
    let key = std::fs::read_to_string(data("rsa.key")).expect("a key");
    let json = serde_json::json!({
        "client_email": "robot@example.com", "private_key": key,
        "token_uri": format!("{}/key", server.url),
    });
    let secret = format!("{json:#}").replace('\n', "\n  ");
    let options = format!("oauth2_flow = service_account\nclient_secret = {secret}");
    let text = config(&options).replace("client_id = id", "client_id = key");
    let world = World::over_http(&text, Arc::new(Http::new().expect("a client")));
    assert_eq!(world.token("pw"), "access");
    assert_eq!(server.seen()[0].line, "POST /key HTTP/1.1");
}
