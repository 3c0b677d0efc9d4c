//! The mail servers: logins of each protocol, reading, delivering, and misbehaving as ordered.

#[path = "../common/mod.rs"]
mod common;
mod imap;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::{ADA, BROOK, Lines, imap_login, oauthbearer, xoauth2};
use sandbox::{Account, ExtraMail, Options, Protocol, Sandbox, Service};
use serde_json::Value;
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    time::Duration,
};

fn start() -> Sandbox {
    Sandbox::start(Options::default()).expect("sandbox")
}

fn bearer(sandbox: &Sandbox) -> String {
    sandbox.issue_token(ADA).expect("token")
}

fn imap(sandbox: &Sandbox) -> Lines {
    let (imap, answer) = imap_login(sandbox, ADA, &bearer(sandbox));
    assert!(answer.starts_with("OK [CAPABILITY IMAP4rev1"), "{answer}");
    imap
}

fn pop(sandbox: &Sandbox) -> Lines {
    let mut pop = Lines::tls(sandbox, sandbox.pops());
    pop.until("+OK");
    assert_eq!(pop.ask("AUTH XOAUTH2", "+"), ["+ "]);
    pop.send(&xoauth2(ADA, &bearer(sandbox)));
    assert_eq!(pop.line(), "+OK logged in");
    pop
}

fn smtp(sandbox: &Sandbox) -> Lines {
    let mut smtp = Lines::tls(sandbox, sandbox.smtps());
    smtp.until("220 ");
    smtp.ask("EHLO test", "250 ");
    smtp.ask(
        &format!("AUTH XOAUTH2 {}", xoauth2(ADA, &bearer(sandbox))),
        "235 ",
    );
    smtp
}

/// A decoded error challenge.
fn challenge(base64: &str) -> Value {
    serde_json::from_slice(&BASE64_STANDARD.decode(base64).expect("base64")).expect("JSON")
}

#[test]
fn starttls_in_each_protocol() {
    let sandbox = start();
    let token = bearer(&sandbox);

    let mut imap = Lines::plain(sandbox.imap());
    let greeting = imap.line();
    assert!(greeting.contains(" STARTTLS LOGINDISABLED]"), "{greeting}");
    imap.ask("a AUTHENTICATE XOAUTH2", "a NO [PRIVACYREQUIRED]");
    imap.ask("b STARTTLS", "b OK");
    let mut imap = imap.upgrade(&sandbox);
    assert!(imap.ask("c CAPABILITY", "c OK")[0].ends_with("AUTH=XOAUTH2 AUTH=OAUTHBEARER"));
    imap.ask("d STARTTLS", "d BAD");
    imap.ask(
        &format!("e AUTHENTICATE XOAUTH2 {}", xoauth2(ADA, &token)),
        "e OK",
    );

    let mut pop = Lines::plain(sandbox.pop());
    pop.until("+OK");
    let lines = pop.ask("CAPA", ".");
    assert!(lines.contains(&"STLS".into()) && !lines.iter().any(|line| line.starts_with("SASL")));
    pop.ask("AUTH XOAUTH2", "-ERR [AUTH]");
    pop.ask("STLS", "+OK");
    let mut pop = pop.upgrade(&sandbox);
    assert!(
        pop.ask("CAPA", ".")
            .contains(&"SASL XOAUTH2 OAUTHBEARER".into())
    );
    pop.ask("AUTH OAUTHBEARER", "+ ");
    pop.ask(&oauthbearer(ADA, &token), "+OK");

    let mut smtp = Lines::plain(sandbox.submission());
    smtp.until("220 ");
    let lines = smtp.ask("EHLO test", "250 ");
    assert!(
        lines.contains(&"250-STARTTLS".into()) && !lines.iter().any(|line| line.contains("AUTH"))
    );
    smtp.ask("AUTH XOAUTH2", "530 5.7.0");
    smtp.ask("STARTTLS", "220 ");
    let mut smtp = smtp.upgrade(&sandbox);
    smtp.ask("AUTH XOAUTH2", "503");
    assert!(
        smtp.ask("EHLO test", "250 ")
            .contains(&"250-AUTH XOAUTH2 OAUTHBEARER".into())
    );
    smtp.ask("AUTH OAUTHBEARER", "334 ");
    smtp.ask(&oauthbearer(ADA, &token), "235 ");
    assert_eq!(sandbox.log().logins(Protocol::Smtp), 1);
}

