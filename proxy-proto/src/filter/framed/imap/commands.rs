//! From the client to the server.

use super::{Shared, grammar};
use crate::{
    Side,
    filter::{
        Failed, Output,
        framed::{
            Change, Command, Line, Lines, Message,
            content::{Kind, Plan, header_end},
            flush, trimmed,
        },
    },
    messages,
};

/// The proxy's word for a synchronising literal.
const GO_ON: &[u8] = b"+ Ready\r\n";

#[derive(Default)]
pub(super) struct Commands {
    lines: Lines,
    /// The end of a line that is handed out in pieces.
    tail: Vec<u8>,
    /// The command so far, as far as it is not on its way.
    text: Vec<u8>,
    head: grammar::Head,
    fate: Fate,
    state: State,
    /// The server is to say whether the client sends what it has announced.
    announced: bool,
    /// What came while the server was waited for.
    held: Vec<u8>,
}

/// What becomes of the command under way.
#[derive(Debug, Default, PartialEq, Eq)]
enum Fate {
    /// There is none.
    #[default]
    Open,
    /// It is collected.
    Collect,
    /// Its beginning is on its way, and the rest follows.
    Pass,
    /// The rest goes nowhere; then comes this answer.
    Drop(Option<Vec<u8>>),
    /// The server has refused it, which the client is told: what it had sent already of the rest goes nowhere.
    Refused,
}

/// What comes next.
#[derive(Default)]
enum State {
    #[default]
    Text,
    /// Octets that are collected, passed or dropped, as the command is.
    Octets(usize),
    /// A message.
    Message(Box<Appended>),
}

struct Appended {
    /// What stands before its announcement, and has not been sent.
    before: Vec<u8>,
    literal: grammar::Literal,
    left: usize,
    text: Vec<u8>,
    plan: Plan,
    about: Message,
    scanned: usize,
}

impl Commands {
    /// Keeps what cannot be looked at yet.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// What was kept, once the server has said its word.
    pub(super) fn release(&mut self, shared: &Shared) -> Vec<u8> {
        match shared.awaiting {
            None => std::mem::take(&mut self.held),
            Some(_) => Vec::new(),
        }
    }

    /// Whether nothing of a command is on its way.
    pub(super) fn is_between(&self) -> bool {
        self.fate != Fate::Pass && !self.lines.begun
    }

    /// The server has refused the command whose literal it was asked for.
    pub(super) fn refused(&mut self, shared: &mut Shared) {
        shared.awaiting = None;
        shared.outgoing.clear();
        if self.fate == Fate::Pass {
            self.fate = Fate::Refused;
        }
    }

    /// The server has asked for the literal that was announced: it will come.
    pub(super) fn asked(&mut self) {
        self.announced = false;
    }

    /// The server has answered the command of this tag: a literal that the client has only announced will not come.
    pub(super) fn answered(&mut self, shared: &mut Shared, tag: &[u8]) {
        let passing = matches!(self.fate, Fate::Pass | Fate::Refused);
        if self.announced && passing && self.head.tag == tag {
            self.over(shared);
        }
    }

    /// Takes some of the client's bytes; at least one.
    pub(super) fn take(
        &mut self,
        shared: &mut Shared,
        bytes: &[u8],
        out: &mut Output,
    ) -> Result<usize, Failed> {
        self.announced = false;
        match &mut self.state {
            State::Text => self.line(shared, bytes, out),
            State::Octets(left) => {
                let used = bytes.len().min(*left);
                *left -= used;
                let over = *left == 0;
                match self.fate {
                    Fate::Collect | Fate::Open => self.text.extend_from_slice(&bytes[..used]),
                    Fate::Pass => shared.send(&bytes[..used], out),
                    Fate::Drop(_) | Fate::Refused => {}
                }
                if over {
                    self.state = State::Text;
                }
                Ok(used)
            }
            State::Message(message) => {
                let used = bytes.len().min(message.left);
                message.left -= used;
                message.text.extend_from_slice(&bytes[..used]);
                self.message(shared, out)?;
                Ok(used)
            }
        }
    }

