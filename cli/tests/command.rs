//! The built command, as a user or a service manager meets it.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs the command in `folder` to its end.
fn emailproxy(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emailproxy"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What it said on standard error, having ended with exit code 2 and without a word on standard output.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = emailproxy(folder, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    said
}

fn contains_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}

#[test]
fn the_version_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = emailproxy(folder.path(), &["--version"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let first = concat!("emailproxy ", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines.next(), Some(first));
    let facts: Vec<&str> = lines
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .collect();
    let expected = [
        "commit", "target", "compiler", "features", "runtimes", "TLS",
    ];
    assert_eq!(facts, expected, "{text}");
    contains_all(&text, &["compiler: rustc 1.", "TLS: rustls 0."]);
    let short = emailproxy(folder.path(), &["-V"]);
    assert_eq!(
        String::from_utf8(short.stdout).unwrap(),
        format!("{first}\n")
    );
}

#[test]
fn completions_are_printed_for_each_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = emailproxy(folder.path(), &["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        contains_all(&script, &["encrypt-secret", "cache-store", "port-base"]);
    }
    contains_all(
        &refused(folder.path(), &["completions", "tcsh"]),
        &["tcsh", "bash"],
    );
}

#[test]
fn the_manual_page_has_what_the_help_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let output = emailproxy(folder.path(), &["man"]);
    assert!(output.status.success());
    let page = String::from_utf8(output.stdout).unwrap();
    contains_all(
        &page,
        &[
            ".TH emailproxy 1 \" \" \"emailproxy ",
            ".SH COMMANDS",
            ".SH FILES",
            ".SH SIGNALS",
            ".SH \"EXIT STATUS\"",
            ".SH ENVIRONMENT",
            "cache\\-store",
            "passwd",
        ],
    );
    let output = emailproxy(folder.path(), &["man", "passwd"]);
    assert!(output.status.success());
    let page = String::from_utf8(output.stdout).unwrap();
    contains_all(
        &page,
        &[".TH emailproxy-passwd 1", "ACCOUNT", "standard input"],
    );
    contains_all(
        &refused(folder.path(), &["man", "nonsense"]),
        &["nonsense", "passwd"],
    );
}

#[test]
fn help_names_every_option_and_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let output = emailproxy(folder.path(), &["--help"]);
    assert!(output.status.success());
    contains_all(
        &String::from_utf8(output.stdout).unwrap(),
        &[
            "--no-gui",
            "--external-auth",
            "--local-server-auth",
            "--config-file",
            "--cache-store",
            "--runtime",
            "--log-file",
            "--debug",
            "--version",
            "demo",
            "SIGHUP",
        ],
    );
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    contains_all(&refused(folder.path(), &["--config"]), &["--config-file"]);
    contains_all(&refused(folder.path(), &["--nonsense"]), &["--nonsense"]);
}

#[test]
fn a_missing_file_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    contains_all(
        &refused(folder.path(), &[]),
        &[
            "emailproxy.config: there is no such file",
            "emailproxy demo",
        ],
    );
    contains_all(
        &refused(folder.path(), &["--config-file", "/nowhere/x.config"]),
        &["/nowhere/x.config"],
    );
}

#[test]
fn every_problem_of_a_broken_file_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[IMAP-1993]\nserver_address = imap.example\nserver_address = other.example\nnonsense\n[IMAP-1993]\n";
    fs::write(folder.path().join("emailproxy.config"), text).unwrap();
    let said = refused(folder.path(), &[]);
    contains_all(
        &said,
        &[
            "emailproxy.config:3:",
            "emailproxy.config:4:",
            "emailproxy.config:5:",
        ],
    );
}

#[test]
fn nothing_left_to_serve_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "[IMAP-1993]\nserver_port = 993\n\n[a@b.example]\ntoken_url = https://b.example/token\n";
    fs::write(folder.path().join("mine.config"), text).unwrap();
    let said = refused(folder.path(), &["--config-file", "mine.config"]);
    contains_all(&said, &["mine.config:1", "[IMAP-1993]", "server_address"]);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "# first\n[POP-{port}]\nserver_address = pop.example\nserver_port = 995\nlocal_address = 127.0.0.1\n"
    );
    fs::write(folder.path().join("emailproxy.config"), text).unwrap();
    let said = refused(folder.path(), &[]);
    contains_all(
        &said,
        &[
            "emailproxy.config:2: ",
            &format!("[POP-{port}]"),
            &format!("port {port}"),
            "in use",
        ],
    );
}

#[test]
fn a_server_whose_certificates_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = "server_address = mail.example\nserver_port = 1\nlocal_address = 127.0.0.1\n";
    let text = format!(
        "[IMAP-61993]\n{server}server_ca_path = missing-ca.pem\n\n[POP-61995]\n{server}local_certificate_path = missing.pem\nlocal_key_path = missing.key\n",
    );
    fs::write(folder.path().join("emailproxy.config"), text).unwrap();
    let said = refused(folder.path(), &[]);
    contains_all(
        &said,
        &[
            "[IMAP-61993]",
            "missing-ca.pem",
            "[POP-61995]",
            "missing.pem",
            "no server",
        ],
    );
}

#[cfg(feature = "aws")]
#[test]
fn a_secret_that_cannot_be_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    contains_all(
        &refused(folder.path(), &["--cache-store", "aws:no such name"]),
        &["--cache-store", "aws:no such name", "ARN"],
    );
}

#[cfg(not(feature = "aws"))]
#[test]
fn tokens_in_aws_are_refused_and_not_put_into_a_file_of_that_name() {
    let folder = tempfile::tempdir().unwrap();
    contains_all(
        &refused(folder.path(), &["--cache-store", "aws:mail"]),
        &["aws:mail", "a file"],
    );
    assert!(!folder.path().join("aws:mail").exists());
}

#[test]
fn with_a_log_file_whoever_starts_it_still_sees_why_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let said = refused(folder.path(), &["--log-file", "proxy.log"]);
    contains_all(&said, &["there is no such file"]);
    contains_all(
        &fs::read_to_string(folder.path().join("proxy.log")).unwrap(),
        &["there is no such file"],
    );
    contains_all(
        &refused(folder.path(), &["--log-file", "/nowhere/proxy.log"]),
        &["/nowhere/proxy.log", "--log-file"],
    );
}
