//! Every grant of the provider, and what it refuses.

mod codes;
#[path = "../common/mod.rs"]
mod common;

use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use common::{ADA, BROOK, exchange, imap_login, post, text, token};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use sandbox::{Control, ExpiresIn, Options, Sandbox, Service, client};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    net::TcpStream,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use url::Url;

/// Nobody listens there: tcpmux, which the system never hands out for port 0.
const NOBODY: &str = "http://localhost:1";

fn start() -> Sandbox {
    Sandbox::start(Options::default()).expect("sandbox")
}

fn authorization(sandbox: &Sandbox, fields: &[(&str, &str)]) -> String {
    Url::parse_with_params(&sandbox.authorize_url(), fields)
        .expect("URL")
        .into()
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).expect("URL");
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The bearer opens this account's mail, and no other's.
fn opens(sandbox: &Sandbox, bearer: &str, user: &str) {
    let (_, answer) = imap_login(sandbox, user, bearer);
    assert!(answer.starts_with("OK"), "{answer}");
    let other = if user == ADA { BROOK } else { ADA };
    let (_, answer) = imap_login(sandbox, other, bearer);
    assert!(answer.starts_with("NO [AUTHENTICATIONFAILED]"), "{answer}");
}

#[test]
fn password_and_refresh_with_rotation() {
    let sandbox = start();
    let control: Control = sandbox.control();
    let login = |password| {
        token(
            &sandbox,
            client::PUBLIC,
            &[
                ("grant_type", "password"),
                ("username", ADA),
                ("password", password),
                ("scope", "mail.imap mail.pop"),
            ],
        )
    };
    assert_eq!(login("wrong").1["error"], "invalid_grant");
    let (status, answer) = login("ada-at-the-provider");
    assert_eq!(status, 200);
    opens(&sandbox, &text(&answer, "access_token"), ADA);
    let first = text(&answer, "refresh_token");

    let refresh = |name: &str, more: &[(&'static str, &'static str)]| {
        let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", name)];
        fields.extend(more);
        token(&sandbox, client::PUBLIC, &fields)
    };
    let (status, answer) = refresh(&first, &[]);
    assert_eq!((status, &answer["refresh_token"]), (200, &Value::Null));
    assert_eq!(refresh(&first, &[("scope", "mail.imap")]).0, 200);
    assert_eq!(
        refresh(&first, &[("scope", "mail")]).1["error"],
        "invalid_scope"
    );

    control.set_rotate_refresh_tokens(true);
    let (_, answer) = refresh(&first, &[]);
    let second = text(&answer, "refresh_token");
    assert_ne!(first, second);
    assert_eq!(refresh(&first, &[]).1["error"], "invalid_grant");
    assert_eq!(refresh(&second, &[]).0, 200);
    // Bound to the client.
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", second.as_str()),
    ];
    assert_eq!(
        token(&sandbox, client::CONFIDENTIAL, &fields).1["error"],
        "invalid_grant"
    );
}

#[test]
fn client_credentials_open_the_bound_account() {
    let options = Options {
        daemon_account: Some(BROOK.into()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).expect("sandbox");
    let fields = [("grant_type", "client_credentials"), ("scope", "mail")];
    let (status, answer) = token(&sandbox, client::DAEMON, &fields);
    assert_eq!((status, &answer["refresh_token"]), (200, &Value::Null));
    let bearer = text(&answer, "access_token");
    opens(&sandbox, &bearer, BROOK);
    assert_eq!(
        token(&sandbox, client::PUBLIC, &fields).1["error"],
        "unauthorized_client"
    );

    let mut asked = common::credentials(client::DAEMON);
    asked.push(("token", &bearer));
    let (_, answer) = post(&sandbox.introspection_url(), &asked, None);
    assert_eq!(
        (&answer["active"], &answer["username"]),
        (&json!(true), &json!(BROOK))
    );
    sandbox.control().revoke_all_tokens();
    let (_, answer) = post(&sandbox.introspection_url(), &asked, None);
    assert_eq!(answer, json!({"active": false}));

    let nobody = Options {
        daemon_account: Some("nobody@example.org".into()),
        ..Options::default()
    };
    assert!(Sandbox::start(nobody).is_err());
}

#[test]
fn device_code() {
    let sandbox = start();
    // Long enough that two polls in a row come too early, however slow the machine is.
    sandbox.control().set_device_interval(500);
    let begin = || {
        let (status, answer) = post(
            &sandbox.device_url(),
            &common::credentials(client::PUBLIC),
            None,
        );
        assert_eq!((status, &answer["interval"]), (200, &json!(500)));
        answer
    };
    let poll = |answer: &Value| {
        let code = text(answer, "device_code");
        token(
            &sandbox,
            client::PUBLIC,
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("device_code", &code),
            ],
        )
    };
    let device = begin();
    assert_eq!(poll(&device).1["error"], "authorization_pending");
    assert_eq!(poll(&device).1["error"], "slow_down");
    let typed = text(&device, "user_code").to_lowercase().replace('-', " ");
    let page = Url::parse_with_params(&text(&device, "verification_uri"), [("user_code", typed)])
        .expect("URL");
    let visit = sandbox
        .person()
        .choosing(BROOK)
        .approve(page.as_str())
        .expect("approve");
    assert_eq!(visit.status, Some(200));
    assert!(visit.body.contains("<h1>Approved</h1>"), "{visit:?}");
    let (status, answer) = poll(&device);
    assert_eq!(status, 200, "{answer}");
    opens(&sandbox, &text(&answer, "access_token"), BROOK);
    assert_eq!(poll(&device).1["error"], "expired_token");

    let device = begin();
    sandbox
        .person()
        .deny(&text(&device, "verification_uri_complete"))
        .expect("deny");
    assert_eq!(poll(&device).1["error"], "access_denied");
    let wrong = format!("{}?user_code=BBBB-BBBB", text(&device, "verification_uri"));
    assert_eq!(exchange("GET", &wrong, None, None).0, 404);
}

