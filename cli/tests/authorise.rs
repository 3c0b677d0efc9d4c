//! `authorise` and `accounts`: by themselves, and beside a running proxy.

mod common;

use common::{Dialogue, Running, free_port};
use sandbox::{Sandbox, client};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

const ADA: &str = "ada@example.org";
const PASSWORD: &str = "a local password";

fn configuration(sandbox: &Sandbox, port: u16, account: &str) -> String {
    format!(
        "# mine\n[IMAP-{port}]\nlocal_address = 127.0.0.1\nserver_address = localhost\nserver_port = {}\nserver_ca_path = {}\n\n\
         [{ADA}]\ntoken_url = {}\nclient_id = {}\n{account}\n",
        sandbox.imaps().port(),
        sandbox.ca_file().display(),
        sandbox.token_url(),
        client::PUBLIC.id,
    )
}

fn by_code(sandbox: &Sandbox, redirect: u16) -> String {
    format!(
        "permission_url = {}\nredirect_uri = http://localhost:{redirect}\noauth2_scope = mail offline_access",
        sandbox.authorize_url()
    )
}

/// A command in the folder, which is its runtime folder too.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emailproxy"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// `authorise` while it runs.
struct Authorise {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl Authorise {
    fn start(folder: &Path, arguments: &[&str]) -> Authorise {
        let arguments: Vec<&str> = ["authorise", ADA]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let mut child = command(folder, &arguments).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut authorise = Authorise {
            child,
            stderr,
            seen: String::new(),
        };
        authorise.say(PASSWORD);
        authorise
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line that begins so, without the blanks around it.
    fn line(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).unwrap();
            self.seen.push_str(&line);
            assert!(read > 0, "it ended without `{beginning}`: {}", self.seen);
            let line = line.trim();
            if line.starts_with(beginning) {
                return line.to_owned();
            }
        }
    }

    /// How it ended, and what it said on both outputs.
    fn end(self) -> (ExitStatus, String) {
        let Authorise {
            child,
            stderr,
            mut seen,
        } = self;
        let output = child.wait_with_output().unwrap();
        for line in stderr.lines() {
            seen += &(line.unwrap() + "\n");
        }
        seen += std::str::from_utf8(&output.stdout).unwrap();
        for secret in [PASSWORD, "?code=", "&code="] {
            assert!(!seen.contains(secret), "{seen}");
        }
        (output.status, seen)
    }
}

