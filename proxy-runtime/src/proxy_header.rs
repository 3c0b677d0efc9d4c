//! The PROXY protocol's header: which client a balancer's connection stands for (HAProxy's "The PROXY protocol", versions
//! 1 and 2).

use crate::messages::client as messages;
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Longest version 1 header, CRLF included.
const LONGEST_V1: usize = 107;
/// A version 2 header before its addresses.
const FIXED_V2: usize = 16;
/// Most octets of addresses and further fields in a version 2 header; balancers send some hundred at most.
const LONGEST_V2: usize = 4096;
const SIGNATURE_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads a header as it arrives. What is kept never exceeds the longest header, 4,112 octets.
#[derive(Debug, Default)]
pub struct HeaderReader {
    bytes: Vec<u8>,
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderProgress {
    /// All of them belong to the header, and it goes on.
    More,
    /// The header is complete with the first `used` of them; the others are the client's own.
    Complete {
        /// How many of the bytes were the header's.
        used: usize,
        /// Whom it names.
        origin: Origin,
    },
}

/// Whom a connection of a balancer stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This client.
    Client(SocketAddr),
    /// The balancer itself, which looks whether somebody is there (LOCAL).
    Balancer,
    /// Somebody whose address the balancer cannot tell (UNKNOWN, AF_UNSPEC, a Unix socket).
    Unknown,
}

impl HeaderReader {
    /// Takes the next bytes of the connection, which must not be empty.
    ///
    /// # Errors
    /// When they are not a header's; the connection is of no use then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<HeaderProgress, BadHeader> {
        let before = self.bytes.len();
        // What is at hand may go on far behind the header.
        let room = (FIXED_V2 + LONGEST_V2).saturating_sub(before);
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        let parsed = match self.bytes.first() {
            Some(b'P') => version_1(&self.bytes)?,
            Some(_) => version_2(&self.bytes)?,
            None => None,
        };
        Ok(match parsed {
            None => HeaderProgress::More,
            Some((length, origin)) => HeaderProgress::Complete {
                used: length.saturating_sub(before),
                origin,
            },
        })
    }
}

fn version_1(bytes: &[u8]) -> Result<Option<(usize, Origin)>, BadHeader> {
    let start = b"PROXY ";
    let seen = bytes.len().min(start.len());
    if bytes[..seen] != start[..seen] {
        return Err(BadHeader::NoHeader);
    }
    let within = &bytes[..bytes.len().min(LONGEST_V1)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < LONGEST_V1 {
            true => Ok(None),
            false => Err(BadHeader::TooLong),
        };
    };
    let line = std::str::from_utf8(&bytes[start.len()..end]).map_err(|_| BadHeader::Unreadable)?;
    let words: Vec<&str> = line.split(' ').collect();
    let origin = match words[..] {
        // Whatever follows is to be ignored.
        ["UNKNOWN", ..] => Origin::Unknown,
        [
            family @ ("TCP4" | "TCP6"),
            source,
            destination,
            port,
            destination_port,
        ] => {
            let address = |text: &str| -> Result<IpAddr, BadHeader> {
                let address: IpAddr = text.parse().map_err(|_| BadHeader::Unreadable)?;
                match address.is_ipv4() == (family == "TCP4") {
                    true => Ok(address),
                    false => Err(BadHeader::Unreadable),
                }
            };
            address(destination)?;
            decimal(destination_port)?;
            client(address(source)?, decimal(port)?)
        }
        _ => return Err(BadHeader::Unreadable),
    };
    Ok(Some((end + 2, origin)))
}

fn decimal(text: &str) -> Result<u16, BadHeader> {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse().map_err(|_| BadHeader::Unreadable),
        false => Err(BadHeader::Unreadable),
    }
}

fn version_2(bytes: &[u8]) -> Result<Option<(usize, Origin)>, BadHeader> {
    let seen = bytes.len().min(SIGNATURE_V2.len());
    if bytes[..seen] != SIGNATURE_V2[..seen] {
        return Err(BadHeader::NoHeader);
    }
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_V2) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > LONGEST_V2 {
        return Err(BadHeader::TooLong);
    }
    let Some(fields) = rest.get(..length) else {
        return Ok(None);
    };
    let port = |at: usize| u16::from_be_bytes([fields[at], fields[at + 1]]);
    let origin = match (fixed[12], fixed[13]) {
        (0x20, _) => Origin::Balancer,
        // TCP over IPv4: two addresses, two ports.
        (0x21, 0x11) if length >= 12 => {
            let source = [fields[0], fields[1], fields[2], fields[3]];
            client(source.into(), port(8))
        }
        (0x21, 0x21) if length >= 36 => {
            let mut source = [0; 16];
            source.copy_from_slice(&fields[..16]);
            client(Ipv6Addr::from(source).into(), port(32))
        }
        // AF_UNSPEC, and streams of Unix sockets.
        (0x21, 0x00 | 0x31) => Origin::Unknown,
        _ => return Err(BadHeader::Unreadable),
    };
    Ok(Some((FIXED_V2 + length, origin)))
}

fn client(address: IpAddr, port: u16) -> Origin {
    Origin::Client(SocketAddr::new(address.to_canonical(), port))
}

/// Why a connection's first bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadHeader {
    /// They are something else.
    NoHeader,
    /// It goes beyond 107 octets (version 1) or 4,096 octets of fields (version 2).
    TooLong,
    /// It begins well and goes on wrong, or it is not about TCP.
    Unreadable,
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadHeader::NoHeader => messages::NO_HEADER,
            BadHeader::TooLong => messages::LONG_HEADER,
            BadHeader::Unreadable => messages::BAD_HEADER,
        })
    }
}

