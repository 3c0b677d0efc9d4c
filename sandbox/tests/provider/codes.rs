//! Authorisation codes, and the pages on the way to them.

use super::{NOBODY, authorization, opens, parameter, start};
use crate::common::{ADA, BROOK, exchange, imap_login, post, text, token};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use sandbox::client;
use serde_json::json;
use sha2::{Digest as _, Sha256};

const VERIFIER: &str = "a-verifier-that-is-long-enough-for-RFC-7636-1234";

fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

#[test]
fn authorization_code_with_pkce() {
    let sandbox = start();
    let redirect = format!("{NOBODY}/back?x=1");
    let url = authorization(
        &sandbox,
        &[
            ("client_id", client::PUBLIC.id),
            ("redirect_uri", &redirect),
            ("response_type", "code"),
            ("scope", "mail offline_access"),
            ("state", "s&1"),
            ("login_hint", BROOK),
            ("code_challenge", &challenge()),
            ("code_challenge_method", "S256"),
        ],
    );
    let visit = sandbox.person().approve(&url).expect("approve");
    assert!(visit.url.starts_with(&redirect), "{visit:?}");
    assert_eq!(visit.status, None);
    assert_eq!(parameter(&visit.url, "state").as_deref(), Some("s&1"));
    let code = parameter(&visit.url, "code").expect("code");
    let fields = |verifier| {
        vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", redirect.as_str()),
            ("code_verifier", verifier),
        ]
    };
    let (status, answer) = token(&sandbox, client::PUBLIC, &fields(VERIFIER));
    assert_eq!(
        (status, &answer["token_type"], &answer["expires_in"]),
        (200, &json!("Bearer"), &json!(3600))
    );
    let bearer = text(&answer, "access_token");
    opens(&sandbox, &bearer, BROOK);

    // A code used twice costs what it gave (RFC 6749 §4.1.2).
    let (status, answer) = token(&sandbox, client::PUBLIC, &fields(VERIFIER));
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    assert!(imap_login(&sandbox, BROOK, &bearer).1.starts_with("NO"));

    let seen = sandbox.log().authorizations();
    assert!(seen[0].contains(&("login_hint".into(), BROOK.into())));
    let requests = sandbox.log().token_requests();
    assert_eq!(
        requests
            .iter()
            .map(|request| request.status)
            .collect::<Vec<_>>(),
        [Some(200), Some(400)]
    );
    assert_eq!(requests[0].parameter("code_verifier"), Some(VERIFIER));
}

#[test]
fn authorization_code_with_a_secret() {
    let sandbox = start();
    // Somebody who answers: another sandbox.
    let receiver = start();
    let redirect = format!("{}/", receiver.provider_url());
    let begin = || {
        let url = authorization(
            &sandbox,
            &[
                ("client_id", client::CONFIDENTIAL.id),
                ("redirect_uri", &redirect),
                ("response_type", "code"),
            ],
        );
        let visit = sandbox
            .person()
            .choosing(ADA)
            .approve(&url)
            .expect("approve");
        parameter(&visit.url, "code").expect("code")
    };
    let code = begin();
    let fields = |code, redirect| {
        [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
        ]
    };
    // Wrong redirect URI: refused, and the code is gone.
    let (status, answer) = token(
        &sandbox,
        client::CONFIDENTIAL,
        &fields(&code, "http://127.0.0.1:1"),
    );
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    // Another client's.
    let code = begin();
    let (_, answer) = token(&sandbox, client::PUBLIC, &fields(&code, &redirect));
    assert_eq!(answer["error"], "invalid_grant");
    // By the Authorization header.
    let basic = |secret: &str| {
        format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{}:{secret}", client::CONFIDENTIAL.id))
        )
    };
    let secret = client::CONFIDENTIAL.secret.expect("secret");
    let (status, answer) = post(
        &sandbox.token_url(),
        &fields(&code, &redirect),
        Some(&basic("wrong")),
    );
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_client")));
    let (status, answer) = post(
        &sandbox.token_url(),
        &fields(&code, &redirect),
        Some(&basic(secret)),
    );
    assert_eq!(status, 200, "{answer}");
    opens(&sandbox, &text(&answer, "access_token"), ADA);
}

