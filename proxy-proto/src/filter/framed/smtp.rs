//! SMTP after the login (RFC 5321, RFC 2920, RFC 3030).

use super::{
    Change, Command, Desk, Line, Lines, Message, Response,
    content::{Collected, Dots, Dotted, Kind, Plan},
    flush,
    replies::{Awaited, Replies, Whose},
    split_name, trimmed,
};
use crate::{
    Side,
    filter::{Failed, Filter, Output, Verdict},
};

const GO_ON: &[u8] = b"354 Start mail input; end with <CRLF>.<CRLF>";
const ACCEPTED: &[u8] = b"250 2.0.0 Ok";

pub(super) struct Smtp {
    desk: Desk,
    client: Lines,
    /// The reply under way.
    reply: Vec<u8>,
    server: Lines,
    /// A reply that is too long passes.
    streamed: bool,
    replies: Replies,
    state: State,
    /// The client's bytes that must wait for the server.
    held: Vec<u8>,
    /// What waits for the server's 354, and the server's own word where that was another one.
    behind_go: Vec<u8>,
    refused: Option<Vec<u8>>,
    sender: Option<Vec<u8>>,
    recipients: Vec<Vec<u8>>,
    /// BDAT's pieces so far.
    pieces: Option<Vec<u8>>,
    /// The beginning of this transaction's pieces has gone: the others follow as they come.
    passing: bool,
    /// The units' own bytes for either side, until what passes now is through.
    to_client: Vec<u8>,
    to_server: Vec<u8>,
}

/// What the client sends.
enum State {
    Commands,
    /// DATA is on its way to the server: the client waits.
    Asked,
    /// DATA is held until the replies before it are in: the client waits.
    Held,
    /// A message, up to its dot.
    Data(Box<Data>),
    /// A piece of one.
    Piece(Box<Piece>),
}

struct Data {
    collected: Collected,
    dots: Dots,
    about: Message,
    /// It goes nowhere: a script has answered DATA.
    local: bool,
    /// The server has been asked, and whether its answer is awaited.
    asked: bool,
    awaiting: bool,
}

struct Piece {
    left: usize,
    last: bool,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Collect,
    Pass,
    Drop,
}

impl Smtp {
    pub(super) fn new(desk: Desk) -> Self {
        Smtp {
            desk,
            client: Lines::default(),
            reply: Vec::new(),
            server: Lines::default(),
            streamed: false,
            replies: Replies::new(),
            state: State::Commands,
            held: Vec::new(),
            behind_go: Vec::new(),
            refused: None,
            sender: None,
            recipients: Vec::new(),
            pieces: None,
            passing: false,
            to_client: Vec::new(),
            to_server: Vec::new(),
        }
    }

    fn wants_content(&self) -> bool {
        self.desk.wants.header || self.desk.wants.message
    }

    fn about(&self, command: &'static str) -> Message {
        Message {
            sender: self.sender.clone(),
            recipients: self.recipients.clone(),
            ..Message::new(Side::Server, command)
        }
    }

    fn waits(&self) -> bool {
        match &self.state {
            State::Asked | State::Held => true,
            State::Data(data) => data.awaiting,
            _ => false,
        }
    }

    // ---- to the server

    /// Sends commands; the answer to the last one is `last`'s.
    fn send_commands(&mut self, text: &[u8], last: Whose, out: &mut Output) {
        let mut lines = text.split_inclusive(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let whose = match lines.peek() {
                None => last,
                Some(_) => Whose::Own,
            };
            let line = String::from_utf8_lossy(trimmed(line)).into_owned();
            self.replies.expect(line, false, whose);
        }
        out.send(Side::Server, text);
    }

    fn send_own(&mut self, out: &mut Output) {
        for (to, bytes) in self.desk.units.sent() {
            match to {
                Side::Client => self.to_client.extend_from_slice(&bytes),
                Side::Server => self.to_server.extend_from_slice(&bytes),
            }
        }
        self.settle(out);
    }

