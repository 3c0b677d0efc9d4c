//! What must not wear a process out: tests in a process of their own, which is looked at from outside.

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
    io::{BufRead, BufReader, Lines as Texts, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    thread,
};

/// Each client before its TLS handshake holds a descriptor, until there are none: the others wait, and are served when those
/// have gone. After 2,000 clients as many are open as before.
pub fn descriptors_run_out_and_come_back<R: Runtime>(test: &str) {
    if Subject::<R>::is_this() {
        return;
    }
    let stage = Stage::<R>::new(Protocol::Pop);
    let mut process = Process::start(&stage, test, LocalTls::Implicit, Some(48));
    let address = process.address;
    let whole_session = |stage: &Stage<R>| {
        let server = stage.accept_tls(serve);
        let mut client = stage.upgraded(Lines::connect(address));
        log_in_and_talk(&mut client, Protocol::Pop, "right");
        server.join().unwrap();
    };
    whole_session(&stage);
    let before = process.at_rest();
    // The last ones wait in the system's queue.
    let held: Vec<Peer> = (0..60).map(|_| Peer::connect(address)).collect();
    until("no descriptors", || process.look().descriptors.is_none());
    drop(held);
    whole_session(&stage);
    for number in 0..2000 {
        let client = Peer::connect(address);
        if number % 3 == 0 {
            client.reset();
        }
    }
    until("descriptors are where they were", || {
        let now = process.look().descriptors;
        now.is_some() && now <= before.descriptors
    });
    process.end();
}

/// Most leave at once, a third of them with a reset, some log in and talk: descriptors and memory are where they were after
/// the first thousands, whose memory the process may keep for the next ones.
pub fn ten_thousand_come_and_go_and_leave_nothing<R: Runtime>(test: &str) {
    if Subject::<R>::is_this() {
        return;
    }
    /// Far below what a kilobyte left by each would come to.
    const MORE_KIB: u64 = 4096;
    let stage = Stage::<R>::new(Protocol::Pop);
    let mut process = Process::start(&stage, test, LocalTls::None, None);
    let address = process.address;
    let upstream = stage.server.try_clone().unwrap();
    let local = stage.authority.leaf("localhost").server_config();
    thread::spawn(move || {
        while let Ok((tcp, _)) = upstream.accept() {
            let local = local.clone();
            thread::spawn(move || {
                // Most have left before.
                if let Ok(peer) = Peer::new(tcp).secured_by(local) {
                    let mut server = Lines(peer);
                    let greeted = server.0.write(b"+OK ready\r\n").is_ok();
                    if greeted && server.take_login(Protocol::Pop).is_some() {
                        server.echo();
                    }
                }
            });
        }
    });
    let mut come_and_go = |count: usize| {
        for number in 0..count {
            match number % 100 {
                0 => log_in_and_talk(&mut Lines::connect(address), Protocol::Pop, "right"),
                other if other % 3 == 0 => Peer::connect(address).reset(),
                _ => drop(Peer::connect(address)),
            }
            if number % 100 == 99 {
                process.at_rest();
            }
        }
        process.at_rest()
    };
    // The first session makes what all of them use.
    let first = come_and_go(1);
    let before = come_and_go(3_000);
    let after = come_and_go(10_000);
    assert!(
        after.resident_kib < before.resident_kib + MORE_KIB,
        "{before:?}, then {after:?}"
    );
    // A thread that was connecting for a session may outlive it by a moment.
    until("descriptors are where they were", || {
        let now = process.look().descriptors;
        now.is_some() && now <= first.descriptors
    });
    process.end();
}

const FOLDER: &str = "RUNTIME_TEST_FOLDER";
const UPSTREAM: &str = "RUNTIME_TEST_UPSTREAM";
const TLS: &str = "RUNTIME_TEST_TLS";
const DESCRIPTORS: &str = "RUNTIME_TEST_DESCRIPTORS";

