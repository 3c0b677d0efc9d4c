//! A runtime between clients and a server of the test's.

use super::{Authority, Lines, PATIENCE, Peer, Runtime, until};
use crate::{ListenerConfig, Options};
use base64::{Engine, engine::general_purpose::STANDARD};
use event_listener::Event;
use proxy_proto::{
    Authenticate, Bearer, BoxFuture, LocalTls, LoginRequest, Protocol, Refusal, Secret,
    SessionConfig,
};
use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// The only login name.
pub const USER: &str = "user@example.com";

/// Knows one password, and by others does what they say.
#[derive(Default)]
pub struct Accounts {
    /// Relays that are open now.
    pub open: Arc<AtomicUsize>,
    /// Logins that wait.
    pub waiting: Arc<AtomicUsize>,
    /// Tells waiting logins to go on.
    pub approved: Event,
    /// Where the clients of all logins came from.
    pub clients: Mutex<Vec<SocketAddr>>,
}

struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Count(counter.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Authenticate for Accounts {
    fn authenticate(&self, request: LoginRequest) -> BoxFuture<Result<Bearer, Refusal>> {
        self.clients.lock().unwrap().push(request.client);
        let bearer = Bearer {
            token: Secret::new("token-1"),
            user: request.login.user.clone(),
            mechanism: None,
        };
        match request.login.password.expose() {
            "right" => Box::pin(async { Ok(bearer) }),
            "wait" => {
                let approval = self.approved.listen();
                let waiting = Count::new(&self.waiting);
                Box::pin(async move {
                    approval.await;
                    drop(waiting);
                    Ok(bearer)
                })
            }
            "panic" => panic!("a defect of the authenticator"),
            _ => {
                Box::pin(async { Err(Refusal::Denied("wrong password for this test".to_owned())) })
            }
        }
    }

    fn session_opened(&self, user: &str) -> Box<dyn Send + Sync> {
        assert_eq!(user, USER);
        Box::new(Count::new(&self.open))
    }
}

/// A server, and a runtime in front of it.
pub struct Stage<R> {
    /// Signs the certificates of both.
    pub authority: Authority,
    /// What is spoken.
    pub protocol: Protocol,
    /// The server's socket.
    pub server: TcpListener,
    /// The runtime's authenticator.
    pub accounts: Arc<Accounts>,
    /// Without listeners to begin with.
    pub runtime: R,
}

impl<R: Runtime> Stage<R> {
    /// With default options.
    pub fn new(protocol: Protocol) -> Self {
        Stage::with(protocol, Options::default())
    }

    /// With these options.
    pub fn with(protocol: Protocol, options: Options) -> Self {
        let accounts = Arc::new(Accounts::default());
        Stage {
            authority: Authority::new(),
            protocol,
            server: TcpListener::bind("127.0.0.1:0").unwrap(),
            runtime: R::start(accounts.clone(), options),
            accounts,
        }
    }

    /// The session configuration without anything special.
    pub fn session(&self) -> SessionConfig {
        SessionConfig::new(self.protocol)
    }

    /// A listener on a free port of 127.0.0.1, with a certificate where `session` needs one.
    pub fn listener(&self, session: SessionConfig) -> ListenerConfig {
        let mut listener = ListenerConfig::new(
            "TEST-1",
            0,
            "localhost",
            self.server.local_addr().unwrap().port(),
            session,
            self.authority.trust().client_config(None).unwrap(),
        );
        listener.address = "127.0.0.1".to_owned();
        if listener.session.local_tls != LocalTls::None {
            listener.local_tls = Some(self.authority.leaf("localhost").server_config());
        }
        listener
    }

    /// Makes it the only listener.
    pub fn apply(&self, listener: ListenerConfig) -> SocketAddr {
        self.runtime.apply(vec![listener]).unwrap();
        self.runtime.listeners()[0].addresses[0]
    }

    /// A plaintext client of a new listener, and a server that does this.
    pub fn connected<T: Send + 'static>(
        &self,
        session: SessionConfig,
        serve: impl FnOnce(Lines, Protocol) -> T + Send + 'static,
    ) -> (Lines, JoinHandle<T>) {
        let address = self.apply(self.listener(session));
        (Lines::connect(address), self.accept_tls(serve))
    }

    /// Does this with the next connection at the server, TLS established.
    pub fn accept_tls<T: Send + 'static>(
        &self,
        serve: impl FnOnce(Lines, Protocol) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let local = self.authority.leaf("localhost").server_config();
        self.accept(move |peer, protocol| serve(Lines(peer.secured_by(local).unwrap()), protocol))
    }

    /// Does this with the next connection at the server.
    pub fn accept<T: Send + 'static>(
        &self,
        serve: impl FnOnce(Peer, Protocol) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let server = self.server.try_clone().unwrap();
        let protocol = self.protocol;
        thread::spawn(move || serve(Peer::new(server.accept().unwrap().0), protocol))
    }

    /// Looks until there are no sessions any more.
    pub fn sessions_are_gone(&self) {
        until("no sessions", || self.runtime.sessions() == 0);
    }

    /// Looks until a login waits for approval.
    pub fn a_login_waits(&self) {
        until("a waiting login", || {
            self.accounts.waiting.load(Ordering::SeqCst) > 0
        });
    }

    /// Establishes TLS with the runtime.
    pub fn upgraded(&self, client: Lines) -> Lines {
        let config = self.authority.trust().client_config(None).unwrap();
        Lines(client.0.secure(config).unwrap())
    }
}

