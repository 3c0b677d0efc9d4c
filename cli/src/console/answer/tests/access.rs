//! Who gets in, and with what: link, cookie, token, host and origin.

use super::*;

#[test]
fn the_link_becomes_a_cookie_and_the_token_leaves_the_address_bar() {
    let room = Room::new(Doll::default());
    let seen = room.get(&format!("/?token={TOKEN}"), &[]);
    let cookie = seen.header("set-cookie");
    assert!(cookie.starts_with("emailproxy-console-8025="), "{cookie}");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let cookie = room.sign_in();
    let page = room.get("/", &[("cookie", &format!("other=1; {cookie}"))]);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Recent events"));
}

#[test]
fn without_the_token_there_is_only_the_way_in() {
    let room = Room::new(Doll {
        ask: Some(browser("https://p.example/auth")),
        ..Doll::default()
    });
    for (path, cookie) in [
        ("/", ""),
        ("/", "emailproxy-console-8025=forged"),
        ("/", "emailproxy-console-8025="),
        ("/?token2=x", ""),
        ("/consents/7/qr.svg", ""),
    ] {
        let seen = room.get(path, &[("cookie", cookie)]);
        assert_eq!(seen.status, 401, "{path} {cookie}");
        assert!(seen.body.contains("Sign in"), "{}", seen.body);
        assert!(!seen.body.contains("IMAP-1993") && !seen.body.contains("p.example"));
    }
    for path in [
        "/?token=wrong".to_owned(),
        "/?token=".to_owned(),
        format!("/?token={TOKEN}x"),
        format!("/?token={TOKEN}&token={TOKEN}"),
    ] {
        let seen = room.get(&path, &[]);
        assert!(matches!(seen.status, 401 | 403), "{path}");
        assert_eq!(seen.header("set-cookie"), "");
    }
}

#[test]
fn the_token_can_be_typed() {
    let room = Room::new(Doll::default());
    let origin = [("origin", "http://127.0.0.1:8025")];
    let seen = room.ask("POST", "/sign-in", &origin, &format!("token={TOKEN}"));
    assert_eq!(seen.status, 303);
    let cookie = seen.header("set-cookie").split(';').next().unwrap();
    assert_eq!(room.get("/", &[("cookie", cookie)]).status, 200);
    for wrong in ["token=wrong", "", "token="] {
        let seen = room.ask("POST", "/sign-in", &origin, wrong);
        assert_eq!(seen.status, 403, "{wrong}");
        assert!(seen.body.contains("not the right one"));
    }
    let seen = room.ask(
        "POST",
        "/sign-in",
        &[("origin", "http://evil.example")],
        &format!("token={TOKEN}"),
    );
    assert_eq!((seen.status, seen.header("set-cookie")), (403, ""));
}

#[test]
fn other_hosts_are_told_nothing() {
    let room = Room::new(Doll::default());
    let cookie = room.sign_in();
    for host in ["evil.example", "evil.example:8025", "192.0.2.1:8025", ""] {
        for path in [
            "/",
            "/metrics",
            "/state.json",
            "/style.css",
            &format!("/?token={TOKEN}"),
        ] {
            let bearer = format!("Bearer {TOKEN}");
            let seen = room.get(
                path,
                &[
                    ("host", host),
                    ("cookie", &cookie),
                    ("authorization", &bearer),
                ],
            );
            assert_eq!(seen.status, 421, "{host} {path}");
            assert_eq!(seen.header("set-cookie"), "");
            assert!(!seen.body.contains("IMAP-1993"));
        }
    }
    let seen = room.get(
        "/",
        &[
            ("host", "127.0.0.1:9"),
            ("host", "127.0.0.1:9"),
            ("cookie", &cookie),
        ],
    );
    assert_eq!(seen.status, 421, "two of them are none");
    // a tunnel has another port
    assert_eq!(
        room.get("/", &[("host", "localhost:9000"), ("cookie", &cookie)])
            .status,
        200
    );
}

