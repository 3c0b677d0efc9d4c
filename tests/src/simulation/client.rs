//! A mail client that logs in, in any of the forms there are, and not always as it should.

use super::{Choices, PASSWORD};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proxy_proto::{LocalTls, Protocol, SessionConfig};

/// The client's side of a simulated dialogue.
pub(super) struct Client {
    config: SessionConfig,
    tag: u32,
    secure: bool,
    greeted: bool,
    /// Parts of a command that have not been sent yet.
    rest: Vec<Vec<u8>>,
    /// The end of a part that was sent cut in two.
    cut: Option<Vec<u8>>,
    password: &'static str,
    /// The last command lost its end: the next one is its tail.
    garbled: bool,
}

impl Client {
    pub(super) fn new(config: SessionConfig) -> Self {
        Client {
            secure: config.local_tls == LocalTls::Implicit,
            config,
            tag: 0,
            greeted: false,
            rest: Vec::new(),
            cut: None,
            password: PASSWORD,
            garbled: false,
        }
    }

    pub(super) fn secured(&mut self) {
        self.secure = true;
        self.greeted = false;
    }

    /// Something without sense was sent in its name.
    pub(super) fn garble(&mut self) {
        self.garbled = true;
        self.rest.clear();
        self.cut = None;
    }

    /// What it sends from now on is relay, or waits for it: it may reach the server. What it has begun it ends.
    pub(super) fn logged_in(&mut self) {
        self.garbled = true;
        self.rest.clear();
    }

    /// What the client sends next. `held`: a login is under way, so that this waits behind it.
    pub(super) fn speaks(&mut self, choices: &mut Choices<'_>, held: bool) -> Vec<u8> {
        if let Some(end) = self.cut.take() {
            return end;
        }
        if !self.rest.is_empty() {
            return self.rest.remove(0);
        }
        // A mutated command may be an unknown one, which passes once a login before it has succeeded: no canary in it.
        let mutated = !held && choices.chance(10);
        let tail = std::mem::take(&mut self.garbled);
        self.password = if mutated || tail { "tail" } else { PASSWORD };
        let starttls = self.config.local_tls == LocalTls::StartTlsRequired
            || (self.config.local_tls == LocalTls::StartTlsOptional && choices.chance(128));
        let mut parts = if held {
            self.behind_a_login(choices)
        } else if starttls && !self.secure && !choices.chance(30) {
            let mut parts = self.starttls();
            if choices.chance(12) {
                parts[0].extend(self.other(choices).concat()); // injection
            }
            parts
        } else if self.config.protocol == Protocol::Smtp && !self.greeted {
            self.greeted = true;
            let verb = choices.pick(&["EHLO", "EHLO", "HELO"]);
            vec![format!("{verb} laptop.example\r\n").into_bytes()]
        } else if choices.chance(48) {
            self.other(choices)
        } else {
            self.login(choices)
        };
        let pipelined = choices.chance(40);
        let at_once = pipelined || choices.chance(60);
        if at_once {
            does_not_wait(&mut parts);
        }
        if pipelined {
            let mut whole = parts.concat();
            let mut behind = self.behind_a_login(choices);
            does_not_wait(&mut behind);
            whole.extend(behind.concat());
            parts = vec![whole];
        } else if at_once {
            parts = vec![parts.concat()];
        }
        if mutated {
            choices.mutate(&mut parts[0]);
            self.garbled = !parts[0].ends_with(b"\r\n");
        }
        if choices.chance(20) && parts[0].len() > 1 {
            let at = 1 + choices.of(parts[0].len() - 1);
            let mut end = parts[0].split_off(at);
            let line = end.windows(2).position(|pair| pair == b"\r\n");
            let more = end.split_off(line.map_or(end.len(), |line| line + 2));
            if !more.is_empty() {
                parts.insert(1, more);
            }
            self.cut = Some(end);
        }
        let first = parts.remove(0);
        self.rest = parts;
        first
    }

    fn tag(&mut self) -> String {
        self.tag += 1;
        format!("A{}", self.tag)
    }

    fn starttls(&mut self) -> Vec<Vec<u8>> {
        let line = match self.config.protocol {
            Protocol::Imap => format!("{} STARTTLS\r\n", self.tag()),
            Protocol::Pop => "STLS\r\n".into(),
            Protocol::Smtp => "STARTTLS\r\n".into(),
        };
        vec![line.into_bytes()]
    }

