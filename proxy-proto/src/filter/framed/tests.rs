//! Dialogues through units that note what they see: `kept` is what passes as it came, `changed` what does not.

mod changed;
mod kept;

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

pub(super) fn change_messages(kind: &str, text: &[u8]) -> Change {
    match kind {
        "header" => Change::Replace([b"X: y\r\n", text].concat()),
        "message" => Change::Replace([text, b".new\r\n"].concat()),
        "part" => Change::Replace(text.to_ascii_uppercase()),
        _ => Change::Keep,
    }
}
