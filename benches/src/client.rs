//! A mail program that does what it is told, on a blocking connection.

use crate::{
    upstream::{PASSWORD, USER},
    wire::{PATIENCE, Socket, Stream, Wire},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proxy_proto::Protocol;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use std::{
    fmt::Display,
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
};

/// Where a client connects to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// For a connection without a proxy.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// One session.
pub(crate) struct Client {
    wire: Wire,
    protocol: Protocol,
}

impl Client {
    /// Connects, reads the greeting, logs in. `capacity`: octets of the buffer that is read into.
    pub(crate) fn log_in(target: &Target, capacity: usize) -> io::Result<Client> {
        let mut client = Client::connect(target, capacity)?;
        match client.protocol {
            Protocol::Imap => client.command(format_args!("LOGIN {USER} {PASSWORD}"))?,
            Protocol::Pop => {
                client.command(format_args!("USER {USER}"))?;
                client.command(format_args!("PASS {PASSWORD}"))?;
            }
            Protocol::Smtp => {
                client.command("EHLO localhost")?;
                let plain = BASE64_STANDARD.encode(format!("\0{USER}\0{PASSWORD}"));
                client.command(format_args!("AUTH PLAIN {plain}"))?;
            }
        }
        Ok(client)
    }

    /// Connects and reads the greeting.
    pub(crate) fn connect(target: &Target, capacity: usize) -> io::Result<Client> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, target.port));
        let tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let stream = match &target.tls {
            None => Stream::Plain(tcp),
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                let connection =
                    ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                Stream::Client(Box::new(StreamOwned::new(connection, Socket::new(tcp))))
            }
        };
        let mut client = Client {
            wire: Wire::new(stream, capacity),
            protocol: target.protocol,
        };
        let greeting = client.wire.line()?;
        let expected: &[u8] = match client.protocol {
            Protocol::Imap => b"* OK",
            Protocol::Pop => b"+OK",
            Protocol::Smtp => b"220",
        };
        match greeting.starts_with(expected) {
            true => Ok(client),
            false => Err(unexpected(&greeting)),
        }
    }

    pub(crate) fn noop(&mut self) -> io::Result<()> {
        self.command("NOOP")
    }

    /// Downloads a message of that many KiB, at least 1.
    pub(crate) fn fetch(&mut self, kib: u64) -> io::Result<()> {
        self.begin_fetch(kib)?;
        self.wire.skip(kib * 1024)?;
        self.end_fetch()
    }

    /// Asks for the message and reads up to its first octet.
    pub(crate) fn begin_fetch(&mut self, kib: u64) -> io::Result<()> {
        match self.protocol {
            Protocol::Imap => {
                self.wire.send(format!("a FETCH {kib} BODY[]\r\n"))?;
                let line = self.wire.line()?;
                match line.ends_with(format!("{{{}}}", kib * 1024).as_bytes()) {
                    true => Ok(()),
                    false => Err(unexpected(&line)),
                }
            }
            Protocol::Pop => self.command(format_args!("RETR {kib}")),
            Protocol::Smtp => Err(io::Error::other("SMTP has no downloads")),
        }
    }

    /// Reads octets of a message that was begun.
    pub(crate) fn skip(&mut self, count: u64) -> io::Result<()> {
        self.wire.skip(count)
    }

    /// Reads what follows the message's last octet.
    pub(crate) fn end_fetch(&mut self) -> io::Result<()> {
        let line = self.wire.line()?;
        let expected: &[u8] = match self.protocol {
            Protocol::Imap => b")",
            Protocol::Pop | Protocol::Smtp => b".",
        };
        if line != expected {
            return Err(unexpected(&line));
        }
        match self.protocol {
            Protocol::Imap => self.answer(),
            Protocol::Pop | Protocol::Smtp => Ok(()),
        }
    }

    /// Uploads a message of that many KiB: APPEND, or a mail to somebody.
    pub(crate) fn send(&mut self, kib: u64) -> io::Result<()> {
        self.begin_send(kib)?;
        self.wire.send_text(kib * 1024)?;
        match self.protocol {
            Protocol::Imap => self.wire.send("\r\n")?,
            Protocol::Pop | Protocol::Smtp => self.wire.send(".\r\n")?,
        }
        self.answer()
    }

    /// Everything that precedes the message's first octet.
    pub(crate) fn begin_send(&mut self, kib: u64) -> io::Result<()> {
        match self.protocol {
            Protocol::Imap => {
                let length = kib * 1024;
                self.wire.send(format!("a APPEND INBOX {{{length}}}\r\n"))?;
                let line = self.wire.line()?;
                match line.starts_with(b"+") {
                    true => Ok(()),
                    false => Err(unexpected(&line)),
                }
            }
            Protocol::Pop => Err(io::Error::other("POP has no uploads")),
            Protocol::Smtp => {
                self.command("MAIL FROM:<user@example.com>")?;
                self.command("RCPT TO:<somebody@example.com>")?;
                self.command("DATA")
            }
        }
    }

    /// A part of a message that was begun, and no more of it.
    pub(crate) fn send_part(&mut self, octets: u64) -> io::Result<()> {
        self.wire.send_text(octets)
    }

    /// IDLE, and reads up to the continuation: nothing more is sent on this connection.
    pub(crate) fn idle(mut self) -> io::Result<Stream> {
        self.wire.send("a IDLE\r\n")?;
        let line = self.wire.line()?;
        match line.starts_with(b"+") {
            true => Ok(self.wire.into_stream()),
            false => Err(unexpected(&line)),
        }
    }

    /// LOGOUT or QUIT.
    pub(crate) fn log_out(mut self) -> io::Result<()> {
        match self.protocol {
            Protocol::Imap => self.command("LOGOUT"),
            Protocol::Pop | Protocol::Smtp => self.command("QUIT"),
        }
    }

    fn command(&mut self, command: impl Display) -> io::Result<()> {
        match self.protocol {
            Protocol::Imap => self.wire.send(format!("a {command}\r\n"))?,
            Protocol::Pop | Protocol::Smtp => self.wire.send(format!("{command}\r\n"))?,
        }
        self.answer()
    }

    /// The end of an answer, if it is a good one.
    fn answer(&mut self) -> io::Result<()> {
        loop {
            let line = self.wire.line()?;
            let (more, good) = match self.protocol {
                Protocol::Imap => (line.starts_with(b"* "), line.starts_with(b"a OK")),
                Protocol::Pop => (false, line.starts_with(b"+OK")),
                Protocol::Smtp => (
                    line.get(3) == Some(&b'-'),
                    matches!(line.first(), Some(b'2' | b'3')),
                ),
            };
            match (more, good) {
                (true, _) => {}
                (false, true) => return Ok(()),
                (false, false) => return Err(unexpected(&line)),
            }
        }
    }
}