    fn line(
        &mut self,
        shared: &mut Shared,
        bytes: &[u8],
        out: &mut Output,
    ) -> Result<usize, Failed> {
        let (used, line) = self.lines.take(bytes, shared.desk.bounds.unit);
        match line {
            Line::Incomplete => {}
            Line::Piece { first, last } => {
                // Too long to be a command with an announcement that matters: as it comes.
                let piece = std::mem::take(&mut self.lines.held);
                if first {
                    if self.fate == Fate::Open {
                        // As much as there is of every first piece: what is read at once makes no difference.
                        let most = shared.desk.bounds.unit.min(1000);
                        let head = grammar::head(&piece[..piece.len().min(most)]);
                        shared.remember(&head.tag, &head.name, false);
                        self.head = head;
                    }
                    self.let_go(shared, out);
                }
                if self.fate == Fate::Pass {
                    shared.send(&piece, out);
                }
                keep_tail(&mut self.tail, &piece);
                if last {
                    match grammar::literal(&std::mem::take(&mut self.tail)) {
                        Some(literal) => self.announced(shared, literal, out),
                        None => self.over(shared),
                    }
                }
            }
            Line::Whole => {
                let line = std::mem::take(&mut self.lines.held);
                self.whole_line(shared, &line, out)?;
            }
        }
        Ok(used)
    }

    fn whole_line(
        &mut self,
        shared: &mut Shared,
        line: &[u8],
        out: &mut Output,
    ) -> Result<(), Failed> {
        if self.fate == Fate::Open {
            if shared.idle.take().is_some() {
                return self.done(shared, line, out);
            }
            self.head = grammar::head(line);
            let appends = shared.desk.wants.header || shared.desk.wants.message;
            let compress = self.head.name == "COMPRESS";
            if shared.desk.wants.command || compress || (appends && self.head.name == "APPEND") {
                self.fate = Fate::Collect;
            } else {
                self.begin_passing(shared);
            }
        }
        let literal = grammar::literal(line);
        match (&self.fate, literal) {
            (Fate::Drop(_) | Fate::Refused, Some(literal)) => self.announced(shared, literal, out),
            (Fate::Drop(_) | Fate::Refused, None) => self.over(shared),
            (Fate::Pass, Some(literal)) => {
                if self.is_message(line, literal) && self.intercepts(shared) {
                    return self.append(shared, line, literal, out);
                }
                shared.send(line, out);
                self.announced(shared, literal, out);
            }
            (Fate::Pass, None) => {
                shared.send(line, out);
                self.over(shared);
            }
            (Fate::Open | Fate::Collect, Some(literal)) if self.is_message(line, literal) => {
                self.append(shared, line, literal, out)?;
            }
            (Fate::Open | Fate::Collect, Some(literal)) => {
                let whole = self.text.len() + line.len();
                self.text.extend_from_slice(line);
                if whole.saturating_add(literal.size) > shared.desk.bounds.unit {
                    self.let_go(shared, out);
                }
                self.announced(shared, literal, out);
            }
            (Fate::Open | Fate::Collect, None) => {
                self.text.extend_from_slice(line);
                self.complete(shared, out)?;
            }
        }
        Ok(())
    }

    /// A literal is announced that is no message: whoever is to ask for it does so, and then it comes.
    fn announced(&mut self, shared: &mut Shared, literal: grammar::Literal, out: &mut Output) {
        self.octets(literal.size);
        if !literal.synchronising {
            return;
        }
        match self.fate {
            Fate::Open | Fate::Collect | Fate::Drop(_) => out.send(Side::Client, GO_ON),
            Fate::Pass => self.announced = true,
            // It will not be asked for.
            Fate::Refused => self.over(shared),
        }
    }

    fn octets(&mut self, size: usize) {
        self.state = match size {
            0 => State::Text,
            size => State::Octets(size),
        };
    }

    /// Whether this literal is a message that is appended (RFC 9051 §6.3.12, RFC 3502), and not a mailbox's name, or a part
    /// of one that the server puts together (RFC 4469).
    fn is_message(&self, line: &[u8], literal: grammar::Literal) -> bool {
        if self.head.name != "APPEND" {
            return false;
        }
        let before = match self.text.is_empty() {
            true => &line[self.head.arguments.min(literal.start)..literal.start],
            false => &line[..literal.start],
        };
        let first = self.text.is_empty() && self.fate != Fate::Pass;
        let catenate = before
            .to_ascii_uppercase()
            .windows(10)
            .any(|part| part == b" CATENATE ");
        let mailbox = first && before.iter().all(|&byte| byte == b' ');
        !catenate && !mailbox
    }

