//! A look at a listener's server without a client: what it says before a login.

use crate::{
    connect, handshake, messages,
    stream::Stream,
    wait::{Interest, Wait, told_once},
};
use proxy_proto::{
    Event, LocalTls, Protocol, Reason, RedactedLine, Session, Side, Upstream, UpstreamTls,
};
use proxy_runtime::{ListenerConfig, SessionRecord, messages::client::SLOW_HANDSHAKE, trouble};
use rustls::pki_types::CertificateDer;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

/// Most lines of dialogue that are kept.
const MOST_LINES: usize = 500;

/// What a server has shown of itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Survey {
    /// Where the connection went: the server's address, or that of the outgoing proxy.
    pub address: SocketAddr,
    /// What was said, up to the answer to the question for capabilities; at most 500 lines.
    pub dialogue: Vec<RedactedLine>,
    /// The server's certificates, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The TLS version, such as `TLS 1.3`.
    pub tls: &'static str,
}

/// Connects to the server of a listener as a session would (outgoing proxy, TLS or STARTTLS, certificate), asks for its
/// capabilities and leaves. It blocks, up to twice `timeout`, and longer where the system takes long to resolve the name.
///
/// # Errors
/// Why sessions could not use this server, in one line.
pub fn survey(config: &ListenerConfig, timeout: Duration) -> Result<Survey, String> {
    let (_teller, given_up) = told_once().map_err(|error| trouble::plain(&error))?;
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let record = SessionRecord::alone(&config.heading, nobody);
    let stream = connect::to_server(config, &record, timeout, &given_up)?;
    let address = stream.tcp().peer_addr();
    let mut session = (*config.session).clone();
    session.dialogue = true;
    session.local_tls = LocalTls::None;
    let mut visit = Visit {
        config,
        session: Session::new(Arc::new(session), Duration::ZERO),
        client: Client::new(config.session.protocol),
        stream,
        epoch: Instant::now(),
        deadline: Instant::now() + timeout,
        timeout,
        dialogue: Vec::new(),
    };
    visit.go()?;
    Ok(Survey {
        address: address.map_err(|error| trouble::plain(&error))?,
        certificates: visit.stream.certificates(),
        tls: visit.stream.tls_version(),
        dialogue: visit.dialogue,
    })
}

struct Visit<'a> {
    config: &'a ListenerConfig,
    session: Session,
    client: Client,
    stream: Stream,
    epoch: Instant,
    deadline: Instant,
    timeout: Duration,
    dialogue: Vec<RedactedLine>,
}

