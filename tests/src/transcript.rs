//! Transcripts: dialogues in a file, replayed on a session and compared byte for byte.
//!
//! The format is described in `transcripts/README.md`; [`parse`] says what it accepts, [`replay`] what is compared.

#[cfg(all(feature = "loopback", target_os = "linux"))]
pub mod loopback;
mod matching;
mod parsing;

use crate::driver::{Driver, Seen};
use matching::{ExpectedEvent, ExpectedLine};
pub use parsing::parse;
use proxy_proto::{Bearer, Mechanism, Refusal, Secret, SessionConfig, Side, Time};
use std::{fs, path::Path};

/// One file of dialogue.
pub struct Transcript {
    /// Its path below `transcripts/`.
    pub name: String,
    /// Whether a comment says what it shows and where that comes from.
    pub commented: bool,
    pub(crate) config: SessionConfig,
    host: String,
    port: u16,
    pub(crate) connect: bool,
    residue: bool,
    pub(crate) stages: Vec<Stage>,
}

/// Inputs, then what must have come of them when all is quiet.
#[derive(Default)]
pub(crate) struct Stage {
    line: usize,
    pub(crate) inputs: Vec<Input>,
    sent: [Vec<ExpectedLine>; 2],
    events: Vec<ExpectedEvent>,
}

pub(crate) enum Input {
    Bytes(Side, Vec<u8>),
    Eof(Side),
    Advance(Time),
    Token {
        token: String,
        user: Option<String>,
        mechanism: Option<Mechanism>,
    },
    Refuse(Refusal),
    Stale,
    TlsOk(Side),
    TlsFail(Side, String),
    Connected,
    ConnectFail(String),
    Shutdown,
    Quiet,
}

/// All transcripts, in the order of their names.
///
/// # Errors
/// A file that cannot be read or is no transcript.
pub fn all() -> Result<Vec<Transcript>, String> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut names = Vec::new();
    for folder in ["imap", "pop", "smtp"] {
        let path = base.join(folder);
        let entries = fs::read_dir(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        for entry in entries {
            let name = entry.map_err(|why| why.to_string())?.file_name();
            names.push(format!("{folder}/{}", name.to_string_lossy()));
        }
    }
    names.retain(|name| name.ends_with(".txt"));
    names.sort();
    let read = |name: &String| {
        let text = fs::read_to_string(base.join(name)).map_err(|why| format!("{name}: {why}"))?;
        parse(name, &text)
    };
    names.iter().map(read).collect()
}

impl Transcript {
    /// Whether virtual time passes in it: such a transcript cannot be played over real sockets.
    pub fn uses_time(&self) -> bool {
        let passes = |input: &Input| matches!(input, Input::Advance(_));
        self.stages
            .iter()
            .any(|stage| stage.inputs.iter().any(passes))
    }
}

