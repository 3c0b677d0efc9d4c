//! A mail client, line by line.

use super::{PATIENCE, USER};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sandbox::Protocol;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

/// A mail client that writes and reads its lines itself.
pub struct Client {
    protocol: Protocol,
    stream: BufReader<TcpStream>,
    tag: usize,
}

impl Client {
    /// Connects; nothing is read or said yet.
    pub fn connect(protocol: Protocol, port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Client {
            protocol,
            stream: BufReader::new(stream),
            tag: 0,
        }
    }

    /// Reads the greeting, and says EHLO in SMTP; the last line.
    pub fn greet(&mut self) -> String {
        let greeting = self.line();
        match self.protocol {
            Protocol::Imap => assert!(greeting.starts_with("* OK"), "{greeting}"),
            Protocol::Pop => assert!(greeting.starts_with("+OK"), "{greeting}"),
            Protocol::Smtp => {
                assert!(greeting.starts_with("220 "), "{greeting}");
                self.send("EHLO client.example\r\n");
                return self.until("250 ").pop().unwrap_or_default();
            }
        }
        greeting
    }

    /// Writes these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("the proxy reads");
    }

    /// Reads a line, without its CRLF; fails at the end of the stream.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream
            .read_until(b'\n', &mut line)
            .expect("the proxy answers");
        assert!(
            line.ends_with(b"\r\n"),
            "the stream ended in {:?}",
            String::from_utf8_lossy(&line)
        );
        line.truncate(line.len() - 2);
        String::from_utf8(line).expect("lines here are UTF-8")
    }

    /// Reads up to the first line that begins so; all of them.
    pub fn until(&mut self, prefix: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !lines.last().is_some_and(|line| line.starts_with(prefix)) {
            lines.push(self.line());
        }
        lines
    }

    /// Reads exactly so many octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .expect("the proxy answers");
        bytes
    }

    /// Reads up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream
            .read_to_end(&mut bytes)
            .expect("the stream ends in order");
        bytes
    }

    /// Closes the way to the proxy; reading goes on.
    pub fn close_write(&mut self) {
        self.stream
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// Logs in as [`USER`]; the final answer. Fails when a challenge of the server's comes through.
    pub fn login(&mut self, password: &str) -> String {
        match self.protocol {
            Protocol::Imap => {
                let lines = self.command(&format!("LOGIN \"{USER}\" \"{password}\""));
                assert!(
                    !lines.iter().any(|line| line.starts_with('+')),
                    "a challenge came through: {lines:?}"
                );
                lines.last().cloned().unwrap_or_default()
            }
            Protocol::Pop => {
                self.send(format!("USER {USER}\r\n"));
                let user = self.line();
                assert!(user.starts_with("+OK"), "{user}");
                self.send(format!("PASS {password}\r\n"));
                self.line()
            }
            Protocol::Smtp => {
                self.send(format!("AUTH PLAIN {}\r\n", plain(password)));
                self.line()
            }
        }
    }

    /// An IMAP command under a tag of its own; the lines up to the tagged one.
    pub fn command(&mut self, command: &str) -> Vec<String> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.send(format!("{tag} {command}\r\n"));
        self.until(&format!("{tag} "))
    }

    /// Uses the mailbox a little, to show that the session is open: SELECT, STAT, or a mail to oneself.
    pub fn work(&mut self) {
        match self.protocol {
            Protocol::Imap => {
                let lines = self.command("SELECT INBOX");
                assert!(
                    lines.last().is_some_and(|line| line.contains(" OK")),
                    "{lines:?}"
                );
            }
            Protocol::Pop => {
                self.send("STAT\r\n");
                let line = self.line();
                assert!(line.starts_with("+OK "), "{line}");
            }
            Protocol::Smtp => self.submit(b"Subject: hello\r\n\r\nA line.\r\n"),
        }
    }

    /// Sends a mail to oneself (SMTP); the message is dot-stuffed here.
    pub fn submit(&mut self, message: &[u8]) {
        for (command, code) in [
            (format!("MAIL FROM:<{USER}>"), "250"),
            (format!("RCPT TO:<{USER}>"), "250"),
            ("DATA".into(), "354"),
        ] {
            self.send(format!("{command}\r\n"));
            let answer = self.line();
            assert!(answer.starts_with(code), "{command}: {answer}");
        }
        let mut stuffed = Vec::with_capacity(message.len());
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        self.send(stuffed);
        let answer = self.line();
        assert!(answer.starts_with("250"), "{answer}");
    }

    /// Whether this final answer means that the login succeeded.
    pub fn is_success(&self, answer: &str) -> bool {
        match self.protocol {
            Protocol::Imap => answer.split(' ').nth(1) == Some("OK"),
            Protocol::Pop => answer.starts_with("+OK"),
            Protocol::Smtp => answer.starts_with("235 "),
        }
    }

    /// Whether it says that the credentials are wrong.
    pub fn is_refusal(&self, answer: &str) -> bool {
        match self.protocol {
            Protocol::Imap => answer.contains(" NO [AUTHENTICATIONFAILED] "),
            Protocol::Pop => answer.starts_with("-ERR [AUTH] "),
            Protocol::Smtp => answer.starts_with("535 5.7.8 "),
        }
    }

    /// Whether it says that trying again later may help.
    pub fn is_temporary(&self, answer: &str) -> bool {
        match self.protocol {
            Protocol::Imap => answer.contains(" NO [UNAVAILABLE] "),
            Protocol::Pop => answer.starts_with("-ERR [SYS/TEMP] "),
            Protocol::Smtp => answer.starts_with("454 4.7.0 "),
        }
    }
}

/// The message of SASL PLAIN for [`USER`], in base64.
pub fn plain(password: &str) -> String {
    BASE64.encode(format!("\0{USER}\0{password}"))
}
