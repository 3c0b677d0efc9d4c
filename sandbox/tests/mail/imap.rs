//! IMAP alone: logins, reading, folders.

use super::{bearer, challenge, imap, start};
use crate::common::{ADA, BROOK, Lines, oauthbearer, xoauth2};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sandbox::{Mechanism, Protocol, Service};
use std::time::Duration;

#[test]
fn imap_logins() {
    let sandbox = start();
    let token = bearer(&sandbox);
    let mut imap = Lines::tls(&sandbox, sandbox.imaps());
    let greeting = imap.line();
    assert!(greeting.contains("[CAPABILITY IMAP4rev1"), "{greeting}");
    assert!(
        greeting.contains(" SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER]"),
        "{greeting}"
    );
    // Refused, with and without initial response; the session goes on.
    imap.send(&format!("a AUTHENTICATE XOAUTH2 {}", xoauth2(ADA, "wrong")));
    let line = imap.line();
    assert_eq!(
        challenge(line.strip_prefix("+ ").expect("challenge"))["status"],
        "401"
    );
    imap.send("");
    assert!(imap.line().starts_with("a NO [AUTHENTICATIONFAILED]"));
    imap.ask("b AUTHENTICATE OAUTHBEARER", "+ ");
    imap.send(&oauthbearer(BROOK, &token));
    let line = imap.line();
    assert_eq!(
        challenge(line.strip_prefix("+ ").expect("challenge"))["status"],
        "invalid_token"
    );
    imap.send("AQ==");
    assert!(imap.line().starts_with("b NO [AUTHENTICATIONFAILED]"));
    imap.ask("c AUTHENTICATE XOAUTH2", "+ ");
    imap.ask("*", "c BAD");
    imap.ask("d AUTHENTICATE XOAUTH2 !!!", "d BAD");
    imap.ask("e AUTHENTICATE PLAIN", "e NO");
    imap.ask("f LOGIN a b", "f NO");
    imap.ask("g SELECT INBOX", "g BAD");
    imap.ask(
        &format!(
            "h AUTHENTICATE OAUTHBEARER {}",
            oauthbearer(&ADA.to_uppercase(), &token)
        ),
        "h OK",
    );
    imap.ask("i LOGOUT", "i OK");
    assert!(imap.is_at_end());

    let log = sandbox.log();
    let lines: Vec<String> = log.lines().iter().map(|line| line.text()).collect();
    assert_eq!(lines.len(), 12, "{lines:#?}");
    assert_eq!(lines[1], "");
    assert!(
        log.lines()
            .iter()
            .all(|line| line.secure && line.service == Service::Imaps)
    );
    assert_eq!(
        (log.logins(Protocol::Imap), log.connections(Service::Imaps)),
        (1, 1)
    );
    assert!(log.wait(
        Duration::from_secs(60),
        |log| log.open_connections(Service::Imaps) == 0
    ));
}

#[test]
fn imap_behaves_as_ordered() {
    let sandbox = start();
    let control = sandbox.control();
    control.set_greeting_capabilities(false);
    control.set_sasl_ir(false);
    control.set_mechanisms(Protocol::Imap, &[Mechanism::OAuthBearer]);
    let mut imap = Lines::tls(&sandbox, sandbox.imaps());
    assert_eq!(imap.line(), "* OK the sandbox is ready");
    let lines = imap.ask("a CAPABILITY", "a OK");
    assert_eq!(
        lines[0],
        "* CAPABILITY IMAP4rev1 ID LITERAL+ LOGINDISABLED AUTH=OAUTHBEARER"
    );
    let token = bearer(&sandbox);
    imap.ask(
        &format!("b AUTHENTICATE OAUTHBEARER {}", oauthbearer(ADA, &token)),
        "b BAD",
    );
    imap.ask("c AUTHENTICATE XOAUTH2", "c NO");
    control.answer_credentials(
        Protocol::Imap,
        1,
        "NO [ALERT] too many simultaneous connections",
    );
    imap.ask("d AUTHENTICATE OAUTHBEARER", "+ ");
    imap.send(&oauthbearer(ADA, &token));
    assert_eq!(
        imap.line(),
        "d NO [ALERT] too many simultaneous connections"
    );
    control.close_after_credentials(Protocol::Imap, 1);
    imap.ask("e AUTHENTICATE OAUTHBEARER", "+ ");
    imap.send(&oauthbearer(ADA, &token));
    assert!(imap.is_at_end());

    let mut imap = Lines::tls(&sandbox, sandbox.imaps());
    imap.line();
    control.close_connections(Service::Imaps);
    assert!(imap.is_at_end());
}

