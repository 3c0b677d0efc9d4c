//! `emailproxy add`: an account and its servers, written into the configuration, from a provider that is known, from autoconfig, or
//! from what is said.

mod ask;
mod autoconfig;
mod gather;
mod plan;

use crate::{
    args::Args,
    messages::{add as texts, common, sentence},
    serve::{FAILED, UNUSABLE},
};
use oauth::store::{FileStore, StoreError};
use plan::Plan;
use proxy_proto::Protocol;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Options of `emailproxy add`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AddArgs {
    /// The account's mail address; asked for at a terminal
    #[arg(value_name = "ADDRESS")]
    pub address: Option<String>,

    /// The provider: gmail, outlook, office365, fastmail, yahoo or aol; without it: by the address's domain
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,

    /// The protocols to set up [default: imap,smtp]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = protocol)]
    pub protocols: Vec<Protocol>,

    /// The id of the client that you have registered at the provider
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,

    /// Read the client's secret from the first line of standard input
    #[arg(long)]
    pub client_secret_stdin: bool,

    /// Approve by entering a code on another device, for machines without a browser
    #[arg(long)]
    pub device: bool,

    /// Microsoft: the organisation's tenant id, in place of `common`
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,

    /// Local port for IMAP; without it a free one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub imap_port: Option<u16>,

    /// Local port for POP (which is set up then)
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub pop_port: Option<u16>,

    /// Local port for SMTP; without it a free one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub smtp_port: Option<u16>,

    /// Another provider: its IMAP server (STARTTLS on port 143, else TLS from the first byte)
    #[arg(long, value_name = "HOST:PORT")]
    pub imap_server: Option<String>,

    /// Another provider: its POP server (STARTTLS on port 110, else TLS from the first byte)
    #[arg(long, value_name = "HOST:PORT")]
    pub pop_server: Option<String>,

    /// Another provider: its SMTP server (STARTTLS on ports 587 and 25, else TLS from the first byte)
    #[arg(long, value_name = "HOST:PORT")]
    pub smtp_server: Option<String>,

    /// Another provider: where its user approves
    #[arg(long, value_name = "URL")]
    pub permission_url: Option<String>,

    /// Another provider: where tokens are issued
    #[arg(long, value_name = "URL")]
    pub token_url: Option<String>,

    /// The scope to ask for, in place of the provider's usual one
    #[arg(long, value_name = "SCOPE")]
    pub scope: Option<String>,

    /// Where the browser comes back to, in place of the provider's usual one
    #[arg(long, value_name = "URL")]
    pub redirect_uri: Option<String>,

    /// Take the servers from this autoconfig document
    #[arg(long, value_name = "URL")]
    pub autoconfig_url: Option<String>,

    /// Ask nothing: look autoconfig up where the domain is not known, and write
    #[arg(long)]
    pub yes: bool,

    /// Print what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn protocol(name: &str) -> Result<Protocol, String> {
    [Protocol::Imap, Protocol::Pop, Protocol::Smtp]
        .into_iter()
        .find(|protocol| protocol.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| texts::THE_PROTOCOLS.to_owned())
}

/// Why nothing was written.
#[derive(Debug)]
enum Failure {
    /// Something is missing or cannot be; exit code 2.
    Wrong(String),
    /// Something did not work; exit code 1.
    Failed(String),
    /// The user has changed their mind; exit code 1.
    Declined,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Failed(error.0)
    }
}

/// Gathers what is needed, asks whether it is right, writes it, and says what comes next.
pub fn run(args: &Args, options: &AddArgs) -> ExitCode {
    let (code, text) = match add(args, options) {
        Ok(text) => {
            // Nobody is left to be told where that cannot be written.
            let _ = io::stdout().lock().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Failure::Wrong(text)) => (UNUSABLE, text),
        Err(Failure::Failed(text)) => (FAILED, text),
        Err(Failure::Declined) => (FAILED, texts::NOTHING_WRITTEN.to_owned()),
    };
    let _ = writeln!(io::stderr(), "emailproxy: {text}");
    ExitCode::from(code)
}

fn add(args: &Args, options: &AddArgs) -> Result<String, Failure> {
    let mut terminal = ask::Terminal::new(!options.yes);
    let existing = read(&args.config_file)?;
    let wish = gather::wish(options, &existing, &mut terminal)?;
    let plan = Plan::new(&wish, &existing)?;
    if options.dry_run {
        return Ok(format!("{}\n{}", plan.sections(), plan.advice(args)));
    }
    if terminal.is_there() {
        let head = texts::will_be_added(args.config_file.display());
        let sections = plan.sections_without_secret();
        terminal.show(&format!("\n{head}\n\n{sections}"))?;
        if !terminal.agrees(texts::ASK_WRITE)? {
            return Err(Failure::Declined);
        }
    }
    // The file may have changed while the user thought.
    FileStore::cache(&args.config_file).edit(|document| plan.insert(document))?;
    let file = args.config_file.display();
    let done = sentence(&texts::is_set_up(plan.address(), file));
    Ok(format!("{done}\n{}", plan.advice(args)))
}

/// The configuration so far; an empty one where there is no file.
fn read(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::Wrong(common::cannot_be_read(
            path.display(),
            error,
        ))),
    }
}