    /// Between commands and between replies: what has its turn now.
    fn settle(&mut self, out: &mut Output) {
        let between = match &self.state {
            State::Commands | State::Held => !self.client.begun,
            State::Data(data) => !data.asked,
            State::Piece(piece) => piece.fate != Fate::Pass,
            State::Asked => false,
        };
        if between && !self.to_server.is_empty() {
            let own = std::mem::take(&mut self.to_server);
            self.send_commands(&own, Whose::Own, out);
        }
        if !self.streamed {
            flush(out, Side::Client, &mut self.to_client);
        }
        while let Some(reply) = self.replies.ready() {
            out.send(Side::Client, &reply);
        }
        if matches!(self.state, State::Held)
            && matches!(self.replies.0.front(), Some(Awaited::Data))
        {
            self.replies.0.pop_front();
            if self.recipients.is_empty() {
                // The server will say what is missing.
                self.state = State::Asked;
                self.send_commands(b"DATA\r\n", Whose::Client, out);
            } else {
                out.send(Side::Client, &[GO_ON, b"\r\n"].concat());
                self.receive("DATA", false);
            }
        }
    }

    fn receive(&mut self, command: &'static str, local: bool) {
        let about = self.about(command);
        let plan = self.desk.plan(Kind::Message, None, &about);
        self.state = State::Data(Box::new(Data {
            collected: Collected::new(plan),
            dots: Dots::default(),
            about,
            local,
            asked: false,
            awaiting: false,
        }));
    }

    // ---- from the client

    fn command(&mut self, line: &[u8], out: &mut Output) -> Result<(), Failed> {
        let (name, arguments) = split_name(trimmed(line));
        let about = Command {
            arguments: arguments.to_vec(),
            name: name.clone(),
            ..Command::default()
        };
        let change = self.desk.command(line, &about)?;
        self.send_own(out);
        if name == "BDAT" {
            return self.bdat(line, arguments, change, out);
        }
        let dropped = |reply: &Option<Vec<u8>>| match reply {
            Some(reply) => reply.starts_with(b"354"),
            None => false,
        };
        if matches!(&*name, "RSET" | "EHLO" | "HELO" | "QUIT") {
            self.pieces = None;
            self.passing = false;
        }
        match change {
            Change::Drop(reply) => {
                let go_on = name == "DATA" && dropped(&reply);
                if let Some(reply) = reply {
                    self.replies.local(reply);
                }
                if go_on {
                    self.receive("DATA", true);
                }
                self.settle(out);
            }
            Change::Keep | Change::Replace(_) if name == "DATA" && self.wants_content() => {
                self.replies.0.push_back(Awaited::Data);
                self.state = State::Held;
                self.settle(out);
            }
            Change::Keep => {
                self.send_commands(line, Whose::Client, out);
                if name == "DATA" {
                    self.state = State::Asked;
                }
            }
            Change::Replace(text) => {
                self.send_commands(&text, Whose::Client, out);
                let last = text.trim_ascii_end().rsplit(|&byte| byte == b'\n').next();
                if last.is_some_and(|line| split_name(trimmed(line)).0 == "DATA") {
                    self.state = State::Asked;
                }
            }
        }
        Ok(())
    }

    fn bdat(
        &mut self,
        line: &[u8],
        arguments: &[u8],
        change: Change,
        out: &mut Output,
    ) -> Result<(), Failed> {
        let mut words = arguments
            .split(|&byte| byte == b' ')
            .filter(|word| !word.is_empty());
        let size = words
            .next()
            .and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        let last = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"));
        let Some(left) = size else {
            // Nobody can tell where its data ends; the server will refuse it.
            self.send_commands(line, Whose::Client, out);
            return Ok(());
        };
        let fate = match change {
            Change::Drop(reply) => {
                if let Some(reply) = reply {
                    self.replies.local(reply);
                }
                Fate::Drop
            }
            _ if self.pieces.is_none() && self.bdat_passes() => {
                self.send_commands(line, Whose::Client, out);
                Fate::Pass
            }
            _ => {
                self.pieces.get_or_insert_default();
                Fate::Collect
            }
        };
        self.state = State::Piece(Box::new(Piece { left, last, fate }));
        self.piece(&[], out).map(drop)
    }

    /// Whether pieces pass as they come: nobody wants them, or their message's beginning has gone already.
    fn bdat_passes(&self) -> bool {
        !self.wants_content() || self.passing
    }

