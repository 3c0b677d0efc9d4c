//! Compression towards the server (RFC 4978), with a mail program that knows nothing of it.
//!
//! ```text
//!   Answer ──► Asked ──► Compressing ──► Active
//!      │         │            │
//!      └─────────┴────────────┴────────► Off
//! ```
//!
//! After the answer to the login the server is asked what it can do, unless the answer says so, and then to compress. What the
//! mail program says meanwhile is held: nothing may be sent behind COMPRESS before it is answered.

use crate::messages::running as messages;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use proxy_proto::{
    Side,
    filter::{Failed, Filter, OUTPUT_LIMIT, Output, Verdict},
};
use tracing::{debug, info};

/// In the list of plugins; it is no file.
pub(crate) const NAME: &str = "deflate";

/// Longest line of the server that is looked at.
const LINE: usize = 64 * 1024;

const CHUNK: usize = 32 * 1024;

/// No client's tag is likely to be one of these; one that is would get our answers.
const ASK: &[u8] = b"proxydeflate1 CAPABILITY\r\n";
const ASKED: &[u8] = b"proxydeflate1 ";
const COMPRESS: &[u8] = b"proxydeflate2 COMPRESS DEFLATE\r\n";
const COMPRESSED: &[u8] = b"proxydeflate2 ";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The server's answer to the login is to come.
    Answer,
    /// It has been asked for its capabilities.
    Asked,
    /// It has been asked to compress.
    Compressing,
    Active,
    /// The server does not do it.
    Off,
}

pub(crate) struct Deflate {
    phase: Phase,
    /// The beginning of a line of the server.
    line: Vec<u8>,
    /// Octets of a literal that are still to pass.
    literal: usize,
    /// Whether the server has named its capabilities, and this one among them.
    offered: Option<bool>,
    /// What the mail program said meanwhile.
    held: Vec<u8>,
    streams: Option<Box<Streams>>,
}

struct Streams {
    to_server: Compress,
    from_server: Decompress,
}

impl Deflate {
    pub(crate) fn new() -> Self {
        Deflate {
            phase: Phase::Answer,
            line: Vec::new(),
            literal: 0,
            offered: None,
            held: Vec::new(),
            streams: None,
        }
    }

    /// Takes the server's lines until none of them is of interest any more; the number of bytes taken.
    fn take_lines(&mut self, bytes: &[u8], out: &mut Output) -> Result<usize, Failed> {
        let mut taken = 0;
        while !matches!(self.phase, Phase::Active | Phase::Off) && taken < bytes.len() {
            let rest = &bytes[taken..];
            if self.literal > 0 {
                let count = self.literal.min(rest.len());
                out.send(Side::Client, &rest[..count]);
                self.literal -= count;
                taken += count;
                continue;
            }
            let end = rest.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(rest.len(), |end| end + 1);
            self.line.extend_from_slice(&rest[..count]);
            taken += count;
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                self.line(&line, out)?;
            } else if self.line.len() > LINE {
                out.send_owned(Side::Client, std::mem::take(&mut self.line));
                self.give_up(messages::LONG_LINE, out);
            }
        }
        Ok(taken)
    }

    /// A complete line, or its beginning up to a literal.
    fn line(&mut self, line: &[u8], out: &mut Output) -> Result<(), Failed> {
        if let Some(offered) = capabilities(line) {
            self.offered = Some(offered);
        }
        if line.starts_with(ASKED) && self.phase == Phase::Asked {
            self.compress_if_offered(out);
            return Ok(());
        }
        if line.starts_with(COMPRESSED) && self.phase == Phase::Compressing {
            return self.answered(line, out);
        }
        // The capabilities that only we have asked for are of no interest to the client, but do it no harm either.
        out.send(Side::Client, line);
        self.literal = literal(line);
        let tagged = !line.starts_with(b"* ") && !line.starts_with(b"+ ");
        if self.phase == Phase::Answer && tagged && self.literal == 0 {
            match self.offered {
                None => {
                    self.phase = Phase::Asked;
                    out.send(Side::Server, ASK);
                }
                Some(_) => self.compress_if_offered(out),
            }
        }
        Ok(())
    }

    fn compress_if_offered(&mut self, out: &mut Output) {
        if self.offered == Some(true) {
            self.phase = Phase::Compressing;
            out.send(Side::Server, COMPRESS);
        } else {
            self.give_up(messages::NOT_OFFERED, out);
        }
    }

    fn answered(&mut self, line: &[u8], out: &mut Output) -> Result<(), Failed> {
        let rest = &line[COMPRESSED.len()..];
        if !rest
            .get(..3)
            .is_some_and(|ok| ok.eq_ignore_ascii_case(b"OK "))
        {
            self.give_up(messages::REFUSED, out);
            return Ok(());
        }
        debug!("{}", messages::COMPRESSED);
        self.phase = Phase::Active;
        let streams = self.streams.insert(Box::new(Streams {
            // Streams without zlib's header (RFC 4978 §4).
            to_server: Compress::new(Compression::default(), false),
            from_server: Decompress::new(false),
        }));
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            streams.compress(&held, out)?;
        }
        Ok(())
    }

    fn give_up(&mut self, why: &str, out: &mut Output) {
        info!("{}", messages::stays_uncompressed(NAME, why));
        self.phase = Phase::Off;
        out.send_owned(Side::Server, std::mem::take(&mut self.held));
    }
}

