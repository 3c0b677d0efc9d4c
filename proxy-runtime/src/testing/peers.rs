//! Clients and servers on blocking sockets.

use super::PATIENCE;
use proxy_proto::Protocol;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection,
};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

/// One end of a connection, plain or TLS. A clone may write while the other one reads.
#[derive(Clone)]
pub struct Peer {
    tcp: Arc<TcpStream>,
    tls: Option<Arc<Mutex<Connection>>>,
    /// Read from the socket, not yet taken by rustls.
    ahead: Vec<u8>,
}

impl Peer {
    /// Takes a connection over; whatever blocks longer than [`PATIENCE`] fails.
    pub fn new(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        Peer {
            tcp: Arc::new(tcp),
            tls: None,
            ahead: Vec::new(),
        }
    }

    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        Peer::new(TcpStream::connect(address).unwrap())
    }

    /// Establishes TLS as the client.
    pub fn secure(self, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        self.established(connection.into())
    }

    /// Establishes TLS as the server.
    pub fn secured_by(self, config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        self.established(connection.into())
    }

    fn established(mut self, mut connection: Connection) -> io::Result<Self> {
        while connection.is_handshaking() {
            connection.complete_io(&mut &*self.tcp)?;
        }
        // What a server sends behind its handshake.
        while connection.wants_write() {
            connection.write_tls(&mut &*self.tcp)?;
        }
        self.tls = Some(Arc::new(Mutex::new(connection)));
        Ok(self)
    }

    /// Whether its TLS took up an earlier session.
    pub fn is_resumed(&self) -> bool {
        let tls = self.tls.as_ref().unwrap().lock().unwrap();
        tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// 0 at the end, with close_notify or without.
    pub fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else {
            return (&*self.tcp).read(bytes);
        };
        loop {
            let mut connection = tls.lock().unwrap();
            match connection.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            if self.ahead.is_empty() {
                // Not under the lock: a clone may write meanwhile.
                drop(connection);
                let mut raw = [0; 16 * 1024];
                let count = (&*self.tcp).read(&mut raw)?;
                self.ahead.extend(&raw[..count]);
                connection = tls.lock().unwrap();
            }
            // Plaintext is read out after each time, or rustls has no room for more.
            let taken = connection.read_tls(&mut &self.ahead[..])?;
            self.ahead.drain(..taken);
            connection
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// All of them.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &self.tls else {
            return (&*self.tcp).write_all(bytes);
        };
        for chunk in bytes.chunks(32 * 1024) {
            let mut raw = Vec::new();
            let mut connection = tls.lock().unwrap();
            connection.writer().write_all(chunk)?;
            while connection.wants_write() {
                connection.write_tls(&mut raw)?;
            }
            drop(connection);
            (&*self.tcp).write_all(&raw)?;
        }
        Ok(())
    }

    /// To the end.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.read(&mut bytes)? {
                0 => return Ok(all),
                count => all.extend(&bytes[..count]),
            }
        }
    }

    /// Ends the write half, TLS first.
    pub fn close(&mut self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let mut raw = Vec::new();
            let mut connection = tls.lock().unwrap();
            connection.send_close_notify();
            while connection.wants_write() {
                connection.write_tls(&mut raw)?;
            }
            drop(connection);
            (&*self.tcp).write_all(&raw)?;
        }
        self.end()
    }

    /// Ends the write half without close_notify.
    pub fn end(&self) -> io::Result<()> {
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Closes with a reset, as a peer does that crashes.
    pub fn reset(self) {
        let options = socket2::SockRef::from(&*self.tcp);
        options.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

/// A peer that speaks and hears lines.
pub struct Lines(pub Peer);

impl Lines {
    /// Connects, in plaintext.
    pub fn connect(address: SocketAddr) -> Self {
        Lines(Peer::connect(address))
    }

    /// Sends the text as it is.
    pub fn say(&mut self, text: &str) {
        self.0.write(text.as_bytes()).unwrap();
    }

    /// The same; `None` when nobody is there any more.
    fn try_say(&mut self, text: &str) -> Option<()> {
        self.0.write(text.as_bytes()).ok()
    }

    /// The next line without CRLF; `None` at the end.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            match self.0.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => line.push(byte[0]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it hangs"),
                // A reset is an end as well.
                Err(_) => break,
            }
            if line.ends_with(b"\r\n") {
                line.truncate(line.len() - 2);
                return Some(String::from_utf8(line).unwrap());
            }
        }
        assert!(line.is_empty(), "{line:?}");
        None
    }

    /// Hears lines until one begins like this.
    pub fn hear_from(&mut self, beginning: &str) -> String {
        loop {
            let line = self.hear().expect(beginning);
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    /// Greets as a server does.
    pub fn greet(&mut self, protocol: Protocol) {
        self.say(match protocol {
            Protocol::Imap => "* OK ready\r\n",
            Protocol::Pop => "+OK ready\r\n",
            Protocol::Smtp => "220 mx.example ready\r\n",
        });
    }

    /// Answers as a server does until an XOAUTH2 login is accepted; returns what came with it, in base64. `None`: the
    /// client left before.
    pub fn take_login(&mut self, protocol: Protocol) -> Option<String> {
        loop {
            let line = self.hear()?;
            let words: Vec<&str> = line.split(' ').collect();
            let (tag, command) = match protocol {
                Protocol::Imap => (words[0], words[1..].to_vec()),
                _ => ("", words),
            };
            match command[0].to_ascii_uppercase().as_str() {
                "CAPABILITY" => self.try_say(&format!(
                    "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n{tag} OK done\r\n"
                ))?,
                "CAPA" => self.try_say("+OK\r\nSASL XOAUTH2\r\nUIDL\r\n.\r\n")?,
                "EHLO" => {
                    self.try_say("250-mx.example\r\n250-SIZE 1000000\r\n250 AUTH XOAUTH2\r\n")?;
                }
                "AUTHENTICATE" | "AUTH" => {
                    assert_eq!(command[1], "XOAUTH2");
                    let token = match command.get(2) {
                        Some(token) => (*token).to_owned(),
                        None => {
                            self.try_say(match protocol {
                                Protocol::Smtp => "334 \r\n",
                                _ => "+ \r\n",
                            })?;
                            self.hear()?
                        }
                    };
                    self.try_say(&match protocol {
                        Protocol::Imap => format!("{tag} OK welcome\r\n"),
                        Protocol::Pop => "+OK welcome\r\n".to_owned(),
                        Protocol::Smtp => "235 2.7.0 welcome\r\n".to_owned(),
                    })?;
                    return Some(token);
                }
                other => panic!("{other} before the login"),
            }
        }
    }

    /// Sends every line back until the client ends.
    pub fn echo(&mut self) {
        while let Some(line) = self.hear() {
            self.say(&format!("echo {line}\r\n"));
        }
        self.0.close().unwrap();
    }
}

/// Bytes that differ at every place and for every seed.
pub struct Pattern(pub u64);

impl Pattern {
    /// The next ones.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // Knuth's 64-bit linear congruential generator.
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }

    /// The first `length` ones.
    pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Pattern(seed).fill(&mut bytes);
        bytes
    }
}
