//! The server's replies, and what follows from them.

use super::{Smtp, State, content::Data};
use crate::{
    Side,
    filter::{
        Failed, Output,
        framed::{
            Change, Line, Response,
            content::{Collected, Dots, Plan},
            flush,
            replies::Whose,
            split_name,
        },
    },
};

impl Smtp {
    pub(super) fn reply_line(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
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
