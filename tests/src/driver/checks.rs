//! What must hold of every session, whatever its peers say.

use super::{Driver, SIDES, index};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use proxy_proto::{Protocol, UpstreamTls};

impl Driver {
    /// Whether something can still happen. `Some` says what is wrong: a session that waits for nothing and has not ended.
    pub fn stuck(&self) -> Option<String> {
        if self.closed.is_some() || self.request.is_some() || !self.connected {
            return None;
        }
        let readable = SIDES
            .into_iter()
            .any(|side| self.session.read_budget(side) > 0 && !self.read_eof[index(side)]);
        let sendable = SIDES
            .into_iter()
            .any(|side| !self.session.transmit(side).is_empty());
        let handshaking = self.upgrading.contains(&true);
        if readable || sendable || handshaking || self.session.poll_timeout().is_some() {
            return None;
        }
        Some("stuck: no budget, nothing to send, no event, no timer, no open request".into())
    }

    /// Checks that no password went to the server before relay, no bearer over plaintext, and no secret into the dialogue.
    /// Secrets of fewer than six bytes are not looked for: they occur in innocent text.
    pub fn leaks(&self) -> Vec<String> {
        let mut found = Vec::new();
        for password in self.passwords.iter().filter(|p| p.len() >= 6) {
            if reveals(&self.before_relay, password) {
                found.push(format!("the password {password:?} was sent to the server"));
            }
            if reveals(self.dialogue.as_bytes(), password) {
                found.push(format!("the password {password:?} stands in the dialogue"));
            }
        }
        for token in self.tokens.iter().filter(|t| t.len() >= 6) {
            let allowed = self.config.upstream_tls == UpstreamTls::DangerousPlaintextBearerInClear;
            if !allowed && reveals(&self.in_clear, token) {
                found.push(format!("the token {token:?} was sent in clear"));
            }
            if reveals(self.dialogue.as_bytes(), token) {
                found.push(format!("the token {token:?} stands in the dialogue"));
            }
        }
        found
    }

    /// Checks that a client that has not logged in was told nothing but lines that end in CRLF.
    pub fn malformed_lines(&self) -> Option<String> {
        if self.authenticated {
            return None; // from then on the server's own bytes are among them
        }
        let mut rest = &self.to_client[..];
        while let Some(at) = rest.iter().position(|byte| b"\r\n".contains(byte)) {
            let (line, end) = rest.split_at(at);
            if end.len() > 1 && !end.starts_with(b"\r\n") || end == b"\n" {
                let sent = self.to_client.escape_ascii();
                return Some(format!("a line to the client does not end in CRLF: {sent}"));
            }
            let octets = match self.config.protocol {
                Protocol::Imap => literal_behind(line),
                _ => 0,
            };
            rest = end.get(2 + octets..).unwrap_or_default();
        }
        None
    }
}

/// The octets of the literal that a line of untagged data announces: they are no lines.
fn literal_behind(line: &[u8]) -> usize {
    let status = ["OK", "NO", "BAD", "BYE", "PREAUTH"];
    let number = || {
        let data = std::str::from_utf8(line.strip_prefix(b"* ")?).ok()?;
        let first = data.split(' ').next()?;
        if status.iter().any(|word| first.eq_ignore_ascii_case(word)) {
            return None; // its text may end in braces
        }
        let (_, digits) = data.strip_suffix('}')?.rsplit_once('{')?;
        digits.trim_end_matches('+').parse().ok()
    };
    number().unwrap_or(0)
}

/// Whether `secret` stands in `text`, as it is or inside a base64 word.
pub fn reveals(text: &[u8], secret: &str) -> bool {
    let secret = secret.as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    if holds(text) {
        return true;
    }
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    text.split(|byte| !is_base64(byte)).any(|word| {
        let word = word
            .strip_suffix(b"==")
            .or(word.strip_suffix(b"="))
            .unwrap_or(word);
        let whole = &word[..word.len() - word.len() % 4];
        word.len() >= 6
            && [word, whole].into_iter().any(|candidate| {
                let padding = (4 - candidate.len() % 4) % 4;
                let mut padded = candidate.to_vec();
                padded.extend(std::iter::repeat_n(b'=', padding));
                BASE64_STANDARD
                    .decode(&padded)
                    .is_ok_and(|decoded| holds(&decoded))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_plain_and_encoded() {
        assert!(reveals(b"LOGIN a secret-1\r\n", "secret-1"));
        let encoded = BASE64_STANDARD.encode(b"\0user\0secret-1");
        assert!(reveals(
            format!("AUTH PLAIN {encoded}\r\n").as_bytes(),
            "secret-1"
        ));
        assert!(!reveals(b"LOGIN a other\r\n", "secret-1"));
        let innocent = BASE64_STANDARD.encode(b"\0user\0something");
        assert!(!reveals(innocent.as_bytes(), "secret-1"));
    }
}
