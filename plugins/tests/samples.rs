//! The scripts of `samples/`: each does what its page says, and leaves everything else byte for byte as it was.

mod common;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{World, logged};
use plugins::{Place, Plugins};
use proxy_proto::{Protocol, Side, filter::Opened};
use std::{collections::BTreeSet, fs, path::Path};

const C: Side = Side::Client;
const S: Side = Side::Server;

fn samples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples")
}

fn load(protocol: Protocol, list: &str) -> Result<Plugins, String> {
    let place = Place {
        protocol,
        listener: format!("{}-1", protocol.name()).as_str().into(),
    };
    Plugins::load(list, &[samples()], &place).map_err(|error| error.to_string())
}

/// A session after its login, with these samples.
fn session(protocol: Protocol, list: &str) -> World {
    let who = Opened {
        login: "me@example.com".into(),
        user: "me@example.com".into(),
    };
    let plugins = load(protocol, list).unwrap();
    let mut world = World {
        chain: plugins.filters().chain(&who).unwrap(),
    };
    world.pass(
        S,
        match protocol {
            Protocol::Imap => "a1 OK\r\n",
            Protocol::Pop => "+OK\r\n",
            Protocol::Smtp => "235 2.7.0 Ok\r\n",
        },
    );
    world
}

/// What the client gets of a message that it fetches.
fn fetched(world: &mut World, message: &str) -> String {
    let before = "* 1 FETCH (UID 7 BODY[] ";
    let response = format!("{before}{{{}}}\r\n{message} FLAGS ())\r\n", message.len());
    let got = world.pass(S, &response).0;
    let rest = got.strip_prefix(before).unwrap();
    let (length, rest) = rest[1..].split_once("}\r\n").unwrap();
    let (message, behind) = rest.split_at(length.parse().unwrap());
    assert_eq!(behind, " FLAGS ())\r\n", "the length is wrong: {got:?}");
    message.to_owned()
}

/// What the server gets of a message that is sent to these recipients.
fn sent(world: &mut World, recipients: &[&str], message: &str) -> String {
    let mut commands = "MAIL FROM:<me@example.com>\r\n".to_owned();
    for recipient in recipients {
        commands.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
    }
    let asked = world.pass(C, &commands).1;
    let replies = "250 2.1.0 Ok\r\n".repeat(asked.lines().count());
    world.pass(S, &replies);
    // The proxy takes the message before the server hears of DATA: a script may still drop it.
    let (client, server) = world.pass(C, "DATA\r\n");
    assert!(client.starts_with("354"), "{client}");
    assert_eq!(server, "");
    assert_eq!(world.pass(C, &format!("{message}.\r\n")).1, "DATA\r\n");
    let content = world.pass(S, "354 go on\r\n").1;
    assert_eq!(
        world.pass(S, "250 2.0.0 queued\r\n").0,
        "250 2.0.0 queued\r\n"
    );
    content.strip_suffix(".\r\n").unwrap().to_owned()
}

const PLAIN: &str = "Subject: x\r\nContent-Type: text/plain\r\n\r\nHello\r\n";

#[test]
fn every_sample_is_documented_and_loads() {
    let names: BTreeSet<_> = fs::read_dir(samples())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() >= 12, "{names:?}");
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/samples");
    let index = fs::read_to_string(pages.join("README.md")).unwrap();
    for name in &names {
        let stem = name.strip_suffix(".lua").unwrap();
        let page = fs::read_to_string(pages.join(format!("{stem}.md"))).unwrap();
        assert!(index.contains(&format!("[{name}]({stem}.md)")), "{name}");
        // The page's own example works.
        let list: String = page
            .lines()
            .skip_while(|line| *line != "```ini")
            .skip(1)
            .take_while(|line| *line != "```")
            .map(|line| line.strip_prefix("plugins =").unwrap_or(line).trim())
            .filter(|line| !line.is_empty())
            .fold(String::new(), |list, line| list + "\n" + line);
        assert!(list.contains(name.as_str()), "{name}: {list:?}");
        for protocol in [Protocol::Imap, Protocol::Pop, Protocol::Smtp] {
            if let Err(error) = load(protocol, &list) {
                panic!("{name}, {}: {error}", protocol.name());
            }
        }
    }
}

