//! EHLO answers (RFC 5321 §4.1.1.1), rebuilt from what was parsed, line by line.

use super::grammar;
use crate::{core::ClientMay, names::first_word, redact, sasl::Offered};

/// Notes the mechanisms that an EHLO answer names, in the `AUTH` and in the old `AUTH=` form.
pub(crate) fn offered(reply: &[u8]) -> Offered {
    let mut offered = Offered::default();
    for line in keywords(reply).filter(|line| is_auth(line)) {
        line[5..]
            .split(|&b| b == b' ')
            .for_each(|mechanism| offered.note(mechanism));
    }
    offered
}

/// Whether an EHLO answer offers STARTTLS.
pub(crate) fn has_starttls(reply: &[u8]) -> bool {
    keywords(reply).any(|line| first_word(line).eq_ignore_ascii_case(b"STARTTLS"))
}

/// The server's answer as the client is to see it: other keywords kept in their order.
pub(crate) fn rebuild(reply: &[u8], client: ClientMay) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut auth_at = None;
    for line in redact::lines(reply).filter_map(text) {
        let first = lines.is_empty();
        if !first && (is_auth(line) || line.eq_ignore_ascii_case(b"AUTH")) {
            auth_at.get_or_insert(lines.len());
        } else if first || !first_word(line).eq_ignore_ascii_case(b"STARTTLS") {
            lines.push(line);
        }
    }
    if client.starttls {
        lines.push(b"STARTTLS");
    }
    if client.login {
        lines.insert(
            auth_at.unwrap_or(lines.len()).min(lines.len()),
            b"AUTH PLAIN LOGIN",
        );
    }
    let mut rebuilt = Vec::with_capacity(reply.len() + 32);
    for (n, line) in lines.iter().enumerate() {
        let separator = if n + 1 == lines.len() { b' ' } else { b'-' };
        rebuilt.extend_from_slice(b"250");
        rebuilt.push(separator);
        rebuilt.extend_from_slice(line);
        rebuilt.extend_from_slice(b"\r\n");
    }
    rebuilt
}

/// The keyword lines: all but the first.
fn keywords(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    redact::lines(reply).skip(1).filter_map(text)
}

fn text(line: &[u8]) -> Option<&[u8]> {
    grammar::reply_line(line).map(|line| line.text)
}

fn is_auth(line: &[u8]) -> bool {
    line.split_at_checked(5).is_some_and(|(word, _)| {
        word[..4].eq_ignore_ascii_case(b"AUTH") && (word[4] == b' ' || word[4] == b'=')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] =
        b"250-mx.example Hello\r\n250-SIZE 100\r\n250-AUTH XOAUTH2 LOGIN\r\n250-AUTH=LOGIN\r\n250-starttls\r\n250 8BITMIME\r\n";

    #[test]
    fn answers_are_rebuilt_for_the_client() {
        assert_eq!(
            rebuild(
                REPLY,
                ClientMay {
                    login: true,
                    starttls: false
                }
            ),
            b"250-mx.example Hello\r\n250-SIZE 100\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n"
        );
        assert_eq!(
            rebuild(
                REPLY,
                ClientMay {
                    login: false,
                    starttls: true
                }
            ),
            b"250-mx.example Hello\r\n250-SIZE 100\r\n250-8BITMIME\r\n250 STARTTLS\r\n"
        );
        assert_eq!(
            rebuild(
                b"250 mx.example\r\n",
                ClientMay {
                    login: true,
                    starttls: false
                }
            ),
            b"250-mx.example\r\n250 AUTH PLAIN LOGIN\r\n"
        );
    }

    #[test]
    fn what_the_server_offers_is_noted() {
        assert!(offered(REPLY).xoauth2 && !offered(REPLY).oauthbearer && has_starttls(REPLY));
        assert!(!has_starttls(b"250 STARTTLS.example\r\n"));
    }
}
