//! One connection, plain or TLS. Nothing in here blocks: `WouldBlock` says that the thread has to wait.

use crate::{
    buffer::{Lent, OfProcess},
    wait::Interest,
};
use proxy_runtime::TlsToServer;
use rustls::{
    ClientConfig, ProtocolVersion, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
};

/// Plaintext that rustls may hold until a client's socket takes it.
const UNSENT: usize = 64 * 1024;

/// A connection to a client or a server.
pub(crate) struct Stream {
    socket: Socket,
    tls: Tls,
}

enum Tls {
    None,
    /// TLS with a client.
    ToClient(Box<TlsToClient>),
    /// TLS with a server.
    ToServer(Box<TlsToServer<OfProcess>>),
}

/// The TCP connection.
struct Socket {
    tcp: TcpStream,
    /// The last read has left nothing in it.
    drained: bool,
}

struct TlsToClient {
    connection: ServerConnection,
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
        let socket = Socket {
            tcp,
            drained: false,
        };
        Ok(Stream {
            socket,
            tls: Tls::None,
        })
    }

    /// From the next byte on this connection speaks TLS, as the server; then comes [`handshake`](Self::handshake).
    pub(crate) fn begin_tls_with_client(
        &mut self,
        config: Arc<ServerConfig>,
    ) -> Result<(), rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(Some(UNSENT));
        self.tls = Tls::ToClient(Box::new(TlsToClient {
            connection,
            ahead: None,
            close_notified: false,
        }));
        Ok(())
    }

    /// From the next byte on this connection speaks TLS, as the client; then comes [`handshake`](Self::handshake).
    pub(crate) fn begin_tls_with_server(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        self.tls = Tls::ToServer(Box::new(TlsToServer::new(config, name)?));
        Ok(())
    }

    pub(crate) fn is_tls(&self) -> bool {
        !matches!(self.tls, Tls::None)
    }

    /// The server's certificates, its own first; none without TLS.
    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        match &self.tls {
            Tls::None | Tls::ToClient(_) => Vec::new(),
            Tls::ToServer(tls) => tls.certificates().to_vec(),
        }
    }

    /// How this connection is encrypted.
    pub(crate) fn tls_version(&self) -> &'static str {
        let version = match &self.tls {
            Tls::None => return "plaintext",
            Tls::ToClient(tls) => tls.connection.protocol_version(),
            Tls::ToServer(tls) => tls.version(),
        };
        match version {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.socket.tcp
    }

    /// The next bytes of the socket, left in place.
    pub(crate) fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        uninterrupted(|| self.socket.tcp.peek(bytes))
    }

    /// Goes on with the handshake as far as it gets without waiting.
    pub(crate) fn handshake(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Tls::None => Ok(()),
            Tls::ToClient(tls) => tls.handshake(&mut self.socket),
            Tls::ToServer(tls) => tls.handshake(&mut self.socket),
        }
    }

    /// What a handshake that would block waits for.
    pub(crate) fn handshake_interest(&self) -> Interest {
        let read = match &self.tls {
            Tls::None => false,
            Tls::ToClient(tls) => tls.connection.is_handshaking(),
            Tls::ToServer(tls) => tls.is_handshaking(),
        };
        Interest {
            read,
            write: self.unsent(),
        }
    }

    /// Whether TLS holds bytes that the socket has not taken.
    pub(crate) fn unsent(&self) -> bool {
        match &self.tls {
            Tls::None => false,
            Tls::ToClient(tls) => tls.connection.wants_write(),
            Tls::ToServer(tls) => tls.unsent(),
        }
    }

    /// Whether another read may yield bytes without asking the kernel.
    pub(crate) fn has_more(&self) -> bool {
        match &self.tls {
            Tls::None => false,
            // rustls wants to read as long as it holds no decrypted bytes (nor the end of them).
            Tls::ToClient(tls) => tls.ahead.is_some() || !tls.connection.wants_read(),
            Tls::ToServer(tls) => tls.has_more(),
        }
    }

    /// Whether there was nothing left in the socket at the last read, nor is there elsewhere: before it is readable again,
    /// another read is in vain.
    pub(crate) fn is_drained(&self) -> bool {
        self.socket.drained && !self.has_more()
    }

    /// 0 at the end. Many peers end TLS without close_notify: for mail, whose messages are framed, that is an end like
    /// others.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Tls::None => self.socket.read(bytes),
            Tls::ToClient(tls) => tls.read(&mut self.socket, bytes),
            Tls::ToServer(tls) => tls.read(&mut self.socket, bytes),
        }
    }

    /// Takes some of the bytes; TLS may hold them until [`flush`](Self::flush).
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Tls::None => match self.socket.write(bytes) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                result => result,
            },
            Tls::ToClient(tls) => tls.write(&mut self.socket, bytes),
            Tls::ToServer(tls) => tls.write(&mut self.socket, bytes),
        }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Tls::None => Ok(()),
            Tls::ToClient(tls) => tls.flush(&mut self.socket),
            Tls::ToServer(tls) => tls.flush(&mut self.socket),
        }
    }

    /// Flushes, sends close_notify (TLS) and ends the write half.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Tls::None => {}
            Tls::ToClient(tls) => tls.close(&mut self.socket)?,
            Tls::ToServer(tls) => tls.close(&mut self.socket)?,
        }
        match self.socket.tcp.shutdown(Shutdown::Write) {
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

impl TlsToClient {
    fn handshake(&mut self, socket: &mut Socket) -> io::Result<()> {
        loop {
            let written = self.flush(socket);
            if !self.connection.is_handshaking() {
                return written;
            }
            match written {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            if !self.receive(socket)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn read(&mut self, socket: &mut Socket, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            if !self.receive(socket)? {
                return Ok(0);
            }
        }
    }

    fn write(&mut self, socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        let count = self.connection.writer().write(bytes)?;
        match self.flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    fn close(&mut self, socket: &mut Socket) -> io::Result<()> {
        if !self.close_notified {
            self.close_notified = true;
            self.connection.send_close_notify();
        }
        self.flush(socket)
    }

    /// Reads from the socket and decrypts; `false` at its end.
    fn receive(&mut self, socket: &mut Socket) -> io::Result<bool> {
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => {
                let mut bytes = Lent::lend();
                let end = socket.read(&mut bytes)?;
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
            let _ = self.connection.write_tls(socket);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(true)
    }
}

impl Read for Socket {
    /// A read that is not filled has left nothing.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let result = uninterrupted(|| (&self.tcp).read(bytes));
        self.drained = match &result {
            // 0 is the end, which can be read again and again.
            Ok(count) => (1..bytes.len()).contains(count),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        result
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| (&self.tcp).write(bytes))
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        uninterrupted(|| (&self.tcp).write_vectored(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn uninterrupted<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
