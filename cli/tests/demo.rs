//! `emailproxy demo --approve`: the whole road, from a mail client's socket through the proxy to the sandbox and back.

mod common;

use common::{Dialogue, Running, Signal, over_both_runtimes};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    process::ExitStatus,
};

over_both_runtimes! {
    mail_is_read_and_sent_and_the_second_login_needs_no_approval
    a_second_account_is_asked_separately_and_a_waiting_login_is_no_obstacle_to_the_end
    a_reload_keeps_what_runs_and_a_broken_file_is_refused
    debug_logging_is_switched_while_it_runs
}

/// The running demo.
struct Demo {
    running: Running,
    /// What it printed before it began to wait.
    printed: String,
}

impl Demo {
    fn start(runtime: &str, arguments: &[&str]) -> Demo {
        let always = ["demo", "--port-base", "0", "--runtime", runtime];
        let mut running = Running::start(&[&always, arguments].concat(), &[]);
        let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        while !printed.contains("Next: serve a real account") {
            match lines.next() {
                Some(line) => printed.push_str(&(line.unwrap() + "\n")),
                None => panic!("it ended: {printed}\n{}", running.log()),
            }
        }
        // Read on in the background, so that it never writes to a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Demo { running, printed }
    }

    /// The port in the first URL of this scheme.
    fn port(&self, scheme: &str) -> u16 {
        let start = format!("{scheme}://127.0.0.1:");
        let rest = &self.printed[self.printed.find(&start).unwrap() + start.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
        rest[..end].parse().unwrap()
    }

    fn connect(&self, scheme: &str) -> Dialogue {
        Dialogue::connect(self.port(scheme))
    }

    fn log(&self) -> String {
        self.running.log()
    }

    fn end(&mut self) -> ExitStatus {
        self.running.end()
    }
}

fn mail_is_read_and_sent_and_the_second_login_needs_no_approval(runtime: &str) {
    let mut demo = Demo::start(runtime, &["--approve", "--debug"]);

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

fn a_second_account_is_asked_separately_and_a_waiting_login_is_no_obstacle_to_the_end(
    runtime: &str,
) {
    let mut demo = Demo::start(runtime, &[]);
    let mut imap = demo.connect("imap");
    imap.until("* OK");
    imap.say("a LOGIN brook@example.org secret");
    // Nobody approves: the login waits. The log says when it is asked.
    demo.running
        .wait_for("brook@example.org needs your permission", 1);
    assert!(demo.end().success());
    let rest = imap.until("* BYE");
    assert!(!rest.contains("a OK"), "{rest}");
}

fn a_reload_keeps_what_runs_and_a_broken_file_is_refused(runtime: &str) {
    let mut demo = Demo::start(runtime, &["--approve"]);
    let mut open = demo.connect("imap");
    open.until("* OK");
    let file = demo
        .printed
        .split_whitespace()
        .find_map(|word| word.strip_suffix("emailproxy.config."))
        .map(|folder| format!("{folder}emailproxy.config"))
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();

    fs::write(&file, format!("{text}\nnonsense here\n")).unwrap();
    demo.running.signal(Signal::HUP);
    let log = demo.running.wait_for("what was running goes on", 1);
    assert!(log.contains("emailproxy.config:"), "{log}");
    drop(demo.connect("pop3"));

    // The POP server goes, the others stay.
    let at = text.find("[POP-").unwrap();
    let end = at + text[at..].find("[SMTP-").unwrap();
    fs::write(&file, format!("{}{}", &text[..at], &text[end..])).unwrap();
    demo.running.signal(Signal::HUP);
    demo.running.wait_for("the configuration was read again", 1);
    assert!(TcpStream::connect(("127.0.0.1", demo.port("pop3"))).is_err());
    open.say("a LOGIN ada@example.org demo");
    assert!(open.until("a ").contains("a OK"));
    drop(open);
    assert!(demo.end().success());
}

fn debug_logging_is_switched_while_it_runs(runtime: &str) {
    let mut demo = Demo::start(runtime, &["--approve"]);
    let login = |demo: &Demo, tag: &str| {
        let mut imap = demo.connect("imap");
        imap.until("* OK");
        imap.say(&format!("{tag} LOGIN ada@example.org demo"));
        imap.until(&format!("{tag} OK"));
    };
    login(&demo, "before");
    demo.running.signal(Signal::USR1);
    demo.running.wait_for("debug logging is on", 1);
    login(&demo, "during");
    demo.running.signal(Signal::USR1);
    let log = demo.running.wait_for("debug logging is off", 1);
    login(&demo, "after");
    for line in log.lines().filter(|line| line.contains(" LOGIN ")) {
        assert!(line.contains("during") && !line.contains("demo"), "{line}");
    }
    assert!(log.contains("during LOGIN"), "{log}");
    assert!(!demo.log().contains("after LOGIN"));
    assert!(demo.end().success());
}
