//! The targets `input`, `imap`, `pop` and `smtp`: what peers say, under a driver that keeps the rules.

use super::format::{CANARY, Call, Canaries, Header, Part, read};
use crate::driver::{SIDES, Seen, reveals};
use crate::simulation::{Choices, Op, Outcome, Run, Server, replay};
use proxy_proto::{Protocol, Refusal, SessionConfig, Side};
use std::time::Duration;

/// Bits of the header's third byte: which peers follow a script, which script the client follows (three bits), and how
/// many choices of the server stand before the stream (three bits).
pub(super) const SCRIPTED_SERVER: u8 = 1;
pub(super) const SCRIPTED_CLIENT: u8 = 2;

/// Both peers say what the fuzzer likes; the embedder does what is asked of it.
pub(super) fn input(data: &[u8]) {
    let Some((header, body)) = Header::read(data) else {
        return;
    };
    let Some(parts) = read(body, &mut Canaries::default()) else {
        return;
    };
    let mut dialogue = Dialogue::new(&header, None, Vec::new());
    for part in parts {
        if !dialogue.takes(part) {
            break;
        }
    }
    dialogue.finish(&header);
}

/// One protocol, where a good server or a good client may fill in for the fuzzer, so that deep states are near.
pub(super) fn grammar(protocol: Protocol, data: &[u8]) {
    let Some((mut header, body)) = Header::read(data) else {
        return;
    };
    header.config.protocol = protocol;
    let choices = usize::from(header.extra >> 5).min(body.len());
    let (choices, body) = body.split_at(choices);
    let mut choices = Choices::new(choices);
    let server = (header.extra & SCRIPTED_SERVER != 0)
        .then(|| Server::new(header.config.clone(), &mut choices));
    let mut canaries = Canaries::default();
    let mut script = Vec::new();
    if header.extra & SCRIPTED_CLIENT != 0 {
        let scripts = client_scripts(protocol);
        let stream = scripts[usize::from(header.extra >> 2 & 7) % scripts.len()];
        script = read(stream, &mut canaries).unwrap_or_default();
        script.reverse();
    }
    let Some(parts) = read(body, &mut canaries) else {
        return;
    };
    let server_scripted = server.is_some();
    // A client that says all of it at once, a second login behind the first, and nothing else.
    let at_once = match &script[..] {
        [Part::Says(Side::Client, bytes)] if !parts.iter().any(is_by_client) => bytes.clone(),
        _ => Vec::new(),
    };
    let mut dialogue = Dialogue::new(&header, server.map(|it| (it, choices)), script);
    for part in parts {
        if let Part::Says(Side::Server, _) = part
            && server_scripted
        {
            continue;
        }
        if let Part::Says(Side::Server, _) = part {
            dialogue.makes_the_server_hear();
        }
        if !dialogue.takes(part) {
            break;
        }
    }
    while dialogue.goes_on_with_the_script() {}
    let to_server = dialogue.finish(&header);
    for password in canaries.passwords().filter(|it| reveals(&at_once, it)) {
        let context = at_once.escape_ascii();
        assert!(
            !reveals(&to_server, &password),
            "the server got {password:?} of {context}"
        );
    }
}

fn is_by_client(part: &Part) -> bool {
    matches!(part, Part::Says(Side::Client, _))
}