#[test]
fn a_verifier_that_does_not_fit() {
    let sandbox = start();
    let redirect = NOBODY.to_owned();
    for verifier in [
        None,
        Some("another-verifier-that-is-long-enough-for-7636-1"),
    ] {
        let url = authorization(
            &sandbox,
            &[
                ("client_id", client::PUBLIC.id),
                ("redirect_uri", &redirect),
                ("response_type", "code"),
                ("code_challenge", &challenge()),
                ("code_challenge_method", "S256"),
            ],
        );
        let visit = sandbox.person().approve(&url).expect("approve");
        let code = parameter(&visit.url, "code").expect("code");
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &redirect),
        ];
        fields.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        let (status, answer) = token(&sandbox, client::PUBLIC, &fields);
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    }
}

#[test]
fn what_the_authorization_endpoint_refuses() {
    let sandbox = start();
    let redirect = NOBODY.to_owned();
    let id = ("client_id", client::CONFIDENTIAL.id);
    let uri = ("redirect_uri", redirect.as_str());
    let code = ("response_type", "code");
    // Nothing is redirected to an address that is not known to be good.
    for fields in [
        vec![uri, code],
        vec![("client_id", "stranger"), uri, code],
        vec![id, code],
        vec![id, ("redirect_uri", "http://example.org/"), code],
        vec![id, ("redirect_uri", "https://localhost/"), code],
        vec![id, uri, uri, code],
    ] {
        let url = authorization(&sandbox, &fields);
        let (status, page) = exchange("GET", &url, None, None);
        assert_eq!(status, 400, "{fields:?}");
        assert!(page.contains("<h1>That did not work</h1>"));
        assert!(sandbox.person().approve(&url).is_err());
    }
    for (fields, error) in [
        (vec![id, uri], "invalid_request"),
        (
            vec![id, uri, ("response_type", "token")],
            "unsupported_response_type",
        ),
        (
            vec![id, uri, code, ("scope", "everything")],
            "invalid_scope",
        ),
        (
            vec![id, uri, code, ("code_challenge", VERIFIER)],
            "invalid_request",
        ),
        (
            vec![
                id,
                uri,
                code,
                ("code_challenge", "short"),
                ("code_challenge_method", "S256"),
            ],
            "invalid_request",
        ),
        (
            vec![("client_id", client::PUBLIC.id), uri, code],
            "invalid_request",
        ),
        (
            vec![("client_id", client::DAEMON.id), uri, code],
            "unauthorized_client",
        ),
    ] {
        let mut fields = fields;
        fields.push(("state", "S"));
        let visit = sandbox
            .person()
            .approve(&authorization(&sandbox, &fields))
            .expect("redirect");
        assert_eq!(
            parameter(&visit.url, "error").as_deref(),
            Some(error),
            "{fields:?}"
        );
        assert_eq!(parameter(&visit.url, "state").as_deref(), Some("S"));
    }
    let denied = sandbox
        .person()
        .deny(&authorization(&sandbox, &[id, uri, code]))
        .expect("deny");
    assert_eq!(
        parameter(&denied.url, "error").as_deref(),
        Some("access_denied")
    );
    assert_eq!(parameter(&denied.url, "code"), None);
}

#[test]
fn pages_escape_what_they_show_and_are_answered_once() {
    let sandbox = start();
    let url = authorization(
        &sandbox,
        &[
            ("client_id", client::CONFIDENTIAL.id),
            ("redirect_uri", "http://localhost/\"><script>"),
            ("response_type", "code"),
            ("login_hint", "<script>alert(1)</script>@x"),
        ],
    );
    let (status, page) = exchange("GET", &url, None, None);
    assert_eq!(status, 200);
    assert!(!page.contains("<script>"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;@x"));

    let (_, rest) = page
        .split_once("name=\"page\" value=\"")
        .expect("page value");
    let (name, _) = rest.split_once('"').expect("quote");
    let form = |name: &str| Some(format!("page={name}&account={ADA}&decision=deny"));
    let consent = format!("{}/consent", sandbox.provider_url());
    assert_eq!(exchange("POST", &consent, form(name), None).0, 303);
    assert_eq!(exchange("POST", &consent, form(name), None).0, 400);
    assert_eq!(
        exchange("POST", &consent, form("page-made-up"), None).0,
        400
    );
    assert_eq!(exchange("GET", &consent, None, None).0, 405);
    assert_eq!(
        exchange(
            "GET",
            &format!("{}/nowhere", sandbox.provider_url()),
            None,
            None
        )
        .0,
        404
    );
    assert_eq!(exchange("GET", sandbox.provider_url(), None, None).0, 200);
}
