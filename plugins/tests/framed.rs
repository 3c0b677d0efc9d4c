//! Scripts of the framed level; and those of the guide's tutorial, as they stand there.

mod common;

use common::{World, load_all, load_error, logged};
use proxy_proto::{Protocol, Side};

const C: Side = Side::Client;
const S: Side = Side::Server;

#[test]
fn commands_and_responses_are_complete() {
    let mut world = World::new(
        "function on_command(text, command)
           log.info(command.tag, command.name, command.arguments, command.mailbox, command.literal)
           return (text:gsub('abc', 'xyz'))
         end
         function on_response(text, response)
           log.info(response.tag, response.name, response.number, response.command, response.own)
           return (text:gsub('EXISTS', 'RECENT'))
         end",
    );
    let said = logged(|| {
        world.pass(S, "a1 OK done\r\n");
        assert_eq!(world.pass(C, "a2 search text {3"), ("".into(), "".into()));
        assert_eq!(
            world.pass(C, "+}\r\nabc\r\n").1,
            "a2 search text {3+}\r\nxyz\r\n"
        );
        assert_eq!(
            world.pass(S, "* 3 EXISTS\r\na2 OK\r\n").0,
            "* 3 RECENT\r\na2 OK\r\n"
        );
    });
    for line in [
        "a1 OK nil LOGIN false",
        "a2 SEARCH text {3+}\u{fffd}\u{fffd}abc nil nil",
        "* EXISTS 3 nil false",
        "a2 OK nil SEARCH false",
    ] {
        assert!(
            said.contains(&format!("test.lua: {line}")),
            "{line} is not in {said}"
        );
    }
}