/// What an ordinary client says, each piece when the server has had something to say.
pub(super) fn client_scripts(protocol: Protocol) -> &'static [&'static [u8]] {
    match protocol {
        Protocol::Imap => &[
            b"\xffA1 LOGIN user@example.com \xfc\r\n\xffA2 SELECT INBOX\r\n",
            b"\xffA1 CAPABILITY\r\n\xffA2 ID (\"name\" {3}\r\n\xffabc)\r\n\xffA3 AUTHENTICATE PLAIN\r\n\xff\xfb\r\n",
            b"\xffA1 STARTTLS\r\n\xffA2 CAPABILITY\r\n\xffA3 LOGIN {16}\r\n\xffuser@example.com {20}\r\n\xff\xfc\r\n",
            b"\xffA1 LOGIN user@example.com \"\xfc\"\r\nA2 SELECT INBOX\r\nA3 LOGIN a \xfc\r\nA4 NOOP\r\n",
            b"\xffA1 LOGIN user@example.com \xfc\r\n\xffA2 LOGIN user@example.com \xfc\r\n\xffA3 AUTHENTICATE LOGIN\r\n\xff\xf9\r\n\xff\xfa\r\n",
            b"\xffA1 NOOP\r\n\xffA2 LOGOUT\r\n",
            b"\xffA1 AUTHENTICATE PLAIN \xfb\r\nA2 AUTHENTICATE PLAIN\r\n\xfb\r\nA3 NOOP\r\n",
            b"\xffA1 LOGIN {16+}\r\nuser@example.com {20+}\r\n\xfc\r\n\xffA2 APPEND INBOX {9+}\r\nB LOGIN a\r\n",
        ],
        Protocol::Pop => &[
            b"\xffUSER user@example.com\r\n\xffPASS \xfc\r\n\xffSTAT\r\n",
            b"\xffCAPA\r\n\xffAUTH PLAIN\r\n\xff\xfb\r\n\xffLIST\r\n",
            b"\xffSTLS\r\n\xffCAPA\r\n\xffAUTH PLAIN \xfb\r\n",
            b"\xffUSER user@example.com\r\nPASS \xfc\r\nSTAT\r\nUSER a\r\nPASS \xfc\r\n",
            b"\xffAUTH PLAIN \xfb\r\n\xffUSER user@example.com\r\n\xffPASS \xfc\r\n\xffAUTH PLAIN \xfb\r\n",
            b"\xffAUTH\r\n\xffQUIT\r\n",
            b"\xffAUTH PLAIN\r\n\xff*\r\n\xffAPOP a b\r\n\xffCAPA\r\n",
        ],
        Protocol::Smtp => &[
            b"\xffEHLO laptop.example\r\n\xffAUTH PLAIN \xfb\r\n\xffMAIL FROM:<a@example.com>\r\n",
            b"\xffEHLO laptop.example\r\n\xffAUTH LOGIN\r\n\xff\xf9\r\n\xff\xfa\r\n\xffNOOP\r\n",
            b"\xffEHLO laptop.example\r\n\xffSTARTTLS\r\n\xffEHLO laptop.example\r\n\xffAUTH PLAIN \xfb\r\n",
            b"\xffEHLO laptop.example\r\nAUTH PLAIN \xfb\r\nMAIL FROM:<a@example.com>\r\nAUTH PLAIN \xfb\r\n",
            b"\xffHELO printer\r\n\xffAUTH LOGIN \xf9\r\n\xff\xfa\r\n\xffAUTH PLAIN\r\n\xff\xfb\r\n",
            b"\xffEHLO laptop.example\r\n\xffNOOP\r\n\xffRSET\r\n\xffHELP\r\n\xffMAIL FROM:<a@example.com>\r\n\xffQUIT\r\n",
            b"\xffAUTH PLAIN \xfb\r\n\xffEHLO again\r\n\xffAUTH PLAIN \xfb\r\n\xffAUTH PLAIN \xfb\r\n",
        ],
    }
}

/// A dialogue as it is played, and the record of it.
struct Dialogue<'a> {
    run: Run,
    ops: Vec<Op>,
    server: Option<(Server, Choices<'a>)>,
    /// What the client has still to say, the next part last.
    script: Vec<Part>,
    /// The server has been sent something since it last spoke, or has still to greet.
    heard: bool,
    refused: bool,
}

