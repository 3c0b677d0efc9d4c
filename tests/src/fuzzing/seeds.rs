//! Transcripts and scripts as inputs of the fuzz targets.

use super::dialogues::{SCRIPTED_CLIENT, SCRIPTED_SERVER, client_scripts};
use super::format::{Call, Header, speaker, write};
use crate::transcript::{Input, Transcript};
use proxy_proto::{Mechanism, Protocol, Refusal, SessionConfig, Side};

/// The inputs that a transcript gives, each with the name of its target.
pub fn seeds(transcript: &Transcript) -> Vec<(&'static str, Vec<u8>)> {
    let config = &transcript.config;
    let own = super::target_of(config.protocol);
    let both = |side| matches!(side, Side::Client | Side::Server);
    let mut seeds = vec![
        ("operations", operations(transcript)),
        ("framers", super::framers::seed(transcript)),
    ];
    for (target, extra, said) in [
        ("input", 0, &both as &dyn Fn(Side) -> bool),
        (own, 0, &both),
        (own, SCRIPTED_SERVER, &|side| side == Side::Client),
        (own, SCRIPTED_CLIENT, &|side| side == Side::Server),
    ] {
        seeds.push((target, dialogue(transcript, extra, said)));
    }
    seeds
}

/// The inputs that scripted clients give: every script of a protocol, against a scripted server, once as what the fuzzer
/// says and once as what is said for it; and what peers say after the login.
pub fn scripts(protocol: Protocol) -> Vec<(&'static str, Vec<u8>)> {
    let config = SessionConfig::new(protocol);
    let open = super::framers::dialogues(protocol);
    let mut seeds: Vec<_> = open.into_iter().map(|seed| ("framers", seed)).collect();
    for (at, script) in (0u8..).zip(client_scripts(protocol)) {
        let both = SCRIPTED_SERVER | SCRIPTED_CLIENT | at << 2;
        let header = Header::write(&config, 1, both);
        seeds.push((super::target_of(protocol), header.to_vec()));
        for (target, extra) in [
            (super::target_of(protocol), SCRIPTED_SERVER),
            ("input", 0),
            ("operations", 0),
        ] {
            seeds.push((
                target,
                [&Header::write(&config, 1, extra), *script].concat(),
            ));
        }
    }
    seeds
}

/// What the peers say, the embedder doing what is asked of it.
fn dialogue(transcript: &Transcript, extra: u8, said: &dyn Fn(Side) -> bool) -> Vec<u8> {
    let mut seed = Header::write(&transcript.config, 7, extra).to_vec();
    for input in transcript.stages.iter().flat_map(|stage| &stage.inputs) {
        match input {
            Input::Bytes(side, bytes) if said(*side) => {
                seed.push(speaker(*side));
                write(bytes, &mut seed);
            }
            Input::Eof(side) => Call::Eof(*side).write(&mut seed),
            Input::Advance(time) => pass(time.as_secs(), &mut seed),
            Input::Shutdown => Call::Shutdown.write(&mut seed),
            _ => {}
        }
    }
    seed
}

/// Everything, with every call that the transcript makes.
fn operations(transcript: &Transcript) -> Vec<u8> {
    let mut seed = Header::write(&transcript.config, 0, 0).to_vec();
    if transcript.connect {
        connected(&mut seed);
    }
    for input in transcript.stages.iter().flat_map(|stage| &stage.inputs) {
        let call = match input {
            Input::Bytes(side, bytes) => {
                seed.push(speaker(*side));
                write(bytes, &mut seed);
                Call::Serve
            }
            Input::Eof(side) => Call::Eof(*side),
            Input::Advance(time) => {
                pass(time.as_secs(), &mut seed);
                Call::Serve
            }
            Input::Token { mechanism, .. } => Call::Grant {
                oauthbearer: *mechanism == Some(Mechanism::OAuthBearer),
            },
            Input::Refuse(Refusal::Denied(_)) => Call::Deny,
            Input::Refuse(Refusal::Temporary(_)) => Call::Temporary,
            Input::Stale => Call::Stale,
            Input::TlsOk(side) => Call::TlsEstablished(*side),
            Input::TlsFail(side, _) => Call::TlsFailed(*side),
            Input::Connected => {
                connected(&mut seed);
                Call::Serve
            }
            Input::ConnectFail(_) => Call::ConnectFailed,
            Input::Shutdown => Call::Shutdown,
            Input::Quiet => Call::Serve,
        };
        call.write(&mut seed);
        if call != Call::Serve {
            Call::Serve.write(&mut seed);
        }
    }
    seed
}

fn connected(seed: &mut Vec<u8>) {
    let call = Call::Connected {
        as_configured: true,
    };
    call.write(seed);
}

fn pass(mut seconds: u64, seed: &mut Vec<u8>) {
    while seconds > 0 {
        let step = seconds.div_ceil(4).min(255);
        Call::Pass(u8::try_from(step).unwrap_or(255)).write(seed);
        seconds = seconds.saturating_sub(4 * step);
    }
}
