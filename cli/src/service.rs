//! `emailproxy service`: started with the machine or with its user's session, by whatever the system has for that.

#[cfg(any(target_os = "macos", test))]
mod launchd;
#[cfg(not(any(target_os = "macos", windows)))]
mod systemd;
#[cfg(not(any(target_os = "macos", windows)))]
mod unit;
#[cfg(any(windows, test))]
mod windows;

use crate::{
    args::{Args, CacheStore},
    log::Format,
    messages::{common, service as texts},
    runtime,
    serve::{FAILED, UNUSABLE},
};
use oauth::settings::{Settings, Severity};
use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Options of `emailproxy service`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceArgs {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What is done to the service.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Action {
    /// Write the service's file, and start it now and from now on
    ///
    /// It is started with the options that stand before `service`: emailproxy --config-file F --local-server-auth service install
    Install(Install),
    /// Stop the service, and remove its file
    Uninstall(Scope),
    /// Say whether it runs; exit code 0 if it does
    Status(Scope),
}

/// Whose service it is.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Scope {
    /// Your own: it runs while you are logged in (the default, unless you are root)
    #[arg(long, conflicts_with = "system")]
    pub user: bool,

    /// The machine's: it runs from the start on, without anybody being logged in
    #[arg(long)]
    pub system: bool,

    /// Print what would be written and run, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Options of `emailproxy service install`.
#[derive(Clone, Debug, clap::Args)]
pub struct Install {
    /// Whose service it is.
    #[command(flatten)]
    pub scope: Scope,

    /// The user that a system service runs as [default: the owner of the configuration]
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,
}

/// Why nothing was done, or not all.
#[derive(Debug)]
enum Failure {
    /// Something is missing or cannot be; exit code 2.
    Wrong(String),
    /// Something did not work; exit code 1.
    Failed(String),
}

/// What the service's file says.
#[derive(Clone, Debug)]
#[cfg_attr(
    any(target_os = "macos", windows),
    allow(dead_code, reason = "only systemd confines a service by what it needs")
)]
struct Job {
    /// The program and its arguments.
    command: Vec<String>,
    /// The configuration's folder, where relative paths in it begin.
    folder: PathBuf,
    /// Folders in which the service writes.
    writes: Vec<PathBuf>,
    /// Whether it listens on a port below 1024.
    low_port: bool,
    /// Whether it reads or writes in somebody's home.
    home: bool,
    /// The user of a system service.
    user: Option<String>,
}

/// Does it, and says what it does.
pub fn run(args: &Args, options: &ServiceArgs) -> ExitCode {
    let result = match &options.action {
        Action::Install(install) => job(args, install).and_then(|job| {
            let system = is_system(install.scope);
            here::install(&job, system, install.scope.dry_run)
        }),
        Action::Uninstall(scope) => here::uninstall(is_system(*scope), scope.dry_run),
        Action::Status(scope) => match here::status(is_system(*scope)) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(FAILED),
            Err(failure) => Err(failure),
        },
    };
    let (code, text) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Wrong(text)) => (UNUSABLE, text),
        Err(Failure::Failed(text)) => (FAILED, text),
    };
    let _ = writeln!(io::stderr(), "emailproxy: {text}");
    ExitCode::from(code)
}

#[cfg(target_os = "macos")]
use launchd as here;
#[cfg(not(any(target_os = "macos", windows)))]
use systemd as here;
#[cfg(windows)]
use windows as here;

