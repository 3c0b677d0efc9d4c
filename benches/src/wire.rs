//! A blocking connection of either end: lines, counted octets, and text without meaning.

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::LazyLock,
    time::Duration,
};

/// Longest wait for a byte, or for room for one: what takes this long does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Octets that one read of a bulk transfer may take.
const CHUNK: usize = 256 * 1024;

/// Longest line that is understood: an access token in base64 is the longest there is.
const MAX_LINE: u64 = 64 * 1024;

/// Lines of 64 octets, none of which begins with a dot: any KiB of them can be sent as a message in all three protocols.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let line = b"Nothing in here is worth reading, but it all has to arrive, ok\r\n";
    line.iter().copied().cycle().take(CHUNK).collect()
});

/// Lines in, bytes out.
pub(crate) struct Wire {
    stream: BufReader<Stream>,
}

impl Wire {
    pub(crate) fn new(stream: Stream, capacity: usize) -> Wire {
        Wire {
            stream: BufReader::with_capacity(capacity, stream),
        }
    }

    /// The next line without its end.
    ///
    /// # Errors
    /// `UnexpectedEof` where there is none, `InvalidData` for one that is too long.
    pub(crate) fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.stream)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                line.truncate(text.len());
                Ok(line)
            }
            None if line.len() as u64 == MAX_LINE => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is too long",
            )),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads octets and forgets them.
    pub(crate) fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let there = self.stream.fill_buf()?.len() as u64;
            if there == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = there.min(count);
            self.stream.consume(taken as usize);
            count -= taken;
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_ref())?;
        stream.flush()
    }

    /// Sends that many octets of text.
    pub(crate) fn send_text(&mut self, mut count: u64) -> io::Result<()> {
        let stream = self.stream.get_mut();
        while count > 0 {
            let now = count.min(TEXT.len() as u64);
            stream.write_all(&TEXT[..now as usize])?;
            count -= now;
        }
        stream.flush()
    }

    /// The bare connection: no buffer waits behind it.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream.into_inner()
    }
}

/// Plain or TLS, on either end.
pub(crate) enum Stream {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, Socket>>),
    Server(Box<StreamOwned<ServerConnection, Socket>>),
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        timed(match self {
            Stream::Plain(stream) => stream.read(bytes),
            Stream::Client(stream) => stream.read(bytes),
            Stream::Server(stream) => stream.read(bytes),
        })
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        timed(match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Client(stream) => stream.write(bytes),
            Stream::Server(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Client(stream) => stream.flush(),
            Stream::Server(stream) => stream.flush(),
        }
    }
}

/// Says what a socket's time-out means.
fn timed(result: io::Result<usize>) -> io::Result<usize> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("nothing moved for {} s", PATIENCE.as_secs()),
        ),
        _ => error,
    })
}

/// A socket under TLS: rustls asks for 4 KiB at a time, the kernel is asked for more.
pub(crate) struct Socket(BufReader<TcpStream>);

impl Socket {
    pub(crate) fn new(tcp: TcpStream) -> Socket {
        Socket(BufReader::with_capacity(64 * 1024, tcp))
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
