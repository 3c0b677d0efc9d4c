//! POP3 before login: USER/PASS and AUTH PLAIN (RFC 1939, RFC 5034) from the client, AUTH XOAUTH2 or OAUTHBEARER
//! towards the server, always in the two-line form: Office 365 refuses an initial response.
//!
//! `client.rs` holds what the client says and is told, `server.rs` what the server says; `grammar.rs` tells commands
//! and replies apart, `capability.rs` rebuilds CAPA answers. One command at a time goes to the server.

mod capability;
mod client;
mod grammar;
mod server;

pub(crate) use self::grammar::has_lines;
use crate::{
    Limits, Refusal, Side,
    core::{Core, ServerLink},
    frame::{Framed, Framer},
    machine::{Farewell, Machine, Settled},
    sasl::{ClientSasl, Offered},
};

/// What the proxy waits for from the server.
#[derive(Default)]
enum Server {
    #[default]
    Greeting,
    /// The answer to the proxy's own CAPA; the lines so far.
    Asked(Listing),
    /// The answer to STLS.
    Stls,
    /// The handshake.
    Upgrading,
    /// Nothing.
    Idle,
    /// The answer to a client's CAPA.
    Capabilities(Listing),
    /// The answer to another command of the client; `Some(true)`: its lines follow the first one.
    Forwarded { multiline: bool, begun: bool },
    /// Steps of AUTH.
    Authenticating(Exchange),
}

/// A multi-line answer that is being read.
#[derive(Default)]
struct Listing {
    /// The status line has been read.
    begun: bool,
    lines: Vec<u8>,
}

/// AUTH, step by step.
enum Exchange {
    /// The command is out; the credentials follow at the continuation request.
    Command,
    /// The credentials are out.
    Credentials,
    /// The server has sent an error challenge, which has been answered; its decoded text.
    Challenged(String),
}

/// What the next line of the client is.
#[derive(Default)]
enum Expecting {
    #[default]
    Command,
    /// A response line of AUTH.
    Response(ClientSasl),
}

#[derive(Default)]
pub(crate) struct Pop {
    client_framer: Framer,
    server_framer: Framer,
    server: Server,
    expecting: Expecting,
    /// The client has been greeted.
    greeted: bool,
    /// The greeting, while the client cannot be greeted yet.
    greeting: Vec<u8>,
    /// The name of the last USER.
    user: Option<Vec<u8>>,
    /// The server's mechanisms, as far as they have been seen.
    offered: Offered,
    /// After the login: an AUTH was answered, its response line may follow.
    response_may_follow: bool,
}

impl Machine for Pop {
    fn look(&mut self, limits: &Limits, side: Side, bytes: &[u8]) -> Framed {
        match side {
            Side::Client => self.client_framer.look(bytes, limits.line, false),
            Side::Server => self.server_framer.look(bytes, limits.server_line, false),
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
            Side::Client => self.client_line(core, frame),
            Side::Server => self.server_line(core, frame),
        }
    }

    fn literal(&mut self, _: &mut Core, _: Side, _: &[u8], _: usize, _: bool) -> bool {
        false // POP has none; the framer is not asked for them
    }

    fn connected(&mut self, _: &mut Core) {
        self.server_framer.reset();
        self.server = Server::Greeting;
        self.offered = Offered::default();
    }

    fn tls_established(&mut self, core: &mut Core, side: Side) {
        match side {
            Side::Client => {
                self.client_framer.reset();
                self.expecting = Expecting::Command;
                self.user = None;
            }
            Side::Server => {
                self.server_framer.reset();
                self.offered = Offered::default();
                self.greet(core);
                self.idle(core);
            }
        }
    }

    fn bearer(&mut self, core: &mut Core) {
        if matches!(self.server, Server::Idle) {
            self.authenticate(core);
        }
    }

    fn login_failed(&mut self, core: &mut Core, refusal: &Refusal) {
        if core.server_link == ServerLink::Gone {
            self.server = Server::Idle;
        }
        self.user = None;
        let line = match refusal {
            Refusal::Denied(text) => format!("-ERR [AUTH] {text}\r\n"),
            Refusal::Temporary(text) => format!("-ERR [SYS/TEMP] {text}\r\n"),
        };
        core.tell_client(line.as_bytes());
    }

    fn farewell(&mut self, core: &mut Core, farewell: Farewell, text: &str) {
        let line = match farewell {
            Farewell::Unavailable | Farewell::Shutdown => format!("-ERR [SYS/TEMP] {text}\r\n"),
            Farewell::BadInput | Farewell::TooManyErrors | Farewell::Idle => {
                format!("-ERR {text}\r\n")
            }
        };
        core.tell_client(line.as_bytes());
    }

    fn keepalive(&mut self, _: &mut Core) {
        // POP3 has nothing that could be said meanwhile.
    }

    fn client_waits(&self) -> bool {
        !matches!(self.server, Server::Idle)
    }

    fn settle(&mut self, core: &mut Core, held: &[u8]) -> Settled {
        self.settle_client(core, held)
    }
}

impl Pop {}
