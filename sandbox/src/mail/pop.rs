//! POP3 (RFC 1939, 2449, 2595, 5034).

use super::{
    sasl::{self, Verdict},
    wire::Wire,
};
use std::{io, sync::Arc};

/// The maildrop of a session: INBOX as it was at login.
struct Maildrop {
    user: Arc<str>,
    messages: Vec<Entry>,
}

struct Entry {
    validity: u32,
    uid: u32,
    bytes: Arc<[u8]>,
    deleted: bool,
}

pub(crate) async fn converse(wire: &mut Wire) -> io::Result<()> {
    wire.put_line("+OK the sandbox's POP3 server is ready");
    let mut maildrop: Option<Maildrop> = None;
    loop {
        let line = wire.line().await?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let verb = verb.to_ascii_uppercase();
        match (verb.as_str(), &mut maildrop) {
            ("CAPA", open) => {
                let open = open.is_some();
                capabilities(wire, open);
            }
            ("QUIT", open) => {
                if let Some(maildrop) = open {
                    maildrop.update(wire);
                }
                wire.put_line("+OK goodbye");
                return Ok(());
            }
            ("STLS", None) if rest.is_empty() && wire.offers_starttls() => {
                wire.starttls("+OK begin TLS").await?;
            }
            ("AUTH", None) => match auth(wire, rest).await? {
                Auth::User(user) => {
                    maildrop = Some(Maildrop::open(wire, user));
                    wire.logged_in();
                    wire.put_line("+OK logged in");
                }
                Auth::No => {}
                Auth::Close => return Ok(()),
            },
            ("USER" | "PASS" | "APOP", None) => {
                wire.put_line("-ERR [AUTH] passwords are not accepted here, use AUTH XOAUTH2");
            }
            (verb, Some(maildrop)) => maildrop.command(wire, verb, rest).await?,
            (_, None) => wire.put_line("-ERR unknown command, or not before login"),
        }
    }
}

fn capabilities(wire: &mut Wire, open: bool) {
    wire.put_line("+OK");
    for capability in [
        "TOP",
        "UIDL",
        "RESP-CODES",
        "AUTH-RESP-CODE",
        "PIPELINING",
        "IMPLEMENTATION sandbox",
    ] {
        wire.put_line(capability);
    }
    if !open {
        if wire.offers_starttls() {
            wire.put_line("STLS");
        }
        let offered = sasl::offered(wire);
        if !offered.is_empty() {
            wire.put_line(format!("SASL {}", offered.join(" ")));
        }
    }
    wire.put_line(".");
}

enum Auth {
    User(Arc<str>),
    No,
    Close,
}

/// RFC 5034, the two-line form only: an initial response is refused, as Office 365 refuses it.
async fn auth(wire: &mut Wire, arguments: &str) -> io::Result<Auth> {
    if !wire.allows_auth() {
        wire.put_line("-ERR [AUTH] only over TLS, use STLS first");
        return Ok(Auth::No);
    }
    if arguments.is_empty() {
        // The old listing of RFC 1734's time, which some clients ask for.
        wire.put_line("+OK");
        for name in sasl::offered(wire) {
            wire.put_line(name);
        }
        wire.put_line(".");
        return Ok(Auth::No);
    }
    let (name, initial) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let Some(mechanism) = sasl::mechanism(wire, name) else {
        wire.put_line("-ERR this mechanism is unknown");
        return Ok(Auth::No);
    };
    if !initial.is_empty() {
        wire.put_line("-ERR protocol error: send the response on a line of its own");
        return Ok(Auth::No);
    }
    wire.put_line("+ ");
    let response = wire.line().await?;
    match sasl::judge(wire, mechanism, &response) {
        Verdict::Accepted(user) => return Ok(Auth::User(user)),
        Verdict::Close => return Ok(Auth::Close),
        Verdict::Ordered(line) => wire.put_line(&*line),
        Verdict::Cancelled => wire.put_line("-ERR cancelled"),
        Verdict::Malformed => wire.put_line("-ERR the response is malformed"),
        Verdict::Refused(challenge) => {
            wire.put_line(format!("+ {challenge}"));
            let answer = wire.line().await?;
            if sasl::is_acknowledgement(mechanism, &answer) {
                wire.put_line("-ERR [AUTH] the access token was refused");
            } else {
                wire.put_line("-ERR an empty answer was expected");
            }
        }
    }
    Ok(Auth::No)
}

