//! Filters of whole units, in front of peers that say anything.
//!
//! The header's third byte chooses which units are wanted and what becomes of them; small bounds are those of its second
//! byte. Every dialogue is passed whole and in pieces.

use super::format::{Call, Canaries, Header, Part, read, speaker, write};
use crate::transcript::{Input, Transcript};
use proxy_proto::{
    Protocol, SessionConfig, Side,
    filter::{Bounds, Chain, Change, Command, Failed, Message, Response, Units, Wants, framed},
};

const COMMANDS: u8 = 1;
const RESPONSES: u8 = 2;
const HEADERS: u8 = 4;
const MESSAGES: u8 = 8;
const PARTS: u8 = 16;

/// What becomes of units: three bits above those.
const FATES: u8 = 32;

/// What is read at once in the run that is not cut. What filters put out for one piece is bounded: pieces of any size would
/// exceed that where smaller ones do not.
const READ: usize = 4096;

/// A unit with what is done to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Replace,
    Drop,
    Answer,
}

/// Does the same to every unit, and looks at what it is given.
struct Same {
    protocol: Protocol,
    bounds: Bounds,
    wants: Wants,
    fate: Fate,
    /// Says something itself, with each command.
    talks: bool,
    said: Vec<(Side, Vec<u8>)>,
}

impl Same {
    fn change(&self, text: &[u8], answer: &[u8]) -> Change {
        match self.fate {
            Fate::Keep => Change::Keep,
            Fate::Replace => Change::Replace(text.to_vec()),
            Fate::Drop => Change::Drop(None),
            Fate::Answer => Change::Drop(Some(answer.to_vec())),
        }
    }

    fn replaced(&self, text: &[u8]) -> Option<Vec<u8>> {
        (self.fate != Fate::Keep).then(|| [text, b"changed\r\n"].concat())
    }
}

impl Units for Same {
    fn wants(&self) -> Wants {
        self.wants
    }

    fn command(&mut self, text: &[u8], about: &Command) -> Result<Change, Failed> {
        // The line behind the last literal may be as long again.
        assert!(text.len() <= 2 * self.bounds.unit && text.ends_with(b"\n"));
        if self.talks {
            let own: &[u8] = match self.protocol {
                Protocol::Imap => b"own NOOP\r\n",
                _ => b"NOOP\r\n",
            };
            self.said.push((Side::Server, own.to_vec()));
        }
        let answer: &[u8] = match (self.protocol, &*about.name) {
            (Protocol::Smtp, "DATA") => b"354 go on",
            (Protocol::Smtp, _) => b"250 2.0.0 Ok",
            (Protocol::Pop, _) => b"+OK",
            (Protocol::Imap, _) => b"OK done",
        };
        Ok(self.change(text, answer))
    }

    fn response(&mut self, text: &[u8], _: &Response) -> Result<Change, Failed> {
        assert!(text.len() <= self.bounds.unit && text.ends_with(b"\n"));
        Ok(self.change(text, b""))
    }

    fn header(&mut self, text: &[u8], _: &Message) -> Result<Option<Vec<u8>>, Failed> {
        assert!(text.len() <= self.bounds.header);
        Ok(self.replaced(text))
    }

    fn message(&mut self, text: &[u8], about: &Message) -> Result<Change, Failed> {
        // A changed header may have made it longer.
        assert!(text.len() <= self.bounds.message + 9);
        assert!(self.wants.header || about.size.is_none_or(|size| size == text.len()));
        Ok(match self.replaced(text) {
            Some(text) if self.fate == Fate::Replace => Change::Replace(text),
            _ => self.change(text, b"550 5.7.1 no"),
        })
    }

    fn part(&mut self, text: &[u8], about: &Message) -> Result<Option<Vec<u8>>, Failed> {
        assert!(text.len() <= self.bounds.message);
        assert!(about.size.is_none_or(|size| size == text.len()));
        Ok(self.replaced(text))
    }

    fn sent(&mut self) -> Vec<(Side, Vec<u8>)> {
        std::mem::take(&mut self.said)
    }
}

/// Passes the dialogue through a filter of units, whole and in pieces.
pub(super) fn framers(data: &[u8]) {
    let Some((header, body)) = Header::read(data) else {
        return;
    };
    let Some(parts) = read(body, &mut Canaries::default()) else {
        return;
    };
    let whole = pass(&header, &parts, READ);
    let cut = pass(&header, &parts, header.chunk);
    // A filter may give up, and then at the same place.
    assert_eq!(whole.failed, cut.failed);
    // The pieces of a message that turns out to be too long go on in other sizes: what has come by then is one, the rest another.
    let in_pieces = header.config.protocol == Protocol::Smtp
        && parts.iter().any(|part| match part {
            Part::Says(Side::Client, bytes) => has_word(bytes, b"BDAT"),
            _ => false,
        });
    if !whole.failed && !in_pieces {
        for (side, whole, cut) in [
            ("client", &whole.to_client, &cut.to_client),
            ("server", &whole.to_server, &cut.to_server),
        ] {
            // What the filter says itself it says between two responses, and which ones these are depends on when what came.
            assert!(
                lines(whole) == lines(cut),
                "the {side} gets {:?}, and in pieces {:?}",
                whole.escape_ascii().to_string(),
                cut.escape_ascii().to_string()
            );
        }
    }
}