impl std::error::Error for BadHeader {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in chunks of every size; all must agree.
    fn read(bytes: &[u8]) -> Result<Option<(usize, Origin)>, BadHeader> {
        let mut results = Vec::new();
        for size in 1..=bytes.len() {
            let mut reader = HeaderReader::default();
            let mut result = Ok(None);
            let mut total = 0;
            for chunk in bytes.chunks(size) {
                match reader.feed(chunk) {
                    Ok(HeaderProgress::More) => total += chunk.len(),
                    Ok(HeaderProgress::Complete { used, origin }) => {
                        result = Ok(Some((total + used, origin)));
                        break;
                    }
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
            results.push(result);
        }
        assert!(
            results.windows(2).all(|pair| pair[0] == pair[1]),
            "{results:?}"
        );
        results[0]
    }

    fn v2(command: u8, family: u8, fields: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE_V2.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(fields.len()).unwrap().to_be_bytes());
        bytes.extend(fields);
        bytes
    }

    fn at(text: &str) -> Origin {
        Origin::Client(text.parse().unwrap())
    }

    #[test]
    fn version_1_names_the_client() {
        let header = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 993\r\n";
        let expected = (header.len(), at("192.0.2.1:56324"));
        assert_eq!(read(header), Ok(Some(expected)));
        let followed = [&header[..], b"A1 NOOP\r\n"].concat();
        assert_eq!(read(&followed), Ok(Some(expected)));
        let header = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
        assert_eq!(
            read(header),
            Ok(Some((header.len(), at("[2001:db8::1]:1"))))
        );
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.1 ::1 7 8\r\n";
        assert_eq!(read(mapped), Ok(Some((mapped.len(), at("192.0.2.1:7")))));
    }

    #[test]
    fn version_1_may_not_know() {
        for header in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
        ] {
            assert_eq!(
                read(header.as_bytes()),
                Ok(Some((header.len(), Origin::Unknown)))
            );
        }
    }

    #[test]
    fn version_2_names_the_client() {
        let mut fields = vec![192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x03, 0xe1];
        let header = v2(0x21, 0x11, &fields);
        let expected = at("192.0.2.1:56324");
        assert_eq!(read(&header), Ok(Some((header.len(), expected))));
        // Further fields are passed over.
        fields.extend([0x04, 0, 3, 1, 2, 3]);
        let header = [v2(0x21, 0x11, &fields), b"EHLO".to_vec()].concat();
        assert_eq!(read(&header), Ok(Some((header.len() - 4, expected))));
        let mut fields = vec![0x20, 0x01, 0x0d, 0xb8];
        fields.resize(36, 0);
        fields[15] = 1;
        fields[33] = 9;
        let header = v2(0x21, 0x21, &fields);
        assert_eq!(
            read(&header),
            Ok(Some((header.len(), at("[2001:db8::1]:9"))))
        );
    }

    #[test]
    fn version_2_may_name_nobody() {
        let local = v2(0x20, 0x00, b"");
        assert_eq!(read(&local), Ok(Some((16, Origin::Balancer))));
        let unspecified = v2(0x21, 0x00, b"whatever");
        assert_eq!(read(&unspecified), Ok(Some((24, Origin::Unknown))));
    }

    #[test]
    fn anything_else_is_refused() {
        let cases: &[(&[u8], BadHeader)] = &[
            (b"EHLO laptop\r\n", BadHeader::NoHeader),
            (b"\x16\x03\x01", BadHeader::NoHeader),
            (b"PROXYTCP4", BadHeader::NoHeader),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
                BadHeader::Unreadable,
            ),
            (b"PROXY TCP4 ::1 ::1 1 1\r\n", BadHeader::Unreadable),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 1\r\n",
                BadHeader::Unreadable,
            ),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 1\r\n",
                BadHeader::Unreadable,
            ),
            (
                b"PROXY UDP4 192.0.2.1 192.0.2.2 1 1\r\n",
                BadHeader::Unreadable,
            ),
            (b"PROXY \xff\r\n", BadHeader::Unreadable),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes), Err(*expected), "{bytes:?}");
        }
        assert_eq!(read(&v2(0x21, 0x11, b"short")), Err(BadHeader::Unreadable));
        assert_eq!(read(&v2(0x21, 0x12, &[0; 12])), Err(BadHeader::Unreadable));
        assert_eq!(read(&v2(0x11, 0x11, &[0; 12])), Err(BadHeader::Unreadable));
    }

    #[test]
    fn headers_are_bounded() {
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
        assert_eq!(read(&endless), Err(BadHeader::TooLong));
        let mut late = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 92]].concat();
        late.extend(b"\r\n");
        assert_eq!(late.len(), LONGEST_V1 + 1);
        assert_eq!(read(&late), Err(BadHeader::TooLong));
        late.remove(20);
        assert_eq!(read(&late), Ok(Some((LONGEST_V1, Origin::Unknown))));
        let mut long = SIGNATURE_V2.to_vec();
        long.extend([0x21, 0x11, 0x10, 0x01]);
        assert_eq!(read(&long), Err(BadHeader::TooLong));
        let longest = v2(0x20, 0, &[0; LONGEST_V2]);
        let mut reader = HeaderReader::default();
        let all = [longest.clone(), vec![1; 10_000]].concat();
        assert_eq!(
            reader.feed(&all),
            Ok(HeaderProgress::Complete {
                used: longest.len(),
                origin: Origin::Balancer
            })
        );
    }
}
