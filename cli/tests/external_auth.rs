//! `--external-auth` with standard input from a pipe, as scripts and the Python tool's users have it.

mod common;

use common::{Dialogue, Running, free_port};
use sandbox::{Sandbox, client};
use std::io::Write;

/// A configuration in front of the sandbox, on this port.
fn configuration(sandbox: &Sandbox, port: u16) -> String {
    let mut text = format!(
        "[IMAP-{port}]\nlocal_address = 127.0.0.1\nserver_address = localhost\nserver_port = {}\nserver_ca_path = {}\n\n",
        sandbox.imaps().port(),
        sandbox.ca_file().display(),
    );
    for account in ["ada@example.org", "brook@example.org"] {
        text += &format!(
            "[{account}]\npermission_url = {}\ntoken_url = {}\noauth2_scope = mail\nclient_id = {}\n\n",
            sandbox.authorize_url(),
            sandbox.token_url(),
            client::PUBLIC.id,
        );
    }
    text
}

/// The authorisation URL on the log line that names the account.
fn url<'a>(log: &'a str, account: &str) -> &'a str {
    let line = log
        .lines()
        .find(|line| line.contains(&format!("{account} needs your permission")))
        .unwrap();
    line.split_whitespace()
        .find(|word| word.starts_with("http://localhost:"))
        .unwrap()
}

#[test]
fn pasted_addresses_finish_the_logins_that_they_belong_to() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let port = free_port();
    let files = [("emailproxy.config", configuration(&sandbox, port))];
    let mut running = Running::start(
        &["--no-gui", "--external-auth", "--cache-store", "tokens"],
        &files.each_ref().map(|(name, text)| (*name, text.as_str())),
    );
    running.wait_for("accounts configured", 1);

    let mut clients = ["ada@example.org", "brook@example.org"].map(|account| {
        let mut imap = Dialogue::connect(port);
        imap.until("* OK");
        imap.say(&format!("a LOGIN {account} local-password"));
        imap
    });
    let log = running.wait_for("needs your permission", 2);
    let person = sandbox.person();
    let ends = ["brook@example.org", "ada@example.org"].map(|account| {
        let visit = person.approve(url(&log, account)).unwrap();
        // Nobody listens on the redirect_uri, so the browser shows an error and the address.
        assert!(visit.url.starts_with("http://localhost/?"), "{}", visit.url);
        visit.url
    });
    let mut terminal = running.child.stdin.take().unwrap();
    terminal
        .write_all(b"http://localhost/?code=forged&state=forged\n")
        .unwrap();
    running.wait_for("a pasted address was refused", 1);
    for address in &ends {
        writeln!(terminal, "{address}").unwrap();
    }
    for imap in &mut clients {
        assert!(imap.until("a ").lines().last().unwrap().starts_with("a OK"));
    }
    assert!(running.end().success());

    let tokens = std::fs::read_to_string(running.folder.path().join("tokens")).unwrap();
    assert!(
        tokens.contains("[ada@example.org]") && tokens.contains("[brook@example.org]"),
        "{tokens}"
    );
    let config = std::fs::read_to_string(running.folder.path().join("emailproxy.config")).unwrap();
    assert_eq!(config, files[0].1);
    let log = running.log();
    for secret in ["local-password", "code=", "access_token"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
