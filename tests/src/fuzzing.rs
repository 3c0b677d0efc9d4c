//! What the fuzz targets run: bytes in, a panic where a promise is broken.
//!
//! The targets in `fuzz/` are these functions and nothing else, so that their corpus is replayed by an ordinary
//! `cargo test` as well (`tests/corpus.rs`).
//!
//! | Target | What the bytes are |
//! |---|---|
//! | `input` | what both peers say, in all protocols and TLS modes; the embedder does what is asked of it |
//! | `operations` | all calls of a session in any order, partial writes, late and stale answers, time |
//! | `imap`, `pop`, `smtp` | what one peer says, while the other may follow a script, so that deep states are near |
//! | `framers` | what both peers say after the login, to filters that get whole commands, responses and messages |
//!
//! `framers`, `input` and the protocols' targets play every dialogue twice, whole and in pieces, and compare. How the bytes are
//! read stands in `fuzzing/format.rs`; [`seeds`] makes such bytes of transcripts.

mod dialogues;
mod format;
mod framers;
mod operations;
mod seeds;

use proxy_proto::Protocol;
pub use seeds::{scripts, seeds};

/// The names of all targets.
pub const TARGETS: [&str; 6] = ["input", "operations", "imap", "pop", "smtp", "framers"];

/// Runs a target on one input.
///
/// # Panics
/// Where the session breaks a promise, or there is no such target.
pub fn run(target: &str, data: &[u8]) {
    match target {
        "input" => dialogues::input(data),
        "operations" => operations::operations(data),
        "imap" => dialogues::grammar(Protocol::Imap, data),
        "pop" => dialogues::grammar(Protocol::Pop, data),
        "smtp" => dialogues::grammar(Protocol::Smtp, data),
        "framers" => framers::framers(data),
        other => panic!("there is no target {other:?}"),
    }
}

fn target_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "imap",
        Protocol::Pop => "pop",
        Protocol::Smtp => "smtp",
    }
}
