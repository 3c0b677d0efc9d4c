//! The command line. What the Python tool's users have in their scripts and service files goes on working.

use crate::{console::ConsoleAddress, log, runtime};
use clap::{Parser, Subcommand};
use std::{convert::Infallible, path::PathBuf, str::FromStr};

/// Lets any IMAP, POP or SMTP client reach mail providers that demand OAuth 2.0.
///
/// Without a command, serves what the configuration file describes. Log in from the mail client with the account's address and a
/// password of your own choice: it encrypts the account's tokens and is never sent to the provider.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "emailproxy",
    version,
    long_version = crate::version::LONG,
    infer_long_args = true,
    after_help = "Signals: SIGHUP reloads the configuration, SIGUSR1 toggles debug logging, SIGTERM and SIGINT end gracefully.\n\
                  Exit codes: 0 after a graceful end, 1 for a failure while running, 2 for a wrong command line or configuration."
)]
pub struct Args {
    /// Accepted for compatibility: there is no tray icon
    #[arg(long)]
    pub no_gui: bool,

    /// Show authorisation URLs in the log and read the address of the final page from the terminal (or from standard input)
    #[arg(long, global = true)]
    pub external_auth: bool,

    /// Receive the browser's final redirect on the account's `redirect_uri` (or `redirect_listen_address`)
    #[arg(long, global = true)]
    pub local_server_auth: bool,

    /// The configuration file
    #[arg(
        long,
        value_name = "PATH",
        default_value = "emailproxy.config",
        global = true
    )]
    pub config_file: PathBuf,

    /// Keep tokens in this file (or AWS secret) instead of the configuration file
    #[arg(long, value_name = "PATH-or-aws:ID", global = true)]
    pub cache_store: Option<CacheStore>,

    /// What sessions run on
    #[arg(
        long,
        value_name = "RUNTIME",
        value_enum,
        default_value_t,
        global = true
    )]
    pub runtime: runtime::Kind,

    /// Log to this file (rotated at 32 MiB, ten kept) instead of standard error
    #[arg(long, value_name = "PATH", global = true)]
    pub log_file: Option<PathBuf>,

    /// Serve the web console, on port 8025 of the loopback or at this address; counts before `console_address`
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "8025")]
    pub console: Option<ConsoleAddress>,

    /// The form of log lines; without it: journal where standard error is one, else text
    #[arg(long, value_name = "FORMAT", value_enum, global = true)]
    pub log_format: Option<log::Format>,

    /// Log the dialogue up to the login, secrets replaced, and what leads to each decision
    #[arg(long, global = true)]
    pub debug: bool,

    /// What to do; without it: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Try the proxy without any account: sandbox provider, sandbox mail server and proxy in one process, on loopback only
    Demo(DemoArgs),

    /// Change an account's local password without a new approval: its saved tokens are encrypted under the new one
    ///
    /// Asks for the old and the new password at the terminal; otherwise reads them from standard input, one a line. They are never
    /// given on the command line, where other users of the machine could see them. A running proxy may go on running: it takes the
    /// new password at the next login.
    ///
    /// Exit codes: 0 when done; 1 for a wrong password, or a store in trouble; 2 for a wrong command line or configuration, or
    /// where nothing is saved. Unless it is 0, nothing was changed.
    Passwd {
        /// The account's address, as in its heading
        #[arg(value_name = "ACCOUNT")]
        account: String,
    },

    /// Encrypt a client secret before its first use: `client_secret` becomes `client_secret_encrypted`
    ///
    /// With client credentials or a service account, whoever logs in first chooses the password: this chooses it beforehand. Of a
    /// service account's key file the contents are encrypted. All accounts that a catch-all covers have to use its password.
    ///
    /// Asks for the password at the terminal, twice; otherwise reads one line from standard input. A running proxy has to read the
    /// configuration again (SIGHUP). Exit codes as for `passwd`.
    EncryptSecret {
        /// The account's address, or the catch-all's heading such as @example.com
        #[arg(value_name = "ACCOUNT|@DOMAIN")]
        section: String,
    },

    /// Print the link that opens the web console, with its token
    ///
    /// Give the --config-file and --cache-store that the running proxy has; the address too, where that is not in the
    /// configuration (`console_address`).
    Console {
        /// Where the console listens
        #[arg(value_name = "ADDRESS")]
        address: Option<ConsoleAddress>,
    },

    /// Get and save an account's token now, beside a running proxy or without one
    ///
    /// Asks for the account's local password at the terminal (twice where none is saved yet), otherwise reads it from the first line of
    /// standard input. Then it shows what to open, as the proxy does at a first login: the browser comes back by itself, or the
    /// address of the final page is pasted (--external-auth), or a code is entered on any device. A running proxy that serves the same
    /// configuration does the work and has the token at once; else this command does it.
    ///
    /// Exit codes: 0 when the token is saved; 1 for a wrong password, a refusal, or trouble that may pass; 2 for a wrong command line or
    /// configuration.
    #[command(visible_alias = "authorize")]
    Authorise {
        /// The account's address, as in its heading
        #[arg(value_name = "ACCOUNT")]
        account: String,

        /// Ask for permission even where a saved token would serve
        #[arg(long)]
        fresh: bool,
    },

    /// Show how each account stands: authorised until when, last used, waiting for consent; no secrets
    ///
    /// A running proxy that serves the same configuration is asked; else it is read from where tokens are saved. Exit codes: 0; 1 where
    /// nothing can be read; 2 for a wrong command line or configuration.
    Accounts {
        /// Print JSON for programs
        #[arg(long)]
        json: bool,
    },

    /// Set an account up: writes its section and its servers into the configuration, and prints the mail program's settings
    ///
    /// Asks at a terminal for what the command line does not say. Providers are known by the address's domain or by --preset; for
    /// others the servers are looked up (autoconfig, after asking) or named. Comments, order and what stands in the file stay as they
    /// are, and an account that is there is never written over.
    ///
    /// Exit codes: 0 when it is written; 2 where something is missing or cannot be; 1 where something failed, or you declined.
    /// Unless it is 0, nothing was written.
    Add(Box<crate::add::AddArgs>),

    /// Look for everything that is wrong with the configuration, without serving it
    ///
    /// Names each problem with file, line and what to do, and each line that the Python tool takes otherwise.
    ///
    /// Exit codes: 0 where there is no error, though perhaps warnings; 2 for errors; 1 where the configuration is in order, but
    /// `--connect` found a server or provider that cannot be used.
    Check(crate::check::CheckArgs),

    /// Start the proxy with the machine or with your session: systemd, launchd or the Windows registry
    Service(crate::service::ServiceArgs),

    /// Print the completions of a shell: `emailproxy completions bash > /etc/bash_completion.d/emailproxy`
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },

    /// Print the manual page, or that of a command, in roff: `emailproxy man | man -l -`
    Man {
        /// The command whose page is wanted
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
}

