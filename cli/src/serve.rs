//! `emailproxy` without a command: serves what the configuration file describes until it is told to end.

#[cfg(unix)]
use crate::control;
use crate::{
    args::{Args, CacheStore},
    board, check,
    consent::{Front, Receiver, Terminal, Waiting, Way},
    console::{self, Console},
    log::Log,
    messages::serve as texts,
    proxy::{Proxy, Source, Unusable},
    runtime,
    signals::{Request, Signals},
    systemd::{self, Notify},
};
use futures_lite::FutureExt;
use std::{
    env,
    io::{self, IsTerminal},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tracing::{error, info, warn};

/// How long sessions get to end by themselves.
const GRACE: Duration = Duration::from_secs(15);

/// Exit code of a failure while running.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a wrong command line or configuration.
pub(crate) const UNUSABLE: u8 = 2;

/// Serves until SIGTERM or SIGINT; the exit code says how it went.
pub fn run(args: &Args, log: &Log) -> ExitCode {
    // Before there are threads.
    for problem in systemd::take_sockets() {
        warn!("{problem}");
    }
    runtime::raise_open_files_limit();
    let notify = Notify::from_environment();
    let source = Source {
        config_file: args.config_file.clone(),
        cache_store: args.cache_store.clone(),
    };
    let consent = Front::new(way(args), Receiver::default(), Terminal::default(), None)
        .opening_browser()
        .notifying_desktop();
    let waiting = consent.waiting();
    smol::block_on(async {
        let mut signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => {
                error!("{}", texts::cannot_catch_signals(error));
                return ExitCode::from(FAILED);
            }
        };
        match Proxy::start(source, args.runtime, Arc::new(consent)).await {
            Ok(proxy) => {
                let proxy = Arc::new(proxy);
                warn_of_store(args);
                let _control = reachable(args, &proxy, waiting.clone());
                let console = Console::new(&proxy, args.console.clone(), waiting, log);
                match console.configure(&proxy).await {
                    Ok(link) => link.iter().for_each(console::show),
                    Err(problem) => return refuse(&Unusable(vec![problem]), args, &notify),
                }
                notify.ready(&proxy.status());
                notify.feed_watchdog();
                until_ended(&proxy, &console, &mut signals, log, &notify).await
            }
            Err(unusable) => refuse(&unusable, args, &notify),
        }
    })
}

/// How the final address comes back, as the options say. Who came by SSH has the browser elsewhere, most likely, and may paste
/// beside the receiver.
pub(crate) fn way(args: &Args) -> Way {
    let from_afar = || env::var_os("SSH_CONNECTION").is_some() && io::stdin().is_terminal();
    match (args.external_auth, args.local_server_auth) {
        (false, false) if from_afar() => Way::Both,
        (false, false) => Way::Auto,
        (true, false) => Way::Paste,
        (false, true) => Way::Receiver,
        (true, true) => Way::Both,
    }
}

/// Says at the start, rather than after somebody's consent, that tokens cannot be saved. AWS is asked by its store.
fn warn_of_store(args: &Args) {
    if !matches!(args.cache_store, Some(CacheStore::Aws(_))) {
        let problems = check::of_store(args);
        problems
            .iter()
            .for_each(|problem| warn!("{}", problem.text));
    }
}

/// Lets commands reach this proxy while what is returned lives. It serves mail without that too.
#[cfg(unix)]
fn reachable(args: &Args, proxy: &Proxy, waiting: Waiting) -> Option<control::Control> {
    match control::serve(&args.config_file, proxy.authenticator().clone(), waiting) {
        Ok(control) => Some(control),
        Err(unreachable) => {
            warn!("{unreachable}");
            None
        }
    }
}

#[cfg(not(unix))]
fn reachable(_: &Args, _: &Proxy, _: Waiting) {}

/// Does what signals ask for until they ask for the end.
pub(crate) async fn until_ended(
    proxy: &Proxy,
    console: &Console,
    signals: &mut Signals,
    log: &Log,
    notify: &Notify,
) -> ExitCode {
    loop {
        match signals.next().await {
            Request::End => break,
            Request::Reload => {
                notify.reloading();
                let mut refused = false;
                match proxy.reload().await {
                    Ok(()) => {
                        info!("{}", texts::READ_AGAIN);
                        match console.configure(proxy).await {
                            Ok(link) => link.iter().for_each(console::show),
                            Err(problem) => error!("{}", texts::console_stays(problem)),
                        }
                    }
                    Err(Unusable(problems)) => {
                        problems.iter().for_each(|problem| error!("{problem}"));
                        warn!("{}", texts::NOT_TAKEN_OVER);
                        refused = true;
                    }
                }
                let status = proxy.status();
                notify.ready(&match refused {
                    true => texts::reload_refused(status),
                    false => status,
                });
            }
            Request::ToggleDebug => {
                let on = log.toggle_debug();
                proxy.refresh_dialogue().await;
                info!("{}", texts::debug(on));
            }
        }
    }
    info!("{}", texts::ENDING);
    notify.stopping(texts::SESSIONS_END);
    console.end();
    let gracefully = async {
        match proxy.end(GRACE).await {
            Ok(()) => {
                info!("{}", texts::ENDED);
                ExitCode::SUCCESS
            }
            Err(problems) => {
                problems.iter().for_each(|problem| error!("{problem}"));
                ExitCode::from(FAILED)
            }
        }
    };
    let at_once = async {
        while signals.next().await != Request::End {}
        warn!("{}", texts::ENDED_AT_ONCE);
        ExitCode::from(FAILED)
    };
    let code = gracefully.or(at_once).await;
    // The shell's prompt comes where a countdown may have been.
    board::stderr().set_status("");
    code
}

/// Says why nothing is served: in the log, and where that is a file to whoever started it as well.
fn refuse(unusable: &Unusable, args: &Args, notify: &Notify) -> ExitCode {
    notify.status(unusable.0.first().map_or("", String::as_str));
    for problem in &unusable.0 {
        error!("{problem}");
        if args.log_file.is_some() {
            eprintln!("emailproxy: {problem}");
        }
    }
    ExitCode::from(UNUSABLE)
}
