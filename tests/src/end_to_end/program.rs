//! The built program as a child process.

use super::{PATIENCE, Runtime};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The program as a child process; killed when dropped.
pub(super) struct Program {
    pub(super) child: Child,
    said: Arc<Said>,
}

#[derive(Default)]
struct Said {
    text: Mutex<String>,
    grown: Condvar,
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program {
    pub(super) fn start(runtime: Runtime, config: &Path, ca_file: &Path) -> Program {
        let path = program();
        let mut command = Command::new(&path);
        command
            .args([
                "--no-gui",
                "--local-server-auth",
                "--debug",
                "--runtime",
                match runtime {
                    Runtime::Smol => "smol",
                    Runtime::Std => "std",
                },
                "--config-file",
            ])
            .arg(config)
            .current_dir(config.parent().unwrap_or(Path::new(".")))
            .env("SSL_CERT_FILE", ca_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for name in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let said = Arc::new(Said::default());
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe was asked for"));
        let sink = said.clone();
        thread::spawn(move || {
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                sink.lock().push_str(&String::from_utf8_lossy(&line));
                sink.grown.notify_all();
                line.clear();
            }
        });
        Program { child, said }
    }

    pub(super) fn said(&self) -> String {
        self.said.lock().clone()
    }

    /// Waits until the condition holds for what was said (it is looked at again now and then, too); what was said.
    pub(super) fn wait_for(&self, condition: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut said = self.said.lock();
        while !condition(&said) {
            assert!(
                Instant::now() < end,
                "still waiting; the program said: {said}"
            );
            let tick = Duration::from_millis(50);
            said = self
                .said
                .grown
                .wait_timeout(said, tick)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        said.clone()
    }

    /// Whether all mail ports accept connections; false when the program ended instead.
    pub(super) fn wait_listening(&mut self, ports: &[u16]) -> bool {
        let end = Instant::now() + PATIENCE;
        for port in ports {
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                if self.child.try_wait().expect("the child's state").is_some() {
                    return false;
                }
                assert!(
                    Instant::now() < end,
                    "not listening; the program said: {}",
                    self.said()
                );
                thread::sleep(Duration::from_millis(5));
            }
        }
        // Still there: it was not somebody else who answered.
        self.child.try_wait().expect("the child's state").is_none()
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the program runs");
    }

    pub(super) fn wait_ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                return status;
            }
            assert!(
                Instant::now() < end,
                "it does not end; it said: {}",
                self.said()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that cargo built beside this test: `target/<profile>/emailproxy`.
fn program() -> PathBuf {
    built(
        Path::new(&format!("emailproxy{}", std::env::consts::EXE_SUFFIX)),
        "cargo build -p emailproxy",
    )
}

/// The path of an example; it has to be built.
pub fn example(name: &str) -> PathBuf {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    built(
        &Path::new("examples").join(file),
        "cargo build --workspace --examples",
    )
}

fn built(file: &Path, how: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests are in target/<profile>/deps");
    let path = profile.join(file);
    assert!(
        path.is_file(),
        "{} is missing; build it first: {how}",
        path.display()
    );
    path
}
