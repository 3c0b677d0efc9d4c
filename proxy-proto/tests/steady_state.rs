//! A session that has warmed up allocates nothing per line before login: neither for a client's commands that go to
//! the server, nor for their answers, nor for what the server says unasked. A listener with thousands of clients that
//! have not logged in (monitoring probes, connection pools) costs the allocator nothing.
//!
//! The counting allocator counts the thread that measures, so that tests beside each other do not disturb it.

use proxy_proto::{Event, Protocol, Session, SessionConfig, Side, Time, Upstream};
use std::sync::Arc;

/// Rounds before the count begins: buffers reach the size that the dialogue needs.
const WARM_UP: usize = 8;
const ROUNDS: usize = 1_000;

/// Bytes from one side, and what they must lead to on the other.
struct Step {
    from: Side,
    bytes: &'static [u8],
    passed_on: &'static [u8],
}

const fn step(from: Side, bytes: &'static [u8], passed_on: &'static [u8]) -> Step {
    Step {
        from,
        bytes,
        passed_on,
    }
}

/// A step whose bytes arrive on the other side as they are.
const fn passed(from: Side, bytes: &'static [u8]) -> Step {
    step(from, bytes, bytes)
}

/// A session whose client has been greeted.
fn greeted(protocol: Protocol, greeting: &[Step]) -> Session {
    let mut session = Session::new(Arc::new(SessionConfig::new(protocol)), Time::ZERO);
    let upstream = Upstream {
        host: "mail.example".into(),
        port: 993,
        secure: true,
    };
    session.connected(upstream, Time::ZERO);
    play(&mut session, greeting, usize::MAX);
    session
}

/// Plays the steps, each in pieces of `chunk` bytes. It allocates nothing itself.
fn play(session: &mut Session, steps: &[Step], chunk: usize) {
    for step in steps {
        let (to, mut expected) = (step.from.other(), step.passed_on);
        for bytes in step.bytes.chunks(chunk) {
            assert!(bytes.len() <= session.read_budget(step.from));
            session.handle_input(step.from, bytes, Time::ZERO);
            assert!(session.transmit(step.from).is_empty());
            let sent = session.transmit(to);
            expected = match expected.strip_prefix(sent) {
                Some(rest) => rest,
                None => panic!("{} for the {to}", sent.escape_ascii()),
            };
            let count = sent.len();
            session.advance(to, count);
            assert!(session.poll_event().is_none());
        }
        assert!(
            expected.is_empty(),
            "{} is missing",
            expected.escape_ascii()
        );
    }
}

/// Allocations of `ROUNDS` rounds once the session is warm.
fn allocations(session: &mut Session, round: &[Step], chunk: usize) -> u64 {
    for _ in 0..WARM_UP {
        play(session, round, chunk);
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..ROUNDS {
            play(session, round, chunk);
        }
    });
    counted.count_total
}

/// Whole lines, and lines in pieces: what has arrived of a line is kept in a buffer that stays.
fn costs_nothing(protocol: Protocol, greeting: &[Step], round: &[Step]) {
    for chunk in [usize::MAX, 7, 1] {
        let mut session = greeted(protocol, greeting);
        let count = allocations(&mut session, round, chunk);
        assert_eq!(count, 0, "{ROUNDS} rounds in pieces of {chunk}");
    }
}

const IMAP_GREETING: &[Step] = &[step(
    Side::Server,
    b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n",
    b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n",
)];

#[test]
fn imap_commands_and_answers() {
    let round = [
        passed(Side::Client, b"a1 NOOP\r\n"),
        passed(Side::Server, b"* OK still here\r\n"),
        passed(Side::Server, b"a1 OK NOOP completed\r\n"),
        passed(Side::Client, b"a2 ID (\"name\" \"probe\")\r\n"),
        passed(Side::Server, b"* ID NIL\r\n"),
        passed(Side::Server, b"a2 OK ID completed\r\n"),
    ];
    costs_nothing(Protocol::Imap, IMAP_GREETING, &round);
}

#[test]
fn imap_untagged_data_that_nobody_asked_for() {
    let round = [
        passed(Side::Server, b"* OK [ALERT] maintenance at noon\r\n"),
        passed(Side::Server, b"* 23 EXISTS\r\n"),
    ];
    costs_nothing(Protocol::Imap, IMAP_GREETING, &round);
}

#[test]
fn pop_commands_and_answers() {
    let greeting = [passed(Side::Server, b"+OK ready\r\n")];
    let round = [
        passed(Side::Client, b"LANG\r\n"),
        passed(Side::Server, b"+OK languages follow\r\n"),
        passed(Side::Server, b"en English\r\n"),
        passed(Side::Server, b".\r\n"),
        passed(Side::Client, b"LANG en\r\n"),
        passed(Side::Server, b"+OK en English it is\r\n"),
    ];
    costs_nothing(Protocol::Pop, &greeting, &round);
}

#[test]
fn smtp_commands_and_answers() {
    let greeting = [
        passed(Side::Server, b"220 mx.example ESMTP\r\n"),
        passed(Side::Client, b"EHLO probe\r\n"),
        step(
            Side::Server,
            b"250-mx.example\r\n250 AUTH XOAUTH2\r\n",
            b"250-mx.example\r\n250 AUTH PLAIN LOGIN\r\n",
        ),
    ];
    let round = [
        passed(Side::Client, b"NOOP\r\n"),
        passed(Side::Server, b"250 2.0.0 OK\r\n"),
        passed(Side::Client, b"RSET\r\n"),
        passed(Side::Server, b"250 2.0.0 OK\r\n"),
    ];
    costs_nothing(Protocol::Smtp, &greeting, &round);
}

/// The count can fail: a capability list is rebuilt, and a login is handed out, in memory of their own.
#[test]
fn what_is_rebuilt_is_counted() {
    let mut session = greeted(Protocol::Imap, IMAP_GREETING);
    let round = [
        passed(Side::Client, b"a1 CAPABILITY\r\n"),
        step(
            Side::Server,
            b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n",
            b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n",
        ),
        passed(Side::Server, b"a1 OK done\r\n"),
    ];
    assert!(allocations(&mut session, &round, usize::MAX) > 0);
    let login = allocation_counter::measure(|| {
        session.handle_input(Side::Client, b"a2 LOGIN me@example secret\r\n", Time::ZERO);
    });
    assert!(login.count_total > 0);
    assert!(matches!(
        session.poll_event(),
        Some(Event::NeedCredentials { .. })
    ));
}
