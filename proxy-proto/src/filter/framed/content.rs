//! Messages: their headers, their hooks, and the dots of POP and SMTP.

use super::{Change, Desk, Message};
use crate::filter::Failed;

/// What is done with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// A whole message: header, then message.
    Message,
    /// Its header, then the rest passes.
    Head,
    /// A header by itself.
    Header,
    /// A part by itself.
    Part,
    /// It passes.
    Pass,
}

/// What kind of content it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Header,
    Part,
}

impl Desk {
    /// What is to be done with content of a known length, or of one that shows later.
    pub(super) fn plan(&mut self, kind: Kind, size: Option<usize>, about: &Message) -> Plan {
        let (wants, bounds) = (self.wants, self.bounds);
        let fits = |most: usize| size.is_none_or(|size| size <= most);
        match kind {
            Kind::Message if wants.message && fits(bounds.message) => Plan::Message,
            Kind::Message => {
                if wants.message {
                    self.units.passes_unseen("message", about);
                }
                match wants.header {
                    true => Plan::Head,
                    false => Plan::Pass,
                }
            }
            Kind::Header if wants.header && fits(bounds.header) => Plan::Header,
            Kind::Header if wants.header => {
                self.units.passes_unseen("header", about);
                Plan::Pass
            }
            Kind::Part if wants.part && fits(bounds.message) => Plan::Part,
            Kind::Part if wants.part => {
                self.units.passes_unseen("part", about);
                Plan::Pass
            }
            Kind::Header | Kind::Part => Plan::Pass,
        }
    }

    /// Complete content by its plan.
    pub(super) fn content(
        &mut self,
        plan: Plan,
        text: &[u8],
        about: &Message,
    ) -> Result<Change, Failed> {
        let replaced = |new: Option<Vec<u8>>| new.map_or(Change::Keep, Change::Replace);
        match plan {
            Plan::Pass => Ok(Change::Keep),
            Plan::Header => self.units.header(text, about).map(replaced),
            Plan::Part => self.units.part(text, about).map(replaced),
            Plan::Head => {
                let end = header_end(text, 0).unwrap_or(text.len());
                self.head(text, end, about).map(replaced)
            }
            Plan::Message => {
                let end = header_end(text, 0).unwrap_or(text.len());
                let changed = match self.wants.header {
                    true => self.head(text, end, about)?,
                    false => None,
                };
                match self
                    .units
                    .message(changed.as_deref().unwrap_or(text), about)?
                {
                    Change::Keep => Ok(replaced(changed)),
                    change => Ok(change),
                }
            }
        }
    }

    /// The text with its header, which ends at `end`, changed; `None`: it stays.
    pub(super) fn head(
        &mut self,
        text: &[u8],
        end: usize,
        about: &Message,
    ) -> Result<Option<Vec<u8>>, Failed> {
        if end > self.bounds.header {
            self.units.passes_unseen("header", about);
            return Ok(None);
        }
        let header = self.units.header(&text[..end], about)?;
        Ok(header.map(|mut header| {
            header.extend_from_slice(&text[end..]);
            header
        }))
    }
}

/// Where the body begins: behind the first empty line. What lies before `from` was looked at already.
pub(super) fn header_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from.saturating_sub(3);
    if at == 0 {
        if text.starts_with(b"\r\n") {
            return Some(2);
        }
        if text.starts_with(b"\n") {
            return Some(1);
        }
    }
    while let Some(next) = text[at..].iter().position(|&byte| byte == b'\n') {
        let behind = at + next + 1;
        if text[behind..].starts_with(b"\r\n") {
            return Some(behind + 2);
        }
        if text[behind..].starts_with(b"\n") {
            return Some(behind + 1);
        }
        at = behind;
    }
    None
}

/// Finds the line with one dot that ends the data of DATA, RETR and TOP (RFC 5321 §4.5.2, RFC 1939 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dots {
    /// Bytes of `\r\n.\r\n` that were just seen.
    seen: u8,
    begun: bool,
}

/// What `seen` is once the end was seen.
const OVER: u8 = 5;

impl Dots {
    /// The end has been seen.
    pub(super) fn is_over(&self) -> bool {
        self.seen == OVER
    }

    /// How many of these bytes belong to the data, its end included, and whether that is there.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        const END: &[u8; 5] = b"\r\n.\r\n";
        if !self.begun {
            // The data's beginning is the beginning of a line.
            self.begun = true;
            self.seen = 2;
        }
        let mut at = 0;
        while at < bytes.len() {
            if self.seen == 0 {
                match bytes[at..].iter().position(|&byte| byte == b'\r') {
                    Some(skip) => at += skip,
                    None => return (bytes.len(), false),
                }
            }
            let byte = bytes[at];
            at += 1;
            self.seen = if byte == END[usize::from(self.seen)] {
                self.seen + 1
            } else {
                u8::from(byte == b'\r')
            };
            if self.seen == OVER {
                return (at, true);
            }
        }
        (at, false)
    }
}

