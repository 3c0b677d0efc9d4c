//! Units that are too long, or never end.

use super::{
    tests::{ALL, C, S, at_any_size, change_messages, keep},
    *,
};
use crate::filter::Chain;

const NONE: Wants = Wants {
    command: false,
    response: false,
    header: false,
    message: false,
    part: false,
};

/// Units of eight octets at most.
const SHORT: Bounds = Bounds {
    unit: 8,
    header: 12,
    message: 16,
};

#[test]
fn long_commands_and_replies_pass_as_they_are() {
    let wants = Wants {
        command: true,
        response: true,
        ..NONE
    };
    for (protocol, client, server) in [
        (
            Protocol::Pop,
            "RETR 1 and so on\r\nLIST\r\nTOP 1 0\r\n",
            "+OK\r\n-ERR too long a line\r\n+OK\r\n1 100000\r\n2 100000\r\n.\r\n+OK\r\n..\r\n.\r\n",
        ),
        (
            Protocol::Smtp,
            "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nNOOP\r\n",
            "235 welcome to all\r\n250-sender\r\n250-ok\r\n250 ok\r\n550 too long a line\r\n250 ok\r\n",
        ),
        (
            Protocol::Imap,
            "a2 SEARCH TEXT {5+}\r\nhello\r\na3 NOOP\r\n",
            "a1 OK welcome to all\r\n* SEARCH 1 2 3 4 5\r\na2 OK done\r\na3 OK\r\n",
        ),
    ] {
        let dialogue = [
            (S, &server[..server.find('\n').unwrap() + 1]),
            (C, client),
            (S, &server[server.find('\n').unwrap() + 1..]),
        ];
        let (to_client, to_server, _) = at_any_size(protocol, wants, SHORT, keep, &dialogue);
        assert_eq!(to_client, server);
        assert_eq!(to_server, client);
    }
}