/// A whole login at the server, then echoes; returns the decoded token.
pub(super) fn serve(mut server: Lines, protocol: Protocol) -> String {
    server.greet(protocol);
    let token = server.take_login(protocol).unwrap();
    server.echo();
    String::from_utf8(STANDARD.decode(token).unwrap()).unwrap()
}

/// What [`serve`] returns when all is well.
pub(super) fn expected_token() -> String {
    format!("user={USER}\x01auth=Bearer token-1\x01\x01")
}

/// Says and answers nothing but a greeting, until the end.
pub(super) fn greet_only(mut server: Lines, protocol: Protocol) {
    server.greet(protocol);
    while server.hear().is_some() {}
}

pub(super) fn greeting(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "* OK",
        Protocol::Pop => "+OK",
        Protocol::Smtp => "220 ",
    }
}

pub(super) fn login(protocol: Protocol, password: &str) -> String {
    let plain = STANDARD.encode(format!("\0{USER}\0{password}"));
    match protocol {
        Protocol::Imap => format!("A1 LOGIN {USER} {password}\r\n"),
        Protocol::Pop | Protocol::Smtp => format!("AUTH PLAIN {plain}\r\n"),
    }
}

/// A login behind the greeting, EHLO first where that is due.
pub(super) fn log_in(client: &mut Lines, protocol: Protocol, password: &str) {
    if protocol == Protocol::Smtp {
        client.say("EHLO laptop.example\r\n");
        client.hear_from("250 ");
    }
    client.say(&login(protocol, password));
    client.hear_from(match protocol {
        Protocol::Imap => "A1 OK",
        Protocol::Pop => "+OK",
        Protocol::Smtp => "235 ",
    });
}

/// One line echoed, and the end.
pub(super) fn talk(client: &mut Lines) {
    client.say("hello\r\n");
    assert_eq!(client.hear().as_deref(), Some("echo hello"));
    client.0.close().unwrap();
    assert_eq!(client.hear(), None);
}

/// Greeting, login, one line echoed, the end.
pub(super) fn log_in_and_talk(client: &mut Lines, protocol: Protocol, password: &str) {
    client.hear_from(greeting(protocol));
    log_in(client, protocol, password);
    talk(client);
}

/// Whatever the peer sends until it ends or breaks.
pub(super) fn ends(client: &mut Lines) {
    client.0.tcp().set_read_timeout(Some(PATIENCE)).unwrap();
    while client.hear().is_some() {}
}
