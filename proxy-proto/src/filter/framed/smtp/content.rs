//! What DATA and BDAT carry: collected, handed over, and packed again.

use super::{ACCEPTED, Smtp, State};
use crate::{
    Side,
    filter::{
        Failed, Output,
        framed::{
            Change, Message,
            content::{Collected, Dots, Dotted, Kind, Plan, header_end},
            replies::Whose,
            trimmed,
        },
    },
    messages,
};

pub(super) struct Data {
    pub(super) collected: Collected,
    pub(super) dots: Dots,
    pub(super) about: Message,
    /// It goes nowhere: a script has answered DATA.
    pub(super) local: bool,
    /// The server has been asked, and whether its answer is awaited.
    pub(super) asked: bool,
    pub(super) awaiting: bool,
}

pub(super) struct Piece {
    pub(super) left: usize,
    pub(super) last: bool,
    pub(super) fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Collect,
    Pass,
    Drop,
}

impl Smtp {
    pub(super) fn receive(&mut self, command: &'static str, local: bool) {
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

    pub(super) fn bdat(
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

    pub(super) fn piece(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
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
            let reply = format!("250 2.0.0 {}", messages::PIECE_ACCEPTED);
            self.replies.local(reply.into_bytes());
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
        let head = header_end(pieces, 0);
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

    pub(super) fn drop_message(&mut self, reply: Option<Vec<u8>>, out: &mut Output) {
        self.replies.expect("RSET".to_owned(), false, Whose::Framer);
        out.send(Side::Server, b"RSET\r\n");
        self.replies
            .local(reply.unwrap_or_else(|| ACCEPTED.to_vec()));
        self.settle(out);
    }

    pub(super) fn data(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
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

    pub(super) fn content_is_out(&mut self, out: &mut Output) {
        self.state = State::Commands;
        self.replies.expect(".".to_owned(), false, Whose::Client);
        self.settle(out);
    }

    /// The server has answered the DATA that the framer has sent.
    pub(super) fn go_answered(&mut self, code: u16, reply: &[u8], out: &mut Output) {
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
}
