//! Running for years: what a service manager is told and hands over, and logs as programs read them.

#![cfg(unix)]

mod common;

use common::{Dialogue, Running, Signal, free_port, over_both_runtimes};
use std::{
    fs,
    net::TcpListener,
    os::{fd::AsRawFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
    time::Duration,
};

/// A server that nobody reaches.
fn config(port: u16) -> String {
    format!(
        "[IMAP-{port}]\nserver_address = 127.0.0.1\nserver_port = {}\nlocal_address = 127.0.0.1\n\n\
         [user@example.com]\ntoken_url = https://p.example/token\npermission_url = https://p.example/a\n\
         client_id = id\noauth2_scope = mail\n",
        free_port()
    )
}

/// The service manager's end.
struct Told(UnixDatagram);

impl Told {
    fn at(folder: &tempfile::TempDir) -> (Told, String) {
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        (Told(socket), path.to_str().unwrap().to_owned())
    }

    /// The next message that is not the watchdog's.
    fn next(&self) -> String {
        loop {
            let message = self.any();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn any(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.0.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }
}

fn systemd_is_told_how_the_service_is(runtime: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (told, path) = Told::at(&folder);
    let mut command = Command::new(env!("CARGO_BIN_EXE_emailproxy"));
    command
        .args(["--runtime", runtime])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "20000");
    let files = config(free_port());
    let mut proxy = Running::start_as(command, &[("emailproxy.config", &files)]);
    assert_eq!(
        told.next(),
        "READY=1\nSTATUS=serving 1 server for 1 account\n"
    );
    while told.any() != "WATCHDOG=1\n" {}

    proxy.signal(Signal::HUP);
    let message = told.next();
    let time = message
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .and_then(|rest| rest.lines().next())
        .unwrap();
    assert!(time.parse::<u64>().unwrap() > 0, "{message}");
    assert!(told.next().starts_with("READY=1\n"));
    fs::write(proxy.folder.path().join("emailproxy.config"), "nonsense").unwrap();
    proxy.signal(Signal::HUP);
    assert!(told.next().starts_with("RELOADING=1\n"));
    let message = told.next();
    assert!(
        message.starts_with("READY=1\n") && message.contains("reload was refused"),
        "{message}"
    );
    assert!(proxy.end().success());
    assert!(told.next().starts_with("STOPPING=1\n"));
}

#[test]
fn systemd_is_told_why_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (told, path) = Told::at(&folder);
    let status = Command::new(env!("CARGO_BIN_EXE_emailproxy"))
        .current_dir(folder.path())
        .env("NOTIFY_SOCKET", &path)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(2));
    let message = told.next();
    assert!(
        message.starts_with("STATUS=") && message.contains("there is no such file"),
        "{message}"
    );
}

/// Starts the proxy with this socket as its descriptor 3.
fn activated(socket: &TcpListener, name: &str, runtime: &str, config: &str) -> Running {
    // It must outlive exec; children of other tests may have it as well without harm.
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
    let script = format!(
        "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name} exec \"$0\" \"$@\"",
        socket.as_raw_fd()
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_emailproxy")])
        .args(["--runtime", runtime]);
    Running::start_as(command, &[("emailproxy.config", config)])
}

fn sockets_of_the_service_manager_are_taken_over(runtime: &str) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    // The heading's own port is another one, which is not listened on.
    let own = free_port();
    let text = config(own);
    let mut proxy = activated(&socket, &format!("IMAP-{own}"), runtime, &text);
    proxy.wait_for(&format!("serves IMAP at 127.0.0.1:{port} "), 1);
    TcpListener::bind(("127.0.0.1", own)).unwrap();
    let greeted = || Dialogue::connect(port).until("* BYE [UNAVAILABLE]");
    greeted();
    // It stays open when the server leaves the configuration and comes again.
    let path = proxy.folder.path().join("emailproxy.config");
    fs::write(&path, config(free_port())).unwrap();
    proxy.signal(Signal::HUP);
    let log = proxy.wait_for("the configuration was read again", 1);
    assert!(log.contains("that no server takes"), "{log}");
    fs::write(&path, &text).unwrap();
    proxy.signal(Signal::HUP);
    proxy.wait_for("the configuration was read again", 2);
    greeted();
    assert!(proxy.end().success());
}