#[test]
fn missing_and_wrong_parameters_are_found_at_start() {
    for (list, expected) in [
        ("echo.lua level=loud", "level=loud"),
        ("echo.lua bytes=many", "bytes=many"),
        ("capabilities.lua", "say what to change"),
        ("mailing-list.lua", "say which address"),
        (
            "mailing-list.lua list=a@b members=\"x\"",
            "`x` is no address",
        ),
        ("mailing-list.lua list=a@b", "say who is on the list"),
        ("reveal-links.lua show=all", "show=all"),
        ("replace.lua", "say what to look for"),
        ("replace.lua pattern=x", "say what to put there"),
        (
            "replace.lua pattern=x replacement=y direction=up",
            "direction=up",
        ),
        (
            "replace.lua pattern=x replacement=y where=there",
            "where=there",
        ),
        ("replace.lua pattern=( replacement=y", "replace.lua"),
    ] {
        let error = load(Protocol::Imap, list).err().unwrap();
        assert!(error.contains(expected), "{list}: {error}");
    }
}

#[test]
fn echo_changes_nothing() {
    let said = logged(|| {
        let mut world = session(Protocol::Imap, "echo.lua level=info bytes=20");
        let bytes = b"a2 NOOP\r\n\xff\x00 and whatever comes behind it".as_slice();
        assert_eq!(
            world.pass_bytes(C, bytes).unwrap(),
            (vec![], bytes.to_vec())
        );
        assert_eq!(
            world.pass_bytes(S, bytes).unwrap(),
            (bytes.to_vec(), vec![])
        );
    });
    assert!(said.contains("C: a2 NOOP"), "{said}");
    assert!(!said.contains("behind it"), "{said}");
}

#[test]
fn capabilities_come_and_go() {
    let mut imap = session(
        Protocol::Imap,
        "capabilities.lua remove=\"move LITERAL+\" add=\"X-NEW IDLE\"",
    );
    for (line, expected) in [
        (
            "* CAPABILITY IMAP4rev1 MOVE IDLE LITERAL+\r\n",
            "* CAPABILITY IMAP4rev1 IDLE X-NEW\r\n",
        ),
        (
            "a1 OK [CAPABILITY IMAP4rev1 MOVE] in\r\n",
            "a1 OK [CAPABILITY IMAP4rev1 X-NEW IDLE] in\r\n",
        ),
        ("* OK MOVE is not a list\r\n", "* OK MOVE is not a list\r\n"),
        (
            "* LIST () \"/\" \"[CAPABILITY MOVE]\"\r\n",
            "* LIST () \"/\" \"[CAPABILITY MOVE]\"\r\n",
        ),
    ] {
        assert_eq!(imap.pass(S, line).0, expected);
    }
    let mut pop = session(
        Protocol::Pop,
        "capabilities.lua remove=TOP add=\"EXPIRE NEVER\"",
    );
    pop.pass(C, "CAPA\r\n");
    assert_eq!(
        pop.pass(S, "+OK list\r\nTOP\r\nUIDL\r\n.\r\n").0,
        "+OK list\r\nUIDL\r\nEXPIRE\r\nNEVER\r\n.\r\n"
    );
    pop.pass(C, "STAT\r\n");
    assert_eq!(pop.pass(S, "+OK 1 TOP\r\n").0, "+OK 1 TOP\r\n");
}

