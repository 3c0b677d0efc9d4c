//! RFC 5321 and RFC 4954, as far as a measurement needs them.

use super::{PASSWORD, USER, admits, words};
use crate::wire::Wire;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use std::io;

pub(super) fn serve(wire: &mut Wire) -> io::Result<()> {
    wire.send("220 localhost ESMTP\r\n")?;
    let mut logged_in = false;
    loop {
        let line = wire.line()?;
        let words = words(&line);
        let mut words = words.iter().map(String::as_str);
        let command = words.next().unwrap_or_default().to_ascii_uppercase();
        match command.as_str() {
            "EHLO" => {
                wire.send("250-localhost\r\n250-AUTH XOAUTH2 PLAIN\r\n250 8BITMIME\r\n")?;
            }
            "NOOP" | "RSET" => wire.send("250 ok\r\n")?,
            "QUIT" => return wire.send("221 bye\r\n"),
            "AUTH" if !logged_in => {
                let plain = words.next().is_some_and(|name| name == "PLAIN");
                let response = match words.next() {
                    Some(response) => response.as_bytes().to_vec(),
                    None => {
                        wire.send("334 \r\n")?;
                        wire.line()?
                    }
                };
                logged_in = match plain {
                    true => BASE64_STANDARD.decode(response).is_ok_and(|response| {
                        response == format!("\0{USER}\0{PASSWORD}").as_bytes()
                    }),
                    false => admits(&response),
                };
                wire.send(match logged_in {
                    true => "235 2.7.0 logged in\r\n",
                    false => "535 5.7.8 who is that?\r\n",
                })?;
            }
            "MAIL" | "RCPT" if logged_in => wire.send("250 ok\r\n")?,
            "DATA" if logged_in => {
                wire.send("354 go on\r\n")?;
                while wire.line()? != b"." {}
                wire.send("250 2.0.0 taken\r\n")?;
            }
            _ => wire.send("503 5.5.1 not now\r\n")?,
        }
    }
}
