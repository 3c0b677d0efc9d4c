//! What the client says before login, and what it is told.

use super::{
    Expecting, Imap, Server,
    grammar::{self, Command},
};
use crate::{
    LocalTls, Reason, Side,
    core::{Core, ServerLink, Tls},
    frame::{Framed, Framer},
    machine::{Farewell, Machine, Settled},
    messages,
    redact::SECRET,
    refusal::{count_error, refuse},
    sasl::{self, ClientSasl, Step},
    settling::BEGINNING,
};
use std::borrow::Cow;

impl Imap {
    pub(super) fn client_frame(&mut self, core: &mut Core, frame: &[u8]) {
        match std::mem::take(&mut self.expecting) {
            Expecting::Command => self.client_command(core, frame),
            Expecting::Response(state) => {
                let line = frame.strip_suffix(b"\r\n").unwrap_or(frame);
                core.show_response(line);
                self.respond(core, state, line, false);
            }
        }
    }

    fn client_command(&mut self, core: &mut Core, frame: &[u8]) {
        let Some((tag, command)) = grammar::command(frame) else {
            core.show(Side::Client, false, SECRET.as_bytes());
            core.tell_client(format!("* BAD {}\r\n", messages::NO_TAG).as_bytes());
            return count_error(self, core);
        };
        self.name_tag(tag);
        self.show_command(core, frame, &command);
        match command {
            Command::Login { .. } | Command::Authenticate { .. } if !self.login_allowed(core) => {}
            Command::Login { user, password } => match sasl::login(&user, &password) {
                Ok(login) => core.begin_login(login),
                Err(why) => self.refuse_unusable(core, why),
            },
            Command::Authenticate { mechanism, initial } => {
                match ClientSasl::begin(mechanism, true) {
                    Some(state) => match initial {
                        Some(response) => self.respond(core, state, response, true),
                        None => self.ask(core, state),
                    },
                    None => {
                        let why = messages::MECHANISM_NOT_SERVED;
                        self.answer(core, format_args!("NO [CANNOT] {why}"));
                        count_error(self, core);
                    }
                }
            }
            Command::StartTls => self.start_tls(core),
            Command::Capability | Command::Noop | Command::Id => self.forward(core, frame, false),
            Command::Logout => self.forward(core, frame, true),
            Command::Malformed(why) => self.bad(core, why),
            Command::Other => {
                let answer = format!("BAD {}\r\n", messages::LOG_IN_FIRST);
                let known = grammar::head(frame).is_some_and(|head| grammar::is_known(head.verb));
                let tag = if known { tag } else { SECRET.as_bytes() };
                let shown = [tag, b" ", answer.as_bytes()].concat();
                core.tell_client_as(&[&self.tag[..], b" ", answer.as_bytes()].concat(), &shown);
                count_error(self, core);
            }
        }
    }

    /// Before TLS on a listener that demands it: refuses a login; the password may have been read by others already.
    fn login_allowed(&mut self, core: &mut Core) -> bool {
        if core.client_may().login {
            return true;
        }
        let why = messages::START_TLS_FIRST;
        self.answer(core, format_args!("NO [PRIVACYREQUIRED] {why}"));
        count_error(self, core);
        false
    }

    fn respond(&mut self, core: &mut Core, state: ClientSasl, line: &[u8], initial: bool) {
        match state.respond(line, initial) {
            Step::Done(login) => core.begin_login(login),
            Step::Ask(next) => self.ask(core, next),
            Step::Cancelled => self.bad(core, messages::CANCELLED),
            Step::BadBase64 => self.bad(core, messages::NOT_BASE64),
            Step::Unusable(why) => self.refuse_unusable(core, why),
        }
    }

    fn ask(&mut self, core: &mut Core, state: ClientSasl) {
        core.tell_client(format!("+ {}\r\n", state.challenge()).as_bytes());
        self.expecting = Expecting::Response(state);
    }

    /// A login that can never succeed, refused without asking anybody.
    fn refuse_unusable(&mut self, core: &mut Core, why: &str) {
        refuse(self, core, &crate::Refusal::Denied(why.to_owned()));
    }

    fn bad(&mut self, core: &mut Core, why: &str) {
        self.answer(core, format_args!("BAD {why}"));
        count_error(self, core);
    }

