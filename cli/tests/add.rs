//! `emailproxy add`, as it is called.

use oauth::settings::Settings;
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

mod common;
use common::free_port;

fn add(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_emailproxy"))
        .arg("add")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses before it reads closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it said, having written.
#[track_caller]
fn added(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = add(folder, arguments, input);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert_eq!(text(output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    text(output.stdout)
}

/// What it said, having refused with exit code 2.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = add(folder, arguments, input);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty());
    said
}

fn config(folder: &Path) -> String {
    fs::read_to_string(folder.join("emailproxy.config")).unwrap()
}

#[track_caller]
fn contains_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}

#[test]
fn a_first_account_makes_a_private_file_that_can_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let (imap, smtp) = (free_port().to_string(), free_port().to_string());
    let ports = ["--imap-port", &imap, "--smtp-port", &smtp];
    let arguments = [
        "me@gmail.com",
        "--client-id",
        "my id",
        "--client-secret-stdin",
    ];
    let said = added(
        folder.path(),
        &[&arguments[..], &ports].concat(),
        "my s3cret\n",
    );
    contains_all(
        &said,
        &[
            &format!("IMAP (incoming): host 127.0.0.1, port {imap}, connection security none"),
            &format!("SMTP (outgoing): host 127.0.0.1, port {smtp}"),
            "user name: me@gmail.com",
            "one of your own choice",
            "emailproxy check --connect",
            "emailproxy authorise me@gmail.com",
        ],
    );
    assert!(!said.contains("my s3cret"), "{said}");
    let text = config(folder.path());
    assert_eq!(
        text,
        format!(
            "[IMAP-{imap}]\nserver_address = imap.gmail.com\nserver_port = 993\nlocal_address = 127.0.0.1\n\n\
             [SMTP-{smtp}]\nserver_address = smtp.gmail.com\nserver_port = 465\nlocal_address = 127.0.0.1\n\n\
             [me@gmail.com]\npermission_url = https://accounts.google.com/o/oauth2/auth\n\
             token_url = https://oauth2.googleapis.com/token\noauth2_scope = https://mail.google.com/\n\
             redirect_uri = http://localhost:8080\nuse_pkce = True\nclient_id = my id\nclient_secret = my s3cret\n"
        )
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join("emailproxy.config");
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let loaded = Settings::read(text.as_bytes());
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    assert!(loaded.settings.unwrap().account("me@gmail.com").is_some());
}

#[test]
fn the_sample_keeps_every_byte_and_its_servers_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../emailproxy.config");
    let before = fs::read_to_string(sample).unwrap();
    fs::write(folder.path().join("emailproxy.config"), &before).unwrap();
    let said = added(folder.path(), &["me@hotmail.com", "--client-id", "x"], "");
    contains_all(
        &said,
        &[
            "port 1993",
            "the server [IMAP-1993] that was there",
            "port 1587",
        ],
    );
    let text = config(folder.path());
    let begin = text.find("[me@hotmail.com]").unwrap();
    let section = "[me@hotmail.com]\npermission_url = https://login.microsoftonline.com/common/oauth2/v2.0/authorize\n\
        token_url = https://login.microsoftonline.com/common/oauth2/v2.0/token\n\
        oauth2_scope = https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send offline_access\n\
        redirect_uri = http://localhost:8080\nuse_pkce = True\nclient_id = x\n\n";
    assert!(text[begin..].starts_with(section), "{}", &text[begin..]);
    // Nothing else has changed, and the global options still come behind.
    assert_eq!(text.replace(section, ""), before);
    assert!(text[begin..].contains("\n[emailproxy]\n"));
    let said = refused(folder.path(), &["Me@Hotmail.com", "--client-id", "x"], "");
    contains_all(&said, &["me@hotmail.com is there already", "in line "]);
    assert_eq!(config(folder.path()), text);
}

#[test]
fn device_codes_tenants_and_protocols_are_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "boss@corp.example",
        "--preset",
        "office365",
        "--tenant",
        "1234-abcd",
        "--device",
        "--protocols",
        "pop",
        "--client-id",
        "x",
    ];
    let said = added(folder.path(), &arguments, "");
    contains_all(&said, &["POP (incoming)"]);
    let text = config(folder.path());
    contains_all(
        &text,
        &[
            "server_address = outlook.office365.com\nserver_port = 995\n",
            "permission_url = https://login.microsoftonline.com/1234-abcd/oauth2/v2.0/devicecode\n",
            "token_url = https://login.microsoftonline.com/1234-abcd/oauth2/v2.0/token\n",
            "POP.AccessAsUser.All offline_access\noauth2_flow = device\nclient_id",
        ],
    );
    assert!(
        !text.contains("IMAP") && !text.contains("redirect_uri"),
        "{text}"
    );
}

#[test]
fn ports_that_others_have_are_left_to_them() {
    let folder = tempfile::tempdir().unwrap();
    // One by the file; perhaps more by programs on this machine.
    let text =
        "[POP-3993]\nserver_address = pop.example\nserver_port = 995\nlocal_address = 127.0.0.1\n";
    fs::write(folder.path().join("emailproxy.config"), text).unwrap();
    let arguments = ["me@fastmail.com", "--client-id", "x", "--protocols", "imap"];
    added(folder.path(), &arguments, "");
    let written = config(folder.path());
    let settings = Settings::read(written.as_bytes()).settings.unwrap();
    let imap = settings
        .servers
        .iter()
        .find(|server| server.server_address == "imap.fastmail.com")
        .unwrap();
    assert!(imap.port > 3993, "{written}");
    let other = [
        "you@fastmail.com",
        "--client-id",
        "x",
        "--imap-port",
        "3993",
    ];
    contains_all(
        &refused(folder.path(), &other, ""),
        &["3993", "another server's"],
    );
}

