//! What the configuration needs of the machine: files that it names, addresses and ports to listen on, a place for tokens.

use super::certificate::{End, SOON};
use crate::{
    args::{Args, CacheStore},
    consent::words,
    console,
    messages::{check as texts, common, serve},
    proxy::{self, Unusable},
    scripts,
};
use oauth::{
    document::Document,
    flow::service_account::ServiceAccountKey,
    settings::{Account, FlowKind, Problem, Server, Settings, Severity},
};
use proxy_proto::Secret;
use proxy_runtime::{ListenError, ListenerConfig, Place, Trust, bind};
use std::{
    env,
    fs::{self, OpenOptions},
    io,
    net::ToSocketAddrs,
    path::Path,
};
use zeroize::Zeroizing;

/// What stands in the way, or will soon.
pub(super) fn look(settings: &Settings, args: &Args) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(proxy::outgoing_proxy(settings).err());
    problems.extend(console::configured(settings).err());
    problems.extend(notify_command(settings));
    let trust = Trust::new();
    let running = is_running(args);
    for server in &settings.servers {
        of_server(settings, server, &trust, running, &mut problems);
        problems.extend(of_scripts(settings, server, args));
    }
    for account in settings.accounts() {
        of_account(settings, account, &mut problems);
    }
    problems.extend(of_store(args));
    problems
}

/// Whether a proxy serves this configuration now.
#[cfg(unix)]
fn is_running(args: &Args) -> bool {
    crate::control::Client::find(&args.config_file).is_some()
}

#[cfg(not(unix))]
fn is_running(_: &Args) -> bool {
    false
}

/// What would keep `notify_command` from being run.
fn notify_command(settings: &Settings) -> Option<Problem> {
    let option = "notify_command";
    let tell = |severity, text| settings.problem(severity, "emailproxy", option, text);
    match words(settings.options.notify_command.as_deref()?) {
        Err(why) => Some(tell(
            Severity::Error,
            common::cannot_be_run(format_args!("`{option}`"), why),
        )),
        Ok(words) => {
            let program = words.first().filter(|program| !is_found(program))?;
            Some(tell(
                Severity::Warning,
                texts::no_such_program(option, program),
            ))
        }
    }
}

/// Whether a program of that name can be started. Where names are completed in other ways than here, every one is.
fn is_found(program: &str) -> bool {
    let there = |path: &Path| path.is_file();
    if !cfg!(unix) {
        return true;
    }
    match program.contains('/') {
        true => there(Path::new(program)),
        false => env::var_os("PATH").is_some_and(|folders| {
            env::split_paths(&folders).any(|folder| there(&folder.join(program)))
        }),
    }
}

/// Why the server's plugins cannot be loaded.
fn of_scripts(settings: &Settings, server: &Server, args: &Args) -> Option<Problem> {
    let why = scripts::filters(server, &args.config_file).err()?;
    let text = serve::left_out(why);
    Some(settings.problem(Severity::Error, &server.heading, "plugins", text))
}

fn of_server(
    settings: &Settings,
    server: &Server,
    trust: &Trust,
    running: bool,
    problems: &mut Vec<Problem>,
) {
    let mut tell = |severity, option, text: String| {
        problems.push(settings.problem(severity, &server.heading, option, text));
    };
    let config = match proxy::listener(server, trust, false) {
        Ok(config) => config,
        Err((option, text)) => {
            return tell(Severity::Error, option, serve::left_out(text));
        }
    };
    if let Some(local) = &server.local_tls
        && let Some(end) = End::of_file(&local.certificate)
    {
        let path = local.certificate.display();
        let days = end.days();
        if days < 0 {
            let text = texts::certificate_over(path, end.date());
            tell(Severity::Warning, "local_certificate_path", text);
        } else if days < SOON {
            let text = texts::certificate_ends(path, end.date(), days);
            tell(Severity::Warning, "local_certificate_path", text);
        }
    }
    if let Err((severity, error)) = listening(&config) {
        // It is most likely the running proxy that has it.
        let in_use = |source: &io::Error| source.kind() == io::ErrorKind::AddrInUse;
        if running && matches!(&error, ListenError::Bind { source, .. } if in_use(source)) {
            return;
        }
        let text = error.to_string();
        let own = format!("[{}]: ", server.heading);
        let text = text.strip_prefix(&own).unwrap_or(&text).to_owned();
        tell(severity, "local_address", text);
    }
}