/// Options of `emailproxy demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Approve the consent page without a browser, as a person would
    #[arg(long)]
    pub approve: bool,

    /// Serve the web console, on port 8025 of the loopback or at this address
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "8025")]
    pub console: Option<ConsoleAddress>,

    /// IMAP, POP and SMTP are served on this port + 143, + 110 and + 587 (0: on any free ones)
    #[arg(long, value_name = "PORT", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(0..=64_948))]
    pub port_base: u16,
}

/// `--cache-store`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheStore {
    /// A local file.
    File(PathBuf),
    /// A secret's name or ARN in AWS Secrets Manager.
    Aws(String),
}

impl FromStr for CacheStore {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("aws:") {
            Some(id) => CacheStore::Aws(id.to_owned()),
            None => CacheStore::File(text.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("emailproxy").chain(line.split_whitespace()))
    }

    #[test]
    fn nothing_means_serve_with_the_file_of_the_working_directory() {
        let args = parse("").unwrap();
        assert_eq!(args.config_file, PathBuf::from("emailproxy.config"));
        assert!(args.command.is_none());
        assert!(!args.external_auth && !args.local_server_auth && !args.debug && !args.no_gui);
        assert_eq!((args.cache_store, args.log_file), (None, None));
        assert_eq!(args.runtime, runtime::Kind::Smol);
    }

    #[test]
    fn command_lines_of_the_python_tool_are_understood() {
        let args = parse(
            "--no-gui --external-auth --config-file /etc/a.config --cache-store /var/b --log-file /var/log/c --debug",
        )
        .unwrap();
        assert!(args.no_gui && args.external_auth && !args.local_server_auth && args.debug);
        assert_eq!(args.config_file, PathBuf::from("/etc/a.config"));
        assert_eq!(args.cache_store, Some(CacheStore::File("/var/b".into())));
        assert_eq!(args.log_file, Some("/var/log/c".into()));
        let args = parse("--local-server-auth --no-gui --config-file=/etc/a.config").unwrap();
        assert!(args.local_server_auth);
        assert_eq!(args.config_file, PathBuf::from("/etc/a.config"));
    }