/// Replays the transcript with no more than `chunk` bytes handed over or written at once.
///
/// `dialogue` asks the session for dialogue lines beyond what the transcript wants; they are checked for secrets and
/// otherwise left out of the comparison.
///
/// # Errors
/// What differs, with the transcript's name, line and chunk size.
pub fn replay(transcript: &Transcript, chunk: usize, dialogue: bool) -> Result<(), String> {
    let mut config = transcript.config.clone();
    let compare_dialogue = config.dialogue;
    config.dialogue |= dialogue;
    let mut driver = Driver::new(config, chunk);
    let place = |line: usize| {
        let size = match chunk {
            usize::MAX => "whole".to_owned(),
            size => format!("chunks of {size}"),
        };
        format!("{}:{line} ({size})", transcript.name)
    };
    if transcript.connect {
        driver.connect(&transcript.host, transcript.port);
    }
    let mut last_login = String::new();
    for stage in &transcript.stages {
        let before = driver.closed().is_some();
        for input in &stage.inputs {
            if driver.closed().is_some() {
                break;
            }
            apply(&mut driver, input, transcript, &last_login)
                .map_err(|why| format!("{}: {why}", place(stage.line)))?;
            if transcript.residue && driver.met_residue() {
                return residue_closes(&driver)
                    .map_err(|why| format!("{}: {why}", place(stage.line)));
            }
        }
        if before && !stage.inputs.is_empty() {
            return Err(format!(
                "{}: the session has ended already",
                place(stage.line)
            ));
        }
        let mut events = driver.take_events();
        if let Some(user) = events.iter().rev().find_map(|event| match event {
            Seen::NeedCredentials { user, .. } => Some(user.clone()),
            _ => None,
        }) {
            last_login = user;
        }
        let refusals = stage.events.iter().any(|e| e.source.contains("Refused"));
        if !refusals {
            // Said beside what the client is told; compared where a transcript asks for it.
            events.retain(|event| !matches!(event, Seen::Refused { .. }));
        }
        if !compare_dialogue {
            events.retain(|event| !matches!(event, Seen::Dialogue(_)));
        }
        let mut problems = Vec::new();
        for (side, expected) in [Side::Client, Side::Server].into_iter().zip(&stage.sent) {
            let actual = driver.take_sent(side);
            if let Err(why) = matching::sent(expected, &actual) {
                problems.push(format!("to the {side}: {why}"));
            }
        }
        let expected: Vec<_> = stage.events.iter().collect();
        if let Err(why) = matching::events(&expected, &events) {
            problems.push(why);
        }
        if !problems.is_empty() {
            return Err(format!("{}\n{}", place(stage.line), problems.join("\n")));
        }
    }
    let end = transcript.stages.last().map_or(0, |stage| stage.line);
    let mut problems = std::mem::take(&mut driver.faults);
    problems.extend(driver.leaks());
    problems.extend(driver.malformed_lines());
    problems.extend(driver.stuck());
    for side in crate::driver::SIDES {
        if driver.undelivered(side) > 0 {
            problems.push(format!("bytes of the {side} were never read"));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("{}\n  {}", place(end), problems.join("\n  ")))
    }
}

fn apply(
    driver: &mut Driver,
    input: &Input,
    transcript: &Transcript,
    login: &str,
) -> Result<(), String> {
    match input {
        Input::Bytes(side, bytes) => driver.input(*side, bytes),
        Input::Eof(side) => driver.eof(*side),
        Input::Advance(time) => driver.pass(*time),
        Input::Token {
            token,
            user,
            mechanism,
        } => {
            let user = match (user, open_login(driver)) {
                (Some(user), _) => user.clone(),
                (None, Some(user)) => user,
                (None, None) => login.to_owned(),
            };
            let bearer = Bearer {
                token: Secret::new(token.as_str()),
                user: user.into(),
                mechanism: *mechanism,
            };
            if !driver.credentials(Ok(bearer)) {
                return Err("a token is given, but no request for credentials is open".into());
            }
        }
        Input::Refuse(refusal) => {
            if !driver.credentials(Err(refusal.clone())) {
                return Err("a login is refused, but no request for credentials is open".into());
            }
        }
        Input::Stale => {
            let refusal = Refusal::Denied("stale".into());
            if driver.stale_credentials(Err(refusal)).is_ok() {
                return Err("a stale answer was accepted".into());
            }
        }
        Input::TlsOk(side) => driver
            .tls_established(*side)
            .map_err(|misuse| format!("tls-ok {side}: {misuse}"))?,
        Input::TlsFail(side, why) => driver.tls_failed(*side, why),
        Input::Connected => driver.connect(&transcript.host, transcript.port),
        Input::ConnectFail(why) => driver.connect_failed(why),
        Input::Shutdown => driver.shutdown(),
        Input::Quiet => {} // every input is followed by quiet; this one only keeps its neighbours apart
    }
    Ok(())
}

/// The login name of a request that opened within the current stage.
fn open_login(driver: &Driver) -> Option<String> {
    driver
        .events_so_far()
        .iter()
        .rev()
        .find_map(|event| match event {
            Seen::NeedCredentials { user, .. } => Some(user.clone()),
            _ => None,
        })
}

/// Plaintext behind an upgrade that was cut off by the chunking: the handshake fails, and nothing of it may have counted.
fn residue_closes(driver: &Driver) -> Result<(), String> {
    if driver.closed().is_none() {
        return Err("plaintext behind the upgrade did not end the session".into());
    }
    let served = driver.events_so_far().iter().any(|event| {
        matches!(
            event,
            Seen::NeedCredentials { .. } | Seen::Authenticated { .. }
        )
    });
    if served {
        return Err("plaintext behind the upgrade was acted upon".into());
    }
    Ok(())
}
