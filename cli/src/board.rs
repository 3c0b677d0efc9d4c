//! Standard error as a person sees it: lines that scroll, and below them one status line that stays.
//!
//! Log lines and everything else that is written to standard error come through [`stderr`], so that a prompt or a countdown survives
//! them: it is wiped before each line and drawn again behind it.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

/// Back to the start of the row, and wipe it.
const WIPE: &[u8] = b"\r\x1b[K";

/// Output with a status line below it; clones are the same.
#[derive(Clone)]
pub struct Board {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    output: Box<dyn Write + Send>,
    /// Whether the status line may be drawn: a terminal in whose foreground we are.
    drawable: Box<dyn Fn() -> bool + Send>,
    status: String,
    drawn: bool,
    /// The last thing printed ended a line.
    at_start: bool,
}

/// The one of standard error.
pub fn stderr() -> Board {
    static STDERR: LazyLock<Board> = LazyLock::new(|| {
        let terminal = io::stderr().is_terminal();
        Board::new(Box::new(io::stderr()), move || terminal && in_foreground())
    });
    STDERR.clone()
}

impl Board {
    /// One that writes to `output`, and draws its status line when `drawable` says so.
    pub fn new(
        output: Box<dyn Write + Send>,
        drawable: impl Fn() -> bool + Send + 'static,
    ) -> Board {
        Board {
            shared: Arc::new(Mutex::new(Shared {
                output,
                drawable: Box::new(drawable),
                status: String::new(),
                drawn: false,
                at_start: true,
            })),
        }
    }

    /// Writes bytes as they are, normally whole lines, above the status line.
    ///
    /// # Errors
    ///
    /// What the output says.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut shared = self.lock();
        shared.wipe()?;
        shared.output.write_all(bytes)?;
        shared.at_start = bytes.last().is_none_or(|last| *last == b'\n');
        shared.draw()
    }

    /// Writes text in which nothing can steer the terminal. Where it cannot be written nobody is left to be told.
    pub fn say(&self, text: &str) {
        let tame = text.replace(|c: char| c.is_control() && c != '\n', " ");
        let _ = self.write(tame.as_bytes());
    }

    /// Replaces the status line: at most one row of text; empty for none.
    pub fn set_status(&self, status: &str) {
        let mut shared = self.lock();
        if shared.status == status && (shared.drawn || status.is_empty()) {
            return;
        }
        let _ = shared.wipe();
        shared.status = status.replace(char::is_control, " ");
        let _ = shared.draw();
    }

    /// The terminal has moved to a new row by itself, because somebody has typed Return.
    pub fn entered(&self) {
        self.lock().drawn = false;
    }

    /// Whether a status line would be seen.
    pub fn is_drawable(&self) -> bool {
        (self.lock().drawable)()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn wipe(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.drawn) {
            self.output.write_all(WIPE)?;
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        if !self.status.is_empty() && self.at_start && (self.drawable)() {
            self.output.write_all(self.status.as_bytes())?;
            self.drawn = true;
        }
        self.output.flush()
    }
}

/// In the background of a shell a status line would be drawn over what others write.
#[cfg(unix)]
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn in_foreground() -> bool {
    true
}

/// Columns of the terminal at standard error; `None` where that is something else.
#[cfg(unix)]
pub(crate) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

#[cfg(not(unix))]
pub(crate) fn columns() -> Option<usize> {
    io::stderr().is_terminal().then_some(80)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Collects what is shown.
    #[derive(Clone, Default)]
    pub(crate) struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        pub(crate) fn text(&self) -> String {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&bytes).into_owned()
        }

        pub(crate) fn board(&self, drawable: bool) -> Board {
            Board::new(Box::new(self.clone()), move || drawable)
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_status_line_survives_what_is_written() {
        let screen = Screen::default();
        let board = screen.board(true);
        board.set_status("paste> ");
        board.say("a line\n");
        board.set_status("paste> ");
        board.set_status("other> ");
        board.set_status("");
        board.say("the end\n");
        assert_eq!(
            screen.text(),
            "paste> \r\x1b[Ka line\npaste> \r\x1b[Kother> \r\x1b[Kthe end\n"
        );
    }

    #[test]
    fn nothing_is_drawn_where_nobody_sees_it_and_nothing_said_steers() {
        let screen = Screen::default();
        let board = screen.board(false);
        board.set_status("paste> ");
        board.say("a\u{1b}[2J\rline\n");
        assert_eq!(screen.text(), "a [2J line\n");
    }

    #[test]
    fn what_somebody_has_entered_is_not_wiped() {
        let screen = Screen::default();
        let board = screen.board(true);
        board.set_status("> ");
        board.entered();
        board.say("thanks\n");
        assert_eq!(screen.text(), "> thanks\n> ");
    }
}
