//! From the server to the client.

use super::{
    Shared,
    commands::{Commands, keep_tail},
    grammar,
};
use crate::{
    Side,
    filter::{
        Failed, Output,
        framed::{
            Change, Line, Lines, Message, Response,
            content::{Kind, Plan, header_end},
            flush,
        },
    },
};

pub(super) struct Responses {
    lines: Lines,
    /// The end of a line that is handed out in pieces.
    tail: Vec<u8>,
    /// The response so far, as far as it has not gone.
    text: Vec<u8>,
    head: Option<grammar::ResponseHead>,
    /// Its beginning has gone: the rest follows as it comes.
    begun: bool,
    state: State,
    /// The answer to the login is still to come.
    login: bool,
    /// The line at hand was too long to be held.
    lines_in_pieces: bool,
}

enum State {
    Text,
    /// Octets that go into the text, or pass.
    Octets(usize),
    Content(Box<Fetched>),
}

/// Content of a FETCH response.
struct Fetched {
    literal: grammar::Literal,
    left: usize,
    text: Vec<u8>,
    plan: Plan,
    about: Message,
    scanned: usize,
}

impl Responses {
    pub(super) fn new() -> Self {
        Responses {
            lines: Lines::default(),
            tail: Vec::new(),
            text: Vec::new(),
            head: None,
            begun: false,
            state: State::Text,
            login: true,
            lines_in_pieces: false,
        }
    }

    /// Whether nothing of a response is on its way.
    pub(super) fn is_between(&self) -> bool {
        !self.begun && !self.lines.begun
    }

    /// Takes some of the server's bytes; at least one.
    pub(super) fn take(
        &mut self,
        shared: &mut Shared,
        commands: &mut Commands,
        bytes: &[u8],
        out: &mut Output,
    ) -> Result<usize, Failed> {
        match &mut self.state {
            State::Text => self.line(shared, commands, bytes, out),
            State::Octets(left) => {
                let used = bytes.len().min(*left);
                *left -= used;
                if *left == 0 {
                    self.state = State::Text;
                }
                match self.begun {
                    true => out.send(Side::Client, &bytes[..used]),
                    false => self.text.extend_from_slice(&bytes[..used]),
                }
                Ok(used)
            }
            State::Content(content) => {
                let used = bytes.len().min(content.left);
                content.left -= used;
                content.text.extend_from_slice(&bytes[..used]);
                self.content(shared, out)?;
                Ok(used)
            }
        }
    }

    fn line(
        &mut self,
        shared: &mut Shared,
        commands: &mut Commands,
        bytes: &[u8],
        out: &mut Output,
    ) -> Result<usize, Failed> {
        let (used, line) = self.lines.take(bytes, shared.desk.bounds.unit);
        let (line, last) = match line {
            Line::Incomplete => return Ok(used),
            Line::Whole => {
                self.lines_in_pieces = false;
                (std::mem::take(&mut self.lines.held), true)
            }
            Line::Piece { last, .. } => {
                let piece = std::mem::take(&mut self.lines.held);
                self.begin(out);
                // Also where it has come at once: what is seen of it must not depend on how the network has cut it.
                self.lines_in_pieces = true;
                (piece, last)
            }
        };
        if self.text.len().saturating_add(line.len()) > shared.desk.bounds.unit {
            self.begin(out);
        }
        let most = shared.desk.bounds.unit.min(1000);
        let head = self
            .head
            .get_or_insert_with(|| grammar::response(&line[..line.len().min(most)]));
        keep_tail(&mut self.tail, &line);
        let literal = match last && !head.is_status() {
            true => grammar::literal(&self.tail),
            false => None,
        };
        let tail = self.tail.len();
        if last {
            self.tail.clear();
        }
        let Some(literal) = literal else {
            match self.begun {
                true => out.send(Side::Client, &line),
                false => self.text.extend_from_slice(&line),
            }
            if last {
                self.complete(shared, commands, out)?;
            }
            return Ok(used);
        };
        let number = head.number;
        // Where the announcement begins in the line; in one that came in pieces nothing is looked for.
        let start = (literal.start + line.len())
            .checked_sub(tail)
            .filter(|_| head.name.as_deref() == Some("FETCH") && !self.lines_in_pieces);
        let section = start.and_then(|start| grammar::item(&[&self.text, &line[..start]].concat()));
        let start = start.unwrap_or(line.len());
        let about = Message {
            size: Some(literal.size),
            number,
            section,
            ..Message::new(Side::Client, "FETCH")
        };
        let plan = match about.section.as_deref() {
            None => Plan::Pass,
            Some(section) => {
                let kind = match section {
                    "BODY[]" | "BINARY[]" | "RFC822" => Kind::Message,
                    "BODY[HEADER]" | "RFC822.HEADER" => Kind::Header,
                    _ => Kind::Part,
                };
                shared.desk.plan(kind, Some(literal.size), &about)
            }
        };
        if plan != Plan::Pass {
            let text = &line[..start];
            match self.begun {
                true => out.send(Side::Client, text),
                false => self.text.extend_from_slice(text),
            }
            self.state = State::Content(Box::new(Fetched {
                literal,
                left: literal.size,
                text: Vec::new(),
                plan,
                about,
                scanned: 0,
            }));
            if literal.size == 0 {
                self.content(shared, out)?;
            }
            return Ok(used);
        }
        self.text_or_out(&line, out);
        let whole = self.text.len().saturating_add(literal.size);
        if whole > shared.desk.bounds.unit || !shared.desk.wants.response {
            self.begin(out);
        }
        if literal.size > 0 {
            self.state = State::Octets(literal.size);
        }
        Ok(used)
    }

