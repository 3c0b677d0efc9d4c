//! What the client says before login, and what it is told.

use super::{
    Expecting, Listing, Pop, Server,
    grammar::{self, Command},
};
use crate::{
    LocalTls, Reason, Refusal, Side,
    core::{Core, ServerLink, Tls},
    frame::{Framed, Framer},
    machine::{Farewell, Machine, Settled},
    messages,
    names::{first_word, is_one_of, may_hold_one_of},
    redact::SECRET,
    refusal::{count_error, refuse},
    sasl::{self, ClientSasl, Step},
};

impl Pop {
    pub(super) fn client_line(&mut self, core: &mut Core, frame: &[u8]) {
        let line = frame.strip_suffix(b"\r\n").unwrap_or(frame);
        match std::mem::take(&mut self.expecting) {
            Expecting::Command => {
                let command = grammar::command(line);
                self.show_command(core, line, &command);
                self.client_command(core, frame, command);
            }
            Expecting::Response(state) => {
                core.show_response(line);
                self.respond(core, state, line, false);
            }
        }
    }

    fn client_command(&mut self, core: &mut Core, frame: &[u8], command: Command<'_>) {
        match command {
            Command::User(_) | Command::Pass(_) | Command::Auth(_) if !core.client_may().login => {
                self.error(core, messages::START_TLS_FIRST);
            }
            Command::User(name) => {
                self.user = Some(name.to_vec());
                core.tell_client(format!("+OK {}\r\n", messages::SEND_PASSWORD).as_bytes());
            }
            Command::Pass(password) => match self.user.take() {
                Some(user) => match sasl::login(&user, password) {
                    Ok(login) => core.begin_login(login),
                    Err(why) => self.refuse_unusable(core, why),
                },
                None => self.error(core, messages::USER_FIRST),
            },
            Command::Auth(None) => {
                let text = messages::MECHANISMS_FOLLOW;
                core.tell_client(format!("+OK {text}\r\nPLAIN\r\n.\r\n").as_bytes());
            }
            Command::Auth(Some((mechanism, initial))) => {
                match ClientSasl::begin(mechanism, false) {
                    Some(state) => match initial {
                        Some(response) => self.respond(core, state, response, true),
                        None => self.ask(core, state),
                    },
                    None => self.error(core, messages::MECHANISM_NOT_SERVED),
                }
            }
            Command::Capa => {
                self.forward(core, frame, Server::Capabilities(Listing::default()));
            }
            Command::Language(multiline) => {
                self.forward(
                    core,
                    frame,
                    Server::Forwarded {
                        multiline,
                        begun: false,
                    },
                );
            }
            Command::Stls => self.start_tls(core),
            Command::Quit => {
                core.tell_client(format!("+OK {}\r\n", messages::GOODBYE).as_bytes());
                core.close(Reason::ClientLeft);
            }
            Command::Apop => self.error(core, messages::APOP_NOT_SERVED),
            Command::Malformed(why) => self.error(core, why),
            Command::Other => self.error(core, messages::LOG_IN_FIRST),
        }
    }

    fn respond(&mut self, core: &mut Core, state: ClientSasl, line: &[u8], initial: bool) {
        match state.respond(line, initial) {
            Step::Done(login) => core.begin_login(login),
            Step::Ask(next) => self.ask(core, next),
            Step::Cancelled => self.error(core, messages::CANCELLED),
            Step::BadBase64 => self.error(core, messages::NOT_BASE64),
            Step::Unusable(why) => self.refuse_unusable(core, why),
        }
    }

    fn ask(&mut self, core: &mut Core, state: ClientSasl) {
        core.tell_client(format!("+ {}\r\n", state.challenge()).as_bytes());
        self.expecting = Expecting::Response(state);
    }

    fn refuse_unusable(&mut self, core: &mut Core, why: &str) {
        refuse(self, core, &Refusal::Denied(why.to_owned()));
    }

