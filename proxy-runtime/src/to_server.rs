//! TLS towards a server, on rustls's unbuffered interface, over any socket that does not block.

use crate::{
    buffer::{Lent, PLAINTEXT, Stock},
    messages::server as messages,
};
use rustls::{
    ClientConfig, Error, ProtocolVersion,
    client::{ClientConnectionData, UnbufferedClientConnection},
    pki_types::{CertificateDer, ServerName},
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic},
};
use std::{
    io::{self, Read, Write},
    sync::Arc,
};

/// The longest record on the wire: header, 16 KiB, and the most that a cipher may add (RFC 5246 §6.2.3).
const RECORD: usize = 5 + 16 * 1024 + 2048;

/// A TLS connection that we open. Records are read into a lent buffer, decrypted there, and leave it at once; what is written
/// is encrypted into another one and leaves that as soon as the socket takes it. Between two messages the connection holds
/// its keys and nothing else.
///
/// The socket stays with the caller, who shows the same one to each call. It must not block: whatever it says with
/// [`WouldBlock`](io::ErrorKind::WouldBlock) is said to the caller, and the call is to be repeated when the socket is ready.
pub struct TlsToServer<S: Stock> {
    connection: UnbufferedClientConnection,
    /// Records that were read and are not worked through: mostly a part of one.
    incoming: Vec<u8>,
    /// There is a whole record in `incoming`: the reader had no room for more.
    unworked: bool,
    /// Decrypted, but more than the reader had room for.
    surplus: Surplus,
    outgoing: Outgoing<S>,
    /// Found behind bytes that had to be delivered first.
    failure: Option<io::Error>,
    /// Nothing more comes from the server.
    ended: bool,
    /// rustls has refused something. It must not be asked again: it may panic.
    failed: bool,
    /// Our close_notify is in `outgoing`, or has left.
    said_goodbye: bool,
}

impl<S: Stock> TlsToServer<S> {
    /// A connection to the server that has a certificate for `name`, with the first bytes of the handshake in it.
    ///
    /// # Errors
    /// Those of rustls, for a configuration that it cannot use.
    pub fn new(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let connection = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
        let mut tls = TlsToServer {
            connection,
            incoming: Vec::new(),
            unworked: false,
            surplus: Surplus::default(),
            outgoing: Outgoing::default(),
            failure: None,
            ended: false,
            failed: false,
            said_goodbye: false,
        };
        // Nothing has come yet: this makes the ClientHello.
        tls.work(&mut io::sink(), &mut [], &mut Sink::nothing()).1?;
        Ok(tls)
    }

    /// Goes on with the handshake, up to its end.
    ///
    /// # Errors
    /// The socket's; what rustls has against the server is within an [`io::Error`] of the kind `InvalidData`.
    pub fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        loop {
            self.outgoing.flush(socket)?;
            if !self.is_handshaking() {
                return Ok(());
            }
            if !self.more(socket, &mut Sink::nothing())? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Whether the handshake waits for the server.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The server's certificates, its own first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// What was agreed on; `None` before.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.connection.protocol_version()
    }

    /// Whether another read may yield bytes without asking the kernel.
    pub fn has_more(&self) -> bool {
        self.unworked || self.failure.is_some() || !self.surplus.is_empty()
    }