fn is_system(scope: Scope) -> bool {
    scope.system || !scope.user && is_root()
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// What is to be started, from a configuration that can be served.
fn job(args: &Args, install: &Install) -> Result<Job, Failure> {
    let loaded = Settings::load(&args.config_file);
    let Some(settings) = loaded
        .settings
        .filter(|settings| !settings.servers.is_empty())
    else {
        let errors = loaded
            .problems
            .iter()
            .filter(|p| p.severity == Severity::Error);
        let errors: Vec<_> = errors.map(|p| p.one_line(&args.config_file)).collect();
        return Err(Failure::Wrong(format!(
            "{}\n{}",
            texts::NOTHING_TO_SERVE,
            errors.join("\n")
        )));
    };
    if args.external_auth {
        return Err(Failure::Wrong(texts::NO_TERMINAL.to_owned()));
    }
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
    };
    let config = absolute(&args.config_file)?;
    let folder = config.parent().unwrap_or(Path::new("/")).to_owned();
    let program =
        env::current_exe().map_err(|error| Failure::Failed(texts::own_path_unknown(error)))?;
    let mut command = vec![utf8(&program)?, "--config-file".to_owned(), utf8(&config)?];
    let mut writes = Vec::new();
    match &args.cache_store {
        None => writes.push(folder.clone()),
        Some(CacheStore::File(path)) => {
            let path = absolute(path)?;
            command.extend(["--cache-store".to_owned(), utf8(&path)?]);
            writes.extend(path.parent().map(Path::to_owned));
        }
        Some(CacheStore::Aws(id)) => {
            command.extend(["--cache-store".to_owned(), format!("aws:{id}")]);
        }
    }
    if let Some(path) = &args.log_file {
        let path = absolute(path)?;
        command.extend(["--log-file".to_owned(), utf8(&path)?]);
        writes.extend(path.parent().map(Path::to_owned));
    }
    if args.runtime == runtime::Kind::Std {
        command.extend(["--runtime".to_owned(), "std".to_owned()]);
    }
    if args.log_format == Some(Format::Json) {
        command.extend(["--log-format".to_owned(), "json".to_owned()]);
    }
    for (given, option) in [
        (args.local_server_auth, "--local-server-auth"),
        (args.debug, "--debug"),
    ] {
        if given {
            command.push(option.to_owned());
        }
    }
    writes.dedup();
    let homes = ["/home/", "/root/", "/run/user/"];
    let in_home = |path: &Path| homes.iter().any(|home| path.starts_with(home));
    let text = std::fs::read_to_string(&config).unwrap_or_default();
    let home = in_home(&config)
        || in_home(&program)
        || writes.iter().any(|path| in_home(path))
        || homes.iter().any(|home| text.contains(home));
    let user = match is_system(install.scope) {
        true => Some(match &install.run_as {
            Some(user) => user.clone(),
            None => owner(&config)?,
        }),
        false => None,
    };
    Ok(Job {
        command,
        folder,
        writes,
        low_port: settings.servers.iter().any(|server| server.port < 1024),
        home,
        user,
    })
}

/// The owner of the configuration, by number; root is refused, because nothing in here needs its rights.
#[cfg(unix)]
fn owner(config: &Path) -> Result<String, Failure> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(config)
        .map_err(|error| Failure::Failed(format!("{}: {error}", config.display())))?;
    match metadata.uid() {
        0 => Err(Failure::Wrong(texts::belongs_to_root(config.display()))),
        uid => Ok(uid.to_string()),
    }
}

#[cfg(not(unix))]
fn owner(_: &Path) -> Result<String, Failure> {
    Ok(String::new())
}

/// A path as text: service files are text.
fn utf8(path: &Path) -> Result<String, Failure> {
    match path.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(Failure::Wrong(texts::bad_path(path.display()))),
    }
}

/// Says what is done; nobody is left to be told where that cannot be written.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Runs a command of the system's, having said so; its output is shown.
fn system<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<bool, Failure> {
    let status = Command::new(program).args(arguments).status();
    let status = status.map_err(|error| {
        Failure::Failed(match error.kind() {
            io::ErrorKind::NotFound => texts::no_program(program),
            _ => common::cannot_be_run(program, error),
        })
    })?;
    Ok(status.success())
}

/// One that has to succeed.
fn required(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let command = format!("{program} {}", arguments.join(" "));
    say(&texts::runs(&command));
    match system(program, arguments)? {
        true => Ok(()),
        false => Err(Failure::Failed(texts::has_failed(command))),
    }
}
