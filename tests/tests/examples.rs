//! The examples that want a mail server, as an embedder would try them.
#![cfg(feature = "end-to-end")]

use harness::end_to_end::{Client, USER, example};
use sandbox::{Options, Protocol, Sandbox};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
};

const PASSWORD: &str = "local password";

#[test]
fn one_session_is_served() {
    let sandbox = Sandbox::start(Options::default()).expect("the sandbox starts");
    let token = sandbox.issue_token(USER).expect("the account exists");
    let mut example = Command::new(example("one_session"))
        .args(["localhost", &sandbox.imaps().port().to_string(), USER])
        .env("SSL_CERT_FILE", sandbox.ca_file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let mut secrets = example.stdin.take().expect("a pipe was asked for");
    write!(secrets, "{PASSWORD}\n{token}\n").expect("it reads");
    drop(secrets);
    let mut said = BufReader::new(example.stdout.take().expect("a pipe was asked for"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it says where it listens");
    let port = line
        .trim_end()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());

    let mut client = Client::connect(Protocol::Imap, port.expect("a port is named"));
    client.greet();
    let answer = client.login("another password");
    assert!(client.is_refusal(&answer), "{answer}");
    let answer = client.login(PASSWORD);
    assert!(client.is_success(&answer), "{answer}");
    client.work();
    client.command("LOGOUT");
    assert_eq!(client.rest(), b"");
    drop(client);

    let mut end = String::new();
    said.read_to_string(&mut end).expect("it says how it ended");
    let status = example.wait().expect("it ends");
    assert!(status.success(), "{status}");
    assert!(end.contains(" bytes up, "), "{end}");
    assert!(!end.contains(&token) && !line.contains(&token));
}