#[test]
fn messages_tell_where_they_belong() {
    let script = "
        function on_header(text, m)
          log.info('header', m.direction, m.command, m.size, m.mailbox, m.number, m.section, m.sender,
            m.recipients and table.concat(m.recipients, ','))
          return 'X: 1\\r\\n' .. text
        end
        function on_message(text, m) return text .. '.footer\\r\\n' end";
    let mut imap = World::of(Protocol::Imap, &[("test.lua", script)]);
    let mut pop = World::of(Protocol::Pop, &[("test.lua", script)]);
    let mut smtp = World::of(Protocol::Smtp, &[("test.lua", script)]);
    let said = logged(|| {
        imap.pass(S, "a1 OK\r\n");
        let fetched = imap.pass(S, "* 2 FETCH (BODY[] {8}\r\nA: b\r\n\r\n)\r\n").0;
        assert_eq!(
            fetched,
            "* 2 FETCH (BODY[] {23}\r\nX: 1\r\nA: b\r\n\r\n.footer\r\n)\r\n"
        );
        let sent = imap
            .pass(C, "a2 APPEND \"Sent Items\" {8+}\r\nA: b\r\n\r\n\r\n")
            .1;
        assert_eq!(
            sent,
            "a2 APPEND \"Sent Items\" {23+}\r\nX: 1\r\nA: b\r\n\r\n.footer\r\n\r\n"
        );
        pop.pass(S, "+OK\r\n");
        pop.pass(C, "RETR 1\r\n");
        let retrieved = pop.pass(S, "+OK\r\nA: b\r\n\r\n..\r\n.\r\n").0;
        assert_eq!(
            retrieved,
            "+OK\r\nX: 1\r\nA: b\r\n\r\n..\r\n..footer\r\n.\r\n"
        );
        smtp.pass(S, "235 ok\r\n");
        smtp.pass(
            C,
            "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n",
        );
        smtp.pass(S, "250 ok\r\n250 ok\r\n250 ok\r\n");
        smtp.pass(C, "A: b\r\n\r\n.\r\n");
        let sent = smtp.pass(S, "354 go\r\n").1;
        assert_eq!(sent, "X: 1\r\nA: b\r\n\r\n..footer\r\n.\r\n");
    });
    for line in [
        "header to_client FETCH 8 nil 2 BODY[] nil nil",
        "header to_server APPEND 8 Sent Items nil nil nil nil",
        "header to_client RETR nil nil nil nil nil nil",
        "header to_server DATA nil nil nil nil a@b c@d,e@f",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
}

#[test]
fn commands_are_answered_and_asked() {
    let mut world = World::of(
        Protocol::Pop,
        &[("test.lua", "
          function on_command(text, command)
            if command.name == 'STAT' then proxy.send_to_server('LIST 1\\r\\n') return false, '+OK 0 0' end
            if command.name == 'DELE' then return false end
            if command.name == 'NOOP' then return 'RSET\\r\\nNOOP\\r\\n' end
          end
          function on_response(text, response)
            log.info(response.command, response.ok, response.own)
          end")],
    );
    let said = logged(|| {
        world.pass(S, "+OK\r\n");
        assert_eq!(world.pass(C, "STAT\r\n"), ("".into(), "LIST 1\r\n".into()));
        assert_eq!(world.pass(S, "-ERR\r\n").0, "+OK 0 0\r\n");
        assert_eq!(world.pass(C, "DELE 1\r\n"), ("".into(), "".into()));
        assert_eq!(world.pass(C, "NOOP\r\n").1, "RSET\r\nNOOP\r\n");
        assert_eq!(world.pass(S, "+OK reset\r\n+OK noop\r\n").0, "+OK noop\r\n");
    });
    assert!(
        said.contains("LIST false true") && said.contains("RSET true true"),
        "{said}"
    );
}

#[test]
fn a_black_hole_takes_everything() {
    let mut world = World::of(
        Protocol::Smtp,
        &[("hole.lua", "
          function on_command(text, command)
            if command.name == 'MAIL' or command.name == 'RCPT' then return false, '250 2.1.0 Ok' end
            if command.name == 'DATA' then return false, '354 go on' end
          end
          function on_message(text) return false, '250 2.0.0 gone' end")],
    );
    world.pass(S, "235 ok\r\n");
    let (client, server) = world.pass(
        C,
        "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nA: b\r\n\r\nx\r\n.\r\nQUIT\r\n",
    );
    assert_eq!(
        client,
        "250 2.1.0 Ok\r\n250 2.1.0 Ok\r\n354 go on\r\n250 2.0.0 gone\r\n"
    );
    assert_eq!(server, "QUIT\r\n");
}

#[test]
fn wrong_values_end_the_session() {
    let error = |source: &str| {
        let mut world = World::new(source);
        world
            .pass_bytes(S, b"a1 OK\r\n* 1 FETCH (BODY[] {2}\r\n\r\n)\r\n")
            .unwrap_err()
            .0
    };
    assert!(
        error("function on_response() return 5 end")
            .contains("on_response returned a value of type integer")
    );
    assert!(
        error("function on_response() return false, {} end").contains("an answer of type table")
    );
    assert!(error("function on_response() return false, 'a\\r\\nb' end").contains("several lines"));
    assert!(error("function on_message() return false end").contains("cannot be dropped"));
    assert!(error("function on_header() return false end").contains("cannot be dropped"));
    let both = "function on_command() end function from_client() end";
    assert!(load_error("a.lua", both).contains("both from_client and on_command"));
}

#[test]
fn the_third_message_may_be_one_too_many() {
    let mut world = World::new(
        "local n = 0
         function on_message(text)
           n = n + 1
           if n == 3 then error('three') end
         end",
    );
    let fetched = "* 1 FETCH (BODY[] {2}\r\n\r\n)\r\n";
    assert_eq!(world.pass(S, fetched).0, fetched);
    assert_eq!(world.pass(S, fetched).0, fetched);
    let error = world.pass_bytes(S, fetched.as_bytes()).unwrap_err().0;
    assert_eq!(error, "the plugin test.lua failed: test.lua:4: three");
}

#[test]
fn what_is_too_long_is_told() {
    let mut world = World::with(&[(
        "test.lua max_message=64K",
        "function on_message() error('seen') end",
    )]);
    let body = "x".repeat(70_000);
    let fetched = format!("* 1 FETCH (BODY[] {{70000}}\r\n{body})\r\n");
    let said = logged(|| assert_eq!(world.pass(S, &fetched).0, fetched));
    assert!(
        said.contains("test.lua: a message (FETCH) is too long"),
        "{said}"
    );
}

/// The scripts of the tutorial by their names, as they stand in the guide.
fn tutorial() -> Vec<(String, String)> {
    let guide = include_str!("../../docs/plugins.md");
    let blocks = guide.split("```lua\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
    let named = |block: &str| {
        let name = block.strip_prefix("-- ")?.lines().next()?;
        Some((name.to_owned(), block.to_owned()))
    };
    blocks.filter_map(named).collect()
}

fn tutorials(line: &str) -> World {
    let name = line.split(' ').next().unwrap();
    let scripts = tutorial();
    let (_, source) = scripts.iter().find(|(script, _)| script == name).unwrap();
    let mut world = World::with(&[(line, source)]);
    let _ = world.open();
    world.pass(S, "a1 OK\r\n");
    world
}

#[test]
fn the_tutorial_does_what_it_says() {
    assert_eq!(tutorial().len(), 4);
    let said = logged(|| {
        let mut world = tutorials("hello.lua");
        let text = "a2 UID FETCH 1 FLAGS\r\n";
        assert_eq!(world.pass(C, text).1, text);
    });
    assert!(said.contains("hello.lua: hello boss@example.com"), "{said}");
    assert!(
        said.contains("hello.lua: the mail program says UID FETCH"),
        "{said}"
    );

    let mut world = tutorials("hide.lua capability=MOVE");
    let text =
        "* CAPABILITY IMAP4rev1 MOVE IDLE\r\n* OK [CAPABILITY IDLE MOVE] hi\r\n* OK MOVE it\r\n";
    assert_eq!(
        world.pass(S, text).0,
        "* CAPABILITY IMAP4rev1 IDLE\r\n* OK [CAPABILITY IDLE] hi\r\n* OK MOVE it\r\n"
    );
    let hide = tutorial().remove(1).1;
    let error = load_all(Protocol::Imap, &[("hide.lua", &hide)]).unwrap_err();
    assert!(
        error.to_string().contains("hide.lua:2: say which one"),
        "{error}"
    );

    let mut world = tutorials("stamp.lua name=here");
    assert_eq!(
        world.pass(C, "a2 APPEND Sent {8+}\r\nA: b\r\n\r\n\r\n").1,
        "a2 APPEND Sent {30+}\r\nX-Sent-Through: here\r\nA: b\r\n\r\n\r\n"
    );

    let mut world = tutorials("nosearch.lua");
    let (client, server) = world.pass(C, "a2 UID SEARCH ALL\r\na3 NOOP\r\n");
    assert_eq!(client, "a2 NO [CANNOT] searching is switched off\r\n");
    assert_eq!(server, "a3 NOOP\r\n");
}