#[test]
fn client_identifiers_are_taken_out() {
    let list = "remove-client-identifiers.lua headers=X-Scanner";
    let mut world = session(Protocol::Smtp, list);
    let header = "From: me\r\nUser-Agent: Thunder\r\n over two lines\r\nX-MAILER: y\r\nSubject: X-Mailer: z\r\n\
                  MIME-Version: 1.0 (Mac OS X Mail 16.0)\r\nx-scanner: 1\r\n";
    let body = "\r\nUser-Agent: stays in the text\r\n";
    assert_eq!(
        sent(&mut world, &["you@example.com"], &format!("{header}{body}")),
        format!("From: me\r\nSubject: X-Mailer: z\r\nMIME-Version: 1.0\r\n{body}")
    );
    assert_eq!(sent(&mut world, &["you@example.com"], PLAIN), PLAIN);

    let mut imap = session(Protocol::Imap, list);
    assert_eq!(
        imap.pass(C, "a2 ID (\"name\" \"Thunder\")\r\n").1,
        "a2 ID NIL\r\n"
    );
    let theirs = format!("{header}{body}");
    assert_eq!(
        fetched(&mut imap, &theirs),
        theirs,
        "others' messages stay as they are"
    );
}

#[test]
fn a_black_hole_swallows_messages_only() {
    let said = logged(|| {
        let mut world = session(Protocol::Smtp, "black-hole.lua log=yes");
        let (client, server) = world.pass(
            C,
            "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\nNOOP\r\n",
        );
        assert_eq!(server, "NOOP\r\n");
        assert_eq!(
            client
                .lines()
                .map(|line| &line[..3])
                .collect::<Vec<_>>()
                .join(" "),
            "250 250 354 250"
        );
        assert_eq!(world.pass(S, "250 noop\r\n").0, "250 noop\r\n");
    });
    assert!(
        said.contains("17 octets from a@b.c to d@e.f"),
        "{said}: a single dot and its line end"
    );
}

#[test]
fn a_list_is_its_members() {
    let list = "mailing-list.lua list=Team@example.com members=\"ann@example.com, bob@example.net\" header=yes";
    let mut world = session(Protocol::Smtp, list);
    let said = logged(|| {
        assert_eq!(
            world
                .pass(C, "MAIL FROM:<me@example.com>\r\nRCPT TO:<team@example.com> NOTIFY=NEVER ORCPT=rfc822;team@example.com\r\nRCPT TO:<team@example.com.invalid>\r\n")
                .1,
            "MAIL FROM:<me@example.com>\r\nRCPT TO:<ann@example.com> NOTIFY=NEVER\r\nRCPT TO:<bob@example.net> NOTIFY=NEVER\r\n\
             RCPT TO:<team@example.com.invalid>\r\n"
        );
        let replies = "250 sender\r\n550 no ann\r\n250 bob\r\n550 invalid\r\n";
        assert_eq!(
            world.pass(S, replies).0,
            "250 sender\r\n250 bob\r\n550 invalid\r\n"
        );
    });
    assert!(
        said.contains("a member of team@example.com was refused: 550 no ann"),
        "{said}"
    );

    let mut world = session(Protocol::Smtp, list);
    let message = "From: team@example.com\r\nTo: You <you@example.com>, \"The Team\" <team@example.com>\r\n\
                   Cc: x@team@example.com.invalid,\r\n TEAM@example.com\r\nSubject: team@example.com\r\n\r\nteam@example.com\r\n";
    assert_eq!(
        sent(&mut world, &["team@example.com"], message),
        "From: team@example.com\r\nTo: You <you@example.com>, ann@example.com,\r\n bob@example.net\r\n\
         Cc: x@team@example.com.invalid,\r\n ann@example.com,\r\n bob@example.net\r\nSubject: team@example.com\r\n\r\nteam@example.com\r\n"
    );
    assert_eq!(sent(&mut world, &["you@example.com"], PLAIN), PLAIN);
}