#[test]
fn another_provider_is_named_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let servers = [
        "me@own.example",
        "--imap-server",
        "imap.own.example:143",
        "--smtp-server",
        "smtp.own.example:587",
        "--client-id",
        "x",
    ];
    let said = refused(folder.path(), &servers, "");
    contains_all(&said, &["--permission-url", "--token-url", "--scope"]);
    let provider = [
        "--permission-url",
        "https://id.own.example/authorize",
        "--token-url",
        "https://id.own.example/token",
        "--scope",
        "mail",
    ];
    added(folder.path(), &[&servers[..], &provider].concat(), "");
    let text = config(folder.path());
    assert_eq!(text.matches("server_starttls = True").count(), 2, "{text}");
    contains_all(&text, &["token_url = https://id.own.example/token"]);
    let insecure = [&servers[..], &provider].concat();
    let insecure: Vec<&str> = insecure
        .iter()
        .map(|argument| match *argument {
            "me@own.example" => "you@own.example",
            "https://id.own.example/token" => "http://id.own.example/token",
            other => other,
        })
        .collect();
    contains_all(&refused(folder.path(), &insecure, ""), &["https://"]);
    assert_eq!(config(folder.path()), text);
}

/// Serves this document to whoever asks, once.
fn autoconfig_server(document: String) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/config.xml", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut bytes = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let count = client.read(&mut bytes).unwrap();
            assert!(count > 0);
            request.extend_from_slice(&bytes[..count]);
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{document}",
            document.len()
        );
        client.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, thread)
}

#[test]
fn servers_are_looked_up() {
    let document = |host: &str| {
        format!(
            "<clientConfig version=\"1.1\"><emailProvider id=\"x\">\
             <incomingServer type=\"imap\"><hostname>imap.{host}</hostname><port>993</port><socketType>SSL</socketType></incomingServer>\
             <outgoingServer type=\"smtp\"><hostname>smtp.{host}</hostname><port>465</port><socketType>SSL</socketType></outgoingServer>\
             </emailProvider></clientConfig>"
        )
    };
    // An organisation whose mail is at Google: the provider is known by the servers.
    let folder = tempfile::tempdir().unwrap();
    let (url, server) = autoconfig_server(document("gmail.com"));
    let arguments = [
        "me@own.example",
        "--autoconfig-url",
        &url,
        "--client-id",
        "x",
        "--client-secret-stdin",
    ];
    added(folder.path(), &arguments, "s\n");
    let request = server.join().unwrap();
    assert!(!request.contains("me@own"), "{request}");
    contains_all(
        &config(folder.path()),
        &["imap.gmail.com", "oauth2.googleapis.com"],
    );
    // Without consent to ask the network, nothing is asked.
    contains_all(
        &refused(folder.path(), &["me@other.example", "--client-id", "x"], ""),
        &["other.example is not known", "--yes", "--preset"],
    );
    let (url, server) = autoconfig_server("<html>".to_owned());
    let arguments = ["me@other.example", "--autoconfig-url", &url];
    let output = add(folder.path(), &arguments, "");
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    contains_all(&said, &["no autoconfig document", "--imap-server"]);
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, input, expected) in [
        (&[][..], "", "emailproxy add you@example.com"),
        (&["nonsense"], "", "nonsense cannot be an account's address"),
        (&["me@gmail.com"], "", "--client-id"),
        (&["me@gmail.com"], "", "console.cloud.google.com"),
        (
            &["me@gmail.com", "--client-id", "x"],
            "",
            "--client-secret-stdin",
        ),
        (
            &["me@gmail.com", "--client-id", "x", "--client-secret-stdin"],
            "\n",
            "no secret in its first line",
        ),
        (&["me@x.example", "--preset", "gmx"], "", "fastmail"),
        (
            &["me@gmail.com", "--device", "--client-id", "x"],
            "",
            "device",
        ),
        (&["me@gmail.com", "--tenant", "x"], "", "--tenant"),
        (&["me@x.example", "--imap-server", "nonsense"], "", "HOST"),
        (
            &["me@x.example", "--protocols", "nntp"],
            "",
            "imap, pop and smtp",
        ),
    ] {
        let said = refused(folder.path(), arguments, input);
        let expected = expected.replace("HOST", "host name and a port");
        assert!(said.contains(&expected), "{arguments:?}: {said}");
        assert!(!folder.path().join("emailproxy.config").exists());
    }
    fs::write(folder.path().join("emailproxy.config"), "broken").unwrap();
    contains_all(
        &refused(folder.path(), &["me@aol.com", "--client-id", "x"], ""),
        &["cannot be read", "line 1"],
    );
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "me@aol.com",
        "--client-id",
        "x",
        "--dry-run",
        "--config-file",
        "other",
    ];
    let said = added(folder.path(), &arguments, "");
    contains_all(
        &said,
        &[
            "[me@aol.com]\n",
            "server_address = imap.aol.com",
            "--config-file other",
        ],
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
