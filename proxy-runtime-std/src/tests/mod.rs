//! The tests of all runtimes, over this one.

mod parking;
mod threads;

use crate::{
    Bound, Counts, ListenError, ListenerConfig, OpenSession, Options, Runtime, Stopped, serve,
};
use proxy_proto::{Authenticate, LocalTls, Protocol};
use proxy_runtime::testing::{self, Lines, Stage, USER};
use std::{net::TcpListener, sync::Arc, thread, time::Duration};

impl testing::Runtime for Runtime {
    fn start(authenticate: Arc<dyn Authenticate>, options: Options) -> Self {
        Runtime::start(authenticate, options).unwrap()
    }

    fn apply(&self, listeners: Vec<ListenerConfig>) -> Result<(), Vec<ListenError>> {
        Runtime::apply(self, listeners)
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
        Runtime::shutdown(self, deadline)
    }
}

proxy_runtime::runtime_tests!(Runtime);

#[test]
fn one_session_is_served_on_the_callers_thread() {
    let stage = Stage::<Runtime>::new(Protocol::Pop);
    let config = stage.listener(stage.session());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Lines::connect(listener.local_addr().unwrap());
    let (accepted, _) = listener.accept().unwrap();
    let server = stage.accept_tls(|mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol).unwrap();
        server.echo();
    });
    let talking = thread::spawn(move || {
        client.hear_from("+OK");
        client.say("AUTH PLAIN AHVzZXJAZXhhbXBsZS5jb20AcmlnaHQ=\r\n");
        client.hear_from("+OK");
        client.say("STAT\r\n");
        assert_eq!(client.hear().as_deref(), Some("echo STAT"));
        client.0.close().unwrap();
        assert_eq!(client.hear(), None);
    });
    let accounts = stage.accounts.clone();
    let ended = serve(accepted, config, accounts, &Options::default()).unwrap();
    assert_eq!(ended.login.as_deref(), Some(USER));
    assert_eq!((ended.up, ended.down), (6, 11));
    assert_eq!(ended.why, "finished");
    talking.join().unwrap();
    server.join().unwrap();
}

#[test]
fn a_session_that_cannot_begin_says_why() {
    let stage = Stage::<Runtime>::new(Protocol::Imap);
    let mut session = stage.session();
    session.local_tls = LocalTls::Implicit;
    let config = stage.listener(session);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Lines::connect(listener.local_addr().unwrap());
    client.say("A1 NOOP\r\n");
    let (accepted, _) = listener.accept().unwrap();
    let accounts = stage.accounts.clone();
    let ended = serve(accepted, config, accounts, &Options::default()).unwrap();
    assert_eq!(ended.login, None);
    assert!(ended.why.contains("plaintext to a TLS port"), "{ended:?}");
}
