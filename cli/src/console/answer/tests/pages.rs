//! What a visitor sees, and what comes of a form.

use super::*;

#[test]
fn what_a_visitor_does_is_done_and_told() {
    let room = Room::new(Doll::default());
    let cookie = room.sign_in();
    for (path, body, did, told) in [
        (
            "/consents/7/answer",
            "address=http%3A%2F%2Fx%2F%3Fgood",
            "answer 7 http://x/?good",
            "is signed in.",
        ),
        (
            "/consents/7/answer",
            "address=bad",
            "answer 7 bad",
            "That is not it.",
        ),
        (
            "/consents/7/dismiss",
            "",
            "dismiss 7",
            "that login is refused",
        ),
        ("/consents/8/dismiss", "", "dismiss 8", "no longer waiting"),
        ("/debug", "debug=off", "debug false", "Debug logging is off"),
    ] {
        let seen = room.post(&cookie, path, body);
        assert_eq!((seen.status, seen.header("location")), (303, "/"), "{path}");
        assert_eq!(room.doll.did(), [did]);
        let page = room.get("/", &[("cookie", &cookie)]).body;
        assert!(page.contains(told), "{told}: {page}");
        assert!(!page.contains("<script>alert"), "{page}");
    }
    assert_eq!(room.post(&cookie, "/debug", "debug=maybe").status, 400);
    assert_eq!(room.post(&cookie, "/consents/7/answer", "").status, 400);
    assert_eq!(
        room.post(&cookie, "/consents/x/answer", "address=good")
            .status,
        404
    );
    assert_eq!(room.post(&cookie, "/else", "").status, 404);
    assert!(room.doll.did().is_empty());
}

#[test]
fn text_of_others_is_never_markup() {
    for ask in [
        browser("https://p.example/auth?a=1&b=\"><script>"),
        browser("javascript:alert(1)"),
        Ask::Device {
            url: "javascript:alert(1)".to_owned(),
            complete_url: None,
            code: EVIL.to_owned(),
        },
        Ask::Device {
            url: "https://p.example/device".to_owned(),
            complete_url: Some("data:text/html,x".to_owned()),
            code: "ABCD".to_owned(),
        },
    ] {
        let room = Room::new(Doll {
            ask: Some(ask),
            ..Doll::default()
        });
        let cookie = room.sign_in();
        let page = room.get("/", &[("cookie", &cookie)]).body;
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"),
            "{page}"
        );
        assert!(!page.contains("<script>"), "{page}");
        assert_eq!(page.matches("<script").count(), 1, "{page}");
        assert!(
            !page.contains("href=\"javascript:") && !page.contains("href=\"data:"),
            "{page}"
        );
        // what the policy forbids would not work anyway
        for inline in ["style=\"", "onclick", "onload", "<style"] {
            assert!(!page.contains(inline), "{inline}: {page}");
        }
    }
}

#[test]
fn a_consent_has_a_button_a_field_and_a_code_to_scan() {
    let url = "https://p.example/auth?client_id=1&state=2";
    let room = Room::new(Doll {
        ask: Some(browser(url)),
        ..Doll::default()
    });
    let cookie = room.sign_in();
    let page = room.get("/", &[("cookie", &cookie)]).body;
    let link = "href=\"https://p.example/auth?client_id=1&amp;state=2\" target=\"_blank\" rel=\"noopener noreferrer\"";
    assert!(page.contains(link), "{page}");
    assert!(page.contains("action=\"/consents/7/answer\"") && page.contains("name=\"address\""));
    assert!(page.contains("differs from the saved one"));
    assert!(page.contains(">9:00</time>"), "{page}");
    assert!(page.contains("<title>(1) emailproxy</title>"));
    // nothing is loaded again under the hands of somebody who types
    assert!(!page.contains("http-equiv=\"refresh\""));
    let qr = room.get("/consents/7/qr.svg", &[("cookie", &cookie)]);
    assert_eq!(
        (qr.status, qr.header("content-type")),
        (200, "image/svg+xml")
    );
    assert!(qr.body.starts_with("<svg"));
    assert_eq!(
        room.get("/consents/8/qr.svg", &[("cookie", &cookie)])
            .status,
        404
    );

    let room = Room::new(Doll {
        ask: Some(Ask::Device {
            url: "https://p.example/device".to_owned(),
            complete_url: Some("https://p.example/device?code=ABCD".to_owned()),
            code: "ABCD-EFGH".to_owned(),
        }),
        ..Doll::default()
    });
    let cookie = room.sign_in();
    let page = room.get("/", &[("cookie", &cookie)]).body;
    assert!(
        page.contains("ABCD-EFGH") && page.contains("href=\"https://p.example/device?code=ABCD\"")
    );
    assert!(
        page.contains("<noscript><meta http-equiv=\"refresh\""),
        "{page}"
    );
}

#[test]
fn files_are_there_and_other_things_are_not() {
    let room = Room::new(Doll::default());
    for (path, kind) in [
        ("/style.css", "text/css; charset=utf-8"),
        ("/script.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let seen = room.get(path, &[]);
        assert_eq!((seen.status, seen.header("content-type")), (200, kind));
        assert!(!seen.body.is_empty());
    }
    for path in [
        "/x",
        "/consents/7",
        "/consents/7/answer",
        "/../etc/passwd",
        "//",
    ] {
        assert_eq!(room.get(path, &[]).status, 404, "{path}");
    }
    for (method, path) in [
        ("PUT", "/"),
        ("DELETE", "/consents/7"),
        ("POST", "/healthz"),
        ("PUT", "/style.css"),
    ] {
        let seen = room.ask(method, path, &[("origin", "http://127.0.0.1:8025")], "");
        assert_eq!(seen.status, 405, "{method} {path}");
    }
}

#[test]
fn a_form_that_is_too_long_is_refused() {
    let room = Room::new(Doll::default());
    let cookie = room.sign_in();
    let seen = room.post(
        &cookie,
        "/consents/7/answer",
        &format!("address={}", "x".repeat(FORM)),
    );
    assert_eq!(seen.status, 413);
    assert!(room.doll.did().is_empty());
}