    #[test]
    fn unambiguous_beginnings_of_options_are_understood_as_argparse_does() {
        let args = parse("--no --external --config x --local").unwrap();
        assert!(args.no_gui && args.external_auth && args.local_server_auth);
        assert_eq!(args.config_file, PathBuf::from("x"));
    }

    #[test]
    fn a_cache_store_is_a_path_or_a_secret() {
        let store = |text: &str| parse(&format!("--cache-store {text}")).unwrap().cache_store;
        let arn = "arn:aws:secretsmanager:eu-west-1:1:secret:mail";
        assert_eq!(
            store(&format!("aws:{arn}")),
            Some(CacheStore::Aws(arn.into()))
        );
        assert_eq!(
            store("tokens.aws:x"),
            Some(CacheStore::File("tokens.aws:x".into()))
        );
    }

    #[test]
    fn a_runtime_is_smol_or_std() {
        for (line, kind) in [
            ("--runtime smol", runtime::Kind::Smol),
            ("--runtime std", runtime::Kind::Std),
            ("demo --runtime std", runtime::Kind::Std),
        ] {
            assert_eq!(parse(line).unwrap().runtime, kind, "{line}");
        }
    }

    #[test]
    fn wrong_command_lines_end_with_exit_code_2() {
        for line in [
            "--nonsense",
            "--config-file",
            "--runtime tokio",
            "serve-me",
            "demo --port-base 65000",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn version_and_help_are_no_errors() {
        for (line, kind) in [
            ("--version", ErrorKind::DisplayVersion),
            ("--help", ErrorKind::DisplayHelp),
            ("demo --help", ErrorKind::DisplayHelp),
        ] {
            let answer = parse(line).unwrap_err();
            assert_eq!((answer.kind(), answer.exit_code()), (kind, 0), "{line}");
        }
        assert!(
            parse("--version")
                .unwrap_err()
                .to_string()
                .contains(env!("CARGO_PKG_VERSION"))
        );
    }

    #[test]
    fn the_console_has_an_address_or_the_usual_one() {
        let console = |line: &str| parse(line).unwrap().console.map(|at| at.to_string());
        assert_eq!(console(""), None);
        assert_eq!(console("--console").as_deref(), Some("localhost:8025"));
        assert_eq!(
            console("--console --debug").as_deref(),
            Some("localhost:8025")
        );
        assert_eq!(console("--console 9000").as_deref(), Some("localhost:9000"));
        assert_eq!(console("--console=[::1]:1").as_deref(), Some("[::1]:1"));
        let wrong = parse("--console http://x").unwrap_err();
        assert_eq!(wrong.exit_code(), 2);
        assert!(wrong.to_string().contains("127.0.0.1:8025"), "{wrong}");
        let args = parse("--config-file x console 9000").unwrap();
        assert!(matches!(
            args.command,
            Some(Command::Console { address: Some(_) })
        ));
    }

    #[test]
    fn files_may_be_named_before_or_behind_the_command() {
        for line in [
            "--config-file x --cache-store y passwd a@b.example",
            "passwd a@b.example --config-file x --cache-store y",
        ] {
            let args = parse(line).unwrap();
            assert_eq!(args.config_file, PathBuf::from("x"), "{line}");
            assert_eq!(args.cache_store, Some(CacheStore::File("y".into())));
            assert!(
                matches!(args.command, Some(Command::Passwd { account }) if account == "a@b.example")
            );
        }
        let args = parse("encrypt-secret @b.example").unwrap();
        assert!(
            matches!(args.command, Some(Command::EncryptSecret { section }) if section == "@b.example")
        );
        // a password has no place there
        assert!(parse("passwd a@b.example secret").is_err());
        assert!(parse("encrypt-secret").is_err());
    }

    #[test]
    fn the_demo_takes_logging_options_too() {
        let args = parse("demo --approve --debug --log-file x --port-base 0").unwrap();
        assert!(args.debug);
        assert_eq!(args.log_file, Some("x".into()));
        let Some(Command::Demo(demo)) = args.command else {
            panic!("{args:?}")
        };
        assert!(demo.approve);
        assert_eq!(demo.port_base, 0);
    }
}
