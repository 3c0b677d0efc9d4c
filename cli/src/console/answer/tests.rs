//! Requests to the desk of a proxy that is made up: `access` is who gets in, `pages` what those see and do.

mod access;
mod pages;

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
