//! RFC 3501, as far as a measurement needs it.

use super::{PASSWORD, USER, admits, words};
use crate::wire::Wire;
use std::io;

const CAPABILITY: &str = "CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR IDLE LITERAL+ ID";

pub(super) fn serve(wire: &mut Wire) -> io::Result<()> {
    wire.send(format!("* OK [{CAPABILITY}] ready\r\n"))?;
    let mut logged_in = false;
    loop {
        let line = wire.line()?;
        let words = words(&line);
        let mut words = words.iter().map(String::as_str);
        let tag = words.next().unwrap_or_default();
        let command = words.next().unwrap_or_default().to_ascii_uppercase();
        match command.as_str() {
            "CAPABILITY" => wire.send(format!("* {CAPABILITY}\r\n{tag} OK done\r\n"))?,
            "NOOP" | "SELECT" | "ID" => wire.send(format!("{tag} OK done\r\n"))?,
            "LOGOUT" => return wire.send(format!("* BYE\r\n{tag} OK done\r\n")),
            "LOGIN" if !logged_in => {
                let mut word = || words.next().unwrap_or_default().trim_matches('"');
                logged_in = word() == USER && word() == PASSWORD;
                answer_login(wire, tag, logged_in)?;
            }
            "AUTHENTICATE" if !logged_in => {
                words.next();
                logged_in = match words.next() {
                    Some(response) => admits(response.as_bytes()),
                    None => {
                        wire.send("+ \r\n")?;
                        admits(&wire.line()?)
                    }
                };
                answer_login(wire, tag, logged_in)?;
            }
            "FETCH" if logged_in => {
                let number = words.next().and_then(|word| word.parse::<u64>().ok());
                let Some(number) = number.filter(|number| *number > 0) else {
                    wire.send(format!("{tag} BAD no such message\r\n"))?;
                    continue;
                };
                let length = number * 1024;
                wire.send(format!("* {number} FETCH (BODY[] {{{length}}}\r\n"))?;
                wire.send_text(length)?;
                wire.send(format!(")\r\n{tag} OK done\r\n"))?;
            }
            "APPEND" if logged_in => {
                let literal = words.next_back().and_then(|word| word.strip_prefix('{'));
                let length = literal.and_then(|word| word.strip_suffix('}'));
                let Some(length) = length.and_then(|length| length.parse().ok()) else {
                    wire.send(format!("{tag} BAD no literal\r\n"))?;
                    continue;
                };
                wire.send("+ go on\r\n")?;
                wire.skip(length)?;
                wire.line()?;
                wire.send(format!("{tag} OK done\r\n"))?;
            }
            "IDLE" if logged_in => {
                wire.send("+ idling\r\n")?;
                wire.line()?;
                wire.send(format!("{tag} OK done\r\n"))?;
            }
            _ => wire.send(format!("{tag} BAD not now\r\n"))?,
        }
    }
}

fn answer_login(wire: &mut Wire, tag: &str, logged_in: bool) -> io::Result<()> {
    wire.send(match logged_in {
        true => format!("{tag} OK [{CAPABILITY}] logged in\r\n"),
        false => format!("{tag} NO [AUTHENTICATIONFAILED] who is that?\r\n"),
    })
}
