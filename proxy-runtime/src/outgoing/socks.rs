//! SOCKS5 (RFC 1928), with user name and password where there are some (RFC 1929).

use super::{DialogueProgress, OutgoingProxy, Refused};
use crate::messages::server as messages;
use proxy_proto::Secret;
use std::net::IpAddr;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;

pub(super) struct Dialogue {
    state: State,
    /// What this dialogue is with, for refusals.
    proxy: String,
    host: String,
    port: u16,
    credentials: Option<(String, Secret)>,
    request: Vec<u8>,
    out: Vec<u8>,
    /// An answer that is not complete; at most 262 bytes.
    answer: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    Method,
    Authentication,
    Connection,
}

impl Dialogue {
    pub(super) fn new(proxy: &OutgoingProxy, host: &str, port: u16) -> Self {
        let methods: &[u8] = match proxy.credentials {
            Some(_) => &[NO_AUTHENTICATION, USER_AND_PASSWORD],
            None => &[NO_AUTHENTICATION],
        };
        let mut out = vec![VERSION, methods.len() as u8];
        out.extend(methods);
        Dialogue {
            state: State::Method,
            proxy: proxy.to_string(),
            host: host.to_owned(),
            port,
            credentials: proxy.credentials.clone(),
            request: connect_to(host, port),
            out,
            answer: Vec::new(),
        }
    }