    /// A command that is no login.
    fn other(&mut self, choices: &mut Choices<'_>) -> Vec<Vec<u8>> {
        let line = match self.config.protocol {
            Protocol::Imap => {
                let command = choices.pick(&[
                    "CAPABILITY",
                    "NOOP",
                    "ID (\"name\" \"mutt\")",
                    "ID (\"name\" {4+}\r\nmutt)",
                    "SELECT INBOX",
                    "XYZZY",
                    "AUTHENTICATE GSSAPI",
                    "LOGIN one",
                    "LOGOUT",
                ]);
                format!("{} {command}\r\n", self.tag())
            }
            Protocol::Pop => {
                let command = choices.pick(&[
                    "CAPA",
                    "CAPA",
                    "NOOP",
                    "STAT",
                    "AUTH",
                    "APOP a b",
                    "USER other@example.com",
                    "AUTH NTLM",
                    "QUIT",
                ]);
                format!("{command}\r\n")
            }
            Protocol::Smtp => {
                let command = choices.pick(&[
                    "NOOP",
                    "EHLO again.example",
                    "RSET",
                    "HELP",
                    "MAIL FROM:<a@example.com>",
                    "AUTH GSSAPI",
                    "VRFY a",
                    "QUIT",
                ]);
                format!("{command}\r\n")
            }
        };
        vec![line.into_bytes()]
    }

    /// What a client pipelines behind its login: commands of the authenticated state, or a second login.
    fn behind_a_login(&mut self, choices: &mut Choices<'_>) -> Vec<Vec<u8>> {
        if choices.chance(60) {
            return self.login(choices);
        }
        let line = match self.config.protocol {
            Protocol::Imap => {
                let command = choices.pick(&[
                    "SELECT INBOX",
                    "NOOP",
                    "APPEND INBOX {9+}\r\nB LOGIN a",
                    "CAPABILITY",
                    "LOGOUT",
                ]);
                format!("{} {command}\r\n", self.tag())
            }
            Protocol::Pop => format!("{}\r\n", choices.pick(&["STAT", "LIST", "CAPA", "QUIT"])),
            Protocol::Smtp => {
                let command = choices.pick(&["MAIL FROM:<a@example.com>", "NOOP", "RSET", "QUIT"]);
                format!("{command}\r\n")
            }
        };
        vec![line.into_bytes()]
    }

    /// A login, in the parts in which a client sends it that waits for continuations.
    fn login(&mut self, choices: &mut Choices<'_>) -> Vec<Vec<u8>> {
        let user = "user@example.com";
        let password = self.password;
        let plain = BASE64_STANDARD.encode(format!("\0{user}\0{password}"));
        let (name, word) = (
            BASE64_STANDARD.encode(user),
            BASE64_STANDARD.encode(password),
        );
        let (u, p) = (user.len(), password.len());
        let parts: Vec<String> = match self.config.protocol {
            Protocol::Imap => {
                let tag = self.tag();
                match choices.of(8) {
                    0 => vec![format!("{tag} LOGIN {user} {password}\r\n")],
                    1 => vec![format!("{tag} LOGIN \"{user}\" \"{password}\"\r\n")],
                    2 => vec![
                        format!("{tag} LOGIN {{{u}}}\r\n"),
                        format!("{user} {{{p}}}\r\n"),
                        format!("{password}\r\n"),
                    ],
                    3 => vec![format!(
                        "{tag} LOGIN {{{u}+}}\r\n{user} {{{p}+}}\r\n{password}\r\n"
                    )],
                    4 => vec![format!("{tag} AUTHENTICATE PLAIN {plain}\r\n")],
                    5 => vec![
                        format!("{tag} AUTHENTICATE PLAIN\r\n"),
                        format!("{plain}\r\n"),
                    ],
                    6 => vec![
                        format!("{tag} authenticate login\r\n"),
                        format!("{name}\r\n"),
                        format!("{word}\r\n"),
                    ],
                    _ => vec![format!("{tag} AUTHENTICATE PLAIN\r\n"), "*\r\n".into()],
                }
            }
            Protocol::Pop => match choices.of(4) {
                0 => vec![format!("USER {user}\r\n"), format!("PASS {password}\r\n")],
                1 => vec![format!("AUTH PLAIN {plain}\r\n")],
                2 => vec!["AUTH PLAIN\r\n".into(), format!("{plain}\r\n")],
                _ => vec!["AUTH PLAIN\r\n".into(), "*\r\n".into()],
            },
            Protocol::Smtp => match choices.of(5) {
                0 => vec![format!("AUTH PLAIN {plain}\r\n")],
                1 => vec!["AUTH PLAIN\r\n".into(), format!("{plain}\r\n")],
                2 => vec![
                    "AUTH LOGIN\r\n".into(),
                    format!("{name}\r\n"),
                    format!("{word}\r\n"),
                ],
                3 => vec![format!("AUTH LOGIN {name}\r\n"), format!("{word}\r\n")],
                _ => vec!["AUTH LOGIN\r\n".into(), "*\r\n".into()],
            },
        };
        parts.into_iter().map(String::into_bytes).collect()
    }
}

/// A client that does not wait for the continuations of its literals is not understood everywhere: no canary in it.
fn does_not_wait(parts: &mut [Vec<u8>]) {
    if parts.len() > 1 && parts[0].ends_with(b"}\r\n") {
        for part in parts {
            let mask = "x".repeat(PASSWORD.len());
            *part = String::from_utf8_lossy(part)
                .replace(PASSWORD, &mask)
                .into_bytes();
        }
    }
}
