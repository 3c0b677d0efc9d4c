//! The web console of the running command, over real connections.

mod common;

use common::{Dialogue, Running, Signal, free_port};
use sandbox::{Sandbox, client};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Output},
    time::{Duration, Instant},
};

const ACCOUNT: &str = "ada@example.org";

/// A configuration in front of the sandbox: an IMAP port, and a console there if there is a place for it.
fn configuration(sandbox: &Sandbox, port: u16, console: Option<&str>) -> String {
    let console = console.map_or_else(String::new, |at| {
        format!("[emailproxy]\nconsole_address = {at}\n")
    });
    format!(
        "{console}[IMAP-{port}]\nlocal_address = 127.0.0.1\nserver_address = localhost\nserver_port = {}\nserver_ca_path = {}\n\n\
         [{ACCOUNT}]\npermission_url = {}\ntoken_url = {}\noauth2_scope = mail\nclient_id = {}\n",
        sandbox.imaps().port(),
        sandbox.ca_file().display(),
        sandbox.authorize_url(),
        sandbox.token_url(),
        client::PUBLIC.id,
    )
}

/// What comes back to these bytes.
fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    // It may answer, and close, before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(port: u16, path: &str, headers: &str) -> String {
    ask(
        port,
        &format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n"),
    )
}

fn post(port: u16, path: &str, cookie: &str, form: &[(&str, &str)]) -> String {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    let body = body.finish();
    ask(
        port,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\nCookie: {cookie}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("no answer")
}

fn between<'a>(text: &'a str, before: &str, after: char) -> &'a str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split(after).next().unwrap()
}

/// Runs `emailproxy console` beside the running one.
fn print_link(running: &Running, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_emailproxy"))
        .arg("console")
        .args(arguments)
        .current_dir(running.folder.path())
        .output()
        .unwrap()
}

fn refused(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err()
}

#[test]
fn an_account_is_signed_in_by_way_of_the_console() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let (port, console) = (free_port(), free_port());
    let text = configuration(&sandbox, port, Some(&console.to_string()));
    let mut running = Running::start(&["--external-auth"], &[("emailproxy.config", &text)]);
    running.wait_for("the console is at", 1);

    let printed = print_link(&running, &[]);
    assert!(printed.status.success(), "{printed:?}");
    let link = String::from_utf8(printed.stdout).unwrap();
    let token = link.trim().split_once("/?token=").unwrap().1;
    let file = running.folder.path().join("emailproxy.config.console");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), token);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    let answer = get(console, &format!("/?token={token}"), "");
    assert_eq!(status(&answer), "303", "{answer}");
    let cookie = between(&answer, "set-cookie: ", ';').to_owned();
    let headers = format!("Cookie: {cookie}\r\n");
    let page = get(console, "/", &headers);
    assert!(
        page.contains(ACCOUNT) && page.contains("Not authorised yet"),
        "{page}"
    );
    let form = between(&page, "name=\"form\" value=\"", '"').to_owned();

    let mut imap = Dialogue::connect(port);
    imap.until("* OK");
    imap.say(&format!("a LOGIN {ACCOUNT} local-password"));
    running.wait_for("needs your permission", 1);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let json = get(console, "/state.json", &bearer);
    let json: serde_json::Value =
        serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    let consent = &json["consents"][0];
    assert_eq!(consent["account"], ACCOUNT);
    let (id, url) = (&consent["id"], consent["ask"]["url"].as_str().unwrap());
    let visit = sandbox.person().approve(url).unwrap();
    let path = format!("/consents/{id}/answer");
    let answer = post(
        console,
        &path,
        &cookie,
        &[("form", &form), ("address", &visit.url)],
    );
    assert_eq!(status(&answer), "303", "{answer}");
    assert!(imap.until("a ").contains("a OK"));
    let page = get(console, "/", &headers);
    assert!(page.contains(&format!("{ACCOUNT} is signed in.")), "{page}");
    assert!(page.contains(">Authorised<"), "{page}");

    let metrics = get(console, "/metrics", &bearer);
    for line in [
        format!("emailproxy_logins_total{{server=\"IMAP-{port}\",result=\"accepted\"}} 1\n"),
        "emailproxy_token_requests_total{result=\"granted\"} 1\n".to_owned(),
        "emailproxy_consents_total{result=\"granted\"} 1\n".to_owned(),
        "emailproxy_accounts{state=\"authorised\"} 1\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(!metrics.contains(ACCOUNT), "{metrics}");

    let said = [running.log(), page, metrics].concat();
    let config = fs::read_to_string(running.folder.path().join("emailproxy.config")).unwrap();
    let saved = config
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(option, _)| option.ends_with("_token") || *option == "token_salt");
    let saved: Vec<_> = saved.map(|(_, value)| value).collect();
    assert!(saved.len() >= 2, "{config}");
    for secret in saved.into_iter().chain([token, "local-password"]) {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    assert!(running.end().success());
}