    fn start_tls(&mut self, core: &mut Core) {
        let offered = matches!(
            core.config.local_tls,
            LocalTls::StartTlsRequired | LocalTls::StartTlsOptional
        );
        if offered && core.client.tls == Tls::Plain && core.more_follows {
            // Whoever sent it would have it read as if it had come over TLS.
            let why = messages::CLIENT_DATA_BEFORE_TLS;
            self.farewell(core, Farewell::BadInput, why);
            return core.close(Reason::Protocol(Side::Client, why.into()));
        }
        if offered && core.client.tls == Tls::Plain {
            self.answer(core, format_args!("OK {}", messages::BEGIN_TLS));
            core.upgrade(Side::Client);
        } else if core.client.tls == Tls::Secure {
            self.bad(core, messages::TLS_ALREADY);
        } else {
            self.bad(core, messages::STARTTLS_NOT_SERVED);
        }
    }

    fn forward(&mut self, core: &mut Core, frame: &[u8], logout: bool) {
        if core.server_link == ServerLink::Gone {
            if logout {
                core.tell_client(format!("* BYE {}\r\n", messages::GOODBYE).as_bytes());
                self.answer(core, format_args!("OK {}", messages::LOGOUT_COMPLETED));
                return core.close(Reason::ClientLeft);
            }
            self.farewell(core, Farewell::Unavailable, messages::SERVER_CLOSED);
            return core.close(Reason::ServerLeft);
        }
        let mut parts = grammar::parts(frame);
        if let Some(first) = parts.next() {
            core.tell_server(&first);
        }
        self.server = Server::Forwarded {
            parts: parts.map(Cow::into_owned).collect(),
            logout,
        };
    }

    /// A literal has been announced. It is asked for only where its command is served; a password is never asked for
    /// on a connection where it would be refused.
    pub(super) fn client_literal(
        &mut self,
        core: &mut Core,
        so_far: &[u8],
        len: usize,
        synchronising: bool,
    ) -> bool {
        let head = grammar::head(so_far);
        let is = |name: &[u8]| {
            head.as_ref()
                .is_some_and(|h| h.verb.eq_ignore_ascii_case(name))
        };
        let (login, id) = (is(b"LOGIN"), is(b"ID"));
        let fits = len <= core.config.limits.imap_literal
            && so_far.len() <= literal_octets(core) + core.config.limits.imap_line;
        let served = (login && core.client_may().login) || id;
        if fits && (served || !synchronising) {
            if synchronising {
                core.tell_client(format!("+ {}\r\n", messages::GO_ON).as_bytes());
            }
            self.client_framer.accept();
            return true;
        }
        self.client_framer.reset();
        self.name_tag(head.as_ref().map_or(b"*", |h| h.tag));
        core.show(
            Side::Client,
            false,
            if login {
                SECRET.as_bytes()
            } else {
                messages::COMMAND_WITH_LITERAL.as_bytes()
            },
        );
        if !synchronising {
            // The octets are on their way already and would be taken for commands.
            let why = messages::CLIENT_LITERAL_TOO_LONG;
            self.farewell(core, Farewell::BadInput, why);
            core.close(Reason::Limit(Side::Client, why.into()));
        } else if login && !core.client_may().login {
            self.login_allowed(core);
        } else if served {
            self.bad(core, messages::CLIENT_LITERAL_TOO_LONG);
        } else {
            self.bad(core, messages::LOG_IN_FIRST);
        }
        false
    }

    /// The command as the log may see it: arguments of authentication commands never.
    fn show_command(&self, core: &mut Core, frame: &[u8], command: &Command<'_>) {
        if !core.config.dialogue {
            return;
        }
        let Some(head) = grammar::head(frame) else {
            return;
        };
        let mut shown = [head.tag, b" ", head.verb].concat();
        match command {
            Command::Login { user, .. } => {
                shown.push(b' ');
                shown.extend_from_slice(user);
                shown.extend_from_slice(format!(" {SECRET}").as_bytes());
            }
            Command::Authenticate { mechanism, initial } => {
                shown.push(b' ');
                shown.extend_from_slice(sasl::shown(mechanism));
                if initial.is_some() {
                    shown.extend_from_slice(format!(" {SECRET}").as_bytes());
                }
            }
            Command::Capability | Command::Noop | Command::Logout | Command::StartTls => {}
            Command::Id => shown = frame.to_vec(),
            // What is no command may be a password on its own.
            Command::Other if !grammar::is_known(head.verb) => shown = SECRET.into(),
            // What is wrong with it may be a password's form.
            Command::Malformed(_) | Command::Other => {
                shown.extend_from_slice(format!(" {SECRET}").as_bytes())
            }
        }
        core.show(Side::Client, false, &shown);
    }

