//! A mail server that answers what it is asked, in the ways of several products, and not always as it should.

use super::{Choices, Op};
use proxy_proto::{Protocol, SessionConfig, Side, UpstreamTls};

/// The server's side of a simulated dialogue.
pub(crate) struct Server {
    protocol: Protocol,
    starttls: bool,
    secure: bool,
    sasl_ir: bool,
    terse: bool,
    mechanisms: &'static str,
    heard: Vec<u8>,
    greeting: bool,
    exchange: Exchange,
}

/// Where the server stands with an AUTH or a literal.
enum Exchange {
    None,
    /// The next line holds the credentials; the tag of the command.
    Credentials(String),
    /// The next line answers an error challenge.
    Challenged(String),
    /// The next line goes on with a command that ended in a literal.
    Literal(String),
}

const CHALLENGE: &str = "eyJzdGF0dXMiOiI0MDAifQ==";

impl Server {
    pub(crate) fn new(config: SessionConfig, choices: &mut Choices<'_>) -> Self {
        Server {
            protocol: config.protocol,
            starttls: config.upstream_tls == UpstreamTls::StartTls,
            secure: config.upstream_tls == UpstreamTls::Implicit,
            sasl_ir: !choices.chance(100),
            terse: choices.chance(80),
            mechanisms: choices.pick(&["XOAUTH2", "XOAUTH2", "OAUTHBEARER", "PLAIN"]),
            heard: Vec::new(),
            greeting: false,
            exchange: Exchange::None,
        }
    }

    /// A connection was opened.
    pub(crate) fn greet(&mut self) {
        self.heard.clear();
        self.greeting = true;
        self.secure = !self.starttls;
        self.exchange = Exchange::None;
    }

    pub(crate) fn secured(&mut self) {
        self.heard.clear();
        self.secure = true;
    }

    pub(crate) fn hears(&mut self, bytes: &[u8]) {
        self.heard.extend(bytes);
    }

    /// Whether there is something to be answered.
    pub(crate) fn owes(&self) -> bool {
        self.greeting || self.heard.windows(2).any(|pair| pair == b"\r\n")
    }

    /// Answers the oldest line.
    pub(crate) fn answers(&mut self, choices: &mut Choices<'_>) -> Op {
        let mut answer = if std::mem::take(&mut self.greeting) {
            self.greeting(choices)
        } else {
            let end = self.heard.windows(2).position(|pair| pair == b"\r\n");
            let Some(end) = end else {
                return Op::Input(Side::Server, choices.noise());
            };
            let line = String::from_utf8_lossy(&self.heard[..end]).into_owned();
            self.heard.drain(..end + 2);
            match self.protocol {
                Protocol::Imap => self.imap(&line, choices),
                Protocol::Pop => self.pop(&line, choices),
                Protocol::Smtp => self.smtp(&line, choices),
            }
            .into_bytes()
        };
        if choices.chance(4) {
            return Op::Eof(Side::Server);
        }
        if choices.chance(6) {
            choices.mutate(&mut answer);
        }
        if choices.chance(4) {
            answer.extend(choices.noise());
        }
        Op::Input(Side::Server, answer)
    }

    fn greeting(&self, choices: &mut Choices<'_>) -> Vec<u8> {
        let odd = choices.chance(6);
        match self.protocol {
            Protocol::Imap if odd => "* BYE busy\r\n".into(),
            Protocol::Pop if odd => "-ERR busy\r\n".into(),
            Protocol::Smtp if odd => "421 busy\r\n".into(),
            Protocol::Imap if self.terse => "* OK ready\r\n".into(),
            Protocol::Imap => format!("* OK [CAPABILITY {}] ready\r\n", self.capabilities()).into(),
            Protocol::Pop => "+OK ready <1.2@pop.example>\r\n".into(),
            Protocol::Smtp if self.terse => "220-mx.example\r\n220 ready\r\n".into(),
            Protocol::Smtp => "220 mx.example ESMTP\r\n".into(),
        }
    }

    fn capabilities(&self) -> String {
        let starttls = if self.starttls && !self.secure {
            " STARTTLS LOGINDISABLED"
        } else {
            ""
        };
        let sasl_ir = if self.sasl_ir { " SASL-IR" } else { "" };
        format!("IMAP4rev1 IDLE{sasl_ir} AUTH={}{starttls}", self.mechanisms)
    }