    fn piece(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
        let State::Piece(piece) = &mut self.state else {
            return Ok(0);
        };
        let used = bytes.len().min(piece.left);
        piece.left -= used;
        let (left, last, fate) = (piece.left, piece.last, piece.fate);
        match fate {
            Fate::Pass => out.send(Side::Server, &bytes[..used]),
            Fate::Drop => {}
            Fate::Collect => {
                let pieces = self.pieces.get_or_insert_default();
                pieces.extend_from_slice(&bytes[..used]);
                if left > 0 || !last {
                    self.too_many_pieces(left, last, out)?;
                }
            }
        }
        if left > 0 {
            return Ok(used);
        }
        let collecting = matches!(&self.state, State::Piece(piece) if piece.fate == Fate::Collect);
        self.state = State::Commands;
        if fate == Fate::Pass || !collecting {
            if last {
                self.passing = false;
            }
            self.settle(out);
            return Ok(used);
        }
        if !last {
            self.replies.local(b"250 2.0.0 Ok, go on".to_vec());
            self.settle(out);
            return Ok(used);
        }
        let text = self.pieces.take().unwrap_or_default();
        let about = self.about("BDAT");
        let plan = self.desk.plan(Kind::Message, Some(text.len()), &about);
        let change = self.desk.content(plan, &text, &about)?;
        self.send_own(out);
        match change {
            Change::Keep => self.send_last_piece(&text, out),
            Change::Replace(text) => self.send_last_piece(&text, out),
            Change::Drop(reply) => self.drop_message(reply, out),
        }
        Ok(used)
    }

    fn send_last_piece(&mut self, text: &[u8], out: &mut Output) {
        let line = format!("BDAT {} LAST\r\n", text.len());
        self.send_commands(line.as_bytes(), Whose::Client, out);
        out.send(Side::Server, text);
    }

    /// Lets pieces go that are more than a message may be, or whose header is all that is wanted.
    fn too_many_pieces(&mut self, left: usize, last: bool, out: &mut Output) -> Result<(), Failed> {
        let Some(pieces) = &self.pieces else {
            return Ok(());
        };
        let (wants, bounds) = (self.desk.wants, self.desk.bounds);
        let most = if wants.message {
            bounds.message
        } else {
            bounds.header
        };
        let head = super::content::header_end(pieces, 0);
        let enough = pieces.len() > most || (!wants.message && head.is_some());
        if !enough {
            return Ok(());
        }
        let mut text = self.pieces.take().unwrap_or_default();
        let about = self.about("BDAT");
        let plan = match wants.message {
            true => self.desk.plan(Kind::Message, Some(text.len()), &about),
            false => Plan::Head,
        };
        if plan == Plan::Head
            && let Change::Replace(changed) = self.desk.content(plan, &text, &about)?
        {
            text = changed;
        }
        self.send_own(out);
        let line = format!("BDAT {}\r\n", text.len());
        self.replies
            .expect(line.trim_end().to_owned(), false, Whose::Framer);
        out.send(Side::Server, line.as_bytes());
        out.send_owned(Side::Server, text);
        // From here on the client's own pieces go on.
        self.passing = true;
        let line = match last {
            true => format!("BDAT {left} LAST\r\n"),
            false => format!("BDAT {left}\r\n"),
        };
        self.send_commands(line.as_bytes(), Whose::Client, out);
        if let State::Piece(piece) = &mut self.state {
            piece.fate = Fate::Pass;
        }
        Ok(())
    }

    fn drop_message(&mut self, reply: Option<Vec<u8>>, out: &mut Output) {
        self.replies.expect("RSET".to_owned(), false, Whose::Framer);
        out.send(Side::Server, b"RSET\r\n");
        self.replies
            .local(reply.unwrap_or_else(|| ACCEPTED.to_vec()));
        self.settle(out);
    }

