//! What must not wear a runtime out.

use crate::testing::{
    Accounts, Lines, PATIENCE, Peer, Runtime, Stage,
    stage::{log_in, log_in_and_talk, login, serve, talk},
    until,
};
use crate::{ListenerConfig, Options, Stopped, Trust, server_config};
use proxy_proto::{LocalTls, Protocol, SessionConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Clients that connect and leave, some with a reset; descriptors are where they were.
pub fn many_come_and_go_and_leave_nothing<R: Runtime>() {
    const MANY: usize = 1000;
    let stage = Stage::<R>::new(Protocol::Pop);
    let address = stage.apply(stage.listener(stage.session()));
    let server = stage.server.try_clone().unwrap();
    // Accepts and leaves, for as long as there are clients.
    thread::spawn(move || while server.accept().is_ok() {});
    for number in 0..MANY {
        let client = Peer::connect(address);
        if number % 3 == 0 {
            client.reset();
        }
    }
    stage.sessions_are_gone();
    assert!(stage.accounts.clients.lock().unwrap().is_empty());
}

/// Each change swaps the listeners around the one that is talked through.
pub fn changes_under_load_lose_no_session<R: Runtime>() {
    const SESSIONS: usize = 12;
    let stage = Stage::<R>::new(Protocol::Pop);
    let listener = stage.listener(stage.session());
    let address = stage.apply(listener.clone());
    let server = stage.server.try_clone().unwrap();
    let local = stage.authority.leaf("localhost").server_config();
    thread::spawn(move || {
        while let Ok((tcp, _)) = server.accept() {
            let peer = Peer::new(tcp).secured_by(local.clone()).unwrap();
            thread::spawn(move || serve(Lines(peer), Protocol::Pop));
        }
    });
    let left = AtomicUsize::new(SESSIONS);
    thread::scope(|scope| {
        for _ in 0..SESSIONS {
            scope.spawn(|| {
                let mut client = Lines::connect(address);
                client.hear_from("+OK");
                log_in(&mut client, Protocol::Pop, "right");
                for number in 0..100 {
                    client.say(&format!("{number}\r\n"));
                    assert_eq!(client.hear(), Some(format!("echo {number}")));
                }
                talk(&mut client);
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut number = 0;
        while left.load(Ordering::SeqCst) > 0 {
            let mut other = listener.clone();
            other.heading = format!("OTHER-{number}").into();
            stage.runtime.apply(vec![other, listener.clone()]).unwrap();
            number += 1;
        }
        assert!(number > 1);
    });
    stage.sessions_are_gone();
}

/// It is told so, and let go.
pub fn a_client_that_never_logs_in_is_let_go<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.limits.before_login = Duration::from_millis(300);
    let address = stage.apply(stage.listener(session));
    let local = stage.authority.leaf("localhost").server_config();
    let server = stage.accept(move |peer, protocol| {
        // On a slow machine the time may be over before TLS is established.
        let mut server = Lines(peer.secured_by(local).ok()?);
        server.greet(protocol);
        server.take_login(protocol)
    });
    let mut client = Lines::connect(address);
    client.hear_from("* BYE");
    assert_eq!(client.hear(), None);
    assert_eq!(server.join().unwrap(), None);
    stage.sessions_are_gone();
}

/// TLS, and then nothing.
pub fn a_server_that_never_greets_is_given_up<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Smtp);
    let mut session = stage.session();
    session.limits.server_answer = Duration::from_millis(300);
    let address = stage.apply(stage.listener(session));
    let local = stage.authority.leaf("localhost").server_config();
    let server = stage.accept(move |peer, _| Lines(peer.secured_by(local).ok()?).hear());
    let mut client = Lines::connect(address);
    client.hear_from("421 ");
    assert_eq!(client.hear(), None);
    assert_eq!(server.join().unwrap(), None);
}

/// An IMAP client is kept waiting with untagged answers; in the end it may try again.
pub fn a_consent_that_never_comes_ends<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Imap);
    let mut session = stage.session();
    session.limits.keepalive = Duration::from_millis(10);
    session.limits.consent = Duration::from_millis(300);
    let (mut client, server) = stage.connected(session, serve);
    client.hear_from("* OK");
    client.say(&login(Protocol::Imap, "wait"));
    client.hear_from("* OK");
    client.hear_from("* OK");
    client.hear_from("A1 NO [UNAVAILABLE]");
    until("the request is given up", || {
        stage.accounts.waiting.load(Ordering::SeqCst) == 0
    });
    log_in(&mut client, Protocol::Imap, "right");
    talk(&mut client);
    server.join().unwrap();
}

