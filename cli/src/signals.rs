//! What the system's signals ask for.

use crate::messages::serve as texts;
use async_signal::{Signal, Signals as Stream};
use futures_lite::StreamExt;
use std::io;

/// A signal's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM, SIGINT: end gracefully; asked a second time: end at once.
    End,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: switch debug logging on or off.
    ToggleDebug,
}

/// The signals of this process, caught from its creation on.
pub struct Signals {
    stream: Stream,
}

impl Signals {
    /// Begins to catch signals.
    ///
    /// # Errors
    ///
    /// What the system says when handlers cannot be set.
    pub fn catch() -> io::Result<Self> {
        #[cfg(unix)]
        let caught = [Signal::Term, Signal::Int, Signal::Hup, Signal::Usr1];
        #[cfg(not(unix))]
        let caught = [Signal::Int];
        Ok(Signals {
            stream: Stream::new(caught)?,
        })
    }

    /// Waits for the next request. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Request {
        loop {
            match self.stream.next().await {
                #[cfg(unix)]
                Some(Ok(Signal::Hup)) => return Request::Reload,
                #[cfg(unix)]
                Some(Ok(Signal::Usr1)) => return Request::ToggleDebug,
                Some(Ok(_)) => return Request::End,
                Some(Err(error)) => tracing::warn!("{}", texts::signal_lost(error)),
                None => std::future::pending().await,
            }
        }
    }
}
