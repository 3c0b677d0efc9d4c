//! Dialogues from a stream of choices: plausible ones, with mutations, splits, interleavings and late events among them.
//!
//! [`simulate`] plays a client, a server and an embedder against a session, and writes down what each of them did. The
//! record is a list of [`Op`]s that [`replay`] repeats in other pieces. Where the choices have run out, everybody does
//! the most ordinary thing, so that short streams end in relay.

mod client;
mod server;

use crate::driver::{Driver, SIDES, Seen};
use client::Client;
use proxy_proto::{
    Bearer, Limits, LocalTls, Protocol, Refusal, Secret, SessionConfig, Side, Time, UpstreamTls,
};
pub(crate) use server::Server;
use std::time::Duration;

/// The password of every simulated login: it must reach nobody.
pub const PASSWORD: &str = "canary-PASSWORD-7531";

/// The token of every simulated login, with the number of the request behind it: it must not travel in clear.
pub const TOKEN: &str = "canary-TOKEN-8642";

/// What a peer or the embedder did.
#[derive(Clone, Debug)]
pub enum Op {
    /// This side sent bytes.
    Input(Side, Vec<u8>),
    /// This side has ended.
    Eof(Side),
    /// Time passed.
    Pass(Time),
    /// The request for credentials was answered.
    Grant,
    /// The request for credentials was refused.
    Refuse(Refusal),
    /// The handshake succeeded.
    TlsOk(Side),
    /// The handshake failed.
    TlsFail(Side),
    /// The connection to the server was opened.
    Connect,
    /// The connection to the server could not be opened.
    ConnectFail,
    /// The proxy was shut down.
    Shutdown,
}

/// A stream of choices; when it has run out, every choice is the first one and every chance fails.
pub struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl<'a> Choices<'a> {
    /// Reads the choices from these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Choices {
            bytes: bytes.iter(),
        }
    }

    /// One of `count`.
    pub fn of(&mut self, count: usize) -> usize {
        self.bytes
            .next()
            .map_or(0, |&byte| usize::from(byte) % count)
    }

    /// Whether something of this probability (in 256ths) happens.
    pub fn chance(&mut self, probability: u8) -> bool {
        // The largest bytes, so that shrinking leads to the ordinary.
        self.bytes
            .next()
            .is_some_and(|&byte| u16::from(byte) + u16::from(probability) > 255)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.of(among.len())]
    }

    /// Changes a byte or two.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const BYTES: &[u8] = b" \r\n\0\"\\{}+*=-A0\xff\x01";
        for _ in 0..1 + self.of(2) {
            let at = if bytes.is_empty() {
                0
            } else {
                self.of(bytes.len())
            };
            match self.of(4) {
                0 if at < bytes.len() => bytes[at] = self.pick(BYTES),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, self.pick(BYTES)),
            }
        }
    }

    /// Some bytes without sense.
    pub fn noise(&mut self) -> Vec<u8> {
        let count = 1 + self.of(40);
        (0..count)
            .map(|at| self.bytes.next().copied().unwrap_or(at as u8))
            .collect()
    }
}

/// What came of a dialogue.
#[derive(Debug)]
pub struct Outcome {
    /// All bytes sent to the client.
    pub to_client: Vec<u8>,
    /// All bytes sent to the server.
    pub to_server: Vec<u8>,
    /// All events.
    pub events: Vec<Seen>,
    /// Broken promises, leaks, and states in which nothing can happen.
    pub faults: Vec<String>,
    /// Plaintext lay behind a TLS upgrade and was fed to the handshake.
    pub residue: bool,
}

impl Outcome {
    /// Whether this event is among them.
    pub fn saw(&self, wanted: impl Fn(&Seen) -> bool) -> bool {
        self.events.iter().any(wanted)
    }

    /// The events, `Relay` before a half-close: which of the two comes first depends on who has read more by then.
    pub fn ordered_events(&self) -> Vec<&Seen> {
        let mut events: Vec<&Seen> = self.events.iter().collect();
        for at in 1..events.len() {
            if matches!(events[at - 1], Seen::ShutdownWrite(_)) && events[at] == &Seen::Relay {
                events.swap(at - 1, at);
            }
        }
        events
    }

    /// Whether the session has ended.
    pub fn closed(&self) -> bool {
        self.saw(|event| matches!(event, Seen::Closed(_)))
    }
}

/// Plays a dialogue; returns the configuration, what was done, and what came of it.
pub fn simulate(choices: &[u8]) -> (SessionConfig, Vec<Op>, Outcome) {
    let mut choices = Choices::new(choices);
    let config = configuration(&mut choices);
    let mut client = Client::new(config.clone());
    let mut server = Server::new(config.clone(), &mut choices);
    let mut run = Run::new(config.clone(), usize::MAX);
    let mut ops = Vec::new();
    let mut relayed = 0;
    for _ in 0..60 {
        let op = next(&run, &mut client, &mut server, &mut choices);
        match op {
            Op::Connect => server.greet(),
            Op::TlsOk(Side::Client) => client.secured(),
            Op::TlsOk(Side::Server) => server.secured(),
            _ => {}
        }
        run.apply(&op);
        server.hears(&run.fresh_for_server());
        ops.push(op);
        relayed += usize::from(run.driver.relaying());
        if run.driver.closed().is_some() || relayed > 5 {
            break;
        }
    }
    (config, ops, run.finish())
}

/// Repeats a dialogue with other piece sizes.
pub fn replay(config: &SessionConfig, ops: &[Op], chunk: usize) -> Outcome {
    let mut run = Run::new(config.clone(), chunk);
    for op in ops {
        run.apply(op);
        if run.driver.closed().is_some() {
            break;
        }
    }
    run.finish()
}

