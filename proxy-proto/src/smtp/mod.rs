//! Submission before login: EHLO, HELO, AUTH PLAIN and AUTH LOGIN (RFC 5321, RFC 4954) from the client, AUTH XOAUTH2 or
//! OAUTHBEARER towards the server, always in the two-line form: Office 365 refuses an initial response.
//!
//! `client.rs` holds what the client says and is told, `server.rs` what the server says; `grammar.rs` tells commands
//! and replies apart, `capability.rs` rebuilds EHLO answers. One command at a time goes to the server.

mod capability;
mod client;
mod grammar;
mod server;

use crate::{
    Limits, Refusal, Side,
    core::{Core, ServerLink},
    frame::{Framed, Framer},
    machine::{Farewell, Machine, Settled},
    sasl::{ClientSasl, Offered},
};

/// What the proxy waits for from the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Server {
    #[default]
    Greeting,
    /// The answer to EHLO; `for_client`: the client has asked and gets it.
    Ehlo { for_client: bool },
    /// The answer to STARTTLS; what was asked before goes on after the handshake.
    StartTls { for_client: bool },
    /// The handshake.
    Upgrading { for_client: bool },
    /// Nothing.
    Idle,
    /// The answer to another command of the client.
    Forwarded { quit: bool },
    /// Steps of AUTH.
    Authenticating(Exchange),
}

/// AUTH, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    /// The command is out; the credentials follow at `334`.
    Command,
    /// The credentials are out.
    Credentials,
    /// The server has sent an error challenge, which has been answered.
    Challenged,
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
pub(crate) struct Smtp {
    client_framer: Framer,
    server_framer: Framer,
    server: Server,
    expecting: Expecting,
    /// The lines of the server's reply so far.
    reply: Vec<u8>,
    /// The client has been greeted.
    greeted: bool,
    /// The name in the client's last EHLO or HELO.
    name: Option<Vec<u8>>,
    /// What the server offers, once it has answered an EHLO over the connection as it is now.
    offered: Option<Offered>,
    /// The decoded text of the last error challenge.
    challenge: String,
    /// After the login: an AUTH was answered, its response lines may follow.
    response_may_follow: bool,
}

impl Machine for Smtp {
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
                let idle = self.server == Server::Idle || core.server_link == ServerLink::Gone;
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
        false // SMTP has none; the framer is not asked for them
    }

    fn connected(&mut self, _: &mut Core) {
        self.forget();
        self.server = Server::Greeting;
    }

    fn tls_established(&mut self, core: &mut Core, side: Side) {
        match side {
            Side::Client => {
                self.client_framer.reset();
                self.expecting = Expecting::Command;
                // RFC 3207 §4.2: what the client said before is forgotten.
                self.name = None;
            }
            Side::Server => {
                let for_client = matches!(self.server, Server::Upgrading { for_client: true });
                self.forget();
                self.ehlo(core, for_client);
            }
        }
    }

    fn bearer(&mut self, core: &mut Core) {
        if self.server == Server::Idle {
            self.authenticate(core);
        }
    }

    fn login_failed(&mut self, core: &mut Core, refusal: &Refusal) {
        if core.server_link == ServerLink::Gone {
            self.server = Server::Idle;
        }
        let line = match refusal {
            Refusal::Denied(text) => format!("535 5.7.8 {text}\r\n"),
            Refusal::Temporary(text) => format!("454 4.7.0 {text}\r\n"),
        };
        core.tell_client(line.as_bytes());
    }

    fn farewell(&mut self, core: &mut Core, farewell: Farewell, text: &str) {
        let code = match farewell {
            Farewell::Unavailable => "421 4.4.1",
            Farewell::Shutdown => "421 4.3.2",
            Farewell::BadInput => "500 5.5.2",
            Farewell::TooManyErrors => "421 4.7.0",
            Farewell::Idle => "421 4.4.2",
        };
        core.tell_client(format!("{code} {text}\r\n").as_bytes());
    }

    fn keepalive(&mut self, _: &mut Core) {
        // SMTP has nothing that could be said meanwhile.
    }

    fn client_waits(&self) -> bool {
        self.server != Server::Idle
    }

    fn settle(&mut self, core: &mut Core, held: &[u8]) -> Settled {
        self.settle_client(core, held)
    }
}

impl Smtp {
    /// What was learnt over another connection, or before TLS, counts no more.
    fn forget(&mut self) {
        self.server_framer.reset();
        self.reply = Vec::new();
        self.offered = None;
    }

    /// Says EHLO with the client's own name.
    fn ehlo(&mut self, core: &mut Core, for_client: bool) {
        let name = self.name.as_deref().unwrap_or(b"localhost");
        core.tell_server(&[b"EHLO ", name, b"\r\n"].concat());
        self.server = Server::Ehlo { for_client };
    }
}