    /// Whether there are bytes that the socket has not taken.
    pub fn unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// 0 is the server's end, with close_notify or without. With room for [`PLAINTEXT`] nothing stays behind but a part of a
    /// record.
    ///
    /// # Errors
    /// Those of the handshake. Whatever came whole before a bad record is delivered first.
    pub fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        bytes: &mut [u8],
    ) -> io::Result<usize> {
        let count = self.surplus.take(bytes);
        if count > 0 || bytes.is_empty() {
            return Ok(count);
        }
        loop {
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            if self.ended {
                return Ok(0);
            }
            let mut sink = Sink { bytes, filled: 0 };
            let result = self.more(socket, &mut sink);
            let filled = sink.filled;
            match result {
                Ok(more) => self.ended |= !more,
                Err(error) if filled > 0 => self.failure = Some(error),
                Err(error) => return Err(error),
            }
            // There may be an answer to what was read, such as an alert; if the socket does not take it, writing will tell.
            let _ = self.outgoing.flush(socket);
            if filled > 0 {
                return Ok(filled);
            }
        }
    }

    /// Takes at most [`PLAINTEXT`] bytes, and none before what it took earlier has left.
    ///
    /// # Errors
    /// The socket's, and `BrokenPipe` where the connection has failed or the server has ended it.
    pub fn write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.flush(socket)?;
        let bytes = &bytes[..bytes.len().min(PLAINTEXT)];
        self.encrypt(socket, |traffic, room| traffic.encrypt(bytes, room))?;
        // They are taken, whatever becomes of them: an error is found again by the next call.
        let _ = self.outgoing.flush(socket);
        Ok(bytes.len())
    }

    /// # Errors
    /// The socket's.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.outgoing.flush(socket)
    }

    /// Sends what was written, and close_notify behind it. Reading goes on; the socket's write half is the caller's to end.
    ///
    /// # Errors
    /// The socket's.
    pub fn close(&mut self, socket: &mut impl Write) -> io::Result<()> {
        if !self.said_goodbye {
            self.outgoing.flush(socket)?;
            self.said_goodbye = true;
            // A connection that has failed has said so in an alert.
            let _ = self.encrypt(socket, |traffic, room| traffic.queue_close_notify(room));
        }
        self.outgoing.flush(socket)
    }

    /// Reads once, unless there are whole records left, and works through what is there. False at the end.
    fn more(&mut self, socket: &mut (impl Read + Write), sink: &mut Sink<'_>) -> io::Result<bool> {
        let mut wire = Lent::<S>::lend();
        let mut end = self.incoming.len();
        if !self.unworked {
            let limit = wire.len().min(sink.bytes.len().max(end + RECORD));
            if end == limit {
                // rustls limits messages to less than that.
                return Err(invalid(Error::General(
                    messages::HANDSHAKE_TOO_LONG.to_owned(),
                )));
            }
            let count = socket.read(&mut wire[end..limit])?;
            if count == 0 {
                return Ok(false);
            }
            end += count;
        }
        wire[..self.incoming.len()].copy_from_slice(&self.incoming);
        let (done, result) = self.work(socket, &mut wire[..end], sink);
        self.unworked = result.is_ok() && done < end && sink.is_full();
        if done == end {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(&wire[done..end]);
        }
        result.map(|()| true)
    }

    /// Lets rustls work through `wire` until it needs more or the sink is full. The number is that of the bytes it is
    /// done with; the others it wants to see again.
    fn work(
        &mut self,
        socket: &mut impl Write,
        wire: &mut [u8],
        sink: &mut Sink<'_>,
    ) -> (usize, io::Result<()>) {
        let mut done = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut wire[done..]);
            let mut blocked = false;
            let mut result = Ok(());
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                self.surplus.put(sink.put(record.payload));
                            }
                            Err(error) => {
                                result = Err(invalid(error));
                                break;
                            }
                        }
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    result = self
                        .outgoing
                        .put(|room| data.encode(room).map_err(unencoded));
                }
                // They leave in the order in which they came into the buffer.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::Closed) => {
                    self.ended = true;
                    blocked = true;
                }
                Ok(_) => blocked = true,
                Err(error) => result = Err(invalid(error)),
            }
            done += discard;
            if result.is_err() {
                self.failed = true;
                self.ended = true;
                self.send_alert(socket, &mut wire[done..]);
                return (done, result);
            }
            if blocked || sink.is_full() {
                return (done, Ok(()));
            }
        }
    }

    /// The server is told why the connection ends, if its socket takes a few bytes.
    fn send_alert(&mut self, socket: &mut impl Write, wire: &mut [u8]) {
        let status = self.connection.process_tls_records(wire);
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state
            && self
                .outgoing
                .put(|room| data.encode(room).map_err(unencoded))
                .is_ok()
        {
            self.outgoing.send_now(socket);
        }
    }

    /// Puts records into `outgoing`, which is empty.
    fn encrypt(
        &mut self,
        socket: &mut impl Write,
        make: impl FnOnce(
            &mut WriteTraffic<'_, ClientConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // rustls goes through what has come before it lets us write; mostly that is nothing.
        let mut incoming = std::mem::take(&mut self.incoming);
        let (done, result) = self.work(socket, &mut incoming, &mut Sink::nothing());
        incoming.drain(..done);
        self.unworked = false;
        self.incoming = incoming;
        result?;
        let status = self.connection.process_tls_records(&mut self.incoming);
        match status.state.map_err(invalid)? {
            ConnectionState::WriteTraffic(mut traffic) => self
                .outgoing
                .put(|room| make(&mut traffic, room).map_err(unencrypted)),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Where decrypted bytes go.
struct Sink<'a> {
    bytes: &'a mut [u8],
    filled: usize,
}

impl Sink<'_> {
    /// Takes nothing, and is never full: all goes to the surplus.
    fn nothing() -> Self {
        Sink {
            bytes: &mut [],
            filled: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.filled > 0 && self.filled == self.bytes.len()
    }

    /// Returns what has no room.
    fn put<'b>(&mut self, payload: &'b [u8]) -> &'b [u8] {
        let room = &mut self.bytes[self.filled..];
        let (now, later) = payload.split_at(payload.len().min(room.len()));
        room[..now.len()].copy_from_slice(now);
        self.filled += now.len();
        later
    }
}

/// Decrypted bytes that wait for their reader.
#[derive(Default)]
struct Surplus {
    bytes: Vec<u8>,
    start: usize,
}

impl Surplus {
    fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.bytes.len() - self.start);
        into[..count].copy_from_slice(&self.bytes[self.start..self.start + count]);
        self.start += count;
        if self.is_empty() {
            *self = Surplus::default();
        }
        count
    }
}

/// Records that wait for the socket.
struct Outgoing<S: Stock> {
    buffer: Option<Lent<S>>,
    start: usize,
    end: usize,
}

impl<S: Stock> Default for Outgoing<S> {
    fn default() -> Self {
        Outgoing {
            buffer: None,
            start: 0,
            end: 0,
        }
    }
}

impl<S: Stock> Outgoing<S> {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// `encode` is given all the room there is behind what waits already.
    fn put(&mut self, encode: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        let buffer = self.buffer.get_or_insert_with(Lent::lend);
        self.end += encode(&mut buffer[self.end..])?;
        Ok(())
    }

    fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while let Some(buffer) = &self.buffer {
            if self.start < self.end {
                match socket.write(&buffer[self.start..self.end])? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => self.start += count,
                }
            } else {
                *self = Outgoing::default();
            }
        }
        Ok(())
    }

    /// Gives up what the socket does not take.
    fn send_now(&mut self, socket: &mut impl Write) {
        if let Some(buffer) = &self.buffer {
            let _ = socket.write(&buffer[self.start..self.end]);
        }
        *self = Outgoing::default();
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn unencoded(error: EncodeError) -> io::Error {
    invalid(Error::General(error.to_string()))
}

fn unencrypted(error: EncryptError) -> io::Error {
    invalid(Error::General(error.to_string()))
}
