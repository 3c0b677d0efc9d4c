//! An embedder on tokio: one task per client, one `select!` over all that can happen next.
//!
//! Every round polls the events, then waits for whichever comes first: bytes of either side (as many as the session's
//! budget allows), room for bytes that wait to be written, the connection to the server, a token, or the timer. Nothing
//! in it waits for one thing alone, so no peer can keep the other from being served. All of these futures may be
//! dropped unfinished: the ones that lose are made anew in the next round.
//!
//! `cargo run -p proxy-proto --example async_tokio` plays an SMTP login through it.

use proxy_proto::{
    Bearer, BoxFuture, Event, Login, Protocol, Reason, Refusal, RequestId, Secret, Session,
    SessionConfig, Side, Time, Upstream, UpstreamTls,
};
use std::{future::pending, io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    time::{Instant, sleep_until},
};

/// What has happened.
enum Happened {
    Read(Side, io::Result<usize>),
    Written(Side, io::Result<usize>),
    Connected(io::Result<TcpStream>),
    Answered(Result<Bearer, Refusal>),
    TimeOut,
}

/// Serves one client until both sides are done.
async fn run(mut client: TcpStream, upstream: SocketAddr) -> io::Result<Reason> {
    let mut config = SessionConfig::new(Protocol::Smtp);
    // For this example alone, which has no TLS and stays on loopback. A real embedder leaves `UpstreamTls::Implicit`,
    // lets `connecting` include a handshake that verifies certificate and host name, and passes `secure: true`.
    config.upstream_tls = UpstreamTls::DangerousPlaintextBearerInClear;
    let mut session = Session::new(Arc::new(config), Time::ZERO);
    let epoch = Instant::now();

    let mut server: Option<TcpStream> = None;
    let mut connecting: Option<BoxFuture<io::Result<TcpStream>>> =
        Some(Box::pin(TcpStream::connect(upstream)));
    let mut asking: Option<(RequestId, BoxFuture<Result<Bearer, Refusal>>)> = None;
    let mut buffers = [vec![0; 16 * 1024], vec![0; 16 * 1024]];

    loop {
        while let Some(event) = session.poll_event() {
            match event {
                Event::NeedCredentials { id, login, .. } => {
                    asking = Some((id, Box::pin(bearer(login))))
                }
                // The client has gone. Dropping the future ends the question; one that should be asked to its end
                // (the user is approving just now) belongs in a task of its own.
                Event::Abandoned(_) => asking = None,
                Event::Reconnect => {
                    server = None;
                    connecting = Some(Box::pin(TcpStream::connect(upstream)));
                }
                // TLS goes here: shake hands on this side's stream, of which nothing has been read ahead and to which
                // all plaintext has been written; put the TLS stream in its place; call `tls_established`.
                Event::UpgradeTls(side) => {
                    session.tls_failed(side, "this example has no TLS", epoch.elapsed())
                }
                // All that the session held is out: the rest needs no session.
                Event::Relay => {
                    if let Some(server) = &mut server {
                        copy_bidirectional(&mut client, server).await?;
                    }
                    return Ok(Reason::Finished);
                }
                Event::Closed(reason) => return Ok(reason),
                // `ShutdownWrite` comes in relay only.
                _ => {}
            }
        }

        let (client_reader, client_writer) = client.split();
        let (server_reader, server_writer) = match &mut server {
            Some(server) => {
                let (reader, writer) = server.split();
                (Some(reader), Some(writer))
            }
            None => (None, None),
        };
        let [from_client, from_server] = &mut buffers;
        let room = |side, buffer: &Vec<u8>| session.read_budget(side).min(buffer.len());
        let from_client_room = room(Side::Client, from_client);
        let from_server_room = room(Side::Server, from_server);
        let happened = tokio::select! {
            n = read(Some(client_reader), &mut from_client[..from_client_room]) => Happened::Read(Side::Client, n),
            n = read(server_reader, &mut from_server[..from_server_room]) => Happened::Read(Side::Server, n),
            n = write(Some(client_writer), session.transmit(Side::Client)) => Happened::Written(Side::Client, n),
            n = write(server_writer, session.transmit(Side::Server)) => Happened::Written(Side::Server, n),
            stream = when_there(connecting.as_mut()) => Happened::Connected(stream),
            answer = when_there(asking.as_mut().map(|(_, answer)| answer)) => Happened::Answered(answer),
            () = until(session.poll_timeout().map(|at| epoch + at)) => Happened::TimeOut,
        };

        let now = epoch.elapsed();
        match happened {
            Happened::Read(side, Ok(n)) if n > 0 => {
                session.handle_input(side, &buffers[side as usize][..n], now)
            }
            Happened::Read(side, _) => session.handle_eof(side, now),
            Happened::Written(side, Ok(n)) => session.advance(side, n),
            Happened::Written(side, Err(_)) => {
                session.advance(side, usize::MAX);
                session.handle_eof(side, now);
            }
            Happened::Connected(connected) => {
                connecting = None;
                match connected {
                    Ok(stream) => {
                        server = Some(stream);
                        let upstream = Upstream {
                            host: upstream.ip().to_string().into(),
                            port: upstream.port(),
                            secure: false,
                        };
                        session.connected(upstream, now);
                    }
                    Err(e) => {
                        let why = format!("The mail server cannot be reached: {e}");
                        session.connect_failed(&why, now);
                    }
                }
            }
            Happened::Answered(answer) => {
                if let Some((id, _)) = asking.take() {
                    // Refused as stale when the session has given up waiting; then nobody needs it.
                    let _ = session.provide_credentials(id, answer, now);
                }
            }
            Happened::TimeOut => session.handle_timeout(now),
        }
    }
}

