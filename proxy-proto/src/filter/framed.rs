//! Filters that get whole protocol units: commands, responses and messages, whatever way the network has cut them.
//!
//! [`framed`] makes such a filter of [`Units`]. What is longer than its [`Bounds`] passes as it comes. To hand over a command
//! with its literals, or a message, the filter speaks for the other side where it must: it asks the client for
//! literals (RFC 9051 §4.3), for the data of DATA (RFC 5321 §4.1.1.4) and for the next piece of BDAT (RFC 3030 §2), before it asks
//! the server whether it wants them; the server's refusal is then the answer to the whole.

mod content;
mod imap;
mod pop;
mod replies;
mod smtp;

use super::{Failed, Filter, Output};
use crate::{Protocol, Side};

/// What becomes of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It goes on.
    Keep,
    /// This goes on in its place.
    Replace(Vec<u8>),
    /// Nothing goes on. A command's, or a message's, sender gets this answer, if there is one: IMAP without tag, all without
    /// CRLF.
    Drop(Option<Vec<u8>>),
}

/// Which units are wanted; the others pass without being collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// [`Units::command`].
    pub command: bool,
    /// [`Units::response`].
    pub response: bool,
    /// [`Units::header`].
    pub header: bool,
    /// [`Units::message`].
    pub message: bool,
    /// [`Units::part`].
    pub part: bool,
}

/// What is collected at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A command or response.
    pub unit: usize,
    /// A message's header.
    pub header: usize,
    /// A message, or a part of one.
    pub message: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            unit: 64 * 1024,
            header: 256 * 1024,
            message: 8 * 1024 * 1024,
        }
    }
}

/// About a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Upper case; with UID in front where it is there; `DONE` at the end of IDLE.
    pub name: String,
    /// IMAP: the tag.
    pub tag: Vec<u8>,
    /// What stands behind the name, without the blank before it and the CRLF behind it.
    pub arguments: Vec<u8>,
    /// APPEND: the mailbox, unquoted.
    pub mailbox: Option<Vec<u8>>,
    /// APPEND: the length of the message that is announced.
    pub literal: Option<usize>,
}

/// About a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The name of the command that it answers; `LOGIN` for the answer to the login.
    pub command: Option<String>,
    /// It answers a command of this filter's own: it goes no further.
    pub own: bool,
    /// IMAP: `*`, `+` or the tag.
    pub tag: Vec<u8>,
    /// IMAP: its kind, in upper case.
    pub name: Option<String>,
    /// IMAP: the number before the kind.
    pub number: Option<u64>,
    /// POP: whether it is positive.
    pub ok: bool,
    /// SMTP: its code.
    pub code: u16,
}

/// About a message, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which side it goes to.
    pub to: Side,
    /// `DATA`, `BDAT`, `APPEND`, `FETCH`, `RETR` or `TOP`.
    pub command: &'static str,
    /// Octets, where they were announced.
    pub size: Option<usize>,
    /// APPEND: the mailbox, unquoted.
    pub mailbox: Option<Vec<u8>>,
    /// SMTP: the envelope's sender, as far as the server has accepted it.
    pub sender: Option<Vec<u8>>,
    /// SMTP: the recipients that the server has accepted.
    pub recipients: Vec<Vec<u8>>,
    /// FETCH: the sequence number.
    pub number: Option<u64>,
    /// FETCH: such as `BODY[TEXT]<0>`.
    pub section: Option<String>,
}

impl Message {
    fn new(to: Side, command: &'static str) -> Self {
        Message {
            to,
            command,
            size: None,
            mailbox: None,
            sender: None,
            recipients: Vec::new(),
            number: None,
            section: None,
        }
    }
}

/// Somebody who takes whole units; what it does not look at stays as it is. What it wants to send itself is asked for with [`sent`](Self::sent) after each call.
pub trait Units: Send {
    /// Asked once, at the beginning.
    fn wants(&self) -> Wants;

    /// The login has succeeded.
    ///
    /// # Errors
    /// As all of them: the session ends.
    fn open(&mut self) -> Result<(), Failed> {
        Ok(())
    }

