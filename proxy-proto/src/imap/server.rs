//! What the server says before login.

use super::{
    Exchange, Imap, Server,
    capability::{self, Capabilities},
    grammar::{self, Response, Status},
};
use crate::{
    Reason, Side,
    core::Core,
    machine::Machine,
    messages,
    redact::{self, SECRET},
    refusal::{ServerRefusal, refuse, server_refused},
    sasl,
};
use std::collections::VecDeque;

impl Imap {
    pub(super) fn server_literal(&mut self, core: &mut Core, so_far: &[u8], len: usize) -> bool {
        if so_far.len().saturating_add(len) > core.config.limits.server_line {
            self.over_limit(core, messages::SERVER_LITERAL_TOO_LONG);
            return false;
        }
        self.server_framer.accept();
        true
    }

    pub(super) fn server_frame(&mut self, core: &mut Core, frame: &[u8]) {
        let Some(response) = grammar::response(frame) else {
            core.show(Side::Server, false, frame);
            return self.unusable(core, self.not_understood());
        };
        match response {
            Response::Continuation(_)
                if matches!(self.server, Server::Authenticating(Exchange::Credentials)) =>
            {
                core.show(Side::Server, false, format!("+ {SECRET}").as_bytes());
            }
            _ => core.show(Side::Server, false, frame),
        }
        let preauth = Status::PreAuth;
        if matches!(response, Response::Condition { status, .. } if status == preauth) {
            // Whenever it comes: in plaintext it is how somebody on the way would keep the proxy from TLS.
            return self.unusable(core, messages::PREAUTH);
        }
        match std::mem::take(&mut self.server) {
            Server::Greeting => self.greeting(core, frame, response),
            Server::Asked { tag } => self.asked(core, tag, response),
            Server::StartTls { tag } => self.starttls_answered(core, tag, response),
            Server::Upgrading => self.unusable(core, messages::SERVER_DATA_BEFORE_TLS),
            Server::Idle => {
                self.server = Server::Idle;
                match response {
                    Response::Tagged { .. } | Response::Continuation(_) => {
                        self.unusable(core, messages::NOT_ASKED);
                    }
                    _ => self.untagged(core, frame, response),
                }
            }
            Server::Forwarded { parts, logout } => {
                self.forwarded(core, parts, logout, frame, response)
            }
            Server::Authenticating(exchange) => {
                self.authenticating(core, exchange, frame, response)
            }
        }
    }

