//! What must not wear a runtime out.

use crate::testing::{
    Accounts, Lines, PATIENCE, Peer, Runtime, Stage,
    stage::{log_in_and_talk, serve},
    until,
};
use crate::{ListenerConfig, Options, Trust, server_config};
use proxy_proto::{LocalTls, Protocol, SessionConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
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

const FOLDER: &str = "RUNTIME_TEST_FOLDER";
const UPSTREAM: &str = "RUNTIME_TEST_UPSTREAM";

/// In a process of its own, whose limit on open files is lowered. `test` is this test's name for libtest: the child
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
    // Each one holds a descriptor of the child's, which waits for its ClientHello; the last ones wait in the backlog.
    let held: Vec<Peer> = (0..60).map(|_| Peer::connect(address)).collect();
    until("no descriptors", || {
        to_child.write_all(b"look\n").unwrap();
        answer("descriptors: ") == "none"
    });
    drop(held);
    let server = stage.accept_tls(serve);
    let mut client = stage.upgraded(Lines::connect(address));
    log_in_and_talk(&mut client, Protocol::Pop, "right");
    server.join().unwrap();
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
        let left = fs::File::open("/dev/null");
        println!(
            "descriptors: {}",
            if left.is_ok() { "some" } else { "none" }
        );
    }
    runtime.shutdown(PATIENCE);
}
