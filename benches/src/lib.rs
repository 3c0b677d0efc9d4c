//! Benchmarks of emailproxy. `cargo bench -p emailproxy-benches` runs them all.
//!
//! - `login`: one session of each protocol, from the greeting to the relay: framing, parsing, rebuilding, encoding.

#![forbid(unsafe_code)]