    fn data(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
        let State::Data(data) = &mut self.state else {
            return Ok(0);
        };
        let (used, done) = data.dots.feed(bytes);
        let result = data
            .collected
            .feed(&mut self.desk, &bytes[..used], done, &data.about)?;
        self.send_own(out);
        let State::Data(data) = &mut self.state else {
            return Ok(used);
        };
        let (local, asked, awaiting) = (data.local, data.asked, data.awaiting);
        let refused = asked && !awaiting && self.refused.is_some();
        let (content, dropped) = match result {
            Dotted::More => (Vec::new(), None),
            Dotted::Go(content) | Dotted::Whole(content) => (content, None),
            Dotted::Dropped(reply) => (Vec::new(), Some(reply)),
        };
        if local || refused {
            if done {
                let reply = match (refused, dropped) {
                    (true, _) => self.refused.take().unwrap_or_default(),
                    (false, dropped) => dropped.flatten().unwrap_or_else(|| ACCEPTED.to_vec()),
                };
                self.state = State::Commands;
                self.replies.local(reply);
                self.settle(out);
            }
            return Ok(used);
        }
        if let Some(reply) = dropped {
            self.state = State::Commands;
            self.drop_message(reply, out);
            return Ok(used);
        }
        if content.is_empty() {
            return Ok(used);
        }
        if !asked {
            data.asked = true;
            data.awaiting = true;
            self.replies.expect("DATA".to_owned(), false, Whose::Framer);
            out.send(Side::Server, b"DATA\r\n");
        }
        if !asked || awaiting {
            self.behind_go.extend_from_slice(&content);
        } else {
            out.send_owned(Side::Server, content);
            if done {
                self.content_is_out(out);
            }
        }
        Ok(used)
    }

    fn content_is_out(&mut self, out: &mut Output) {
        self.state = State::Commands;
        self.replies.expect(".".to_owned(), false, Whose::Client);
        self.settle(out);
    }

    /// The server has answered the DATA that the framer has sent.
    fn go_answered(&mut self, code: u16, reply: &[u8], out: &mut Output) {
        let State::Data(data) = &mut self.state else {
            return;
        };
        data.awaiting = false;
        let over = data.dots.is_over();
        let content = std::mem::take(&mut self.behind_go);
        if code == 354 {
            out.send_owned(Side::Server, content);
            if over {
                self.content_is_out(out);
            }
        } else if over {
            self.state = State::Commands;
            self.replies.local(trimmed(reply).to_vec());
            self.settle(out);
        } else {
            self.refused = Some(trimmed(reply).to_vec());
        }
    }

    // ---- from the server

    fn reply_line(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
        let (used, line) = self.server.take(bytes, self.desk.bounds.unit);
        let held = match line {
            Line::Incomplete => return Ok(used),
            Line::Piece { last, .. } => {
                self.streamed = true;
                let held = std::mem::take(&mut self.server.held);
                self.reply.extend_from_slice(&held);
                flush(out, Side::Client, &mut self.reply);
                if last {
                    self.streamed = false;
                    self.answered(0, &[], out);
                }
                return Ok(used);
            }
            Line::Whole => std::mem::take(&mut self.server.held),
        };
        let more = held.get(3) == Some(&b'-');
        let code = std::str::from_utf8(held.get(..3).unwrap_or_default())
            .ok()
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        self.reply.extend_from_slice(&held);
        if self.streamed || self.reply.len() > self.desk.bounds.unit {
            self.streamed = more;
            flush(out, Side::Client, &mut self.reply);
            if !more {
                self.answered(code, &[], out);
            }
            return Ok(used);
        }
        if more {
            return Ok(used);
        }
        let reply = std::mem::take(&mut self.reply);
        self.complete_reply(code, &reply, out)?;
        Ok(used)
    }

    fn complete_reply(&mut self, code: u16, reply: &[u8], out: &mut Output) -> Result<(), Failed> {
        let current = self.replies.current();
        let whose = current.map_or(Whose::Client, |(_, _, whose)| whose);
        if whose == Whose::Framer {
            self.answered(code, reply, out);
            return Ok(());
        }
        let command = current.map(|(line, ..)| match split_name(line.as_bytes()).0 {
            dot if dot == "." => "DATA".to_owned(),
            name => name,
        });
        let about = Response {
            command,
            own: whose == Whose::Own,
            code,
            ..Response::default()
        };
        let change = self.desk.response(reply, &about)?;
        self.send_own(out);
        if !about.own {
            match change {
                Change::Keep => out.send(Side::Client, reply),
                Change::Replace(text) => out.send_owned(Side::Client, text),
                Change::Drop(_) => {}
            }
        }
        self.answered(code, reply, out);
        Ok(())
    }

