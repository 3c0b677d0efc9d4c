//! What holds for every dialogue, however it is cut, mutated, interleaved or timed.
//!
//! `PROPTEST_CASES` sets the number of cases.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use harness::driver::{Driver, SIDES, Seen, reveals};
use harness::simulation::{Op, Outcome, PASSWORD, TOKEN, replay, simulate};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proxy_proto::{
    Bearer, Event, Limits, LocalTls, Protocol, Refusal, RequestId, Secret, Session, SessionConfig,
    Side, Upstream, UpstreamTls,
};
use std::cell::{Cell, RefCell};
use std::{fmt, sync::Arc, time::Duration};

fn config(default: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = default;
    }
    config.failure_persistence = None;
    config
}

// ---- dialogues

/// How many dialogues got how far.
#[derive(Default)]
struct Classes {
    dialogues: usize,
    relay: usize,
    upgraded: usize,
    asked: usize,
    retried: usize,
    reconnected: usize,
    limits: usize,
    residue: usize,
}

impl Classes {
    fn count(&mut self, outcome: &Outcome) {
        let saw = |wanted: fn(&Seen) -> bool| usize::from(outcome.saw(wanted));
        self.dialogues += 1;
        self.relay += saw(|event| matches!(event, Seen::Relay));
        self.upgraded += saw(|event| matches!(event, Seen::UpgradeTls(_)));
        self.asked += saw(|event| matches!(event, Seen::NeedCredentials { .. }));
        self.retried += saw(|event| matches!(event, Seen::NeedCredentials { after: Some(_), .. }));
        self.reconnected += saw(|event| matches!(event, Seen::Reconnect));
        self.limits += saw(|event| event.canonical().starts_with("Closed Limit"));
        self.residue += usize::from(outcome.residue);
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |count: usize| count * 100 / self.dialogues.max(1);
        write!(
            f,
            "{} dialogues: {} % reached relay, {} % a TLS upgrade, {} % asked for credentials, {} % \
             after a refusal, {} % reconnected, {} % hit a limit, {} % met plaintext behind an upgrade",
            self.dialogues,
            share(self.relay),
            share(self.upgraded),
            share(self.asked),
            share(self.retried),
            share(self.reconnected),
            share(self.limits),
            share(self.residue),
        )
    }
}

fn describe(config: &SessionConfig, ops: &[Op]) -> String {
    let mut text = format!(
        "{} {:?} {:?}",
        config.protocol.name(),
        config.local_tls,
        config.upstream_tls
    );
    for op in ops {
        text.push_str("\n  ");
        match op {
            Op::Input(side, bytes) => {
                text.push_str(&format!("{side}> {}", bytes.escape_ascii()));
            }
            other => text.push_str(&format!("= {other:?}")),
        }
    }
    text
}

/// Every simulated dialogue keeps every promise, and keeps it the same however its input is cut.
///
/// The promises: no password to the server before relay, no token in clear, neither in a dialogue line; flushing before
/// `UpgradeTls`, `Relay` and `ShutdownWrite`; no budget during a handshake; nothing after `Closed`; and always something
/// that can still happen.
#[test]
fn dialogues_keep_their_promises_in_every_chunking() {
    let classes = RefCell::new(Classes::default());
    let mut runner = TestRunner::new(config(1_000));
    let input = (vec(any::<u8>(), 0..300), vec(1usize..90, 3));
    let failed = Cell::new(false);
    let result = runner.run(&input, |(choices, chunks)| {
        let (config, ops, whole) = simulate(&choices);
        if !failed.get() {
            classes.borrow_mut().count(&whole); // what is only a smaller form of a failure is not counted
        }
        let result = keeps_its_promises(&config, &ops, &whole, &chunks);
        failed.set(failed.get() || result.is_err());
        result
    });
    let classes = classes.into_inner();
    println!("{classes}");
    if let Err(why) = result {
        panic!("{why}");
    }
    assert!(
        classes.relay * 100 >= classes.dialogues * 40,
        "too few dialogues reach relay: {classes}"
    );
    assert!(
        classes.upgraded * 100 >= classes.dialogues * 10,
        "too few dialogues upgrade to TLS: {classes}"
    );
}