    /// What to say of a line that is no response.
    fn not_understood(&self) -> &'static str {
        match self.server {
            Server::Greeting => messages::GREETING_NOT_UNDERSTOOD,
            _ => messages::ANSWER_NOT_UNDERSTOOD,
        }
    }

    fn greeting(&mut self, core: &mut Core, frame: &[u8], response: Response<'_>) {
        core.server_answered();
        let Response::Condition { status, code, text } = response else {
            return self.unusable(core, messages::GREETING_NOT_UNDERSTOOD);
        };
        match status {
            Status::Ok => {}
            Status::Bye if core.attempt.is_some() => {
                let text = messages::server_says(String::from_utf8_lossy(text));
                core.server_gone();
                self.server = Server::Idle;
                return refuse(self, core, &crate::Refusal::Temporary(text));
            }
            Status::Bye => {
                core.tell_client(frame);
                return core.close(Reason::ServerLeft);
            }
            Status::No | Status::Bad | Status::PreAuth => {
                return self.unusable(core, messages::GREETING_NOT_UNDERSTOOD);
            }
        }
        if let Some(list) = code.and_then(grammar::capability_code) {
            self.learn(list);
        }
        if !self.greeted {
            // What came before TLS may be somebody else's, such as an alert that would be shown to the user. The
            // capabilities will be those learnt over TLS.
            self.greeting = Some(match core.starttls_wanted() {
                true => format!("* OK [CAPABILITY] {}\r\n", messages::READY).into_bytes(),
                false => frame.to_vec(),
            });
        }
        if core.starttls_wanted() {
            match self.capabilities {
                Some(_) => self.start_tls_upstream(core),
                None => self.ask_capabilities(core),
            }
        } else {
            self.greet(core);
            match self.capabilities {
                Some(_) => self.idle(core),
                None => self.ask_capabilities(core),
            }
        }
    }

    /// Greets the client, with the capabilities as they are known by now.
    fn greet(&mut self, core: &mut Core) {
        let Some(greeting) = self.greeting.take() else {
            return;
        };
        self.greeted = true;
        let mut line = b"* OK ".to_vec();
        if let Some(Response::Condition { code, text, .. }) = grammar::response(&greeting) {
            let listed = code.is_some_and(|code| grammar::capability_code(code).is_some());
            match code {
                _ if listed && !self.list.is_empty() => {
                    line.extend_from_slice(b"[CAPABILITY ");
                    line.extend_from_slice(&capability::rebuild(&self.list, core.client_may()));
                    line.extend_from_slice(b"] ");
                }
                Some(code) if !listed => {
                    line.push(b'[');
                    line.extend_from_slice(code);
                    line.extend_from_slice(b"] ");
                }
                _ => {}
            }
            line.extend_from_slice(text);
        }
        line.extend_from_slice(b"\r\n");
        core.tell_client(&line);
    }

    fn learn(&mut self, list: &[u8]) {
        self.capabilities = Some(Capabilities::parse(list));
        self.list = list.to_vec();
    }

    fn start_tls_upstream(&mut self, core: &mut Core) {
        if !self.capabilities.is_some_and(|c| c.starttls) {
            return self.unusable(core, messages::STARTTLS_NOT_OFFERED);
        }
        let tag = self.own_tag();
        core.tell_server(&[&tag[..], b" STARTTLS\r\n"].concat());
        self.server = Server::StartTls { tag };
    }

    fn asked(&mut self, core: &mut Core, asked: Vec<u8>, response: Response<'_>) {
        match response {
            Response::Capability(list) if list.len() > core.config.limits.capabilities => {
                self.over_limit(core, messages::CAPABILITIES_TOO_LONG);
            }
            Response::Capability(list) => {
                self.learn(list);
                self.server = Server::Asked { tag: asked };
            }
            Response::Tagged { tag, code, .. } if tag == asked => {
                core.server_answered();
                if let Some(list) = code.and_then(grammar::capability_code) {
                    self.learn(list);
                }
                self.capabilities.get_or_insert_default();
                if core.starttls_wanted() {
                    self.start_tls_upstream(core);
                } else {
                    self.greet(core);
                    self.idle(core);
                }
            }
            Response::Condition {
                status: Status::Bye,
                text,
                ..
            } => self.bye(core, text),
            Response::Tagged { .. } | Response::Continuation(_) => {
                self.unusable(core, messages::CAPABILITIES_NOT_UNDERSTOOD);
            }
            Response::Condition { .. } | Response::Data => {
                self.server = Server::Asked { tag: asked }
            }
        }
    }

    fn starttls_answered(&mut self, core: &mut Core, asked: Vec<u8>, response: Response<'_>) {
        match response {
            Response::Tagged {
                tag,
                status: Status::Ok,
                ..
            } if tag == asked => {
                self.server = Server::Upgrading;
                self.forget();
                core.upgrade(Side::Server);
            }
            Response::Tagged { .. } | Response::Continuation(_) => {
                self.unusable(core, messages::STARTTLS_REFUSED);
            }
            Response::Condition {
                status: Status::Bye,
                text,
                ..
            } => self.bye(core, text),
            _ => self.server = Server::StartTls { tag: asked },
        }
    }

    /// `* BYE` while the proxy speaks for itself.
    fn bye(&mut self, core: &mut Core, text: &[u8]) {
        let text = messages::server_says(redact::one_line(&String::from_utf8_lossy(text)));
        crate::refusal::unusable(self, core, &text, Reason::ServerLeft);
    }

    /// The server is ready: a bearer that waits goes out.
    fn idle(&mut self, core: &mut Core) {
        self.server = Server::Idle;
        if core.attempt.as_ref().is_some_and(|a| a.bearer.is_some()) {
            self.authenticate(core);
        }
    }

    fn forwarded(
        &mut self,
        core: &mut Core,
        mut parts: VecDeque<Vec<u8>>,
        logout: bool,
        frame: &[u8],
        response: Response<'_>,
    ) {
        match response {
            Response::Continuation(_) => match parts.pop_front() {
                Some(part) => core.tell_server(&part),
                None => return self.unusable(core, messages::ASKED_FOR_MORE),
            },
            Response::Tagged {
                tag,
                status,
                code,
                text,
            } if tag == self.tag => {
                core.server_answered();
                match code.and_then(grammar::capability_code) {
                    Some(list) => {
                        self.learn(list);
                        let list = capability::rebuild(list, core.client_may());
                        let line = [
                            tag,
                            b" ",
                            status_name(status),
                            b" [CAPABILITY ",
                            &list,
                            b"] ",
                            text,
                            b"\r\n",
                        ];
                        core.tell_client(&line.concat());
                    }
                    None => core.tell_client(frame),
                }
                if logout && status == Status::Ok {
                    return core.close(Reason::ClientLeft);
                }
                return self.idle(core);
            }
            Response::Tagged { .. } => {
                return self.unusable(core, messages::NOT_ASKED);
            }
            Response::Condition {
                status: Status::Bye,
                ..
            } if logout => core.tell_client(frame),
            other => {
                self.server = Server::Forwarded { parts, logout };
                return self.untagged(core, frame, other);
            }
        }
        self.server = Server::Forwarded { parts, logout };
    }

    /// Untagged data, as long as no credentials have gone out: it passes, its capabilities rebuilt.
    fn untagged(&mut self, core: &mut Core, frame: &[u8], response: Response<'_>) {
        match response {
            Response::Capability(list) => {
                self.learn(list);
                let list = capability::rebuild(list, core.client_may());
                core.tell_client(&[b"* CAPABILITY ", &list[..], b"\r\n"].concat());
            }
            Response::Condition {
                status: Status::Bye,
                ..
            } if core.waiting_for_credentials() => {
                // A new connection is opened once there is a bearer; the client need not know.
                core.server_gone();
            }
            Response::Condition {
                status: Status::Bye,
                ..
            } => {
                core.tell_client(frame);
                core.close(Reason::ServerLeft);
            }
            Response::Condition {
                status,
                code: Some(code),
                text,
            } => match grammar::capability_code(code) {
                Some(list) => {
                    self.learn(list);
                    let list = capability::rebuild(list, core.client_may());
                    let line = [
                        b"* ",
                        status_name(status),
                        b" [CAPABILITY ",
                        &list,
                        b"] ",
                        text,
                        b"\r\n",
                    ];
                    core.tell_client(&line.concat());
                }
                None => core.tell_client(frame),
            },
            _ => core.tell_client(frame),
        }
    }

    /// Sends AUTHENTICATE for the bearer of the login.
    pub(super) fn authenticate(&mut self, core: &mut Core) {
        let Some(bearer) = core.attempt.as_ref().and_then(|a| a.bearer.clone()) else {
            return;
        };
        let capabilities = self.capabilities.unwrap_or_default();
        let mechanism = capabilities.offered.choose(&bearer);
        let command = [
            &self.tag[..],
            b" AUTHENTICATE ",
            mechanism.name().as_bytes(),
        ]
        .concat();
        if !capabilities.sasl_ir {
            core.tell_server(&[&command[..], b"\r\n"].concat());
            self.server = Server::Authenticating(Exchange::Command);
            return;
        }
        let Some(upstream) = core.upstream.clone() else {
            return;
        };
        let message = sasl::message(mechanism, &bearer, &upstream);
        let line =
            zeroize::Zeroizing::new([&command[..], b" ", message.as_bytes(), b"\r\n"].concat());
        let shown = [&command[..], b" ", SECRET.as_bytes()].concat();
        self.send_bearer(core, &line, &shown);
    }

    fn send_bearer(&mut self, core: &mut Core, line: &[u8], shown: &[u8]) {
        match core.tell_bearer(line, shown) {
            Ok(()) => self.server = Server::Authenticating(Exchange::Credentials),
            Err(_) => self.unusable(core, messages::NOT_ENCRYPTED),
        }
    }

    fn authenticating(
        &mut self,
        core: &mut Core,
        exchange: Exchange,
        frame: &[u8],
        response: Response<'_>,
    ) {
        let bearer = core.attempt.as_ref().and_then(|a| a.bearer.clone());
        let (Some(bearer), Some(upstream)) = (bearer, core.upstream.clone()) else {
            return self.unusable(core, messages::NOT_ASKED);
        };
        let mechanism = self
            .capabilities
            .unwrap_or_default()
            .offered
            .choose(&bearer);
        match (exchange, response) {
            (Exchange::Command, Response::Continuation(_)) => {
                let message = sasl::message(mechanism, &bearer, &upstream);
                let line = zeroize::Zeroizing::new([message.as_bytes(), b"\r\n"].concat());
                self.send_bearer(core, &line, SECRET.as_bytes());
            }
            (
                Exchange::Command,
                untagged @ (Response::Capability(_) | Response::Condition { .. } | Response::Data),
            ) => {
                self.server = Server::Authenticating(Exchange::Command);
                self.untagged(core, frame, untagged);
            }
            (Exchange::Credentials, Response::Continuation(challenge)) => {
                core.tell_server(sasl::error_answer(mechanism));
                self.server =
                    Server::Authenticating(Exchange::Challenged(sasl::error_text(challenge)));
            }
            (Exchange::Challenged(_), Response::Continuation(_)) => {
                self.unusable(core, messages::ASKS_AFTER_REFUSAL);
            }
            (
                exchange,
                Response::Tagged {
                    tag,
                    status,
                    code,
                    text,
                },
            ) => {
                if tag != self.tag {
                    return self.unusable(core, messages::NOT_ASKED);
                }
                if status == Status::Ok && matches!(exchange, Exchange::Command) {
                    return self.unusable(core, messages::ACCEPTED_TOO_EARLY);
                }
                core.server_answered();
                self.server = Server::Idle;
                if status == Status::Ok {
                    let held = std::mem::take(&mut self.held);
                    core.accepted(&held, frame);
                    return;
                }
                self.held = Vec::new();
                self.refused(core, exchange, frame, (status, code, text));
            }
            (exchange, Response::Capability(_) | Response::Condition { .. } | Response::Data) => {
                if self.held.len() + frame.len() > core.config.limits.held {
                    return self.over_limit(core, messages::TOO_MUCH_BEFORE_ANSWER);
                }
                self.held.extend_from_slice(frame);
                self.server = Server::Authenticating(exchange);
            }
        }
    }

    /// The server has refused the bearer: once more with a fresh one, or the answer goes to the client.
    fn refused(
        &mut self,
        core: &mut Core,
        exchange: Exchange,
        frame: &[u8],
        (status, code, text): (Status, Option<&[u8]>, &[u8]),
    ) {
        let token_at_fault = status == Status::No
            && !matches!(exchange, Exchange::Command)
            && match code {
                None => true,
                Some(code) => [&b"AUTHENTICATIONFAILED"[..], b"EXPIRED"]
                    .iter()
                    .any(|c| code.eq_ignore_ascii_case(c)),
            };
        let line = &frame[(self.tag.len() + 1).min(frame.len())..];
        let challenge = match &exchange {
            Exchange::Challenged(why) => why,
            _ => "",
        };
        let refusal = ServerRefusal {
            answer: frame, // under the client's tag, which is the one that was sent
            line,
            said: text,
            challenge,
            token_at_fault,
        };
        server_refused(self, core, &refusal);
    }
}

fn status_name(status: Status) -> &'static [u8] {
    match status {
        Status::Ok => b"OK",
        Status::No => b"NO",
        Status::Bad => b"BAD",
        Status::Bye => b"BYE",
        Status::PreAuth => b"PREAUTH",
    }
}