/// The text of data that has its final dot cut off.
pub(super) fn unstuffed(data: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(data.len());
    let mut rest = data;
    let mut at_start = true;
    while !rest.is_empty() {
        if at_start && rest[0] == b'.' {
            rest = &rest[1..];
        }
        let end = line_end(rest);
        text.extend_from_slice(&rest[..end]);
        at_start = rest[..end].ends_with(b"\r\n");
        rest = &rest[end..];
    }
    text
}

/// The data of a text, its final dot included.
pub(super) fn stuffed(text: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(text.len() + 64);
    let mut rest = text;
    let mut at_start = true;
    while !rest.is_empty() {
        if at_start && rest[0] == b'.' {
            data.push(b'.');
        }
        let end = line_end(rest);
        data.extend_from_slice(&rest[..end]);
        at_start = rest[..end].ends_with(b"\r\n");
        rest = &rest[end..];
    }
    if !at_start {
        data.extend_from_slice(b"\r\n");
    }
    data.extend_from_slice(b".\r\n");
    data
}

fn growth(before: usize, after: usize) -> i64 {
    let signed = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    signed(after).saturating_sub(signed(before))
}

fn line_end(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(bytes.len(), |at| at + 1)
}

/// What [`Dotted::feed`] has come to.
pub(super) enum Dotted {
    /// More is needed.
    More,
    /// This may go on, and what follows passes up to its end.
    Go(Vec<u8>),
    /// All of it: data that goes on.
    Whole(Vec<u8>),
    /// It is to be dropped, with this answer.
    Dropped(Option<Vec<u8>>),
}

/// Content that ends with a dot, being collected.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) plan: Plan,
    data: Vec<u8>,
    scanned: usize,
    /// By how many octets what came out is longer than what went in; dots that are doubled do not count.
    grown: i64,
    /// The octet that comes next stood behind a bare LF, and stands at the beginning of a line now: a dot is to be doubled.
    doubles: bool,
}

impl Collected {
    pub(super) fn new(plan: Plan) -> Self {
        Collected {
            plan,
            data: Vec::new(),
            scanned: 0,
            grown: 0,
            doubles: false,
        }
    }

    /// By how many octets the text has grown so far; negative where it has become shorter.
    pub(super) fn grown(&self) -> i64 {
        self.grown
    }

    /// What was collected when nothing more comes.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.data)
    }

    /// Takes bytes of the data, up to its end where `done`.
    pub(super) fn feed(
        &mut self,
        desk: &mut Desk,
        bytes: &[u8],
        done: bool,
        about: &Message,
    ) -> Result<Dotted, Failed> {
        if self.plan == Plan::Pass {
            let mut data = Vec::with_capacity(bytes.len() + 1);
            self.pass(bytes, &mut data);
            return Ok(Dotted::Go(data));
        }
        self.data.extend_from_slice(bytes);
        // The same wherever the network has cut it: the final dot, or what may become one, does not count.
        let most = desk.bounds.message;
        let too_long = match done {
            true => self.data.len() > most.saturating_add(3),
            false => self.data.len() > most.saturating_add(5),
        };
        if self.plan == Plan::Message && too_long {
            desk.units.passes_unseen("message", about);
            self.plan = match desk.wants.header {
                true => Plan::Head,
                false => Plan::Pass,
            };
        }
        if done {
            let data = std::mem::take(&mut self.data);
            let end = data.len().saturating_sub(3);
            let text = unstuffed(&data[..end]);
            let change = desk.content(self.plan, &text, about)?;
            return Ok(match change {
                Change::Keep => Dotted::Whole(data),
                Change::Replace(new) => {
                    let new = stuffed(&new);
                    self.grown = growth(text.len(), unstuffed(&new[..new.len() - 3]).len());
                    Dotted::Whole(new)
                }
                Change::Drop(answer) => Dotted::Dropped(answer),
            });
        }
        match self.plan {
            Plan::Message => return Ok(Dotted::More),
            Plan::Pass => return Ok(Dotted::Go(std::mem::take(&mut self.data))),
            _ => {}
        }
        let end = header_end(&self.data, self.scanned);
        self.scanned = self.data.len();
        if end.is_none() && self.data.len() <= desk.bounds.header {
            return Ok(Dotted::More);
        }
        self.plan = Plan::Pass;
        let data = std::mem::take(&mut self.data);
        let end = end.unwrap_or(data.len());
        // A header's lines do not begin with dots; one that does is doubled as before.
        let text = unstuffed(&data[..end]);
        let header = match end <= desk.bounds.header {
            true => desk.units.header(&text, about)?,
            false => {
                desk.units.passes_unseen("header", about);
                None
            }
        };
        Ok(Dotted::Go(match header {
            None => data,
            Some(header) => {
                let mut new = stuffed(&header);
                new.truncate(new.len() - 3);
                self.grown = growth(text.len(), unstuffed(&new).len());
                // Only behind CRLF is a dot doubled already, and could be the final one.
                self.doubles = !data[..end].ends_with(b"\r\n");
                self.pass(&data[end..], &mut new);
                new
            }
        }))
    }

    /// What follows the header goes on.
    fn pass(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        if let Some(&first) = bytes.first()
            && std::mem::take(&mut self.doubles)
            && first == b'.'
        {
            to.push(b'.');
        }
        to.extend_from_slice(bytes);
    }
}
