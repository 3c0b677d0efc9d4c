//! What the server says before login.

use super::{
    Exchange, Listing, Pop, Server, capability,
    grammar::{self, Reply},
};
use crate::{
    Mechanism, Reason, Refusal, Side,
    core::{Core, Phase},
    machine::Machine,
    messages,
    redact::SECRET,
    refusal::{ServerRefusal, refuse, server_refused},
    sasl::{self, Offered},
};
use zeroize::Zeroizing;

/// What a line adds to a multi-line answer.
enum Listed {
    /// More lines follow.
    Going(Listing),
    /// Complete: the lines, neither status line nor dot among them.
    Done(Vec<u8>),
    /// A negative answer.
    Refused,
    /// Longer than [`Limits::capabilities`](crate::Limits::capabilities).
    TooLong,
    /// Neither.
    Broken,
}

impl Pop {
    pub(super) fn server_line(&mut self, core: &mut Core, frame: &[u8]) {
        let line = frame.strip_suffix(b"\r\n").unwrap_or(frame);
        let challenged = matches!(self.server, Server::Authenticating(Exchange::Credentials));
        if core.phase == Phase::Dialogue {
            let continuation = matches!(grammar::reply(line), Some(Reply::Continuation(_)));
            if challenged && continuation {
                core.show(Side::Server, false, format!("+ {SECRET}").as_bytes());
            } else {
                core.show(Side::Server, false, line);
            }
        }
        match std::mem::take(&mut self.server) {
            Server::Greeting => self.greeting(core, frame, line),
            Server::Asked(listing) => {
                match list(core, listing, frame, line) {
                    Listed::Going(listing) => self.server = Server::Asked(listing),
                    Listed::Done(lines) => {
                        self.offered = capability::offered(&lines);
                        if capability::has_stls(&lines) {
                            self.start_tls_upstream(core);
                        } else {
                            self.unusable(core, messages::STARTTLS_NOT_OFFERED);
                        }
                    }
                    // It knows no CAPA; that it knows no STLS either is for it to say.
                    Listed::Refused => self.start_tls_upstream(core),
                    Listed::TooLong => self.over_limit(core, messages::CAPABILITIES_TOO_LONG),
                    Listed::Broken => self.unusable(core, messages::CAPABILITIES_NOT_UNDERSTOOD),
                }
            }
            Server::Stls => match grammar::reply(line) {
                Some(Reply::Ok) => {
                    self.server = Server::Upgrading;
                    core.upgrade(Side::Server);
                }
                _ => self.unusable(core, messages::STARTTLS_REFUSED),
            },
            Server::Upgrading => self.unusable(core, messages::SERVER_DATA_BEFORE_TLS),
            Server::Idle => match grammar::reply(line) {
                Some(Reply::Err { .. }) if core.waiting_for_credentials() => {
                    // A new connection is opened once there is a bearer; the client need not know.
                    core.server_gone();
                    self.server = Server::Idle;
                }
                // A server that ends the session says so before it closes.
                Some(Reply::Err { .. }) => {
                    core.tell_client(frame);
                    core.close(Reason::ServerLeft);
                }
                _ => self.unusable(core, messages::NOT_ASKED),
            },
            Server::Capabilities(listing) => match list(core, listing, frame, line) {
                Listed::Going(listing) => self.server = Server::Capabilities(listing),
                Listed::Done(lines) => {
                    core.server_answered();
                    self.offered = capability::offered(&lines);
                    let lines = capability::rebuild(&lines, core.client_may());
                    let status = format!("+OK {}\r\n", messages::CAPABILITIES_FOLLOW);
                    core.tell_client(&[status.as_bytes(), &lines[..], b".\r\n"].concat());
                    self.idle(core);
                }
                Listed::Refused => {
                    core.server_answered();
                    core.tell_client(frame);
                    self.idle(core);
                }
                Listed::TooLong => self.over_limit(core, messages::CAPABILITIES_TOO_LONG),
                Listed::Broken => self.unusable(core, messages::CAPABILITIES_NOT_UNDERSTOOD),
            },
            Server::Forwarded { multiline, begun } => {
                self.forwarded(core, frame, line, multiline, begun)
            }
            Server::Authenticating(exchange) => self.authenticating(core, exchange, frame, line),
        }
    }

    fn greeting(&mut self, core: &mut Core, frame: &[u8], line: &[u8]) {
        core.server_answered();
        match grammar::reply(line) {
            Some(Reply::Ok) => {}
            Some(Reply::Err { text, .. }) if core.attempt.is_some() => {
                let text = messages::server_says(String::from_utf8_lossy(text));
                core.server_gone();
                return refuse(self, core, &Refusal::Temporary(text));
            }
            Some(Reply::Err { .. }) => {
                core.tell_client(frame);
                return core.close(Reason::ServerLeft);
            }
            _ => return self.unusable(core, messages::GREETING_NOT_UNDERSTOOD),
        }
        if !self.greeted {
            self.greeting = capability::without_timestamp(frame);
        }
        if core.starttls_wanted() {
            core.tell_server(b"CAPA\r\n");
            self.server = Server::Asked(Listing::default());
        } else {
            self.greet(core);
            self.idle(core);
        }
    }

