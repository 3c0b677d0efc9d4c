//! The runtime that `--runtime` names: both have the same listeners, sessions and limits, on tasks or on threads.

use crate::messages::serve as texts;
use proxy_proto::Authenticate;
use proxy_runtime_smol::{
    Bound, Counts, ListenError, ListenerConfig, OpenSession, Options, Stopped,
};
use std::{io, sync::Arc, time::Duration};
use tracing::{debug, warn};

/// What sessions run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Tasks, on a thread for each core: thousands of sessions cost little
    #[default]
    Smol,
    /// A thread for each session that has something to do, without an executor
    Std,
}

/// A running one. Dropping it ends it at once.
pub(crate) enum Runtime {
    Smol(proxy_runtime_smol::Runtime),
    /// Shared with the threads on which its blocking calls are made.
    Std(Arc<proxy_runtime_std::Runtime>),
}

impl Runtime {
    /// Starts it without listeners.
    pub(crate) fn start(
        kind: Kind,
        authenticate: Arc<dyn Authenticate>,
        options: Options,
    ) -> io::Result<Runtime> {
        Ok(match kind {
            Kind::Smol => Runtime::Smol(proxy_runtime_smol::Runtime::start(authenticate, options)?),
            Kind::Std => {
                let runtime = proxy_runtime_std::Runtime::start(authenticate, options)?;
                Runtime::Std(Arc::new(runtime))
            }
        })
    }

    /// Makes these the open listeners; where one of them cannot be opened nothing changes.
    pub(crate) async fn apply(
        &self,
        listeners: Vec<ListenerConfig>,
    ) -> Result<(), Vec<ListenError>> {
        match self {
            Runtime::Smol(runtime) => runtime.apply(listeners).await,
            Runtime::Std(runtime) => {
                let runtime = runtime.clone();
                smol::unblock(move || runtime.apply(listeners)).await
            }
        }
    }

    /// Sets [`Options::max_sessions`] and [`Options::max_sessions_per_address`] for later clients.
    pub(crate) fn limit(&self, in_all: Option<usize>, per_address: Option<usize>) {
        match self {
            Runtime::Smol(runtime) => runtime.limit(in_all, per_address),
            Runtime::Std(runtime) => runtime.limit(in_all, per_address),
        }
    }

    /// The open listeners.
    pub(crate) fn listeners(&self) -> Vec<Bound> {
        match self {
            Runtime::Smol(runtime) => runtime.listeners(),
            Runtime::Std(runtime) => runtime.listeners(),
        }
    }

    /// What each listener has done since the start, by heading; the open ones first.
    pub(crate) fn counters(&self) -> Vec<(Arc<str>, Counts)> {
        match self {
            Runtime::Smol(runtime) => runtime.counters(),
            Runtime::Std(runtime) => runtime.counters(),
        }
    }

    /// The open sessions, the oldest first.
    pub(crate) fn open_sessions(&self) -> Vec<OpenSession> {
        match self {
            Runtime::Smol(runtime) => runtime.open_sessions(),
            Runtime::Std(runtime) => runtime.open_sessions(),
        }
    }

    /// Ends gracefully; what is not done after `deadline` is cut off.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> Stopped {
        match self {
            Runtime::Smol(runtime) => runtime.shutdown(deadline).await,
            Runtime::Std(runtime) => {
                let runtime = runtime.clone();
                smol::unblock(move || runtime.shutdown(deadline)).await
            }
        }
    }
}

/// Lets this process have as many sessions as the system allows. Called once, before a runtime starts.
pub(crate) fn raise_open_files_limit() {
    match proxy_runtime_smol::raise_open_files_limit() {
        Ok(Some(limit)) => debug!("{}", texts::open_files(limit)),
        Ok(None) => debug!("{}", texts::ANY_OPEN_FILES),
        Err(error) => warn!("{}", texts::open_files_limited(error)),
    }
}
