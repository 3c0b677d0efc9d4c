//! systemd: a unit of the user's or of the machine's.

use super::{Failure, Job, required, say, system, unit};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

const NAME: &str = "emailproxy.service";

/// Where units of one's own stand (systemd.unit(5)).
fn path(of_machine: bool) -> Result<PathBuf, Failure> {
    if of_machine {
        return Ok(Path::new("/etc/systemd/system").join(NAME));
    }
    let config = env::var_os("XDG_CONFIG_HOME").filter(|path| Path::new(path).is_absolute());
    let config = config.map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME").filter(|path| !path.is_empty())?;
        Some(Path::new(&home).join(".config"))
    });
    let config = config.ok_or_else(|| {
        Failure::Wrong("HOME is not set, so that your own units' folder is not known".to_owned())
    })?;
    Ok(config.join("systemd/user").join(NAME))
}

/// `systemctl` for this scope.
fn arguments<'a>(of_machine: bool, command: &[&'a str]) -> Vec<&'a str> {
    let mut all = Vec::new();
    if !of_machine {
        all.push("--user");
    }
    all.extend_from_slice(command);
    all
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

/// Whether the unit is there; another's is refused.
fn is_ours(path: &Path) -> Result<bool, Failure> {
    match fs::read_to_string(path) {
        Ok(text) if text.starts_with(unit::MARK) => Ok(true),
        Ok(_) => Err(Failure::Wrong(format!(
            "{} is there and was not written by `emailproxy service install`: move it away first",
            path.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(path, &error)),
    }
}

pub(super) fn install(job: &Job, of_machine: bool, dry_run: bool) -> Result<(), Failure> {
    let path = path(of_machine)?;
    let text = unit::text(job, of_machine);
    let reload = arguments(of_machine, &["daemon-reload"]);
    let enable = arguments(of_machine, &["enable", NAME]);
    let restart = arguments(of_machine, &["restart", NAME]);
    if dry_run {
        say(&format!("# {}", path.display()));
        say(&text);
        for command in [&reload, &enable, &restart] {
            say(&format!("# systemctl {}", command.join(" ")));
        }
        return Ok(());
    }
    is_ours(&path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    fs::write(&path, text).map_err(|error| failed(&path, &error))?;
    say(&format!("wrote {}", path.display()));
    for command in [&reload, &enable, &restart] {
        required("systemctl", command)?;
    }
    let user = if of_machine { "" } else { "--user " };
    say(&format!(
        "installed and started. Its log: journalctl {user}-u {NAME} -f; after a change of the configuration: systemctl {user}reload {NAME}"
    ));
    if !of_machine {
        say("It ends when you log out, unless: loginctl enable-linger");
    }
    Ok(())
}

pub(super) fn uninstall(of_machine: bool, dry_run: bool) -> Result<(), Failure> {
    let path = path(of_machine)?;
    let disable = arguments(of_machine, &["disable", "--now", NAME]);
    let reload = arguments(of_machine, &["daemon-reload"]);
    if dry_run {
        say(&format!(
            "# systemctl {}\n# rm {}\n# systemctl {}",
            disable.join(" "),
            path.display(),
            reload.join(" ")
        ));
        return Ok(());
    }
    if !is_ours(&path)? {
        return Err(Failure::Wrong(format!(
            "no service is installed: there is no {}",
            path.display()
        )));
    }
    required("systemctl", &disable)?;
    fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
    say(&format!("removed {}", path.display()));
    required("systemctl", &reload)?;
    say("Configuration and tokens stay where they are.");
    Ok(())
}

pub(super) fn status(of_machine: bool) -> Result<bool, Failure> {
    let path = path(of_machine)?;
    if !path.exists() {
        say(&format!(
            "no service is installed: there is no {}",
            path.display()
        ));
        return Ok(false);
    }
    system(
        "systemctl",
        &arguments(of_machine, &["status", "--no-pager", "--lines=5", NAME]),
    )
}
