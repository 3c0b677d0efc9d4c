//! How a fuzzer's bytes are read.
//!
//! Three bytes of header, then a stream: what the peers say, as it stands, with marks in between. The marks are bytes
//! that occur in no UTF-8 text, so that dialogues stay legible in the corpus and a mutation of text stays text.
//!
//! | Mark | Meaning |
//! |---|---|
//! | `F5` *b* | the byte *b*, whatever it is |
//! | `F8` *n* | the byte before, 32 · *n* times more: long lines from short inputs |
//! | `F9` | base64 of the login name |
//! | `FA` | base64 of a password |
//! | `FB` | base64 of a PLAIN message with the login name and a password |
//! | `FC` | a password |
//! | `FD` *c* | a call, see [`Call`] |
//! | `FE`, `FF` | from here on the server, the client speaks |
//!
//! Every password is another canary. One that was used in a login may therefore appear nowhere else, whatever other
//! commands the fuzzer has put its passwords into.

use crate::driver::reveals;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proxy_proto::{Limits, LocalTls, Protocol, SessionConfig, Side, UpstreamTls};

pub(super) const ESCAPE: u8 = 0xf5;
pub(super) const REPEAT: u8 = 0xf8;
pub(super) const USER_BASE64: u8 = 0xf9;
pub(super) const PASSWORD_BASE64: u8 = 0xfa;
pub(super) const PLAIN_BASE64: u8 = 0xfb;
pub(super) const PASSWORD: u8 = 0xfc;
pub(super) const CALL: u8 = 0xfd;
pub(super) const SERVER: u8 = 0xfe;
pub(super) const CLIENT: u8 = 0xff;

/// The login name of every login that the marks make.
pub(super) const USER: &str = "user@example.com";

/// How every password begins that the marks make. It is looked for, so nothing else may hold it.
pub(super) const CANARY: &str = "canary-PASSWORD-";

/// Longest stretch of one peer's bytes, so that repetitions stay quick.
const LONGEST: usize = 1 << 18;

const PROTOCOLS: [Protocol; 3] = [Protocol::Imap, Protocol::Pop, Protocol::Smtp];
const LOCAL: [LocalTls; 4] = [
    LocalTls::None,
    LocalTls::Implicit,
    LocalTls::StartTlsRequired,
    LocalTls::StartTlsOptional,
];
const UPSTREAM: [UpstreamTls; 3] = [
    UpstreamTls::Implicit,
    UpstreamTls::StartTls,
    UpstreamTls::DangerousPlaintextBearerInClear,
];

/// What the first three bytes say.
pub(super) struct Header {
    pub(super) config: SessionConfig,
    /// The piece size of the second run.
    pub(super) chunk: usize,
    /// Choices of the target's own.
    pub(super) extra: u8,
}

impl Header {
    /// Reads the header; `None`: the input is too short to have one.
    pub(super) fn read(bytes: &[u8]) -> Option<(Header, &[u8])> {
        let (&[modes, flags, extra], body) = bytes.split_first_chunk::<3>()?;
        let modes = usize::from(modes);
        let mut config = SessionConfig::new(PROTOCOLS[modes % 3]);
        config.local_tls = LOCAL[modes / 3 % 4];
        config.upstream_tls = UPSTREAM[modes / 12 % 3];
        config.dialogue = flags & 1 == 0;
        if flags & 2 != 0 {
            config.limits = Limits {
                imap_line: 256,
                imap_literal: 64,
                line: 256,
                server_line: 512,
                capabilities: 512,
                held: 512,
                send_buffer: 1_024,
                errors: 3,
                ..Limits::default()
            };
        }
        let header = Header {
            config,
            chunk: 1 + usize::from(flags >> 2),
            extra,
        };
        Some((header, body))
    }

    /// The header for this configuration; its limits are not kept.
    pub(super) fn write(config: &SessionConfig, chunk: u8, extra: u8) -> [u8; 3] {
        let at = |position: Option<usize>| position.unwrap_or(0);
        let protocol = at(PROTOCOLS.iter().position(|it| *it == config.protocol));
        let local = at(LOCAL.iter().position(|it| *it == config.local_tls));
        let upstream = at(UPSTREAM.iter().position(|it| *it == config.upstream_tls));
        let modes = protocol + 3 * local + 12 * upstream;
        [u8::try_from(modes).unwrap_or(0), chunk << 2, extra]
    }
}

/// A part of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Says(Side, Vec<u8>),
    Call(Call),
}

