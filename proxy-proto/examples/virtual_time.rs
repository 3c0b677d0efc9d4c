//! An embedder without network and without a clock: bytes go through buffers, and time passes when it is told to.
//!
//! This is how to test a session, to simulate one, or to drive it from an environment that has its own idea of time.
//! The session cannot tell the difference: it is given bytes and points in time, wherever they come from.
//!
//! `cargo run -p proxy-proto --example virtual_time` plays an IMAP login whose user approves after 50 seconds, and
//! ends in milliseconds.

use proxy_proto::{
    Bearer, Event, Protocol, Reason, RequestId, Secret, Session, SessionConfig, Side, Time,
    Upstream, UpstreamTls,
};
use std::{sync::Arc, time::Duration};

const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// A session, the two peers' ends of its connections, and the time.
struct World {
    session: Session,
    now: Time,
    /// What a peer has sent and the session has not read yet.
    incoming: [Vec<u8>; 2],
    /// What the session has sent and the peer has not looked at yet.
    outgoing: [Vec<u8>; 2],
    /// What is going to happen by itself.
    agenda: Vec<(Time, Due)>,
    relaying: bool,
    closed: Option<Reason>,
}

enum Due {
    /// A handshake with this side ends.
    Handshake(Side),
    /// The user approves.
    Approval(RequestId, Bearer),
}

impl World {
    fn new(config: SessionConfig) -> World {
        let mut world = World {
            session: Session::new(Arc::new(config), Time::ZERO),
            now: Time::ZERO,
            incoming: Default::default(),
            outgoing: Default::default(),
            agenda: Vec::new(),
            relaying: false,
            closed: None,
        };
        let upstream = Upstream {
            host: "imap.example".into(),
            port: 143,
            secure: false,
        };
        world.session.connected(upstream, world.now);
        world
    }

    /// A peer sends; the session deals with it at once.
    fn say(&mut self, from: Side, bytes: &str) {
        self.incoming[from as usize].extend_from_slice(bytes.as_bytes());
        self.settle();
    }

    /// What a peer has received, up to now, must be this.
    #[track_caller]
    fn hear(&mut self, to: Side, expected: &str) {
        let received = std::mem::take(&mut self.outgoing[to as usize]);
        assert_eq!(String::from_utf8_lossy(&received), expected);
    }

    /// Time passes, and all that is due in it happens in its order: the agenda and the session's timer.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.agenda.iter().map(|(at, _)| *at).min();
            let Some(at) = next
                .into_iter()
                .chain(self.session.poll_timeout())
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(at);
            let due = self.agenda.iter().position(|(at, _)| *at <= self.now);
            match due.map(|index| self.agenda.remove(index).1) {
                Some(Due::Handshake(side)) => self.session.tls_established(side, self.now).unwrap(),
                Some(Due::Approval(id, bearer)) => {
                    let answer = Ok(bearer);
                    self.session
                        .provide_credentials(id, answer, self.now)
                        .unwrap();
                }
                None => self.session.handle_timeout(self.now),
            }
            self.settle();
        }
        self.now = end;
    }

    /// All that needs no time: events, bytes out, bytes in, until nothing moves.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(event) = self.session.poll_event() {
                self.act(event);
                moved = true;
            }
            for side in SIDES {
                let bytes = self.session.transmit(side).to_vec();
                self.session.advance(side, bytes.len());
                moved |= !bytes.is_empty();
                self.outgoing[side as usize].extend(bytes);

                let incoming = &mut self.incoming[side as usize];
                let budget = self.session.read_budget(side).min(incoming.len());
                if budget > 0 {
                    let bytes: Vec<u8> = incoming.drain(..budget).collect();
                    self.session.handle_input(side, &bytes, self.now);
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::UpgradeTls(side) => {
                let done = self.now + Duration::from_millis(200);
                self.agenda.push((done, Due::Handshake(side)));
            }
            Event::NeedCredentials { id, login, .. } => {
                assert_eq!(login.password.expose(), "local password");
                let bearer = Bearer {
                    token: Secret::new("ya29.token"),
                    user: login.user,
                    mechanism: None,
                };
                let done = self.now + Duration::from_secs(50);
                self.agenda.push((done, Due::Approval(id, bearer)));
            }
            Event::Relay => self.relaying = true,
            Event::Closed(reason) => self.closed = Some(reason),
            // With one request and one connection there is nothing to abandon or to open anew; bytes pass through the
            // session to the end, and a closed half needs nothing done to a buffer.
            _ => {}
        }
    }
}

fn main() {
    use Side::{Client, Server};
    let mut config = SessionConfig::new(Protocol::Imap);
    config.upstream_tls = UpstreamTls::StartTls;
    let mut world = World::new(config);

    // The proxy starts TLS by itself. What the server said before counts for nothing behind it.
    world.say(Server, "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n");
    world.hear(Server, "proxy1 STARTTLS\r\n");
    world.say(Server, "proxy1 OK begin\r\n");
    world.hear(Server, "");
    world.pass(Duration::from_millis(200));
    world.hear(Server, "proxy2 CAPABILITY\r\n");
    world.say(
        Server,
        "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\nproxy2 OK done\r\n",
    );
    world.hear(
        Client,
        "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] The mail server is ready\r\n",
    );

    // The user takes 50 seconds; the client is kept waiting every 20.
    world.say(Client, "a1 LOGIN me@example.com \"local password\"\r\n");
    let waiting = "* OK Waiting for the user to approve the login at the provider\r\n";
    world.pass(Duration::from_secs(20));
    world.hear(Client, waiting);
    world.pass(Duration::from_secs(29));
    world.hear(Client, waiting);
    world.hear(Server, "");
    world.pass(Duration::from_secs(1));
    world.hear(
        Server,
        // user=me@example.com^Aauth=Bearer ya29.token^A^A
        "a1 AUTHENTICATE XOAUTH2 dXNlcj1tZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnRva2VuAQE=\r\n",
    );
    world.say(Server, "a1 OK logged in\r\n");
    world.hear(Client, "a1 OK logged in\r\n");
    assert!(world.relaying);

    // From here on bytes pass, whatever they are, for as long as it takes.
    world.pass(Duration::from_secs(24 * 60 * 60));
    world.say(Client, "a2 SELECT INBOX\r\n");
    world.hear(Server, "a2 SELECT INBOX\r\n");
    world.session.handle_eof(Client, world.now);
    world.session.handle_eof(Server, world.now);
    world.settle();
    assert_eq!(world.closed, Some(Reason::Finished));
    println!("logged in after {} virtual seconds", world.now.as_secs());
}

#[test]
fn logs_in() {
    main();
}
