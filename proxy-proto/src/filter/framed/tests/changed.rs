//! What units change, drop, answer or send themselves.

use super::*;

#[test]
fn lengths_and_dots_follow_what_is_changed() {
    let (client, server, _) = at_any_size(
        Protocol::Imap,
        ALL,
        Bounds::default(),
        change_messages,
        IMAP,
    );
    assert!(
        client.contains("BODY[] {36}\r\nX: y\r\nSubject: x\r\n\r\nhi {3}\r\n\r\n.new\r\n UID 7)"),
        "{client}"
    );
    assert!(client.contains("BODY[1]<0> {5}\r\nHELLO)"), "{client}");
    assert!(
        server.contains("(\\Seen) {26+}\r\nX: y\r\nA: b\r\n\r\nbody\r\n.new\r\n\r\na9"),
        "{server}"
    );
    let (client, ..) = at_any_size(Protocol::Pop, ALL, Bounds::default(), change_messages, POP);
    assert!(
        client.contains("octets\r\nX: y\r\nA: b\r\n\r\n..dot\r\nx.\r\n..new\r\n.\r\n+OK\r\nX: y\r\nA: b\r\n\r\n.\r\n-ERR"),
        "{client}"
    );
    let bdat = &[
        (S, "235 ok\r\n"),
        (C, "BDAT 6\r\nA: b\r\nBDAT 4 LAST\r\n\r\nhiQUIT\r\n"),
        (S, "250 ok\r\n221 bye\r\n"),
    ];
    let (client, server, _) = at_any_size(
        Protocol::Smtp,
        ALL,
        Bounds::default(),
        change_messages,
        bdat,
    );
    assert_eq!(
        client,
        "235 ok\r\n250 2.0.0 Ok, go on\r\n250 ok\r\n221 bye\r\n"
    );
    assert_eq!(
        server,
        "BDAT 22 LAST\r\nX: y\r\nA: b\r\n\r\nhi.new\r\nQUIT\r\n"
    );
}

#[test]
fn synchronising_literals_are_asked_for_twice() {
    let (client, server, seen) = run(
        Protocol::Imap,
        ALL,
        Bounds::default(),
        change_messages,
        &[
            (S, "a1 OK\r\n"),
            (C, "a2 APPEND {4}\r\n"),
            (C, "Sent (\\Seen) {6}\r\n"),
            (C, "A: b\r\n"),
            (C, "\r\na3 NOOP\r\n"),
            (S, "+ server\r\n"),
            (S, "+ again\r\n"),
            (S, "a2 OK\r\na3 OK\r\n"),
            (C, "a4 APPEND x {6}\r\n"),
            (C, "A: b\r\n"),
            (C, "\r\na5 NOOP\r\n"),
            (S, "a4 NO [TRYCREATE] no such mailbox\r\n"),
            (S, "a5 OK\r\n"),
        ],
        usize::MAX,
    );
    assert_eq!(
        server,
        "a2 APPEND {4}\r\nSent (\\Seen) {18}\r\nX: y\r\nA: b\r\n.new\r\n\r\na3 NOOP\r\n\
         a4 APPEND x {18}\r\na5 NOOP\r\n"
    );
    assert_eq!(
        client,
        "a1 OK\r\n+ Ready\r\n+ Ready\r\na2 OK\r\na3 OK\r\n+ Ready\r\na4 NO [TRYCREATE] no such mailbox\r\na5 OK\r\n"
    );
    assert!(
        seen.contains(&"command APPEND: a2 APPEND {4}|Sent (\\Seen) {6}|".to_owned()),
        "{seen:#?}"
    );
}

/// The mailbox's name was asked for by the framer, the message is asked for by the server.
#[test]
fn a_long_message_behind_a_literal_is_asked_for_by_the_server() {
    let bounds = Bounds {
        unit: 40,
        message: 3,
        ..Bounds::default()
    };
    let wants = Wants {
        command: true,
        message: true,
        ..Wants::default()
    };
    let (client, server, _) = run(
        Protocol::Imap,
        wants,
        bounds,
        keep,
        &[
            (S, "a1 OK\r\n"),
            (C, "a2 APPEND {4}\r\n"),
            (C, "Sent (\\Seen) {6}\r\n"),
            (S, "+ name\r\n"),
            (S, "+ message\r\n"),
            (C, "abcdef\r\na3 SEARCH TEXT {2}\r\n"),
            (C, "ab SUBJECT {50}\r\n"),
            (S, "a2 OK\r\n+ first\r\n"),
            (S, "+ second\r\n"),
            (C, "12345678901234567890123456789012345678901234567890\r\n"),
            (S, "a3 OK\r\n"),
        ],
        usize::MAX,
    );
    assert_eq!(
        server,
        "a2 APPEND {4}\r\nSent (\\Seen) {6}\r\nabcdef\r\na3 SEARCH TEXT {2}\r\nab SUBJECT {50}\r\n\
         12345678901234567890123456789012345678901234567890\r\n"
    );
    assert_eq!(
        client,
        "a1 OK\r\n+ Ready\r\n+ message\r\n+ Ready\r\na2 OK\r\n+ second\r\na3 OK\r\n"
    );
}

