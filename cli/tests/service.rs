//! `emailproxy service`, with a stand-in for systemctl; units as systemd itself reads them, where it is installed.

#![cfg(target_os = "linux")]

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const CONFIG: &str = "[IMAP-1993]\nserver_address = mail.example\nserver_port = 993\nlocal_address = 127.0.0.1\n\
    [user@example.com]\ntoken_url = https://p.example/token\npermission_url = https://p.example/a\n\
    client_id = id\noauth2_scope = mail\n";

/// A home with a configuration, and a systemctl that writes down what it was asked.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Home {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("emailproxy.config"), config).unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let systemctl = bin.join("systemctl");
        fs::write(
            &systemctl,
            "#!/bin/sh\necho \"$*\" >> \"$HOME/asked\"\ncase \"$*\" in *fail*) exit 1;; esac\n[ ! -e \"$HOME/refuse\" ]\n",
        )
        .unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        Home(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn emailproxy(&self, arguments: &[&str]) -> Output {
        let path = env::var_os("PATH").unwrap_or_default();
        let bins = env::split_paths(&path);
        let path = env::join_paths([self.path("bin")].into_iter().chain(bins)).unwrap();
        Command::new(env!("CARGO_BIN_EXE_emailproxy"))
            .args(arguments)
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env("PATH", path)
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.emailproxy(arguments);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    }

    #[track_caller]
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.emailproxy(arguments);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }

    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_users_own_service_comes_and_goes() {
    let home = Home::new(CONFIG);
    let unit = home.path(".config/systemd/user/emailproxy.service");
    let said = home.refused(1, &["service", "status", "--user"]);
    assert!(said.contains("no service is installed"), "{said}");
    let said = home.done(&["--local-server-auth", "service", "install", "--user"]);
    assert!(said.contains(unit.to_str().unwrap()), "{said}");
    assert!(said.contains("journalctl --user"), "{said}");
    let text = fs::read_to_string(&unit).unwrap();
    let config = home.path("emailproxy.config");
    let start = format!(
        "ExecStart={} --config-file {} --local-server-auth\n",
        env!("CARGO_BIN_EXE_emailproxy"),
        config.display()
    );
    assert!(text.contains(&start), "{text}");
    let asked = [
        "--user daemon-reload",
        "--user enable emailproxy.service",
        "--user restart emailproxy.service",
    ];
    assert_eq!(home.asked(), asked);
    // Once more: it is its own to write over.
    home.done(&["service", "install", "--user"]);
    home.done(&["service", "status", "--user"]);
    assert!(home.asked().last().unwrap().starts_with("--user status"));
    home.done(&["service", "uninstall", "--user"]);
    assert!(!unit.exists() && config.exists());
    assert!(
        home.asked()
            .contains(&"--user disable --now emailproxy.service".to_owned())
    );
    home.refused(2, &["service", "uninstall", "--user"]);
}

#[test]
fn what_somebody_else_wrote_stays() {
    let home = Home::new(CONFIG);
    let unit = home.path(".config/systemd/user/emailproxy.service");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    fs::write(&unit, "[Unit]\n").unwrap();
    for action in ["install", "uninstall"] {
        let said = home.refused(2, &["service", action, "--user"]);
        assert!(said.contains("move it away first"), "{said}");
    }
    assert_eq!(fs::read_to_string(&unit).unwrap(), "[Unit]\n");
    assert!(home.asked().is_empty());
}

#[test]
fn a_configuration_that_cannot_be_served_is_not_installed() {
    let home = Home::new("[IMAP-1993]\n");
    let said = home.refused(2, &["service", "install", "--user"]);
    assert!(said.contains("emailproxy.config:1"), "{said}");
    let home = Home::new(CONFIG);
    let said = home.refused(2, &["--external-auth", "service", "install", "--user"]);
    assert!(said.contains("terminal"), "{said}");
    home.refused(2, &["service", "install", "--user", "--system"]);
    assert!(home.asked().is_empty());
}

#[test]
fn a_systemctl_that_fails_is_told() {
    let home = Home::new(CONFIG);
    fs::write(home.path("refuse"), "").unwrap();
    let said = home.refused(1, &["service", "install", "--user"]);
    assert!(
        said.contains("systemctl --user daemon-reload failed"),
        "{said}"
    );
}