    pub(super) fn greet(&mut self, core: &mut Core) {
        if !self.greeted {
            self.greeted = true;
            let greeting = std::mem::take(&mut self.greeting);
            core.tell_client(&greeting);
        }
    }

    fn start_tls_upstream(&mut self, core: &mut Core) {
        core.tell_server(b"STLS\r\n");
        self.server = Server::Stls;
    }

    /// The server is ready: a bearer that waits goes out.
    pub(super) fn idle(&mut self, core: &mut Core) {
        self.server = Server::Idle;
        if core.attempt.as_ref().is_some_and(|a| a.bearer.is_some()) {
            self.authenticate(core);
        }
    }

    fn forwarded(
        &mut self,
        core: &mut Core,
        frame: &[u8],
        line: &[u8],
        multiline: bool,
        begun: bool,
    ) {
        let done = match (begun, grammar::reply(line)) {
            (true, _) => line == b".",
            (false, Some(Reply::Ok)) => !multiline,
            (false, Some(_)) => true,
            (false, None) => {
                return self.unusable(core, messages::ANSWER_BEHIND_NOT_UNDERSTOOD);
            }
        };
        core.pass(Side::Client, frame);
        if done {
            core.server_answered();
            self.server = Server::Idle;
        } else {
            self.server = Server::Forwarded {
                multiline,
                begun: true,
            };
        }
    }

    /// Sends AUTH for the bearer of the login; the credentials follow when the server asks for them.
    pub(super) fn authenticate(&mut self, core: &mut Core) {
        let Some(bearer) = core.attempt.as_ref().and_then(|a| a.bearer.clone()) else {
            return;
        };
        let mechanism = self.offered.choose(&bearer);
        core.tell_server(format!("AUTH {}\r\n", mechanism.name()).as_bytes());
        self.server = Server::Authenticating(Exchange::Command);
    }

    fn authenticating(&mut self, core: &mut Core, exchange: Exchange, frame: &[u8], line: &[u8]) {
        let bearer = core.attempt.as_ref().and_then(|a| a.bearer.clone());
        let (Some(bearer), Some(upstream)) = (bearer, core.upstream.clone()) else {
            return self.unusable(core, messages::NOT_ASKED);
        };
        let mechanism = self.offered.choose(&bearer);
        match (exchange, grammar::reply(line)) {
            (Exchange::Command, Some(Reply::Continuation(_))) => {
                let message = sasl::message(mechanism, &bearer, &upstream);
                let line = Zeroizing::new([message.as_bytes(), b"\r\n"].concat());
                match core.tell_bearer(&line, SECRET.as_bytes()) {
                    Ok(()) => self.server = Server::Authenticating(Exchange::Credentials),
                    Err(_) => self.unusable(core, messages::NOT_ENCRYPTED),
                }
            }
            (Exchange::Credentials, Some(Reply::Continuation(challenge))) => {
                core.tell_server(sasl::error_answer(mechanism));
                self.server =
                    Server::Authenticating(Exchange::Challenged(sasl::error_text(challenge)));
            }
            (Exchange::Credentials | Exchange::Challenged(_), Some(Reply::Ok)) => {
                core.server_answered();
                self.server = Server::Idle;
                core.accepted(&[], frame);
            }
            (Exchange::Command, Some(Reply::Err { code: None, .. }))
                if mechanism == Mechanism::XOAuth2
                    && bearer.mechanism.is_none()
                    && self.offered == Offered::default() =>
            {
                // Nobody has asked for its mechanisms yet, and it may know the other one only.
                self.offered.oauthbearer = true;
                self.authenticate(core);
            }
            (exchange, Some(Reply::Err { code, text })) => {
                core.server_answered();
                self.server = Server::Idle;
                self.refused(core, exchange, frame, code, text);
            }
            _ => self.unusable(core, messages::LOGIN_ANSWER_NOT_UNDERSTOOD),
        }
    }

    fn refused(
        &mut self,
        core: &mut Core,
        exchange: Exchange,
        frame: &[u8],
        code: Option<&[u8]>,
        text: &[u8],
    ) {
        let token_at_fault = !matches!(exchange, Exchange::Command)
            && code.is_none_or(|code| code.eq_ignore_ascii_case(b"AUTH"));
        let challenge = match &exchange {
            Exchange::Challenged(why) => why,
            _ => "",
        };
        let refusal = ServerRefusal {
            answer: frame,
            line: frame,
            said: text,
            challenge,
            token_at_fault,
        };
        server_refused(self, core, &refusal);
    }
}

/// Adds a line to a multi-line answer.
fn list(core: &Core, mut listing: Listing, frame: &[u8], line: &[u8]) -> Listed {
    if !listing.begun {
        return match grammar::reply(line) {
            Some(Reply::Ok) => {
                listing.begun = true;
                Listed::Going(listing)
            }
            Some(Reply::Err { .. }) => Listed::Refused,
            _ => Listed::Broken,
        };
    }
    if line == b"." {
        return Listed::Done(listing.lines);
    }
    if listing.lines.len() + frame.len() > core.config.limits.capabilities {
        return Listed::TooLong;
    }
    listing.lines.extend_from_slice(frame);
    Listed::Going(listing)
}
