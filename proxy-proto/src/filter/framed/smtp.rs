//! SMTP after the login (RFC 5321, RFC 2920, RFC 3030).

mod answers;
mod content;

use super::{
    Change, Command, Desk, Line, Lines, Message, flush,
    replies::{Awaited, Replies, Whose},
    split_name, trimmed,
};
use crate::{
    Side,
    filter::{Failed, Filter, Output, Verdict},
    messages,
};
use content::{Data, Fate, Piece};

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
                let go_on = format!("354 {}\r\n", messages::START_MAIL_INPUT);
                out.send(Side::Client, go_on.as_bytes());
                self.receive("DATA", false);
            }
        }
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
                                let most = self.desk.bounds.unit.min(1000);
                                let line = String::from_utf8_lossy(&piece[..piece.len().min(most)]);
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
