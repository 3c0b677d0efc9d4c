//! POP after the login (RFC 1939, RFC 2449, RFC 6856).

use super::{
    Change, Command, Desk, Line, Lines, Message, Response,
    content::{Collected, Dots, Dotted, Kind},
    flush,
    replies::{Replies, Whose},
    split_name, trimmed,
};
use crate::{
    Side,
    filter::{Failed, Filter, Output, Verdict},
    pop::has_lines,
};

pub(super) struct Pop {
    desk: Desk,
    client: Lines,
    server: Lines,
    replies: Replies,
    state: State,
    /// The units' own bytes for the client, until what passes now is through.
    waiting: Vec<u8>,
}

/// Where the server's reply stands.
enum State {
    Status,
    /// Lines up to the dot, collected while they are few.
    List {
        text: Vec<u8>,
        dots: Dots,
        streamed: bool,
    },
    /// A message up to the dot.
    Body {
        /// Its status line, until it shows what length the message has.
        status: Vec<u8>,
        collected: Box<Collected>,
        dots: Dots,
        about: Box<Message>,
    },
}

impl Pop {
    pub(super) fn new(desk: Desk) -> Self {
        Pop {
            desk,
            client: Lines::default(),
            server: Lines::default(),
            replies: Replies::new(),
            state: State::Status,
            waiting: Vec::new(),
        }
    }

    fn expect(&mut self, line: &[u8], whose: Whose) {
        let line = trimmed(line);
        self.replies
            .expect(split_name(line).0, has_lines(line), whose);
    }

    /// Sends commands to the server; the answer to the last one is `last`'s.
    fn send_commands(&mut self, text: &[u8], last: Whose, out: &mut Output) {
        let mut lines = text.split_inclusive(|&byte| byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            let whose = match lines.peek() {
                None => last,
                Some(_) => Whose::Own,
            };
            self.expect(line, whose);
        }
        out.send(Side::Server, text);
    }

    /// What the units have sent.
    fn send_own(&mut self, out: &mut Output) {
        for (to, bytes) in self.desk.units.sent() {
            match to {
                Side::Client => self.waiting.extend_from_slice(&bytes),
                Side::Server => self.send_commands(&bytes, Whose::Own, out),
            }
        }
        self.settle(out);
    }

    /// Between two replies: what has its turn now.
    fn settle(&mut self, out: &mut Output) {
        let between = match &self.state {
            State::Status => !self.server.begun,
            State::List { streamed, .. } => !streamed,
            // Its status line has gone.
            State::Body { .. } => false,
        };
        if between {
            flush(out, Side::Client, &mut self.waiting);
        }
        while let Some(reply) = self.replies.ready() {
            out.send(Side::Client, &reply);
        }
    }

    fn command(&mut self, line: &[u8], out: &mut Output) -> Result<(), Failed> {
        let (name, arguments) = split_name(trimmed(line));
        let about = Command {
            name,
            arguments: arguments.to_vec(),
            ..Command::default()
        };
        let change = self.desk.command(line, &about)?;
        self.send_own(out);
        match change {
            Change::Keep => self.send_commands(line, Whose::Client, out),
            Change::Replace(text) => self.send_commands(&text, Whose::Client, out),
            Change::Drop(None) => {}
            Change::Drop(Some(reply)) => {
                self.replies.local(reply);
                self.settle(out);
            }
        }
        Ok(())
    }

    /// A response; what the client gets of it.
    fn response(&mut self, text: Vec<u8>, out: &mut Output) -> Result<Vec<u8>, Failed> {
        let current = self.replies.current();
        let whose = current.map_or(Whose::Client, |(_, _, whose)| whose);
        let about = Response {
            command: current.map(|(name, ..)| name.to_owned()),
            own: whose == Whose::Own,
            ok: text.starts_with(b"+OK"),
            ..Response::default()
        };
        let change = self.desk.response(&text, &about)?;
        self.send_own(out);
        Ok(match change {
            _ if about.own => Vec::new(),
            Change::Keep => text,
            Change::Replace(text) => text,
            Change::Drop(_) => Vec::new(),
        })
    }

    /// A reply is through.
    fn answered(&mut self, out: &mut Output) {
        self.state = State::Status;
        self.replies.answered();
        self.settle(out);
    }

