//! What the tests of the running command share.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "each test program uses its own part"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

pub(crate) use rustix::process::Signal;

/// Makes two tests of each function, which gets the value of `--runtime`.
macro_rules! over_both_runtimes {
    ($($test:ident)*) => {
        mod smol {
            $(#[test] fn $test() { super::$test("smol"); })*
        }
        mod threads {
            $(#[test] fn $test() { super::$test("std"); })*
        }
    };
}
pub(crate) use over_both_runtimes;

/// Longer than anything here takes; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The command while it runs; killed if a test fails half-way.
pub(crate) struct Running {
    pub(crate) child: Child,
    log: PathBuf,
    pub(crate) folder: tempfile::TempDir,
}

impl Running {
    /// Starts it in a folder of its own, in which these files are.
    pub(crate) fn start(arguments: &[&str], files: &[(&str, &str)]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_emailproxy"));
        // No browser is opened.
        command
            .args(arguments)
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        Running::start_as(command, files)
    }

    /// The same by a command that has its arguments already, and perhaps variables.
    pub(crate) fn start_as(mut command: Command, files: &[(&str, &str)]) -> Running {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let log = folder.path().join("log");
        let child = command
            .arg("--log-file")
            .arg(&log)
            .current_dir(folder.path())
            // Its socket is nobody else's business.
            .env("XDG_RUNTIME_DIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Running { child, log, folder }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has logged this as often as said; gives the log.
    pub(crate) fn wait_for(&mut self, text: &str, times: usize) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let ended = self.child.try_wait().unwrap();
            let log = self.log();
            if log.matches(text).count() >= times {
                return log;
            }
            assert!(ended.is_none(), "it ended without `{text}`: {log}");
            assert!(Instant::now() < end, "still no `{text}`: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("its log:\n{}", self.log());
        }
    }
}

/// A mail client that is typed by hand.
pub(crate) struct Dialogue {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Dialogue {
    pub(crate) fn connect(port: u16) -> Dialogue {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Dialogue {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
    }

    /// Reads up to and including the line that begins so; returns all of it.
    pub(crate) fn until(&mut self, beginning: &str) -> String {
        let mut text = String::new();
        loop {
            let line = self.line();
            assert!(
                !line.is_empty(),
                "the connection ended before `{beginning}`:\n{text}"
            );
            text.push_str(&line);
            if line.starts_with(beginning) {
                return text;
            }
        }
    }

    pub(crate) fn ended(&mut self) {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}
