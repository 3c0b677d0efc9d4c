//! Shows the consents that wait at the terminal, and reads addresses of final pages from it, or from standard input where that is a
//! pipe.

use super::{Ask, Waiting, WaitingConsent, circumstances, qr};
use crate::{
    board::{self, Board},
    messages::{consent as texts, counted, sentence},
};
use async_io::Timer;
use event_listener::Event;
use futures_lite::FutureExt;
use oauth::consent::{ConsentError, Outcome};
use std::{
    io::{self, BufRead, IsTerminal, Read},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tracing::warn;

/// Longest line that is read, in octets.
const LINE: u64 = 32 * 1024;

/// What is read from; opened in a thread of its own when somebody is asked for the first time.
type Input = Box<dyn BufRead>;
type Open = Box<dyn FnOnce() -> Input + Send>;

/// The terminal; clones are the same one.
#[derive(Clone)]
pub struct Terminal {
    shared: Arc<Shared>,
}

struct Shared {
    board: Board,
    interactive: bool,
    input: Mutex<State>,
    /// Rung when the input ends.
    end: Event,
    /// The status line is kept by a task.
    counting: AtomicBool,
}

enum State {
    Unread(Open),
    Reading,
    Ended,
}

/// How the final address of a consent comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// To another surface, or not at all (device codes).
    Elsewhere,
    /// The browser brings it to this machine's receiver.
    Received,
    /// It is pasted here.
    Pasted,
    /// Either of these two; or a proxy that is reached from here receives it.
    Either,
}

impl Default for Terminal {
    /// Shows on standard error and reads standard input.
    fn default() -> Self {
        Terminal::new(
            || Box::new(io::BufReader::new(io::stdin())),
            board::stderr(),
            io::stdin().is_terminal(),
        )
    }
}

impl Terminal {
    /// Shows on `board` and reads what `open` opens (in a thread of its own). `interactive`: a person sits there.
    pub fn new(
        open: impl FnOnce() -> Input + Send + 'static,
        board: Board,
        interactive: bool,
    ) -> Self {
        Terminal {
            shared: Arc::new(Shared {
                board,
                interactive,
                input: Mutex::new(State::Unread(Box::new(open))),
                end: Event::new(),
                counting: AtomicBool::new(false),
            }),
        }
    }

    /// Whether a person sits there.
    pub fn is_interactive(&self) -> bool {
        self.shared.interactive
    }