    fn status(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
        let (used, line) = self.server.take(bytes, self.desk.bounds.unit);
        match line {
            Line::Incomplete => {}
            Line::Piece { last, .. } => {
                flush(out, Side::Client, &mut self.server.held);
                if last {
                    self.answered(out);
                }
            }
            Line::Whole => {
                let line = std::mem::take(&mut self.server.held);
                let (name, lines) = match self.replies.current() {
                    Some((name, lines, _)) => (name.to_owned(), lines),
                    None => (String::new(), false),
                };
                if !lines || !line.starts_with(b"+OK") {
                    let line = self.response(line, out)?;
                    out.send_owned(Side::Client, line);
                    self.answered(out);
                    return Ok(used);
                }
                let command = match &*name {
                    "RETR" => "RETR",
                    "TOP" => "TOP",
                    _ => {
                        self.state = State::List {
                            text: line,
                            dots: Dots::default(),
                            streamed: false,
                        };
                        return Ok(used);
                    }
                };
                let status = self.response(line, out)?;
                let about = Message::new(Side::Client, command);
                let mut plan = self.desk.plan(Kind::Message, None, &about);
                if command == "TOP" {
                    plan = match self.desk.wants.header {
                        true => super::content::Plan::Head,
                        false => super::content::Plan::Pass,
                    };
                }
                self.state = State::Body {
                    status,
                    collected: Box::new(Collected::new(plan)),
                    dots: Dots::default(),
                    about: Box::new(about),
                };
            }
        }
        Ok(used)
    }

    fn list(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
        let State::List {
            text,
            dots,
            streamed,
        } = &mut self.state
        else {
            return Ok(0);
        };
        let (used, done) = dots.feed(bytes);
        text.extend_from_slice(&bytes[..used]);
        let own = matches!(self.replies.current(), Some((_, _, Whose::Own)));
        if *streamed || text.len() > self.desk.bounds.unit {
            *streamed = true;
            match own {
                true => text.clear(),
                false => flush(out, Side::Client, text),
            }
            if done {
                self.answered(out);
            }
        } else if done {
            let text = std::mem::take(text);
            let text = self.response(text, out)?;
            out.send_owned(Side::Client, text);
            self.answered(out);
        }
        Ok(used)
    }

    fn body(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
        let State::Body {
            status,
            collected,
            dots,
            about,
        } = &mut self.state
        else {
            return Ok(0);
        };
        let (used, done) = dots.feed(bytes);
        let result = collected.feed(&mut self.desk, &bytes[..used], done, about)?;
        let own = matches!(self.replies.current(), Some((_, _, Whose::Own)));
        match result {
            Dotted::More | Dotted::Dropped(_) => {}
            Dotted::Go(data) | Dotted::Whole(data) if !own => {
                let mut status = std::mem::take(status);
                // A number behind TOP would be another one.
                if about.command == "RETR" {
                    status = corrected(status, collected.grown());
                }
                out.send_owned(Side::Client, status);
                out.send_owned(Side::Client, data);
            }
            Dotted::Go(_) | Dotted::Whole(_) => {}
        }
        self.send_own(out);
        if done {
            self.answered(out);
        }
        Ok(used)
    }
}

/// `+OK 320 octets` for a message that has grown by so many octets. Other texts stay as they are.
fn corrected(status: Vec<u8>, grown: i64) -> Vec<u8> {
    let Some(rest) = status.strip_prefix(b"+OK ").filter(|_| grown != 0) else {
        return status;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, behind) = rest.split_at(digits);
    let size = std::str::from_utf8(number)
        .ok()
        .and_then(|number| number.parse::<i64>().ok());
    match size.and_then(|size| size.checked_add(grown)) {
        Some(size) if size >= 0 && behind.first().is_some_and(u8::is_ascii_whitespace) => {
            [format!("+OK {size}").as_bytes(), behind].concat()
        }
        _ => status,
    }
}

impl Filter for Pop {
    fn open(&mut self, out: &mut Output) -> Result<(), Failed> {
        self.desk.units.open()?;
        self.send_own(out);
        Ok(())
    }

    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = match (from, &self.state) {
                (Side::Client, _) => {
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
                                self.expect(&piece, Whose::Client);
                            }
                            out.send_owned(Side::Server, piece);
                        }
                    }
                    used
                }
                (Side::Server, State::Status) => self.status(rest, out)?,
                (Side::Server, State::List { .. }) => self.list(rest, out)?,
                (Side::Server, State::Body { .. }) => self.body(rest, out)?,
            };
            rest = &rest[used..];
        }
        Ok(Verdict::Taken)
    }

    fn end(&mut self, from: Side, out: &mut Output) -> Result<(), Failed> {
        match from {
            Side::Client => flush(out, Side::Server, &mut self.client.held),
            Side::Server => {
                if let State::List { text, .. } = &mut self.state {
                    flush(out, Side::Client, text);
                }
                if let State::Body {
                    status, collected, ..
                } = &mut self.state
                {
                    flush(out, Side::Client, status);
                    out.send_owned(Side::Client, collected.rest());
                }
                flush(out, Side::Client, &mut self.server.held);
            }
        }
        Ok(())
    }
}