/// Pieces of BDAT that are more than a message may be go on as they come, behind what was collected; the header is changed.
#[test]
fn long_messages_in_pieces_pass_with_their_header_changed() {
    let bounds = Bounds { unit: 64, ..SHORT };
    for wants in [
        ALL,
        Wants {
            header: true,
            ..NONE
        },
    ] {
        let dialogue = [
            (S, "235 ok\r\n"),
            (C, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"),
            (S, "250 ok\r\n250 ok\r\n"),
            (C, "BDAT 8\r\nA: b\r\n\r\nBDAT 20\r\nfirst piece of text "),
            (S, "250 ok\r\n250 ok\r\n"),
            (C, "BDAT 4 LAST\r\nend."),
            (S, "250 queued\r\n250 queued\r\n"),
            (C, "QUIT\r\n"),
            (S, "221 bye\r\n"),
        ];
        let (to_client, to_server, _) = super::tests::run(
            Protocol::Smtp,
            wants,
            bounds,
            change_messages,
            &dialogue,
            usize::MAX,
        );
        let mut content = String::new();
        let mut rest = &to_server[to_server.find("BDAT").unwrap()..];
        while let Some(piece) = rest.strip_prefix("BDAT ") {
            let (size, behind) = piece.split_once("\r\n").unwrap();
            let size: usize = size.split(' ').next().unwrap().parse().unwrap();
            content.push_str(&behind[..size]);
            rest = behind[size..].trim_start_matches("\r\n");
        }
        assert_eq!(content, "X: y\r\nA: b\r\n\r\nfirst piece of text end.");
        assert!(to_client.contains("250 queued\r\n"), "{to_client}");
    }
}

/// The answer stands for a message that was dropped, and the server is told to forget its envelope.
#[test]
fn messages_in_pieces_are_dropped() {
    let drop = |kind: &str, _: &[u8]| match kind {
        "message" => Change::Drop(Some(b"554 5.7.1 not today".to_vec())),
        _ => Change::Keep,
    };
    let dialogue = [
        (S, "235 ok\r\n"),
        (C, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"),
        (S, "250 ok\r\n250 ok\r\n"),
        (C, "BDAT 6\r\nA: b\r\nBDAT 4 LAST\r\n\r\nhi"),
        (S, "250 reset\r\n"),
        (C, "NOOP\r\n"),
        (S, "250 noop\r\n"),
    ];
    let (to_client, to_server, _) =
        at_any_size(Protocol::Smtp, ALL, Bounds::default(), drop, &dialogue);
    assert!(to_client.contains("554 5.7.1 not today\r\n"), "{to_client}");
    assert!(to_client.ends_with("250 noop\r\n"), "{to_client}");
    assert_eq!(
        to_server,
        "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRSET\r\nNOOP\r\n"
    );
}

/// Whoever leaves in the middle of something has said what he has said.
#[test]
fn what_is_held_is_let_go_at_the_end() {
    for (protocol, client, server) in [
        (Protocol::Imap, "a2 NO", "a1 OK\r\n* 1 EXI"),
        (
            Protocol::Imap,
            "a2 FETCH 1 BODY[]\r\n",
            "a1 OK\r\n* 1 FETCH (BODY[] {20}\r\nSubject: x",
        ),
        (Protocol::Imap, "a2 APPEND x {20+}\r\nSubject", "a1 OK\r\n"),
        (Protocol::Pop, "LI", "+O"),
        (Protocol::Pop, "LIST\r\n", "+OK\r\n+OK\r\n1 5\r\n"),
        (
            Protocol::Pop,
            "RETR 1\r\n",
            "+OK\r\n+OK\r\nSubject: x\r\n\r\nte",
        ),
        (Protocol::Smtp, "NO", "235 ok\r\n250-on"),
    ] {
        for wants in [ALL, NONE] {
            let units = Box::new(Kept(wants));
            let mut chain = Chain::new(vec![framed(protocol, units, Bounds::default())]);
            let mut out = [Vec::new(), Vec::new()];
            let mut sink = |to: Side, bytes: &[u8]| {
                out[usize::from(to == Side::Server)].extend_from_slice(bytes)
            };
            let first = server.find('\n').map_or(0, |at| at + 1);
            chain
                .pass(S, &server.as_bytes()[..first], &mut sink)
                .unwrap();
            chain.pass(C, client.as_bytes(), &mut sink).unwrap();
            chain
                .pass(S, &server.as_bytes()[first..], &mut sink)
                .unwrap();
            chain.end(C, &mut sink).unwrap();
            chain.end(S, &mut sink).unwrap();
            let [to_client, to_server] = out.map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(to_client, server, "{client:?}");
            // A message that never ended must not look like one that did, so an upload may be missing.
            assert!(
                client.starts_with(&to_server),
                "{to_server:?} of {client:?}"
            );
        }
    }
}

/// Wants these, and keeps them.
struct Kept(Wants);

impl Units for Kept {
    fn wants(&self) -> Wants {
        self.0
    }
}

/// `+OK n octets` says what length the message has that follows.
#[test]
fn pop_sizes_follow_changed_messages() {
    let status = |wants: Wants, bounds: Bounds, status: &str, body: &str| {
        let retrieved = format!("{status}\r\n{body}.\r\n");
        let dialogue = [
            (Side::Server, "+OK\r\n"),
            (Side::Client, "RETR 1\r\nQUIT\r\n"),
            (Side::Server, &*retrieved),
            (Side::Server, "+OK 5 bye\r\n"),
        ];
        let act = |kind: &str, text: &[u8]| match kind {
            // A line more, whose dot is doubled on its way; and a shorter one.
            "header" => Change::Replace([b".x: y\r\n", text].concat()),
            "message" => Change::Replace(
                String::from_utf8_lossy(text)
                    .replace("long", "")
                    .into_bytes(),
            ),
            _ => Change::Keep,
        };
        let (client, ..) = at_any_size(Protocol::Pop, wants, bounds, act, &dialogue);
        let client = client.strip_prefix("+OK\r\n").unwrap();
        let client = client.strip_suffix("+OK 5 bye\r\n").unwrap();
        let (line, text) = client.split_once("\r\n").unwrap();
        let octets = text
            .strip_suffix(".\r\n")
            .unwrap()
            .replace("\r\n..", "\r\n.");
        (
            line.to_owned(),
            octets.strip_prefix('.').map_or(octets.len(), str::len),
        )
    };
    let body = "A: b\r\n\r\n..a long line\r\n";
    let given = body.len() - 1;
    let only = |header, message| Wants {
        header,
        message,
        ..Wants::default()
    };
    for (wants, grown) in [
        (only(true, true), 7 - 4),
        (only(true, false), 7),
        (only(false, true), -4),
    ] {
        let size = given.checked_add_signed(grown).unwrap();
        let (line, real) = status(
            wants,
            Bounds::default(),
            &format!("+OK {given} octets"),
            body,
        );
        assert_eq!(line, format!("+OK {size} octets"));
        assert_eq!(real, size);
    }
    // Too long to be looked at: all of it stays.
    let bounds = Bounds {
        message: 10,
        ..Bounds::default()
    };
    let (line, real) = status(
        only(false, true),
        bounds,
        &format!("+OK {given} octets"),
        body,
    );
    assert_eq!((line, real), (format!("+OK {given} octets"), given));
    // Where no size stands there is none to correct.
    for text in [
        "+OK",
        "+OK message follows",
        "+OK 3rd message",
        "+OK 99999999999999999999 octets",
    ] {
        assert_eq!(status(ALL, Bounds::default(), text, body).0, text);
    }
}
