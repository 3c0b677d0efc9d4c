//! What the server says before login.

use super::{Exchange, Server, Smtp, capability, grammar};
use crate::{
    Reason, Refusal, Side,
    core::{Core, Phase},
    machine::Machine,
    messages,
    redact::SECRET,
    refusal::{ServerRefusal, refuse, server_refused},
    sasl,
};
use zeroize::Zeroizing;

impl Smtp {
    /// Collects lines until a reply is whole.
    pub(super) fn server_line(&mut self, core: &mut Core, frame: &[u8]) {
        let line = frame.strip_suffix(b"\r\n").unwrap_or(frame);
        let Some(parsed) = grammar::reply_line(line) else {
            core.show(Side::Server, false, line);
            return self.unusable(
                core,
                match self.server {
                    Server::Greeting => messages::GREETING_NOT_UNDERSTOOD,
                    _ => messages::ANSWER_NOT_UNDERSTOOD,
                },
            );
        };
        let challenge =
            parsed.code == 334 && self.server == Server::Authenticating(Exchange::Credentials);
        if core.phase == Phase::Dialogue {
            core.show(
                Side::Server,
                false,
                if challenge { b"334 [redacted]" } else { line },
            );
        }
        if self.reply.len() + frame.len() > core.config.limits.capabilities {
            return self.over_limit(core, messages::ANSWER_TOO_LONG);
        }
        if parsed.last && self.reply.is_empty() {
            // Most replies are one line, which needs no copy.
            return self.server_reply(core, frame, parsed.code, parsed.text);
        }
        self.reply.extend_from_slice(frame);
        if parsed.last {
            let reply = std::mem::take(&mut self.reply);
            self.server_reply(core, &reply, parsed.code, parsed.text);
        }
    }

    /// `text` is that of the last line.
    fn server_reply(&mut self, core: &mut Core, reply: &[u8], code: u16, text: &[u8]) {
        if self.server != Server::Idle {
            core.server_answered();
        }
        match self.server {
            Server::Greeting => self.greeting(core, reply, code),
            _ if code == 421 && core.waiting_for_credentials() => {
                // A new connection is opened once there is a bearer; the client need not know.
                core.server_gone();
            }
            // RFC 5321 §3.8: with 421 the server closes, whatever it was asked.
            _ if code == 421 && core.attempt.is_none() && core.phase == Phase::Dialogue => {
                core.tell_client(reply);
                core.close(Reason::ServerLeft);
            }
            Server::Idle => self.unusable(core, messages::NOT_ASKED),
            Server::Ehlo { for_client } => self.ehlo_answered(core, reply, code, for_client),
            Server::StartTls { for_client } if code == 220 => {
                self.server = Server::Upgrading { for_client };
                core.upgrade(Side::Server);
            }
            Server::StartTls { .. } => {
                self.unusable(core, messages::STARTTLS_REFUSED);
            }
            Server::Upgrading { .. } => self.unusable(core, messages::SERVER_DATA_BEFORE_TLS),
            Server::Forwarded { quit } => {
                self.server = Server::Idle;
                match core.phase {
                    Phase::Settling => core.pass(Side::Client, reply),
                    _ => core.tell_client(reply),
                }
                if quit {
                    core.close(Reason::ClientLeft);
                }
            }
            Server::Authenticating(exchange) => {
                self.authenticating(core, exchange, reply, code, text)
            }
        }
    }

    fn greeting(&mut self, core: &mut Core, reply: &[u8], code: u16) {
        let silent = self.greeted;
        if code != 220 {
            if silent && core.attempt.is_some() {
                let (_, said) = grammar::said(reply);
                let text = messages::server_says(String::from_utf8_lossy(&said));
                core.server_gone();
                return refuse(self, core, &Refusal::Temporary(text));
            }
            core.tell_client(reply);
            return core.close(Reason::ServerLeft);
        }
        if !silent {
            self.greeted = true;
            core.tell_client(reply);
        }
        self.idle(core);
    }

