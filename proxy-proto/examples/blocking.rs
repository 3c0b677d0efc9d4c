//! An embedder with blocking sockets: one thread reads the client, one reads the server, both feed one session.
//!
//! What keeps them from each other's throats:
//!
//! * Nobody holds the session's lock while it reads, writes, connects or waits for a token.
//! * A thread that has given the session input writes what came of it. A side that another thread is writing to is left
//!   to that one, which looks again when it is done. So in relay each thread only ever waits for the *other* side to
//!   take its bytes, and two busy peers block each other no more than they would without a proxy between them.
//! * A side whose budget is 0 is not read. That is the case from STARTTLS to the end of the handshake, so the thread of
//!   that side cannot swallow the handshake's first bytes.
//!
//! `cargo run -p proxy-proto --example blocking` plays a POP3 login through it.

use proxy_proto::{
    Bearer, Event, Login, Protocol, Reason, Refusal, Secret, Session, SessionConfig, Side, Time,
    Upstream, UpstreamTls,
};
use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, Scope},
    time::{Duration, Instant},
};

/// One client's session, shared by its threads.
struct Proxy {
    state: Mutex<State>,
    /// Something has changed that a thread may be waiting for.
    moved: Condvar,
    upstream: SocketAddr,
    epoch: Instant,
}

struct State {
    session: Session,
    /// The client's connection and the server's. With TLS, its streams stand here.
    streams: [Option<Arc<TcpStream>>; 2],
    /// A thread is writing to this side.
    writing: [bool; 2],
    ended: Option<Reason>,
}

/// Serves one client until both sides are done.
fn run(client: TcpStream, upstream: SocketAddr) -> Reason {
    let mut config = SessionConfig::new(Protocol::Pop);
    // For this example alone, which has no TLS and stays on loopback. A real embedder leaves `UpstreamTls::Implicit`
    // and hands `connected` a stream whose certificate and host name it has verified, with `secure: true`.
    config.upstream_tls = UpstreamTls::DangerousPlaintextBearerInClear;
    let proxy = Proxy {
        state: Mutex::new(State {
            session: Session::new(Arc::new(config), Time::ZERO),
            streams: [Some(Arc::new(client)), None],
            writing: [false; 2],
            ended: None,
        }),
        moved: Condvar::new(),
        upstream,
        epoch: Instant::now(),
    };
    thread::scope(|scope| {
        scope.spawn(|| proxy.connect(scope));
        scope.spawn(|| proxy.pump(scope, Side::Server));
        proxy.pump(scope, Side::Client);
    });
    proxy.lock().ended.take().unwrap_or(Reason::Finished)
}

