//! Replays every transcript whole, byte by byte and in chunks of 2 to 64 bytes.

use harness::transcript::{Transcript, parse, replay};
use std::{fs, path::Path};

/// Chunk sizes: everything at once, then 1 to 64.
fn sizes() -> impl Iterator<Item = usize> {
    std::iter::once(usize::MAX).chain(1..=64)
}

/// The transcripts of one folder, in the order of their names.
fn load(folder: &str) -> Vec<Transcript> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut names: Vec<String> = fs::read_dir(base.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".txt"))
        .collect();
    names.sort();
    names
        .iter()
        .map(|name| {
            let name = format!("{folder}/{name}");
            let text = fs::read_to_string(base.join(&name)).unwrap();
            parse(&name, &text).unwrap_or_else(|why| panic!("{why}"))
        })
        .collect()
}

fn replay_all(folder: &str) {
    let transcripts = load(folder);
    assert!(!transcripts.is_empty());
    let mut failures = Vec::new();
    for transcript in &transcripts {
        assert!(
            transcript.commented,
            "{}: say in a comment where it comes from",
            transcript.name
        );
        let runs = sizes().flat_map(|size| [(size, false), (size, true)]);
        let failed: Vec<String> = runs
            .filter_map(|(size, dialogue)| replay(transcript, size, dialogue).err())
            .collect();
        if let Some(first) = failed.first() {
            failures.push(format!(
                "{first}\n  ({} of 130 replays failed)",
                failed.len()
            ));
        }
    }
    println!(
        "{folder}: {} transcripts, {} failed",
        transcripts.len(),
        failures.len()
    );
    assert!(
        failures.is_empty(),
        "{} of {} transcripts failed\n\n{}\n",
        failures.len(),
        transcripts.len(),
        failures.join("\n\n")
    );
}

#[test]
fn imap() {
    replay_all("imap");
}

#[test]
fn pop() {
    replay_all("pop");
}

#[test]
fn smtp() {
    replay_all("smtp");
}