    /// Reads addresses for those in this list from now on.
    ///
    /// # Errors
    ///
    /// When the input has ended.
    pub(super) fn read(&self, waiting: &Waiting) -> Result<(), ConsentError> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Reading) {
            State::Reading => Ok(()),
            State::Ended => {
                *state = State::Ended;
                Err(ended())
            }
            State::Unread(open) => {
                let (terminal, waiting) = (self.clone(), waiting.clone());
                let thread = std::thread::Builder::new()
                    .name("terminal".into())
                    .spawn(move || terminal.lines(open(), &waiting));
                thread.map(drop).map_err(|error| {
                    *state = State::Ended;
                    ConsentError::Unable(texts::terminal_unreadable(error))
                })
            }
        }
    }

    /// Completes when the input has ended: nobody can paste any more.
    pub(super) async fn ended(&self) -> ConsentError {
        loop {
            let end = self.shared.end.listen();
            if matches!(*self.state(), State::Ended) {
                return ended();
            }
            end.await;
        }
    }

    /// Tells what to do about a consent.
    pub(super) fn show(&self, consent: &WaitingConsent, back: Back) {
        let circumstances = circumstances(&consent.who());
        let sign_in = texts::sign_in(consent.id, &consent.account, circumstances);
        let (Ask::Browser { url, .. } | Ask::Device { url, .. }) = &consent.kind;
        let mut text = format!("\n{sign_in}\n\n    {url}\n\n");
        match &consent.kind {
            Ask::Browser { redirect_uri, .. } => text.push_str(&match back {
                Back::Elsewhere => String::new(),
                Back::Received => format!("{}.\n", texts::IN_A_BROWSER),
                Back::Pasted => format!("{}\n", texts::paste_the_end(redirect_uri)),
                Back::Either => format!("{}\n", texts::paste_if_it_does_not_load(redirect_uri)),
            }),
            Ask::Device {
                complete_url, code, ..
            } => {
                text.push_str(&format!("{}\n\n    {code}\n\n", texts::ENTER_THE_CODE));
                if let Some(complete) = complete_url {
                    text.push_str(&format!("or open\n\n    {complete}\n\n"));
                }
            }
        }
        self.shared.board.say(&text);
        if let (Ask::Device { .. }, Some(columns)) = (&consent.kind, board::columns())
            && self.shared.board.is_drawable()
            && let Some(code) = qr::for_terminal(consent.url(), columns)
        {
            // A picture that nobody sees is no loss: the address stands above it.
            let _ = self.shared.board.write(code.as_bytes());
        }
    }

    /// Tells what became of a consent.
    pub(super) fn tell(&self, account: &str, outcome: &Outcome) {
        self.say(&match outcome {
            Ok(granted) => match &granted.other_person {
                None => texts::signed_in(account),
                Some(other) => texts::signed_in_by(account, other),
            },
            Err(why) => texts::not_signed_in(account, why),
        });
    }

    /// A line that stands alone.
    fn say(&self, text: &str) {
        self.shared.board.say(&format!("{}\n", sentence(text)));
    }

    /// Keeps a status line with the time that is left, for as long as anybody waits. Nothing where nobody would see it.
    pub(super) fn count_down(&self, waiting: &Waiting) {
        if !self.shared.board.is_drawable() || self.shared.counting.swap(true, Ordering::SeqCst) {
            return;
        }
        let (terminal, waiting) = (self.clone(), waiting.clone());
        smol::spawn(async move {
            loop {
                let changed = waiting.changed();
                let list = waiting.list();
                if list.is_empty() {
                    terminal.shared.counting.store(false, Ordering::SeqCst);
                    // Somebody may have come between the look and the store.
                    if waiting.list().is_empty()
                        || terminal.shared.counting.swap(true, Ordering::SeqCst)
                    {
                        terminal.shared.board.set_status("");
                        return;
                    }
                    continue;
                }
                let prompting = matches!(*terminal.state(), State::Reading);
                terminal.shared.board.set_status(&status(&list, prompting));
                let second = async {
                    Timer::after(Duration::from_secs(1)).await;
                };
                changed.or(second).await;
            }
        })
        .detach();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let input = &self.shared.input;
        input.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads lines until the input ends.
    fn lines(&self, mut input: Input, waiting: &Waiting) {
        let mut line = Vec::new();
        let mut skipping = false;
        loop {
            line.clear();
            match input.by_ref().take(LINE).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    warn!("{}", texts::terminal_unreadable(error));
                    break;
                }
            }
            let whole = line.ends_with(b"\n") || (line.len() as u64) < LINE;
            if whole && self.shared.interactive {
                self.shared.board.entered();
            }
            if whole && !skipping {
                self.entered(String::from_utf8_lossy(&line).trim(), waiting);
            } else if whole {
                self.say(texts::LINE_TOO_LONG);
            }
            skipping = !whole;
        }
        *self.state() = State::Ended;
        self.shared.end.notify(usize::MAX);
    }

    /// A line: an address; or a number, which shows that sign-in again; or one with a minus before it, which dismisses it; or nothing,
    /// which shows all.
    fn entered(&self, line: &str, waiting: &Waiting) {
        let dismissed = line.strip_prefix('-').and_then(|id| id.trim().parse().ok());
        if let Some(id) = dismissed {
            match waiting.dismiss(id) {
                true => self.say(&texts::dismissed_number(id)),
                false => self.say(texts::NO_SUCH_SIGN_IN),
            }
            return;
        }
        let number = line.parse::<u64>().ok();
        if line.is_empty() || number.is_some() {
            let list = waiting.list();
            let mut shown = list
                .iter()
                .filter(|consent| number.is_none_or(|number| number == consent.id))
                .peekable();
            if shown.peek().is_none() {
                if self.shared.interactive {
                    self.say(texts::NO_SUCH_SIGN_IN);
                }
                return;
            }
            shown.for_each(|consent| self.show(consent, Back::Either));
            return;
        }
        match waiting.hand_over(None, line) {
            // Whoever asked tells the outcome, whichever way the answer came.
            Ok(_) => {}
            Err(why) => {
                warn!("{}", texts::pasted_refused(why));
                self.say(why);
            }
        }
    }
}

/// One row. With a prompt it changes once a minute only: what is being typed disappears from sight when it is drawn again.
fn status(list: &[WaitingConsent], prompting: bool) -> String {
    let Some(first) = list.iter().min_by_key(|consent| consent.ends) else {
        return String::new();
    };
    let who = match list.len() {
        1 => texts::THE_SIGN_IN.to_owned(),
        several => counted(several, "sign-in"),
    };
    let left = first.left().as_secs();
    if prompting {
        let minutes = counted(left.div_ceil(60), "minute");
        return texts::paste_here(minutes, who) + " ";
    }
    let left = format!("{}:{:02}", left / 60, left % 60);
    texts::time_left(who, left) + " "
}

fn ended() -> ConsentError {
    ConsentError::Unable(texts::INPUT_CLOSED.into())
}

#[cfg(test)]
mod tests;