fn unexpected(line: &[u8]) -> io::Error {
    io::Error::other(format!("an unexpected answer: {}", line.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{open, trusting};

    /// The measured world without anything in the middle.
    fn targets() -> [Target; 3] {
        let folder = tempfile::tempdir().unwrap();
        let authorities = folder.path().join("authorities.pem");
        let [imap, pop, smtp, _] = open(&authorities).unwrap();
        let tls = trusting(&authorities).unwrap();
        [
            (imap, Protocol::Imap),
            (pop, Protocol::Pop),
            (smtp, Protocol::Smtp),
        ]
        .map(|(port, protocol)| Target {
            port,
            protocol,
            tls: Some(tls.clone()),
        })
    }

    #[test]
    fn all_work_can_be_done_without_a_proxy() {
        for target in targets() {
            for kib in [1, 300] {
                let mut client = Client::log_in(&target, 4096).unwrap();
                client.noop().unwrap();
                match target.protocol {
                    Protocol::Smtp => assert!(client.fetch(kib).is_err()),
                    _ => client.fetch(kib).unwrap(),
                }
                match target.protocol {
                    Protocol::Pop => assert!(client.send(kib).is_err()),
                    _ => client.send(kib).unwrap(),
                }
                client.noop().unwrap();
                client.log_out().unwrap();
            }
        }
    }

    #[test]
    fn a_wrong_password_and_a_wrong_token_are_refused() {
        let [imap, pop, smtp] = targets();
        for (target, commands) in [
            (
                imap,
                ["LOGIN user@example.com wrong", "AUTHENTICATE XOAUTH2 AAAA"],
            ),
            (pop, ["PASS a-local-password", "AUTH XOAUTH2 AAAA"]),
            (smtp, ["AUTH PLAIN AAAA", "AUTH XOAUTH2 AAAA"]),
        ] {
            let mut client = Client::connect(&target, 4096).unwrap();
            for command in commands {
                assert!(client.command(command).is_err(), "{command}");
            }
        }
    }

    #[test]
    fn an_answer_of_another_length_is_an_error() {
        let [imap, ..] = targets();
        let mut client = Client::log_in(&imap, 4096).unwrap();
        client.begin_fetch(2).unwrap();
        client.skip(1024).unwrap();
        assert!(client.end_fetch().is_err());
    }
}
