//! POP and SMTP answer commands in order: who answers what.

use std::collections::VecDeque;

/// What the client, or a filter, waits for.
#[derive(Debug)]
pub(super) enum Awaited {
    /// The server's reply to this command.
    Server {
        name: String,
        /// POP: a positive one has several lines.
        lines: bool,
        whose: Whose,
    },
    /// A reply that is ready, and has its turn when those before it are through.
    Local(Vec<u8>),
    /// SMTP: DATA, which the client has sent and the server has not seen.
    Data,
}

/// Who has sent a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The client: the reply is its.
    Client,
    /// The units: they are told.
    Own,
    /// The framer: nobody is told.
    Framer,
}

/// Replies that are due, in order.
#[derive(Debug)]
pub(super) struct Replies(pub(super) VecDeque<Awaited>);

impl Replies {
    /// The answer to the login comes first.
    pub(super) fn new() -> Self {
        let mut replies = Replies(VecDeque::new());
        replies.expect("LOGIN".to_owned(), false, Whose::Client);
        replies
    }

    pub(super) fn expect(&mut self, name: String, lines: bool, whose: Whose) {
        self.0.push_back(Awaited::Server { name, lines, whose });
    }

    pub(super) fn local(&mut self, mut reply: Vec<u8>) {
        reply.extend_from_slice(b"\r\n");
        self.0.push_back(Awaited::Local(reply));
    }

    /// The command that the server answers now.
    pub(super) fn current(&self) -> Option<(&str, bool, Whose)> {
        match self.0.front()? {
            Awaited::Server { name, lines, whose } => Some((name, *lines, *whose)),
            Awaited::Local(_) | Awaited::Data => None,
        }
    }

    /// The server's reply is complete.
    pub(super) fn answered(&mut self) {
        if self.current().is_some() {
            self.0.pop_front();
        }
    }

    /// A reply that is ready and whose turn it is.
    pub(super) fn ready(&mut self) -> Option<Vec<u8>> {
        match self.0.pop_front()? {
            Awaited::Local(reply) => Some(reply),
            other => {
                self.0.push_front(other);
                None
            }
        }
    }
}
