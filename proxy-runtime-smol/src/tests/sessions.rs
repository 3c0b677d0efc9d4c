//! Whole sessions: client, runtime and server, each over real sockets.

use super::{Authority, PATIENCE, plain_pair};
use crate::{
    ListenerConfig, Options, Runtime, Stopped, handshake,
    handshake::within,
    pump::{Outcome, Pump},
    session::Context,
    stop::{Stop, Watch},
    stream::{Socket, Stream},
};
use async_io::Async;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use proxy_proto::{
    Authenticate, Bearer, BoxFuture, LocalTls, LoginRequest, Protocol, Refusal, Secret,
    SessionConfig, UpstreamTls,
};
use std::{
    future::{Future, poll_fn},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const USER: &str = "user@example.com";

/// Knows one password, and by others does what they say.
#[derive(Default)]
struct Accounts {
    /// Relays that are open now.
    open: Arc<AtomicUsize>,
    /// Logins that wait.
    waiting: Arc<AtomicUsize>,
    /// Tells waiting logins to go on.
    approved: Arc<event_listener::Event>,
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

/// A server and a proxy in front of it.
struct Stage {
    authority: Authority,
    protocol: Protocol,
    server: Async<TcpListener>,
    accounts: Arc<Accounts>,
    runtime: Runtime,
}

impl Stage {
    fn new(protocol: Protocol) -> Self {
        let accounts = Arc::new(Accounts::default());
        Stage {
            authority: Authority::new(),
            protocol,
            server: Async::<TcpListener>::bind(([127, 0, 0, 1], 0)).unwrap(),
            runtime: Runtime::start(accounts.clone(), Options::default()).unwrap(),
            accounts,
        }
    }

    fn listener(&self, session: SessionConfig) -> ListenerConfig {
        let mut listener = ListenerConfig::new(
            "TEST-1",
            0,
            "localhost",
            self.server.get_ref().local_addr().unwrap().port(),
            session,
            self.authority.trust().client_config(None).unwrap(),
        );
        listener.address = "127.0.0.1".to_owned();
        if listener.session.local_tls != LocalTls::None {
            listener.local_tls = Some(self.authority.leaf("localhost").server_config());
        }
        listener
    }

    async fn listen(&self, session: SessionConfig) -> SocketAddr {
        self.apply(self.listener(session)).await
    }

    async fn apply(&self, listener: ListenerConfig) -> SocketAddr {
        self.runtime.apply(vec![listener]).await.unwrap();
        self.runtime.listeners()[0].addresses[0]
    }

    /// A plaintext client of a new listener, and a server that serves it.
    async fn connected(&self, session: SessionConfig) -> (Client, smol::Task<Server>) {
        let address = self.listen(session).await;
        (connect(address).await, self.accept_tls())
    }

    /// The next connection, TLS established.
    fn accept_tls(&self) -> smol::Task<Server> {
        let accepted = self.server.get_ref().try_clone().unwrap();
        let local = self.authority.leaf("localhost").server_config();
        let protocol = self.protocol;
        smol::spawn(async move {
            let (tcp, _) = Async::new(accepted).unwrap().accept().await.unwrap();
            let stream = handshake::with_client(Socket::new(tcp), local, PATIENCE)
                .await
                .unwrap();
            Server {
                lines: Lines(stream),
                protocol,
            }
        })
    }

    async fn sessions_are_gone(&self) {
        while self.runtime.sessions() > 0 {
            smol::future::yield_now().await;
        }
    }
}

async fn connect(address: SocketAddr) -> Client {
    let tcp = Async::<TcpStream>::connect(address).await.unwrap();
    Lines(Stream::Plain(Socket::new(tcp)))
}

type Client = Lines;

/// A peer that speaks and hears lines.
struct Lines(Stream);

impl Lines {
    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Without CRLF; `None` at the end.
    async fn hear(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.0.read(&mut byte).await.unwrap_or(0) > 0 {
            line.push(byte[0]);
            if line.ends_with(b"\r\n") {
                line.truncate(line.len() - 2);
                return Some(String::from_utf8(line).unwrap());
            }
        }
        assert!(line.is_empty(), "{line:?}");
        None
    }

    /// Hears lines until one begins like this.
    async fn hear_from(&mut self, beginning: &str) -> String {
        loop {
            let line = self.hear().await.expect(beginning);
            if line.starts_with(beginning) {
                return line;
            }
        }
    }
}

/// A mail server that takes any XOAUTH2 login and then echoes.
struct Server {
    lines: Lines,
    protocol: Protocol,
}

impl Server {
    async fn greet(&mut self) {
        self.lines
            .say(match self.protocol {
                Protocol::Imap => "* OK ready\r\n",
                Protocol::Pop => "+OK ready\r\n",
                Protocol::Smtp => "220 mx.example ready\r\n",
            })
            .await;
    }

    /// Answers until a login is accepted; returns what came with it, decoded.
    async fn log_in(&mut self) -> String {
        loop {
            let line = self.lines.hear().await.expect("a command before the login");
            let words: Vec<&str> = line.split(' ').collect();
            let (tag, command) = match self.protocol {
                Protocol::Imap => (words[0], words[1..].to_vec()),
                _ => ("", words),
            };
            match command[0].to_ascii_uppercase().as_str() {
                "CAPABILITY" => {
                    let answer =
                        format!("* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n{tag} OK done\r\n");
                    self.lines.say(&answer).await;
                }
                "CAPA" => self.lines.say("+OK\r\nSASL XOAUTH2\r\nUIDL\r\n.\r\n").await,
                "EHLO" => {
                    self.lines
                        .say("250-mx.example\r\n250-SIZE 1000000\r\n250 AUTH XOAUTH2\r\n")
                        .await
                }
                "AUTHENTICATE" | "AUTH" => {
                    assert_eq!(command[1], "XOAUTH2");
                    let token = match command.get(2) {
                        Some(token) => (*token).to_owned(),
                        None => {
                            self.lines
                                .say(if self.protocol == Protocol::Smtp {
                                    "334 \r\n"
                                } else {
                                    "+ \r\n"
                                })
                                .await;
                            self.lines.hear().await.unwrap()
                        }
                    };
                    let answer = match self.protocol {
                        Protocol::Imap => format!("{tag} OK welcome\r\n"),
                        Protocol::Pop => "+OK welcome\r\n".to_owned(),
                        Protocol::Smtp => "235 2.7.0 welcome\r\n".to_owned(),
                    };
                    self.lines.say(&answer).await;
                    return String::from_utf8(STANDARD.decode(token).unwrap()).unwrap();
                }
                other => panic!("{other} before the login"),
            }
        }
    }

    /// Sends every line back until the client ends.
    async fn echo(&mut self) {
        while let Some(line) = self.lines.hear().await {
            self.lines.say(&format!("echo {line}\r\n")).await;
        }
        self.lines.0.close().await.unwrap();
    }

    async fn serve(mut self) -> String {
        self.greet().await;
        let token = self.log_in().await;
        self.echo().await;
        token
    }
}

fn patiently<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(async { within(PATIENCE, future).await.expect("it hangs") })
}

fn login(protocol: Protocol, password: &str) -> String {
    match protocol {
        Protocol::Imap => format!("A1 LOGIN {USER} {password}\r\n"),
        Protocol::Pop => format!(
            "AUTH PLAIN {}\r\n",
            STANDARD.encode(format!("\0{USER}\0{password}"))
        ),
        Protocol::Smtp => {
            format!(
                "AUTH PLAIN {}\r\n",
                STANDARD.encode(format!("\0{USER}\0{password}"))
            )
        }
    }
}

fn greeting(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "* OK",
        Protocol::Pop => "+OK",
        Protocol::Smtp => "220 ",
    }
}