    /// After the login: authentication commands among the held bytes are answered, everything else passes.
    pub(super) fn settle_client(&mut self, core: &mut Core, held: &[u8]) -> Settled {
        if held.is_empty() && !self.response_may_follow {
            return Settled::Release;
        }
        let limits = &core.config.limits;
        let mut framer = Framer::default();
        let mut literal = 0usize;
        // Of a line that is not complete no more counts than what comes byte by byte.
        let beginning = &held[..held.len().min(BEGINNING)];
        loop {
            return match framer.look(held, limits.imap_line, true) {
                Framed::Complete(len) => self.settle_frame(core, &held[..len]),
                Framed::Literal {
                    end,
                    len,
                    synchronising,
                } => {
                    let authentication = grammar::loose_head(held)
                        .is_some_and(|h| grammar::is_authentication(h.verb));
                    if authentication && synchronising && end >= core.unsettled.unwrap_or(0) {
                        // Refused before its literal: the client does not send it.
                        self.settle_frame(core, &held[..end])
                    } else if authentication {
                        literal = literal.saturating_add(len);
                        if literal > limits.imap_literal {
                            core.close(Reason::Limit(
                                Side::Client,
                                messages::LITERAL_BEHIND_TOO_LONG.into(),
                            ));
                            return Settled::More;
                        }
                        framer.accept();
                        continue;
                    } else {
                        let behind = end;
                        let end = end.saturating_add(len);
                        if synchronising {
                            // A client that waits is let go. One that does not wait speaks of a literal and perhaps,
                            // should the server refuse it, of commands: none of them may be a login.
                            return self.release_unless_a_login(core, &held[behind..]);
                        }
                        if end >= held.len() {
                            return Settled::Release;
                        }
                        framer.accept();
                        continue;
                    }
                }
                Framed::Incomplete => match grammar::loose_head(beginning) {
                    Some(head) if head.whole && !grammar::is_authentication(head.verb) => {
                        Settled::Release
                    }
                    Some(head) if !grammar::may_become_authentication(head.verb) => {
                        Settled::Release
                    }
                    _ => Settled::More,
                },
                Framed::Broken(broken) => match grammar::loose_head(beginning) {
                    Some(head)
                        if broken == crate::frame::Broken::BareNewline
                            || grammar::may_become_authentication(head.verb) =>
                    {
                        core.close(Reason::Protocol(
                            Side::Client,
                            messages::COMMAND_BEHIND_BROKEN.into(),
                        ));
                        Settled::More
                    }
                    _ => Settled::Release,
                },
            };
        }
    }

    /// Behind a literal that the server has to ask for.
    fn release_unless_a_login(&mut self, core: &mut Core, behind: &[u8]) -> Settled {
        let is_login = |line: &[u8]| {
            grammar::loose_head(line).is_some_and(|h| grammar::is_authentication(h.verb))
        };
        if behind.split(|b| b"\r\n".contains(b)).any(is_login) {
            core.close(Reason::Protocol(
                Side::Client,
                messages::LOGIN_IN_LITERAL.into(),
            ));
            return Settled::More;
        }
        Settled::Release
    }

    fn settle_frame(&mut self, core: &mut Core, frame: &[u8]) -> Settled {
        let may_be_response = self.response_may_follow && !frame.contains(&b' ');
        self.response_may_follow = may_be_response;
        match grammar::loose_head(frame) {
            _ if may_be_response => {}
            Some(head) if grammar::is_authentication(head.verb) => {
                self.response_may_follow = matches!(
                    grammar::command(frame),
                    Some((_, Command::Authenticate { .. }))
                );
                self.name_tag(head.tag);
                self.answer(
                    core,
                    format_args!("BAD {}", messages::ALREADY_AUTHENTICATED),
                );
            }
            _ => core.pass(Side::Server, frame),
        }
        Settled::Used(frame.len())
    }
}

/// Octets of literals that one command may have in all: a LOGIN has two.
fn literal_octets(core: &Core) -> usize {
    2 * core.config.limits.imap_literal
}