    fn imap(&mut self, line: &str, choices: &mut Choices<'_>) -> String {
        match std::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Credentials(tag) => return self.verdict(tag, choices),
            Exchange::Challenged(tag) => return self.refusal(&tag, choices),
            Exchange::Literal(tag) => return format!("{tag} OK done\r\n"),
            Exchange::None => {}
        }
        let mut words = line.split(' ');
        let tag = words.next().unwrap_or("*").to_owned();
        let command = words.next().unwrap_or("").to_ascii_uppercase();
        match command.as_str() {
            "CAPABILITY" => format!("* CAPABILITY {}\r\n{tag} OK done\r\n", self.capabilities()),
            "STARTTLS" => {
                let residue = if choices.chance(12) {
                    "* OK injected\r\n"
                } else {
                    ""
                };
                format!("{tag} OK begin TLS\r\n{residue}")
            }
            "AUTHENTICATE" if words.nth(1).is_some() => self.verdict(tag, choices),
            "AUTHENTICATE" => {
                self.exchange = Exchange::Credentials(tag);
                "+ \r\n".into()
            }
            "LOGOUT" => format!("* BYE bye\r\n{tag} OK done\r\n"),
            _ if line.ends_with("+}") => {
                self.exchange = Exchange::Literal(tag);
                String::new()
            }
            _ if line.ends_with('}') => {
                self.exchange = Exchange::Literal(tag);
                "+ go on\r\n".into()
            }
            _ => format!("{tag} OK done\r\n"),
        }
    }

    fn pop(&mut self, line: &str, choices: &mut Choices<'_>) -> String {
        match std::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Credentials(tag) => return self.verdict(tag, choices),
            Exchange::Challenged(tag) => return self.refusal(&tag, choices),
            Exchange::Literal(_) | Exchange::None => {}
        }
        match line.split(' ').next().unwrap_or("") {
            "CAPA" => {
                let stls = if self.starttls && !self.secure {
                    "STLS\r\n"
                } else {
                    ""
                };
                let mechanisms = self.mechanisms;
                format!("+OK\r\nUIDL\r\nSASL {mechanisms}\r\n{stls}.\r\n")
            }
            "STLS" => {
                let residue = if choices.chance(12) {
                    "+OK injected\r\n"
                } else {
                    ""
                };
                format!("+OK begin TLS\r\n{residue}")
            }
            "AUTH" => {
                self.exchange = Exchange::Credentials(String::new());
                "+ \r\n".into()
            }
            "LIST" => "+OK\r\n1 100\r\n.\r\n".into(),
            _ => "+OK done\r\n".into(),
        }
    }

    fn smtp(&mut self, line: &str, choices: &mut Choices<'_>) -> String {
        match std::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Credentials(tag) => return self.verdict(tag, choices),
            Exchange::Challenged(tag) => return self.refusal(&tag, choices),
            Exchange::Literal(_) | Exchange::None => {}
        }
        match line.split(' ').next().unwrap_or("") {
            "EHLO" if self.starttls && !self.secure => {
                "250-mx.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n".into()
            }
            "EHLO" => format!(
                "250-mx.example\r\n250-SIZE 1000\r\n250-AUTH {}\r\n250 8BITMIME\r\n",
                self.mechanisms
            ),
            "STARTTLS" => {
                let residue = if choices.chance(12) {
                    "250 injected\r\n"
                } else {
                    ""
                };
                format!("220 go\r\n{residue}")
            }
            "AUTH" => {
                self.exchange = Exchange::Credentials(String::new());
                "334 \r\n".into()
            }
            "HELP" => "214-this\r\n214 and that\r\n".into(),
            "QUIT" => "221 bye\r\n".into(),
            _ => "250 ok\r\n".into(),
        }
    }

    /// What the server thinks of the credentials.
    fn verdict(&mut self, tag: String, choices: &mut Choices<'_>) -> String {
        if choices.chance(40) {
            return self.refusal(&tag, choices);
        }
        if choices.chance(30) {
            self.exchange = Exchange::Challenged(tag);
            return match self.protocol {
                Protocol::Imap | Protocol::Pop => format!("+ {CHALLENGE}\r\n"),
                Protocol::Smtp => format!("334 {CHALLENGE}\r\n"),
            };
        }
        match self.protocol {
            Protocol::Imap if self.terse => {
                format!("* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK in\r\n")
            }
            Protocol::Imap => format!("{tag} OK [CAPABILITY IMAP4rev1] in\r\n"),
            Protocol::Pop => "+OK in\r\n".into(),
            Protocol::Smtp => "235 2.7.0 in\r\n".into(),
        }
    }

    fn refusal(&self, tag: &str, choices: &mut Choices<'_>) -> String {
        match self.protocol {
            Protocol::Imap => {
                let code = choices.pick(&["", "[AUTHENTICATIONFAILED] ", "[ALERT] ", "[INUSE] "]);
                format!("{tag} NO {code}no\r\n")
            }
            Protocol::Pop => {
                let code = choices.pick(&["", "[AUTH] ", "[IN-USE] ", "[LOGIN-DELAY] "]);
                format!("-ERR {code}no\r\n")
            }
            Protocol::Smtp => {
                let code = choices.pick(&["535 5.7.8", "535 5.7.139", "454 4.7.0", "432 4.3.2"]);
                format!("{code} no\r\n")
            }
        }
    }
}
