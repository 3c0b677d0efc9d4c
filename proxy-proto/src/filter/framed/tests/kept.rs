//! What units keep or do not want, and what the framers themselves answer or refuse on the way.

use super::*;

fn of(dialogue: &[(Side, &str)], from: Side) -> String {
    let texts = dialogue.iter().filter(|(side, _)| *side == from);
    texts.map(|(_, text)| *text).collect()
}

#[test]
fn who_wants_nothing_changes_nothing() {
    for (protocol, dialogue) in [
        (Protocol::Imap, IMAP),
        (Protocol::Pop, POP),
        (Protocol::Smtp, SMTP),
    ] {
        let (client, server, _) = at_any_size(
            protocol,
            Wants::default(),
            Bounds::default(),
            keep,
            dialogue,
        );
        assert_eq!(client, of(dialogue, S));
        assert_eq!(server, of(dialogue, C));
    }
}

#[test]
fn who_keeps_everything_changes_nothing() {
    let (client, server, seen) = at_any_size(Protocol::Imap, ALL, Bounds::default(), keep, IMAP);
    assert_eq!(client, of(IMAP, S));
    assert_eq!(server, of(IMAP, C));
    let expected = [
        "response LOGIN: a1 OK [CAPABILITY X] Logged in {5}|",
        "command UID FETCH: a4 UID FETCH 1 BODY[1]<0.5>|",
        "header FETCHBODY[]: Subject: x||",
        "message FETCH: Subject: x||hi {3}||",
        "part BODY[HEADER.FIELDS (A B)]: |",
        "part BODY[1]<0>: hello",
        "command DONE: DONE|",
        "command SEARCH: a6 SEARCH TEXT {3+}|abc|",
        "command APPEND: a8 APPEND Sent (\\Seen) {14+}|",
        "message APPEND: A: b||body|",
        "response -: * 1 FETCH (FLAGS (\\Seen) BODY[] {24}|Subject: x||hi {3}|| UID 7)|",
        "response UID FETCH: a4 OK|",
    ];
    for one in expected {
        assert!(
            seen.iter().any(|line| line == one),
            "{one} is not in {seen:#?}"
        );
    }

    let (client, server, seen) = at_any_size(Protocol::Pop, ALL, Bounds::default(), keep, POP);
    assert_eq!(client, of(POP, S));
    assert_eq!(server, of(POP, C));
    for one in [
        "response LOGIN: +OK logged in|",
        "response LIST: +OK|1 5|.|",
        "response RETR: +OK 5 octets|",
        "header RETR: A: b||",
        "message RETR: A: b||.dot|x.|",
        "header TOP: A: b||",
        "response RETR: -ERR|",
    ] {
        assert!(
            seen.iter().any(|line| line == one),
            "{one} is not in {seen:#?}"
        );
    }
}

#[test]
fn smtp_speaks_for_the_server_where_it_must() {
    let (client, server, seen) = run(
        Protocol::Smtp,
        ALL,
        Bounds::default(),
        keep,
        &[
            (S, "235 ok\r\n"),
            (
                C,
                "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n",
            ),
            (S, "250 m\r\n250 r\r\n550 no\r\n"),
            (C, "A: b\r\n\r\n..dot\r\n.\r\n"),
            (S, "354 go\r\n"),
            (S, "250 done\r\n"),
            (C, "RSET\r\n"),
            (S, "250 reset\r\n"),
            // Nobody to send it to: the server says so itself.
            (C, "DATA\r\n"),
            (S, "503 first RCPT\r\n"),
            (C, "NOOP\r\n"),
            (S, "250 noop\r\n"),
        ],
        usize::MAX,
    );
    assert_eq!(
        client,
        "235 ok\r\n250 m\r\n250 r\r\n550 no\r\n354 Start mail input; end with <CRLF>.<CRLF>\r\n\
         250 done\r\n250 reset\r\n503 first RCPT\r\n250 noop\r\n"
    );
    assert_eq!(
        server,
        "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\nA: b\r\n\r\n..dot\r\n.\r\nRSET\r\nDATA\r\nNOOP\r\n"
    );
    assert!(
        seen.contains(&"message DATA: A: b||.dot|".to_owned()),
        "{seen:#?}"
    );
    assert!(
        seen.contains(&"response DATA: 250 done|".to_owned()),
        "{seen:#?}"
    );
}