/// Tries the address with any port, which must work, and then with its own, which a running proxy may have.
fn listening(config: &ListenerConfig) -> Result<(), (Severity, ListenError)> {
    let place = match Place::of(&config.address) {
        Place::Name => {
            let resolved = (&*config.address, config.port).to_socket_addrs();
            Place::resolved(resolved.map_err(|source| {
                let error = ListenError::Resolve {
                    heading: config.heading.clone(),
                    address: config.address.clone(),
                    source,
                };
                (Severity::Error, error)
            })?)
        }
        place => place,
    };
    bind(config, &place, 0).map_err(|error| (Severity::Error, error))?;
    match bind(config, &place, config.port) {
        Ok(_) => Ok(()),
        Err(error) => Err((Severity::Warning, error)),
    }
}

fn of_account(settings: &Settings, account: &Account, problems: &mut Vec<Problem>) {
    let mut tell = |option, text: String| {
        problems.push(settings.problem(Severity::Error, &account.name, option, text));
    };
    if let (None, Some(certificate), Some(key)) = (
        &account.client_secret,
        &account.jwt_certificate_path,
        &account.jwt_key_path,
    ) && let Err(error) = proxy_runtime::server_config(certificate, key)
    {
        tell("jwt_certificate_path", error.to_string());
    }
    if let (FlowKind::ServiceAccount, "file", Some(path)) = (
        account.flow,
        account.client_id.as_str(),
        &account.client_secret,
    ) && !path.expose().contains("***")
        && let Err(why) = key_file(Path::new(path.expose()))
    {
        tell("client_secret", why);
    }
}

/// A service account's key in a file of its own.
fn key_file(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| common::cannot_be_read(path.display(), error))?;
    match ServiceAccountKey::parse(&Secret::new(text.as_str())) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// What keeps tokens from being saved.
pub(crate) fn of_store(args: &Args) -> Vec<Problem> {
    let mut problems = Vec::new();
    look_at_store(args, |severity, text| {
        problems.push(Problem {
            severity,
            line: None,
            column: None,
            section: None,
            text,
        });
    });
    problems
}

fn look_at_store(args: &Args, mut tell: impl FnMut(Severity, String)) {
    let path = match &args.cache_store {
        None => &args.config_file,
        Some(CacheStore::File(path)) => path,
        Some(CacheStore::Aws(id)) => {
            if let Err(Unusable(texts)) = proxy::open(&CacheStore::Aws(id.clone())) {
                texts
                    .into_iter()
                    .for_each(|text| tell(Severity::Error, text));
            }
            return;
        }
    };
    match fs::read(path).map(Zeroizing::new) {
        Ok(bytes) if args.cache_store.is_some() => {
            for error in Document::parse(&bytes).err().unwrap_or_default() {
                tell(Severity::Error, format!("{}: {error}", path.display()));
            }
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if !folder.is_dir() {
                let text = texts::no_folder_for_tokens(path.display(), folder.display());
                tell(Severity::Error, text);
            } else if let Err(error) = may_create_in(folder) {
                let text = texts::folder_not_writable(
                    path.display(),
                    folder.display(),
                    error,
                    texts::WRITABLE_OR_ELSEWHERE,
                );
                tell(Severity::Warning, text);
            }
            return;
        }
        Err(error) => {
            let text = common::cannot_be_read(path.display(), error);
            return tell(Severity::Error, text);
        }
    }
    // Nothing is written, and nothing is cut off.
    if let Err(error) = OpenOptions::new().append(true).open(path) {
        let cure = match &args.cache_store {
            None => texts::WRITABLE_OR_ELSEWHERE,
            Some(_) => texts::WRITABLE,
        };
        let text = texts::tokens_not_writable(path.display(), error, cure);
        tell(Severity::Warning, text);
    }
}

/// Whether files can be made there. Nothing is written.
#[cfg(unix)]
fn may_create_in(folder: &Path) -> io::Result<()> {
    let needed = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(rustix::fs::access(folder, needed)?)
}

/// Only trying would tell.
#[cfg(not(unix))]
fn may_create_in(_: &Path) -> io::Result<()> {
    Ok(())
}
