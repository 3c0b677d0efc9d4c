//! SMTP submission (RFC 5321, 6409, 4954, 3207, 3030).

use super::{
    mailbox::MAX_MESSAGE,
    sasl::{self, Verdict},
    wire::Wire,
};
use crate::ReceivedMail;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use std::{io, sync::Arc};
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// Recipients of one mail (RFC 5321 §4.5.3.1.8 asks for 100).
const MAX_RECIPIENTS: usize = 1_000;

#[derive(Default)]
struct Session {
    /// What EHLO or HELO said; forgotten with STARTTLS.
    greeted: Option<String>,
    user: Option<Arc<str>>,
    mail: Option<Mail>,
}

struct Mail {
    sender: String,
    recipients: Vec<String>,
    /// Chunks of BDAT so far.
    chunks: Option<Vec<u8>>,
}

pub(crate) async fn converse(wire: &mut Wire) -> io::Result<()> {
    wire.put_line("220 sandbox.example.org ESMTP, the sandbox");
    let mut session = Session::default();
    loop {
        let line = wire.line().await?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => session.ehlo(wire, rest),
            "HELO" => {
                session.greeted = Some(rest.trim().into());
                session.mail = None;
                wire.put_line("250 sandbox.example.org");
            }
            "NOOP" => wire.put_line("250 2.0.0 fine"),
            "HELP" => wire.put_line("214 2.0.0 RFC 5321 says it all"),
            "VRFY" => wire.put_line("252 2.5.0 send some mail and see"),
            "RSET" => {
                session.mail = None;
                wire.put_line("250 2.0.0 forgotten");
            }
            "QUIT" => {
                wire.put_line("221 2.0.0 goodbye");
                return Ok(());
            }
            "STARTTLS" if wire.offers_starttls() && rest.is_empty() => {
                wire.starttls("220 2.0.0 begin TLS").await?;
                session = Session::default();
            }
            "STARTTLS" if wire.is_secure() => wire.put_line("503 5.5.1 TLS is there already"),
            "STARTTLS" => wire.put_line("502 5.5.1 STARTTLS is not offered"),
            "AUTH" => {
                if !session.auth(wire, rest).await? {
                    return Ok(());
                }
            }
            "MAIL" | "RCPT" | "DATA" | "BDAT" if session.user.is_none() => {
                if verb.eq_ignore_ascii_case("BDAT") {
                    // Its octets follow whether wanted or not.
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "BDAT before login",
                    ));
                }
                wire.put_line("530 5.7.0 authentication required");
            }
            "MAIL" => session.mail_from(wire, rest),
            "RCPT" => session.rcpt_to(wire, rest),
            "DATA" if rest.is_empty() => session.data(wire).await?,
            "BDAT" => session.bdat(wire, rest).await?,
            _ => wire.put_line("500 5.5.2 unknown command"),
        }
    }
}

impl Session {
    fn ehlo(&mut self, wire: &mut Wire, name: &str) {
        self.greeted = Some(name.trim().into());
        self.mail = None;
        wire.put_line("250-sandbox.example.org");
        wire.put_line(format!("250-SIZE {MAX_MESSAGE}"));
        for keyword in ["8BITMIME", "SMTPUTF8", "PIPELINING", "CHUNKING"] {
            wire.put_line(format!("250-{keyword}"));
        }
        if wire.offers_starttls() {
            wire.put_line("250-STARTTLS");
        }
        let offered = sasl::offered(wire);
        if !offered.is_empty() {
            wire.put_line(format!("250-AUTH {}", offered.join(" ")));
        }
        wire.put_line("250 ENHANCEDSTATUSCODES");
    }