fn success(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "A1 OK",
        Protocol::Pop => "+OK",
        Protocol::Smtp => "235 ",
    }
}

/// Greeting, EHLO where that is due, login, one line echoed, the end.
async fn logs_in_and_talks(client: &mut Client, protocol: Protocol, password: &str) {
    client.hear_from(greeting(protocol)).await;
    log_in_greeted(client, protocol, password).await;
    talk(client).await;
}

async fn log_in_greeted(client: &mut Client, protocol: Protocol, password: &str) {
    if protocol == Protocol::Smtp {
        client.say("EHLO laptop.example\r\n").await;
        client.hear_from("250 ").await;
    }
    client.say(&login(protocol, password)).await;
    client.hear_from(success(protocol)).await;
}

async fn talk(client: &mut Client) {
    client.say("one line\r\n").await;
    assert_eq!(client.hear().await.as_deref(), Some("echo one line"));
    client.0.close().await.unwrap();
    assert_eq!(client.hear().await, None);
}

fn expected_token() -> String {
    format!("user={USER}\x01auth=Bearer token-1\x01\x01")
}

fn whole_session(protocol: Protocol) {
    let stage = Stage::new(protocol);
    patiently(async {
        let (mut client, server) = stage.connected(SessionConfig::new(protocol)).await;
        let server = smol::spawn(async { server.await.serve().await });
        logs_in_and_talks(&mut client, protocol, "right").await;
        assert_eq!(server.await, expected_token());
        stage.sessions_are_gone().await;
        assert_eq!(stage.accounts.open.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn imap_from_greeting_to_end() {
    whole_session(Protocol::Imap);
}

#[test]
fn pop_from_greeting_to_end() {
    whole_session(Protocol::Pop);
}

#[test]
fn smtp_from_greeting_to_end() {
    whole_session(Protocol::Smtp);
}

#[test]
fn a_refused_login_leaves_the_session_usable() {
    let stage = Stage::new(Protocol::Imap);
    patiently(async {
        let (mut client, server) = stage.connected(SessionConfig::new(Protocol::Imap)).await;
        let server = smol::spawn(async { server.await.serve().await });
        client.hear_from("* OK").await;
        client.say(&format!("A0 LOGIN {USER} wrong\r\n")).await;
        let refusal = client.hear_from("A0 ").await;
        assert!(
            refusal.starts_with("A0 NO [AUTHENTICATIONFAILED]"),
            "{refusal}"
        );
        log_in_greeted(&mut client, Protocol::Imap, "right").await;
        client.say("first\r\n").await;
        assert_eq!(client.hear().await.as_deref(), Some("echo first"));
        // What is echoed has been relayed, so the authenticator has heard of the session.
        assert_eq!(stage.accounts.open.load(Ordering::SeqCst), 1);
        talk(&mut client).await;
        server.await;
    });
}

#[test]
fn the_server_side_is_upgraded_by_starttls() {
    let stage = Stage::new(Protocol::Smtp);
    patiently(async {
        let mut session = SessionConfig::new(Protocol::Smtp);
        session.upstream_tls = UpstreamTls::StartTls;
        let address = stage.listen(session).await;
        let server = async {
            let (tcp, _) = stage.server.accept().await.unwrap();
            let mut plain = Lines(Stream::Plain(Socket::new(tcp)));
            plain.say("220 mx.example ready\r\n").await;
            plain.hear_from("EHLO").await;
            plain.say("250-mx.example\r\n250 STARTTLS\r\n").await;
            assert_eq!(plain.hear().await.as_deref(), Some("STARTTLS"));
            plain.say("220 go ahead\r\n").await;
            let Stream::Plain(socket) = plain.0 else {
                unreachable!("still plain")
            };
            let local = stage.authority.leaf("localhost").server_config();
            let stream = handshake::with_client(socket, local, PATIENCE)
                .await
                .unwrap();
            let mut server = Server {
                lines: Lines(stream),
                protocol: Protocol::Smtp,
            };
            let token = server.log_in().await;
            server.echo().await;
            token
        };
        let client = async {
            let mut client = connect(address).await;
            logs_in_and_talks(&mut client, Protocol::Smtp, "right").await;
        };
        let (token, ()) = futures_lite::future::zip(server, client).await;
        assert_eq!(token, expected_token());
    });
}

#[test]
fn the_client_side_speaks_tls_from_the_first_byte() {
    let stage = Stage::new(Protocol::Pop);
    patiently(async {
        let mut session = SessionConfig::new(Protocol::Pop);
        session.local_tls = LocalTls::Implicit;
        let (client, server) = stage.connected(session).await;
        let server = smol::spawn(async { server.await.serve().await });
        let mut client = upgraded(&stage, client).await;
        logs_in_and_talks(&mut client, Protocol::Pop, "right").await;
        server.await;
    });
}

async fn upgraded(stage: &Stage, client: Client) -> Client {
    let Stream::Plain(socket) = client.0 else {
        unreachable!("still plain")
    };
    let config = stage.authority.trust().client_config(None).unwrap();
    Lines(
        handshake::with_server(socket, config, "localhost", PATIENCE)
            .await
            .unwrap(),
    )
}

#[test]
fn the_client_side_is_upgraded_by_starttls() {
    let stage = Stage::new(Protocol::Smtp);
    patiently(async {
        let mut session = SessionConfig::new(Protocol::Smtp);
        session.local_tls = LocalTls::StartTlsRequired;
        let (mut client, server) = stage.connected(session).await;
        let server = smol::spawn(async { server.await.serve().await });
        client.hear_from("220 ").await;
        client.say("EHLO laptop.example\r\n").await;
        client.hear_from("250 ").await;
        client.say("STARTTLS\r\n").await;
        client.hear_from("220 ").await;
        let mut client = upgraded(&stage, client).await;
        log_in_greeted(&mut client, Protocol::Smtp, "right").await;
        talk(&mut client).await;
        assert_eq!(server.await, expected_token());
    });
}

#[test]
fn a_client_that_leaves_gives_up_its_request() {
    let stage = Stage::new(Protocol::Imap);
    patiently(async {
        let (mut client, server) = stage.connected(SessionConfig::new(Protocol::Imap)).await;
        let _server = smol::spawn(async {
            let mut server = server.await;
            server.greet().await;
            server.log_in().await
        });
        client.hear_from("* OK").await;
        client.say(&login(Protocol::Imap, "wait")).await;
        while stage.accounts.waiting.load(Ordering::SeqCst) == 0 {
            smol::future::yield_now().await;
        }
        drop(client);
        stage.sessions_are_gone().await;
        assert_eq!(stage.accounts.waiting.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_server_that_leaves_during_consent_is_connected_anew() {
    let stage = Stage::new(Protocol::Imap);
    patiently(async {
        let (mut client, first) = stage.connected(SessionConfig::new(Protocol::Imap)).await;
        let consent = async {
            let mut first = first.await;
            first.greet().await;
            // Answers what the proxy asks on its own, and leaves once the login waits.
            let answering = async {
                while let Some(line) = first.lines.hear().await {
                    let tag = line.split(' ').next().unwrap_or_default();
                    first
                        .lines
                        .say(&format!(
                            "* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n{tag} OK done\r\n"
                        ))
                        .await;
                }
            };
            let waiting = async {
                while stage.accounts.waiting.load(Ordering::SeqCst) == 0 {
                    smol::future::yield_now().await;
                }
            };
            futures_lite::future::or(answering, waiting).await;
            first.lines.0.close().await.unwrap();
            // The proxy's own end shows that it has noticed.
            while first.lines.hear().await.is_some() {}
            let second = stage.accept_tls();
            stage.accounts.approved.notify(usize::MAX);
            second.await.serve().await
        };
        let client = logs_in_and_talks(&mut client, Protocol::Imap, "wait");
        let (token, ()) = futures_lite::future::zip(consent, client).await;
        assert_eq!(token, expected_token());
    });
}

#[test]
fn a_panic_ends_one_session_only() {
    let stage = Stage::new(Protocol::Imap);
    patiently(async {
        let (mut healthy, server) = stage.connected(SessionConfig::new(Protocol::Imap)).await;
        let server = smol::spawn(async { server.await.serve().await });
        healthy.hear_from("* OK").await;
        log_in_greeted(&mut healthy, Protocol::Imap, "right").await;

        let mut ill = connect(stage.runtime.listeners()[0].addresses[0]).await;
        let mut other = stage.accept_tls().await;
        other.greet().await;
        let other = smol::spawn(async move {
            while let Some(line) = other.lines.hear().await {
                let tag = line.split(' ').next().unwrap_or_default().to_owned();
                other
                    .lines
                    .say(&format!(
                        "* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n{tag} OK done\r\n"
                    ))
                    .await;
            }
        });
        ill.hear_from("* OK").await;
        ill.say(&login(Protocol::Imap, "panic")).await;
        while ill.hear().await.is_some() {}
        other.await;

        talk(&mut healthy).await;
        server.await;
        stage.sessions_are_gone().await;
    });
}

#[test]
fn shutdown_says_farewell_before_login() {
    for (protocol, farewell) in [
        (Protocol::Imap, "* BYE"),
        (Protocol::Pop, "-ERR [SYS/TEMP]"),
        (Protocol::Smtp, "421 "),
    ] {
        let stage = Stage::new(protocol);
        patiently(async {
            let (mut client, server) = stage.connected(SessionConfig::new(protocol)).await;
            let _server = smol::spawn(async {
                let mut server = server.await;
                server.greet().await;
                while server.lines.hear().await.is_some() {}
            });
            if protocol == Protocol::Imap {
                // The server leaves the proxy's own question for capabilities open, so that no greeting is passed on:
                // the farewell comes all the same.
                while stage.runtime.sessions() == 0 {
                    smol::future::yield_now().await;
                }
            } else {
                client.hear_from(greeting(protocol)).await;
            }
            let hearing = async {
                client.hear_from(farewell).await;
                assert_eq!(client.hear().await, None);
                drop(client);
            };
            let (stopped, ()) =
                futures_lite::future::zip(stage.runtime.shutdown(PATIENCE), hearing).await;
            assert_eq!(stopped, Stopped { cut_off: 0 });
        });
    }
}

#[test]
fn shutdown_cuts_off_a_relay_that_is_not_done() {
    let stage = Stage::new(Protocol::Imap);
    patiently(async {
        let (mut client, server) = stage.connected(SessionConfig::new(Protocol::Imap)).await;
        let server = smol::spawn(async {
            let mut server = server.await;
            server.greet().await;
            server.log_in().await;
            let heard = server.lines.hear().await;
            (server, heard)
        });
        client.hear_from("* OK").await;
        log_in_greeted(&mut client, Protocol::Imap, "right").await;
        client.say("A2 SEARCH ALL\r\n").await;
        // The server owes an answer from now on, and never gives it.
        let (_server, heard) = server.await;
        assert_eq!(heard.as_deref(), Some("A2 SEARCH ALL"));
        let stopped = stage.runtime.shutdown(Duration::from_millis(20)).await;
        assert_eq!(stopped, Stopped { cut_off: 1 });
        assert_eq!(client.hear().await, None);
    });
}

#[test]
fn an_unreachable_server_is_told_to_the_client() {
    let stage = Stage::new(Protocol::Imap);
    patiently(async {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut listener = stage.listener(SessionConfig::new(Protocol::Imap));
        listener.upstream_port = closed;
        let mut client = connect(stage.apply(listener).await).await;
        let farewell = client.hear_from("* BYE").await;
        assert!(farewell.starts_with("* BYE [UNAVAILABLE]"), "{farewell}");
        assert!(farewell.contains("localhost"), "{farewell}");
        assert_eq!(client.hear().await, None);
    });
}

#[test]
fn a_server_that_is_not_trusted_gets_no_session() {
    let stage = Stage::new(Protocol::Smtp);
    patiently(async {
        let mut listener = stage.listener(SessionConfig::new(Protocol::Smtp));
        listener.upstream_tls = Authority::new().trust().client_config(None).unwrap();
        let address = stage.apply(listener).await;
        let server = async {
            let (tcp, _) = stage.server.accept().await.unwrap();
            let local = stage.authority.leaf("localhost").server_config();
            assert!(
                handshake::with_client(Socket::new(tcp), local, PATIENCE)
                    .await
                    .is_err()
            );
        };
        let client = async {
            let mut client = connect(address).await;
            let farewell = client.hear_from("421 ").await;
            assert!(farewell.contains("not trusted"), "{farewell}");
        };
        futures_lite::future::zip(server, client).await;
    });
}

#[test]
fn tls_on_a_plaintext_port_is_recognised() {
    let stage = Stage::new(Protocol::Imap);
    patiently(async {
        let (client, at_proxy) = plain_pair();
        let stop = Arc::new(Stop::default());
        let context = Context {
            authenticate: stage.accounts.clone(),
            options: Options::default(),
            stop: stop.clone(),
            last_id: AtomicU64::new(0),
        };
        let config = Arc::new(stage.listener(SessionConfig::new(Protocol::Imap)));
        let address = ([127, 0, 0, 1], 1).into();
        let mut pump = Pump::new(
            Arc::new(context),
            config,
            address,
            at_proxy,
            Watch::new(stop),
        );
        // The server accepts and stays silent: the client is recognised without its help.
        let Stream::Plain(socket) = client else {
            unreachable!("a plain pair")
        };
        let trust = stage.authority.trust().client_config(None).unwrap();
        let hello = smol::spawn(handshake_to_nowhere(socket, trust));
        let outcome = poll_fn(|cx| pump.poll(cx)).await;
        assert!(matches!(outcome, Outcome::TlsOnPlaintext));
        drop((pump, outcome));
        assert!(hello.await.is_err());
    });
}

async fn handshake_to_nowhere(
    socket: Socket,
    config: Arc<rustls::ClientConfig>,
) -> Result<Stream, String> {
    handshake::with_server(socket, config, "localhost", PATIENCE).await
}

#[test]
fn mail_of_25_megabytes_arrives_whole() {
    let stage = Stage::new(Protocol::Pop);
    patiently(async {
        let (mut client, server) = stage.connected(SessionConfig::new(Protocol::Pop)).await;
        let mail: Vec<u8> = (0..25_000_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let sent = mail.clone();
        let server = smol::spawn(async move {
            let mut server = server.await;
            server.greet().await;
            server.log_in().await;
            assert_eq!(server.lines.hear().await.as_deref(), Some("RETR 1"));
            server.lines.0.write_all(&sent).await.unwrap();
            server.lines.0.close().await.unwrap();
        });
        client.hear_from("+OK").await;
        log_in_greeted(&mut client, Protocol::Pop, "right").await;
        client.say("RETR 1\r\n").await;
        let begin = Instant::now();
        let mut received = Vec::new();
        client.0.read_to_end(&mut received).await.unwrap();
        assert!(
            received == mail,
            "{} bytes in {:?}",
            received.len(),
            begin.elapsed()
        );
        server.await;
    });
}
