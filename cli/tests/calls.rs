//! How the user is called: by the browser, by `notify_command`; and what is said when somebody else approves.

mod common;

use common::{Dialogue, Running, free_port};
use sandbox::{Sandbox, client};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const ADA: &str = "ada@example.org";

/// Stands in for the desktop's own: writes down what it is to open.
const XDG_OPEN: &str =
    "#!/bin/sh\nprintf '%s\\n' \"$#\" \"$1\" > opened.new && mv opened.new opened\n";

/// The file's text, once it is there.
fn written(path: &Path) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match fs::read_to_string(path) {
            Ok(text) => return text,
            Err(error) => assert!(Instant::now() < end, "{}: {error}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_browser_is_opened_the_command_run_and_a_stranger_named() {
    let sandbox = Sandbox::start(sandbox::Options::default()).unwrap();
    let (port, redirect) = (free_port(), free_port());
    let config = format!(
        "[emailproxy]\nnotify_command = sh -c \"env > notified.new; mv notified.new notified; echo 'it was; told'\"\n\n\
         [IMAP-{port}]\nlocal_address = 127.0.0.1\nserver_address = localhost\nserver_port = {}\nserver_ca_path = {}\n\n\
         [{ADA}]\npermission_url = {}\ntoken_url = {}\noauth2_scope = mail offline_access openid\nclient_id = {}\n\
         redirect_uri = http://localhost:{redirect}\n",
        sandbox.imaps().port(),
        sandbox.ca_file().display(),
        sandbox.authorize_url(),
        sandbox.token_url(),
        client::PUBLIC.id,
    );
    let programs = tempfile::tempdir().unwrap();
    let opener = programs.path().join("xdg-open");
    fs::write(&opener, XDG_OPEN).unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_emailproxy"));
    command
        .arg("--no-gui")
        .env("PATH", format!("{}:{path}", programs.path().display()))
        .env("DISPLAY", ":99");
    let mut running = Running::start_as(command, &[("emailproxy.config", &config)]);
    running.wait_for("1 account configured", 1);

    let mut imap = Dialogue::connect(port);
    imap.until("* OK");
    // In another letter case than its heading.
    imap.say("a LOGIN Ada@example.org local-password");
    let opened = written(&running.folder.path().join("opened"));
    let Some(("1", url)) = opened.trim_end().split_once('\n') else {
        panic!("{opened}")
    };
    assert!(url.starts_with(&sandbox.authorize_url()), "{url}");
    let notified = written(&running.folder.path().join("notified"));
    for line in [
        "EMAILPROXY_ACCOUNT=ada@example.org",
        "EMAILPROXY_USER=Ada@example.org",
        "EMAILPROXY_CLIENT=127.0.0.1",
        "EMAILPROXY_PASSWORD_DIFFERS=no",
        "EMAILPROXY_KIND=browser",
        &format!("EMAILPROXY_URL={url}"),
    ] {
        assert!(
            notified.lines().any(|own| own == line),
            "{line}: {notified}"
        );
    }
    assert!(!notified.contains("local-password"), "{notified}");
    running.wait_for("notify_command: it was; told", 1);

    let visit = sandbox
        .person()
        .choosing("brook@example.org")
        .approve(url)
        .unwrap();
    assert_eq!(visit.status, Some(200), "{}", visit.body);
    for part in [
        "The provider says that brook@example.org approved, not ada@example.org.",
        "login as Ada@example.org from 127.0.0.1",
    ] {
        assert!(visit.body.contains(part), "{}", visit.body);
    }
    running.wait_for("the provider says that brook@example.org approved", 1);
    imap.until("a ");
    assert!(running.end().success());
    assert_eq!(
        running.log().matches("notify_command: ").count(),
        1,
        "once for each consent"
    );
}
