//! What the tests of this crate share: the driver that plays both peers of a [`proxy_proto::Session`] in memory,
//! and the transcripts that are replayed on it.
//!
//! - [`driver`]: one session, two byte streams, virtual time. It keeps the rules of a driver (budgets, the order of
//!   flushing and events) and reports a session that breaks its own.
//! - [`transcript`]: the files under `transcripts/`, their format, and how they are replayed and compared.
//! - [`fuzzing`]: what the fuzz targets run, and their seeds.
//! - `end_to_end`: the built program between a sandbox and clients, over real sockets.
//! - [`simulation`]: plausible and hostile dialogues made from a stream of choices, for the property tests.
//!
//! Transcripts and properties need nothing but the state machines: `cargo test -p emailproxy-tests
//! --no-default-features`. The features `loopback` and `end-to-end` (on by default) bring in the runtimes, and the rest of the
//! workspace.

#![forbid(unsafe_code)]

pub mod driver;
#[cfg(feature = "end-to-end")]
pub mod end_to_end;
pub mod fuzzing;
pub mod simulation;
pub mod transcript;
