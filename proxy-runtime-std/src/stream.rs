//! One connection, plain or TLS. Nothing in here blocks: `WouldBlock` says that the thread has to wait.

use crate::{
    buffer::{self, Lent},
    wait::Interest,
};
use rustls::{
    ClientConfig, ClientConnection, Connection, ProtocolVersion, ServerConfig, ServerConnection,
    pki_types::CertificateDer,
};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
};

/// Plaintext that rustls may hold until the socket takes it.
const UNSENT: usize = 64 * 1024;

/// A connection to a client or a server.
pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<Tls>>,
    /// The last read of the socket has left nothing in it.
    drained: bool,
}

struct Tls {
    connection: Connection,
    /// Read from the socket, not yet taken by rustls, which asks for 4 KiB at a time.
    ahead: Option<Ahead>,
    close_notified: bool,
}

struct Ahead {
    bytes: Lent,
    start: usize,
    end: usize,
}

impl Stream {
    /// Takes a new connection over.
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        tcp.set_nonblocking(true)?;
        proxy_runtime::prepare(&tcp);
        Ok(Stream {
            tcp,
            tls: None,
            drained: false,
        })
    }

    /// From the next byte on this connection speaks TLS, as the server; then comes [`handshake`](Self::handshake).
    pub(crate) fn begin_tls_with_client(
        &mut self,
        config: Arc<ServerConfig>,
    ) -> Result<(), rustls::Error> {
        self.begin_tls(ServerConnection::new(config)?.into());
        Ok(())
    }

    /// From the next byte on this connection speaks TLS, as the client; then comes [`handshake`](Self::handshake).
    pub(crate) fn begin_tls_with_server(
        &mut self,
        config: Arc<ClientConfig>,
        name: rustls::pki_types::ServerName<'static>,
    ) -> Result<(), rustls::Error> {
        self.begin_tls(ClientConnection::new(config, name)?.into());
        Ok(())
    }

    fn begin_tls(&mut self, mut connection: Connection) {
        connection.set_buffer_limit(Some(UNSENT));
        self.tls = Some(Box::new(Tls {
            connection,
            ahead: None,
            close_notified: false,
        }));
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The peer's certificates, its own first; none without TLS.
    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        let tls = self.tls.as_ref();
        let shown = tls.and_then(|tls| tls.connection.peer_certificates());
        shown.map(<[_]>::to_vec).unwrap_or_default()
    }

    /// How this connection is encrypted.
    pub(crate) fn tls_version(&self) -> &'static str {
        let tls = self.tls.as_ref();
        match tls.and_then(|tls| tls.connection.protocol_version()) {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(_) => "TLS",
            None => "plaintext",
        }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The next bytes of the socket, left in place.
    pub(crate) fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.tcp.peek(bytes))
    }

    /// Goes on with the handshake as far as it gets without waiting.
    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        loop {
            let written = self.flush();
            let Some(tls) = &mut self.tls else {
                return Ok(());
            };
            if !tls.connection.is_handshaking() {
                return written;
            }
            match written {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            if !tls.receive(&mut &self.tcp, &mut self.drained)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// What a handshake that would block waits for.
    pub(crate) fn handshake_interest(&self) -> Interest {
        let tls = self.tls.as_ref();
        Interest {
            read: tls.is_some_and(|tls| tls.connection.is_handshaking()),
            write: self.unsent(),
        }
    }

    /// Whether TLS holds bytes that the socket has not taken.
    pub(crate) fn unsent(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.connection.wants_write())
    }

    /// Whether another read may yield bytes without asking the kernel.
    pub(crate) fn has_more(&self) -> bool {
        let tls = self.tls.as_ref();
        // rustls wants to read as long as it holds no decrypted bytes (nor the end of them).
        tls.is_some_and(|tls| tls.ahead.is_some() || !tls.connection.wants_read())
    }

    /// Whether there was nothing left in the socket at the last read, nor is there elsewhere: before it is readable again,
    /// another read is in vain.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained && !self.has_more()
    }

    /// 0 at the end. Many peers end TLS without close_notify: for mail, whose messages are framed, that is an end like
    /// others.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return receive(&mut &self.tcp, bytes, &mut self.drained);
        };
        loop {
            match tls.connection.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            if !tls.receive(&mut &self.tcp, &mut self.drained)? {
                return Ok(0);
            }
        }
    }

    /// Takes some of the bytes; TLS may hold them until [`flush`](Self::flush).
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return match uninterrupted(|| (&self.tcp).write(bytes)) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                result => result,
            };
        }
        self.flush()?;
        let Some(tls) = &mut self.tls else {
            return Err(io::ErrorKind::WriteZero.into());
        };
        let count = tls.connection.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        while tls.connection.wants_write() {
            if uninterrupted(|| tls.connection.write_tls(&mut &self.tcp))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Flushes, sends close_notify (TLS) and ends the write half.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls
            && !tls.close_notified
        {
            tls.close_notified = true;
            tls.connection.send_close_notify();
        }
        self.flush()?;
        match self.tcp.shutdown(Shutdown::Write) {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

impl Tls {
    /// Reads from the socket and decrypts; `false` at its end.
    fn receive(&mut self, tcp: &mut &TcpStream, drained: &mut bool) -> io::Result<bool> {
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => {
                let mut bytes = buffer::lend();
                let end = receive(tcp, &mut bytes, drained)?;
                if end == 0 {
                    return Ok(false);
                }
                Ahead {
                    bytes,
                    start: 0,
                    end,
                }
            }
        };
        let taken = self
            .connection
            .read_tls(&mut &ahead.bytes[ahead.start..ahead.end])?;
        ahead.start += taken;
        if ahead.start < ahead.end {
            self.ahead = Some(ahead);
        }
        if let Err(error) = self.connection.process_new_packets() {
            // The peer is told by an alert, as far as the socket takes it.
            let _ = self.connection.write_tls(tcp);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(true)
    }
}

/// Reads from the socket; a read that is not filled has left nothing.
fn receive(tcp: &mut &TcpStream, bytes: &mut [u8], drained: &mut bool) -> io::Result<usize> {
    let result = uninterrupted(|| tcp.read(bytes));
    *drained = match &result {
        // 0 is the end, which can be read again and again.
        Ok(count) => (1..bytes.len()).contains(count),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    };
    result
}

fn uninterrupted<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