#[test]
fn imap_reads_the_sample_mail() {
    let sandbox = start();
    let mut imap = imap(&sandbox);
    let lines = imap.ask("b LIST \"\" *", "b OK");
    assert!(
        lines.contains(&"* LIST (\\HasNoChildren) \"/\" \"INBOX\"".into()),
        "{lines:#?}"
    );
    assert!(lines.contains(&"* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"".into()));
    let lines = imap.ask("c STATUS inbox (MESSAGES UNSEEN)", "c OK");
    assert_eq!(lines[0], "* STATUS \"inbox\" (MESSAGES 5 UNSEEN 5)");
    let lines = imap.ask("d SELECT INBOX", "d OK [READ-WRITE]");
    assert_eq!(lines[0], "* 5 EXISTS");
    let lines = imap.ask("e FETCH 2 (ENVELOPE)", "e OK");
    assert!(
        lines[0].contains("\"=?utf-8?Q?Zo=C3=AB_M=C3=BCller?=\" NIL \"zoe\" \"example.net\""),
        "{lines:#?}"
    );
    let lines = imap.ask("f FETCH 3 BODYSTRUCTURE", "f OK");
    assert!(
        lines[0].contains("(\"ATTACHMENT\" (\"FILENAME\" \"leaflet.bin\"))"),
        "{lines:#?}"
    );
    let lines = imap.ask("g UID FETCH 3 BODY.PEEK[2]", "g OK");
    let encoded: String = lines[1..lines.len() - 1]
        .concat()
        .trim_end_matches(')')
        .into();
    assert_eq!(BASE64_STANDARD.decode(encoded).expect("base64").len(), 1024);

    // The whole message, byte for byte, and what reading does to its flags.
    let message = sandbox.messages(ADA, "INBOX")[0].clone();
    imap.send("h FETCH 1 BODY[]");
    assert_eq!(
        imap.line(),
        format!("* 1 FETCH (BODY[] {{{}}}", message.len())
    );
    assert_eq!(imap.octets(message.len())[..], message[..]);
    assert_eq!(imap.until("h OK")[0], " FLAGS (\\Seen))");
    assert_eq!(imap.ask("i SEARCH UNSEEN", "i OK")[0], "* SEARCH 2 3 4 5");
    assert_eq!(
        imap.ask("j UID SEARCH SUBJECT lunch", "j OK")[0],
        "* SEARCH 5"
    );
    imap.ask("k FETCH 1:* (FLAGS", "k BAD");
    imap.ask("l EXAMINE Nowhere", "l NO");
    imap.ask("m FETCH 1 FLAGS", "m BAD");
}

#[test]
fn imap_changes_folders() {
    let sandbox = start();
    let mut one = imap(&sandbox);
    let mut two = imap(&sandbox);
    one.ask("b SELECT INBOX", "b OK");
    two.ask("b SELECT INBOX", "b OK");
    two.ask("c IDLE", "+ ");
    let lines = one.ask("c STORE 2,4 +FLAGS (\\Deleted \\Flagged)", "c OK");
    assert_eq!(lines[0], "* 2 FETCH (FLAGS (\\Deleted \\Flagged))");
    let lines = one.ask("d EXPUNGE", "d OK");
    assert_eq!(lines[..2], ["* 2 EXPUNGE", "* 3 EXPUNGE"]);
    two.until("* 3 EXPUNGE");
    two.ask("DONE", "c OK");

    // Literals of both kinds, and a message with NUL-free 8-bit bytes.
    one.ask(
        "e APPEND Sent (\\Seen) \" 7-Feb-1994 21:52:25 -0800\" {11}",
        "+ ",
    );
    one.send("A: b\r\n\r\nbod");
    one.until("e OK [APPENDUID ");
    one.send("f APPEND {4+}\r\nSent {9+}\r\nA: b\r\n\r\nx");
    one.until("f OK [APPENDUID ");
    assert_eq!(sandbox.messages(ADA, "Sent").len(), 2);
    one.ask("g APPEND Nowhere {1+}\r\nx", "g NO [TRYCREATE]");
    one.ask("h CREATE Work/2024", "h OK");
    one.ask("i CREATE Work/2024", "i NO");
    one.ask("j UID COPY 1,5 Work/2024", "j OK [COPYUID ");
    assert_eq!(sandbox.messages(ADA, "Work/2024").len(), 2);
    one.ask("k RENAME Work/2024 Old", "k OK");
    one.ask("l DELETE Old", "l OK");
    one.ask("m DELETE INBOX", "m NO");
    assert!(
        one.ask("n LSUB \"\" %", "n OK")
            .iter()
            .all(|line| !line.contains("Old"))
    );

    // Another session's mail is told at the next occasion.
    sandbox
        .deliver(ADA, "INBOX", b"Subject: new\r\n\r\nx\r\n")
        .expect("deliver");
    assert_eq!(one.ask("o NOOP", "o OK")[0], "* 4 EXISTS");
    one.ask("p STORE 1 +FLAGS.SILENT \\Deleted", "p OK");
    assert_eq!(one.ask("q CLOSE", "q OK"), ["q OK closed"]);
    assert_eq!(sandbox.messages(ADA, "INBOX").len(), 3);
    one.ask("r APPEND Sent {99999999999}", "r NO [TOOBIG]");
    one.send("s APPEND Sent {99999999999+}");
    one.until("* BYE");
    assert!(one.is_at_end());
}

#[test]
fn imap_ends_a_client_that_only_errs() {
    let sandbox = start();
    let mut imap = imap(&sandbox);
    for _ in 0..50 {
        imap.ask("x NONSENSE", "x BAD");
    }
    imap.until("* BYE");
    assert!(imap.is_at_end());
}