impl Filter for Deflate {
    fn bytes(&mut self, from: Side, bytes: &[u8], out: &mut Output) -> Result<Verdict, Failed> {
        if self.phase == Phase::Off {
            return Ok(Verdict::Keep);
        }
        if from == Side::Client {
            match &mut self.streams {
                Some(streams) => streams.compress(bytes, out)?,
                None => self.held.extend_from_slice(bytes),
            }
            return Ok(Verdict::Taken);
        }
        let taken = self.take_lines(bytes, out)?;
        let rest = &bytes[taken..];
        match &mut self.streams {
            _ if rest.is_empty() => {}
            Some(streams) => streams.decompress(rest, out)?,
            None => out.send(Side::Client, rest),
        }
        Ok(Verdict::Taken)
    }

    fn end(&mut self, from: Side, out: &mut Output) -> Result<(), Failed> {
        if from == Side::Server {
            out.send_owned(Side::Client, std::mem::take(&mut self.line));
        }
        Ok(())
    }

    fn ready(&self, from: Side) -> bool {
        from == Side::Server || matches!(self.phase, Phase::Active | Phase::Off)
    }
}

impl Streams {
    fn compress(&mut self, bytes: &[u8], out: &mut Output) -> Result<(), Failed> {
        let mut rest = bytes;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let before = self.to_server.total_in();
            self.to_server
                .compress_vec(rest, &mut chunk, FlushCompress::Sync)
                .map_err(|error| Failed(messages::cannot_compress(NAME, error)))?;
            rest = &rest[advanced(before, self.to_server.total_in())..];
            // A flush is over when there was room left for more.
            let full = chunk.len() == chunk.capacity();
            out.send_owned(Side::Server, chunk);
            if rest.is_empty() && !full {
                return Ok(());
            }
        }
    }

    fn decompress(&mut self, bytes: &[u8], out: &mut Output) -> Result<(), Failed> {
        let (mut rest, mut made) = (bytes, 0);
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let before = self.from_server.total_in();
            let status = self
                .from_server
                .decompress_vec(rest, &mut chunk, FlushDecompress::Sync)
                .map_err(|error| Failed(messages::cannot_decompress(NAME, error)))?;
            rest = &rest[advanced(before, self.from_server.total_in())..];
            let full = chunk.len() == chunk.capacity();
            made += chunk.len();
            if made > OUTPUT_LIMIT {
                let of = bytes.len();
                return Err(Failed(messages::grows_too_much(NAME, OUTPUT_LIMIT, of)));
            }
            out.send_owned(Side::Client, chunk);
            if status == Status::StreamEnd && !rest.is_empty() {
                return Err(Failed(messages::goes_on_behind_end(NAME)));
            }
            if rest.is_empty() && !full {
                return Ok(());
            }
        }
    }
}

fn advanced(before: u64, now: u64) -> usize {
    usize::try_from(now - before).unwrap_or(usize::MAX)
}

/// Whether COMPRESS=DEFLATE is among the capabilities that this line names, if it names any.
fn capabilities(line: &[u8]) -> Option<bool> {
    let line = String::from_utf8_lossy(line).to_ascii_uppercase();
    let list = match line.strip_prefix("* CAPABILITY ") {
        Some(list) => list,
        None => line.split_once("[CAPABILITY ")?.1.split(']').next()?,
    };
    Some(
        list.split_whitespace()
            .any(|word| word == "COMPRESS=DEFLATE"),
    )
}