/// Somebody may be interfering.
pub fn what_comes_behind_starttls_ends_the_session<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Smtp);
    let mut session = stage.session();
    session.local_tls = LocalTls::StartTlsRequired;
    let (mut client, server) = stage.connected(session, |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol)
    });
    client.hear_from("220 ");
    client.say("EHLO laptop.example\r\n");
    client.hear_from("250 ");
    client.say("STARTTLS\r\nEHLO attacker.example\r\n");
    while let Some(line) = client.hear() {
        assert!(!line.starts_with("250"), "{line}");
    }
    assert_eq!(server.join().unwrap(), None);
    stage.sessions_are_gone();
}

/// The record is never completed; shutdown ends the session all the same.
pub fn a_server_that_stalls_within_a_record_stops_nothing<R: Runtime>() {
    let stage = Stage::<R>::new(Protocol::Pop);
    let (mut client, server) = stage.connected(stage.session(), |mut server, protocol| {
        server.greet(protocol);
        server.take_login(protocol).unwrap();
        // The head of a record of 4 KiB, and its beginning.
        let mut tcp = server.0.tcp();
        tcp.write_all(&[0x17, 3, 3, 0x10, 0, 1, 2, 3]).unwrap();
        while server.hear().is_some() {}
    });
    client.hear_from("+OK");
    log_in(&mut client, Protocol::Pop, "right");
    let stopped = stage.runtime.shutdown(PATIENCE);
    assert_eq!(stopped, Stopped { cut_off: 0 });
    assert_eq!(client.hear(), None);
    server.join().unwrap();
}

const FOLDER: &str = "RUNTIME_TEST_FOLDER";
const UPSTREAM: &str = "RUNTIME_TEST_UPSTREAM";

/// And after 2,000 clients as many are open as before. In a process of its own, whose limit on open files is lowered. `test` is this test's name for libtest: the child
/// process runs it again, and finds the variables.
pub fn descriptors_run_out_and_come_back<R: Runtime>(test: &str) {
    if let (Some(folder), Ok(port)) = (env::var_os(FOLDER), env::var(UPSTREAM)) {
        return short_of_descriptors::<R>(Path::new(&folder), port.parse().unwrap());
    }
    let stage = Stage::<R>::new(Protocol::Pop);
    let leaf = stage.authority.leaf("localhost");
    fs::copy(leaf.certificate, stage.authority.path("leaf.pem")).unwrap();
    fs::copy(leaf.key, stage.authority.path("leaf.key")).unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, stage.authority.path(""))
        .env(
            UPSTREAM,
            stage.server.local_addr().unwrap().port().to_string(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to_child = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = |to: &str| loop {
        let line = lines.next().expect("the child goes on").unwrap();
        if let Some((_, rest)) = line.split_once(to) {
            return rest.to_owned();
        }
    };
    let address = answer("listens at ").parse().unwrap();
    let whole_session = |stage: &Stage<R>| {
        let server = stage.accept_tls(serve);
        let mut client = stage.upgraded(Lines::connect(address));
        log_in_and_talk(&mut client, Protocol::Pop, "right");
        server.join().unwrap();
    };
    whole_session(&stage);
    let mut look = || {
        to_child.write_all(b"look\n").unwrap();
        answer("descriptors: ")
    };
    until("sessions are gone", || look().ends_with("sessions: 0"));
    let before = look();
    // Each one holds a descriptor of the child's, which waits for its ClientHello; the last ones wait in the backlog.
    let held: Vec<Peer> = (0..60).map(|_| Peer::connect(address)).collect();
    until("no descriptors", || look().starts_with("none"));
    drop(held);
    whole_session(&stage);
    for number in 0..2000 {
        let client = Peer::connect(address);
        if number % 3 == 0 {
            client.reset();
        }
    }
    until("descriptors are where they were", || look() == before);
    drop(to_child);
    assert!(child.wait().unwrap().success());
}

/// The child: serves until its standard input ends.
fn short_of_descriptors<R: Runtime>(folder: &Path, upstream_port: u16) {
    let runtime = R::start(Arc::new(Accounts::default()), Options::default());
    let mut session = SessionConfig::new(Protocol::Pop);
    session.local_tls = LocalTls::Implicit;
    let trust = Trust::only(folder.join("ca.pem"));
    let mut listener = ListenerConfig::new(
        "TEST-1",
        0,
        "localhost",
        upstream_port,
        session,
        trust.client_config(None).unwrap(),
    );
    listener.address = "127.0.0.1".to_owned();
    let leaf = server_config(&folder.join("leaf.pem"), &folder.join("leaf.key"));
    listener.local_tls = Some(leaf.unwrap());
    runtime.apply(vec![listener]).unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(48),
            maximum: limit.maximum,
        },
    )
    .unwrap();
    println!("listens at {}", runtime.listeners()[0].addresses[0]);
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        let left = match fs::read_dir("/proc/self/fd") {
            Ok(open) => open.count().to_string(),
            Err(_) => "none".to_owned(),
        };
        println!("descriptors: {left} sessions: {}", runtime.sessions());
    }
    runtime.shutdown(PATIENCE);
}