#[test]
fn a_socket_without_a_heading_for_a_name_goes_by_its_port() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut proxy = activated(&socket, "emailproxy.socket", "smol", &config(port));
    // It could not be bound a second time.
    proxy.wait_for(&format!("serves IMAP at 127.0.0.1:{port} "), 1);
    Dialogue::connect(port).until("* BYE [UNAVAILABLE]");
    assert!(proxy.end().success());
}

#[test]
fn a_log_for_programs_has_an_object_a_line() {
    let port = free_port();
    let text = config(port);
    let mut proxy = Running::start(&["--log-format", "json"], &[("emailproxy.config", &text)]);
    proxy.wait_for("serves IMAP", 1);
    Dialogue::connect(port).until("* BYE");
    proxy.wait_for("cannot connect", 1);
    assert!(proxy.end().success());
    let log = proxy.log();
    let objects: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        objects
            .iter()
            .all(|o| o["time"].is_string() && o["message"].is_string())
    );
    let failed = objects
        .iter()
        .find(|o| o["message"].as_str().unwrap().contains("cannot connect"))
        .unwrap();
    assert_eq!(failed["server"], format!("IMAP-{port}"), "{log}");
    assert!(failed["client"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn a_log_that_is_moved_away_goes_on_under_its_name() {
    let text = config(free_port());
    let mut proxy = Running::start(&[], &[("emailproxy.config", &text)]);
    proxy.wait_for("serves IMAP", 1);
    let log = proxy.folder.path().join("log");
    let moved = proxy.folder.path().join("log.old");
    fs::rename(&log, &moved).unwrap();
    proxy.signal(Signal::HUP);
    proxy.wait_for("the configuration was read again", 1);
    assert!(!fs::read_to_string(&moved).unwrap().contains("read again"));
    assert!(proxy.end().success());
}

#[test]
fn a_full_log_is_put_aside() {
    let text = config(free_port());
    // It is full with 32 MiB.
    let full = "x".repeat((32 << 20) - 10);
    let files = [("emailproxy.config", &*text), ("log", &full)];
    let mut proxy = Running::start(&[], &files);
    let new = proxy.wait_for("serves IMAP", 1);
    assert!(!new.contains(&full[..100]), "{} bytes", new.len());
    assert!(proxy.end().success());
    let aside = fs::read_to_string(proxy.folder.path().join("log.1")).unwrap();
    assert!(aside == full, "{} bytes", aside.len());
}

/// Standard error of a start that fails, with these variables and arguments.
fn said_with(stream: impl Fn(&fs::File) -> String, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stderr");
    let file = fs::File::create(&path).unwrap();
    Command::new(env!("CARGO_BIN_EXE_emailproxy"))
        .args(arguments)
        .current_dir(folder.path())
        .env("JOURNAL_STREAM", stream(&file))
        .stderr(file)
        .status()
        .unwrap();
    fs::read_to_string(&path).unwrap()
}

#[test]
fn a_journal_gets_priorities_in_place_of_the_time() {
    let this = |file: &fs::File| {
        let stat = rustix::fs::fstat(file).unwrap();
        format!("{}:{}", stat.st_dev, stat.st_ino)
    };
    let other = |_: &fs::File| "1:1".to_owned();
    let said = said_with(this, &[]);
    assert!(
        said.starts_with("<3>ERROR emailproxy.config: there is no such file"),
        "{said}"
    );
    assert!(!said_with(other, &[]).starts_with('<'));
    assert!(!said_with(this, &["--log-format", "text"]).starts_with('<'));
    assert!(said_with(other, &["--log-format", "journal"]).starts_with("<3>"));
}

over_both_runtimes! {
    systemd_is_told_how_the_service_is
    sockets_of_the_service_manager_are_taken_over
}