#[test]
fn starttls_as_ordered() {
    let sandbox = start();
    let control = sandbox.control();
    control.set_starttls(Protocol::Smtp, false);
    control.set_plaintext_auth(Protocol::Smtp, true);
    let mut smtp = Lines::plain(sandbox.submission());
    smtp.until("220 ");
    let lines = smtp.ask("EHLO test", "250 ");
    assert!(
        !lines.contains(&"250-STARTTLS".into())
            && lines.contains(&"250-AUTH XOAUTH2 OAUTHBEARER".into())
    );
    smtp.ask("STARTTLS", "502");
    // What a client lets slip in clear is on record as such.
    smtp.ask(&format!("AUTH XOAUTH2 {}", xoauth2(ADA, "leaked")), "334");
    assert!(
        sandbox
            .log()
            .lines()
            .iter()
            .any(|line| !line.secure && line.text().starts_with("AUTH XOAUTH2 "))
    );

    control.inject_after_starttls(
        Protocol::Imap,
        Some(b"* CAPABILITY IMAP4rev1 AUTH=EVIL\r\n".to_vec()),
    );
    let mut imap = Lines::plain(sandbox.imap());
    imap.line();
    imap.ask("a STARTTLS", "a OK");
    assert_eq!(imap.line(), "* CAPABILITY IMAP4rev1 AUTH=EVIL");

    // A client that sends more behind STARTTLS is not served.
    control.inject_after_starttls(Protocol::Imap, None);
    let mut imap = Lines::plain(sandbox.imap());
    imap.line();
    imap.raw(b"a STARTTLS\r\nb NOOP\r\n");
    assert!(imap.is_at_end());
}

#[test]
fn scopes_are_kept_to() {
    let sandbox = start();
    let fields = [
        ("grant_type", "password"),
        ("username", ADA),
        ("password", "ada-at-the-provider"),
        ("scope", "mail.pop offline_access"),
    ];
    let (_, answer) = common::token(&sandbox, sandbox::client::PUBLIC, &fields);
    let token = common::text(&answer, "access_token");
    assert!(imap_login(&sandbox, ADA, &token).1.starts_with("NO"));
    let mut pop = Lines::tls(&sandbox, sandbox.pops());
    pop.until("+OK");
    pop.ask("AUTH XOAUTH2", "+ ");
    pop.ask(&xoauth2(ADA, &token), "+OK");
}

#[test]
fn pop_reads_and_deletes() {
    let sandbox = start();
    let mut pop = pop(&sandbox);
    let messages = sandbox.messages(ADA, "INBOX");
    let octets: usize = messages.iter().map(|message| message.len()).sum();
    assert_eq!(pop.ask("STAT", "+OK"), [format!("+OK 5 {octets}")]);
    assert_eq!(
        pop.ask("LIST 2", "+OK"),
        [format!("+OK 2 {}", messages[1].len())]
    );
    assert_eq!(pop.ask("UIDL", ".")[1..3], ["1 v1u1", "2 v1u2"]);
    // The message full of dots, unstuffed again.
    pop.send("RETR 4");
    let mut lines = Vec::new();
    loop {
        let line = pop.line();
        if line == "." {
            break;
        }
        lines.push(line.strip_prefix('.').unwrap_or(&line).to_owned() + "\r\n");
    }
    assert_eq!(lines.split_off(1).concat().as_bytes(), &messages[3][..]);
    let lines = pop.ask("TOP 1 1", ".");
    assert_eq!(lines[lines.len() - 3..], ["", "Good to see you here.", "."]);
    pop.ask("DELE 1", "+OK");
    pop.ask("RETR 1", "-ERR");
    pop.ask("RSET", "+OK");
    pop.ask("DELE 2", "+OK");
    pop.ask("DELE 2", "-ERR");
    pop.ask("DELE 9", "-ERR");
    pop.ask("AUTH XOAUTH2", "-ERR");
    pop.ask("QUIT", "+OK");
    assert!(pop.is_at_end());
    assert_eq!(sandbox.messages(ADA, "INBOX").len(), 4);
    // Ended without QUIT: nothing is deleted.
    let mut pop = self::pop(&sandbox);
    pop.ask("DELE 1", "+OK");
    drop(pop);
    assert!(sandbox.log().wait(
        Duration::from_secs(60),
        |log| log.open_connections(Service::Pops) == 0
    ));
    assert_eq!(sandbox.messages(ADA, "INBOX").len(), 4);
}

