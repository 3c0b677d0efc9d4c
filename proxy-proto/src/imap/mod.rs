//! IMAP before login: RFC 3501/9051 towards the client, AUTHENTICATE XOAUTH2 or OAUTHBEARER towards the server.
//!
//! `client.rs` holds what the client says and is told, `server.rs` what the server says; `grammar.rs` tells commands
//! and responses apart, `capability.rs` rebuilds the lists between them. One command at a time goes to the server.

mod capability;
mod client;
mod grammar;
mod server;

use crate::{
    Limits, Refusal, Side,
    core::{Core, ServerLink},
    frame::{Framed, Framer},
    machine::{Farewell, Machine, Settled},
    messages,
    sasl::ClientSasl,
};
use capability::Capabilities;
use std::collections::VecDeque;

/// What the proxy waits for from the server.
#[derive(Default)]
enum Server {
    /// The greeting.
    #[default]
    Greeting,
    /// The answer to the proxy's own CAPABILITY.
    Asked { tag: Vec<u8> },
    /// The answer to STARTTLS.
    StartTls { tag: Vec<u8> },
    /// The handshake.
    Upgrading,
    /// Nothing.
    Idle,
    /// The answer to the client's command, which had [`Imap::tag`]; `parts` of it follow, one at each continuation
    /// request.
    Forwarded {
        parts: VecDeque<Vec<u8>>,
        logout: bool,
    },
    /// Steps of AUTHENTICATE.
    Authenticating(Exchange),
}

/// AUTHENTICATE, step by step.
enum Exchange {
    /// The command is out; the credentials follow at the continuation request.
    Command,
    /// The credentials are out.
    Credentials,
    /// The server has sent an error challenge, which has been answered; its decoded text.
    Challenged(String),
}

/// What the next frame of the client is.
#[derive(Default)]
enum Expecting {
    #[default]
    Command,
    /// A response line of AUTHENTICATE.
    Response(ClientSasl),
}

#[derive(Default)]
pub(crate) struct Imap {
    client_framer: Framer,
    server_framer: Framer,
    server: Server,
    expecting: Expecting,
    /// The client has been greeted.
    greeted: bool,
    /// The greeting's text, while the client cannot be greeted yet.
    greeting: Option<Vec<u8>>,
    /// The server's capabilities, where they are known.
    capabilities: Option<Capabilities>,
    /// The list behind them, as it came.
    list: Vec<u8>,
    /// How many commands of its own the proxy has sent.
    own_commands: u32,
    /// The tag of the client's last command: of the one that is being served, since the next one waits for its answer.
    tag: Vec<u8>,
    /// Untagged data behind sent credentials.
    held: Vec<u8>,
    /// After the login: an AUTHENTICATE was answered, its response line may follow.
    response_may_follow: bool,
}

impl Machine for Imap {
    fn look(&mut self, limits: &Limits, side: Side, bytes: &[u8]) -> Framed {
        match side {
            Side::Client => match self.expecting {
                Expecting::Command => self.client_framer.look(bytes, limits.imap_line, true),
                Expecting::Response(_) => self.client_framer.look(bytes, limits.line, false),
            },
            Side::Server => match self.server_framer.look(bytes, limits.server_line, true) {
                // Only untagged data has literals: a status line's text may end in braces.
                Framed::Literal { end, .. } if !grammar::may_hold_literals(&bytes[..end]) => {
                    self.server_framer.reset();
                    Framed::Complete(end)
                }
                framed => framed,
            },
        }
    }

    fn accepts(&self, core: &Core, side: Side) -> bool {
        match side {
            Side::Server => true,
            Side::Client => {
                let idle =
                    matches!(self.server, Server::Idle) || core.server_link == ServerLink::Gone;
                self.greeted && idle && core.attempt.is_none()
            }
        }
    }

    fn frame(&mut self, core: &mut Core, side: Side, frame: &[u8]) {
        match side {
            Side::Client => self.client_frame(core, frame),
            Side::Server => self.server_frame(core, frame),
        }
    }

    fn literal(
        &mut self,
        core: &mut Core,
        side: Side,
        so_far: &[u8],
        len: usize,
        synchronising: bool,
    ) -> bool {
        match side {
            Side::Client => self.client_literal(core, so_far, len, synchronising),
            Side::Server => self.server_literal(core, so_far, len),
        }
    }

    fn connected(&mut self, core: &mut Core) {
        let _ = core;
        self.server_framer.reset();
        self.server = Server::Greeting;
        self.forget();
    }

    fn tls_established(&mut self, core: &mut Core, side: Side) {
        match side {
            Side::Client => {
                self.client_framer.reset();
                self.expecting = Expecting::Command;
            }
            Side::Server => {
                self.server_framer.reset();
                self.forget();
                self.ask_capabilities(core);
            }
        }
    }

    fn bearer(&mut self, core: &mut Core) {
        if matches!(self.server, Server::Idle) {
            self.authenticate(core);
        }
    }

    fn login_failed(&mut self, core: &mut Core, refusal: &Refusal) {
        self.held = Vec::new();
        if core.server_link == ServerLink::Gone {
            self.server = Server::Idle;
        }
        let (code, text) = match refusal {
            Refusal::Denied(text) => ("AUTHENTICATIONFAILED", text),
            Refusal::Temporary(text) => ("UNAVAILABLE", text),
        };
        self.answer(core, format_args!("NO [{code}] {text}"));
    }

    fn farewell(&mut self, core: &mut Core, farewell: Farewell, text: &str) {
        let line = match farewell {
            Farewell::Unavailable => format!("* BYE [UNAVAILABLE] {text}\r\n"),
            _ => format!("* BYE {text}\r\n"),
        };
        core.tell_client(line.as_bytes());
    }

    fn keepalive(&mut self, core: &mut Core) {
        core.tell_client(format!("* OK {}\r\n", messages::WAITING).as_bytes());
    }

    fn client_waits(&self) -> bool {
        !matches!(self.server, Server::Idle)
    }

    fn settle(&mut self, core: &mut Core, held: &[u8]) -> Settled {
        self.settle_client(core, held)
    }
}

impl Imap {
    /// What was learnt over another connection, or before TLS, counts no more.
    fn forget(&mut self) {
        self.capabilities = None;
        self.list = Vec::new();
    }

    /// Notes a command's tag. The buffer is kept: a client that only says NOOP costs no allocation.
    fn name_tag(&mut self, tag: &[u8]) {
        self.tag.clear();
        self.tag.extend_from_slice(tag);
    }

    /// A tagged answer to the client's command.
    fn answer(&mut self, core: &mut Core, text: std::fmt::Arguments<'_>) {
        core.tell_client(&[&self.tag[..], format!(" {text}\r\n").as_bytes()].concat());
    }

    /// A tag of the proxy's own.
    fn own_tag(&mut self) -> Vec<u8> {
        self.own_commands += 1;
        format!("proxy{}", self.own_commands).into_bytes()
    }

    fn ask_capabilities(&mut self, core: &mut Core) {
        let tag = self.own_tag();
        let mut line = tag.clone();
        line.extend_from_slice(b" CAPABILITY\r\n");
        core.tell_server(&line);
        self.server = Server::Asked { tag };
    }
}