    fn error(&mut self, core: &mut Core, why: &str) {
        core.tell_client(format!("-ERR {why}\r\n").as_bytes());
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
            core.tell_client(format!("+OK {}\r\n", messages::BEGIN_TLS).as_bytes());
            core.upgrade(Side::Client);
        } else if core.client.tls == Tls::Secure {
            self.error(core, messages::TLS_ALREADY);
        } else {
            self.error(core, messages::STARTTLS_NOT_SERVED);
        }
    }

    fn forward(&mut self, core: &mut Core, frame: &[u8], awaiting: Server) {
        if core.server_link == ServerLink::Gone {
            self.farewell(core, Farewell::Unavailable, messages::SERVER_CLOSED);
            return core.close(Reason::ServerLeft);
        }
        core.tell_server(frame);
        self.server = awaiting;
    }

    /// The command as the log may see it.
    fn show_command(&self, core: &mut Core, line: &[u8], command: &Command<'_>) {
        if !core.config.dialogue {
            return;
        }
        let name = first_word(line);
        let shown = match command {
            Command::Auth(Some((mechanism, initial))) => {
                let secret = if initial.is_some() {
                    format!(" {SECRET}")
                } else {
                    String::new()
                };
                [name, b" ", sasl::shown(mechanism), secret.as_bytes()].concat()
            }
            Command::User(_)
            | Command::Capa
            | Command::Stls
            | Command::Quit
            | Command::Language(_) => line.to_vec(),
            Command::Auth(None) => name.to_vec(),
            Command::Pass(_) | Command::Apop => [name, b" ", SECRET.as_bytes()].concat(),
            // What is no command may be a password on its own.
            Command::Malformed(_) => [name, b" ", SECRET.as_bytes()].concat(),
            Command::Other => SECRET.as_bytes().to_vec(),
        };
        core.show(Side::Client, false, &shown);
    }

    /// After the login: authentication commands among the held lines are answered, in their turn; everything else
    /// passes.
    pub(super) fn settle_client(&mut self, core: &mut Core, held: &[u8]) -> Settled {
        if self.client_waits() {
            return Settled::AwaitServer;
        }
        let limit = core.config.limits.line;
        let may_hold = || may_hold_one_of(held, limit, &grammar::AUTHENTICATION, &[]);
        if !self.response_may_follow && !may_hold() {
            return Settled::Release;
        }
        match Framer::default().look(held, limit, false) {
            Framed::Complete(len) => {
                let line = &held[..len - 2];
                let name = first_word(line);
                if std::mem::take(&mut self.response_may_follow)
                    && !line.contains(&b' ')
                    && !is_known(name)
                {
                    return Settled::Used(len); // a response to the AUTH that was just refused
                }
                if is_one_of(name, &grammar::AUTHENTICATION) {
                    self.response_may_follow =
                        matches!(grammar::command(line), Command::Auth(Some((_, None))));
                    let text = messages::ALREADY_AUTHENTICATED;
                    core.tell_client(format!("-ERR {text}\r\n").as_bytes());
                } else {
                    core.pass(Side::Server, &held[..len]);
                    self.server = Server::Forwarded {
                        multiline: grammar::has_lines(line),
                        begun: false,
                    };
                }
                Settled::Used(len)
            }
            Framed::Incomplete => Settled::More,
            Framed::Literal { .. } | Framed::Broken(_) => {
                core.close(Reason::Protocol(
                    Side::Client,
                    messages::COMMAND_BEHIND_BROKEN.into(),
                ));
                Settled::More
            }
        }
    }
}

fn is_known(name: &[u8]) -> bool {
    let known: [&[u8]; 9] = [
        b"STAT", b"LIST", b"UIDL", b"NOOP", b"RSET", b"QUIT", b"CAPA", b"UTF8", b"LANG",
    ];
    is_one_of(name, &known) || is_one_of(name, &grammar::AUTHENTICATION)
}