    /// A reply is through: what follows from it.
    fn answered(&mut self, code: u16, reply: &[u8], out: &mut Output) {
        let current = self.replies.current();
        let line = current.map(|(line, _, whose)| (line.to_owned(), whose));
        self.replies.answered();
        if let Some((line, whose)) = line {
            let (name, arguments) = split_name(line.as_bytes());
            let good = (200..300).contains(&code);
            match &*name {
                "MAIL" if good => {
                    self.sender = Some(address(arguments));
                    self.recipients.clear();
                }
                "RCPT" if good => self.recipients.push(address(arguments)),
                "RSET" | "EHLO" | "HELO" | "." if good || name == "." => {
                    self.sender = None;
                    self.recipients.clear();
                }
                "DATA" if whose == Whose::Framer => self.go_answered(code, reply, out),
                "DATA" if matches!(self.state, State::Asked) => match code {
                    354 => {
                        self.state = State::Data(Box::new(Data {
                            collected: Collected::new(Plan::Pass),
                            dots: Dots::default(),
                            about: self.about("DATA"),
                            local: false,
                            asked: true,
                            awaiting: false,
                        }));
                    }
                    _ => self.state = State::Commands,
                },
                _ => {}
            }
        }
        self.settle(out);
    }

    fn client_bytes(&mut self, bytes: &[u8], out: &mut Output) -> Result<(), Failed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.waits() {
                self.held.extend_from_slice(rest);
                return Ok(());
            }
            let used = match &self.state {
                State::Data(_) => self.data(rest, out)?,
                State::Piece(_) => self.piece(rest, out)?,
                _ => {
                    let (used, line) = self.client.take(rest, self.desk.bounds.unit);
                    match line {
                        Line::Incomplete => {}
                        Line::Whole => {
                            let line = std::mem::take(&mut self.client.held);
                            self.command(&line, out)?;
                        }
                        Line::Piece { first, .. } => {
                            let piece = std::mem::take(&mut self.client.held);
                            if first {
                                let line = String::from_utf8_lossy(&piece[..piece.len().min(1000)]);
                                self.replies.expect(line.into_owned(), false, Whose::Client);
                            }
                            out.send_owned(Side::Server, piece);
                        }
                    }
                    used
                }
            };
            rest = &rest[used..];
        }
        Ok(())
    }
}

/// `<a@b>` of `FROM:<a@b> SIZE=5`.
fn address(arguments: &[u8]) -> Vec<u8> {
    let start = arguments.iter().position(|&byte| byte == b'<');
    let end = arguments.iter().position(|&byte| byte == b'>');
    match (start, end) {
        (Some(start), Some(end)) if start < end => arguments[start + 1..end].to_vec(),
        _ => {
            let behind = arguments.splitn(2, |&byte| byte == b':').nth(1);
            let word = behind.unwrap_or_default().trim_ascii_start();
            word.split(|&byte| byte == b' ')
                .next()
                .unwrap_or_default()
                .to_vec()
        }
    }
}

impl Filter for Smtp {
    fn open(&mut self, out: &mut Output) -> Result<(), Failed> {
        self.desk.units.open()?;
        self.send_own(out);
        Ok(())
    }

    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
        match from {
            Side::Client => self.client_bytes(bytes, out)?,
            Side::Server => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let used = self.reply_line(rest, out)?;
                    rest = &rest[used..];
                    if !self.waits() && !self.held.is_empty() {
                        let held = std::mem::take(&mut self.held);
                        self.client_bytes(&held, out)?;
                    }
                }
            }
        }
        Ok(Verdict::Taken)
    }

    fn end(&mut self, from: Side, out: &mut Output) -> Result<(), Failed> {
        match from {
            Side::Client => {
                // A message that never ended must not look like one that did.
                flush(out, Side::Server, &mut self.client.held);
            }
            Side::Server => {
                flush(out, Side::Client, &mut self.reply);
                flush(out, Side::Client, &mut self.server.held);
            }
        }
        Ok(())
    }

    fn ready(&self, from: Side) -> bool {
        from == Side::Server || !self.waits()
    }
}
