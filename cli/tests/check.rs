//! `emailproxy check`, as it is called.

use sandbox::{Options, Protocol, Sandbox, Service};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

mod common;
use common::free_port;

const ACCOUNT: &str = "[user@example.com]\npermission_url = https://p.example/authorize\n\
    token_url = https://p.example/token\nclient_id = id\nclient_secret = s3cret\noauth2_scope = mail\n";

/// Exit code and what was said on standard output.
fn check(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_emailproxy"))
        .arg("check")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("s3cret"), "{said}");
    (output.status.code(), said)
}

fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emailproxy.config");
    fs::write(&path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

fn server(heading: &str, port: u16) -> String {
    format!(
        "[{heading}-{port}]\nserver_address = mail.example\nserver_port = 993\nlocal_address = 127.0.0.1\n"
    )
}

#[track_caller]
fn contains_all(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}

#[test]
fn a_configuration_in_order_is_told_to_be_so() {
    let text = server("IMAP", free_port()) + ACCOUNT + "use_pkce = True\n";
    let (code, said) = check(folder(&text).path(), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        said,
        "emailproxy.config: 1 server, 1 account, 0 errors, 0 warnings\n"
    );
}

#[test]
fn the_sample_has_warnings_and_no_errors() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../emailproxy.config");
    let (code, said) = check(Path::new("."), &["--config-file", sample]);
    assert_eq!(code, Some(0), "{said}");
    contains_all(&said, &["warning: [your.name@gmail.com]", " 0 errors, "]);
}

#[test]
fn every_problem_is_named_with_its_line() {
    let text = server("IMAP", free_port())
        + "allow_from = 10.0.0.1/8\n[POP-x]\nserver_port = 1\n\n"
        + &server("SMTP", free_port())
        + "server_ca_path = nowhere.pem\ncolour = red\n"
        + ACCOUNT
        + "redirect_uri = nonsense\n";
    let folder = folder(&text);
    let (code, said) = check(folder.path(), &[]);
    assert_eq!(code, Some(2), "{said}");
    contains_all(
        &said,
        &[
            "emailproxy.config:5:1: error: [IMAP-",
            "write 10.0.0.0/8",
            "emailproxy.config:6: error: [POP-x]",
            "emailproxy.config:13:1: error: [SMTP-",
            "nowhere.pem",
            "emailproxy.config:14:1: warning: [SMTP-",
            "`redirect_uri` is not a URL",
        ],
    );
    let (code, said) = check(folder.path(), &["--json"]);
    assert_eq!(code, Some(2));
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let problems = report["problems"].as_array().unwrap();
    let found = problems
        .iter()
        .find(|p| p["line"] == 5 && p["severity"] == "error")
        .unwrap();
    assert_eq!(found["column"], 1);
    assert!(found["section"].as_str().unwrap().starts_with("IMAP-"));
    let errors = problems.iter().filter(|p| p["severity"] == "error").count();
    assert_eq!(report["errors"], errors);
}