#[test]
fn what_is_too_large_or_for_somebody_else_is_refused() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let (port, console) = (free_port(), free_port());
    let text = configuration(&sandbox, port, None);
    let at = format!("127.0.0.1:{console}");
    let mut running = Running::start(&["--console", &at], &[("emailproxy.config", &text)]);
    running.wait_for("the console is at", 1);

    assert_eq!(status(&get(console, "/", "")), "401");
    assert_eq!(status(&get(console, "/metrics", "")), "401");
    assert!(get(console, "/healthz", "").ends_with("\r\n\r\nok\n"));
    let long = format!("X: {}\r\n", "x".repeat(64 * 1024));
    assert_eq!(status(&get(console, "/", &long)), "431");
    let elsewhere = "GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n";
    assert_eq!(status(&ask(console, elsewhere)), "421");
    let token = "x".repeat(40 * 1024);
    let answer = post(console, "/sign-in", "", &[("token", &token)]);
    // It may be closed under our hands while we are still sending.
    assert!(matches!(status(&answer), "413" | "no answer"), "{answer}");
    assert_eq!(status(&ask(console, "nonsense\r\n\r\n")), "400");
    assert_eq!(status(&get(console, "/", "")), "401", "it serves on");
    assert!(running.end().success());
}

#[test]
fn the_console_comes_moves_and_goes_with_the_configuration() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let (port, first, second) = (free_port(), free_port(), free_port());
    let text =
        |at: Option<u16>| configuration(&sandbox, port, at.map(|at| at.to_string()).as_deref());
    let mut running = Running::start(&[], &[("emailproxy.config", &text(None))]);
    running.wait_for("account configured", 1);
    assert!(
        !running
            .folder
            .path()
            .join("emailproxy.config.console")
            .exists()
    );
    let said = print_link(&running, &[]);
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("there is no token yet"));

    let mut times = 0;
    let mut reload = |running: &mut Running, text: &str| {
        fs::write(running.folder.path().join("emailproxy.config"), text).unwrap();
        running.signal(Signal::HUP);
        times += 1;
        running.wait_for("the configuration was read again", times);
    };
    for (times, at) in [(1, first), (2, second)] {
        reload(&mut running, &text(Some(at)));
        running.wait_for("the console is at", times);
        assert!(get(at, "/healthz", "").ends_with("ok\n"));
    }
    let end = Instant::now() + Duration::from_secs(60);
    while !refused(first) {
        assert!(Instant::now() < end, "the first address is still open");
    }
    // a mistake closes nothing
    reload(
        &mut running,
        &configuration(&sandbox, port, Some("no address")),
    );
    let log = running.wait_for("the console stays as it was", 1);
    assert!(
        log.contains("emailproxy.config:2:1: [emailproxy] `console_address` must be"),
        "{log}"
    );
    assert!(get(second, "/healthz", "").ends_with("ok\n"));
    reload(&mut running, &text(None));
    running.wait_for("the console is closed", 1);
    assert!(running.end().success());
}

#[test]
fn a_console_that_cannot_be_ends_the_start() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = taken.local_addr().unwrap();
    for (at, why) in [
        (taken.to_string(), "another program uses it"),
        ("no address".to_owned(), "`console_address` must be"),
    ] {
        let text = configuration(&sandbox, free_port(), Some(&at));
        let mut running = Running::start(&[], &[("emailproxy.config", &text)]);
        let code = running.child.wait().unwrap().code();
        assert_eq!(code, Some(2), "{}", running.log());
        assert!(running.log().contains(why), "{}", running.log());
    }
}
