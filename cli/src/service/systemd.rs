//! systemd: a unit of the user's or of the machine's.

use super::{Failure, Job, required, say, system, texts, unit};
use crate::messages::sentence;
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
    let config = config.ok_or_else(|| Failure::Wrong(texts::NO_HOME.to_owned()))?;
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
        Ok(_) => Err(Failure::Wrong(texts::not_ours(path.display()))),
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
    say(&texts::wrote(path.display()));
    for command in [&reload, &enable, &restart] {
        required("systemctl", command)?;
    }
    if of_machine {
        say(&texts::installed(NAME));
    } else {
        say(&texts::installed_for_user(NAME));
        say(texts::ENDS_WITH_LOGIN);
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
        return Err(Failure::Wrong(texts::no_service(path.display())));
    }
    required("systemctl", &disable)?;
    fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
    say(&texts::removed(path.display()));
    required("systemctl", &reload)?;
    say(&sentence(texts::REST_STAYS));
    Ok(())
}

pub(super) fn status(of_machine: bool) -> Result<bool, Failure> {
    let path = path(of_machine)?;
    if !path.exists() {
        say(&texts::no_service(path.display()));
        return Ok(false);
    }
    system(
        "systemctl",
        &arguments(of_machine, &["status", "--no-pager", "--lines=5", NAME]),
    )
}