/// What the embedder does, and what becomes of the connections. In the stream: `FD` and a letter, some with one more
/// byte; capital letters mean the server where there is a choice of sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `c`: the connection to the server is open, `C`: with the other kind of security than was configured.
    Connected { as_configured: bool },
    /// `f`: the server cannot be reached.
    ConnectFailed,
    /// `t`, `T`: the handshake is complete.
    TlsEstablished(Side),
    /// `x`, `X`: the handshake failed.
    TlsFailed(Side),
    /// `e`, `E`: this side has ended.
    Eof(Side),
    /// `g`: the open request is granted; `o`: with OAUTHBEARER.
    Grant { oauthbearer: bool },
    /// `b`: it is granted with a token that cannot be sent.
    GrantUnusable,
    /// `d`: it is denied.
    Deny,
    /// `l`: not now, perhaps later.
    Temporary,
    /// `s`: a request is answered that is no longer open.
    Stale,
    /// `q`: the proxy shuts down.
    Shutdown,
    /// `w`: time passes until the timer is due.
    Wait,
    /// `p` *n*: 4 · *n* seconds pass.
    Pass(u8),
    /// `a` *n*, `A` *n*: *n* bytes are written to this side.
    Advance(Side, u8),
    /// Any other letter: everything is written.
    Serve,
}

impl Call {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let side = |side, letter: u8| match side {
            Side::Client => letter,
            Side::Server => letter.to_ascii_uppercase(),
        };
        out.push(CALL);
        out.push(match self {
            Call::Connected {
                as_configured: true,
            } => b'c',
            Call::Connected { .. } => b'C',
            Call::ConnectFailed => b'f',
            Call::TlsEstablished(at) => side(at, b't'),
            Call::TlsFailed(at) => side(at, b'x'),
            Call::Eof(at) => side(at, b'e'),
            Call::Grant { oauthbearer: false } => b'g',
            Call::Grant { .. } => b'o',
            Call::GrantUnusable => b'b',
            Call::Deny => b'd',
            Call::Temporary => b'l',
            Call::Stale => b's',
            Call::Shutdown => b'q',
            Call::Wait => b'w',
            Call::Pass(_) => b'p',
            Call::Advance(at, _) => side(at, b'a'),
            Call::Serve => b'.',
        });
        if let Call::Pass(more) | Call::Advance(_, more) = self {
            out.push(more);
        }
    }

    fn read(letter: u8, mut next: impl FnMut() -> u8) -> Call {
        let side = match letter.is_ascii_uppercase() {
            true => Side::Server,
            false => Side::Client,
        };
        match letter {
            b'c' | b'C' => Call::Connected {
                as_configured: letter == b'c',
            },
            b'f' => Call::ConnectFailed,
            b't' | b'T' => Call::TlsEstablished(side),
            b'x' | b'X' => Call::TlsFailed(side),
            b'e' | b'E' => Call::Eof(side),
            b'g' | b'o' => Call::Grant {
                oauthbearer: letter == b'o',
            },
            b'b' => Call::GrantUnusable,
            b'd' => Call::Deny,
            b'l' => Call::Temporary,
            b's' => Call::Stale,
            b'q' => Call::Shutdown,
            b'w' => Call::Wait,
            b'p' => Call::Pass(next()),
            b'a' | b'A' => Call::Advance(side, next()),
            _ => Call::Serve,
        }
    }
}