    /// A complete command; IMAP's APPEND without its message.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn command(&mut self, text: &[u8], about: &Command) -> Result<Change, Failed> {
        let _ = (text, about);
        Ok(Change::Keep)
    }

    /// A complete response, without the bodies of RETR and TOP. It has no answer to be dropped with.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn response(&mut self, text: &[u8], about: &Response) -> Result<Change, Failed> {
        let _ = (text, about);
        Ok(Change::Keep)
    }

    /// A header, with the empty line at its end; `Some` replaces it.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn header(&mut self, text: &[u8], about: &Message) -> Result<Option<Vec<u8>>, Failed> {
        let _ = (text, about);
        Ok(None)
    }

    /// A whole message. Only one that goes to the server can be dropped.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn message(&mut self, text: &[u8], about: &Message) -> Result<Change, Failed> {
        let _ = (text, about);
        Ok(Change::Keep)
    }

    /// A part of a message, by itself; `Some` replaces it.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    fn part(&mut self, text: &[u8], about: &Message) -> Result<Option<Vec<u8>>, Failed> {
        let _ = (text, about);
        Ok(None)
    }

    /// Something is too long and passes unseen.
    fn passes_unseen(&mut self, what: &str, about: &Message) {
        let _ = (what, about);
    }

    /// What it has sent, in order, since it was asked the last time: whole units.
    fn sent(&mut self) -> Vec<(Side, Vec<u8>)> {
        Vec::new()
    }
}

/// A filter for this protocol, from the server's final answer to the login on.
pub fn framed(protocol: Protocol, units: Box<dyn Units>, bounds: Bounds) -> Box<dyn Filter> {
    let desk = Desk {
        wants: units.wants(),
        units,
        bounds,
    };
    match protocol {
        Protocol::Imap => Box::new(imap::Imap::new(desk)),
        Protocol::Pop => Box::new(pop::Pop::new(desk)),
        Protocol::Smtp => Box::new(smtp::Smtp::new(desk)),
    }
}

/// What every framer has at hand.
struct Desk {
    units: Box<dyn Units>,
    wants: Wants,
    bounds: Bounds,
}

impl Desk {
    fn command(&mut self, text: &[u8], about: &Command) -> Result<Change, Failed> {
        match self.wants.command {
            true => self.units.command(text, about),
            false => Ok(Change::Keep),
        }
    }

    fn response(&mut self, text: &[u8], about: &Response) -> Result<Change, Failed> {
        match self.wants.response {
            true => self.units.response(text, about),
            false => Ok(Change::Keep),
        }
    }
}

/// Cuts lines out of bytes; a line that is too long is handed out in pieces.
#[derive(Default)]
struct Lines {
    held: Vec<u8>,
    /// The line's beginning has been handed out.
    begun: bool,
}

/// What [`Lines::take`] has found; the number of bytes used is with it.
enum Line {
    /// A whole line, in `held`.
    Whole,
    /// A piece of a line that is too long, in `held`; whether it is the first, and the last.
    Piece { first: bool, last: bool },
    /// Not yet.
    Incomplete,
}

impl Lines {
    /// Takes bytes up to the end of a line into `held`, which its user empties.
    fn take(&mut self, bytes: &[u8], most: usize) -> (usize, Line) {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(bytes.len(), |at| at + 1);
        self.held.extend_from_slice(&bytes[..used]);
        let last = end.is_some();
        let line = if self.begun || self.held.len() > most {
            let first = !self.begun;
            self.begun = !last;
            Line::Piece { first, last }
        } else if last {
            Line::Whole
        } else {
            Line::Incomplete
        };
        (used, line)
    }
}

/// Without its line end.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The first word in upper case, and what stands behind the blank after it.
fn split_name(line: &[u8]) -> (String, &[u8]) {
    let end = line
        .iter()
        .position(|&byte| byte == b' ')
        .unwrap_or(line.len());
    let name = String::from_utf8_lossy(&line[..end]).to_ascii_uppercase();
    (name, line.get(end + 1..).unwrap_or_default())
}

/// Sends what is there, and empties it.
fn flush(out: &mut Output, to: Side, bytes: &mut Vec<u8>) {
    out.send(to, bytes);
    bytes.clear();
    if bytes.capacity() > 64 * 1024 {
        *bytes = Vec::new();
    }
}

#[cfg(test)]
mod ends;
#[cfg(test)]
mod tests;
