//! Replays the fuzzers' corpus, and the transcripts and scripts it grew from, through the functions that they run.

use harness::fuzzing::{TARGETS, run, scripts, seeds};
use harness::transcript::all;
use proxy_proto::Protocol;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fs, path::Path};

/// Runs the inputs and names those that failed.
fn replay(inputs: impl IntoIterator<Item = (String, &'static str, Vec<u8>)>) -> usize {
    let mut count = 0;
    let mut failed = Vec::new();
    for (name, target, data) in inputs {
        count += 1;
        if catch_unwind(AssertUnwindSafe(|| run(target, &data))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
    count
}

#[test]
fn corpus() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for target in TARGETS {
        let mut inputs = Vec::new();
        for entry in fs::read_dir(base.join(target)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            inputs.push((name, target, fs::read(path).unwrap()));
        }
        inputs.sort();
        let count = replay(inputs);
        println!("{target}: {count} inputs");
        assert!(count > 50, "the corpus of {target} is missing");
    }
}

#[test]
fn transcripts() {
    let mut inputs = Vec::new();
    for transcript in all().unwrap() {
        for (target, data) in seeds(&transcript) {
            inputs.push((format!("{target}: {}", transcript.name), target, data));
        }
    }
    assert!(replay(inputs) > 500);
}

#[test]
fn client_scripts() {
    let mut inputs = Vec::new();
    for protocol in [Protocol::Imap, Protocol::Pop, Protocol::Smtp] {
        for (at, (target, data)) in scripts(protocol).into_iter().enumerate() {
            let name = format!("{target}: {} script {at}", protocol.name());
            inputs.push((name, target, data));
        }
    }
    replay(inputs);
}