fn answer(kind: &str, text: &[u8]) -> Change {
    let text = String::from_utf8_lossy(text);
    match kind {
        "command" if text.contains("APPEND") => Change::Drop(Some(b"OK pretended".to_vec())),
        "command" if text.contains("STAT") => Change::Drop(Some(b"+OK 0 0".to_vec())),
        "command" if text.contains("VRFY") => Change::Drop(Some(b"252 perhaps".to_vec())),
        "message" => Change::Drop(None),
        _ => Change::Keep,
    }
}

#[test]
fn dropped_commands_and_messages_are_answered_in_their_turn() {
    let imap = &[
        (S, "a1 OK\r\n"),
        (C, "a2 APPEND Sent {5+}\r\nhello\r\na3 NOOP\r\n"),
        (S, "a3 OK\r\n"),
    ];
    let (client, server, _) = at_any_size(Protocol::Imap, ALL, Bounds::default(), answer, imap);
    assert_eq!(client, "a1 OK\r\na2 OK pretended\r\na3 OK\r\n");
    assert_eq!(server, "a3 NOOP\r\n");

    let pop = &[
        (S, "+OK\r\n"),
        (C, "NOOP\r\nSTAT\r\nNOOP\r\n"),
        (S, "+OK 1\r\n+OK 3\r\n"),
    ];
    let (client, server, _) = at_any_size(Protocol::Pop, ALL, Bounds::default(), answer, pop);
    assert_eq!(client, "+OK\r\n+OK 1\r\n+OK 0 0\r\n+OK 3\r\n");
    assert_eq!(server, "NOOP\r\nNOOP\r\n");

    let smtp = &[
        (S, "235 ok\r\n"),
        (
            C,
            "NOOP\r\nVRFY x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        ),
        (S, "250 noop\r\n250 m\r\n250 r\r\n"),
        (C, "A: b\r\n\r\n.\r\nQUIT\r\n"),
        (S, "250 reset\r\n221 bye\r\n"),
    ];
    let (client, server, _) = at_any_size(Protocol::Smtp, ALL, Bounds::default(), answer, smtp);
    assert_eq!(
        client,
        "235 ok\r\n250 noop\r\n252 perhaps\r\n250 m\r\n250 r\r\n354 Start mail input; end with <CRLF>.<CRLF>\r\n\
         250 2.0.0 Ok\r\n221 bye\r\n"
    );
    assert!(
        server.ends_with("RCPT TO:<c@d>\r\nRSET\r\nQUIT\r\n"),
        "{server}"
    );
}

#[test]
fn what_is_too_long_passes_with_its_header_changed() {
    let bounds = Bounds {
        unit: 100,
        header: 50,
        message: 60,
    };
    let body = "x".repeat(100);
    let long = format!("A: b\r\n\r\n{body}");
    let fetched = format!("* 1 FETCH (BODY[] {{{}}}\r\n{long} UID 7)\r\n", long.len());
    let appended = format!("a2 APPEND Sent {{{}+}}\r\n{long}\r\n", long.len());
    let search = format!(
        "a3 SEARCH TEXT {{200+}}\r\n{}\r\na4 {}\r\n",
        "y".repeat(200),
        "z".repeat(300)
    );
    let dialogue = [
        (S, "a1 OK\r\n"),
        (C, &appended),
        (C, &search),
        (S, &fetched),
    ];
    let (client, server, seen) =
        at_any_size(Protocol::Imap, ALL, bounds, change_messages, &dialogue);
    let new = format!("X: y\r\n{long}");
    assert_eq!(
        client,
        format!(
            "a1 OK\r\n* 1 FETCH (BODY[] {{{}}}\r\n{new} UID 7)\r\n",
            new.len()
        )
    );
    assert_eq!(
        server,
        format!("a2 APPEND Sent {{{}+}}\r\n{new}\r\n{search}", new.len())
    );
    assert_eq!(
        seen.iter().filter(|line| *line == "unseen message").count(),
        2
    );

    let retrieved = format!("+OK\r\n{long}\r\n.\r\n");
    let dialogue = [(S, "+OK\r\n"), (C, "RETR 1\r\n"), (S, &*retrieved)];
    let (client, ..) = at_any_size(Protocol::Pop, ALL, bounds, change_messages, &dialogue);
    assert_eq!(client, format!("+OK\r\n+OK\r\n{new}\r\n.\r\n"));

    let data = format!("{long}\r\n.\r\n");
    let piece = format!("BDAT {} LAST\r\n{long}", long.len());
    let dialogue = [
        (S, "235 ok\r\n"),
        (C, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"),
        (S, "250 m\r\n250 r\r\n"),
        (C, "DATA\r\n"),
        (C, &data),
        (S, "354 go\r\n"),
        (S, "250 done\r\n"),
        (C, &piece),
    ];
    let (client, server, _) = run(
        Protocol::Smtp,
        ALL,
        bounds,
        change_messages,
        &dialogue,
        usize::MAX,
    );
    assert!(client.ends_with("<CRLF>\r\n250 done\r\n"), "{client}");
    assert!(
        server.contains(&format!("DATA\r\n{new}\r\n.\r\nBDAT ")),
        "{server}"
    );
    assert!(server.contains("X: y\r\nA: b"), "{server}");
}

#[test]
fn the_units_own_commands_are_answered_to_them_alone() {
    fn asks(kind: &str, text: &[u8]) -> Change {
        match kind {
            "command" if text.starts_with(b"a2") => Change::Drop(Some(b"own x1 NOOP\r\n".to_vec())),
            "command" if text.starts_with(b"STAT") => Change::Drop(Some(b"own LIST\r\n".to_vec())),
            _ => Change::Keep,
        }
    }
    let imap = &[
        (S, "a1 OK\r\n"),
        (C, "a2 NOOP\r\n"),
        (S, "x1 OK mine\r\na2 OK\r\n"),
    ];
    let (client, server, seen) = at_any_size(Protocol::Imap, ALL, Bounds::default(), asks, imap);
    assert_eq!(server, "x1 NOOP\r\na2 NOOP\r\n");
    assert_eq!(client, "a1 OK\r\na2 OK\r\n");
    assert!(
        seen.contains(&"response own NOOP: x1 OK mine|".to_owned()),
        "{seen:#?}"
    );
    let pop = &[
        (S, "+OK\r\n"),
        (C, "STAT\r\n"),
        (S, "+OK\r\n1 5\r\n.\r\n+OK 1 5\r\n"),
    ];
    let (client, server, seen) = at_any_size(Protocol::Pop, ALL, Bounds::default(), asks, pop);
    assert_eq!(server, "LIST\r\nSTAT\r\n");
    assert_eq!(client, "+OK\r\n+OK 1 5\r\n");
    assert!(
        seen.contains(&"response own LIST: +OK|1 5|.|".to_owned()),
        "{seen:#?}"
    );
}

/// RFC 5321 §4.1.1.4: only CRLF begins a line, so that a dot behind a bare LF is text. Behind a changed header, which ends in
/// CRLF, it would be the end of the message, and what follows would be commands.
#[test]
fn a_dot_behind_a_bare_newline_stays_text() {
    let change = |kind: &str, _: &[u8]| match kind {
        "header" => Change::Replace(b"X: y\r\n\r\n".to_vec()),
        _ => Change::Keep,
    };
    let wants = Wants {
        header: true,
        ..Wants::default()
    };
    let dialogue = &[
        (S, "235 ok\r\n"),
        (C, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"),
        (S, "250 ok\r\n250 ok\r\n"),
        (C, "DATA\r\n"),
        (C, "A: b\n\n.\r\nMAIL FROM:<evil@b>\r\n.\r\n"),
        (S, "354 go on\r\n"),
        (S, "250 queued\r\n"),
    ];
    let (_, server, _) = at_any_size(Protocol::Smtp, wants, Bounds::default(), change, dialogue);
    assert!(
        server.ends_with("DATA\r\nX: y\r\n\r\n..\r\nMAIL FROM:<evil@b>\r\n.\r\n"),
        "{server}"
    );
}
