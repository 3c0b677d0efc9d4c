//! Several processes and one file.

use super::{account, again, commented_configuration, set};
use oauth::{
    document::Document,
    store::{FileStore, Store},
};
use std::fs;

const VARIABLE: &str = "STORE_TEST_WRITER";
const WRITERS: usize = 4;
const ROUNDS: usize = 25;

#[test]
fn processes_lose_nothing() {
    if let Ok(value) = std::env::var(VARIABLE) {
        let (writer, path) = value.split_once(':').unwrap();
        return write(writer.parse().unwrap(), path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emailproxy.config");
    fs::write(&path, commented_configuration()).unwrap();
    let start = |writer: usize| {
        let value = format!("{writer}:{}", path.display());
        again("processes::processes_lose_nothing", VARIABLE, &value)
            .spawn()
            .unwrap()
    };
    let writers: Vec<_> = (0..WRITERS).map(start).collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let document = Document::parse(&fs::read(&path).unwrap()).ok().unwrap();
    for (writer, option) in OPTIONS.into_iter().enumerate() {
        for round in 0..ROUNDS {
            let entry = document.own(&account(round), option);
            let value = entry.map(|entry| entry.value().to_owned());
            assert_eq!(
                value,
                Some(format!("{writer}-{round}")),
                "writer {writer}, round {round}"
            );
        }
    }
}

/// Each process has an option of its own in every section, so that all of them meet in all sections.
const OPTIONS: [&str; WRITERS] = [
    "token_salt",
    "access_token",
    "refresh_token",
    "access_token_expiry",
];

fn write(writer: usize, path: &str) {
    let store = FileStore::configuration(path);
    for round in 0..ROUNDS {
        store
            .save(
                &account(round),
                &[set(OPTIONS[writer], format!("{writer}-{round}"))],
            )
            .unwrap();
    }
}