#[test]
fn a_dry_run_prints_and_does_nothing() {
    let home = Home::new(CONFIG);
    let said = home.done(&["service", "install", "--user", "--dry-run"]);
    assert!(said.contains("Type=notify") && said.contains("# systemctl --user enable"));
    home.done(&["service", "uninstall", "--user", "--dry-run"]);
    assert!(home.asked().is_empty() && !home.path(".config").exists());
    let arguments = [
        "service",
        "install",
        "--system",
        "--run-as",
        "mail",
        "--dry-run",
    ];
    let said = home.done(&[&["--cache-store", "/var/lib/x/tokens"][..], &arguments].concat());
    for line in [
        "User=mail",
        "ReadWritePaths=/var/lib/x",
        "RuntimeDirectory=emailproxy",
        "AmbientCapabilities=",
        "# /etc/systemd/system/emailproxy.service",
    ] {
        assert!(said.lines().any(|one| one == line), "{line}:\n{said}");
    }
    let low = Home::new(&CONFIG.replace("1993", "143"));
    let said = low.done(&arguments);
    assert!(
        said.contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"),
        "{said}"
    );
}

/// What systemd has to say against a unit; `None` where it is not installed.
fn verified(scope: &str, unit: &Path) -> Option<String> {
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no", scope])
        .arg(unit)
        .env("XDG_RUNTIME_DIR", unit.parent().unwrap())
        .output();
    match output {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
            Some(said)
        }
        Err(_) => None,
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let home = Home::new(CONFIG);
    let program = env!("CARGO_BIN_EXE_emailproxy");
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    for scope in ["--user", "--system"] {
        let arguments = ["service", "install", scope, "--dry-run"];
        let user: &[&str] = match scope {
            "--system" => &["--run-as", "mail"],
            _ => &[],
        };
        let said = home.done(&[&arguments[..], user].concat());
        let unit = home.path("emailproxy.service");
        fs::write(&unit, said).unwrap();
        match verified(scope, &unit) {
            Some(complaints) => assert_eq!(complaints, "", "{scope}"),
            None => return eprintln!("not tried: there is no systemd-analyze"),
        }
    }
    let service = fs::read_to_string(packaging.join("emailproxy.service")).unwrap();
    // The package's program and user are not there.
    let service = service
        .replace("/usr/bin/emailproxy", program)
        .replace("User=emailproxy", "User=mail");
    let folder = home.path("units");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("emailproxy.service"), service).unwrap();
    fs::copy(
        packaging.join("emailproxy.socket"),
        folder.join("emailproxy.socket"),
    )
    .unwrap();
    for unit in ["emailproxy.service", "emailproxy.socket"] {
        assert_eq!(
            verified("--system", &folder.join(unit)).unwrap(),
            "",
            "{unit}"
        );
    }
}

/// Programs outside the service do not see its /tmp, so its control socket must be elsewhere.
#[test]
fn units_of_the_machine_have_a_place_for_the_control_socket() {
    let home = Home::new(CONFIG);
    let written = home.done(&[
        "service",
        "install",
        "--system",
        "--run-as",
        "mail",
        "--dry-run",
    ]);
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/emailproxy.service");
    for unit in [written, fs::read_to_string(packaged).unwrap()] {
        for line in [
            "PrivateTmp=yes",
            "RuntimeDirectory=emailproxy",
            "RuntimeDirectoryMode=0700",
        ] {
            assert!(unit.lines().any(|one| one == line), "{line}:\n{unit}");
        }
    }
}

/// How exposed systemd holds a unit to be (0 to 10); `None` where it is not installed.
fn exposure(unit: &Path) -> Option<f64> {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(unit)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said
        .lines()
        .find(|line| line.contains("Overall exposure level"));
    let line = line.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    let number = line
        .rsplit(": ")
        .next()
        .and_then(|rest| rest.split(' ').next());
    Some(number.unwrap().parse().unwrap())
}

#[test]
fn systemd_holds_the_units_of_the_machine_to_be_confined() {
    let home = Home::new(CONFIG);
    let written = home.path("emailproxy.service");
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/emailproxy.service");
    let said = home.done(&[
        "service",
        "install",
        "--system",
        "--run-as",
        "mail",
        "--dry-run",
    ]);
    fs::write(&written, said).unwrap();
    for unit in [written, packaged] {
        let Some(exposure) = exposure(&unit) else {
            return eprintln!("not tried: there is no systemd-analyze");
        };
        assert!(exposure < 2.0, "{exposure}: {}", unit.display());
    }
}