/// The parts of a stream, passwords in place; `None`: it holds a piece of a canary that no mark has made. (Not its first
/// letters: `\x9c` and `anary`, escaped for a log, would be one, too. In base64 as well: fuzzers find that out.)
pub(super) fn read(stream: &[u8], canaries: &mut Canaries) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut side = Side::Server;
    let mut said = Vec::new();
    let mut raw = [Vec::new(), Vec::new(), Vec::new()]; // of each side, and of both
    let mut bytes = stream.iter().copied();
    while let Some(byte) = bytes.next() {
        let before = said.len();
        match byte {
            ESCAPE => said.extend(bytes.next()),
            REPEAT => {
                let count = 32 * usize::from(bytes.next().unwrap_or(0));
                if let Some(&last) = said.last()
                    && before + count <= LONGEST
                {
                    said.extend(std::iter::repeat_n(last, count));
                }
            }
            USER_BASE64 => said.extend(BASE64_STANDARD.encode(USER).bytes()),
            PASSWORD_BASE64 => said.extend(BASE64_STANDARD.encode(canaries.next()).bytes()),
            PLAIN_BASE64 => {
                let message = format!("\0{USER}\0{}", canaries.next());
                said.extend(BASE64_STANDARD.encode(message).bytes());
            }
            PASSWORD => said.extend(canaries.next().bytes()),
            CALL | SERVER | CLIENT => {
                if !said.is_empty() {
                    parts.push(Part::Says(side, std::mem::take(&mut said)));
                }
                match byte {
                    CALL => {
                        let letter = bytes.next().unwrap_or(b'.');
                        parts.push(Part::Call(Call::read(letter, || bytes.next().unwrap_or(0))));
                    }
                    SERVER => side = Side::Server,
                    _ => side = Side::Client,
                }
                continue;
            }
            _ => said.push(byte),
        }
        if matches!(byte, ESCAPE | REPEAT | ..=0xf7) {
            for stream in [usize::from(side == Side::Client), 2] {
                raw[stream].extend_from_slice(&said[before..]);
            }
        }
    }
    if !said.is_empty() {
        parts.push(Part::Says(side, said));
    }
    let pieces = ["nary-", "PASSWORD-", "TOKEN-"];
    let found = raw
        .iter()
        .any(|stream| pieces.iter().any(|piece| reveals(stream, piece)));
    (!found).then_some(parts)
}

/// Bytes that a peer says, as they stand in a stream.
pub(super) fn write(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        if byte >= ESCAPE {
            out.push(ESCAPE);
        }
        out.push(byte);
    }
}

/// The mark of the side that speaks.
pub(super) fn speaker(side: Side) -> u8 {
    match side {
        Side::Client => CLIENT,
        Side::Server => SERVER,
    }
}

/// Passwords, no two alike.
#[derive(Default)]
pub(super) struct Canaries(u32);

impl Canaries {
    fn next(&mut self) -> String {
        self.0 += 1;
        canary(self.0)
    }

    /// All passwords so far.
    pub(super) fn passwords(&self) -> impl Iterator<Item = String> {
        (1..=self.0).map(canary)
    }
}

fn canary(number: u32) -> String {
    format!("{CANARY}{number:04x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_text_with_marks() {
        let stream = b"* OK x\r\n\xffA LOGIN u \xfc\r\n\xfdT\xfdp\x05\xfeab\xf8\x01\xf5\xff";
        let parts = read(stream, &mut Canaries::default()).unwrap();
        let mut long = vec![b'a'];
        long.extend([b'b'; 33]);
        long.push(0xff);
        assert_eq!(
            parts,
            [
                Part::Says(Side::Server, b"* OK x\r\n".to_vec()),
                Part::Says(Side::Client, b"A LOGIN u canary-PASSWORD-0001\r\n".to_vec()),
                Part::Call(Call::TlsEstablished(Side::Server)),
                Part::Call(Call::Pass(5)),
                Part::Says(Side::Server, long),
            ]
        );
    }

    #[test]
    fn nobody_else_says_canary() {
        assert!(read(b"xx cana\xfdxry- xx", &mut Canaries::default()).is_none());
        assert!(
            read(
                b"IGNhbmFyeS1U\xffx\xfeT0tFTg==\r\n",
                &mut Canaries::default()
            )
            .is_none()
        );
        assert!(read(b"\xfc\xfc\xfa\xfb", &mut Canaries::default()).is_some());
    }

    #[test]
    fn what_is_written_is_read() {
        let calls = [
            Call::Connected {
                as_configured: false,
            },
            Call::Eof(Side::Server),
            Call::Advance(Side::Client, 7),
            Call::Serve,
        ];
        let mut stream = Vec::new();
        for call in calls {
            call.write(&mut stream);
        }
        stream.push(CLIENT);
        write(b"a\xff\xf5b", &mut stream);
        let parts = read(&stream, &mut Canaries::default()).unwrap();
        let expected: Vec<Part> = calls
            .into_iter()
            .map(Part::Call)
            .chain([Part::Says(Side::Client, b"a\xff\xf5b".to_vec())])
            .collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn headers_name_every_mode() {
        for modes in 0..36 {
            let bytes = [modes, 8, 9, 1];
            let (header, rest) = Header::read(&bytes).unwrap();
            assert_eq!(rest, [1]);
            assert_eq!(Header::write(&header.config, 2, 9), [modes, 8, 9]);
        }
        assert!(Header::read(&[1, 2]).is_none());
    }
}