/// A compact RS256 JWT.
fn jwt(key_pem: &str, header: Value, claims: Value) -> String {
    let key = PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).expect("key");
    let key = KeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("RSA");
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .expect("sign");
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("clock")
        .as_secs()
}

#[test]
fn service_account() {
    let sandbox = start();
    let file: Value =
        serde_json::from_str(&sandbox.service_account_key().expect("key")).expect("JSON");
    assert_eq!(file["token_uri"], sandbox.token_url());
    let ask = |key: &str, change: fn(&mut Value)| {
        let mut claims = json!({
            "iss": file["client_email"], "sub": ADA, "scope": "mail", "aud": file["token_uri"],
            "iat": now(), "exp": now() + 3600,
        });
        change(&mut claims);
        let assertion = jwt(key, json!({"alg": "RS256", "typ": "JWT"}), claims);
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        post(
            &sandbox.token_url(),
            &[("grant_type", grant), ("assertion", &assertion)],
            None,
        )
    };
    let key = text(&file, "private_key");
    let (status, answer) = ask(&key, |_| {});
    assert_eq!(status, 200, "{answer}");
    opens(&sandbox, &text(&answer, "access_token"), ADA);
    let changes: [fn(&mut Value); 6] = [
        |claims| claims["iss"] = json!("someone@example.org"),
        |claims| claims["sub"] = json!("nobody@example.org"),
        |claims| claims["aud"] = json!("http://localhost/token"),
        |claims| claims["exp"] = json!(now() - 1),
        |claims| claims["exp"] = json!(now() + 7200),
        |claims| claims["iat"] = Value::Null,
    ];
    for change in changes {
        assert_eq!(ask(&key, change).1["error"], "invalid_grant");
    }
    // Signed by somebody else.
    let other = start().service_account_key().expect("key");
    let other: Value = serde_json::from_str(&other).expect("JSON");
    assert_eq!(
        ask(&text(&other, "private_key"), |_| {}).1["error"],
        "invalid_grant"
    );
}

#[test]
fn certificate_credentials() {
    let sandbox = start();
    let (certificate, key) = sandbox.client_certificate().expect("certificate");
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&certificate));
    let assertion = |id: &str, thumbprint: &str| {
        let claims = json!({
            "iss": client::CERTIFICATE.id, "sub": client::CERTIFICATE.id, "aud": sandbox.token_url(),
            "jti": id, "nbf": now(), "exp": now() + 300,
        });
        jwt(
            &key,
            json!({"alg": "RS256", "x5t#S256": thumbprint}),
            claims,
        )
    };
    let ask = |assertion: &str| {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        token(
            &sandbox,
            client::CERTIFICATE,
            &[
                ("grant_type", "client_credentials"),
                ("client_assertion_type", kind),
                ("client_assertion", assertion),
            ],
        )
    };
    let good = assertion("1", &thumbprint);
    let (status, answer) = ask(&good);
    assert_eq!(status, 200, "{answer}");
    opens(&sandbox, &text(&answer, "access_token"), ADA);
    assert_eq!(ask(&good).0, 401, "a jti is good once");
    assert_eq!(ask(&assertion("2", "wrong")).1["error"], "invalid_client");
    let (status, _) = token(
        &sandbox,
        client::CERTIFICATE,
        &[("grant_type", "client_credentials")],
    );
    assert_eq!(status, 401);
}