#[test]
fn pop_refuses() {
    let sandbox = start();
    let control = sandbox.control();
    let mut pop = Lines::tls(&sandbox, sandbox.pops());
    pop.until("+OK");
    pop.ask(
        &format!("AUTH XOAUTH2 {}", xoauth2(ADA, &bearer(&sandbox))),
        "-ERR protocol error",
    );
    pop.ask("AUTH XOAUTH2", "+ ");
    pop.ask(&xoauth2(ADA, "wrong"), "+ ");
    pop.ask("", "-ERR [AUTH]");
    pop.ask("AUTH OAUTHBEARER", "+ ");
    pop.ask(&oauthbearer(ADA, "wrong"), "+ ");
    pop.ask("AQ==", "-ERR [AUTH]");
    pop.ask("AUTH XOAUTH2", "+ ");
    pop.ask("*", "-ERR cancelled");
    control.answer_credentials(Protocol::Pop, 1, "-ERR [IN-USE] locked");
    pop.ask("AUTH XOAUTH2", "+ ");
    pop.ask(&xoauth2(ADA, "any"), "-ERR [IN-USE] locked");
    pop.ask("AUTH PLAIN", "-ERR");
    assert_eq!(pop.ask("AUTH", "."), ["+OK", "XOAUTH2", "OAUTHBEARER", "."]);
    pop.ask("USER ada", "-ERR");
    pop.ask("STAT", "-ERR");
    control.close_after_credentials(Protocol::Pop, 1);
    pop.ask("AUTH XOAUTH2", "+ ");
    pop.send(&xoauth2(ADA, "any"));
    assert!(pop.is_at_end());
}

#[test]
fn smtp_delivers() {
    let sandbox = start();
    let mut smtp = smtp(&sandbox);
    smtp.ask("MAIL FROM:<ada@example.org> SIZE=100 BODY=8BITMIME", "250 ");
    smtp.ask("RCPT TO:<brook@example.org>", "250 ");
    smtp.ask("RCPT TO:<someone@example.com>", "250 ");
    smtp.ask("DATA", "354 ");
    smtp.send("Subject: dots\r\n\r\n..one\r\n...two\r\nGrüße\r\n.");
    smtp.until("250 ");
    let sent = "Subject: dots\r\n\r\n.one\r\n..two\r\nGrüße\r\n";
    let mails = sandbox.log().mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(&*mails[0].message, sent.as_bytes());
    assert_eq!(
        (mails[0].user.as_str(), mails[0].sender.as_str()),
        (ADA, ADA)
    );
    assert_eq!(mails[0].recipients, [BROOK, "someone@example.com"]);
    let inbox = sandbox.messages(BROOK, "INBOX");
    assert_eq!(inbox.len(), 6);
    assert!(inbox[5].starts_with(b"Return-Path: <ada@example.org>\r\nReceived: from test by "));
    assert!(inbox[5].ends_with(sent.as_bytes()));

    smtp.ask("MAIL FROM:<>", "250 ");
    smtp.ask("RCPT TO:<ada@example.org>", "250 ");
    smtp.raw(b"BDAT 5\r\nA: b\rBDAT 4 LAST\r\n\n\r\nc");
    smtp.until("250 ");
    smtp.until("250 ");
    assert_eq!(&*sandbox.log().mails()[1].message, b"A: b\r\n\r\nc");
    smtp.ask("QUIT", "221 ");
    assert!(smtp.is_at_end());
}

