//! Whole logins, and single lines, through a session that has no sockets.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use proxy_proto::{
    Bearer, Event, Protocol, RequestId, Secret, Session, SessionConfig, Side, Upstream,
};
use std::{hint::black_box, sync::Arc, time::Duration};

const NOW: Duration = Duration::ZERO;

/// All that is said from the greeting to the relay.
pub struct Login {
    config: Arc<SessionConfig>,
    steps: Vec<Step>,
    token: String,
}

/// What peers and embedder do, in order.
enum Step {
    Say(Side, Vec<u8>),
    Grant,
}

impl Login {
    /// A login as popular servers and clients have it.
    pub fn new(protocol: Protocol) -> Login {
        Login {
            config: Arc::new(SessionConfig::new(protocol)),
            steps: steps(protocol),
            token: "t".repeat(2_000), // Microsoft's access tokens are about this long
        }
    }

    /// Drives a new session through it, handing over what peers say in pieces of `chunk` octets; returns it once it
    /// relays.
    ///
    /// # Panics
    /// The session does not come to relay.
    pub fn play(&self, chunk: usize) -> Session {
        let mut session = connected(self.config.clone());
        let mut state = State::default();
        for step in &self.steps {
            match step {
                Step::Say(side, bytes) => {
                    for piece in bytes.chunks(chunk) {
                        session.handle_input(*side, piece, NOW);
                        state.turn(&mut session);
                    }
                }
                Step::Grant => {
                    let id = state.request.take().expect("the login asks for a bearer");
                    let bearer = Bearer {
                        token: Secret::new(self.token.as_str()),
                        user: "user@example.com".into(),
                        mechanism: None,
                    };
                    session
                        .provide_credentials(id, Ok(bearer), NOW)
                        .expect("the request is open");
                    state.turn(&mut session);
                }
            }
        }
        assert!(state.relaying, "the login ends in relay");
        session
    }
}

/// A session before login, in which a client and a server say a line each, again and again.
pub struct Lines {
    session: Session,
    client: &'static [u8],
    server: &'static [u8],
}

impl Lines {
    /// One that has been greeted.
    pub fn new(protocol: Protocol) -> Lines {
        let mut session = connected(Arc::new(SessionConfig::new(protocol)));
        let mut state = State::default();
        let (greeting, client, server): (&[&[u8]], &[u8], &[u8]) = match protocol {
            Protocol::Imap => (
                &[b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n"],
                b"a1 NOOP\r\n",
                b"a1 OK NOOP completed\r\n",
            ),
            Protocol::Pop => (&[b"+OK ready\r\n"], b"LANG en\r\n", b"+OK en English\r\n"),
            Protocol::Smtp => (
                &[b"220 mx.example ESMTP\r\n"],
                b"NOOP\r\n",
                b"250 2.0.0 OK\r\n",
            ),
        };
        for line in greeting {
            session.handle_input(Side::Server, line, NOW);
            state.turn(&mut session);
        }
        if protocol == Protocol::Smtp {
            session.handle_input(Side::Client, b"EHLO laptop\r\n", NOW);
            state.turn(&mut session);
            session.handle_input(Side::Server, b"250-mx.example\r\n250 AUTH XOAUTH2\r\n", NOW);
            state.turn(&mut session);
        }
        Lines {
            session,
            client,
            server,
        }
    }

    /// A command and its answer, handed over in pieces of `chunk` octets.
    pub fn exchange(&mut self, chunk: usize) {
        let mut state = State::default();
        for (side, line) in [(Side::Client, self.client), (Side::Server, self.server)] {
            for piece in line.chunks(chunk) {
                self.session.handle_input(side, piece, NOW);
                state.turn(&mut self.session);
            }
        }
    }
}

fn connected(config: Arc<SessionConfig>) -> Session {
    let mut session = Session::new(config, NOW);
    let upstream = Upstream {
        host: "mail.example".into(),
        port: 993,
        secure: true,
    };
    session.connected(upstream, NOW);
    session
}

/// What a session has said to its driver.
#[derive(Default)]
struct State {
    request: Option<RequestId>,
    relaying: bool,
}

impl State {
    /// A driver's turn.
    fn turn(&mut self, session: &mut Session) {
        for side in [Side::Client, Side::Server] {
            let queued = black_box(session.transmit(side)).len();
            if queued > 0 {
                session.advance(side, queued);
            }
        }
        while let Some(event) = session.poll_event() {
            match event {
                Event::NeedCredentials { id, .. } => self.request = Some(id),
                Event::Relay => self.relaying = true,
                Event::Closed(reason) => panic!("the session has ended: {reason:?}"),
                _ => {}
            }
        }
    }
}

fn steps(protocol: Protocol) -> Vec<Step> {
    let plain = BASE64_STANDARD.encode("\0user@example.com\0a-local-password");
    let say = |side, text: &str| Step::Say(side, text.as_bytes().to_vec());
    match protocol {
        Protocol::Imap => vec![
            say(Side::Server, "* OK The service is ready.\r\n"),
            say(
                Side::Server,
                "* CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE \
                 NAMESPACE LITERAL+\r\nproxy1 OK CAPABILITY completed.\r\n",
            ),
            say(
                Side::Client,
                "A1 ID (\"name\" \"client\" \"version\" \"1.0\")\r\n",
            ),
            say(Side::Server, "* ID (\"name\" \"server\")\r\nA1 OK done\r\n"),
            say(
                Side::Client,
                "A2 LOGIN \"user@example.com\" \"a-local-password\"\r\n",
            ),
            Step::Grant,
            say(Side::Server, "A2 OK AUTHENTICATE completed.\r\n"),
        ],
        Protocol::Pop => vec![
            say(Side::Server, "+OK The service is ready.\r\n"),
            say(Side::Client, "CAPA\r\n"),
            say(
                Side::Server,
                "+OK\r\nTOP\r\nUIDL\r\nSASL PLAIN XOAUTH2\r\nUSER\r\nRESP-CODES\r\n.\r\n",
            ),
            say(Side::Client, "USER user@example.com\r\n"),
            say(Side::Client, "PASS a-local-password\r\n"),
            Step::Grant,
            say(Side::Server, "+ \r\n"),
            say(Side::Server, "+OK User successfully authenticated.\r\n"),
        ],
        Protocol::Smtp => vec![
            say(Side::Server, "220 mx.example ESMTP\r\n"),
            say(Side::Client, "EHLO laptop.example\r\n"),
            say(
                Side::Server,
                "250-mx.example\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n\
                 250-AUTH LOGIN XOAUTH2\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n",
            ),
            say(Side::Client, &format!("AUTH PLAIN {plain}\r\n")),
            Step::Grant,
            say(Side::Server, "334 \r\n"),
            say(Side::Server, "235 2.7.0 Authentication successful\r\n"),
        ],
    }
}