    /// RFC 4954, with and without initial response. False: close.
    async fn auth(&mut self, wire: &mut Wire, arguments: &str) -> io::Result<bool> {
        let refusal = if self.user.is_some() {
            Some("503 5.5.1 logged in already")
        } else if self.mail.is_some() || self.greeted.is_none() {
            Some("503 5.5.1 EHLO first")
        } else if !wire.allows_auth() {
            Some("530 5.7.0 must issue a STARTTLS command first")
        } else {
            None
        };
        if let Some(refusal) = refusal {
            wire.put_line(refusal);
            return Ok(true);
        }
        let (name, initial) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let Some(mechanism) = sasl::mechanism(wire, name) else {
            wire.put_line("504 5.5.4 this mechanism is unknown");
            return Ok(true);
        };
        let response = if initial.is_empty() {
            wire.put_line("334 ");
            wire.line().await?
        } else {
            initial.as_bytes().to_vec()
        };
        match sasl::judge(wire, mechanism, &response) {
            Verdict::Accepted(user) => {
                self.user = Some(user);
                wire.logged_in();
                wire.put_line("235 2.7.0 logged in");
            }
            Verdict::Close => return Ok(false),
            Verdict::Ordered(line) => wire.put_line(&*line),
            Verdict::Cancelled => wire.put_line("501 5.7.0 cancelled"),
            Verdict::Malformed => wire.put_line("501 5.5.2 the response is malformed"),
            Verdict::Refused(challenge) => {
                wire.put_line(format!("334 {challenge}"));
                let answer = wire.line().await?;
                if sasl::is_acknowledgement(mechanism, &answer) {
                    wire.put_line("535 5.7.8 the access token was refused");
                } else {
                    wire.put_line("501 5.5.2 an empty answer was expected");
                }
            }
        }
        Ok(true)
    }

    fn mail_from(&mut self, wire: &mut Wire, rest: &str) {
        if self.mail.is_some() {
            return wire.put_line("503 5.5.1 one mail at a time");
        }
        let Some((sender, parameters)) = path(rest, "FROM:") else {
            return wire.put_line("501 5.5.4 MAIL FROM:<address> was expected");
        };
        for parameter in parameters.split_ascii_whitespace() {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match (key.to_ascii_uppercase().as_str(), value) {
                ("SIZE", size) => match size.parse::<usize>() {
                    Ok(size) if size <= MAX_MESSAGE => {}
                    Ok(_) => return wire.put_line("552 5.3.4 too large"),
                    Err(_) => return wire.put_line("501 5.5.4 SIZE is no number"),
                },
                ("BODY" | "SMTPUTF8" | "AUTH", _) => {}
                _ => return wire.put_line("555 5.5.4 unknown parameter"),
            }
        }
        self.mail = Some(Mail {
            sender,
            recipients: Vec::new(),
            chunks: None,
        });
        wire.put_line("250 2.1.0 sender is fine");
    }

    fn rcpt_to(&mut self, wire: &mut Wire, rest: &str) {
        let Some(mail) = self.mail.as_mut().filter(|mail| mail.chunks.is_none()) else {
            return wire.put_line("503 5.5.1 MAIL first");
        };
        match path(rest, "TO:") {
            Some((recipient, "")) if recipient.contains('@') => {
                if mail.recipients.len() >= MAX_RECIPIENTS {
                    return wire.put_line("452 4.5.3 too many recipients");
                }
                mail.recipients.push(recipient);
                wire.put_line("250 2.1.5 recipient is fine");
            }
            _ => wire.put_line("501 5.1.3 RCPT TO:<address> was expected"),
        }
    }

    async fn data(&mut self, wire: &mut Wire) -> io::Result<()> {
        let ready = self
            .mail
            .as_ref()
            .is_some_and(|mail| !mail.recipients.is_empty() && mail.chunks.is_none());
        if !ready {
            wire.put_line("503 5.5.1 MAIL and RCPT first");
            return Ok(());
        }
        wire.put_line("354 end with a dot on a line of its own");
        let mut message = Vec::new();
        let mut too_large = false;
        loop {
            let line = wire.line().await?;
            if line == b"." {
                break;
            }
            let line = line.strip_prefix(b".").unwrap_or(&line);
            too_large |= message.len() + line.len() + 2 > MAX_MESSAGE;
            if !too_large {
                message.extend_from_slice(line);
                message.extend_from_slice(b"\r\n");
            }
        }
        if too_large {
            self.mail = None;
            wire.put_line("552 5.3.4 too large");
        } else {
            self.accept(wire, message);
        }
        Ok(())
    }

