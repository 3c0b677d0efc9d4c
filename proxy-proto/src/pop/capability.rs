//! CAPA answers (RFC 2449), rebuilt from what was parsed.

use crate::{core::ClientMay, names::first_word, sasl::Offered};

/// Notes the mechanisms of a list's `SASL` line.
pub(crate) fn offered(lines: &[u8]) -> Offered {
    let mut offered = Offered::default();
    for line in crate::redact::lines(lines).filter(|line| is(line, "SASL")) {
        line.split(|&b| b == b' ')
            .skip(1)
            .for_each(|mechanism| offered.note(mechanism));
    }
    offered
}

/// Whether a list names STLS.
pub(crate) fn has_stls(lines: &[u8]) -> bool {
    crate::redact::lines(lines).any(|line| is(line, "STLS"))
}

/// The server's lines (no status line, no final dot) as the client is to see them.
pub(crate) fn rebuild(lines: &[u8], client: ClientMay) -> Vec<u8> {
    let ours = [
        "SASL",
        "USER",
        "STLS",
        "RESP-CODES",
        "AUTH-RESP-CODE",
        "APOP",
    ];
    let mut rebuilt = Vec::with_capacity(lines.len() + 64);
    for line in crate::redact::lines(lines) {
        if !line.is_empty() && !ours.iter().any(|our| is(line, our)) {
            rebuilt.extend_from_slice(line);
            rebuilt.extend_from_slice(b"\r\n");
        }
    }
    if client.login {
        rebuilt.extend_from_slice(b"USER\r\nSASL PLAIN\r\n");
    }
    rebuilt.extend_from_slice(b"RESP-CODES\r\nAUTH-RESP-CODE\r\n");
    if client.starttls {
        rebuilt.extend_from_slice(b"STLS\r\n");
    }
    rebuilt
}

/// A greeting without the timestamp that offers APOP (RFC 1939 §7): `<process.clock@host>`.
pub(crate) fn without_timestamp(greeting: &[u8]) -> Vec<u8> {
    let open = greeting.iter().rposition(|&b| b == b'<');
    let stamp = open.and_then(|open| {
        let len = greeting[open..].iter().position(|&b| b == b'>')?;
        greeting[open..open + len]
            .contains(&b'@')
            .then_some((open, open + len + 1))
    });
    match stamp {
        Some((start, end)) => {
            let before = greeting[..start].trim_ascii_end();
            [
                before,
                greeting[end..]
                    .strip_suffix(b"\r\n")
                    .unwrap_or(&greeting[end..]),
                b"\r\n",
            ]
            .concat()
        }
        None => greeting.to_vec(),
    }
}

fn is(line: &[u8], name: &str) -> bool {
    first_word(line).eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_rebuilt_for_the_client() {
        let lines = b"TOP\r\nUIDL\r\nSASL XOAUTH2 PLAIN\r\nSTLS\r\nUTF8 USER\r\n";
        assert_eq!(
            rebuild(
                lines,
                ClientMay {
                    login: true,
                    starttls: false
                }
            ),
            b"TOP\r\nUIDL\r\nUTF8 USER\r\nUSER\r\nSASL PLAIN\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n"
        );
        assert_eq!(
            rebuild(
                lines,
                ClientMay {
                    login: false,
                    starttls: true
                }
            ),
            b"TOP\r\nUIDL\r\nUTF8 USER\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nSTLS\r\n"
        );
        assert!(has_stls(lines) && offered(lines).xoauth2 && !offered(lines).oauthbearer);
    }

    #[test]
    fn the_timestamp_is_removed() {
        assert_eq!(
            without_timestamp(b"+OK ready <1.2@h>\r\n"),
            b"+OK ready\r\n"
        );
        assert_eq!(
            without_timestamp(b"+OK <1.2@h> ready\r\n"),
            b"+OK ready\r\n"
        );
        assert_eq!(without_timestamp(b"+OK <hello>\r\n"), b"+OK <hello>\r\n");
    }
}