fn keeps_its_promises(
    config: &SessionConfig,
    ops: &[Op],
    whole: &Outcome,
    chunks: &[usize],
) -> Result<(), TestCaseError> {
    prop_assert!(
        whole.faults.is_empty(),
        "{:?}\n{}",
        whole.faults,
        describe(config, ops)
    );
    for chunk in [1].into_iter().chain(chunks.iter().copied()) {
        let cut = replay(config, ops, chunk);
        let context = || format!("chunks of {chunk}\n{}", describe(config, ops));
        prop_assert!(cut.faults.is_empty(), "{:?}\n{}", cut.faults, context());
        if cut.residue || whole.residue {
            // Plaintext behind an upgrade was read by the handshake in one run and by the session in another.
            prop_assert!(cut.closed() && whole.closed(), "{}", context());
            continue;
        }
        prop_assert_eq!(
            cut.to_client.escape_ascii().to_string(),
            whole.to_client.escape_ascii().to_string(),
            "to the client, {}",
            context()
        );
        // What is still queued for the server when a session ends early is dropped: it may be shorter, never other.
        let (short, long) = match cut.to_server.len() < whole.to_server.len() {
            true => (&cut.to_server, &whole.to_server),
            false => (&whole.to_server, &cut.to_server),
        };
        prop_assert!(
            short == long || whole.closed() && long.starts_with(short),
            "to the server: {} or {}, {}",
            short.escape_ascii(),
            long.escape_ascii(),
            context()
        );
        prop_assert_eq!(
            cut.ordered_events(),
            whole.ordered_events(),
            "{}",
            context()
        );
    }
    Ok(())
}

// ---- logins without surprises, to start from

const PROTOCOLS: [Protocol; 3] = [Protocol::Imap, Protocol::Pop, Protocol::Smtp];

fn bearer() -> Bearer {
    Bearer {
        token: Secret::new(TOKEN),
        user: "user@example.com".into(),
        mechanism: None,
    }
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(PROTOCOLS.to_vec())
}

/// The client's input up to and with its login.
fn login_lines(protocol: Protocol) -> Vec<u8> {
    let plain = BASE64_STANDARD.encode(format!("\0user@example.com\0{PASSWORD}"));
    match protocol {
        Protocol::Imap => format!("A1 LOGIN user@example.com {PASSWORD}\r\n"),
        Protocol::Pop => format!("AUTH PLAIN {plain}\r\n"),
        Protocol::Smtp => format!("AUTH PLAIN {plain}\r\n"),
    }
    .into_bytes()
}

/// A session that has been greeted (and said EHLO).
fn greeted(config: SessionConfig, chunk: usize) -> Driver {
    let protocol = config.protocol;
    let mut driver = Driver::new(config, chunk);
    driver.connect("mail.example", 993);
    match protocol {
        Protocol::Imap => driver.input(
            Side::Server,
            b"* OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=XOAUTH2] ready\r\n",
        ),
        Protocol::Pop => driver.input(Side::Server, b"+OK ready\r\n"),
        Protocol::Smtp => {
            driver.input(Side::Server, b"220 ready\r\n");
            driver.input(Side::Client, b"EHLO laptop\r\n");
            driver.input(
                Side::Server,
                b"250-mx\r\n250-STARTTLS\r\n250 AUTH XOAUTH2\r\n",
            );
        }
    }
    driver
}

/// A session whose login waits for credentials, with `behind` pipelined behind it.
fn asking(config: SessionConfig, chunk: usize, behind: &[u8]) -> Driver {
    let protocol = config.protocol;
    let mut driver = greeted(config, chunk);
    let mut lines = login_lines(protocol);
    lines.extend(behind);
    driver.input(Side::Client, &lines);
    assert!(driver.asks_for_credentials());
    driver
}

