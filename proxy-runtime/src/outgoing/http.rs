//! CONNECT (RFC 9110 §9.3.6), with Basic credentials where there are some (RFC 7617).

use super::{DialogueProgress, OutgoingProxy, Refused};
use crate::messages::server as messages;
use base64::{Engine, engine::general_purpose::STANDARD};

/// Longest answer up to the empty line.
const LONGEST: usize = 16 * 1024;

pub(super) struct Dialogue {
    proxy: String,
    host: String,
    port: u16,
    out: Vec<u8>,
    answer: Vec<u8>,
}

impl Dialogue {
    pub(super) fn new(proxy: &OutgoingProxy, host: &str, port: u16) -> Self {
        let authority = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let mut out = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some((user, password)) = &proxy.credentials {
            let basic = STANDARD.encode(format!("{user}:{}", password.expose()));
            out.push_str(&format!("Proxy-Authorization: Basic {basic}\r\n"));
        }
        out.push_str("\r\n");
        Dialogue {
            proxy: proxy.to_string(),
            host: host.to_owned(),
            port,
            out: out.into_bytes(),
            answer: Vec::new(),
        }
    }

    pub(super) fn transmit(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<DialogueProgress, Refused> {
        for (index, byte) in bytes.iter().enumerate() {
            self.answer.push(*byte);
            let start = b"HTTP/1.";
            let seen = self.answer.len().min(start.len());
            if self.answer[..seen] != start[..seen] {
                return Err(self.refused(messages::NOT_HTTP));
            }
            if self.answer.len() > LONGEST {
                return Err(self.refused(messages::PROXY_ANSWER_TOO_LONG));
            }
            if *byte != b'\n' {
                continue;
            }
            // An informational answer is followed by another one.
            if self.answer.ends_with(b"\r\n\r\n") || self.answer.ends_with(b"\n\n") {
                match self.status()? {
                    100..200 => self.answer.clear(),
                    // Whatever length the answer names, what follows is the tunnel (RFC 9110 §9.3.6).
                    200..300 => return Ok(DialogueProgress::Open { used: index + 1 }),
                    code => return Err(self.refused(&meaning(code))),
                }
            }
        }
        Ok(DialogueProgress::More)
    }

    fn status(&self) -> Result<u16, Refused> {
        let digits = self.answer.get(9..12).unwrap_or_default();
        let ended = self.answer.get(12).is_some_and(|b| b" \r\n".contains(b));
        let code = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| ended && digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        code.ok_or_else(|| self.refused(messages::PROXY_ANSWER_UNREADABLE))
    }

    fn refused(&self, why: &str) -> Refused {
        Refused(messages::proxy_did_not_connect(
            &self.proxy,
            &self.host,
            self.port,
            why,
        ))
    }
}

/// The proxy's own reason may be anything; its number says enough.
fn meaning(code: u16) -> String {
    match code {
        407 => messages::PROXY_WANTS_OTHER_LOGIN.to_owned(),
        403 | 405 => messages::proxy_forbids(code),
        502 | 503 => messages::proxy_cannot_reach(code),
        504 => messages::proxy_timed_out(code),
        code => messages::proxy_answered(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(url: &str, host: &str) -> super::super::Dialogue {
        url.parse::<OutgoingProxy>().unwrap().dialogue(host, 993)
    }

    #[test]
    fn a_tunnel_is_asked_for() {
        let mut http = dialogue("http://10.0.0.1:3128", "imap.example");
        assert_eq!(
            http.transmit(),
            b"CONNECT imap.example:993 HTTP/1.1\r\nHost: imap.example:993\r\n\r\n"
        );
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
        let greeted = [&answer[..], b"* OK"].concat();
        let used = answer.len();
        assert_eq!(http.feed(&greeted), Ok(DialogueProgress::Open { used }));
        let mut slow = dialogue("http://10.0.0.1:3128", "2001:db8::1");
        assert!(slow.transmit().starts_with(b"CONNECT [2001:db8::1]:993 "));
        for byte in &answer[..used - 1] {
            assert_eq!(slow.feed(&[*byte]), Ok(DialogueProgress::More));
        }
        assert_eq!(slow.feed(b"\n"), Ok(DialogueProgress::Open { used: 1 }));
    }

    #[test]
    fn informational_answers_are_passed_over() {
        let mut http = dialogue("http://10.0.0.1", "imap.example");
        let answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200\r\n\r\n";
        let used = answer.len();
        assert_eq!(http.feed(answer), Ok(DialogueProgress::Open { used }));
    }

    #[test]
    fn credentials_are_sent_at_once() {
        let mut http = dialogue("http://ada:sesame@10.0.0.1", "imap.example");
        let sent = String::from_utf8(http.transmit()).unwrap();
        assert!(sent.contains("\r\nProxy-Authorization: Basic YWRhOnNlc2FtZQ==\r\n"));
        let refusal = http.feed(b"HTTP/1.1 407 Authenticate\r\n\r\n").unwrap_err();
        assert!(refusal.to_string().contains("wants a login"));
        assert!(!refusal.to_string().contains("sesame"));
    }

    #[test]
    fn other_answers_are_refused() {
        let error = |bytes: &[u8]| {
            let mut http = dialogue("http://10.0.0.1", "imap.example");
            http.feed(bytes).unwrap_err().to_string()
        };
        assert_eq!(
            error(b"HTTP/1.1 502 Bad\x1b Gateway\r\n\r\n"),
            "the HTTP proxy 10.0.0.1 port 3128 did not connect to imap.example port 993: it cannot reach the server (502)"
        );
        assert!(error(b"SSH-2.0").contains("does not speak HTTP"));
        assert!(error(b"HTTP/1.1 20\r\n\r\n").contains("cannot be understood"));
        assert!(error(b"HTTP/1.1 2000 OK\r\n\r\n").contains("cannot be understood"));
        let endless = [b"HTTP/1.1 200 ".to_vec(), vec![b'x'; LONGEST]].concat();
        assert!(error(&endless).contains("too long"));
    }
}
