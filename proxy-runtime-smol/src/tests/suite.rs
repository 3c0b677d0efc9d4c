//! The tests of all runtimes, over this one.

use crate::{Bound, Counts, ListenError, ListenerConfig, OpenSession, Options, Runtime, Stopped};
use futures_lite::future::block_on;
use proxy_proto::Authenticate;
use proxy_runtime::testing;
use std::{sync::Arc, time::Duration};

impl testing::Runtime for Runtime {
    fn start(authenticate: Arc<dyn Authenticate>, options: Options) -> Self {
        Runtime::start(authenticate, options).unwrap()
    }

    fn apply(&self, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>> {
        block_on(Runtime::apply(self, listeners))
    }

    fn limit(&self, max_sessions: Option<usize>, max_sessions_per_address: Option<usize>) {
        Runtime::limit(self, max_sessions, max_sessions_per_address);
    }

    fn listeners(&self) -> Vec<Bound> {
        Runtime::listeners(self)
    }

    fn sessions(&self) -> usize {
        Runtime::sessions(self)
    }

    fn counters(&self) -> Vec<(Arc<str>, Counts)> {
        Runtime::counters(self)
    }

    fn open_sessions(&self) -> Vec<OpenSession> {
        Runtime::open_sessions(self)
    }

    fn shutdown(&self, deadline: Duration) -> Stopped {
        block_on(Runtime::shutdown(self, deadline))
    }
}

proxy_runtime::runtime_tests!(Runtime);