fn accounts(folder: &Path) -> Value {
    let output = command(folder, &["accounts", "--json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The whole of what a mail client sees.
fn log_in(port: u16, password: &str) -> String {
    let mut imap = Dialogue::connect(port);
    imap.until("* OK");
    imap.say(&format!("a LOGIN {ADA} \"{password}\""));
    imap.until("a ").lines().last().unwrap().to_owned()
}

#[test]
fn without_a_proxy_the_browser_comes_back_to_the_command() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (port, redirect) = (free_port(), free_port());
    let config = folder.path().join("emailproxy.config");
    fs::write(
        &config,
        configuration(&sandbox, port, &by_code(&sandbox, redirect)),
    )
    .unwrap();

    let before = accounts(folder.path());
    assert_eq!(before["running"], false);
    assert_eq!(before["accounts"][0]["account"], ADA);
    assert_eq!(before["accounts"][0]["state"], "unauthorised");
    assert_eq!(before["accounts"][0]["password_set"], false);

    let mut authorise = Authorise::start(folder.path(), &["--local-server-auth"]);
    let url = authorise.line("http://");
    let visit = sandbox.person().approve(&url).unwrap();
    assert_eq!(visit.status, Some(200), "{}", visit.body);
    assert!(visit.body.contains("Signed in"), "{}", visit.body);
    let (status, seen) = authorise.end();
    assert!(status.success(), "{seen}");
    assert!(
        seen.contains(&format!("{ADA} is authorised until ")),
        "{seen}"
    );
    assert!(seen.contains("asked for at the command line"), "{seen}");

    let text = fs::read_to_string(&config).unwrap();
    assert!(
        text.starts_with("# mine\n") && text.contains("refresh_token = "),
        "{text}"
    );
    let after = accounts(folder.path());
    let account = &after["accounts"][0];
    assert_eq!(account["state"], "authorised");
    assert_eq!(
        (&account["refreshable"], &account["password_set"]),
        (&true.into(), &true.into())
    );
    assert!(
        account["expires"].as_str().unwrap().ends_with('Z'),
        "{account}"
    );

    // Once more: what is saved serves, unless it is to be fresh.
    let (status, seen) = Authorise::start(folder.path(), &[]).end();
    assert!(status.success() && !seen.contains("http://"), "{seen}");
    let mut fresh = Authorise::start(folder.path(), &["--fresh", "--local-server-auth"]);
    let visit = sandbox.person().deny(&fresh.line("http://")).unwrap();
    assert!(visit.body.contains("Not signed in"), "{}", visit.body);
    let (status, seen) = fresh.end();
    assert_eq!(status.code(), Some(1), "{seen}");
    assert_eq!(
        accounts(folder.path())["accounts"][0]["state"],
        "authorised",
        "it keeps what it had"
    );

    let table = command(folder.path(), &["accounts"]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("No proxy is running") && table.contains("authorised"),
        "{table}"
    );
}

#[test]
fn unknown_accounts_and_missing_passwords_are_named() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let account = by_code(&sandbox, free_port());
    let config = folder.path().join("emailproxy.config");
    fs::write(&config, configuration(&sandbox, free_port(), &account)).unwrap();
    for (arguments, code, text) in [
        (
            ["authorise", "nobody@example.org"],
            2,
            "there is no account nobody@example.org",
        ),
        (["authorise", ADA], 1, "the password is missing"),
    ] {
        let output = command(folder.path(), &arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(text), "{said}");
    }
    fs::remove_file(&config).unwrap();
    let output = command(folder.path(), &["accounts"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn beside_a_proxy_the_address_is_pasted_and_the_proxy_has_the_token() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let (port, redirect) = (free_port(), free_port());
    let config = configuration(&sandbox, port, &by_code(&sandbox, redirect));
    let files = [("emailproxy.config", &*config)];
    // Its own receiver cannot listen, and nobody sits at its terminal: the command can answer all the same.
    let taken = std::net::TcpListener::bind(("127.0.0.1", redirect)).unwrap();
    let mut running = Running::start(&["--no-gui"], &files);
    running.wait_for("1 account configured", 1);
    let folder = running.folder.path().to_owned();

    let mut authorise = Authorise::start(&folder, &["--external-auth"]);
    let url = authorise.line("http://");
    let told = accounts(&folder);
    assert_eq!(
        (&told["running"], &told["accounts"][0]["state"]),
        (&true.into(), &"waiting".into())
    );
    authorise.say("http://localhost/?code=forged&state=forged");
    authorise.line("That address belongs to no sign-in");
    // Nobody listens on the redirect_uri any more, so the browser shows an error and the address.
    drop(taken);
    let visit = sandbox.person().approve(&url).unwrap();
    assert_eq!(visit.status, None, "{}", visit.url);
    authorise.say(&visit.url);
    let (status, seen) = authorise.end();
    assert!(status.success(), "{seen}");
    assert!(seen.contains(&format!("{ADA} is signed in.")), "{seen}");

    assert!(log_in(port, PASSWORD).starts_with("a OK"));
    let told = accounts(&folder);
    assert_eq!(told["accounts"][0]["state"], "authorised");
    assert!(told["accounts"][0]["last_used"].is_string(), "{told}");
    assert_eq!(told["accounts"][0]["last_error"], Value::Null);
    assert!(running.end().success());
    assert_eq!(
        accounts(&folder)["running"],
        false,
        "the socket goes with the proxy"
    );
    assert!(!running.log().contains(PASSWORD));
}

#[test]
fn beside_a_proxy_a_device_code_is_shown_by_the_command() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let port = free_port();
    let account = format!(
        "permission_url = {}\noauth2_flow = device\noauth2_scope = mail offline_access",
        sandbox.device_url()
    );
    let config = configuration(&sandbox, port, &account);
    let mut running = Running::start(&["--no-gui"], &[("emailproxy.config", &config)]);
    running.wait_for("1 account configured", 1);
    let folder = running.folder.path().to_owned();
    let mut authorise = Authorise::start(&folder, &[]);
    authorise.line("on any device and enter the code");
    let url = authorise.line("http://");
    sandbox.person().approve(&url).unwrap();
    let (status, seen) = authorise.end();
    assert!(status.success(), "{seen}");
    assert!(log_in(port, PASSWORD).starts_with("a OK"));
    assert!(running.end().success());
}