/// Goes on to just before the server's final answer, and returns that answer.
fn credentials_sent(driver: &mut Driver, protocol: Protocol) -> &'static [u8] {
    assert!(driver.credentials(Ok(bearer())));
    match protocol {
        Protocol::Imap => b"A1 OK in\r\n",
        Protocol::Pop => {
            driver.input(Side::Server, b"+ \r\n");
            b"+OK in\r\n"
        }
        Protocol::Smtp => {
            driver.input(Side::Server, b"334 \r\n");
            b"235 in\r\n"
        }
    }
}

/// Commands that pass once the login has succeeded.
fn ordinary(protocol: Protocol) -> impl Strategy<Value = Vec<u8>> {
    let commands: &[&str] = match protocol {
        Protocol::Imap => &[
            "B1 SELECT INBOX\r\n",
            "B2 APPEND x {9+}\r\nC LOGIN a\r\n",
            "B3 NOOP\r\n",
            "B4 IDLE\r\nDONE\r\n",
        ],
        Protocol::Pop => &["STAT\r\n", "LIST\r\n", "RETR 1\r\n", "TOP 1 0\r\n"],
        Protocol::Smtp => &[
            "MAIL FROM:<a@b>\r\n",
            "RCPT TO:<c@d>\r\n",
            "RSET\r\n",
            "NOOP\r\n",
        ],
    };
    vec(prop::sample::select(commands.to_vec()), 0..6)
        .prop_map(|commands| commands.concat().into_bytes())
}

fn with_ordinary() -> impl Strategy<Value = (Protocol, Vec<u8>)> {
    protocol().prop_flat_map(|protocol| (Just(protocol), ordinary(protocol)))
}

