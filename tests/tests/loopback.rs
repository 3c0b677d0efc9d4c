//! The transcripts once more, through both runtimes: real listeners, sockets, handshakes and logins.
//!
//! How far the other side has read is known on Linux alone, and some transcripts need to know.
#![cfg(all(feature = "loopback", target_os = "linux"))]

use harness::transcript::{
    Transcript, all,
    loopback::{Kind, Theatre},
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Most of a session is waiting.
const AT_ONCE: usize = 24;

const TIME: &str = "time passes in it, which a runtime takes from the clock";
const STALE: &str = "a login is answered twice, which a runtime does not do";

/// The transcripts that no runtime can play, and why.
const UNPLAYABLE: [(&str, &str); 15] = [
    ("imap/keepalive_during_consent.txt", TIME),
    ("imap/shutdown_in_relay.txt", TIME),
    ("imap/shutdown_with_a_cut_command_held.txt", TIME),
    ("imap/stale_answer.txt", STALE),
    ("imap/timeout_authenticate.txt", TIME),
    ("imap/timeout_before_login.txt", TIME),
    ("imap/timeout_consent.txt", TIME),
    ("imap/timeout_greeting.txt", TIME),
    ("imap/timeout_of_a_cut_command_behind_login.txt", TIME),
    ("pop/client_leaves_during_consent.txt", TIME),
    ("pop/shutdown_while_held_commands_are_settled.txt", TIME),
    ("pop/timeout_greeting.txt", TIME),
    ("smtp/client_leaves_during_consent.txt", TIME),
    ("smtp/timeout_greeting.txt", TIME),
    ("smtp/timeout_of_a_cut_command_behind_login.txt", TIME),
];

fn play_all(kind: Kind) {
    let transcripts = all().unwrap();
    let playable: Vec<&Transcript> = transcripts
        .iter()
        .filter(|transcript| transcript.obstacle().is_none())
        .collect();
    let theatre = Theatre::open().unwrap();
    let next = AtomicUsize::new(0);
    let play = || {
        let mut failures = Vec::new();
        while let Some(transcript) = playable.get(next.fetch_add(1, Ordering::Relaxed)) {
            failures.extend(theatre.play(transcript, kind).err());
        }
        failures
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let players: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(play)).collect();
        let joined = players
            .into_iter()
            .flat_map(|player| player.join().unwrap());
        joined.collect()
    });
    println!("{kind:?}: {} transcripts played", playable.len());
    assert!(
        failures.is_empty(),
        "{} of {} transcripts failed\n\n{}\n",
        failures.len(),
        playable.len(),
        failures.join("\n\n")
    );
}

#[test]
fn over_tasks() {
    play_all(Kind::Tasks);
}

#[test]
fn over_threads() {
    play_all(Kind::Threads);
}

/// One that could be played, or that is new here, has to leave the list, or to enter it.
#[test]
fn what_cannot_be_played_is_listed() {
    let transcripts = all().unwrap();
    let found: BTreeMap<&str, &str> = transcripts
        .iter()
        .filter_map(|transcript| Some((transcript.name.as_str(), transcript.obstacle()?)))
        .collect();
    let listed: BTreeMap<&str, &str> = UNPLAYABLE.into();
    assert_eq!(found, listed);
}
