//! IMAP after the login (RFC 3501, RFC 9051): commands and responses with their literals.

mod commands;
mod grammar;
mod responses;

use super::{Change, Desk};
use crate::{
    Side,
    filter::{Failed, Filter, Output, Verdict},
};
use commands::Commands;
use responses::Responses;
use std::collections::{HashMap, VecDeque};

/// Commands whose answers are still awaited and remembered; a client that has more of them open gets them without names.
const OPEN: usize = 1_000;

pub(super) struct Imap {
    shared: Shared,
    commands: Commands,
    responses: Responses,
}

/// What both directions need.
struct Shared {
    desk: Desk,
    /// Open commands by tag: name, and whether they are the units' own.
    tags: HashMap<Vec<u8>, (String, bool)>,
    /// What is to be sent to the server once it has said `+`.
    outgoing: VecDeque<Waiting>,
    /// Whose literal the server is asked for.
    awaiting: Option<Vec<u8>>,
    /// IDLE is open: the client's next line has no tag.
    idle: Option<Vec<u8>>,
    /// The units' own bytes for either side, until what passes now is through.
    to_client: Vec<u8>,
    to_server: Vec<u8>,
}

/// Bytes for the server that wait for its word.
struct Waiting {
    bytes: Vec<u8>,
    /// They end with an announcement: its word is awaited once more.
    announces: bool,
}

impl Shared {
    fn remember(&mut self, tag: &[u8], name: &str, own: bool) {
        if self.tags.len() < OPEN {
            self.tags.insert(tag.to_vec(), (name.to_owned(), own));
        }
    }

    /// Takes what the units have sent.
    fn collect_own(&mut self) {
        for (to, bytes) in self.desk.units.sent() {
            match to {
                Side::Client => self.to_client.extend_from_slice(&bytes),
                Side::Server => self.to_server.extend_from_slice(&bytes),
            }
        }
    }

    /// Sends to the server, behind what waits for it.
    fn send(&mut self, bytes: &[u8], out: &mut Output) {
        match (&self.awaiting, self.outgoing.back_mut()) {
            (None, _) => out.send(Side::Server, bytes),
            (Some(_), Some(last)) if !last.announces => last.bytes.extend_from_slice(bytes),
            (Some(_), _) => self.outgoing.push_back(Waiting {
                bytes: bytes.to_vec(),
                announces: false,
            }),
        }
    }

    /// Sends the announcement of a synchronising literal that the client was asked for already: what follows waits for the
    /// server's word.
    fn announce(&mut self, tag: &[u8], bytes: &[u8], out: &mut Output) {
        self.send(bytes, out);
        match self.outgoing.back_mut() {
            Some(last) if self.awaiting.is_some() => last.announces = true,
            _ => self.awaiting = Some(tag.to_vec()),
        }
    }

    /// The server wants the literal.
    fn go_on(&mut self, out: &mut Output) {
        let tag = self.awaiting.take();
        while let Some(waiting) = self.outgoing.pop_front() {
            out.send(Side::Server, &waiting.bytes);
            if waiting.announces {
                self.awaiting = tag;
                return;
            }
        }
    }

    /// The units' own commands; their answers are theirs.
    fn send_own(&mut self, out: &mut Output) {
        if self.to_server.is_empty() || self.awaiting.is_some() {
            return;
        }
        let own = std::mem::take(&mut self.to_server);
        self.send_commands(&own, None, out);
    }

    /// Sends complete commands. Those that have not the client's tag are the units' own.
    fn send_commands(&mut self, text: &[u8], client: Option<&[u8]>, out: &mut Output) {
        let mut tag: Option<Vec<u8>> = None;
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(rest.len(), |at| at + 1);
            let (line, behind) = rest.split_at(end);
            let whose = match &tag {
                Some(tag) => tag.clone(),
                None => {
                    let head = grammar::head(line);
                    let own = client.is_some_and(|client| client != head.tag) || client.is_none();
                    if head.name == "IDLE" {
                        self.idle = Some(head.tag.clone());
                    }
                    self.remember(&head.tag, &head.name, own);
                    head.tag
                }
            };
            rest = behind;
            match grammar::literal(line) {
                None => {
                    self.send(line, out);
                    tag = None;
                }
                Some(literal) => {
                    let (content, behind) = rest.split_at(literal.size.min(rest.len()));
                    if literal.synchronising {
                        self.announce(&whose, line, out);
                    } else {
                        self.send(line, out);
                    }
                    self.send(content, out);
                    rest = behind;
                    tag = Some(whose);
                }
            }
        }
    }
}

impl Imap {
    pub(super) fn new(desk: Desk) -> Self {
        Imap {
            shared: Shared {
                desk,
                tags: HashMap::new(),
                outgoing: VecDeque::new(),
                awaiting: None,
                idle: None,
                to_client: Vec::new(),
                to_server: Vec::new(),
            },
            commands: Commands::default(),
            responses: Responses::new(),
        }
    }

    /// Between units: what the units have sent.
    fn settle(&mut self, out: &mut Output) {
        self.shared.collect_own();
        if self.responses.is_between() {
            super::flush(out, Side::Client, &mut self.shared.to_client);
        }
        if self.commands.is_between() {
            self.shared.send_own(out);
        }
    }
}

impl Filter for Imap {
    fn open(&mut self, out: &mut Output) -> Result<(), Failed> {
        self.shared.desk.units.open()?;
        self.settle(out);
        Ok(())
    }

    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = match from {
                Side::Client if self.shared.awaiting.is_some() => {
                    self.commands.hold(rest);
                    break;
                }
                Side::Client => self.commands.take(&mut self.shared, rest, out)?,
                Side::Server => {
                    self.responses
                        .take(&mut self.shared, &mut self.commands, rest, out)?
                }
            };
            rest = &rest[used..];
            self.settle(out);
            if from == Side::Server {
                let mut held = self.commands.release(&self.shared);
                while !held.is_empty() && self.shared.awaiting.is_none() {
                    let used = self.commands.take(&mut self.shared, &held, out)?;
                    held.drain(..used);
                    self.settle(out);
                }
                self.commands.hold(&held);
            }
        }
        Ok(Verdict::Taken)
    }

    fn end(&mut self, from: Side, out: &mut Output) -> Result<(), Failed> {
        match from {
            Side::Client => {
                self.shared.go_on(out);
                self.commands.end(&mut self.shared, out);
            }
            Side::Server => self.responses.end(out),
        }
        Ok(())
    }

    fn ready(&self, from: Side) -> bool {
        from == Side::Server || self.shared.awaiting.is_none()
    }
}

/// What is to be sent in place of the text; `None`: nothing.
fn changed(text: Vec<u8>, change: Change) -> Option<Vec<u8>> {
    match change {
        Change::Keep => Some(text),
        Change::Replace(text) => Some(text),
        Change::Drop(_) => None,
    }
}