    pub(super) fn transmit(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<DialogueProgress, Refused> {
        for (index, byte) in bytes.iter().enumerate() {
            self.answer.push(*byte);
            if self.answer.len() < self.wanted()? {
                continue;
            }
            if self.take_answer()? {
                return Ok(DialogueProgress::Open { used: index + 1 });
            }
            self.answer.clear();
        }
        Ok(DialogueProgress::More)
    }

    /// How long the answer is, as far as its beginning tells.
    fn wanted(&self) -> Result<usize, Refused> {
        let expected = match self.state {
            State::Authentication => 1,
            _ => VERSION,
        };
        if self
            .answer
            .first()
            .is_some_and(|version| *version != expected)
        {
            return Err(self.refused(messages::NOT_SOCKS5));
        }
        Ok(match (self.state, &self.answer[..]) {
            (State::Method | State::Authentication, _) => 2,
            // A refusal counts however it goes on; some proxies leave it at that.
            (State::Connection, [_, code, ..]) if *code != 0 => 2,
            (State::Connection, [_, _, _, 1, ..]) => 10,
            (State::Connection, [_, _, _, 4, ..]) => 22,
            (State::Connection, [_, _, _, 3, length, ..]) => 7 + usize::from(*length),
            (State::Connection, [_, _, _, 3]) => 5,
            (State::Connection, [_, _, _, _, ..]) => {
                return Err(self.refused(messages::PROXY_ANSWER_UNREADABLE));
            }
            (State::Connection, _) => 4,
        })
    }

    /// Whether the connection is open.
    fn take_answer(&mut self) -> Result<bool, Refused> {
        let code = self.answer[1];
        match (self.state, code) {
            (State::Method, NO_AUTHENTICATION) => self.ask(),
            (State::Method, USER_AND_PASSWORD) => {
                let Some((user, password)) = &self.credentials else {
                    return Err(self.refused(messages::PROXY_CHOSE_OTHER_METHOD));
                };
                // Either is at most 255 bytes long, or there would be no such proxy.
                let mut out = vec![1, user.len() as u8];
                out.extend(user.as_bytes());
                out.push(password.expose().len() as u8);
                out.extend(password.expose().as_bytes());
                self.out = out;
                self.state = State::Authentication;
            }
            (State::Method, _) => {
                return Err(self.refused(match self.credentials {
                    Some(_) => messages::PROXY_WANTS_OTHER_METHOD,
                    None => messages::PROXY_WANTS_LOGIN,
                }));
            }
            (State::Authentication, 0) => self.ask(),
            (State::Authentication, _) => {
                return Err(self.refused(messages::PROXY_REFUSES_LOGIN));
            }
            (State::Connection, 0) => return Ok(true),
            (State::Connection, code) => {
                let why = match code {
                    2 => messages::PROXY_RULES,
                    3 => messages::PROXY_NO_NETWORK,
                    4 => messages::PROXY_NO_HOST,
                    5 => messages::PROXY_WAS_REFUSED,
                    6 => messages::PROXY_TIMED_OUT,
                    1 | 7 | 8 => messages::PROXY_FAILED,
                    _ => messages::PROXY_GAVE_NO_REASON,
                };
                return Err(self.refused(why));
            }
        }
        Ok(false)
    }

    fn ask(&mut self) {
        self.out = std::mem::take(&mut self.request);
        self.state = State::Connection;
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

fn connect_to(host: &str, port: u16) -> Vec<u8> {
    let mut request = vec![VERSION, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(1);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(4);
            request.extend(address.octets());
        }
        Err(_) => {
            // A name of more than 255 bytes is none; the proxy will say so of its beginning.
            let name = &host.as_bytes()[..host.len().min(255)];
            request.extend([3, name.len() as u8]);
            request.extend(name);
        }
    }
    request.extend(port.to_be_bytes());
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(url: &str, host: &str) -> super::super::Dialogue {
        url.parse::<OutgoingProxy>().unwrap().dialogue(host, 993)
    }

    #[test]
    fn a_name_is_asked_for() {
        let mut socks = dialogue("socks5://10.0.0.1", "imap.example");
        assert_eq!(socks.transmit(), [5, 1, 0]);
        assert!(socks.transmit().is_empty());
        assert_eq!(socks.feed(&[5]), Ok(DialogueProgress::More));
        assert_eq!(socks.feed(&[0]), Ok(DialogueProgress::More));
        assert_eq!(
            socks.transmit(),
            b"\x05\x01\x00\x03\x0cimap.example\x03\xe1"
        );
        // A bound name of three bytes, and the server's greeting behind the answer.
        let answer = b"\x05\x00\x00\x03\x03abc\x00\x01* OK";
        assert_eq!(socks.feed(answer), Ok(DialogueProgress::Open { used: 10 }));
    }

    #[test]
    fn addresses_are_asked_for_as_such() {
        for (host, length, answer) in [
            ("192.0.2.1", 10, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..]),
            (
                "2001:db8::1",
                22,
                &[
                    5, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
            ),
        ] {
            let mut socks = dialogue("socks5://10.0.0.1", host);
            socks.transmit();
            assert_eq!(socks.feed(&[5, 0]), Ok(DialogueProgress::More));
            assert_eq!(socks.transmit().len(), length);
            let (last, before) = answer.split_last().unwrap();
            for byte in before {
                assert_eq!(socks.feed(&[*byte]), Ok(DialogueProgress::More));
            }
            assert_eq!(socks.feed(&[*last]), Ok(DialogueProgress::Open { used: 1 }));
        }
    }

    #[test]
    fn credentials_are_sent_when_asked_for() {
        let mut socks = dialogue("socks5://ada:sesame@10.0.0.1", "192.0.2.1");
        assert_eq!(socks.transmit(), [5, 2, 0, 2]);
        socks.feed(&[5, 2]).unwrap();
        assert_eq!(socks.transmit(), b"\x01\x03ada\x06sesame");
        socks.feed(&[1, 0]).unwrap();
        assert_eq!(socks.transmit()[..4], [5, 1, 0, 1]);
        let mut refused = dialogue("socks5://ada:sesame@10.0.0.1", "192.0.2.1");
        refused.feed(&[5, 2]).unwrap();
        let error = refused.feed(&[1, 1]).unwrap_err().to_string();
        assert!(
            error.contains("does not accept user and password"),
            "{error}"
        );
        assert!(!error.contains("sesame"), "{error}");
    }

    #[test]
    fn refusals_are_told() {
        let mut socks = dialogue("socks5://10.0.0.1", "imap.example");
        socks.feed(&[5, 0]).unwrap();
        assert_eq!(
            socks.feed(&[5, 5]).unwrap_err().to_string(),
            "the SOCKS5 proxy 10.0.0.1 port 1080 did not connect to imap.example port 993: connection refused"
        );
        let error = |bytes: &[u8]| {
            let mut socks = dialogue("socks5://10.0.0.1", "imap.example");
            socks.feed(bytes).unwrap_err().to_string()
        };
        assert!(error(&[5, 255]).contains("wants a login"));
        assert!(error(&[5, 2]).contains("not offered"));
        assert!(error(b"HTTP/1.1 400").contains("does not speak SOCKS5"));
        assert!(error(&[5, 0, 5, 0, 0, 9]).contains("cannot be understood"));
    }
}
