//! `emailproxy demo --approve`: the whole road, from a mail client's socket through the proxy to the sandbox and back.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// Longer than anything here takes; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The running command; killed if a test fails half-way.
struct Demo {
    child: Child,
    /// What it printed before it began to wait.
    printed: String,
    log: PathBuf,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_emailproxy"))
            .args(["demo", "--port-base", "0", "--log-file"])
            .arg(&log)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        while !printed.contains("Next: serve a real account") {
            match lines.next() {
                Some(line) => printed.push_str(&(line.unwrap() + "\n")),
                None => panic!(
                    "it ended: {printed}\n{}",
                    fs::read_to_string(&log).unwrap_or_default()
                ),
            }
        }
        // Read on in the background, so that it never writes to a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Demo {
            child,
            printed,
            log,
            folder,
        }
    }

    /// The port in the first URL of this scheme.
    fn port(&self, scheme: &str) -> u16 {
        let start = format!("{scheme}://127.0.0.1:");
        let rest = &self.printed[self.printed.find(&start).unwrap() + start.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        rest[..end].parse().unwrap()
    }

    fn connect(&self, scheme: &str) -> Dialogue {
        let stream = TcpStream::connect(("127.0.0.1", self.port(scheme))).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Dialogue {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks it to end and waits until it has.
    fn end(&mut self) -> ExitStatus {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "log of {}:\n{}",
                self.folder.path().display(),
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
    }
}

/// A mail client that is typed by hand.
struct Dialogue {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Dialogue {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    fn say(&mut self, line: &str) {
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
    }

    /// Reads up to and including the line that begins so; returns all of it.
    fn until(&mut self, beginning: &str) -> String {
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

    fn ended(&mut self) {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

#[test]
fn mail_is_read_and_sent_and_the_second_login_needs_no_approval() {
    let mut demo = Demo::start(&["--approve", "--debug"]);

    let mut imap = demo.connect("imap");
    imap.until("* OK");
    imap.say("a LOGIN ada@example.org demo");
    assert!(imap.until("a ").lines().last().unwrap().starts_with("a OK"));
    imap.say("b SELECT INBOX");
    assert!(imap.until("b ").contains(" EXISTS"));
    imap.say("c FETCH 1 BODY[]");
    let message = imap.until("c ");
    assert!(
        message.contains("Subject:") && message.lines().last().unwrap().starts_with("c OK"),
        "{message}"
    );
    imap.say("d LOGOUT");
    imap.until("d OK");
    imap.ended();

    let mut pop = demo.connect("pop3");
    pop.until("+OK");
    pop.say("USER ada@example.org");
    pop.until("+OK");
    pop.say("PASS demo");
    pop.until("+OK");
    pop.say("RETR 1");
    assert!(pop.until(".").contains("Subject:"));
    pop.say("QUIT");
    pop.until("+OK");
    pop.ended();

    let mut smtp = demo.connect("smtp");
    smtp.until("220 ");
    smtp.say("EHLO laptop.example");
    let ehlo = smtp.until("250 ");
    assert!(
        ehlo.contains("AUTH PLAIN LOGIN") && !ehlo.contains("STARTTLS"),
        "{ehlo}"
    );
    // \0ada@example.org\0demo
    smtp.say("AUTH PLAIN AGFkYUBleGFtcGxlLm9yZwBkZW1v");
    smtp.until("235 ");
    for (say, hear) in [
        ("MAIL FROM:<ada@example.org>", "250 "),
        ("RCPT TO:<brook@example.org>", "250 "),
        ("DATA", "354 "),
    ] {
        smtp.say(say);
        smtp.until(hear);
    }
    smtp.say("Subject: sent by the test\r\n\r\nHello.\r\n.");
    smtp.until("250 ");
    smtp.say("QUIT");
    smtp.until("221 ");
    smtp.ended();

    let mut wrong = demo.connect("imap");
    wrong.until("* OK");
    wrong.say("a LOGIN nobody@example.org demo");
    assert!(wrong.until("a ").contains("a NO [AUTHENTICATIONFAILED]"));
    drop(wrong);

    let log = demo.log();
    assert_eq!(log.matches("needs your permission").count(), 1, "{log}");
    let asked = log
        .lines()
        .find(|line| line.contains("needs your permission"))
        .unwrap();
    for part in ["ada@example.org", "127.0.0.1", "open http://localhost:"] {
        assert!(asked.contains(part), "{asked}");
    }
    assert!(
        !log.contains("AGFkYUBleGFtcGxlLm9yZwBkZW1v") && !log.contains("PASS demo"),
        "{log}"
    );
    assert!(demo.end().success());
    assert!(demo.log().contains("ended"));
}

#[test]
fn a_second_account_is_asked_separately_and_a_waiting_login_is_no_obstacle_to_the_end() {
    let mut demo = Demo::start(&[]);
    let mut imap = demo.connect("imap");
    imap.until("* OK");
    imap.say("a LOGIN brook@example.org secret");
    // Nobody approves: the login waits. The log says when it is asked.
    while !demo
        .log()
        .contains("brook@example.org needs your permission")
    {
        assert!(demo.child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    assert!(demo.end().success());
    let rest = imap.until("* BYE");
    assert!(!rest.contains("a OK"), "{rest}");
}

#[cfg(unix)]
#[test]
fn a_reload_keeps_what_runs_and_a_broken_file_is_refused() {
    let demo = Demo::start(&["--approve"]);
    let mut open = demo.connect("imap");
    open.until("* OK");
    let file = demo
        .printed
        .split_whitespace()
        .find(|word| word.ends_with("emailproxy.config."))
        .unwrap();
    let file = file.trim_end_matches('.');
    let text = fs::read_to_string(file).unwrap();
    let reload = |seen: &str| {
        let before = demo.log().matches(seen).count();
        let id = rustix::process::Pid::from_child(&demo.child);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
        while demo.log().matches(seen).count() == before {
            std::thread::yield_now();
        }
    };

    fs::write(file, format!("{text}\nnonsense here\n")).unwrap();
    reload("what was running goes on");
    assert!(demo.log().contains("emailproxy.config:"), "{}", demo.log());
    drop(demo.connect("imap"));

    // The POP server goes, the others stay.
    let pop = demo.port("pop3");
    let at = text.find("[POP-").unwrap();
    let end = at + text[at..].find("[SMTP-").unwrap();
    fs::write(file, format!("{}{}", &text[..at], &text[end..])).unwrap();
    reload("the configuration was read again");
    assert!(TcpStream::connect(("127.0.0.1", pop)).is_err());
    open.say("a LOGIN ada@example.org demo");
    assert!(open.until("a ").contains("a OK"));
}
