//! `kill -9` in the middle of saves.

use super::{account, again, commented_configuration, set};
use oauth::{
    document::Document,
    store::{Change, FileStore, Saved, Store},
};
use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::Stdio,
    time::Duration,
};

const VARIABLE: &str = "STORE_TEST_VICTIM";
const NEEDED: usize = 1000;
const SECTION: usize = 17;
const WRITTEN: [&str; 4] = [
    "token_salt",
    "access_token",
    "access_token_expiry",
    "refresh_token",
];

/// Kills a process that saves in a tight loop, until enough kills have landed inside a save that changes the file. After
/// each the file is whole, all the person's bytes are there, and the tokens are those of the save that was going on or
/// of the one before, never a mixture.
#[test]
fn a_killed_writer_leaves_the_old_tokens_or_the_new() {
    if let Ok(value) = std::env::var(VARIABLE) {
        let (first, path) = value.split_once(':').unwrap();
        return write(first.parse().unwrap(), path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emailproxy.config");
    let clean = commented_configuration();
    fs::write(&path, &clean).unwrap();
    let (mut landed, mut new, mut kills, mut next, mut there) = (0, 0, 0, 1, 0);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    while landed < NEEDED {
        kills += 1;
        assert!(
            kills < NEEDED * 20,
            "only {landed} of {kills} kills landed inside a save"
        );
        let value = format!("{next}:{}", path.display());
        let mut victim = again(
            "killed::a_killed_writer_leaves_the_old_tokens_or_the_new",
            VARIABLE,
            &value,
        )
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut marks = victim.stderr.take().unwrap();
        let mut seen = [0; 1];
        marks.read_exact(&mut seen).unwrap();
        // Not to wait for anything: to be at a place that nobody has chosen.
        std::thread::sleep(Duration::from_micros(random.below(12_000)));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let mut rest = vec![seen[0]];
        marks.read_to_end(&mut rest).unwrap();
        let (begun, ended) = marks_of(&String::from_utf8(rest).unwrap(), there);

        let text = fs::read_to_string(&path).unwrap();
        let found = check(&text, &clean, &path);
        assert!(
            found == ended || found == begun,
            "found {found}; {begun} begun, {ended} ended"
        );
        if begun > ended {
            landed += 1;
            new += usize::from(found == begun);
        }
        (next, there) = (begun + 1, found);
    }
    println!(
        "{landed} of {kills} kills landed inside a changing save; {new} of them after its rename"
    );
    assert!(new > 0 && new < landed, "both outcomes occur");
}

/// The last save that was begun and the last that ended; `there`: whose tokens were there before.
fn marks_of(marks: &str, there: u64) -> (u64, u64) {
    let (mut begun, mut ended) = (there, there);
    // A mark is one write of less than a pipe's atomic size; a mark cut short cannot be.
    for mark in marks.lines() {
        match mark.split_once(' ') {
            Some(("begin", number)) => begun = number.parse().unwrap(),
            Some(("end", number)) => ended = number.parse().unwrap(),
            _ => panic!("the writer said {mark}"),
        }
    }
    (begun, ended)
}

/// The number of the save whose tokens are there.
fn check(text: &str, clean: &str, path: &Path) -> u64 {
    let mut document = Document::parse(text.as_bytes())
        .unwrap_or_else(|errors| panic!("the file is not whole: {errors:?}"));
    let saved = FileStore::configuration(path)
        .load(&account(SECTION))
        .unwrap();
    let number = saved
        .token_salt
        .as_deref()
        .map_or(0, |salt| salt[4..].parse().unwrap());
    if number > 0 {
        let mut expected = Saved::default();
        expected.apply(&tokens(number));
        assert!(saved == expected, "a mixture of saves");
    }
    for option in WRITTEN {
        document.remove(&account(SECTION), option).unwrap();
    }
    assert_eq!(document.text(), clean);
    number
}

/// Tokens of many lengths, so that everything behind them moves.
fn tokens(number: u64) -> Vec<Change> {
    let long = "t".repeat(1 + (number % 7) as usize * 300);
    vec![
        set(WRITTEN[0], format!("salt{number}")),
        set(WRITTEN[1], format!("v1:{long}{number}")),
        set(WRITTEN[2], format!("{}", 1_700_000_000 + number)),
        set(WRITTEN[3], format!("v1:{number}{long}")),
    ]
}

fn write(first: u64, path: &str) {
    let store = FileStore::configuration(path);
    let mut marks = std::io::stderr();
    for number in first.. {
        marks
            .write_all(format!("begin {number}\n").as_bytes())
            .unwrap();
        store.save(&account(SECTION), &tokens(number)).unwrap();
        marks
            .write_all(format!("end {number}\n").as_bytes())
            .unwrap();
    }
}

/// Marsaglia's xorshift: good enough to choose moments.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
