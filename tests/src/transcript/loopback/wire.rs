//! The two peers' ends of the connections.
//!
//! How far the other end has read is known on Linux alone, and some transcripts need to know.

use proxy_runtime::{
    OutgoingProxy,
    testing::{PATIENCE, Peer},
};
use rustls::{ClientConfig, ServerConfig};
use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// The socket behind which the server is; the runtime takes it for that of an HTTP proxy.
pub(super) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(super) fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok(Upstream { listener })
    }

    pub(super) fn as_outgoing_proxy(&self) -> Result<OutgoingProxy, String> {
        let address = self.listener.local_addr().map_err(|why| why.to_string())?;
        let proxy = format!("http://{address}").parse();
        proxy.map_err(|why| format!("{why}"))
    }

    /// The next connection, which must be for this host and port.
    pub(super) fn accept(&self, target: &str) -> Result<Wire, String> {
        let (mut tcp, asked) = self.next().map_err(|why| why.to_string())?;
        if !asked.starts_with(&format!("CONNECT {target} ")) {
            return Err(format!("the runtime connects elsewhere: {asked}"));
        }
        tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .map_err(|why| why.to_string())?;
        Ok(Wire::new(tcp))
    }

    /// Turns the next connection away.
    pub(super) fn refuse(&self) -> Result<(), String> {
        let (mut tcp, _) = self.next().map_err(|why| why.to_string())?;
        tcp.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            .map_err(|why| why.to_string())
    }

    /// A connection, and what is asked for on it.
    fn next(&self) -> io::Result<(TcpStream, String)> {
        let (mut tcp, _) = self.listener.accept()?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            tcp.read_exact(&mut byte)?;
            asked.extend(byte);
        }
        Ok((tcp, String::from_utf8_lossy(&asked).into_owned()))
    }
}

/// One side's connection: as much is read of it as is asked for, and not a byte more, since what follows may be TLS.
#[derive(Default)]
pub(super) struct Wire {
    peer: Option<Peer>,
    read: Vec<u8>,
    ended: bool,
    closed: bool,
}

impl Wire {
    fn new(tcp: TcpStream) -> Self {
        Wire {
            peer: Some(Peer::new(tcp)),
            ..Wire::default()
        }
    }

    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Wire::new(TcpStream::connect(address)?))
    }

    /// Establishes TLS as the client.
    pub(super) fn secure(&mut self, config: Arc<ClientConfig>) -> Result<(), String> {
        self.upgrade(|peer| peer.secure(config))
    }

    /// Establishes TLS as the server.
    pub(super) fn secured_by(&mut self, config: Arc<ServerConfig>) -> Result<(), String> {
        self.upgrade(|peer| peer.secured_by(config))
    }

    fn upgrade(&mut self, handshake: impl FnOnce(Peer) -> io::Result<Peer>) -> Result<(), String> {
        let plain = self.peer.take().ok_or("nobody is connected")?;
        let secure = handshake(plain).map_err(|why| format!("the handshake failed: {why}"))?;
        self.peer = Some(secure);
        Ok(())
    }

    /// What has been read since the last call.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read)
    }

    /// A peer that has gone hears nothing, which is no fault here: what it says itself is compared.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Some(peer) = &mut self.peer {
            let _ = peer.write(bytes);
        }
    }

    /// Ends the way to the runtime.
    pub(super) fn close(&mut self) {
        if let (Some(peer), false) = (&mut self.peer, self.closed) {
            let _ = peer.close();
            self.closed = true;
        }
    }

    /// Reads exactly so many bytes.
    pub(super) fn read(&mut self, count: usize) -> Result<(), String> {
        let due = self.read.len() + count;
        self.read_until(|read| due.saturating_sub(read.len()))
    }

    /// Reads so many lines.
    pub(super) fn read_lines(&mut self, count: usize) -> Result<(), String> {
        let first = self.read.len();
        let lines = |read: &[u8]| read[first..].iter().filter(|byte| **byte == b'\n').count();
        self.read_until(|read| usize::from(lines(read) < count))
    }

    /// Reads as long as more is wanted.
    fn read_until(&mut self, wanted: impl Fn(&[u8]) -> usize) -> Result<(), String> {
        let mut bytes = [0; 16 * 1024];
        loop {
            let count = wanted(&self.read).min(bytes.len());
            if count == 0 {
                return Ok(());
            }
            let peer = self.peer.as_mut().ok_or("nobody is connected")?;
            match peer.read(&mut bytes[..count]) {
                Ok(0) => {
                    self.ended = true;
                    let read = self.read.escape_ascii();
                    return Err(format!("the runtime has closed, after {read}"));
                }
                Ok(count) => self.read.extend(&bytes[..count]),
                Err(why) => {
                    let read = self.read.escape_ascii();
                    return Err(format!("{why}, after {read}"));
                }
            }
        }
    }

    /// Reads to the end, which must come.
    pub(super) fn read_end(&mut self) -> Result<(), String> {
        let Some(peer) = self.peer.as_mut().filter(|_| !self.ended) else {
            return Ok(());
        };
        let mut bytes = [0; 16 * 1024];
        loop {
            match peer.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => self.read.extend(&bytes[..count]),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    let read = self.read.escape_ascii();
                    return Err(format!("it does not end, after {read}"));
                }
                // A reset is an end as well.
                Err(_) => break,
            }
        }
        self.ended = true;
        Ok(())
    }

    /// Waits until the runtime has read everything that was written. Only the system can tell.
    pub(super) fn wait_until_taken(&self) -> Result<(), String> {
        let Some(peer) = &self.peer else {
            return Ok(());
        };
        let addresses = peer.tcp().local_addr().and_then(|near| {
            let far = peer.tcp().peer_addr()?;
            Ok((near, far))
        });
        let (near, far) = addresses.map_err(|why| why.to_string())?;
        let end = Instant::now() + PATIENCE;
        // First it has to arrive there, then it has to be read.
        let (mut arrived, mut taken) = (false, false);
        while !taken {
            match arrived {
                false => arrived = queues(near, far)?.0 == 0,
                true => taken = queues(far, near)?.1 == 0,
            }
            if Instant::now() > end {
                return Err("the runtime does not read on".into());
            }
            if !taken {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

/// How many bytes of this end of a connection have not arrived at the other end, and how many have arrived and have not been
/// read; none where there is no such connection any more.
fn queues(near: SocketAddr, far: SocketAddr) -> Result<(u64, u64), String> {
    let shown = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            let ip = u32::from_ne_bytes(address.ip().octets());
            format!("{ip:08X}:{:04X}", address.port())
        }
        SocketAddr::V6(_) => String::new(),
    };
    let (near, far) = (shown(near), shown(far));
    let table = fs::read_to_string("/proc/self/net/tcp").map_err(|why| why.to_string())?;
    for line in table.lines().skip(1) {
        // "sl local_address rem_address st tx_queue:rx_queue …"
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() > 4 && words[1] == near && words[2] == far {
            let queue = |text| u64::from_str_radix(text, 16).map_err(|why| why.to_string());
            let (out, into) = words[4].split_once(':').ok_or("two queues")?;
            return Ok((queue(out)?, queue(into)?));
        }
    }
    Ok((0, 0))
}
