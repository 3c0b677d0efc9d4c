//! Every bound of a session in one place, with its source.

use crate::Time;
use std::time::Duration;

/// Bounds on what a peer may make a session hold, try or wait for.
///
/// They apply until relay begins; from then on only `send_buffer` does, and `half_closed` where there are filters.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest IMAP command line from a client before login, CRLF included, literals not counted.
    /// RFC 2683 §3.2.1.5 recommends that servers accept 8,000 octets.
    pub imap_line: usize,
    /// Longest literal from a client before login. A login name or password has no business to be longer.
    pub imap_literal: usize,
    /// Longest POP or SMTP command line from a client: an AUTH line may have 12,288 octets (RFC 4954 §4, RFC 5034 §4).
    pub line: usize,
    /// Longest line from a server before relay, CRLF and literals included. Replies may have 512 octets by RFC 5321
    /// §4.5.3.1.5 and RFC 1939 §3; capability lists of IMAP servers are one line and much longer.
    pub server_line: usize,
    /// Largest capability list, EHLO answer or CAPA answer from a server before relay, in octets.
    pub capabilities: usize,
    /// Most client input held while a login is under way, and server input held behind sent credentials.
    pub held: usize,
    /// Backlog of one direction at which the other side is no longer read.
    pub send_buffer: usize,
    /// Failed logins and unusable commands after which the session ends.
    pub errors: u32,
    /// Longest wait for the server: connection, greeting, each answer before login. RFC 5321 §4.5.3.2 lets clients wait
    /// longer for a relay's sake; somebody is waiting here.
    pub server_answer: Time,
    /// Longest time a client may stay without logging in; the waits for credentials do not count. RFC 5321 §4.5.3.2.7
    /// asks for five minutes at least.
    pub before_login: Time,
    /// Longest wait for credentials, consent of the user included.
    pub consent: Time,
    /// How often an IMAP client that waits for consent is sent an untagged `OK` (RFC 3501 §7.1.1). POP and SMTP have
    /// nothing of the kind.
    pub keepalive: Time,
    /// Longest silence of one side once the other one has ended, in a relay with filters. Without them the relay is the
    /// driver's.
    pub half_closed: Time,
    /// Longest drain after `shutdown`, and longest wait for the client to take the farewell.
    pub drain: Time,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            imap_line: 8_192,
            imap_literal: 4_096,
            line: 12_288,
            server_line: 65_536,
            capabilities: 65_536,
            held: 65_536,
            send_buffer: 131_072,
            errors: 10,
            server_answer: Duration::from_secs(60),
            before_login: Duration::from_secs(300),
            consent: Duration::from_secs(660),
            keepalive: Duration::from_secs(20),
            half_closed: Duration::from_secs(300),
            drain: Duration::from_secs(10),
        }
    }
}