    fn text_or_out(&mut self, bytes: &[u8], out: &mut Output) {
        match self.begun {
            true => out.send(Side::Client, bytes),
            false => self.text.extend_from_slice(bytes),
        }
    }

    /// Lets go what is collected: the rest passes.
    fn begin(&mut self, out: &mut Output) {
        self.begun = true;
        flush(out, Side::Client, &mut self.text);
    }

    /// More of a message has come.
    fn content(&mut self, shared: &mut Shared, out: &mut Output) -> Result<(), Failed> {
        let State::Content(content) = &mut self.state else {
            return Ok(());
        };
        let mut text = None;
        if content.left == 0 {
            let change = shared
                .desk
                .content(content.plan, &content.text, &content.about)?;
            text = Some(match change {
                Change::Keep | Change::Drop(_) => std::mem::take(&mut content.text),
                Change::Replace(text) => text,
            });
        } else if content.plan == Plan::Head {
            let end = header_end(&content.text, content.scanned);
            content.scanned = content.text.len();
            if end.is_some() || content.text.len() > shared.desk.bounds.header {
                let end = end.unwrap_or(content.text.len());
                let new = shared.desk.head(&content.text, end, &content.about)?;
                text = Some(new.unwrap_or_else(|| std::mem::take(&mut content.text)));
            }
        }
        let Some(text) = text else {
            return Ok(());
        };
        shared.collect_own();
        let (literal, left) = (content.literal, content.left);
        self.state = match left {
            0 => State::Text,
            left => State::Octets(left),
        };
        let size = text.len() + left;
        let announcement = match literal.synchronising {
            true => format!("{{{size}}}\r\n"),
            false => format!("{{{size}+}}\r\n"),
        };
        if literal.binary {
            self.text_or_out(b"~", out);
        }
        self.text_or_out(announcement.as_bytes(), out);
        if left > 0 || self.text.len() + text.len() > shared.desk.bounds.unit {
            self.begin(out);
        }
        self.text_or_out(&text, out);
        Ok(())
    }

    fn complete(
        &mut self,
        shared: &mut Shared,
        commands: &mut Commands,
        out: &mut Output,
    ) -> Result<(), Failed> {
        let text = std::mem::take(&mut self.text);
        let head = self.head.take().unwrap_or_default();
        let streamed = std::mem::take(&mut self.begun);
        let mut about = Response {
            tag: head.tag,
            name: head.name,
            number: head.number,
            ..Response::default()
        };
        if about.tag == b"+" {
            if shared.awaiting.is_some() {
                shared.go_on(out);
                return Ok(());
            }
            commands.asked();
        } else if about.tag != b"*" {
            match shared.tags.remove(&about.tag) {
                Some((name, own)) => {
                    about.command = Some(name);
                    about.own = own;
                }
                None if self.login => about.command = Some("LOGIN".to_owned()),
                None => {}
            }
            self.login = false;
            if shared.idle.as_ref() == Some(&about.tag) {
                shared.idle = None;
            }
            if shared.awaiting.as_ref() == Some(&about.tag) {
                commands.refused(shared);
            }
            commands.answered(shared, &about.tag);
        }
        if streamed {
            return Ok(());
        }
        let change = shared.desk.response(&text, &about)?;
        shared.collect_own();
        if !about.own
            && let Some(text) = super::changed(text, change)
        {
            super::super::flush(out, Side::Client, &mut shared.to_client);
            out.send_owned(Side::Client, text);
        }
        Ok(())
    }

    /// The server has ended.
    pub(super) fn end(&mut self, out: &mut Output) {
        flush(out, Side::Client, &mut self.text);
        if let State::Content(content) = &mut self.state {
            // Not a whole one; but what came goes on.
            let announcement = content.literal.announcement(content.literal.size);
            out.send(Side::Client, &announcement);
            flush(out, Side::Client, &mut content.text);
        }
        flush(out, Side::Client, &mut self.lines.held);
    }
}