    fn intercepts(&self, shared: &Shared) -> bool {
        shared.desk.wants.header || shared.desk.wants.message
    }

    fn begin_passing(&mut self, shared: &mut Shared) {
        shared.remember(&self.head.tag, &self.head.name, false);
        if self.head.name == "IDLE" {
            shared.idle = Some(self.head.tag.clone());
        }
        self.fate = Fate::Pass;
    }

    /// Sends what is collected: the rest passes.
    fn let_go(&mut self, shared: &mut Shared, out: &mut Output) {
        if matches!(self.fate, Fate::Open | Fate::Collect) {
            self.begin_passing(shared);
            let text = std::mem::take(&mut self.text);
            // Literals in it were asked for by the proxy: the server is asked now. The last announcement is the client's.
            let announced = grammar::literal(last_line(&text));
            let end = announced.map_or(text.len(), |_| text.len() - last_line(&text).len());
            if !text[..end].is_empty() {
                let tag = self.head.tag.clone();
                shared.send_commands(&text[..end], Some(&tag), out);
            }
            shared.send(&text[end..], out);
        }
    }

    /// The command is through.
    fn over(&mut self, shared: &mut Shared) {
        if let Fate::Drop(Some(reply)) = &self.fate {
            shared.to_client.extend_from_slice(&self.head.tag);
            shared.to_client.push(b' ');
            shared.to_client.extend_from_slice(reply);
            shared.to_client.extend_from_slice(b"\r\n");
        }
        self.fate = Fate::Open;
        self.state = State::Text;
        self.announced = false;
        self.text.clear();
    }

    fn about(&self, text: &[u8]) -> Command {
        let arguments = text.get(self.head.arguments..).unwrap_or_default();
        Command {
            name: self.head.name.clone(),
            tag: self.head.tag.clone(),
            arguments: trimmed(arguments).to_vec(),
            mailbox: None,
            literal: None,
        }
    }

    fn done(&mut self, shared: &mut Shared, line: &[u8], out: &mut Output) -> Result<(), Failed> {
        let about = Command {
            name: String::from_utf8_lossy(trimmed(line)).to_ascii_uppercase(),
            ..Command::default()
        };
        let change = shared.desk.command(line, &about)?;
        shared.collect_own();
        if let Some(text) = super::changed(line.to_vec(), change) {
            shared.send(&text, out);
        }
        Ok(())
    }

    fn complete(&mut self, shared: &mut Shared, out: &mut Output) -> Result<(), Failed> {
        let text = std::mem::take(&mut self.text);
        let about = self.about(&text);
        let change = shared.desk.command(&text, &about)?;
        shared.collect_own();
        if let Change::Drop(reply) = change {
            self.fate = Fate::Drop(reply);
            self.over(shared);
            return Ok(());
        }
        if self.head.name == "COMPRESS" {
            // Behind it nobody could read the session any more.
            let reply = format!("NO [CANNOT] {}", messages::NOT_COMPRESSED);
            self.fate = Fate::Drop(Some(reply.into_bytes()));
            self.over(shared);
            return Ok(());
        }
        if let Some(text) = super::changed(text, change) {
            shared.send_own(out);
            let tag = self.head.tag.clone();
            shared.send_commands(&text, Some(&tag), out);
        }
        self.over(shared);
        Ok(())
    }