#[test]
fn uploads_of_sent_mail_are_ignored() {
    let mut world = session(Protocol::Imap, "ignore-sent-upload.lua");
    let append = |mailbox: &str| format!("a2 APPEND {mailbox} (\\Seen) {{5+}}\r\nA: b\n\r\n");
    let (client, server) = world.pass(C, &append("\"sent items\""));
    assert_eq!(server, "");
    assert!(client.starts_with("a2 OK APPEND"), "{client}");
    assert_eq!(
        world.pass(C, &append("Drafts")),
        (String::new(), append("Drafts"))
    );
    // The client waits for a continuation here, and is given one.
    let (client, server) = world.pass(C, "a3 APPEND Sent {4}\r\n");
    assert_eq!(server, "");
    assert!(client.starts_with('+'), "{client}");
    let (client, server) = world.pass(C, "A: b\r\n");
    assert_eq!(server, "");
    assert!(client.starts_with("a3 OK"), "{client}");
}

#[test]
fn reactions_are_disallowed() {
    let mut world = session(Protocol::Smtp, "disable-reactions.lua allow=example.org");
    let with = format!("x-ms-reactions: disallow\r\n{PLAIN}");
    assert_eq!(sent(&mut world, &["a@example.com"], PLAIN), with);
    assert_eq!(sent(&mut world, &["a@example.com"], &with), with);
    assert_eq!(
        sent(&mut world, &["a@example.com", "b@EXAMPLE.org"], PLAIN),
        PLAIN
    );
}

const SAFE: &str = "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc%26d&data=05%7C01&sdata=x%3D&reserved=0";

#[test]
fn safe_links_are_restored() {
    let mut world = session(Protocol::Imap, "restore-safe-links.lua");
    let plain = format!(
        "Subject: {SAFE}\r\nContent-Type: text/plain\r\n\r\nSee {SAFE} and https://example.org/?url=x.\r\n"
    );
    assert_eq!(
        fetched(&mut world, &plain),
        format!(
            "Subject: {SAFE}\r\nContent-Type: text/plain\r\n\r\nSee https://example.com/a?b=c&d and https://example.org/?url=x.\r\n"
        )
    );
    let html = format!("<a href=\"{}\">x</a>\r\n", SAFE.replace('&', "&amp;"));
    let encoded = BASE64_STANDARD.encode(&html);
    let message = format!(
        "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n"
    );
    let got = fetched(&mut world, &message);
    let (_, body) = got.split_once("\r\n\r\n").unwrap();
    let body = BASE64_STANDARD.decode(body.replace("\r\n", "")).unwrap();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "<a href=\"https://example.com/a?b=c&amp;d\">x</a>\r\n"
    );
    // A link that would end its attribute, or is none, stays; so does a message without any.
    for text in [
        SAFE.replace("https%3A%2F%2F", "https%3A%2F%2F%22onclick="),
        SAFE.replace("https%3A%2F%2F", ""),
        "nothing to see".to_owned(),
    ] {
        let message = format!("Content-Type: text/html\r\n\r\n{text}\r\n");
        assert_eq!(fetched(&mut world, &message), message);
    }
}

#[test]
fn safe_links_are_restored_in_parts_that_are_fetched_by_themselves() {
    let mut world = session(Protocol::Imap, "restore-safe-links.lua");
    let mut part = |text: &str| {
        let response = format!("* 1 FETCH (BODY[1] {{{}}}\r\n{text})\r\n", text.len());
        let got = world.pass(S, &response).0;
        let (_, rest) = got.split_once("}\r\n").unwrap();
        rest.strip_suffix(")\r\n").unwrap().to_owned()
    };
    let restored = "x https://example.com/a?b=c&d y\r\n";
    assert_eq!(part(&format!("x {SAFE} y\r\n")), restored);
    let quoted = format!("x {} y\r\n", SAFE.replace('=', "=3D"));
    let quoted = quoted.replace("outlook", "out=\r\nlook");
    assert_eq!(part(&quoted), restored.replace('=', "=3D"));
    let got = part(&BASE64_STANDARD.encode(format!("x {SAFE} y\r\n")));
    let decoded = BASE64_STANDARD.decode(got.replace("\r\n", "")).unwrap();
    assert_eq!(decoded, restored.as_bytes());
    for text in ["", "a=3Db", "QUJD", "x?a=20&b=3D http://example.com\r\n"] {
        assert_eq!(part(text), text);
    }
    // Pieces of a message are put together by the mail program, and must not change their length.
    let piece = format!("* 1 FETCH (BODY[1]<0> {{{}}}\r\n{SAFE})\r\n", SAFE.len());
    assert_eq!(world.pass(S, &piece).0, piece);
}