#[test]
fn a_refusal_of_data_answers_the_message() {
    let (client, server, _) = run(
        Protocol::Smtp,
        ALL,
        Bounds::default(),
        keep,
        &[
            (S, "235 ok\r\n"),
            (C, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
            (S, "250 m\r\n250 r\r\n"),
            (C, "A: b\r\n\r\n.\r\n"),
            (S, "451 later\r\n"),
            (C, "QUIT\r\n"),
            (S, "221 bye\r\n"),
        ],
        usize::MAX,
    );
    assert!(
        client
            .ends_with("354 Start mail input; end with <CRLF>.<CRLF>\r\n451 later\r\n221 bye\r\n"),
        "{client}"
    );
    assert!(server.ends_with("DATA\r\nQUIT\r\n"), "{server}");
}

#[test]
fn compression_is_refused() {
    let dialogue = &[(S, "a1 OK\r\n"), (C, "a2 COMPRESS DEFLATE\r\na3 NOOP\r\n")];
    let (client, server, _) = at_any_size(Protocol::Imap, ALL, Bounds::default(), keep, dialogue);
    assert_eq!(server, "a3 NOOP\r\n");
    assert!(client.contains("a2 NO [CANNOT]"), "{client}");
}

/// RFC 3501 §7.5: the client of a refused literal does not send it; what it sends next is a command.
#[test]
fn the_octets_of_a_refused_literal_are_not_waited_for() {
    let commands_and_responses = Wants {
        command: true,
        response: true,
        ..Wants::default()
    };
    let responses = Wants {
        response: true,
        ..Wants::default()
    };
    let dialogue = &[
        (S, "a1 OK\r\n"),
        (C, "a2 APPEND x {900000}\r\n"),
        (S, "a2 NO [OVERQUOTA] full\r\n"),
        (C, "a3 NOOP\r\n"),
        (S, "a3 OK\r\n"),
        (C, "a4 LIST \"\" {1+}\r\n%\r\na5 NOOP\r\n"),
        (S, "a4 OK\r\na5 OK\r\n"),
    ];
    for wants in [commands_and_responses, responses, Wants::default()] {
        let bounds = Bounds {
            unit: 64,
            message: 128,
            ..Bounds::default()
        };
        let (_, server, seen) = at_any_size(Protocol::Imap, wants, bounds, keep, dialogue);
        assert_eq!(server, of(dialogue, C));
        if wants.command {
            assert!(seen.contains(&"command NOOP: a3 NOOP|".to_owned()));
        }
        if wants.response {
            let expected = "response NOOP: a3 OK|".to_owned();
            assert!(seen.contains(&expected), "{seen:#?}");
        }
    }
}

/// The client has been asked for the first literal by the framer, and for the second one by nobody when the server refuses.
#[test]
fn a_command_that_is_refused_half_way_is_over() {
    let long = "x".repeat(80);
    let half = format!("{long} {{5}}\r\n");
    let dialogue = &[
        (S, "a1 OK\r\n"),
        (C, "a2 SEARCH {3}\r\n"),
        (C, "abc "),
        (C, &half),
        (S, "a2 NO no\r\n"),
        (C, "a3 NOOP\r\n"),
        (S, "a3 OK\r\n"),
    ];
    let bounds = Bounds {
        unit: 64,
        ..Bounds::default()
    };
    let (client, server, _) = at_any_size(Protocol::Imap, ALL, bounds, keep, dialogue);
    assert_eq!(client, "a1 OK\r\n+ Ready\r\na2 NO no\r\na3 OK\r\n");
    assert_eq!(server, "a2 SEARCH {3}\r\na3 NOOP\r\n");
}