    /// A message is announced; `line` is the end of what stands before it.
    fn append(
        &mut self,
        shared: &mut Shared,
        line: &[u8],
        literal: grammar::Literal,
        out: &mut Output,
    ) -> Result<(), Failed> {
        let mut mailbox = None;
        let first = self.fate != Fate::Pass;
        let before = if first {
            self.text.extend_from_slice(line);
            let mut text = std::mem::take(&mut self.text);
            let mut about = self.about(&text);
            mailbox = Some(grammar::first_argument(&about.arguments));
            about.mailbox.clone_from(&mailbox);
            about.literal = Some(literal.size);
            let change = shared.desk.command(&text, &about)?;
            shared.collect_own();
            match change {
                Change::Keep => {}
                Change::Replace(new) => text = new,
                Change::Drop(reply) => {
                    self.fate = Fate::Drop(reply);
                    self.announced(shared, literal, out);
                    return Ok(());
                }
            }
            let last = last_line(&text);
            let end = match grammar::literal(last) {
                Some(old) => text.len() - last.len() + old.start,
                None => trimmed(&text).len(),
            };
            text.truncate(end);
            self.fate = Fate::Collect;
            text
        } else {
            line[..literal.start].to_vec()
        };
        let about = Message {
            size: Some(literal.size),
            mailbox,
            ..Message::new(Side::Server, "APPEND")
        };
        let plan = shared.desk.plan(Kind::Message, Some(literal.size), &about);
        if plan == Plan::Pass {
            // The server asks the client itself.
            self.send_before(shared, &before, out);
            shared.send(&line[literal.start..], out);
            self.announced(shared, literal, out);
            return Ok(());
        }
        if literal.synchronising {
            out.send(Side::Client, GO_ON);
        }
        self.state = State::Message(Box::new(Appended {
            before,
            literal,
            left: literal.size,
            text: Vec::new(),
            plan,
            about,
            scanned: 0,
        }));
        if literal.size == 0 {
            self.message(shared, out)?;
        }
        Ok(())
    }

    /// Sends what stands before a message; the rest of the command follows.
    fn send_before(&mut self, shared: &mut Shared, before: &[u8], out: &mut Output) {
        if self.fate == Fate::Pass {
            return shared.send(before, out);
        }
        shared.send_own(out);
        self.begin_passing(shared);
        // A mailbox's name may be a literal in it.
        let tag = self.head.tag.clone();
        shared.send_commands(before, Some(&tag), out);
    }

    /// More of a message has come.
    fn message(&mut self, shared: &mut Shared, out: &mut Output) -> Result<(), Failed> {
        let State::Message(message) = &mut self.state else {
            return Ok(());
        };
        let mut text = None;
        if message.left == 0 {
            let change = shared
                .desk
                .content(message.plan, &message.text, &message.about)?;
            shared.collect_own();
            text = match change {
                Change::Keep => Some(std::mem::take(&mut message.text)),
                Change::Replace(text) => Some(text),
                Change::Drop(reply) => {
                    // Of several messages only this one is left out, once others are on their way.
                    if self.fate != Fate::Pass {
                        let reply = reply.unwrap_or_else(|| {
                            format!("OK {}", messages::APPEND_COMPLETED).into_bytes()
                        });
                        self.fate = Fate::Drop(Some(reply));
                    }
                    self.state = State::Text;
                    return Ok(());
                }
            };
        } else if message.plan == Plan::Head {
            let end = header_end(&message.text, message.scanned);
            message.scanned = message.text.len();
            if end.is_some() || message.text.len() > shared.desk.bounds.header {
                let end = end.unwrap_or(message.text.len());
                let new = shared.desk.head(&message.text, end, &message.about)?;
                shared.collect_own();
                text = Some(new.unwrap_or_else(|| std::mem::take(&mut message.text)));
            }
        }
        let Some(text) = text else {
            return Ok(());
        };
        let (before, literal, left) = (
            std::mem::take(&mut message.before),
            message.literal,
            message.left,
        );
        self.send_before(shared, &before, out);
        let size = text.len() + left;
        let announcement = literal.announcement(size);
        match literal.synchronises(size) {
            true => shared.announce(&self.head.tag, &announcement, out),
            false => shared.send(&announcement, out),
        }
        shared.send(&text, out);
        self.octets(left);
        Ok(())
    }

    /// The client has ended.
    pub(super) fn end(&mut self, shared: &mut Shared, out: &mut Output) {
        let held = std::mem::take(&mut self.held);
        flush(out, Side::Server, &mut self.text);
        flush(out, Side::Server, &mut self.lines.held);
        shared.send(&held, out);
    }
}

fn last_line(text: &[u8]) -> &[u8] {
    text.split_inclusive(|&byte| byte == b'\n')
        .next_back()
        .unwrap_or_default()
}

/// Keeps as much of a line's end as an announcement may take.
pub(super) fn keep_tail(tail: &mut Vec<u8>, piece: &[u8]) {
    tail.extend_from_slice(&piece[piece.len().saturating_sub(32)..]);
    let surplus = tail.len().saturating_sub(32);
    tail.drain(..surplus);
}