    /// RFC 3030 §2.
    async fn bdat(&mut self, wire: &mut Wire, rest: &str) -> io::Result<()> {
        let (size, last) = match rest.split_once(' ') {
            Some((size, last)) if last.eq_ignore_ascii_case("LAST") => (size, true),
            _ => (rest, false),
        };
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "BDAT without a usable size");
        let size = size
            .parse::<usize>()
            .ok()
            .filter(|size| *size <= MAX_MESSAGE)
            .ok_or_else(wrong)?;
        let chunk = wire.octets(size).await?;
        let Some(mail) = self
            .mail
            .as_mut()
            .filter(|mail| !mail.recipients.is_empty())
        else {
            wire.put_line("503 5.5.1 MAIL and RCPT first");
            return Ok(());
        };
        let chunks = mail.chunks.get_or_insert_default();
        if chunks.len() + chunk.len() > MAX_MESSAGE {
            self.mail = None;
            wire.put_line("552 5.3.4 too large");
            return Ok(());
        }
        chunks.extend_from_slice(&chunk);
        if last {
            let message = std::mem::take(chunks);
            self.accept(wire, message);
        } else {
            wire.put_line("250 2.0.0 go on");
        }
        Ok(())
    }

    /// Records the mail, and puts it into the INBOX of each recipient who has one here. Other recipients get nothing:
    /// no mail leaves the sandbox.
    fn accept(&mut self, wire: &mut Wire, message: Vec<u8>) {
        let (Some(mail), Some(user)) = (self.mail.take(), self.user.clone()) else {
            return;
        };
        let date = OffsetDateTime::now_utc()
            .format(&Rfc2822)
            .unwrap_or_default();
        let trace = format!(
            "Return-Path: <{}>\r\nReceived: from {} by sandbox.example.org with ESMTPSA; {date}\r\n",
            mail.sender,
            printable(self.greeted.as_deref().unwrap_or_default()),
        );
        let mut delivered = trace.into_bytes();
        delivered.extend_from_slice(&message);
        for recipient in &mail.recipients {
            let known = wire.shared.mail.mailbox(recipient).is_some();
            if known
                && wire
                    .shared
                    .mail
                    .deliver(recipient, "INBOX", &delivered)
                    .is_err()
            {
                return wire.put_line("452 4.2.2 the mailbox is full");
            }
        }
        wire.shared.note_mail(ReceivedMail {
            user: user.to_string(),
            sender: mail.sender,
            recipients: mail.recipients,
            message: message.into(),
        });
        let id = BASE64_STANDARD.encode(
            OffsetDateTime::now_utc()
                .unix_timestamp_nanos()
                .to_be_bytes(),
        );
        wire.put_line(format!(
            "250 2.0.0 accepted as {}",
            id.trim_start_matches('A')
        ));
    }
}

/// `FROM:<address> parameters`.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(String, &'a str)> {
    let rest = rest.trim();
    let start = rest
        .get(..keyword.len())
        .filter(|start| start.eq_ignore_ascii_case(keyword))?;
    let rest = rest[start.len()..].trim_start().strip_prefix('<')?;
    let (address, parameters) = rest.split_once('>')?;
    let good = address.len() <= 1_000
        && !address
            .chars()
            .any(|c| c.is_control() || c == '<' || c == ' ');
    good.then(|| (address.into(), parameters.trim()))
}

fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_graphic())
        .take(255)
        .collect()
}
