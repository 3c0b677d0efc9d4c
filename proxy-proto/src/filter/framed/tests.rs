use super::*;
use crate::filter::Chain;
use std::sync::{Arc, Mutex};

/// What is done with a unit of this kind.
type Act = dyn FnMut(&str, &[u8]) -> Change + Send;

/// Notes what it is given and does what it is told.
struct Scripted {
    wants: Wants,
    seen: Arc<Mutex<Vec<String>>>,
    act: Box<Act>,
    sent: Vec<(Side, Vec<u8>)>,
}

pub(super) const ALL: Wants = Wants {
    command: true,
    response: true,
    header: true,
    message: true,
    part: true,
};

impl Scripted {
    fn ask(&mut self, kind: &str, name: &str, text: &[u8]) -> Change {
        let shown = String::from_utf8_lossy(text).replace("\r\n", "|");
        self.seen
            .lock()
            .unwrap()
            .push(format!("{kind} {name}: {shown}"));
        (self.act)(kind, text)
    }
}

impl Units for Scripted {
    fn wants(&self) -> Wants {
        self.wants
    }
    fn command(&mut self, text: &[u8], about: &Command) -> Result<Change, Failed> {
        let change = self.ask("command", &about.name, text);
        if let Change::Drop(Some(own)) = &change
            && own.starts_with(b"own ")
        {
            self.sent.push((Side::Server, own[4..].to_vec()));
            return Ok(Change::Keep);
        }
        Ok(change)
    }
    fn response(&mut self, text: &[u8], about: &Response) -> Result<Change, Failed> {
        let name = about.command.clone().unwrap_or_else(|| "-".into());
        let own = if about.own { "own " } else { "" };
        Ok(self.ask("response", &format!("{own}{name}"), text))
    }
    fn header(&mut self, text: &[u8], about: &Message) -> Result<Option<Vec<u8>>, Failed> {
        let section = about.section.clone().unwrap_or_default();
        Ok(
            match self.ask("header", &format!("{}{section}", about.command), text) {
                Change::Replace(text) => Some(text),
                _ => None,
            },
        )
    }
    fn message(&mut self, text: &[u8], about: &Message) -> Result<Change, Failed> {
        Ok(self.ask("message", about.command, text))
    }
    fn part(&mut self, text: &[u8], about: &Message) -> Result<Option<Vec<u8>>, Failed> {
        let section = about.section.clone().unwrap_or_default();
        Ok(match self.ask("part", &section, text) {
            Change::Replace(text) => Some(text),
            _ => None,
        })
    }
    fn passes_unseen(&mut self, what: &str, _: &Message) {
        self.seen.lock().unwrap().push(format!("unseen {what}"));
    }
    fn sent(&mut self) -> Vec<(Side, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }
}

/// Bytes of each side in turn, fed in pieces of this size; what the client and the server get, and what was seen.
pub(super) fn run(
    protocol: Protocol,
    wants: Wants,
    bounds: Bounds,
    act: impl FnMut(&str, &[u8]) -> Change + Send + 'static,
    dialogue: &[(Side, &str)],
    size: usize,
) -> (String, String, Vec<String>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let units = Scripted {
        wants,
        seen: seen.clone(),
        act: Box::new(act),
        sent: Vec::new(),
    };
    let mut chain = Chain::new(vec![framed(protocol, Box::new(units), bounds)]);
    let mut out = [Vec::new(), Vec::new()];
    for (from, text) in dialogue {
        for piece in text.as_bytes().chunks(size) {
            chain
                .pass(*from, piece, &mut |to, bytes| {
                    out[usize::from(to == Side::Server)].extend_from_slice(bytes)
                })
                .unwrap();
        }
    }
    let [client, server] = out.map(|bytes| String::from_utf8(bytes).unwrap());
    drop(chain);
    let seen = seen.lock().unwrap().clone();
    (client, server, seen)
}

/// The same at every size of pieces.
pub(super) fn at_any_size(
    protocol: Protocol,
    wants: Wants,
    bounds: Bounds,
    act: fn(&str, &[u8]) -> Change,
    dialogue: &[(Side, &str)],
) -> (String, String, Vec<String>) {
    let whole = run(protocol, wants, bounds, act, dialogue, usize::MAX);
    for size in 1..70 {
        let cut = run(protocol, wants, bounds, act, dialogue, size);
        assert_eq!(cut.0, whole.0, "to the client, in pieces of {size}");
        assert_eq!(cut.1, whole.1, "to the server, in pieces of {size}");
        assert_eq!(cut.2, whole.2, "seen, in pieces of {size}");
    }
    whole
}

