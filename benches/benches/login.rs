//! A whole login through a session, from the greeting to the relay, for each protocol.
//!
//! `login` hands over what a peer sends in one piece, `login_byte_by_byte` a byte at a time: the difference is what
//! framing costs when the network delivers fragments.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use divan::Bencher;
use proxy_proto::{Bearer, Event, Protocol, Secret, Session, SessionConfig, Side, Upstream};
use std::{sync::Arc, time::Duration};

fn main() {
    divan::main();
}

/// What peers and embedder do, in order.
enum Step {
    Say(Side, Vec<u8>),
    Grant,
}

fn script(protocol: Protocol) -> Vec<Step> {
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

/// Drives a new session through the script; returns it once it relays.
fn log_in(config: &Arc<SessionConfig>, script: &[Step], token: &str, chunk: usize) -> Session {
    let now = Duration::ZERO;
    let mut session = Session::new(config.clone(), now);
    let mut request = None;
    let mut relaying = false;
    session.connected(
        Upstream {
            host: "mail.example".into(),
            port: 993,
            secure: true,
        },
        now,
    );
    for step in script {
        match step {
            Step::Say(side, bytes) => {
                for piece in bytes.chunks(chunk) {
                    session.handle_input(*side, piece, now);
                    turn(&mut session, &mut request, &mut relaying);
                }
            }
            Step::Grant => {
                let id = request.take().expect("the login asks for a bearer");
                let bearer = Bearer {
                    token: Secret::new(token),
                    user: "user@example.com".into(),
                    mechanism: None,
                };
                session
                    .provide_credentials(id, Ok(bearer), now)
                    .expect("the request is open");
                turn(&mut session, &mut request, &mut relaying);
            }
        }
    }
    assert!(relaying, "the script ends in relay");
    session
}

fn turn(session: &mut Session, request: &mut Option<proxy_proto::RequestId>, relaying: &mut bool) {
    for side in [Side::Client, Side::Server] {
        let queued = divan::black_box(session.transmit(side)).len();
        if queued > 0 {
            session.advance(side, queued);
        }
    }
    while let Some(event) = session.poll_event() {
        match event {
            Event::NeedCredentials { id, .. } => *request = Some(id),
            Event::Relay => *relaying = true,
            _ => {}
        }
    }
}

const PROTOCOLS: [&str; 3] = ["IMAP", "POP", "SMTP"];

fn bench(bencher: Bencher<'_, '_>, name: &str, chunk: usize) {
    let protocol = match name {
        "IMAP" => Protocol::Imap,
        "POP" => Protocol::Pop,
        _ => Protocol::Smtp,
    };
    let config = Arc::new(SessionConfig::new(protocol));
    let script = script(protocol);
    let token = "t".repeat(2_000); // Microsoft's access tokens are about this long
    bencher.bench(|| log_in(&config, &script, &token, chunk));
}

#[divan::bench(args = PROTOCOLS)]
fn login(bencher: Bencher<'_, '_>, protocol: &str) {
    bench(bencher, protocol, usize::MAX);
}

#[divan::bench(args = PROTOCOLS)]
fn login_byte_by_byte(bencher: Bencher<'_, '_>, protocol: &str) {
    bench(bencher, protocol, 1);
}