impl Proxy {
    /// Reads one side for as long as the session lasts.
    fn pump<'s>(&'s self, scope: &'s Scope<'s, '_>, side: Side) {
        let mut buffer = vec![0; 16 * 1024];
        while let Some((stream, budget, patience)) = self.wait_until_readable(scope, side) {
            let room = budget.min(buffer.len());
            let read = stream
                .set_read_timeout(patience)
                .and_then(|()| (&*stream).read(&mut buffer[..room]));
            let mut state = self.lock();
            if !state.is_current(side, &stream) {
                continue; // replaced by a new connection meanwhile
            }
            match read {
                Ok(n) if n > 0 => {
                    state
                        .session
                        .handle_input(side, &buffer[..n], self.epoch.elapsed())
                }
                Err(e) if is_timeout(&e) => {} // the timer is served before the next read
                _ => state.session.handle_eof(side, self.epoch.elapsed()),
            }
            self.serve(scope, state);
        }
    }

    /// Serves the timer until this side may be read; `None`: the session is over. Returned are the stream, how much
    /// may be read, and for how long: whoever moves the timer is itself about to wait, for the new time.
    fn wait_until_readable<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        side: Side,
    ) -> Option<(Arc<TcpStream>, usize, Option<Duration>)> {
        let mut state = self.lock();
        loop {
            if state.ended.is_some() {
                return None;
            }
            let now = self.epoch.elapsed();
            let patience = state
                .session
                .poll_timeout()
                .map(|at| at.saturating_sub(now));
            if patience == Some(Duration::ZERO) {
                state.session.handle_timeout(now);
                self.serve(scope, state);
                state = self.lock();
                continue;
            }
            let budget = state.session.read_budget(side);
            if let Some(stream) = state.stream(side).filter(|_| budget > 0) {
                return Some((stream, budget, patience));
            }
            state = match patience {
                Some(patience) => {
                    let waited = self.moved.wait_timeout(state, patience);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .moved
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// After every input: events first, then what is to be written, until there is neither.
    fn serve<'s>(&'s self, scope: &'s Scope<'s, '_>, mut state: MutexGuard<'s, State>) {
        loop {
            while let Some(event) = state.session.poll_event() {
                self.act(scope, &mut state, event);
            }
            let Some((side, stream)) = state.writable() else {
                break;
            };
            // A copy, at most `Limits::send_buffer` and one frame long, so that the session is free meanwhile.
            let bytes = state.session.transmit(side).to_vec();
            state.writing[side as usize] = true;
            drop(state);
            let written = (&*stream).write_all(&bytes);
            state = self.lock();
            state.writing[side as usize] = false;
            if !state.is_current(side, &stream) {
                continue;
            }
            match written {
                Ok(()) => state.session.advance(side, bytes.len()),
                Err(_) => {
                    state.session.advance(side, usize::MAX);
                    state.session.handle_eof(side, self.epoch.elapsed());
                }
            }
        }
        self.moved.notify_all();
    }

    fn act<'s>(&'s self, scope: &'s Scope<'s, '_>, state: &mut State, event: Event) {
        match event {
            Event::NeedCredentials { id, login, .. } => {
                // The user may have to approve, which takes minutes: meanwhile both sides are served.
                scope.spawn(move || {
                    let answer = bearer(login);
                    let mut state = self.lock();
                    // Refused as stale when the client has gone meanwhile; then nobody needs it.
                    let _ = state
                        .session
                        .provide_credentials(id, answer, self.epoch.elapsed());
                    self.serve(scope, state);
                });
            }
            Event::Reconnect => {
                state.drop_server();
                scope.spawn(|| self.connect(scope));
            }
            // TLS goes here: this side is not being read (its budget is 0) and all its plaintext is out. Shake hands,
            // put the TLS stream in the plain one's place, call `tls_established`.
            Event::UpgradeTls(side) => {
                let why = "this example has no TLS";
                state.session.tls_failed(side, why, self.epoch.elapsed());
            }
            Event::ShutdownWrite(side) => {
                if let Some(stream) = state.stream(side) {
                    let _ = stream.shutdown(Shutdown::Write);
                }
            }
            Event::Closed(reason) => {
                state.ended = Some(reason);
                // Ends the reads and writes that other threads are blocked in.
                for stream in state.streams.iter().flatten() {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
            // From `Relay` on bytes could be moved without the session; going on with it is safe, too.
            _ => {}
        }
    }

    /// Connects to the server, at the beginning and after `Reconnect`.
    fn connect<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let connected = TcpStream::connect_timeout(&self.upstream, Duration::from_secs(20));
        let mut state = self.lock();
        match connected {
            Ok(stream) => {
                state.streams[Side::Server as usize] = Some(Arc::new(stream));
                let upstream = Upstream {
                    host: self.upstream.ip().to_string().into(),
                    port: self.upstream.port(),
                    secure: false,
                };
                state.session.connected(upstream, self.epoch.elapsed());
            }
            Err(e) => {
                let why = format!("The mail server cannot be reached: {e}");
                state.session.connect_failed(&why, self.epoch.elapsed());
            }
        }
        self.serve(scope, state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stream(&self, side: Side) -> Option<Arc<TcpStream>> {
        self.streams[side as usize].clone()
    }

    fn is_current(&self, side: Side, stream: &Arc<TcpStream>) -> bool {
        let current = self.streams[side as usize].as_ref();
        current.is_some_and(|current| Arc::ptr_eq(current, stream))
    }

    /// A side that has bytes waiting and no thread writing them.
    fn writable(&self) -> Option<(Side, Arc<TcpStream>)> {
        [Side::Client, Side::Server]
            .into_iter()
            .filter(|&side| !self.writing[side as usize])
            .filter(|&side| !self.session.transmit(side).is_empty())
            .find_map(|side| Some((side, self.stream(side)?)))
    }

    fn drop_server(&mut self) {
        if let Some(old) = self.streams[Side::Server as usize].take() {
            let _ = old.shutdown(Shutdown::Both);
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Where an embedder asks its token store, its provider, its user.
fn bearer(login: Login) -> Result<Bearer, Refusal> {
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

fn main() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = server.local_addr().unwrap();
    let address = proxy.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| serve_mail(server.accept().unwrap().0));
        scope.spawn(|| fetch_mail(TcpStream::connect(address).unwrap()));
        let reason = run(proxy.accept().unwrap().0, upstream);
        assert_eq!(reason, Reason::Finished);
    });
    println!("logged in through blocking sockets");
}

fn serve_mail(stream: TcpStream) {
    let mut client = Peer(BufReader::new(stream));
    client.say("+OK ready");
    client.hear("AUTH XOAUTH2");
    client.say("+ ");
    // user=me@example.com^Aauth=Bearer ya29.token^A^A
    client.hear("dXNlcj1tZUBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnRva2VuAQE=");
    client.say("+OK logged in");
    client.hear("STAT");
    client.say("+OK 2 320");
    client.hear("QUIT");
    client.say("+OK bye");
}

fn fetch_mail(stream: TcpStream) {
    let mut server = Peer(BufReader::new(stream));
    server.hear("+OK ready");
    server.say("USER me@example.com");
    server.hear("+OK Send the password");
    server.say("PASS local password");
    server.hear("+OK logged in");
    server.say("STAT");
    server.hear("+OK 2 320");
    server.say("QUIT");
    server.hear("+OK bye");
    let mut rest = Vec::new();
    server.0.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

struct Peer(BufReader<TcpStream>);

impl Peer {
    fn say(&mut self, line: &str) {
        let stream = self.0.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    fn hear(&mut self, expected: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{expected}\r\n"));
    }
}

#[test]
fn logs_in() {
    main();
}