/// The length of the literal that this line announces; 0 if there is none.
fn literal(line: &[u8]) -> usize {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let Some(open) = line.iter().rposition(|byte| *byte == b'{') else {
        return 0;
    };
    line[open + 1..]
        .strip_suffix(b"}")
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_proto::filter::Chain;

    /// The filter with a server that compresses.
    struct World {
        chain: Chain,
        from_client: Decompress,
        to_client: Compress,
    }

    impl World {
        fn new() -> Self {
            World {
                chain: Chain::new(vec![Box::new(Deflate::new())]),
                from_client: Decompress::new(false),
                to_client: Compress::new(Compression::best(), false),
            }
        }

        fn try_pass(&mut self, from: Side, bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Failed> {
            let mut out = (Vec::new(), Vec::new());
            self.chain.pass(from, bytes, &mut |to, bytes| match to {
                Side::Client => out.0.extend_from_slice(bytes),
                Side::Server => out.1.extend_from_slice(bytes),
            })?;
            Ok(out)
        }

        fn pass(&mut self, from: Side, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
            self.try_pass(from, bytes).unwrap()
        }

        fn packed(&mut self, bytes: &[u8]) -> Vec<u8> {
            let mut packed = Vec::with_capacity(bytes.len() + 1024);
            self.to_client
                .compress_vec(bytes, &mut packed, FlushCompress::Sync)
                .unwrap();
            packed
        }

        fn unpacked(&mut self, bytes: &[u8]) -> Vec<u8> {
            let mut plain = Vec::with_capacity(1 << 20);
            self.from_client
                .decompress_vec(bytes, &mut plain, FlushDecompress::Sync)
                .unwrap();
            plain
        }

        fn active() -> Self {
            let mut world = World::new();
            let (client, server) =
                world.pass(Side::Server, b"a1 OK [CAPABILITY COMPRESS=DEFLATE] in\r\n");
            assert_eq!(client, b"a1 OK [CAPABILITY COMPRESS=DEFLATE] in\r\n");
            assert_eq!(server, COMPRESS);
            assert!(!world.chain.ready(Side::Client));
            world
        }
    }

    #[test]
    fn the_connection_is_compressed_once_the_server_agrees() {
        let mut world = World::active();
        assert_eq!(world.pass(Side::Client, b"a2 NOOP\r\n"), (vec![], vec![]));
        // What follows the answer at once is compressed already.
        let mut bytes = b"proxydeflate2 OK go\r\n".to_vec();
        bytes.extend(world.packed(b"* 1 EXISTS\r\n"));
        let (client, server) = world.pass(Side::Server, &bytes);
        assert_eq!(client, b"* 1 EXISTS\r\n");
        assert_eq!(world.unpacked(&server), b"a2 NOOP\r\n");
        assert!(world.chain.ready(Side::Client));

        let long: Vec<u8> = (0..200_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 3) as u8)
            .collect();
        let (_, server) = world.pass(Side::Client, &long);
        assert_eq!(world.unpacked(&server), long);
        let packed = world.packed(&long);
        let mut got = Vec::new();
        for piece in packed.chunks(997) {
            got.extend(world.pass(Side::Server, piece).0);
        }
        assert_eq!(got, long);
    }

    #[test]
    fn capabilities_are_asked_for_where_the_login_does_not_name_them() {
        let mut world = World::new();
        let answer = b"* LIST () \"/\" {9}\r\nx1 OK no\r\n\r\na1 OK in\r\n";
        let (mut client, mut server) = (Vec::new(), Vec::new());
        for byte in answer {
            let (to_client, to_server) = world.pass(Side::Server, &[*byte]);
            client.extend(to_client);
            server.extend(to_server);
        }
        assert_eq!(client, answer);
        assert_eq!(server, ASK);
        let (client, server) = world.pass(
            Side::Server,
            b"* CAPABILITY IMAP4rev1 compress=deflate\r\nproxydeflate1 OK\r\n",
        );
        assert_eq!(client, b"* CAPABILITY IMAP4rev1 compress=deflate\r\n");
        assert_eq!(server, COMPRESS);
    }

    #[test]
    fn everything_passes_where_the_server_cannot() {
        for answers in [
            &[&b"a1 OK [CAPABILITY IMAP4rev1] in\r\n"[..]][..],
            &[b"a1 OK in\r\n", b"proxydeflate1 BAD what\r\n"],
            &[
                b"a1 OK [CAPABILITY COMPRESS=DEFLATE] in\r\n",
                b"proxydeflate2 NO not now\r\n",
            ],
        ] {
            let mut world = World::new();
            let (last, before) = answers.split_last().unwrap();
            for answer in before {
                world.pass(Side::Server, answer);
                world.pass(Side::Client, b"a2 NOOP\r\n");
            }
            let (_, server) = world.pass(Side::Server, last);
            assert_eq!(server, b"a2 NOOP\r\n".repeat(before.len()));
            assert!(world.chain.ready(Side::Client));
            let bytes = b"\x00\xff proxydeflate2 OK\r\n";
            assert_eq!(world.pass(Side::Server, bytes).0, bytes);
            assert_eq!(world.pass(Side::Client, bytes).1, bytes);
        }
    }

    #[test]
    fn what_is_no_compressed_data_ends_the_session() {
        let mut world = World::active();
        world.pass(Side::Server, b"proxydeflate2 OK go\r\n");
        let error = world
            .try_pass(Side::Server, b"\xff\xff\xff plain")
            .unwrap_err();
        assert!(error.0.starts_with("deflate: "), "{error}");
    }

    #[test]
    fn a_bomb_is_no_more_than_the_limit() {
        let mut world = World::active();
        world.pass(Side::Server, b"proxydeflate2 OK go\r\n");
        let bomb = world.packed(&vec![0; OUTPUT_LIMIT + CHUNK + 1]);
        assert!(bomb.len() < 64 * 1024);
        let error = world.try_pass(Side::Server, &bomb).unwrap_err();
        assert!(error.0.contains("in one piece"), "{error}");
    }
}