    /// The server is ready: a bearer that waits goes out.
    fn idle(&mut self, core: &mut Core) {
        self.server = Server::Idle;
        if core.attempt.as_ref().is_some_and(|a| a.bearer.is_some()) {
            self.authenticate(core);
        }
    }

    fn ehlo_answered(&mut self, core: &mut Core, reply: &[u8], code: u16, for_client: bool) {
        if code != 250 {
            if for_client {
                self.server = Server::Idle;
                return core.tell_client(reply);
            }
            return self.unusable(core, messages::EHLO_REFUSED);
        }
        if core.starttls_wanted() {
            if !capability::has_starttls(reply) {
                return self.unusable(core, messages::STARTTLS_NOT_OFFERED);
            }
            core.tell_server(b"STARTTLS\r\n");
            self.server = Server::StartTls { for_client };
            return;
        }
        self.offered = Some(capability::offered(reply));
        if for_client {
            core.tell_client(&capability::rebuild(reply, core.client_may()));
        }
        self.idle(core);
    }

    /// Sends AUTH for the bearer of the login. A server that has not been told EHLO yet is told first, and STARTTLS
    /// with it: whatever order the client's commands came in, the bearer leaves last.
    pub(super) fn authenticate(&mut self, core: &mut Core) {
        let Some(bearer) = core.attempt.as_ref().and_then(|a| a.bearer.clone()) else {
            return;
        };
        let Some(offered) = self.offered.filter(|_| !core.starttls_wanted()) else {
            return self.ehlo(core, false);
        };
        core.tell_server(format!("AUTH {}\r\n", offered.choose(&bearer).name()).as_bytes());
        self.server = Server::Authenticating(Exchange::Command);
    }

    fn authenticating(
        &mut self,
        core: &mut Core,
        exchange: Exchange,
        reply: &[u8],
        code: u16,
        text: &[u8],
    ) {
        let bearer = core.attempt.as_ref().and_then(|a| a.bearer.clone());
        let (Some(bearer), Some(upstream)) = (bearer, core.upstream.clone()) else {
            return self.unusable(core, messages::NOT_ASKED);
        };
        let mechanism = self.offered.unwrap_or_default().choose(&bearer);
        match (exchange, code) {
            (Exchange::Command, 334) => {
                let message = sasl::message(mechanism, &bearer, &upstream);
                let line = Zeroizing::new([message.as_bytes(), b"\r\n"].concat());
                match core.tell_bearer(&line, SECRET.as_bytes()) {
                    Ok(()) => self.server = Server::Authenticating(Exchange::Credentials),
                    Err(_) => self.unusable(core, messages::NOT_ENCRYPTED),
                }
            }
            (Exchange::Credentials, 334) => {
                self.challenge = sasl::error_text(text);
                core.tell_server(sasl::error_answer(mechanism));
                self.server = Server::Authenticating(Exchange::Challenged);
            }
            (Exchange::Credentials | Exchange::Challenged, 235) => {
                self.server = Server::Idle;
                core.accepted(&[], reply);
            }
            (_, 400..=599) => {
                self.server = Server::Idle;
                self.refused(core, exchange, reply, code);
            }
            _ => self.unusable(core, messages::LOGIN_ANSWER_NOT_UNDERSTOOD),
        }
    }

    fn refused(&mut self, core: &mut Core, exchange: Exchange, reply: &[u8], code: u16) {
        let challenge = std::mem::take(&mut self.challenge);
        let (enhanced, said) = grammar::said(reply);
        let codes = [
            code.to_string().as_bytes(),
            b" ",
            enhanced.unwrap_or_default(),
        ]
        .concat();
        let refusal = ServerRefusal {
            answer: reply,
            line: &[codes.trim_ascii_end(), b" ", &said].concat(),
            said: &said,
            challenge: &challenge,
            // 5.7.139: SMTP AUTH is disabled for the tenant or mailbox; no token changes that.
            token_at_fault: exchange != Exchange::Command
                && code == 535
                && enhanced != Some(b"5.7.139"),
        };
        server_refused(self, core, &refusal);
        if code == 421 {
            core.close(Reason::ServerLeft);
        }
    }
}
