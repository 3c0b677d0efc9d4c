//! A connection of a mail server: lines and counted octets in, bytes out, TLS in between.

use crate::{Protocol, ReceivedLine, Service, control::ProtocolBehaviour, shared::Shared};
use async_io::{Async, Timer};
use futures_lite::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, future};
use futures_rustls::TlsAcceptor;
use std::{io, mem, net::TcpStream, sync::Arc, time::Duration};

/// Octets in a line, its end excluded: enough for the longest access token.
const MAX_LINE: usize = 64 << 10;
/// Without a byte from the client (RFC 3501 §5.4 asks for 30 minutes).
const MAX_SILENCE: Duration = Duration::from_secs(31 * 60);
/// Output that is held back before it is sent.
const MAX_HELD: usize = 256 << 10;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// One connection.
pub(crate) struct Wire {
    pub(crate) shared: Arc<Shared>,
    service: Service,
    protocol: Protocol,
    number: u64,
    /// `None` for the moment in which TLS takes it over.
    stream: Option<Box<dyn Duplex>>,
    secure: bool,
    /// Logged in: lines are no longer recorded.
    opened: bool,
    input: Vec<u8>,
    /// Octets of `input` that have been given out.
    taken: usize,
    output: Vec<u8>,
}

impl Wire {
    pub(crate) async fn open(
        shared: Arc<Shared>,
        service: Service,
        protocol: Protocol,
        number: u64,
        stream: Async<TcpStream>,
    ) -> io::Result<Wire> {
        let stream: Box<dyn Duplex> = if service.implicit_tls() {
            Box::new(
                TlsAcceptor::from(shared.authority.server.clone())
                    .accept(stream)
                    .await?,
            )
        } else {
            Box::new(stream)
        };
        Ok(Wire {
            shared,
            service,
            protocol,
            number,
            stream: Some(stream),
            secure: service.implicit_tls(),
            opened: false,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
        })
    }

    /// The protocol's settings as they are now.
    pub(crate) fn behaviour(&self) -> ProtocolBehaviour {
        self.shared.behaviour().of(self.protocol).clone()
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// STARTTLS is to be offered.
    pub(crate) fn offers_starttls(&self) -> bool {
        !self.secure && self.behaviour().starttls
    }

    /// Credentials are accepted on this connection as it is now.
    pub(crate) fn allows_auth(&self) -> bool {
        self.secure || self.behaviour().plaintext_auth
    }

    /// Login has succeeded: counted, and no further line is recorded.
    pub(crate) fn logged_in(&mut self) {
        self.opened = true;
        self.shared.note_login(self.protocol);
    }

    /// The next line, without its CRLF. Only CRLF ends a line.
    pub(crate) async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let waiting = &self.input[self.taken..];
            if let Some(end) = waiting[searched..]
                .windows(2)
                .position(|pair| pair == b"\r\n")
            {
                let line = waiting[..searched + end].to_vec();
                self.taken += line.len() + 2;
                self.record(&line);
                return Ok(line);
            }
            if waiting.len() > MAX_LINE {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client's line is too long",
                ));
            }
            searched = waiting.len().saturating_sub(1);
            self.fill().await?;
        }
    }

    /// The next `count` octets.
    pub(crate) async fn octets(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.input.len() - self.taken < count {
            self.fill().await?;
        }
        let octets = self.input[self.taken..self.taken + count].to_vec();
        self.taken += count;
        self.record(&octets);
        Ok(octets)
    }

    fn record(&self, line: &[u8]) {
        if !self.opened {
            self.shared.note_line(ReceivedLine {
                service: self.service,
                connection: self.number,
                secure: self.secure,
                line: line.into(),
            });
        }
    }

    /// Adds what comes to `input`. Dropping the future loses nothing.
    async fn fill(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.flush().await?;
        }
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut buffer = [0; 16 << 10];
        let silence = async {
            Timer::after(MAX_SILENCE).await;
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client has been silent for too long",
            ))
        };
        match future::or(stream.read(&mut buffer), silence).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    /// Queues bytes; they are sent before the next read, at the latest.
    pub(crate) fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.output.extend_from_slice(bytes.as_ref());
    }

    /// Queues a line and its CRLF.
    pub(crate) fn put_line(&mut self, line: impl AsRef<[u8]>) {
        self.put(line);
        self.put(b"\r\n");
    }

    /// Sends what is queued when it has become much.
    pub(crate) async fn relieve(&mut self) -> io::Result<()> {
        if self.output.len() > MAX_HELD {
            self.flush().await
        } else {
            Ok(())
        }
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let output = mem::take(&mut self.output);
        stream.write_all(&output).await?;
        stream.flush().await
    }

    /// Answers STARTTLS (STLS) positively and speaks TLS from here on. Whatever came behind the command in clear ends
    /// the connection.
    pub(crate) async fn starttls(&mut self, answer: &str) -> io::Result<()> {
        if self.input.len() > self.taken {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "bytes behind STARTTLS before TLS",
            ));
        }
        self.put_line(answer);
        if let Some(injection) = self.behaviour().injection {
            self.put(injection);
        }
        self.flush().await?;
        let stream = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        let acceptor = TlsAcceptor::from(self.shared.authority.server.clone());
        self.stream = Some(Box::new(acceptor.accept(stream).await?));
        self.secure = true;
        Ok(())
    }

    /// Sends what is left, and says goodbye to TLS and TCP. Failures no longer matter to anybody.
    pub(crate) async fn close(&mut self) {
        let _ = self.flush().await;
        if let Some(stream) = self.stream.as_mut() {
            let _ = stream.close().await;
        }
    }
}