#[test]
fn forms_of_other_sites_do_nothing() {
    let room = Room::new(Doll::default());
    let cookie = room.sign_in();
    let word = room.form_word(&cookie);
    let body = format!("form={word}&debug=on");
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", "https://127.0.0.1:8025")],
        &[("origin", "http://127.0.0.1:9999")],
        &[
            ("origin", "http://127.0.0.1:8025"),
            ("sec-fetch-site", "same-site"),
        ],
        &[
            ("origin", "http://127.0.0.1:8025"),
            ("sec-fetch-site", "cross-site"),
        ],
    ] {
        let headers = [&[("cookie", cookie.as_str())], headers].concat();
        let seen = room.ask("POST", "/debug", &headers, &body);
        assert_eq!(seen.status, 403, "{headers:?}");
    }
    assert!(room.doll.did().is_empty());
    let ours = [
        ("cookie", cookie.as_str()),
        ("origin", "http://127.0.0.1:8025"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(room.ask("POST", "/debug", &ours, &body).status, 303);
    assert_eq!(room.doll.did(), ["debug true"]);
}

#[test]
fn forms_need_the_cookie_and_the_word_of_its_page() {
    let room = Room::new(Doll::default());
    let (cookie, other) = (room.sign_in(), room.sign_in());
    let others_word = format!("form={}&debug=on", room.form_word(&other));
    let own_word = format!("form={}&debug=on", room.form_word(&cookie));
    let origin = ("origin", "http://127.0.0.1:8025");
    for body in [
        "debug=on",
        "form=&debug=on",
        "form=x&debug=on",
        &others_word,
    ] {
        let seen = room.ask("POST", "/debug", &[("cookie", &cookie), origin], body);
        assert_eq!(seen.status, 403, "{body}");
    }
    assert_eq!(room.ask("POST", "/debug", &[origin], &own_word).status, 401);
    // what is right for a program's requests is none for forms
    let bearer = format!("Bearer {TOKEN}");
    let seen = room.ask(
        "POST",
        "/debug",
        &[("authorization", &bearer), origin],
        &own_word,
    );
    assert_eq!(seen.status, 401);
    for path in ["/consents/7/answer", "/consents/7/dismiss", "/sign-out"] {
        let seen = room.ask("POST", path, &[("cookie", &cookie), origin], "address=good");
        assert_eq!(seen.status, 403, "{path}");
    }
    assert!(room.doll.did().is_empty());
    assert_eq!(room.get("/", &[("cookie", &cookie)]).status, 200);
}

#[test]
fn whoever_signs_out_is_out() {
    let room = Room::new(Doll::default());
    let cookie = room.sign_in();
    let seen = room.post(&cookie, "/sign-out", "");
    assert_eq!(seen.status, 303);
    assert!(seen.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(room.get("/", &[("cookie", &cookie)]).status, 401);
}

#[test]
fn programs_come_with_the_token() {
    let room = Room::new(Doll::default());
    let cookie = room.sign_in();
    let bearer = format!("bearer {TOKEN}");
    for (path, contents) in [
        ("/metrics", "a 1\n"),
        ("/state.json", "\"version\":\"1.2.3\""),
    ] {
        for headers in [
            &[("authorization", bearer.as_str())][..],
            &[("cookie", cookie.as_str())],
        ] {
            let seen = room.get(path, headers);
            assert_eq!(seen.status, 200, "{path}");
            assert!(seen.body.contains(contents), "{}", seen.body);
        }
        for headers in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", "Bearer")],
            &[("authorization", "Basic dDp0")],
            &[
                ("authorization", "Bearer wrong"),
                ("cookie", cookie.as_str()),
            ],
        ] {
            let seen = room.get(path, headers);
            assert_eq!(seen.status, 401, "{path} {headers:?}");
            assert!(seen.header("www-authenticate").starts_with("Bearer"));
            assert!(!seen.body.contains(contents));
        }
    }
    let json: serde_json::Value =
        serde_json::from_str(&room.get("/state.json", &[("cookie", &cookie)]).body).unwrap();
    assert_eq!(json["accounts"][0]["standing"], "authorised");
    assert_eq!(json["accounts"][0]["name"], EVIL);
    // the token is for programs that read: the page wants a browser
    assert_eq!(room.get("/", &[("authorization", &bearer)]).status, 401);
}

#[test]
fn health_is_for_everybody_and_says_nothing_else() {
    let room = Room::new(Doll::default());
    for headers in [
        &[][..],
        &[("host", "load.balancer.example")],
        &[("host", "")],
    ] {
        let seen = room.get("/healthz", headers);
        assert_eq!((seen.status, seen.body.as_str()), (200, "ok\n"));
    }
    let room = Room::new(Doll {
        ill: true,
        ..Doll::default()
    });
    let seen = room.get("/healthz", &[]);
    assert_eq!(
        (seen.status, seen.body.as_str()),
        (503, "it is about to end\n")
    );
}
