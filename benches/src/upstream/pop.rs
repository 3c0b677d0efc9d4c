//! RFC 1939, as far as a measurement needs it.

use super::{PASSWORD, USER, admits, words};
use crate::wire::Wire;
use std::io;

pub(super) fn serve(wire: &mut Wire) -> io::Result<()> {
    wire.send("+OK ready\r\n")?;
    let mut logged_in = false;
    let mut user_is_known = false;
    loop {
        let line = wire.line()?;
        let words = words(&line);
        let mut words = words.iter().map(String::as_str);
        let command = words.next().unwrap_or_default().to_ascii_uppercase();
        match command.as_str() {
            "CAPA" => wire.send("+OK\r\nUSER\r\nSASL XOAUTH2\r\n.\r\n")?,
            "NOOP" => wire.send("+OK\r\n")?,
            "QUIT" => return wire.send("+OK bye\r\n"),
            "USER" if !logged_in => {
                user_is_known = words.next() == Some(USER);
                wire.send("+OK\r\n")?;
            }
            "PASS" if !logged_in => {
                logged_in = user_is_known && words.next() == Some(PASSWORD);
                answer_login(wire, logged_in)?;
            }
            "AUTH" if !logged_in => {
                words.next();
                logged_in = match words.next() {
                    Some(response) => admits(response.as_bytes()),
                    None => {
                        wire.send("+ \r\n")?;
                        admits(&wire.line()?)
                    }
                };
                answer_login(wire, logged_in)?;
            }
            "STAT" if logged_in => wire.send("+OK 100000 1024\r\n")?,
            "RETR" if logged_in => {
                let number = words.next().and_then(|word| word.parse::<u64>().ok());
                let Some(number) = number.filter(|number| *number > 0) else {
                    wire.send("-ERR no such message\r\n")?;
                    continue;
                };
                wire.send("+OK\r\n")?;
                wire.send_text(number * 1024)?;
                wire.send(".\r\n")?;
            }
            _ => wire.send("-ERR not now\r\n")?,
        }
    }
}

fn answer_login(wire: &mut Wire, logged_in: bool) -> io::Result<()> {
    wire.send(match logged_in {
        true => "+OK logged in\r\n",
        false => "-ERR [AUTH] who is that?\r\n",
    })
}