/// Reads; without a stream, or without room, never.
async fn read(stream: Option<ReadHalf<'_>>, buffer: &mut [u8]) -> io::Result<usize> {
    match stream {
        Some(mut stream) if !buffer.is_empty() => stream.read(buffer).await,
        _ => pending().await,
    }
}

/// Writes; without a stream, or without bytes, never.
async fn write(stream: Option<WriteHalf<'_>>, bytes: &[u8]) -> io::Result<usize> {
    match stream {
        Some(mut stream) if !bytes.is_empty() => stream.write(bytes).await,
        _ => pending().await,
    }
}

async fn when_there<T>(future: Option<&mut BoxFuture<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// Where an embedder asks its token store, its provider, its user.
async fn bearer(login: Login) -> Result<Bearer, Refusal> {
    if login.password.expose() != "local password" {
        return Err(Refusal::Denied("Wrong password".into()));
    }
    Ok(Bearer {
        token: Secret::new("ya29.token"),
        user: login.user,
        mechanism: None,
    })
}

// ---- a server and a client to try it with

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = server.local_addr().unwrap();
    let address = proxy.local_addr().unwrap();
    let serving = async { serve_mail(server.accept().await.unwrap().0).await };
    let sending = async { send_mail(TcpStream::connect(address).await.unwrap()).await };
    let proxying = async { run(proxy.accept().await.unwrap().0, upstream).await };
    let (_, _, reason) = tokio::join!(serving, sending, proxying);
    assert_eq!(reason.unwrap(), Reason::Finished);
    println!("logged in on tokio");
}

async fn serve_mail(stream: TcpStream) {
    let mut client = Peer(BufReader::new(stream));
    client.say("220 mx.example ESMTP").await;
    client.hear("EHLO laptop").await;
    client.say("250-mx.example").await;
    client.say("250-SIZE 1000").await;
    client.say("250 AUTH XOAUTH2").await;
    client.hear("AUTH XOAUTH2").await;
    client.say("334 ").await;
    // user=me@example.com^Aauth=Bearer ya29.token^A^A
    let response = "dXNlcj1tZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnRva2VuAQE=";
    client.hear(response).await;
    client.say("235 2.7.0 Accepted").await;
    client.hear("MAIL FROM:<me@example.com>").await;
    client.say("250 2.1.0 OK").await;
    client.hear("QUIT").await;
    client.say("221 2.0.0 Bye").await;
}

async fn send_mail(stream: TcpStream) {
    let mut server = Peer(BufReader::new(stream));
    server.hear("220 mx.example ESMTP").await;
    server.say("EHLO laptop").await;
    server.hear("250-mx.example").await;
    server.hear("250-SIZE 1000").await;
    server.hear("250 AUTH PLAIN LOGIN").await;
    // ^@me@example.com^@local password
    let response = "AG1lQGV4YW1wbGUuY29tAGxvY2FsIHBhc3N3b3Jk";
    server.say(&format!("AUTH PLAIN {response}")).await;
    server.hear("235 2.7.0 Accepted").await;
    server.say("MAIL FROM:<me@example.com>").await;
    server.hear("250 2.1.0 OK").await;
    server.say("QUIT").await;
    server.hear("221 2.0.0 Bye").await;
    let mut rest = Vec::new();
    server.0.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

struct Peer(BufReader<TcpStream>);

impl Peer {
    async fn say(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.0.write_all(line.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        assert_eq!(line, format!("{expected}\r\n"));
    }
}

#[test]
fn logs_in() {
    main();
}
