//! A configuration on a file system that cannot be written, and tokens in a place of their own: containers, hardened services.

#![cfg(target_os = "linux")]

mod common;

use common::{Dialogue, Running, Signal, free_port};
use sandbox::{Options, Sandbox, client};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const ADA: &str = "ada@example.org";

/// How a folder is kept from being written.
enum Protection {
    /// It is mounted read-only in a mount namespace of the program's own: that holds for root as well.
    Mount { as_root: bool },
    /// By its mode; where an ordinary user gets no namespaces.
    Mode,
}

/// A folder that cannot be written, whoever runs the tests.
struct ReadOnly {
    folder: tempfile::TempDir,
    protection: Protection,
}

/// `$0` is the folder; what follows it is run in the namespace.
const MOUNTED: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\"";

impl ReadOnly {
    /// With this configuration in it.
    fn with(config: &str) -> ReadOnly {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("emailproxy.config"), config).unwrap();
        let as_root = rustix::process::geteuid().is_root();
        let mut read_only = ReadOnly {
            folder,
            protection: Protection::Mount { as_root },
        };
        read_only.modes(0o700, 0o600);
        if !read_only.holds() {
            // Nothing is tested by a folder that can be written, so there is no way around this.
            assert!(!as_root, "root needs mount namespaces for this test");
            read_only.protection = Protection::Mode;
            read_only.modes(0o500, 0o400);
            assert!(read_only.holds(), "the folder can still be written");
        }
        read_only
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("emailproxy.config")
    }

    fn modes(&self, folder: u32, file: u32) {
        for (path, mode) in [(self.config(), file), (self.path().to_owned(), folder)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// The program that runs where the folder cannot be written.
    fn command(&self, program: &str) -> Command {
        let Protection::Mount { as_root } = self.protection else {
            return Command::new(program);
        };
        let namespaces = if as_root { "-m" } else { "-rm" };
        let mut command = Command::new("unshare");
        command
            .args([namespaces, "sh", "-c"])
            .arg(format!("{MOUNTED} && exec \"$@\""))
            .arg(self.path())
            .arg(program);
        command
    }

    /// Whether programs run, and can neither make files in the folder nor write the configuration.
    fn holds(&self) -> bool {
        let run = |script: &str| {
            let status = self
                .command("sh")
                .args(["-c", script, "sh"])
                .arg(self.path())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        };
        run("true") && !run("touch \"$1/probe\"") && !run(": >> \"$1/emailproxy.config\"")
    }

    /// Starts the proxy on it.
    fn serve(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_emailproxy"));
        command
            .arg("--config-file")
            .arg(self.config())
            .args(arguments)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        let mut proxy = Running::start_as(command, &[]);
        proxy.wait_for("serves IMAP", 1);
        proxy
    }

    /// Nothing is in it but the configuration as it was.
    fn is_untouched(&self, config: &str) {
        assert_eq!(fs::read_to_string(self.config()).unwrap(), config);
        assert_eq!(fs::read_dir(self.path()).unwrap().count(), 1);
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if matches!(self.protection, Protection::Mode) {
            self.modes(0o700, 0o600);
        }
    }
}

/// A server, and Ada, who consents with a browser.
fn config(sandbox: &Sandbox, port: u16) -> String {
    format!(
        "# mine\n[IMAP-{port}]\nserver_address = localhost\nserver_port = {}\nserver_ca_path = {}\nlocal_address = 127.0.0.1\n\n\
         [{ADA}]\npermission_url = {}\ntoken_url = {}\nredirect_uri = http://localhost:{}\noauth2_scope = mail offline_access\n\
         client_id = {}\n",
        sandbox.imaps().port(),
        sandbox.ca_file().display(),
        sandbox.authorize_url(),
        sandbox.token_url(),
        free_port(),
        client::PUBLIC.id,
    )
}

/// Begins a login; the answer is awaited with [`allowed`].
fn log_in(port: u16) -> Dialogue {
    let mut imap = Dialogue::connect(port);
    imap.until("* OK");
    imap.say(&format!("a LOGIN {ADA} \"a local password\""));
    imap
}

fn allowed(mut imap: Dialogue) {
    let answer = imap.until("a ");
    assert!(answer.contains("a OK"), "{answer}");
}

/// Approves the sign-in that the log asks for.
fn consent(sandbox: &Sandbox, proxy: &mut Running) {
    let address = sandbox.authorize_url();
    let log = proxy.wait_for(&address, 1);
    let url = log[log.find(&address).unwrap()..]
        .split_whitespace()
        .next()
        .unwrap();
    let visit = sandbox.person().approve(url).unwrap();
    assert!(visit.body.contains("Signed in"), "{}", visit.body);
}

/// How tokens have been asked for so far.
fn grants(sandbox: &Sandbox) -> Vec<String> {
    let requests = sandbox.log().token_requests();
    requests.into_iter().map(|one| one.grant_type).collect()
}

#[test]
fn a_configuration_that_cannot_be_written_needs_only_a_store() {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let port = free_port();
    let text = config(&sandbox, port);
    let folder = ReadOnly::with(&text);
    let store = tempfile::tempdir().unwrap();
    let tokens = store.path().join("tokens");
    let arguments = [
        "--local-server-auth",
        "--cache-store",
        tokens.to_str().unwrap(),
    ];

    let mut proxy = folder.serve(&arguments);
    let client = log_in(port);
    consent(&sandbox, &mut proxy);
    allowed(client);
    proxy.signal(Signal::HUP);
    let log = proxy.wait_for("the configuration was read again", 1);
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    assert!(proxy.end().success());
    let saved = fs::read_to_string(&tokens).unwrap();
    assert!(
        saved.contains(&format!("[{ADA}]")) && saved.contains("refresh_token = "),
        "{saved}"
    );
    folder.is_untouched(&text);
    assert_eq!(grants(&sandbox), ["authorization_code"]);

    // After a restart nobody is asked: first with the access token, and with the refresh token once that is gone.
    let mut proxy = folder.serve(&arguments);
    allowed(log_in(port));
    assert_eq!(grants(&sandbox), ["authorization_code"]);
    sandbox.control().revoke_access_tokens();
    allowed(log_in(port));
    assert_eq!(grants(&sandbox), ["authorization_code", "refresh_token"]);
    assert!(proxy.end().success());
    let log = proxy.log();
    assert!(!log.contains(&sandbox.authorize_url()), "{log}");
    let renewed = fs::read_to_string(&tokens).unwrap();
    assert_ne!(renewed, saved, "the new token is saved");
    folder.is_untouched(&text);
    assert_eq!(sandbox.log().authorizations().len(), 1);
}

/// The places of tokens that cannot be written: the configuration, and a store beside it.
fn what_cannot_be_saved_is_told(store: Option<&str>) {
    let sandbox = Sandbox::start(Options::default()).unwrap();
    let port = free_port();
    let text = config(&sandbox, port);
    let folder = ReadOnly::with(&text);
    let place = folder.path().join(store.unwrap_or("emailproxy.config"));
    let place = place.to_str().unwrap();
    let arguments = match store {
        Some(_) => &["--local-server-auth", "--cache-store", place][..],
        None => &["--local-server-auth"],
    };

    // `check` knows it, ...
    let mut check = folder.command(env!("CARGO_BIN_EXE_emailproxy"));
    let check = check
        .arg("--config-file")
        .arg(folder.config())
        .args(arguments)
        .arg("check")
        .output()
        .unwrap();
    let said = String::from_utf8([check.stdout, check.stderr].concat()).unwrap();
    assert!(said.contains(place) && said.contains("writ"), "{said}");

    // ... and so does whoever starts it, before anybody signs in in vain.
    let mut proxy = folder.serve(arguments);
    let log = proxy.wait_for("make it writable for the proxy", 1);
    let first = log.find("make it writable for the proxy").unwrap();
    assert!(log[..first].contains(place), "{log}");
    assert!(!log.contains("could not be saved"), "{log}");

    let client = log_in(port);
    consent(&sandbox, &mut proxy);
    allowed(client);
    let log = proxy.wait_for("could not be saved", 1);
    let line = log.lines().find(|line| line.contains("could not be saved"));
    let line = line.unwrap();
    for part in [
        ADA,
        place,
        "make it writable for the proxy",
        "--cache-store",
        "kept in memory",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // What was obtained serves the next login.
    allowed(log_in(port));
    assert_eq!(grants(&sandbox), ["authorization_code"]);
    // That it is lost is said once more at the end, and by the exit code.
    assert_eq!(proxy.end().code(), Some(1));
    assert!(proxy.log().contains("are not saved"), "{}", proxy.log());
    folder.is_untouched(&text);
}

#[test]
fn without_a_store_tokens_stay_in_memory_and_that_is_told() {
    what_cannot_be_saved_is_told(None);
}

#[test]
fn a_store_that_cannot_be_written_is_told() {
    what_cannot_be_saved_is_told(Some("tokens"));
}
