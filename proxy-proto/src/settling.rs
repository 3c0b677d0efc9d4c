//! Between the login and relay: what the client sent behind its login is framed once more, then let go.

use crate::{Reason, Session, Side, core::Phase, frame::Framed, machine::Settled, messages};

/// Octets at a command's beginning in which its tag and verb stand, if it has any.
pub(crate) const BEGINNING: usize = 600;

impl Session {
    /// After the login: frames what is held once more, then lets everything go.
    pub(crate) fn settle(&mut self) -> bool {
        let held = self.core.client.receive.lend();
        // What arrives later is relay, however the network cuts it: only the last held command is waited for.
        let unsettled = *self.core.unsettled.get_or_insert(held.len());
        let done =
            unsettled == 0 && matches!(self.machine.settle(&mut self.core, &[]), Settled::Release);
        let settled = if done || self.core.client.eof && held.is_empty() {
            Settled::Release
        } else {
            self.machine.settle(&mut self.core, &held)
        };
        if self.core.phase != Phase::Settling {
            return false; // what was held has ended the session
        }
        match settled {
            Settled::Used(used) => {
                self.core.unsettled = Some(unsettled.saturating_sub(used));
                self.core.client.receive.restore(held, used);
                true
            }
            Settled::More if self.core.client.eof || self.core.shutting_down => {
                // The rest of the command will never come: it is dropped, for it may be a password's beginning.
                self.core.begin_relay();
                true
            }
            Settled::More => {
                let limits = &self.core.config.limits;
                if held.len() > limits.imap_line.max(limits.line) + limits.imap_literal {
                    self.core.close(Reason::Limit(
                        Side::Client,
                        messages::COMMAND_BEHIND_TOO_LONG.into(),
                    ));
                } else {
                    self.core.client.receive.restore(held, 0);
                }
                false
            }
            Settled::AwaitServer => {
                self.core.client.receive.restore(held, 0);
                self.core.unsettled = None; // what the client sends meanwhile is held as well
                let answers = self.core.server.receive.lend();
                let mut used = 0;
                while used < answers.len() && self.core.phase == Phase::Settling {
                    match self.machine.look(
                        &self.core.config.limits,
                        Side::Server,
                        &answers[used..],
                    ) {
                        Framed::Complete(len) => {
                            self.machine.frame(
                                &mut self.core,
                                Side::Server,
                                &answers[used..used + len],
                            );
                            used += len;
                        }
                        Framed::Broken(_) => {
                            let why = messages::ANSWER_BEHIND_NOT_UNDERSTOOD.into();
                            self.core.close(Reason::Protocol(Side::Server, why));
                            return false;
                        }
                        Framed::Incomplete | Framed::Literal { .. } => break,
                    }
                    if !self.machine.client_waits() {
                        break;
                    }
                }
                self.core.server.receive.restore(answers, used);
                used > 0 && !self.machine.client_waits()
            }
            Settled::Release => {
                self.core.client.receive.restore(held, 0);
                self.core.begin_relay();
                true
            }
        }
    }

    /// Takes what comes while an unfinished command is held, in pieces that decide one thing at a time: what is framed
    /// and what is relayed must not depend on how the network has cut it. Returns what is no longer held.
    pub(crate) fn settle_piece_by_piece<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while self.core.phase == Phase::Settling && !rest.is_empty() {
            // Behind its beginning only the end of a command's line decides.
            let piece = match self.core.client.receive.len() {
                ..BEGINNING => 1,
                _ => rest
                    .iter()
                    .position(|b| b"\r\n".contains(b))
                    .map_or(rest.len(), |at| at + 1),
            };
            self.keep(Side::Client, &rest[..piece]);
            // Without its consequences: `Relay` is told once all the pieces are on their way.
            self.go_on();
            rest = &rest[piece..];
        }
        rest
    }
}
