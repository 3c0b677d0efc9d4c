//! What the client says before login, and what it is told.

use super::{
    Expecting, Server, Smtp,
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

impl Smtp {
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
            Command::Ehlo(name) => {
                self.name = Some(name.to_vec());
                self.forward(core, frame, Server::Ehlo { for_client: true });
            }
            Command::Helo(name) => {
                self.name = Some(name.to_vec());
                self.forward(core, frame, Server::Forwarded { quit: false });
            }
            Command::Auth { .. } if !core.client_may().login => {
                self.error(core, "530 5.7.0", messages::START_TLS_FIRST);
            }
            Command::Auth { mechanism, initial } => match ClientSasl::begin(mechanism, true) {
                Some(state) => match initial {
                    Some(response) => self.respond(core, state, response, true),
                    None => self.ask(core, state),
                },
                None => self.error(core, "504 5.5.4", messages::MECHANISM_NOT_SERVED),
            },
            Command::StartTls => self.start_tls(core),
            Command::Pass => self.forward(core, frame, Server::Forwarded { quit: false }),
            Command::Quit if core.server_link == ServerLink::Gone => {
                core.tell_client(format!("221 2.0.0 {}\r\n", messages::GOODBYE).as_bytes());
                core.close(Reason::ClientLeft);
            }
            Command::Quit => self.forward(core, frame, Server::Forwarded { quit: true }),
            Command::Malformed(why) => self.error(core, "501 5.5.4", why),
            Command::Other => self.error(core, "530 5.7.0", messages::AUTHENTICATION_REQUIRED),
        }
    }

    fn respond(&mut self, core: &mut Core, state: ClientSasl, line: &[u8], initial: bool) {
        match state.respond(line, initial) {
            Step::Done(login) => core.begin_login(login),
            Step::Ask(next) => self.ask(core, next),
            Step::Cancelled => self.error(core, "501 5.7.0", messages::CANCELLED),
            Step::BadBase64 => self.error(core, "501 5.5.2", messages::NOT_BASE64),
            Step::Unusable(why) => refuse(self, core, &Refusal::Denied(why.to_owned())),
        }
    }

    fn ask(&mut self, core: &mut Core, state: ClientSasl) {
        core.tell_client(format!("334 {}\r\n", state.challenge()).as_bytes());
        self.expecting = Expecting::Response(state);
    }

    fn error(&mut self, core: &mut Core, code: &str, why: &str) {
        core.tell_client(format!("{code} {why}\r\n").as_bytes());
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
            core.tell_client(format!("554 5.5.1 {why}\r\n").as_bytes());
            return core.close(Reason::Protocol(Side::Client, why.into()));
        }
        if offered && core.client.tls == Tls::Plain {
            core.tell_client(format!("220 2.0.0 {}\r\n", messages::BEGIN_TLS).as_bytes());
            core.upgrade(Side::Client);
        } else if core.client.tls == Tls::Secure {
            self.error(core, "503 5.5.1", messages::TLS_ALREADY);
        } else {
            self.error(core, "502 5.5.1", messages::STARTTLS_NOT_SERVED);
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
        let verb = first_word(line);
        let shown = match command {
            Command::Auth { mechanism, initial } => {
                let secret = if initial.is_some() {
                    format!(" {SECRET}")
                } else {
                    String::new()
                };
                [verb, b" ", sasl::shown(mechanism), secret.as_bytes()].concat()
            }
            Command::Ehlo(_)
            | Command::Helo(_)
            | Command::StartTls
            | Command::Pass
            | Command::Quit => line.to_vec(),
            Command::Malformed(_) => [verb, b" ", SECRET.as_bytes()].concat(),
            // What is no command may be a password on its own.
            Command::Other if is_known(verb) => [verb, b" ", SECRET.as_bytes()].concat(),
            Command::Other => SECRET.as_bytes().to_vec(),
        };
        core.show(Side::Client, false, &shown);
    }

    /// After the login: authentication commands among the held lines are answered, in their turn; everything else
    /// passes. Behind DATA and BDAT there are no commands.
    pub(super) fn settle_client(&mut self, core: &mut Core, held: &[u8]) -> Settled {
        if self.client_waits() {
            return Settled::AwaitServer;
        }
        let limit = core.config.limits.line;
        let may_hold = || may_hold_one_of(held, limit, &grammar::AUTHENTICATION, &grammar::CONTENT);
        if !self.response_may_follow && !may_hold() {
            return Settled::Release;
        }
        match Framer::default().look(held, limit, false) {
            Framed::Complete(len) => {
                let line = &held[..len - 2];
                let verb = first_word(line);
                let known = is_known(verb) || is_one_of(verb, &grammar::AUTHENTICATION);
                if self.response_may_follow && !known {
                    return Settled::Used(len); // a response to the AUTH that was just refused
                }
                self.response_may_follow = verb.eq_ignore_ascii_case(b"AUTH");
                if is_one_of(verb, &grammar::AUTHENTICATION) {
                    let text = messages::ALREADY_AUTHENTICATED;
                    core.tell_client(format!("503 5.5.1 {text}\r\n").as_bytes());
                } else {
                    core.pass(Side::Server, &held[..len]);
                    self.server = Server::Forwarded { quit: false };
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

fn is_known(verb: &[u8]) -> bool {
    let known: [&[u8]; 12] = [
        b"MAIL", b"RCPT", b"DATA", b"BDAT", b"RSET", b"NOOP", b"QUIT", b"HELP", b"VRFY", b"EXPN",
        b"EHLO", b"HELO",
    ];
    is_one_of(verb, &known)
}
