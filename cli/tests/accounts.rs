//! `passwd` and `encrypt-secret`, as they are called.

use oauth::{
    crypt::Kdf,
    settings::TokenFormat,
    store::{Change, FileStore, Saved, Store},
};
use proxy_proto::Secret;
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

const USER: &str = "user@example.com";
const CONFIG: &str = "# mine\n[IMAP-1993]\nserver_address = mail.example\nserver_port = 993\n\
    [user@example.com]\ntoken_url = https://p.example/token\nclient_id = id\noauth2_scope = mail\n\
    oauth2_flow = client_credentials\nclient_secret = cl1ent\n\n; the end\n";

/// Runs the command in `folder` with these lines on standard input.
fn emailproxy(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_emailproxy"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // a command that refuses before it reads closes the pipe
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(text).unwrap();
    for secret in ["one two", "three", "cl1ent", "the t0ken"] {
        assert!(!text.contains(secret), "{text}");
    }
    text
}

/// A folder with a configuration, and tokens under the password `one two` in `store`.
fn folder(store: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("emailproxy.config"), CONFIG).unwrap();
    let kdf = Kdf::fresh(1_000).unwrap();
    let key = kdf.derive(&Secret::new("one two"));
    let sealed = |option: &'static str| Change {
        option,
        value: Some(
            key.seal(USER, option, &Secret::new("the t0ken"), TokenFormat::AesGcm)
                .unwrap(),
        ),
    };
    let plain = |option: &'static str, value: String| Change {
        option,
        value: Some(value),
    };
    let changes = [
        plain("token_salt", kdf.salt_text()),
        plain("token_iterations", kdf.iterations.to_string()),
        sealed("access_token"),
        plain("access_token_expiry", "2000000000".to_owned()),
        sealed("refresh_token"),
    ];
    FileStore::cache(folder.path().join(store))
        .save(USER, &changes)
        .unwrap();
    folder
}

fn saved(folder: &Path, store: &str) -> Saved {
    FileStore::cache(folder.join(store)).load(USER).unwrap()
}

/// What this password opens of a saved value.
fn opens(saved: &Saved, option: &'static str, value: &Option<String>, password: &str) -> bool {
    let salt = saved.token_salt.as_deref().unwrap();
    let kdf = Kdf::parse(salt, saved.token_iterations.as_deref()).unwrap();
    let key = kdf.derive(&Secret::new(password));
    key.open(USER, option, value.as_deref().unwrap()).is_ok()
}

#[test]
fn the_password_is_changed_in_the_configuration_or_in_the_cache() {
    for (store, arguments) in [
        ("emailproxy.config", &["passwd", USER] as &[&str]),
        ("tokens", &["--cache-store", "tokens", "passwd", USER]),
        ("tokens", &["passwd", USER, "--cache-store", "tokens"]),
    ] {
        let folder = folder(store);
        let output = emailproxy(folder.path(), arguments, "one two\r\nthree\n");
        let text = said(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains(USER) && text.contains(store), "{text}");
        let saved = saved(folder.path(), store);
        assert_eq!(saved.token_iterations.as_deref(), Some("1200000"));
        assert!(opens(
            &saved,
            "refresh_token",
            &saved.refresh_token,
            "three"
        ));
        assert!(opens(&saved, "access_token", &saved.access_token, "three"));
        assert!(!opens(
            &saved,
            "refresh_token",
            &saved.refresh_token,
            "one two"
        ));
        let config = fs::read_to_string(folder.path().join("emailproxy.config")).unwrap();
        assert!(config.starts_with("# mine\n") && config.contains("\n; the end\n"));
    }
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let folder = folder("emailproxy.config");
    let path = folder.path().join("emailproxy.config");
    let before = fs::read(&path).unwrap();
    for (arguments, input, code, expected) in [
        (
            &["passwd", USER] as &[&str],
            "wrong\nthree\n",
            1,
            "wrong password",
        ),
        (&["passwd", USER], "", 1, "the old password is missing"),
        (
            &["passwd", USER],
            "one two\n",
            1,
            "the new password, behind the old one, is missing",
        ),
        (
            &["passwd", "x@example.com"],
            "one two\nthree\n",
            2,
            "there is no account x@example.com",
        ),
        (
            &["passwd", "@example.com"],
            "one two\nthree\n",
            2,
            "catch-all",
        ),
        (&["passwd"], "", 2, "ACCOUNT"),
        (&["passwd", USER, "one-two"], "", 2, "unexpected argument"),
        (&["passwd", USER, "--config-file", "none"], "", 2, "none"),
        (
            &["passwd", USER, "--cache-store", "empty"],
            "one two\nthree\n",
            0,
            "changed",
        ),
        (&["encrypt-secret", USER], "other\n", 1, "wrong password"),
        (
            &["encrypt-secret", "x@example.com"],
            "three\n",
            2,
            "no section [x@example.com]",
        ),
    ] {
        let output = emailproxy(folder.path(), arguments, input);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert_eq!(fs::read(&path).unwrap(), before, "{arguments:?}");
    }
}

#[test]
fn a_client_secret_is_encrypted_beforehand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emailproxy.config");
    fs::write(&path, CONFIG).unwrap();
    let output = emailproxy(folder.path(), &["encrypt-secret", USER], "three\n");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("SIGHUP"), "{text}");
    let config = fs::read_to_string(&path).unwrap();
    assert!(!config.contains("cl1ent") && config.starts_with("# mine\n"));
    let saved = saved(folder.path(), "emailproxy.config");
    let secret = &saved.client_secret_encrypted;
    assert!(opens(&saved, "client_secret_encrypted", secret, "three"));
    let output = emailproxy(folder.path(), &["encrypt-secret", USER], "three\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("encrypted already"));
}

#[test]
fn the_help_says_how_passwords_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["passwd", "encrypt-secret"] {
        let text = said(&emailproxy(folder.path(), &[command, "--help"], ""));
        assert!(
            text.contains("standard input") && text.contains("terminal"),
            "{text}"
        );
        assert!(text.to_lowercase().contains("exit codes"), "{text}");
    }
    let text = said(&emailproxy(folder.path(), &["--help"], ""));
    assert!(
        text.contains("passwd") && text.contains("encrypt-secret"),
        "{text}"
    );
}