#[test]
fn links_are_revealed() {
    let mut world = session(Protocol::Imap, "reveal-links.lua");
    for (html, expected) in [
        (
            "<A Href='https://user@Evil.example:8443/x'>your <b>bank</b></A>",
            Some(" [evil.example]"),
        ),
        (
            "<a class=\"y\" href=\"http://bank.example.evil.test/\">bank.example</a>",
            Some(" [bank.example.evil.test]"),
        ),
        (
            "<a href=\"https://bank.example/\">www at <i>bank.example</i>!</a>",
            None,
        ),
        ("<a href=\"mailto:a@b.c\">write</a>", None),
        ("<a name=\"x\">here</a>", None),
    ] {
        let message = format!("Content-Type: text/html\r\n\r\n<p>{html} and so on</p>\r\n");
        let shown = expected.map_or(html.to_owned(), |host| format!("{html}{host}"));
        assert_eq!(fetched(&mut world, &message), message.replace(html, &shown));
    }
    let plain =
        "Content-Type: text/plain\r\n\r\n<a href=\"https://evil.example/\">is only text</a>\r\n";
    assert_eq!(fetched(&mut world, plain), plain);

    let mut world = session(Protocol::Pop, "reveal-links.lua show=address");
    world.pass(C, "RETR 1\r\n");
    let got = world.pass(S, "+OK\r\nContent-Type: text/html\r\n\r\n<a href=\"http://a.b/?c&amp;d\">http://a.b/</a>\r\n.\r\n").0;
    assert!(got.contains("</a> [http://a.b/?c&amp;d]\r\n.\r\n"), "{got}");
}

#[test]
fn text_is_replaced_where_it_is_asked_for() {
    let message = "Subject: [EXT] one\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
                   one\r\n--b\r\nContent-Type: text/html\r\n\r\none\r\n--b\r\nContent-Type: text/plain\r\n\
                   Content-Disposition: attachment\r\n\r\none\r\n--b--\r\n";
    for (parameters, expected) in [
        (
            "replacement=two",
            message.replacen("\r\n\r\none", "\r\n\r\ntwo", 1).replacen(
                "html\r\n\r\none",
                "html\r\n\r\ntwo",
                1,
            ),
        ),
        (
            "replacement=two type=text/html",
            message.replacen("html\r\n\r\none", "html\r\n\r\ntwo", 1),
        ),
        (
            "replacement=two where=header",
            message.replacen("] one", "] two", 1),
        ),
        (
            "replacement=two direction=to_server where=both",
            message.to_owned(),
        ),
    ] {
        let mut world = session(
            Protocol::Imap,
            &format!("replace.lua pattern=one {parameters}"),
        );
        assert_eq!(fetched(&mut world, message), expected, "{parameters}");
    }
    let list =
        "replace.lua pattern=\"(o)(ne)\" replacement=\"${2}$1\" direction=to_server where=both";
    let mut world = session(Protocol::Smtp, list);
    assert_eq!(
        sent(
            &mut world,
            &["a@b.c"],
            "Subject: one\r\n\r\none, one\r\n..\r\n"
        ),
        "Subject: neo\r\n\r\nneo, neo\r\n..\r\n"
    );
}