proptest! {
    #![proptest_config(config(500))]

    /// Held bytes of both sides and everything behind them: once, in order, unchanged, through the session as around it.
    #[test]
    fn relay_delivers_every_byte_once_and_in_order(
        (protocol, pipelined) in with_ordinary(),
        behind_answer in vec(any::<u8>(), 0..200),
        traffic in vec((any::<bool>(), vec(any::<u8>(), 1..3_000)), 0..30),
        chunk in prop_oneof![Just(usize::MAX), 1usize..200],
    ) {
        let mut driver = asking(SessionConfig::new(protocol), chunk, &pipelined);
        let mut answer = credentials_sent(&mut driver, protocol).to_vec();
        driver.take_sent(Side::Client);
        driver.take_sent(Side::Server);
        answer.extend(&behind_answer);
        driver.input(Side::Server, &answer);
        let mut expected = [answer, pipelined];
        prop_assert!(driver.relaying());
        for (from_client, bytes) in traffic {
            let from = if from_client { Side::Client } else { Side::Server };
            driver.input(from, &bytes);
            expected[usize::from(from_client)].extend(bytes);
        }
        driver.eof(Side::Client);
        driver.eof(Side::Server);
        prop_assert_eq!(driver.take_sent(Side::Client), std::mem::take(&mut expected[0]));
        prop_assert_eq!(driver.take_sent(Side::Server), std::mem::take(&mut expected[1]));
        let end = driver.take_events();
        prop_assert!(end.contains(&Seen::ShutdownWrite(Side::Client)));
        prop_assert!(end.contains(&Seen::ShutdownWrite(Side::Server)));
        prop_assert_eq!(end.last().map(Seen::canonical), Some("Closed Finished".to_owned()));
        prop_assert!(driver.faults.is_empty(), "{:?}", driver.faults);
    }

    /// A second login that is pipelined behind the first, in any mixture, never shows its password to the server.
    #[test]
    fn a_pipelined_password_reaches_nobody(
        (protocol, mut pipelined) in with_ordinary(),
        form in 0usize..3,
        cut in any::<prop::sample::Index>(),
        chunk in prop_oneof![Just(usize::MAX), 1usize..60],
    ) {
        let plain = BASE64_STANDARD.encode(format!("\0other@example.com\0{PASSWORD}"));
        let word = BASE64_STANDARD.encode(PASSWORD);
        let second = match (protocol, form) {
            (Protocol::Imap, 0) => format!("Z1 LOGIN other {PASSWORD}\r\n"),
            (Protocol::Imap, 1) => format!("Z1 login {{5+}}\r\nother \"{PASSWORD}\"\r\n"),
            (Protocol::Imap, _) => format!("Z1 AUTHENTICATE PLAIN {plain}\r\n"),
            (Protocol::Pop, 0) => format!("USER other\r\nPASS {PASSWORD}\r\n"),
            (Protocol::Pop, 1) => format!("pass {PASSWORD}\r\n"),
            (Protocol::Pop, _) => format!("AUTH PLAIN {plain}\r\n"),
            (Protocol::Smtp, 0) => format!("AUTH PLAIN {plain}\r\n"),
            (Protocol::Smtp, 1) => format!("auth login\r\n{word}\r\n{word}\r\n"),
            (Protocol::Smtp, _) => format!("AUTH LOGIN {word}\r\n{word}\r\n"),
        };
        // The answer comes while the first line of the second login is half there.
        // (USER holds no secret: there it is the line behind it.)
        let before = if second.starts_with("USER") { second.find("PASS").unwrap_or(0) } else { 0 };
        let line = second[before..].find('\r').unwrap_or(0);
        let cut = before + 1 + cut.index(line + 1);
        pipelined.extend(&second.as_bytes()[..cut]);
        let mut driver = asking(SessionConfig::new(protocol), chunk, &pipelined);
        let answer = credentials_sent(&mut driver, protocol);
        driver.take_sent(Side::Server);
        driver.input(Side::Server, answer);
        driver.input(Side::Client, &second.as_bytes()[cut..]);
        for _ in 0..40 {
            driver.input(Side::Server, match protocol {
                Protocol::Imap => b"* OK still here\r\n",
                Protocol::Pop => b"+OK done\r\n",
                Protocol::Smtp => b"250 done\r\n",
            });
        }
        prop_assert!(!reveals(&driver.take_sent(Side::Server), PASSWORD));
        prop_assert!(driver.leaks().is_empty(), "{:?}", driver.leaks());
        prop_assert!(driver.faults.is_empty(), "{:?}", driver.faults);
    }

    /// Any bytes behind a STARTTLS command or its positive answer end the session, and nothing of them counts.
    #[test]
    fn residue_behind_starttls_always_closes(
        protocol in protocol(),
        towards_server in any::<bool>(),
        residue in prop_oneof![
            vec(any::<u8>(), 1..100),
            Just(b"A2 LOGIN user@example.com canary-PASSWORD-7531\r\n".to_vec()),
            Just(b"* OK x\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
        ],
        chunk in prop_oneof![Just(usize::MAX), 1usize..40],
    ) {
        let mut config = SessionConfig::new(protocol);
        if towards_server {
            config.upstream_tls = UpstreamTls::StartTls;
        } else {
            config.local_tls = LocalTls::StartTlsRequired;
        }
        let mut driver = greeted(config, chunk);
        let (side, line): (Side, &[u8]) = match (protocol, towards_server) {
            (Protocol::Imap, false) => (Side::Client, b"A1 STARTTLS\r\n"),
            (Protocol::Pop, false) => (Side::Client, b"STLS\r\n"),
            (Protocol::Smtp, false) => (Side::Client, b"STARTTLS\r\n"),
            (Protocol::Imap, true) => (Side::Server, b"proxy1 OK go\r\n"),
            (Protocol::Pop, true) => {
                driver.input(Side::Server, b"+OK\r\nSTLS\r\n.\r\n");
                (Side::Server, b"+OK go\r\n")
            }
            (Protocol::Smtp, true) => (Side::Server, b"220 go\r\n"),
        };
        prop_assert!(driver.closed().is_none());
        let mut bytes = line.to_vec();
        bytes.extend(residue);
        driver.input(side, &bytes);
        prop_assert!(driver.closed().is_some());
        let events = driver.take_events();
        let served = |event: &Seen| matches!(event, Seen::NeedCredentials { .. } | Seen::Relay);
        prop_assert!(!events.iter().any(served), "{events:?}");
        prop_assert!(driver.faults.is_empty(), "{:?}", driver.faults);
    }

    /// Two peers that send a megabyte each and read nothing: what the session takes in stays within its limits.
    #[test]
    fn held_memory_is_bounded(
        protocol in protocol(),
        state in 0usize..4,
        client_line in prop::sample::select(vec!["A1 NOOP\r\n", "NOOP\r\n", "CAPA\r\n", "x", "A {3+}\r\n", "\r\n"]),
        server_line in prop::sample::select(vec!["* OK x\r\n", "+OK\r\n", "250-x\r\n", "250 x\r\n", "x", "* CAPABILITY A\r\n"]),
    ) {
        let limits = Limits { held: 4_096, send_buffer: 8_192, server_line: 4_096, capabilities: 4_096, ..Limits::default() };
        let mut config = SessionConfig::new(protocol);
        config.limits = limits.clone();
        let mut driver = match state {
            0 => greeted(config, usize::MAX),
            1 => asking(config, usize::MAX, b""),
            _ => {
                let mut driver = asking(config, usize::MAX, b"");
                let answer = credentials_sent(&mut driver, protocol);
                if state == 3 {
                    driver.input(Side::Server, answer);
                    prop_assert!(driver.relaying());
                }
                driver
            }
        };
        driver.stop_writing();
        let megabyte = 1 << 20;
        for (side, line) in [(Side::Client, client_line), (Side::Server, server_line)] {
            if driver.closed().is_none() {
                driver.input(side, line.repeat(megabyte / line.len()).as_bytes());
            }
        }
        // One line beyond a full buffer, on either way, and what the proxy says of its own.
        let bound = 2 * (limits.held + limits.send_buffer + limits.line + limits.imap_line + limits.imap_literal);
        for side in SIDES {
            prop_assert!(driver.queued(side) <= bound, "{} bytes queued for the {side}", driver.queued(side));
            if driver.closed().is_none() {
                let total = megabyte / client_line.len().max(1);
                let left = driver.undelivered(side);
                prop_assert!(left + bound >= megabyte - 16 || left == 0 && total == 0,
                    "{} of {megabyte} bytes of the {side} were taken", megabyte - left);
            }
        }
    }
}

// ---- calls without sense

#[derive(Clone, Debug)]
enum Call {
    Connected(bool),
    ConnectFailed,
    TlsEstablished(Side),
    TlsFailed(Side),
    Input(Side, Vec<u8>),
    Eof(Side),
    Timeout(u64),
    Credentials(usize, bool),
    Shutdown,
    Advance(Side, usize),
    Poll,
}

fn side() -> impl Strategy<Value = Side> {
    prop::sample::select(SIDES.to_vec())
}

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 STARTTLS] x\r\n",
        b"A1 LOGIN u@e p\r\n",
        b"A1 AUTHENTICATE PLAIN\r\n",
        b"A1 STARTTLS\r\n",
        b"A1 OK x\r\n",
        b"A1 NO x\r\n",
        b"proxy1 OK x\r\n",
        b"+OK x\r\n",
        b"-ERR x\r\n",
        b"USER u@e\r\n",
        b"PASS p\r\n",
        b"CAPA\r\n",
        b"STLS\r\n",
        b".\r\n",
        b"220 x\r\n",
        b"250-x\r\n",
        b"250 STARTTLS\r\n",
        b"EHLO x\r\n",
        b"AUTH LOGIN\r\n",
        b"dUBl\r\n",
        b"334 \r\n",
        b"235 x\r\n",
        b"535 x\r\n",
        b"+ \r\n",
        b"STARTTLS\r\n",
        b"{99999999999999999999}\r\n",
        b"{3+}\r\n",
        b"\r",
        b"\n",
    ];
    prop_oneof![
        6 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..40),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        2 => any::<bool>().prop_map(Call::Connected),
        1 => Just(Call::ConnectFailed),
        2 => side().prop_map(Call::TlsEstablished),
        1 => side().prop_map(Call::TlsFailed),
        20 => (side(), fragment()).prop_map(|(side, bytes)| Call::Input(side, bytes)),
        1 => side().prop_map(Call::Eof),
        2 => (0u64..1_000).prop_map(Call::Timeout),
        4 => (0usize..4, any::<bool>()).prop_map(|(at, ok)| Call::Credentials(at, ok)),
        1 => Just(Call::Shutdown),
        8 => (side(), prop_oneof![Just(usize::MAX), 0usize..50]).prop_map(|(side, n)| Call::Advance(side, n)),
        8 => Just(Call::Poll),
    ]
}

