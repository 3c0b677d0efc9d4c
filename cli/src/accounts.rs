//! `emailproxy passwd` and `emailproxy encrypt-secret`: saved values under another password, without a login.

use crate::{
    args::Args,
    board,
    messages::{accounts as texts, common},
    proxy::{self, Unusable},
    serve::{FAILED, UNUSABLE},
};
use oauth::{
    authenticator::{
        NEW_ITERATIONS,
        rekey::{self, RekeyError, Stores},
    },
    settings::{Settings, Severity},
    store::{FileStore, Store},
};
use proxy_proto::Secret;
use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    process::ExitCode,
    sync::Arc,
};
use zeroize::Zeroizing;

/// Longest line that is read for a password, in bytes: more than any login may have.
const LONGEST_LINE: u64 = 32 * 1024;

/// `emailproxy passwd ACCOUNT`.
pub fn passwd(args: &Args, account: &str) -> ExitCode {
    end(change(args, account))
}

/// `emailproxy encrypt-secret ACCOUNT|@DOMAIN`.
pub fn encrypt_secret(args: &Args, section: &str) -> ExitCode {
    end(encrypt(args, section))
}

/// Why a command was not carried out.
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) text: String,
}

pub(crate) fn unusable(text: String) -> Failure {
    let code = UNUSABLE;
    Failure { code, text }
}

pub(crate) fn failed(text: String) -> Failure {
    let code = FAILED;
    Failure { code, text }
}

impl From<RekeyError> for Failure {
    fn from(error: RekeyError) -> Self {
        let text = error.to_string();
        match error {
            RekeyError::Configuration(_) => unusable(text),
            RekeyError::Password(_) | RekeyError::Store(_) => failed(text),
        }
    }
}

pub(crate) fn end(result: Result<String, Failure>) -> ExitCode {
    board::stderr().set_status("");
    // There is nobody to tell where neither can be written.
    match result {
        Ok(done) => {
            let _ = writeln!(io::stdout(), "{done}");
            ExitCode::SUCCESS
        }
        Err(Failure { code, text }) => {
            let _ = writeln!(io::stderr(), "emailproxy: {text}");
            ExitCode::from(code)
        }
    }
}

fn change(args: &Args, name: &str) -> Result<String, Failure> {
    let settings = settings(args)?;
    let open = Open::new(args)?;
    let asked = Asked::new();
    let old = asked.password(&texts::ask_old_password(name), texts::THE_OLD_PASSWORD)?;
    let new = asked.new_password(&texts::ask_new_password(name), texts::THE_NEW_PASSWORD)?;
    let done = rekey::change_password(&settings, open.stores(), name, &old, &new, NEW_ITERATIONS)?;
    Ok(texts::password_changed(
        &done.heading,
        done.options.join(", "),
        open.tokens.describe(),
    ))
}

fn encrypt(args: &Args, name: &str) -> Result<String, Failure> {
    let settings = settings(args)?;
    let open = Open::new(args)?;
    let file = rekey::key_file(&settings, name).map(|path| path.display().to_string());
    let asked = Asked::new();
    let password = asked.new_password(&texts::ask_login_password(name), texts::THE_PASSWORD)?;
    let done = rekey::encrypt_secret(&settings, open.stores(), name, &password, NEW_ITERATIONS)?;
    let text = texts::secret_encrypted(&done.heading, args.config_file.display());
    Ok(match file {
        Some(file) => texts::key_still_there(text, file),
        None => text,
    })
}

pub(crate) fn settings(args: &Args) -> Result<Settings, Failure> {
    let loaded = Settings::load(&args.config_file);
    loaded.settings.ok_or_else(|| {
        let errors = loaded
            .problems
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .map(|problem| match problem.line {
                Some(line) => format!("{}:{line}: {}", args.config_file.display(), problem.text),
                None => problem.text.clone(),
            });
        unusable(errors.collect::<Vec<_>>().join("\n"))
    })
}

/// The stores that the command line names.
struct Open {
    tokens: Arc<dyn Store>,
    configuration: Option<FileStore>,
}

impl Open {
    fn new(args: &Args) -> Result<Open, Failure> {
        let configuration = FileStore::configuration(&args.config_file);
        let Some(cache) = &args.cache_store else {
            return Ok(Open {
                tokens: Arc::new(configuration),
                configuration: None,
            });
        };
        let tokens =
            proxy::open(cache).map_err(|Unusable(problems)| unusable(problems.join("\n")))?;
        Ok(Open {
            tokens,
            configuration: Some(configuration),
        })
    }

    fn stores(&self) -> Stores<'_> {
        Stores {
            tokens: &*self.tokens,
            configuration: self.configuration.as_ref().map(|store| store as &dyn Store),
        }
    }
}

/// Asks for passwords: at the terminal without echo, else on standard input.
pub(crate) struct Asked {
    terminal: bool,
}

impl Asked {
    pub(crate) fn new() -> Asked {
        let terminal = io::stdin().is_terminal();
        Asked { terminal }
    }

    /// `what` says in an error what was expected; `prompt` goes without its colon.
    pub(crate) fn password(&self, prompt: &str, what: &str) -> Result<Secret, Failure> {
        let trouble = |error: io::Error| failed(common::cannot_be_read(what, error));
        if self.terminal {
            let typed = rpassword::prompt_password(format!("{prompt}: "));
            let line = Zeroizing::new(typed.map_err(trouble)?);
            return Ok(Secret::new(line.as_str()));
        }
        let mut line = Zeroizing::new(String::with_capacity(1024));
        io::stdin()
            .lock()
            .take(LONGEST_LINE)
            .read_line(&mut line)
            .map_err(trouble)?;
        let text = line.strip_suffix('\n').unwrap_or(&line);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(failed(texts::is_missing(what)));
        }
        Ok(Secret::new(text))
    }

    /// At the terminal, where nobody sees what is typed, it is asked for twice.
    pub(crate) fn new_password(&self, prompt: &str, what: &str) -> Result<Secret, Failure> {
        let password = self.password(prompt, what)?;
        if self.terminal && self.password(texts::ASK_AGAIN, what)? != password {
            return Err(failed(texts::THE_TWO_DIFFER.to_owned()));
        }
        Ok(password)
    }
}