impl<'a> Dialogue<'a> {
    fn new(header: &Header, server: Option<(Server, Choices<'a>)>, script: Vec<Part>) -> Self {
        let mut dialogue = Dialogue {
            run: Run::new(header.config.clone(), usize::MAX),
            ops: Vec::new(),
            server,
            script,
            heard: true,
            refused: false,
        };
        dialogue.reacts();
        dialogue
    }

    /// Does this part; `false`: the session has ended.
    fn takes(&mut self, part: Part) -> bool {
        let op = match part {
            Part::Says(side, bytes) => Op::Input(side, bytes),
            Part::Call(Call::Eof(side)) => Op::Eof(side),
            Part::Call(Call::Pass(count)) => Op::Pass(Duration::from_secs(4 * u64::from(count))),
            Part::Call(Call::Wait) => Op::Pass(Duration::from_secs(61)),
            Part::Call(Call::Shutdown) => Op::Shutdown,
            Part::Call(Call::Deny | Call::Temporary) => {
                self.refused = true; // the next request
                return true;
            }
            Part::Call(Call::TlsFailed(side)) if self.run.driver.upgrading(side) => {
                Op::TlsFail(side)
            }
            Part::Call(_) => return true, // the embedder does by itself what is asked of it
        };
        if let Op::Input(Side::Server, _) = op {
            self.heard = false;
        }
        self.does(op);
        self.reacts();
        self.run.driver.closed().is_none()
    }

    fn does(&mut self, op: Op) {
        match (&op, &mut self.server) {
            (Op::Connect, Some((server, _))) => server.greet(),
            (Op::TlsOk(Side::Server), Some((server, _))) => server.secured(),
            _ => {}
        }
        self.run.apply(&op);
        let fresh = self.run.fresh_for_server();
        self.heard |= !fresh.is_empty();
        if let Some((server, _)) = &mut self.server {
            server.hears(&fresh);
        }
        self.ops.push(op);
    }

    /// The embedder does what is asked of it, and a scripted server answers what it owes.
    fn reacts(&mut self) {
        for _ in 0..40 {
            let driver = &self.run.driver;
            if driver.closed().is_some() {
                return;
            }
            let op = if let Some(side) = SIDES.into_iter().find(|side| driver.upgrading(*side)) {
                Op::TlsOk(side)
            } else if !driver.connected() {
                self.heard = true;
                Op::Connect
            } else if driver.asks_for_credentials() {
                match std::mem::take(&mut self.refused) {
                    true => Op::Refuse(Refusal::Temporary("not\r\nnow".into())),
                    false => Op::Grant,
                }
            } else if let Some((server, choices)) = &mut self.server
                && server.owes()
            {
                server.answers(choices)
            } else {
                return;
            };
            self.does(op);
        }
    }

    /// Lets the scripted client speak until there is something for the server to answer.
    fn makes_the_server_hear(&mut self) {
        while !self.heard && self.goes_on_with_the_script() {}
    }

    fn goes_on_with_the_script(&mut self) -> bool {
        match self.script.pop() {
            Some(part) => self.takes(part),
            None => false,
        }
    }

    /// Compares with the same dialogue in pieces; returns what went to the server.
    fn finish(self, header: &Header) -> Vec<u8> {
        let whole = self.run.finish();
        verify(&header.config, &self.ops, &whole, usize::MAX);
        let cut = replay(&header.config, &self.ops, header.chunk);
        verify(&header.config, &self.ops, &cut, header.chunk);
        same(header, &self.ops, &whole, &cut);
        whole.to_server
    }
}

/// Every promise was kept.
fn verify(config: &SessionConfig, ops: &[Op], outcome: &Outcome, chunk: usize) {
    let context = || format!("in chunks of {chunk}\n{}", describe(config, ops));
    assert!(
        outcome.faults.is_empty(),
        "{:?}\n{}",
        outcome.faults,
        context()
    );
    for event in &outcome.events {
        if let Seen::NeedCredentials { password, .. } = event
            && password.contains(CANARY)
        {
            let leaked = reveals(&outcome.to_server, password);
            assert!(!leaked, "the server got {password:?}\n{}", context());
        }
    }
}

/// However the bytes are cut, the same comes of them.
fn same(header: &Header, ops: &[Op], whole: &Outcome, cut: &Outcome) {
    let context = || {
        format!(
            "in chunks of {}\n{}",
            header.chunk,
            describe(&header.config, ops)
        )
    };
    if whole.residue || cut.residue {
        // Plaintext behind an upgrade was read by the handshake in one run and by the session in another.
        assert!(whole.closed() && cut.closed(), "{}", context());
        return;
    }
    assert_eq!(
        cut.to_client.escape_ascii().to_string(),
        whole.to_client.escape_ascii().to_string(),
        "to the client, {}",
        context()
    );
    // What is still queued for the server when a session ends early is dropped: it may be shorter, never other.
    let (short, long) = match cut.to_server.len() < whole.to_server.len() {
        true => (&cut.to_server, &whole.to_server),
        false => (&whole.to_server, &cut.to_server),
    };
    assert!(
        short == long || whole.closed() && long.starts_with(short),
        "to the server: {} or {}, {}",
        short.escape_ascii(),
        long.escape_ascii(),
        context()
    );
    assert_eq!(
        cut.ordered_events(),
        whole.ordered_events(),
        "{}",
        context()
    );
}

fn describe(config: &SessionConfig, ops: &[Op]) -> String {
    let mut text = format!(
        "{} {:?} {:?} {:?}",
        config.protocol.name(),
        config.local_tls,
        config.upstream_tls,
        config.limits
    );
    for op in ops {
        text.push_str("\n  ");
        match op {
            Op::Input(side, bytes) => text.push_str(&format!("{side}> {}", bytes.escape_ascii())),
            other => text.push_str(&format!("= {other:?}")),
        }
    }
    text
}