#[test]
fn searches_suit_office_365() {
    let mut world = session(Protocol::Imap, "fix-office365-search.lua");
    for (said, expected) in [
        (
            "UID SEARCH CHARSET UTF-8 BODY \"Hello\" SUBJECT \"Kept\"",
            "UID SEARCH TEXT \"hello\" SUBJECT \"Kept\"",
        ),
        (
            "SEARCH RETURN (COUNT) charset us-ascii (OR TEXT ABC BODY {3+}\r\nXyZ)",
            "SEARCH RETURN (COUNT) (OR TEXT abc TEXT {3+}\r\nxyz)",
        ),
        (
            "SEARCH SUBJECT \"BODY CHARSET x \" UNSEEN",
            "SEARCH SUBJECT \"BODY CHARSET x \" UNSEEN",
        ),
        (
            "SEARCH CHARSET UTF-8 TEXT {3+}\r\n\u{dc}B",
            "SEARCH CHARSET UTF-8 TEXT {3+}\r\n\u{dc}b",
        ),
        ("SEARCH BODY \"a\\\"B\" SEEN", "SEARCH TEXT \"a\\\"b\" SEEN"),
        (
            "FETCH 1 BODY \"CHARSET x Y\"",
            "FETCH 1 BODY \"CHARSET x Y\"",
        ),
    ] {
        assert_eq!(
            world.pass(C, &format!("a2 {said}\r\n")).1,
            format!("a2 {expected}\r\n")
        );
    }
    let said = logged(|| {
        for _ in 0..2 {
            world.pass(C, "a3 SEARCH TEXT \"two words\"\r\n");
        }
    });
    assert_eq!(said.matches("several words").count(), 1, "{said}");
    let mut world = session(Protocol::Imap, "fix-office365-search.lua text=no");
    assert_eq!(
        world.pass(C, "a2 SEARCH Body Ab\r\n").1,
        "a2 SEARCH Body ab\r\n"
    );
}

#[test]
fn nobody_compresses() {
    let mut world = session(Protocol::Imap, "disable-deflate.lua");
    for (said, expected) in [
        (
            "* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE\r\n",
            "* CAPABILITY IMAP4rev1 IDLE\r\n",
        ),
        (
            "a1 OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\r\n",
            "a1 OK [CAPABILITY IMAP4rev1] in\r\n",
        ),
        (
            "* OK no COMPRESS=DEFLATE here\r\n",
            "* OK no COMPRESS=DEFLATE here\r\n",
        ),
    ] {
        assert_eq!(world.pass(S, said).0, expected);
    }
    let (client, server) = world.pass(C, "a2 COMPRESS DEFLATE\r\n");
    assert_eq!(server, "");
    assert!(client.starts_with("a2 NO [CANNOT]"), "{client}");
}

#[test]
fn compression_is_for_imap_and_next_to_the_server() {
    load(Protocol::Imap, "reveal-links.lua\ndeflate").unwrap();
    for (protocol, list, expected) in [
        (Protocol::Pop, "deflate", "is for IMAP"),
        (Protocol::Imap, "deflate\necho.lua", "must be the last"),
        (Protocol::Imap, "deflate level=9", "no parameter level"),
    ] {
        let error = load(protocol, list).err().unwrap();
        assert!(error.contains(expected), "{error}");
    }
    // Scripts before it work on plain text.
    let mut world = session(Protocol::Imap, "disable-deflate.lua\ndeflate");
    let (_, server) = world.pass(
        S,
        "* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\nproxydeflate1 OK\r\n",
    );
    assert!(server.ends_with(" COMPRESS DEFLATE\r\n"), "{server}");
}

#[test]
fn large_messages_pass_byte_for_byte() {
    let mut body = String::new();
    while body.len() < 25 << 20 {
        body.push_str("A line of a long message, with = and \u{e4}\u{f6}\u{fc}, and .\r\n");
    }
    let message = format!("Subject: long\r\nContent-Type: text/plain\r\n\r\n{body}");
    for list in [
        "restore-safe-links.lua max_message=32M max_memory=256M",
        "restore-safe-links.lua",
        "reveal-links.lua max_message=32M max_memory=256M",
        "replace.lua pattern=absent replacement=x max_message=32M max_memory=256M",
        "remove-client-identifiers.lua",
        "echo.lua",
    ] {
        let mut world = session(Protocol::Imap, list);
        let got = fetched(&mut world, &message);
        assert!(got == message, "{list} has changed a message of 25 MiB");
    }
}