#[test]
fn smtp_refuses() {
    let sandbox = start();
    let control = sandbox.control();
    let mut smtp = Lines::tls(&sandbox, sandbox.smtps());
    smtp.until("220 ");
    smtp.ask("AUTH XOAUTH2", "503 ");
    smtp.ask("HELO test", "250 ");
    smtp.ask("MAIL FROM:<a@b>", "530 5.7.0");
    smtp.ask(&format!("AUTH XOAUTH2 {}", xoauth2(ADA, "wrong")), "334 ");
    smtp.ask("", "535 5.7.8");
    smtp.ask("AUTH OAUTHBEARER", "334 ");
    smtp.ask(&oauthbearer(ADA, "wrong"), "334 ");
    smtp.ask("AQ==", "535 5.7.8");
    smtp.ask("AUTH XOAUTH2", "334 ");
    smtp.ask("*", "501 5.7.0");
    smtp.ask("AUTH XOAUTH2 =", "501 5.5.2");
    smtp.ask("AUTH PLAIN", "504 ");
    control.answer_credentials(Protocol::Smtp, 2, "454 4.7.0 later");
    for _ in 0..2 {
        smtp.ask("AUTH XOAUTH2", "334 ");
        smtp.ask(&xoauth2(ADA, "any"), "454 4.7.0 later");
    }
    smtp.ask(
        &format!("AUTH XOAUTH2 {}", xoauth2(ADA, &bearer(&sandbox))),
        "235 ",
    );
    smtp.ask("AUTH XOAUTH2", "503 ");
    smtp.ask("DATA", "503 ");
    smtp.ask("RCPT TO:<a@b>", "503 ");
    smtp.ask("MAIL TO:<a@b>", "501 ");
    smtp.ask("MAIL FROM:<a@b> SIZE=99999999999", "552 ");
    smtp.ask("MAIL FROM:<a@b> NEVER=1", "555 ");
    smtp.ask("MAIL FROM:<a@b>", "250 ");
    smtp.ask("RCPT TO:<a b@c>", "501 ");
    smtp.ask("DATA", "503 ");
    smtp.ask("RSET", "250 ");
    smtp.ask("NONSENSE", "500 ");
    assert!(sandbox.log().mails().is_empty());
}

#[test]
fn mail_of_25_mb() {
    let options = Options {
        large_message: true,
        samples: false,
        mail: vec![ExtraMail {
            account: BROOK.into(),
            folder: "Box".into(),
            message: b"A: b\r\n\r\n".to_vec(),
        }],
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).expect("sandbox");
    assert_eq!(&*sandbox.messages(BROOK, "Box")[0], b"A: b\r\n\r\n");
    let message = sandbox.messages(ADA, "INBOX")[0].clone();
    assert!(
        (24_000_000..26_000_000).contains(&message.len()),
        "{}",
        message.len()
    );
    let mut imap = imap(&sandbox);
    imap.ask("b SELECT INBOX", "b OK");
    imap.send("c UID FETCH 1 (BODY.PEEK[])");
    imap.line();
    assert!(imap.octets(message.len()) == message[..]);
    imap.until("c OK");
    imap.send(&format!("d APPEND Sent {{{}}}", message.len()));
    imap.until("+ ");
    imap.raw(&message);
    imap.send("");
    imap.until("d OK");
    assert!(sandbox.messages(ADA, "Sent")[0] == message);
}

#[test]
fn both_loopbacks_are_served() {
    let sandbox = start();
    let port = sandbox.imaps().port();
    let mut addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addresses.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    }
    for (index, address) in addresses.into_iter().enumerate() {
        assert!(
            Lines::tls(&sandbox, address).line().starts_with("* OK"),
            "{address}"
        );
        assert_eq!(sandbox.log().connections(Service::Imaps), index + 1);
    }
}

#[test]
fn impossible_options() {
    let none = Options {
        accounts: Vec::new(),
        ..Options::default()
    };
    assert!(Sandbox::start(none).is_err());
    let twice = Options {
        accounts: vec![Account::new("a@b", "x"), Account::new("A@B", "y")],
        ..Options::default()
    };
    assert!(Sandbox::start(twice).is_err());
    let sandbox = start();
    let mut taken = Options::default();
    taken.ports.imaps = sandbox.imaps().port();
    let error = Sandbox::start(taken).err().expect("the port is taken");
    assert!(
        error
            .to_string()
            .contains(&sandbox.imaps().port().to_string()),
        "{error}"
    );
    let ca = sandbox.ca_file().to_owned();
    assert_eq!(
        std::fs::read_to_string(&ca).expect("file"),
        sandbox.ca_pem()
    );
    drop(sandbox);
    assert!(!ca.exists());
}
