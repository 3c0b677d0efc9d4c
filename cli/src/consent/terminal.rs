//! Asks for the address of the browser's final page on the terminal, or reads it from standard input where that is a pipe.

use super::{address, belonging_to, circumstances, is_answer, parameter};
use oauth::consent::{CodeAnswer, CodeRequest, ConsentError, Who};
use proxy_proto::Secret;
use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tracing::warn;

/// Longest line that is read, in octets.
const LINE: u64 = 32 * 1024;

/// What is read from; opened in a thread of its own when somebody is asked for the first time.
type Input = Box<dyn BufRead>;

/// The terminal; clones are the same one.
#[derive(Clone)]
pub struct Terminal {
    shared: Arc<Mutex<Shared>>,
    interactive: bool,
}

struct Shared {
    waiting: Vec<Waiter>,
    next: u64,
    /// `None` once the reading thread has been started.
    open: Option<Box<dyn FnOnce() -> Input + Send>>,
    /// Nothing more will be read.
    ended: bool,
    output: Box<dyn Write + Send>,
}

struct Waiter {
    id: u64,
    state: Secret,
    who: Who,
    redirect_uri: String,
    answers: async_channel::Sender<CodeAnswer>,
}

/// A question on the terminal; withdrawn when dropped.
pub struct Waiting {
    terminal: Terminal,
    id: u64,
    answers: async_channel::Receiver<CodeAnswer>,
}

impl Default for Terminal {
    /// Prompts on standard error and reads standard input.
    fn default() -> Self {
        Terminal::new(
            || Box::new(io::BufReader::new(io::stdin())),
            Box::new(io::stderr()),
            io::stdin().is_terminal(),
        )
    }
}

impl Terminal {
    /// Prompts on `output` and reads what `open` opens (in a thread of its own). `interactive`: a person sits there.
    pub fn new(
        open: impl FnOnce() -> Input + Send + 'static,
        output: Box<dyn Write + Send>,
        interactive: bool,
    ) -> Self {
        Terminal {
            shared: Arc::new(Mutex::new(Shared {
                waiting: Vec::new(),
                next: 0,
                open: Some(Box::new(open)),
                ended: false,
                output,
            })),
            interactive,
        }
    }

    /// Whether a person sits there.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Prompts for the address of the final page that follows `url`.
    ///
    /// # Errors
    ///
    /// When standard input has ended.
    pub fn ask(
        &self,
        request: &CodeRequest,
        redirect_uri: &str,
        url: &str,
    ) -> Result<Waiting, ConsentError> {
        let mut shared = self.lock();
        if shared.ended {
            return Err(ended());
        }
        if let Some(open) = shared.open.take() {
            let terminal = self.clone();
            let thread = std::thread::Builder::new()
                .name("terminal".into())
                .spawn(move || terminal.read(open()));
            if let Err(error) = thread {
                shared.ended = true;
                return Err(ConsentError(format!(
                    "cannot read from the terminal: {error}"
                )));
            }
        }
        let (sender, answers) = async_channel::bounded(1);
        let id = shared.next;
        shared.next += 1;
        shared.waiting.push(Waiter {
            id,
            state: request.state.clone(),
            who: request.who.clone(),
            redirect_uri: redirect_uri.to_owned(),
            answers: sender,
        });
        shared.say(&format!(
            "\nSign in as {} ({}). Open\n\n    {url}\n\nand paste the address of the page where the browser ends; it begins with {redirect_uri}\n> ",
            request.who.account,
            circumstances(&request.who),
        ));
        Ok(Waiting {
            terminal: self.clone(),
            id,
            answers,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads lines until the input ends.
    fn read(&self, mut input: Input) {
        let mut line = Vec::new();
        let mut skipping = false;
        loop {
            line.clear();
            match input.by_ref().take(LINE).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    warn!("cannot read from the terminal: {error}");
                    break;
                }
            }
            let whole = line.ends_with(b"\n") || (line.len() as u64) < LINE;
            if whole && !skipping {
                self.pasted(String::from_utf8_lossy(&line).trim());
            } else if whole {
                self.lock().say("That line is too long for an address.\n> ");
            }
            skipping = !whole;
        }
        let mut shared = self.lock();
        shared.ended = true;
        // Their channels close, and with them their questions.
        shared.waiting.clear();
    }

    /// Hands a pasted address to the account that waits for it.
    fn pasted(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut shared = self.lock();
        let (waiter, redirected) = match shared.claim(text) {
            Ok(claimed) => claimed,
            Err(why) => {
                warn!("a pasted address was refused: {why}");
                shared.say(&format!("{why}\n> "));
                return;
            }
        };
        drop(shared);
        let (outcome, outcomes) = async_channel::bounded(1);
        let answer = CodeAnswer {
            redirected,
            redirect_uri: waiter.redirect_uri,
            outcome,
        };
        if waiter.answers.try_send(answer).is_err() {
            self.lock().say(&format!(
                "The sign-in of {} is no longer waiting.\n",
                waiter.who.account
            ));
            return;
        }
        let (terminal, account) = (self.clone(), waiter.who.account);
        smol::spawn(async move {
            let text = match outcomes.recv().await {
                Ok(Ok(())) => format!("{account} is signed in.\n"),
                Ok(Err(why)) => format!("{account} is not signed in: {why}\n"),
                Err(_) => format!("{account} is not signed in; the log has the details.\n"),
            };
            terminal.lock().say(&text);
        })
        .detach();
    }
}

impl Waiting {
    /// Waits for the address.
    ///
    /// # Errors
    ///
    /// When standard input ends.
    pub async fn answer(&self) -> Result<CodeAnswer, ConsentError> {
        self.answers.recv().await.map_err(|_| ended())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.terminal
            .lock()
            .waiting
            .retain(|waiter| waiter.id != self.id);
    }
}

impl Shared {
    /// Takes out the one who waits for this address; else says why there is none.
    fn claim(&mut self, text: &str) -> Result<(Waiter, String), &'static str> {
        let pasted = address::parse(text).map_err(|_| "That is not the address of a page.")?;
        let query = pasted.query().unwrap_or_default();
        let state = parameter(query, "state")
            .ok_or("That address has no state parameter: paste all of what stands in the browser's address bar.")?;
        let index = belonging_to(self.waiting.iter().map(|waiter| &waiter.state), &state)
            .ok_or("That address belongs to no sign-in that is waiting.")?;
        let expected = address::parse(&self.waiting[index].redirect_uri)
            .map_err(|_| "The redirect_uri is not an address.")?;
        // http or https: browsers and extensions change one into the other.
        if (pasted.host(), pasted.port(), pasted.path())
            != (expected.host(), expected.port(), expected.path())
        {
            return Err("That address does not begin with the account's redirect_uri.");
        }
        if !is_answer(query) {
            return Err("That address has neither a code nor an error in it.");
        }
        Ok((self.waiting.swap_remove(index), pasted.into()))
    }

    /// Shows text in which nothing steers the terminal. A prompt that cannot be written is no reason to fail: the log has
    /// the address too.
    fn say(&mut self, text: &str) {
        let tame = text.replace(|c: char| c.is_control() && c != '\n', " ");
        let _ = self.output.write_all(tame.as_bytes());
        let _ = self.output.flush();
    }
}

fn ended() -> ConsentError {
    ConsentError(
        "nobody can paste an address because standard input is closed; run emailproxy in a terminal, or with --local-server-auth".into(),
    )
}

#[cfg(test)]
mod tests;