/// Whether it occurs, in whatever case; `word` is in upper case.
fn has_word(bytes: &[u8], word: &[u8]) -> bool {
    let bytes = bytes.to_ascii_uppercase();
    bytes.windows(word.len()).any(|it| it == word)
}

/// The lines, in an order that is the same wherever they stood.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    lines.sort_unstable();
    lines
}

#[derive(Default)]
struct Passed {
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    failed: bool,
}

fn pass(header: &Header, parts: &[Part], chunk: usize) -> Passed {
    let has = |bit: u8| header.extra & bit != 0;
    let protocol = header.config.protocol;
    let small = header.config.limits.line < 1000;
    let bounds = match small {
        true => Bounds {
            unit: 64,
            header: 64,
            message: 128,
        },
        false => Bounds::default(),
    };
    let wants = Wants {
        command: has(COMMANDS),
        response: has(RESPONSES),
        header: has(HEADERS),
        message: has(MESSAGES),
        part: has(PARTS),
    };
    let fates = [Fate::Keep, Fate::Replace, Fate::Drop, Fate::Answer];
    let fate = fates[usize::from(header.extra / FATES % 4)];
    let units = Same {
        protocol,
        bounds,
        wants,
        fate,
        talks: has(128),
        said: Vec::new(),
    };
    let mut chain = Chain::new(vec![framed(protocol, Box::new(units), bounds)]);
    let mut passed = Passed::default();
    let mut said = [Vec::new(), Vec::new()];
    let mut ended = [false, false];
    // In the end both leave, so that what is held comes out, however far each cut had passed the unfinished.
    let leave = [Side::Client, Side::Server].map(|side| Part::Call(Call::Eof(side)));
    for part in parts.iter().chain(&leave) {
        let result = match part {
            Part::Says(from, bytes) if !ended[usize::from(*from == Side::Client)] => {
                said[usize::from(*from == Side::Client)].extend_from_slice(bytes);
                bytes.chunks(chunk.max(1)).try_for_each(|piece| {
                    chain.pass(*from, piece, &mut |to, bytes| {
                        passed.take(to, bytes);
                    })
                })
            }
            Part::Call(Call::Eof(from)) if !ended[usize::from(*from == Side::Client)] => {
                ended[usize::from(*from == Side::Client)] = true;
                chain.end(*from, &mut |to, bytes| passed.take(to, bytes))
            }
            _ => Ok(()),
        };
        if result.is_err() {
            passed.failed = true;
            return passed;
        }
    }
    // Where nothing is changed, nothing is wanted that the filter speaks for the other side for: what comes out is the
    // beginning of what went in.
    let plain = !wants.header && !wants.message && !wants.part && fate == Fate::Keep && !has(128);
    let [server, client] = &said;
    // IMAP's commands may have literals, for which the filter asks; and compression it refuses.
    let asked = wants.command || has_word(client, b"COMPRESS");
    if plain && !(protocol == Protocol::Imap && asked) {
        assert!(server.starts_with(&passed.to_client));
        assert!(client.starts_with(&passed.to_server));
    }
    passed
}

impl Passed {
    fn take(&mut self, to: Side, bytes: &[u8]) {
        match to {
            Side::Client => self.to_client.extend_from_slice(bytes),
            Side::Server => self.to_server.extend_from_slice(bytes),
        }
    }
}

/// What both peers of a transcript say, with all units kept.
pub(super) fn seed(transcript: &Transcript) -> Vec<u8> {
    let all = COMMANDS | RESPONSES | HEADERS | MESSAGES | PARTS;
    let mut seed = Header::write(&transcript.config, 7, all).to_vec();
    for input in transcript.stages.iter().flat_map(|stage| &stage.inputs) {
        if let Input::Bytes(side, bytes) = input {
            seed.push(speaker(*side));
            write(bytes, &mut seed);
        }
    }
    seed
}

/// Dialogues after a login, each with several wishes.
pub(super) fn dialogues(protocol: Protocol) -> Vec<Vec<u8>> {
    let contents = HEADERS | MESSAGES | PARTS;
    let all = COMMANDS | RESPONSES | contents;
    let mut seeds = Vec::new();
    for dialogue in open(protocol) {
        for extra in [
            0,
            COMMANDS | RESPONSES,
            contents,
            all,
            all | FATES,
            all | (2 * FATES),
            all | (3 * FATES),
            all | 128,
            HEADERS,
            COMMANDS | (3 * FATES),
        ] {
            for (chunk, flag) in [(0, 0), (6, 2)] {
                let mut seed = Header::write(&SessionConfig::new(protocol), chunk, extra);
                seed[1] |= flag;
                seeds.push([&seed, *dialogue].concat());
            }
        }
    }
    seeds
}