impl Maildrop {
    fn open(wire: &Wire, user: Arc<str>) -> Maildrop {
        let mut messages = Vec::new();
        if let Some(mailbox) = wire.shared.mail.mailbox(&user)
            && let Some(inbox) = mailbox.folders().get("INBOX")
        {
            let validity = inbox.uid_validity;
            messages.extend(inbox.messages.iter().map(|message| Entry {
                validity,
                uid: message.uid,
                bytes: message.bytes.clone(),
                deleted: false,
            }));
        }
        Maildrop { user, messages }
    }

    /// The UPDATE state (RFC 1939 §6).
    fn update(&self, wire: &Wire) {
        let Some(mailbox) = wire.shared.mail.mailbox(&self.user) else {
            return;
        };
        if let Some(inbox) = mailbox.folders().get("INBOX") {
            for entry in self.messages.iter().filter(|entry| entry.deleted) {
                inbox.remove(entry.uid);
            }
        }
        mailbox.announce();
    }

    async fn command(&mut self, wire: &mut Wire, verb: &str, rest: &str) -> io::Result<()> {
        match (verb, rest) {
            ("STAT", "") => {
                let kept = || self.messages.iter().filter(|entry| !entry.deleted);
                let octets: usize = kept().map(|entry| entry.bytes.len()).sum();
                wire.put_line(format!("+OK {} {octets}", kept().count()));
            }
            ("LIST" | "UIDL", "") => {
                wire.put_line("+OK");
                for (index, entry) in self
                    .messages
                    .iter()
                    .enumerate()
                    .filter(|(_, entry)| !entry.deleted)
                {
                    wire.put_line(entry.listing(verb, index));
                }
                wire.put_line(".");
            }
            ("NOOP", "") => wire.put_line("+OK"),
            ("RSET", "") => {
                self.messages
                    .iter_mut()
                    .for_each(|entry| entry.deleted = false);
                wire.put_line("+OK nothing will be deleted");
            }
            ("LIST" | "UIDL" | "RETR" | "DELE" | "TOP", rest) => {
                let (number, lines) = match rest.split_once(' ') {
                    Some((number, lines)) if verb == "TOP" => (number, lines.parse::<usize>().ok()),
                    _ => (rest, None),
                };
                let index = number
                    .parse::<usize>()
                    .ok()
                    .and_then(|number| number.checked_sub(1));
                let found = index.and_then(|index| Some((index, self.messages.get_mut(index)?)));
                match found.filter(|(_, entry)| !entry.deleted) {
                    None => wire.put_line("-ERR no such message"),
                    Some((_, entry)) if verb == "DELE" => {
                        entry.deleted = true;
                        wire.put_line("+OK will be deleted at QUIT");
                    }
                    Some((_, entry)) if verb == "RETR" => {
                        let bytes = entry.bytes.clone();
                        wire.put_line(format!("+OK {} octets", bytes.len()));
                        send_lines(wire, &bytes, None).await?;
                    }
                    Some((_, entry)) if verb == "TOP" => match lines {
                        Some(lines) => {
                            let bytes = entry.bytes.clone();
                            wire.put_line("+OK");
                            send_lines(wire, &bytes, Some(lines)).await?;
                        }
                        None => wire.put_line("-ERR TOP wants a message and a number of lines"),
                    },
                    Some((index, entry)) => {
                        wire.put_line(format!("+OK {}", entry.listing(verb, index)))
                    }
                }
            }
            _ => wire.put_line("-ERR unknown command"),
        }
        Ok(())
    }
}

impl Entry {
    fn listing(&self, verb: &str, index: usize) -> String {
        match verb {
            "UIDL" => format!("{} v{}u{}", index + 1, self.validity, self.uid),
            _ => format!("{} {}", index + 1, self.bytes.len()),
        }
    }
}

/// A multi-line answer, dot-stuffed and ended: the whole message, or its header and so many lines of the body.
async fn send_lines(wire: &mut Wire, message: &[u8], body_lines: Option<usize>) -> io::Result<()> {
    let mut left = body_lines;
    let mut in_body = false;
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let (line, tail) = match end {
            Some(end) => (&rest[..end], &rest[end + 2..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = tail;
        if in_body && let Some(left) = &mut left {
            if *left == 0 {
                break;
            }
            *left -= 1;
        }
        if line.starts_with(b".") {
            wire.put(b".");
        }
        wire.put_line(line);
        in_body |= line.is_empty();
        wire.relieve().await?;
    }
    wire.put_line(".");
    Ok(())
}