proptest! {
    #![proptest_config(config(1_000))]

    /// No sequence of calls panics, whether it makes sense or not, and a token never leaves in clear.
    #[test]
    fn no_sequence_of_calls_panics(
        protocol in protocol(),
        local in prop::sample::select(vec![LocalTls::None, LocalTls::StartTlsRequired, LocalTls::StartTlsOptional]),
        starttls in any::<bool>(),
        calls in vec(call(), 0..80),
    ) {
        let mut config = SessionConfig::new(protocol);
        config.local_tls = local;
        config.dialogue = true;
        if starttls {
            config.upstream_tls = UpstreamTls::StartTls;
        }
        let mut session = Session::new(Arc::new(config), Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut requests: Vec<RequestId> = Vec::new();
        let mut secure = false;
        let mut in_clear = Vec::new();
        for call in calls {
            match call {
                Call::Connected(with_tls) => {
                    let upstream = Upstream { host: "mail.example".into(), port: 993, secure: with_tls };
                    session.connected(upstream, now);
                    secure |= with_tls;
                }
                Call::ConnectFailed => session.connect_failed("no\r\nroute", now),
                Call::TlsEstablished(side) => {
                    if session.tls_established(side, now).is_ok() && side == Side::Server {
                        secure = true;
                    }
                }
                Call::TlsFailed(side) => session.tls_failed(side, "bad\ncertificate", now),
                Call::Input(side, bytes) => session.handle_input(side, &bytes, now),
                Call::Eof(side) => session.handle_eof(side, now),
                Call::Timeout(seconds) => {
                    now += Duration::from_secs(seconds);
                    session.handle_timeout(now);
                }
                Call::Credentials(at, ok) => {
                    if let Some(&id) = requests.get(at) {
                        let answer = if ok { Ok(bearer()) } else { Err(Refusal::Denied("no".into())) };
                        let _ = session.provide_credentials(id, answer, now);
                    }
                }
                Call::Shutdown => session.shutdown(now),
                Call::Advance(side, count) => {
                    let queued = session.transmit(side);
                    let count = count.min(queued.len());
                    if side == Side::Server && !secure {
                        in_clear.extend_from_slice(&queued[..count]);
                    }
                    session.advance(side, count);
                }
                Call::Poll => {
                    while let Some(event) = session.poll_event() {
                        if let Event::NeedCredentials { id, .. } = event {
                            requests.push(id);
                        }
                    }
                }
            }
            for side in SIDES {
                let _ = (session.read_budget(side), session.transmit(side), session.poll_timeout());
            }
        }
        prop_assert!(!reveals(&in_clear, TOKEN));
    }
}