#[test]
fn malformed_token_requests() {
    let sandbox = start();
    let url = sandbox.token_url();
    assert_eq!(exchange("GET", &url, None, None).0, 405);
    assert_eq!(exchange("POST", &url, None, None).0, 400);
    assert_eq!(post(&url, &[], None).1["error"], "invalid_request");
    let repeated = [("grant_type", "password"), ("grant_type", "password")];
    assert_eq!(
        token(&sandbox, client::PUBLIC, &repeated).1["error"],
        "invalid_request"
    );
    assert_eq!(
        token(&sandbox, client::PUBLIC, &[("grant_type", "magic")]).1["error"],
        "unsupported_grant_type"
    );
    let (status, answer) = post(
        &url,
        &[("grant_type", "password"), ("client_id", "stranger")],
        None,
    );
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));
    let large = "x".repeat(100_000);
    assert_eq!(post(&url, &[("grant_type", &large)], None).0, 413);
}

#[test]
fn answers_as_ordered() {
    let sandbox = start();
    let control = sandbox.control();
    let ask = || {
        let fields = [
            ("grant_type", "password"),
            ("username", ADA),
            ("password", "ada-at-the-provider"),
        ];
        token(&sandbox, client::PUBLIC, &fields)
    };
    control.answer_token_requests(2, 503, "{\"error\":\"temporarily_unavailable\"}");
    control.answer_token_requests(1, 400, "no JSON");
    assert_eq!(ask(), (503, json!({"error": "temporarily_unavailable"})));
    assert_eq!(ask().0, 503);
    assert_eq!(ask(), (400, json!("no JSON")));
    control.set_expires_in(ExpiresIn::Text);
    control.set_token_lifetime(Duration::from_secs(77));
    assert_eq!(ask().1["expires_in"], "77");
    control.set_expires_in(ExpiresIn::Missing);
    assert_eq!(ask().1["expires_in"], Value::Null);
    assert_eq!(sandbox.log().token_requests().len(), 5);

    // Born expired.
    control.set_token_lifetime(Duration::ZERO);
    let bearer = text(&ask().1, "access_token");
    assert!(imap_login(&sandbox, ADA, &bearer).1.starts_with("NO"));
    control.set_token_lifetime(Duration::from_secs(3600));
    let (_, answer) = ask();
    control.revoke_access_tokens();
    assert!(
        imap_login(&sandbox, ADA, &text(&answer, "access_token"))
            .1
            .starts_with("NO")
    );
    let refresh = text(&answer, "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(token(&sandbox, client::PUBLIC, &fields).0, 200);
    control.revoke_all_tokens();
    assert_eq!(
        token(&sandbox, client::PUBLIC, &fields).1["error"],
        "invalid_grant"
    );
}

#[test]
fn a_delayed_answer_is_seen_waiting() {
    let sandbox = start();
    sandbox.control().set_token_delay(Duration::from_secs(3600));
    let log = sandbox.log();
    let url = sandbox.token_url();
    let asking = std::thread::spawn(move || {
        std::panic::catch_unwind(|| post(&url, &[("grant_type", "password")], None)).is_err()
    });
    assert!(
        log.wait(Duration::from_secs(60), |log| log.token_requests().len()
            == 1)
    );
    assert_eq!(log.token_requests()[0].status, None);
    sandbox.control().close_connections(Service::Provider);
    assert!(
        asking.join().expect("thread"),
        "the connection was closed before an answer"
    );
}

#[test]
fn https_and_refusing_connections() {
    let sandbox = Sandbox::start(Options {
        https: true,
        ..Options::default()
    })
    .expect("sandbox");
    assert!(sandbox.token_url().starts_with("https://localhost:"));
    let redirect = NOBODY.to_owned();
    let url = authorization(
        &sandbox,
        &[
            ("client_id", client::CONFIDENTIAL.id),
            ("redirect_uri", &redirect),
            ("response_type", "code"),
        ],
    );
    let visit = sandbox.person().approve(&url).expect("approve");
    assert!(parameter(&visit.url, "code").is_some());

    let control = sandbox.control();
    let address = sandbox.address(Service::Provider);
    control
        .refuse_connections(Service::Provider, true)
        .expect("refuse");
    control
        .refuse_connections(Service::Provider, true)
        .expect("twice");
    assert!(sandbox.person().approve(&url).is_err());
    assert!(TcpStream::connect(address).is_err());
    control
        .refuse_connections(Service::Provider, false)
        .expect("serve");
    assert!(sandbox.person().approve(&url).is_ok());
    drop(sandbox);
    assert!(TcpStream::connect(address).is_err());
    assert!(control.refuse_connections(Service::Provider, true).is_err());
}
