//! Questions at the terminal.

use super::Failure;
use crate::messages::add as texts;
use proxy_proto::Secret;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use zeroize::Zeroizing;

/// Longest answer that is read, in bytes.
const LONGEST: u64 = 32 * 1024;

/// Whoever sits there, if somebody does.
pub(super) struct Terminal {
    there: bool,
}

impl Terminal {
    /// `asks`: whoever sits there may be asked.
    pub(super) fn new(asks: bool) -> Self {
        let there = asks && io::stdin().is_terminal() && io::stderr().is_terminal();
        Terminal { there }
    }

    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    pub(super) fn show(&mut self, text: &str) -> Result<(), Failure> {
        let mut output = io::stderr().lock();
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
            .map_err(|error| broken(&error))
    }

    /// Tells what takes its time, where somebody may be watching.
    pub(super) fn progress(&mut self, text: &str) {
        if io::stderr().is_terminal() {
            // Without it everything goes on all the same.
            let _ = self.show(text);
        }
    }

    /// An answer, without outer blanks. `None` where nobody sits there, or nothing is typed.
    pub(super) fn answer(&mut self, question: &str) -> Result<Option<String>, Failure> {
        if !self.there {
            return Ok(None);
        }
        self.show(&format!("{question}: "))?;
        let line = line()?;
        let answer = line.trim();
        Ok((!answer.is_empty()).then(|| answer.to_owned()))
    }

    /// Whether the answer is yes; nothing typed is.
    pub(super) fn agrees(&mut self, question: &str) -> Result<bool, Failure> {
        loop {
            let answer = self.answer(&format!("{question} [Y/n]"))?;
            match answer.as_deref().map(str::to_lowercase).as_deref() {
                None | Some("y" | "yes") => return Ok(true),
                Some("n" | "no") => return Ok(false),
                Some(_) => {}
            }
        }
    }

    /// A secret, which is not shown. `None` where nothing is typed.
    pub(super) fn secret(&mut self, question: &str) -> Result<Option<Secret>, Failure> {
        if !self.there {
            return Ok(None);
        }
        let typed = rpassword::prompt_password(format!("{question}: "));
        let typed = Zeroizing::new(typed.map_err(|error| broken(&error))?);
        Ok(secret(&typed))
    }
}

/// The secret in the first line of standard input.
pub(super) fn secret_from_input() -> Result<Secret, Failure> {
    secret(&line()?).ok_or_else(|| Failure::Wrong(texts::NO_SECRET_ON_INPUT.to_owned()))
}

fn secret(text: &str) -> Option<Secret> {
    let text = text.trim();
    (!text.is_empty()).then(|| Secret::new(text))
}

/// The next line; an end of the input is no answer to anything.
fn line() -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::with_capacity(1024));
    let count = io::stdin().lock().take(LONGEST).read_line(&mut line);
    match count.map_err(|error| broken(&error))? {
        0 => Err(Failure::Declined),
        _ => Ok(line),
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::Failed(texts::terminal_gone(error))
}