fn configuration(choices: &mut Choices<'_>) -> SessionConfig {
    let protocol = choices.pick(&[Protocol::Imap, Protocol::Pop, Protocol::Smtp]);
    let mut config = SessionConfig::new(protocol);
    config.local_tls = choices.pick(&[
        LocalTls::None,
        LocalTls::None,
        LocalTls::Implicit,
        LocalTls::StartTlsRequired,
        LocalTls::StartTlsOptional,
    ]);
    config.upstream_tls = choices.pick(&[
        UpstreamTls::Implicit,
        UpstreamTls::Implicit,
        UpstreamTls::StartTls,
    ]);
    config.dialogue = true;
    if choices.chance(40) {
        config.limits = Limits {
            held: 512,
            send_buffer: 1_024,
            errors: 3,
            ..Limits::default()
        };
    }
    config
}

/// Who does what next.
fn next(run: &Run, client: &mut Client, server: &mut Server, choices: &mut Choices<'_>) -> Op {
    let driver = &run.driver;
    let logged_in = |event: &Seen| matches!(event, Seen::Authenticated { .. });
    if run.outcome.saw(logged_in) {
        client.logged_in();
    }
    if choices.chance(3) {
        return match choices.of(5) {
            0 => Op::Shutdown,
            1 => Op::Eof(Side::Client),
            2 => Op::Eof(Side::Server),
            3 => Op::Pass(Duration::from_secs(400)),
            _ => {
                let side = choices.pick(&SIDES);
                if side == Side::Client {
                    client.garble();
                }
                Op::Input(side, choices.noise())
            }
        };
    }
    if let Some(side) = SIDES.into_iter().find(|side| driver.upgrading(*side)) {
        return match choices.chance(10) {
            true => Op::TlsFail(side),
            false => Op::TlsOk(side),
        };
    }
    if !driver.connected() {
        return match choices.chance(16) {
            true => Op::ConnectFail,
            false => Op::Connect,
        };
    }
    if driver.asks_for_credentials() {
        if choices.chance(60) {
            return match choices.of(6) {
                0 => Op::Pass(Duration::from_secs(25)),
                1 => Op::Refuse(Refusal::Denied(
                    "the password differs\r\nA1 OK forged".into(),
                )),
                2 => Op::Refuse(Refusal::Temporary("the provider does not answer".into())),
                3 => Op::Eof(Side::Server),
                4 if choices.chance(60) => Op::Eof(Side::Client),
                _ => Op::Input(Side::Client, client.speaks(choices, true)),
            };
        }
        return Op::Grant;
    }
    if driver.relaying() {
        let side = choices.pick(&SIDES);
        return match choices.chance(24) {
            true => Op::Eof(side),
            false => Op::Input(side, choices.noise()),
        };
    }
    if server.owes() && !choices.chance(24) {
        return server.answers(choices);
    }
    Op::Input(Side::Client, client.speaks(choices, false))
}

/// A session with what it has said so far.
pub(crate) struct Run {
    pub(crate) driver: Driver,
    outcome: Outcome,
    fresh: Vec<u8>,
    requests: usize,
    user: String,
}

impl Run {
    pub(crate) fn new(config: SessionConfig, chunk: usize) -> Self {
        Run {
            driver: Driver::new(config, chunk),
            outcome: Outcome {
                to_client: Vec::new(),
                to_server: Vec::new(),
                events: Vec::new(),
                faults: Vec::new(),
                residue: false,
            },
            fresh: Vec::new(),
            requests: 0,
            user: String::new(),
        }
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let driver = &mut self.driver;
        match op {
            Op::Input(side, bytes) => driver.input(*side, bytes),
            Op::Eof(side) => driver.eof(*side),
            Op::Pass(time) => driver.pass(*time),
            Op::Grant => {
                self.requests += 1;
                let bearer = Bearer {
                    token: Secret::new(format!("{TOKEN}-{}", self.requests)),
                    user: self.user.as_str().into(),
                    mechanism: None,
                };
                driver.credentials(Ok(bearer));
            }
            Op::Refuse(refusal) => drop(driver.credentials(Err(refusal.clone()))),
            Op::TlsOk(side) => {
                let wanted = driver.tls_established(*side).is_ok();
                if !wanted && *side == Side::Client {
                    driver
                        .faults
                        .push("the client's handshake was asked for and is not wanted".into());
                }
                if !wanted {
                    // A session that has waited too long for its server no longer wants the handshake.
                    driver.forget_upgrade(*side);
                }
            }
            Op::TlsFail(side) => driver.tls_failed(*side, "handshake failure"),
            Op::Connect => driver.connect("mail.example", 993),
            Op::ConnectFail => driver.connect_failed("mail.example does not answer"),
            Op::Shutdown => driver.shutdown(),
        }
        self.outcome
            .to_client
            .extend(driver.take_sent(Side::Client));
        let to_server = driver.take_sent(Side::Server);
        self.fresh.extend(&to_server);
        self.outcome.to_server.extend(to_server);
        let events = driver.take_events();
        for event in &events {
            if let Seen::NeedCredentials { user, .. } = event {
                self.user.clone_from(user);
            }
        }
        self.outcome.events.extend(events);
        self.outcome.faults.extend(driver.stuck());
    }

    pub(crate) fn fresh_for_server(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.fresh)
    }

    pub(crate) fn finish(mut self) -> Outcome {
        self.outcome.faults.append(&mut self.driver.faults);
        // Garbled commands make passwords of ordinary words.
        let leaks = self.driver.leaks().into_iter();
        self.outcome
            .faults
            .extend(leaks.filter(|leak| leak.contains("canary")));
        self.outcome.faults.extend(self.driver.malformed_lines());
        self.outcome.residue = self.driver.met_residue();
        self.outcome
    }
}