#[test]
fn options_of_the_proxy_are_named_with_their_lines() {
    let start = server("IMAP", free_port()) + ACCOUNT + "use_pkce = True\n[emailproxy]\n";
    let of = |options: &str| check(folder(&(start.clone() + options)).path(), &[]);
    let (code, said) = of("notify_command = tell 'me\nconsole_address = nowhere:at:all\n");
    assert_eq!(code, Some(2), "{said}");
    contains_all(
        &said,
        &[
            "emailproxy.config:13:1: error: [emailproxy] `notify_command` cannot be run: a quote is not closed",
            "emailproxy.config:14:1: error: [emailproxy] `console_address`",
            "2 errors",
        ],
    );
    let good = format!("console_address = 127.0.0.1:{}\n", free_port());
    for (command, found) in [
        ("no-such-program-here --really", !cfg!(unix)),
        ("/nowhere/at/all", !cfg!(unix)),
        ("sh -c 'exit 0'", true),
    ] {
        let (code, said) = of(&format!("{good}notify_command = {command}\n"));
        assert_eq!(code, Some(0), "{said}");
        let warning =
            "emailproxy.config:14:1: warning: [emailproxy] `notify_command`: there is no program";
        assert_eq!(said.contains(warning), !found, "{said}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_configuration_is_an_error() {
    let empty = tempfile::tempdir().unwrap();
    let (code, said) = check(empty.path(), &[]);
    assert_eq!(code, Some(2));
    contains_all(&said, &["emailproxy.config", "--config-file"]);
    let (code, said) = check(folder("a line\n[x]\nanother\n").path(), &[]);
    assert_eq!(code, Some(2));
    contains_all(
        &said,
        &[
            "emailproxy.config:1:1: error",
            "emailproxy.config:3:1: error",
        ],
    );
}

#[test]
fn what_the_machine_lacks_is_found() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    // An address for documentation (RFC 5737), which no machine has.
    let elsewhere = server("POP", free_port()).replace("127.0.0.1", "192.0.2.1");
    let key = "[robot@example.com]\ntoken_url = https://p.example/token\noauth2_scope = mail\n\
        oauth2_flow = service_account\nclient_id = file\nclient_secret = no-key.json\n";
    let text = server("IMAP", port)
        + &elsewhere
        + key
        + "[jwt@example.com]\ntoken_url = https://p.example/token\n\
        oauth2_scope = mail\noauth2_flow = client_credentials\nclient_id = id\njwt_certificate_path = no.pem\njwt_key_path = no.key\n";
    let (code, said) = check(folder(&text).path(), &["--cache-store", "no-folder/tokens"]);
    assert_eq!(code, Some(2), "{said}");
    contains_all(
        &said,
        &[
            "emailproxy.config:4:1: warning: [IMAP-",
            "the port is in use",
            "emailproxy.config:8:1: error: [POP-",
            "no such address",
            "no-key.json cannot be read",
            "no.pem",
            "the folder no-folder does not exist",
        ],
    );
}

#[test]
fn lines_that_the_python_tool_takes_otherwise_are_named() {
    let text = server("IMAP", free_port())
        + "server_starttls = True\nallow_from = 127.0.0.1\n"
        + &server("SMTP", free_port())
        + ACCOUNT
        + "refresh_token = gAAAAABthis-was-saved-by-it\n";
    let folder = folder(&text);
    let (code, said) = check(folder.path(), &[]);
    assert_eq!(code, Some(0), "{said}");
    contains_all(
        &said,
        &[
            "emailproxy.config:5:1: note: [IMAP-",
            "speaks TLS from the first byte",
            "emailproxy.config:6:1: note: [IMAP-",
            "serves everybody",
            "PKCE is used",
            "token_format = fernet",
            "4 lines that the Python tool takes otherwise",
        ],
    );
    // No secret, and nothing of a token either.
    assert!(!said.contains("this-was-saved"), "{said}");
    let path = folder.path().join("emailproxy.config");
    fs::write(
        &path,
        text + "use_pkce = True\n[emailproxy]\ntoken_format = fernet\n",
    )
    .unwrap();
    let (_, said) = check(folder.path(), &[]);
    assert!(
        !said.contains("PKCE") && !said.contains("keeps the old one"),
        "{said}"
    );
}

/// A configuration for a sandbox's servers and provider.
fn sandboxed(sandbox: &Sandbox) -> tempfile::TempDir {
    let ca = sandbox.ca_file().display();
    let mut text = String::new();
    for (heading, port, starttls) in [
        ("IMAP", sandbox.imaps().port(), false),
        ("IMAP", sandbox.imap().port(), true),
        ("POP", sandbox.pops().port(), false),
        ("POP", sandbox.pop().port(), true),
        ("SMTP", sandbox.smtps().port(), false),
        ("SMTP", sandbox.submission().port(), true),
    ] {
        text += &format!(
            "[{heading}-{}]\nserver_address = localhost\nserver_port = {port}\nserver_starttls = {starttls}\n\
             server_ca_path = {ca}\nlocal_address = 127.0.0.1\n",
            free_port()
        );
    }
    text += &format!(
        "[user@example.com]\npermission_url = {}\ntoken_url = {}\nclient_id = id\noauth2_scope = mail\n",
        sandbox.authorize_url(),
        sandbox.token_url()
    );
    folder(&text)
}

#[test]
fn servers_and_providers_are_tried() {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let folder = sandboxed(&sandbox);
    let (code, said) = check(folder.path(), &["--connect"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("ok, TLS 1.3").count(), 6, "{said}");
    assert_eq!(said.matches("by STARTTLS").count(), 3, "{said}");
    assert_eq!(said.matches("mechanisms: XOAUTH2").count(), 6, "{said}");
    assert_eq!(said.matches("certificate until 20").count(), 6, "{said}");
    assert_eq!(said.matches("ok, it answers (HTTP ").count(), 2, "{said}");
    contains_all(
        &said,
        &[
            "8 of 8 connections in order",
            "SASL-IR",
            // By an empty request, which asks for no token.
            "(HTTP 400, invalid_request: nothing was asked for)",
        ],
    );
    assert_eq!(sandbox.log().logins(Protocol::Imap), 0);

    let (code, said) = check(folder.path(), &["--connect", "--json"]);
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let servers = report["connections"]["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 6);
    for server in servers {
        assert_eq!(server["ok"], true);
        assert!(server["certificate_days"].as_i64().unwrap() > 0);
        let mechanisms = server["mechanisms"].as_array().unwrap();
        assert!(mechanisms.iter().any(|m| m == "XOAUTH2"), "{server}");
    }
}

#[test]
fn what_cannot_be_used_is_told_with_its_cause() {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let folder = sandboxed(&sandbox);
    sandbox.control().set_starttls(Protocol::Smtp, false);
    sandbox
        .control()
        .refuse_connections(Service::Pops, true)
        .unwrap();
    sandbox.control().set_mechanisms(Protocol::Imap, &[]);
    let path = folder.path().join("emailproxy.config");
    let text = fs::read_to_string(&path).unwrap();
    let nobody = format!("token_url = http://localhost:{}/token", free_port());
    let token_url = format!("token_url = {}", sandbox.token_url());
    fs::write(&path, text.replace(&token_url, &nobody)).unwrap();
    let (code, said) = check(folder.path(), &["--connect"]);
    assert_eq!(code, Some(1), "{said}");
    contains_all(
        &said,
        &[
            "does not offer STARTTLS",
            "connection refused",
            "offers neither XOAUTH2 nor OAUTHBEARER",
            "token_url http://localhost",
            "FAILED: ",
            "5 of 8 connections in order",
        ],
    );
}

#[test]
fn a_certificate_that_is_not_trusted_is_told() {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let other = Sandbox::start(Options::default()).unwrap();
    let text = format!(
        "[IMAP-{}]\nserver_address = localhost\nserver_port = {}\nserver_ca_path = {}\nlocal_address = 127.0.0.1\n",
        free_port(),
        sandbox.imaps().port(),
        other.ca_file().display()
    );
    let (code, said) = check(folder(&text).path(), &["--connect"]);
    assert_eq!(code, Some(1), "{said}");
    contains_all(
        &said,
        &["FAILED: TLS with localhost failed", "server_ca_path"],
    );
}

/// The samples are found where packages put them, and where they are in an unpacked archive.
#[test]
fn installed_scripts_are_found() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/samples");
    for (program, scripts) in [
        ("bin/emailproxy", Some("share/emailproxy/plugins")),
        ("emailproxy-1.0/emailproxy", Some("emailproxy-1.0/plugins")),
        ("lonely/emailproxy", None),
    ] {
        let prefix = tempfile::tempdir().unwrap();
        let program = prefix.path().join(program);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_emailproxy"), &program).unwrap();
        if let Some(scripts) = scripts {
            let scripts = prefix.path().join(scripts);
            fs::create_dir_all(&scripts).unwrap();
            fs::copy(samples.join("echo.lua"), scripts.join("echo.lua")).unwrap();
        }
        let text = server("IMAP", free_port()) + "plugins = echo.lua\n" + ACCOUNT;
        let output = Command::new(&program)
            .arg("check")
            .current_dir(folder(&(text + "use_pkce = True\n")).path())
            .env_remove("EMAILPROXY_PLUGINS")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        if scripts.is_some() {
            assert_eq!(output.status.code(), Some(0), "{said}");
        } else {
            assert_eq!(output.status.code(), Some(2), "{said}");
            contains_all(&said, &["plugins", "echo.lua"]);
        }
    }
}