/// A runtime in another process, seen from here.
struct Process {
    child: Child,
    to_child: ChildStdin,
    lines: Texts<BufReader<ChildStdout>>,
    address: SocketAddr,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    /// `None`: so many that not even this could be found out.
    descriptors: Option<u64>,
    sessions: u64,
    resident_kib: u64,
}

impl Process {
    /// `test` is this test's name for libtest: the child process runs it again, and finds the variables.
    fn start<R: Runtime>(
        stage: &Stage<R>,
        test: &str,
        tls: LocalTls,
        descriptors: Option<u64>,
    ) -> Self {
        let leaf = stage.authority.leaf("localhost");
        fs::copy(leaf.certificate, stage.authority.path("leaf.pem")).unwrap();
        fs::copy(leaf.key, stage.authority.path("leaf.key")).unwrap();
        let port = stage.server.local_addr().unwrap().port();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", test, "--nocapture"])
            .env(FOLDER, stage.authority.path(""))
            .env(UPSTREAM, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if tls == LocalTls::Implicit {
            command.env(TLS, "implicit");
        }
        if let Some(descriptors) = descriptors {
            command.env(DESCRIPTORS, descriptors.to_string());
        }
        let mut child = command.spawn().unwrap();
        let to_child = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Process {
            child,
            to_child,
            lines,
            address: ([127, 0, 0, 1], 0).into(),
        };
        process.address = process.hear("listens at ").parse().unwrap();
        process
    }

    fn hear(&mut self, beginning: &str) -> String {
        loop {
            let line = self.lines.next().expect("the child goes on").unwrap();
            // libtest's own words may stand before it.
            if let Some((_, rest)) = line.split_once(beginning) {
                return rest.to_owned();
            }
        }
    }

    fn look(&mut self) -> Look {
        self.to_child.write_all(b"look\n").unwrap();
        let words = self.hear("is: ");
        let mut words = words.split(' ');
        let mut next = || words.next().unwrap().parse().ok();
        Look {
            descriptors: next(),
            sessions: next().unwrap(),
            resident_kib: next().unwrap_or(0),
        }
    }

    /// Once there are no sessions any more.
    fn at_rest(&mut self) -> Look {
        let mut look = self.look();
        until("sessions are gone", || {
            look = self.look();
            look.sessions == 0
        });
        look
    }

    fn end(mut self) {
        drop(self.to_child);
        assert!(self.child.wait().unwrap().success());
    }
}

/// The other process.
struct Subject<R>(R);

impl<R: Runtime> Subject<R> {
    /// Whether this process is one; then it has served until its standard input ended.
    fn is_this() -> bool {
        let (Some(folder), Ok(port)) = (env::var_os(FOLDER), env::var(UPSTREAM)) else {
            return false;
        };
        let subject = Subject(R::start(Arc::new(Accounts::default()), Options::default()));
        subject.serve(Path::new(&folder), port.parse().unwrap());
        true
    }

    fn serve(&self, folder: &Path, upstream_port: u16) {
        let mut session = SessionConfig::new(Protocol::Pop);
        if env::var_os(TLS).is_some() {
            session.local_tls = LocalTls::Implicit;
        }
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
        self.0.apply(vec![listener]).unwrap();
        if let Ok(descriptors) = env::var(DESCRIPTORS) {
            let lowered = Rlimit {
                current: Some(descriptors.parse().unwrap()),
                maximum: getrlimit(Resource::Nofile).maximum,
            };
            setrlimit(Resource::Nofile, lowered).unwrap();
        }
        println!("listens at {}", self.0.listeners()[0].addresses[0]);
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).unwrap() > 0 {
            let descriptors = match fs::read_dir("/proc/self/fd") {
                Ok(open) => open.count().to_string(),
                Err(_) => "none".to_owned(),
            };
            let sessions = self.0.sessions();
            println!("is: {descriptors} {sessions} {}", resident_kib());
        }
        self.0.shutdown(PATIENCE);
    }
}

fn resident_kib() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.unwrap_or("none").to_owned()
}