impl Visit<'_> {
    /// Talks until the client has heard the capabilities.
    fn go(&mut self) -> Result<(), String> {
        let upstream = Upstream {
            host: self.config.upstream_host.clone(),
            port: self.config.upstream_port,
            secure: self.config.session.upstream_tls == UpstreamTls::Implicit,
        };
        self.session.connected(upstream, self.epoch.elapsed());
        loop {
            self.events()?;
            let told = self.session.transmit(Side::Client).to_vec();
            if !told.is_empty() {
                self.session.advance(Side::Client, told.len());
                self.client.hear(&told);
                continue;
            }
            if let Some(command) = self.client.say() {
                let now = self.epoch.elapsed();
                self.session.handle_input(Side::Client, command, now);
                continue;
            }
            if self.client.knows() {
                self.leave();
                return Ok(());
            }
            self.exchange()?;
        }
    }

    fn events(&mut self) -> Result<(), String> {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Dialogue(line) if self.dialogue.len() < MOST_LINES => {
                    self.dialogue.push(line);
                }
                Event::UpgradeTls(Side::Server) => {
                    self.upgrade()?;
                    let established = self
                        .session
                        .tls_established(Side::Server, self.epoch.elapsed());
                    established.map_err(|misuse| misuse.to_string())?;
                }
                Event::Reconnect => return Err(Reason::ServerLeft.to_string()),
                Event::Closed(reason) => {
                    let told = self.session.transmit(Side::Client).to_vec();
                    self.client.hear(&told);
                    return Err(match reason {
                        Reason::ServerLeft => match self.client.last_line() {
                            Some(line) => messages::refuses_connections(line),
                            None => messages::NO_GREETING.to_owned(),
                        },
                        Reason::Unreachable(why) => why,
                        reason => reason.to_string(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// TLS behind STARTTLS.
    fn upgrade(&mut self) -> Result<(), String> {
        let host = &self.config.upstream_host;
        let failed = |why: &str| trouble::tls_failed(host, why);
        handshake::begin_with_server(&mut self.stream, self.config).map_err(|why| failed(&why))?;
        loop {
            match self.stream.handshake() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.is_late() {
                        return Err(failed(SLOW_HANDSHAKE));
                    }
                    self.wait(self.stream.handshake_interest());
                }
                Err(error) => return Err(failed(&trouble::with_server(&error))),
            }
        }
    }

    /// Moves bytes to or from the server, or waits until that can be done.
    fn exchange(&mut self) -> Result<(), String> {
        let lost = |error: &io::Error| messages::connection_lost(trouble::plain(error));
        let blocks = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let mut interest = Interest {
            read: true,
            write: false,
        };
        let out = self.session.transmit(Side::Server).to_vec();
        if !out.is_empty() || self.stream.unsent() {
            let written = match out.is_empty() {
                true => self.stream.flush().map(|()| 0),
                false => self.stream.write(&out),
            };
            match written {
                Ok(count) => {
                    self.session.advance(Side::Server, count);
                    return Ok(());
                }
                Err(error) if blocks(&error) => interest.write = true,
                Err(error) => return Err(lost(&error)),
            }
        }
        let mut bytes = [0; 4096];
        let budget = self.session.read_budget(Side::Server).min(bytes.len());
        if budget > 0 {
            let now = self.epoch.elapsed();
            match self.stream.read(&mut bytes[..budget]) {
                Ok(0) => {
                    self.session.handle_eof(Side::Server, now);
                    return Ok(());
                }
                Ok(count) => {
                    self.session
                        .handle_input(Side::Server, &bytes[..count], now);
                    return Ok(());
                }
                Err(error) if blocks(&error) => {}
                Err(error) => return Err(lost(&error)),
            }
        }
        if self.is_late() {
            return Err(messages::slow_dialogue(self.timeout.as_secs()));
        }
        self.wait(interest);
        Ok(())
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn wait(&self, interest: Interest) {
        let mut wait = Wait::default();
        wait.stream(&self.stream, interest);
        wait.until(self.deadline);
        wait.wait();
    }

    /// Says goodbye as far as the socket takes it: nothing depends on it.
    fn leave(&mut self) {
        let command = match self.config.session.protocol {
            Protocol::Imap => "b LOGOUT\r\n",
            Protocol::Pop | Protocol::Smtp => "QUIT\r\n",
        };
        let _ = self.stream.write(command.as_bytes());
        let _ = self.stream.close();
    }
}

/// A mail client in as far as it asks for capabilities.
struct Client {
    protocol: Protocol,
    line: Vec<u8>,
    last: Option<String>,
    greeted: bool,
    asked: bool,
    knows: bool,
}

impl Client {
    fn new(protocol: Protocol) -> Self {
        Client {
            protocol,
            line: Vec::new(),
            last: None,
            greeted: false,
            asked: false,
            knows: false,
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    let line = String::from_utf8_lossy(&line);
                    self.hear_line(line.trim_end());
                }
                // What is told to clients is bounded; a line need not be kept whole.
                _ if self.line.len() < 4096 => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn hear_line(&mut self, line: &str) {
        self.last = Some(line.chars().filter(|c| !c.is_control()).collect());
        let complete = match (self.protocol, self.asked) {
            (Protocol::Imap, false) => line.starts_with("* "),
            (Protocol::Imap, true) => line.starts_with("a "),
            (Protocol::Pop, false) => true,
            (Protocol::Pop, true) => line == "." || line.starts_with("-ERR"),
            (Protocol::Smtp, _) => line.as_bytes().get(3).is_none_or(|b| *b != b'-'),
        };
        match self.asked {
            false => self.greeted |= complete,
            true => self.knows |= complete,
        }
    }

    /// The question for capabilities, once.
    fn say(&mut self) -> Option<&'static [u8]> {
        if !self.greeted || self.asked {
            return None;
        }
        self.asked = true;
        Some(match self.protocol {
            Protocol::Imap => b"a CAPABILITY\r\n",
            Protocol::Pop => b"CAPA\r\n",
            Protocol::Smtp => b"EHLO localhost\r\n",
        })
    }

    fn knows(&self) -> bool {
        self.knows
    }

    fn last_line(&self) -> Option<&str> {
        self.last.as_deref()
    }
}