pub(super) fn keep(_: &str, _: &[u8]) -> Change {
    Change::Keep
}

pub(super) const C: Side = Side::Client;
pub(super) const S: Side = Side::Server;

const IMAP: &[(Side, &str)] = &[
    (
        S,
        "* CAPABILITY IMAP4rev1\r\na1 OK [CAPABILITY X] Logged in {5}\r\n",
    ),
    (C, "a2 SELECT INBOX\r\n"),
    (
        S,
        "* 3 EXISTS\r\n* OK [UIDVALIDITY 5] text\r\na2 OK done\r\n",
    ),
    (C, "a3 FETCH 1 (BODY[])\r\n"),
    (
        S,
        "* 1 FETCH (FLAGS (\\Seen) BODY[] {24}\r\nSubject: x\r\n\r\nhi {3}\r\n\r\n UID 7)\r\na3 OK\r\n",
    ),
    (C, "a4 UID FETCH 1 BODY[1]<0.5>\r\n"),
    (
        S,
        "* 1 FETCH (BODY[HEADER.FIELDS (A B)] {2}\r\n\r\n BODY[1]<0> {5}\r\nhello)\r\na4 OK\r\n",
    ),
    (C, "a5 IDLE\r\n"),
    (S, "+ idling\r\n* 4 EXISTS\r\n"),
    (C, "DONE\r\n"),
    (S, "a5 OK\r\n"),
    (C, "a6 SEARCH TEXT {3+}\r\nabc\r\na7 NOOP\r\n"),
    (S, "* SEARCH 1\r\na6 OK\r\na7 OK\r\n"),
    (
        C,
        "a8 APPEND Sent (\\Seen) {14+}\r\nA: b\r\n\r\nbody\r\n\r\n",
    ),
    (S, "a8 OK\r\n"),
    (C, "a9 LOGOUT\r\n"),
    (S, "* BYE\r\na9 OK\r\n"),
];

const POP: &[(Side, &str)] = &[
    (S, "+OK logged in\r\n"),
    (C, "STAT\r\nLIST\r\nLIST 1\r\nUIDL 7\r\n"),
    (S, "+OK 1 5\r\n+OK\r\n1 5\r\n.\r\n+OK 1 5\r\n-ERR none\r\n"),
    (C, "RETR 1\r\nTOP 1 0\r\nRETR 9\r\n"),
    (
        S,
        "+OK 5 octets\r\nA: b\r\n\r\n..dot\r\nx.\r\n.\r\n+OK\r\nA: b\r\n\r\n.\r\n-ERR\r\n",
    ),
    (C, "CAPA\r\nQUIT\r\n"),
    (S, "+OK\r\nTOP\r\n.\r\n+OK bye\r\n"),
];

const SMTP: &[(Side, &str)] = &[
    (S, "235 2.7.0 Ok\r\n"),
    (
        C,
        "MAIL FROM:<a@b> SIZE=5\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n",
    ),
    (S, "250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"),
    (C, "A: b\r\n\r\n..dot\r\nx.\r\n.\r\n"),
    (S, "250-two\r\n250 lines\r\n"),
    (C, "MAIL FROM:<>\r\n"),
    (S, "250 ok\r\n"),
    (C, "BDAT 6\r\nA: b\r\nBDAT 4 LAST\r\n\r\nhi"),
    (S, "250 ok\r\n250 ok\r\n"),
    (C, "QUIT\r\n"),
    (S, "221 bye\r\n"),
];

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

pub(super) fn change_messages(kind: &str, text: &[u8]) -> Change {
    match kind {
        "header" => Change::Replace([b"X: y\r\n", text].concat()),
        "message" => Change::Replace([text, b".new\r\n"].concat()),
        "part" => Change::Replace(text.to_ascii_uppercase()),
        _ => Change::Keep,
    }
}

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

#[test]
fn compression_is_refused() {
    let dialogue = &[(S, "a1 OK\r\n"), (C, "a2 COMPRESS DEFLATE\r\na3 NOOP\r\n")];
    let (client, server, _) = at_any_size(Protocol::Imap, ALL, Bounds::default(), keep, dialogue);
    assert_eq!(server, "a3 NOOP\r\n");
    assert!(client.contains("a2 NO [CANNOT]"), "{client}");
}
