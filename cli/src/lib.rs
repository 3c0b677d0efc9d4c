//! The `emailproxy` command: puts accounts and tokens ([`oauth`]), sessions ([`proxy_runtime_smol`], [`proxy_runtime_std`]) and the people who use
//! them together.
//!
//! ```text
//!   args ──► serve ──► proxy ──► runtime (listeners, sessions) ──► gate ──► oauth::Authenticator
//!              ▲         ▲                                                        │ needs permission
//!   signals ───┘         │                                                        ▼
//!   log                 demo (a sandbox, and the proxy in front of it)        consent: receiver, terminal
//! ```
//!
//! - [`accounts`]: what is done to saved values without serving: another password, secrets encrypted beforehand.
//! - [`args`]: the command line, which is the Python tool's and more.
//! - [`board`]: standard error, where a prompt or a countdown survives log lines.
//! - [`add`]: an account and its servers, written into the configuration.
//! - [`check`]: what is wrong with a configuration.
//! - [`log`]: text to standard error or to a rotated file; secrets stay out.
//! - [`signals`]: reload, debug, end.
//! - [`control`]: how commands reach a running proxy.
//! - [`consent`]: how a user is asked: the browser's redirect is received, or pasted.
//! - [`proxy`]: one configuration, served; can be embedded (the end-to-end tests do).
//! - [`runtime`]: what sessions run on, tasks or threads.
//! - `scripts`: the option `plugins`.
//! - [`console`]: a web page that shows all of this, metrics and health.
//! - [`service`]: started by systemd, launchd or Windows.
//! - [`systemd`]: readiness, watchdog and listening sockets, as service managers have them.
//! - [`manual`]: completions and the manual page.
//! - [`serve`]: the command without a subcommand.
//! - `messages`: all that a person reads of it.
//! - [`demo`]: the same in front of a sandbox, for a first look without any account.
//!
//! The whole command is a library as well:
//!
//! ```no_run
//! use emailproxy::{
//!     consent::{Front, Receiver, Terminal, Way},
//!     proxy::{Proxy, Source, Unusable},
//!     runtime::Kind,
//! };
//! use std::{sync::Arc, time::Duration};
//!
//! # fn main() -> Result<(), Unusable> {
//! smol::block_on(async {
//!     let consent = Front::new(Way::Auto, Receiver::default(), Terminal::default(), None);
//!     let source = Source { config_file: "emailproxy.config".into(), cache_store: None };
//!     let proxy = Proxy::start(source, Kind::Smol, Arc::new(consent)).await?;
//!     for listener in proxy.listeners() {
//!         println!("{} listens at {:?}", listener.heading, listener.addresses);
//!     }
//!     // ... until it is time to end:
//!     proxy.end(Duration::from_secs(15)).await.map_err(Unusable)
//! })
//! # }
//! ```
//!
//! Exit codes: 0 after a graceful end, 1 for a failure while running, 2 for a wrong command line or configuration.

#![forbid(unsafe_code)]

pub mod accounts;
pub mod add;
pub mod args;
mod authorise;
pub mod board;
pub mod check;
pub mod consent;
pub mod console;
pub mod control;
pub mod demo;
mod gate;
pub mod log;
pub mod manual;
mod messages;
pub mod proxy;
pub mod runtime;
mod scripts;
pub mod serve;
pub mod service;
pub mod signals;
pub mod systemd;
mod version;

use clap::Parser;
use std::process::ExitCode;

/// Runs the command with this process's arguments. It is called first thing in `main`, before there are threads.
pub fn run() -> ExitCode {
    let args = args::Args::parse();
    let logged = |run: &dyn Fn(&log::Log) -> ExitCode| match log::start(
        args.log_file.as_deref(),
        args.log_format,
        args.debug,
    ) {
        Ok(log) => run(&log),
        Err(error) => {
            eprintln!("emailproxy: {error}");
            ExitCode::from(serve::UNUSABLE)
        }
    };
    match &args.command {
        None => logged(&|log| serve::run(&args, log)),
        Some(args::Command::Demo(demo)) => logged(&|log| demo::run(demo, args.runtime, log)),
        Some(args::Command::Passwd { account }) => logged(&|_| accounts::passwd(&args, account)),
        Some(args::Command::EncryptSecret { section }) => {
            logged(&|_| accounts::encrypt_secret(&args, section))
        }
        Some(args::Command::Console { address }) => console::print_link(&args, address.as_ref()),
        Some(args::Command::Authorise { account, fresh }) => logged(&|log| {
            log.hush(args.debug);
            authorise::authorise(&args, account, *fresh)
        }),
        Some(args::Command::Accounts { json }) => logged(&|log| {
            log.hush(args.debug);
            authorise::accounts(&args, *json)
        }),
        Some(args::Command::Add(add)) => add::run(&args, add),
        Some(args::Command::Check(check)) => check::run(&args, check),
        Some(args::Command::Service(service)) => service::run(&args, service),
        Some(args::Command::Completions { shell }) => manual::completions(*shell),
        Some(args::Command::Man { command }) => manual::man(command.as_deref()),
    }
}