fn open(protocol: Protocol) -> &'static [&'static [u8]] {
    match protocol {
        Protocol::Imap => &[
            b"\xffa1 UID FETCH 1:2 (UID BODY[] RFC822.SIZE)\r\n\xfe* 1 FETCH (UID 7 BODY[] {26}\r\nSubject: x\r\n\r\n.dot\r\nend\r\n FLAGS (\\Seen))\r\n* 2 FETCH (BODY[] NIL)\r\n* 3 EXISTS\r\na1 OK done\r\n",
            b"\xffa1 FETCH 1 (BODY[1] BODY[TEXT]<0> BODY[HEADER] BINARY[])\r\n\xfe* 1 FETCH (BODY[1] {3}\r\nabc BODY[TEXT]<0> \"a\\\"b\" BODY[HEADER] {8}\r\nA: b\r\n\r\n BINARY[] ~{5}\r\nA: b\n)\r\na1 OK\r\n",
            b"\xffa1 APPEND \"Sent\" (\\Seen) \"1-Jan-2024 00:00:00 +0000\" {14}\r\n\xfe+ go\r\n\xffSubject: x\r\n\r\n\r\n\xfea1 OK [APPENDUID 1 2] done\r\n",
            b"\xffa1 APPEND x {8+}\r\nA: b\r\n\r\n {3+}\r\nabc\r\na2 NOOP\r\n\xfea1 OK\r\na2 OK\r\n",
            b"\xffa1 SEARCH CHARSET UTF-8 TEXT {3}\r\nabc {2+}\r\nde\r\n\xfe+ \r\n+ \r\n* SEARCH 1 2\r\na1 OK\r\n",
            b"\xffa1 IDLE\r\n\xfe+ idling\r\n* 4 EXISTS\r\n\xffDONE\r\n\xfea1 OK\r\n\xffa2 COMPRESS DEFLATE\r\n\xfea2 NO\r\n",
            b"\xffa1 APPEND x {5}\r\n\xfea1 NO [TRYCREATE] no\r\n\xffa2 LIST \"\" {1}\r\n%\r\n\xfe+ ok\r\n* LIST () \"/\" {3}\r\na{1\r\na2 OK\r\n\xfdE\xfde",
        ],
        Protocol::Pop => &[
            b"\xffSTAT\r\n\xfe+OK 2 320\r\n\xffRETR 1\r\n\xfe+OK 26 octets\r\nSubject: x\r\n\r\n..dot\r\nend\r\n.\r\n\xffRETR 9\r\n\xfe-ERR no\r\n",
            b"\xffCAPA\r\nLIST\r\nUIDL\r\nLIST 1\r\n\xfe+OK\r\nTOP\r\n.\r\n+OK\r\n1 5\r\n.\r\n+OK\r\n1 a\r\n.\r\n+OK 1 5\r\n",
            b"\xffTOP 1 0\r\nRETR 1\r\nQUIT\r\n\xfe+OK\r\nA: b\r\n\r\n.\r\n+OK\r\nA: b\r\n\r\ntext\r\n.\r\n+OK bye\r\n\xfdE",
        ],
        Protocol::Smtp => &[
            b"\xffMAIL FROM:<a@b> SIZE=9\r\n\xfe250 ok\r\n\xffRCPT TO:<c@d>\r\n\xfe250 ok\r\n\xffDATA\r\n\xfe354 go\r\n\xffSubject: x\r\n\r\n..dot\r\n.\r\n\xfe250 ok\r\n\xffQUIT\r\n\xfe221 bye\r\n",
            b"\xffMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n\xfe250-one\r\n250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n\xffA: b\r\n\r\ntext\r\n.\r\n\xfe250 ok\r\n",
            b"\xffMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 4\r\nA: bBDAT 4\r\n\r\n\r\nBDAT 2 LAST\r\nxy\xfe250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
            b"\xffMAIL FROM:<a@b>\r\n\xfe250 ok\r\n\xffRCPT TO:<c@d>\r\n\xfe550 no\r\n\xffDATA\r\n\xfe503 no\r\n\xffRSET\r\nEHLO x\r\nNOOP\r\n\xfe250 ok\r\n250-a\r\n250 b\r\n250 ok\r\n",
            b"\xffMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n\xfe250 ok\r\n250 ok\r\n\xffA: b\r\n\r\nx\r\n.\r\nMAIL FROM:<x@y>\r\n\xfe452 full\r\n250 ok\r\n\xfde\xfdE",
        ],
    }
}
