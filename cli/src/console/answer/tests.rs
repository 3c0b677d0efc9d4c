use super::{
    super::house::{
        AccountShown, Ask, ConsentShown, EventShown, Gravity, ServerShown, SessionShown, Standing,
        State,
    },
    *,
};
use proxy_proto::{BoxFuture, Secret};
use std::sync::Mutex;
use time::UtcOffset;

const TOKEN: &str = "t0ken-of-the-console";
const HOST: &str = "127.0.0.1:8025";
const NOW: u64 = 1_700_000_000;
const EVIL: &str = "<script>alert(1)</script>\"'&@x.example";

/// A proxy with markup wherever somebody else chooses the text.
#[derive(Default)]
struct Doll {
    done: Mutex<Vec<String>>,
    ill: bool,
    ask: Option<Ask>,
}

impl Doll {
    fn did(&self) -> Vec<String> {
        std::mem::take(&mut self.done.lock().unwrap())
    }

    fn doing(&self, what: impl Into<String>) {
        self.done.lock().unwrap().push(what.into());
    }
}

impl House for Doll {
    fn state(&self) -> BoxFuture<State> {
        let ask = self.ask.clone();
        Box::pin(async move { state(ask) })
    }

    fn metrics(&self) -> BoxFuture<String> {
        Box::pin(async { "a 1\n".to_owned() })
    }

    fn health(&self) -> Result<(), &'static str> {
        match self.ill {
            false => Ok(()),
            true => Err("it is about to end"),
        }
    }

    fn attend(&self) -> Box<dyn Send + Sync> {
        Box::new(())
    }

    fn answer(&self, id: u64, address: String) -> BoxFuture<Result<String, String>> {
        self.doing(format!("answer {id} {address}"));
        Box::pin(async move {
            match address.contains("good") {
                true => Ok(format!("{EVIL} is signed in.")),
                false => Err("That is not it.".to_owned()),
            }
        })
    }

    fn dismiss(&self, id: u64) -> bool {
        self.doing(format!("dismiss {id}"));
        id == 7
    }

    fn qr(&self, id: u64) -> Option<String> {
        (id == 7).then(|| "https://p.example/device".to_owned())
    }

    fn set_debug(&self, on: bool) -> BoxFuture<()> {
        self.doing(format!("debug {on}"));
        Box::pin(async {})
    }
}

fn state(ask: Option<Ask>) -> State {
    let evil = || EVIL.to_owned();
    State {
        version: "1.2.3",
        now: NOW,
        since: NOW - 3700,
        ending: false,
        debug: false,
        consents: ask
            .into_iter()
            .map(|ask| ConsentShown {
                id: 7,
                account: evil(),
                user: Some(evil()),
                client: Some(evil()),
                password_differs: true,
                begun: NOW - 60,
                ends: NOW + 540,
                ask,
            })
            .collect(),
        accounts: vec![AccountShown {
            name: evil(),
            flow: "device",
            standing: Standing::Authorised,
            token_until: Some(NOW + 100),
            renewable: true,
            last_used: Some(NOW - 100),
            sessions: 1,
            trouble: Some(evil()),
        }],
        servers: vec![ServerShown {
            heading: "IMAP-1993".to_owned(),
            addresses: vec!["127.0.0.1:1993".to_owned()],
            local: "plaintext",
            upstream: format!("{EVIL}:993"),
            upstream_tls: "TLS",
            open: 1,
            accepted: 2,
            failed: 1,
            to_clients: 1_200_000,
            to_server: 10,
        }],
        sessions: vec![SessionShown {
            id: 3,
            server: "IMAP-1993".to_owned(),
            client: "127.0.0.1:5".to_owned(),
            account: Some(evil()),
            since: NOW - 5,
            to_client: 1,
            to_server: 2,
        }],
        sessions_open: 1,
        events: vec![EventShown {
            number: 9,
            time: NOW - 1,
            level: Gravity::Warning,
            context: evil(),
            text: evil(),
        }],
        offset: UtcOffset::UTC,
    }
}

fn browser(url: &str) -> Ask {
    Ask::Browser {
        url: url.to_owned(),
        redirect_uri: "http://localhost/<x>".to_owned(),
    }
}

struct Room {
    doll: Arc<Doll>,
    desk: Desk,
}

impl Room {
    fn new(doll: Doll) -> Room {
        let doll = Arc::new(doll);
        Room {
            desk: Desk {
                house: doll.clone(),
                door: Door::new(Secret::new(TOKEN)),
                hosts: Hosts {
                    loopback_only: true,
                    name: None,
                },
                cookie: "emailproxy-console-8025".to_owned(),
            },
            doll,
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Seen {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", HOST);
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let peer = "127.0.0.1:5".parse().unwrap();
        let (head, body) = smol::block_on(self.desk.answer(request, peer)).into_parts();
        let body = smol::block_on(body.collect()).unwrap().to_bytes();
        let seen = Seen {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        };
        for (name, value) in HEADERS {
            assert_eq!(seen.header(name.as_str()), value, "{path}");
        }
        assert!(!seen.body.contains(TOKEN), "{}", seen.body);
        seen
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Seen {
        self.ask("GET", path, headers, "")
    }

    /// The cookie of somebody who has opened the link, as a browser sends it.
    fn sign_in(&self) -> String {
        let seen = self.get(&format!("/?token={TOKEN}"), &[]);
        assert_eq!((seen.status, seen.header("location")), (303, "/"));
        let cookie = seen.header("set-cookie").split(';').next().unwrap();
        cookie.to_owned()
    }

    /// A form as a browser sends it that was signed in and shown the page.
    fn post(&self, cookie: &str, path: &str, body: &str) -> Seen {
        let word = self.form_word(cookie);
        let body = format!("form={word}&{body}");
        self.ask(
            "POST",
            path,
            &[("cookie", cookie), ("origin", "http://127.0.0.1:8025")],
            &body,
        )
    }

    fn form_word(&self, cookie: &str) -> String {
        let page = self.get("/", &[("cookie", cookie)]).body;
        let (_, behind) = page.split_once("name=\"form\" value=\"").unwrap();
        behind.split('"').next().unwrap().to_owned()
    }
}

struct Seen {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

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
fn whoever_signs_out_is_out() {
    let room = Room::new(Doll::default());
    let cookie = room.sign_in();
    let seen = room.post(&cookie, "/sign-out", "");
    assert_eq!(seen.status, 303);
    assert!(seen.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(room.get("/", &[("cookie", &cookie)]).status, 401);
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
