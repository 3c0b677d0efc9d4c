//! Scripts of the raw level, and what no script may do.

mod common;

use common::{World, load, load_error};
use proxy_proto::Side;

#[test]
fn bytes_are_kept_replaced_and_dropped() {
    let mut world = World::new(
        "function from_client(bytes)
           if bytes == 'keep' then return end
           if bytes == 'same' then return 'same' end
           if bytes == 'true' then return true end
           if bytes == 'drop' then return false end
           if bytes == 'empty' then return '' end
           return '<' .. bytes .. '>'
         end",
    );
    for (given, expected) in [
        ("keep", "keep"),
        ("same", "same"),
        ("true", "true"),
        ("drop", ""),
        ("empty", ""),
        ("other", "<other>"),
    ] {
        assert_eq!(
            world.pass(Side::Client, given),
            ("".into(), expected.into())
        );
    }
    assert_eq!(world.pass(Side::Server, "x"), ("x".into(), "".into()));
}

#[test]
fn what_is_sent_leaves_before_what_is_returned() {
    let mut world = World::new(
        "function from_server(bytes)
           proxy.send_to_client('first ')
           proxy.send_to_server('question')
           proxy.send_to_client('second ')
           return bytes
         end",
    );
    assert_eq!(
        world.pass(Side::Server, "x"),
        ("first second x".into(), "question".into())
    );
}

#[test]
fn all_bytes_survive() {
    let mut world = World::new("function from_client(bytes) return bytes:reverse() end");
    let bytes: Vec<u8> = (0..=255).collect();
    let mut out = world.pass_bytes(Side::Client, &bytes).unwrap().1;
    out.reverse();
    assert_eq!(out, bytes);
}

#[test]
fn scripts_know_where_they_are() {
    let mut world = World::with(
        &[("a.lua greeting=\"hello there\"", "function from_client(bytes)
            return table.concat({params.greeting, session.protocol, session.listener, session.login, session.user,
              tostring(proxy.time() > 1700000000), math.type(proxy.time())}, ' ')
          end")],
    );
    assert_eq!(
        world.pass(Side::Client, "x").1,
        "hello there IMAP IMAP-1993 me@example.com boss@example.com true integer"
    );
}

#[test]
fn variables_last_for_a_session_and_belong_to_one_script() {
    let counter =
        "n = 0 function from_client(bytes) n = n + 1 string.rep = nil return bytes .. n end";
    let mut world = World::with(&[("a.lua", counter), ("b.lua", counter)]);
    assert_eq!(world.pass(Side::Client, "x").1, "x11");
    assert_eq!(world.pass(Side::Client, "x").1, "x22");
}

#[test]
fn a_script_opens_and_closes() {
    let mut world = World::new(
        "function on_open() proxy.send_to_server('open') end
         function on_close() log.info('closed', 1, nil, true, 'x\\ny') end",
    );
    assert_eq!(world.open(), ("".into(), "open".into()));
    let logged = common::logged(|| drop(world));
    assert!(
        logged.contains("test.lua: closed 1 nil true x\u{fffd}y"),
        "{logged}"
    );
}

#[test]
fn logs_are_bounded() {
    let mut world = World::new(
        "function from_client(bytes) for i = 1, 2000 do log.info(('x'):rep(1000)) end end",
    );
    let logged = common::logged(|| drop(world.pass(Side::Client, "x")));
    assert_eq!(logged.lines().count(), 1001);
    assert!(logged.lines().all(|line| line.chars().count() < 500));
    assert!(logged.lines().last().unwrap().contains("no more of it"));
}

#[test]
fn errors_name_file_and_line() {
    let error = |body: &str| {
        let mut world = World::new(&format!("function from_client(bytes)\n {body}\nend"));
        world.pass_bytes(Side::Client, b"x").unwrap_err().0
    };
    let said = error("error('no mail today')");
    assert_eq!(
        said,
        "the plugin test.lua failed: test.lua:2: no mail today"
    );
    assert!(
        error("local x; x.y = 1").contains("test.lua:2: attempt to index a nil value (local 'x')")
    );
    assert!(error("return 5").contains("from_client returned a value of type integer"));
    assert!(error("error({})").contains("the plugin test.lua failed"));
    assert!(
        error("string.gsub('x', '[', '')").contains("test.lua:2: malformed pattern (missing ']')")
    );
    assert!(error("proxy.send_to_client(nil)").contains("test.lua:2: "));
    assert!(
        error("return ('x'):find(nil)")
            .contains("bad argument #2 to 'find' (string expected, got nil)")
    );
}

#[test]
fn mistakes_show_when_scripts_are_loaded() {
    assert_eq!(
        load_error("a.lua", "x = \n y z"),
        "the plugin a.lua failed: a.lua:2: syntax error near <eof>"
    );
    assert!(load_error("a.lua", "error('say which: name=')").contains("a.lua:1: say which: name="));
    assert!(load_error("a.lua", "from_client = 5").contains("from_client must be a function"));
    assert!(load_error("a.lua max_time=soon", "").contains("max_time=soon must be milliseconds"));
    assert!(load_error("a.lua max_message=1T", "").contains("a size"));
    assert!(load_error("b.lua", "").contains("there is no b.lua in "));
    assert!(load_error("a.py", "").contains("no Lua script"));
    assert!(
        load_error("a.lua", "while true do end").contains("a.lua:1: it took more than 1000 ms")
    );
    assert!(load_error("a.lua", "\x1bLua").contains("a.lua"));
    load("a.lua max_time=5 max_message=64K max_memory=2M", "").unwrap();
}

#[test]
fn nothing_but_the_harmless_is_there() {
    let mut world = World::new(
        "function from_client(bytes)
           local names = {}
           for name in pairs(_G) do names[#names + 1] = name end
           table.sort(names)
           return table.concat(names, ' ')
         end",
    );
    assert_eq!(
        world.pass(Side::Client, "x").1,
        "_G _VERSION assert error from_client getmetatable ipairs log math mime next pairs params pcall print proxy rawequal \
         rawget rawlen rawset regex select session setmetatable string table tonumber tostring type utf8 xpcall"
    );
    for gone in [
        "string.dump",
        "table.foreach",
        "math.randomize",
        "getmetatable('').__index",
    ] {
        let mut world = World::new(&format!(
            "function from_client() return tostring({gone}) end"
        ));
        let result = world.pass_bytes(Side::Client, b"x");
        assert!(result.is_err() || result.unwrap().1 == b"nil", "{gone}");
    }
}

#[test]
fn no_script_runs_for_ever() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "return ('a'):rep(40):find(('a*'):rep(20) .. 'b')",
        "return ('('):rep(100000):find('%b()')  or ('('):rep(100000):gsub('%b()', '')",
        "for x in ('a'):rep(50000):gmatch('.-b') do end",
        "return ('x'):rep(1000000):find(('x'):rep(500000) .. 'y', 1, true)",
        "local t = setmetatable({}, {__len = function() return 1 << 60 end}) table.insert(t, 1, 1)",
        "table.move({}, 1, 1 << 60, 2)",
        "table.move(setmetatable({}, {__index = string.len}), 1, 10, 2)",
        "table.concat(setmetatable({}, {__index = table.concat}), '', 1, 1 << 60)",
        "table.sort({3, 2, 1}, function(a, b) while true do end end)",
        "setmetatable({}, {__gc = function() while true do end end})",
        "local s = ('x'):rep(5000000) while true do local t = s .. 'a' end",
        "local x <close> = setmetatable({}, {__close = function() while true do end end}) error('x')",
        "local function f(s) return (s:gsub('.', f)) end f('x')",
        "local function f() pcall(f) end f() while true do end",
        "local function f(s) return (regex.gsub(s, '.', f)) end f('x')",
        "local function f(s) return (mime.edit_text(s, f)) end f('Subject: x\\r\\n\\r\\nx')",
        "string.format('%99999s', 'x')",
        "return ('x'):rep(1000000):find('[' .. ('a'):rep(10000000) .. ']')",
        "return ('x'):rep(1000000):find('[' .. ('a'):rep(10000000) .. ']*b')",
        "return ('x'):rep(1000000):find('.-[' .. ('a'):rep(10000000) .. ']')",
        "return ('x'):rep(1000000):find('%f[' .. ('a'):rep(10000000) .. ']')",
        "local s = ('x'):rep(5000000) while true do utf8.len(s) end",
        "local t = table.pack(('x'):rep(100000):byte(1, 1000)) while true do table.concat(t) end",
        "while true do log.info(('x'):rep(1000)) end",
        "local m = {} m.__tostring = function(t) log.info(t) return 'x' end log.info(setmetatable({}, m)) error('end')",
        "local m = {} m.__tostring = function(t) print(t, t) return 'x' end print(setmetatable({}, m)) error('end')",
        "local m = {} m.__index = function(t, k) return ('x'):gsub('x', setmetatable({}, m)) end ('x'):gsub('x', setmetatable({}, m)) error('end')",
        "error(setmetatable({}, {__tostring = function() while true do end end}))",
        "error(setmetatable({}, {__tostring = function() error('again') end}))",
        "error(setmetatable({}, {__name = ('x'):rep(1000000)}))",
        "error()",
        "error(('x'):rep(1000000))",
        "local f = function() error(setmetatable({}, {__tostring = function() while true do end end})) end ('x'):gsub('x', f)",
        "local function f() return 1 + f() end f()",
        "local t = setmetatable({}, {__index = function(t, k) return t[k .. k] end}) return t.x",
        "local t = {} t.__index = t setmetatable(t, t) return t.x",
        "local t = setmetatable({}, {__lt = function(a, b) return a < b end}) return t < t",
        "local t = {} for i = 1, 200 do t = setmetatable({}, {__index = t}) end while true do local x = t.x end",
        "coroutine.wrap(function() while true do end end)()",
        "load('while true do end')()",
        "setmetatable({}, setmetatable({}, {__index = {__gc = print}})).x()",
        "getmetatable(select(2, pcall(proxy.send_to_client, nil))).__gc()",
        "getmetatable('').__index = nil",
        "string.rep(('x'):rep(1000), 1 << 61)",
        "('x'):rep(1 << 20):byte(1, -1)",
        "select(-1 << 62, 1)",
        "string.format(('%d'):rep(100000), 1)",
        "string.format('%.99999f', 1)",
        "tostring(setmetatable({}, {__tostring = function() return {} end}))",
    ] {
        let script = format!("function from_client(bytes)\n {body}\nend");
        let mut world = World::with(&[("test.lua max_time=30", &script)]);
        let passed = world.pass_bytes(Side::Client, b"x");
        assert!(passed.is_err(), "{body}: {passed:?}");
        let error = passed.unwrap_err().0;
        assert!(
            error.starts_with("the plugin test.lua failed: "),
            "{body}: {error}"
        );
    }
    let mut world =
        World::new("function from_client() return string.rep('', 1 << 60) .. 'done' end");
    assert_eq!(world.pass(Side::Client, "x").1, "done");
}

#[test]
fn memory_is_bounded() {
    for body in [
        "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
        "local s = 'x' while true do s = s .. s end",
        "return ('x'):rep(1 << 40)",
        "return ('x'):rep(1 << 20):gsub('x', ('y'):rep(1000))",
        "while true do pcall(function() local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end) end",
        "local t = {} for i = 1, 1e9 do proxy.send_to_client(('x'):rep(100000)) end",
        "local function f() return ('x'):rep(2000000) end return ('a'):rep(100):gsub('a', f)",
        "local function f() return ('x'):rep(2000000) end return regex.gsub(('a'):rep(100), 'a', f)",
        "local big, level = ('x'):rep(1000000), 0
         local function f()
           level = level + 1
           local result = level < 16 and ('aa'):gsub('a', {a = big}) and ('aab'):gsub('.', function(c) return c == 'a' and big or f() end)
           return result or 'x'
         end
         f() error('only that')",
        "local part = '--b\\r\\n\\r\\nx\\r\\n'
         return mime.edit_text('Content-Type: multipart/mixed; boundary=b\\r\\n\\r\\n' .. part:rep(50), function() return ('x'):rep(1000000) end)",
        "return table.concat({('x'):rep(3000000), ('y'):rep(3000000), ('z'):rep(3000000)})",
        "local t = {} for i = 1, 1e9 do t[i] = {} end",
        "return string.format(('%s'):rep(50), table.unpack((function() local t = {} for i = 1, 50 do t[i] = ('x'):rep(1000000) .. i end return t end)()))",
    ] {
        let script = format!("function from_client(bytes)\n {body}\nend");
        let mut world = World::with(&[("test.lua max_memory=8M max_time=20000", &script)]);
        let error = world.pass_bytes(Side::Client, b"x").unwrap_err().0;
        assert!(
            error.contains("memory") || error.contains("too much") || error.contains("too large"),
            "{body}: {error}"
        );
    }
}

#[test]
fn libraries_work_as_in_the_manual() {
    let mut world = World::new(
        r##"function from_client(bytes)
          assert(("hello world"):find("wor") == 7)
          assert(select("#", ("abc"):find("(a)(b)(c)")) == 5)
          assert(("key = value"):match("^(%w+)%s*=%s*(%w+)$") == "key")
          assert(("THE (quick) fox"):find("%((%a+)%)") == 5)
          assert(("hello"):gsub("l", {l = "L"}) == "heLLo")
          assert(("hello"):gsub("", "-") == "-h-e-l-l-o-")
          assert(("abc"):gsub("%w", "%0%0") == "aabbcc")
          assert(("abc def"):gsub("%f[%w]%w+", string.upper) == "ABC DEF")
          assert(select(2, ("abc"):gsub("b", false or function() end)) == 1)
          local t = {}
          for k, v in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do t[k] = v end
          assert(t.a == "1" and t.b == "2")
          local ok, message = pcall(string.rep)
          assert(not ok and message:find("bad argument #1 to 'rep'"), message)
          ok, message = pcall(string.find, "x", "[")
          assert(not ok and message:find("missing ']'"), tostring(message))
          assert(pcall(error, {code = 7}) == false)
          ok, message = xpcall(function(a, b) error(a + b, 0) end, function(said) return said + 1 end, 1, 2)
          assert(ok == false and message == 4)
          assert(select(2, xpcall(function(a) return a end, print, 5)) == 5)
          ok, message = pcall(error, {code = 7})
          assert(message.code == 7)
          t = {5, 2, 8, 1}
          table.sort(t) assert(table.concat(t, ",") == "1,2,5,8")
          table.sort(t, function(a, b) return a > b end) assert(table.concat(t, ",", 1, 2) == "8,5")
          table.insert(t, 9) table.insert(t, 1, 0) assert(table.remove(t) == 9 and table.remove(t, 1) == 0)
          assert(select("#", table.unpack({1, 2, 3})) == 3 and table.unpack({1, 2}, 2) == 2)
          assert(#table.move({1, 2, 3}, 1, 3, 2) == 4 and #table.move({1, 2}, 1, 2, 1, {}) == 2)
          assert(table.pack(1, nil).n == 2)
          assert(("x"):rep(3, ",") == "x,x,x" and ("x"):rep(0) == "" and (""):rep(5, "-") == "----")
          assert(utf8.char(8364) == "€" and utf8.len("€uro") == 4)
          assert(setmetatable({}, {__index = {x = 1}}).x == 1)
          return "all of it"
        end"##,
    );
    assert_eq!(world.pass(Side::Client, "x").1, "all of it");
}

#[test]
fn text_parts_are_edited_where_they_lie() {
    let mut world = World::new(
        r##"function from_client(message)
          local seen = {}
          local new, count = mime.edit_text(message, function(text, part)
            seen[#seen + 1] = part.type .. "/" .. part.charset
            return (text:gsub("old", "new"))
          end)
          return new .. count .. " " .. table.concat(seen, " ")
        end"##,
    );
    let message = |first: &str, second: &str, third: &str| {
        format!(
            "Subject: old\r\nContent-Type: multipart/mixed; boundary=\"b 1\"\r\n\r\nold preamble\r\n--b 1\r\n\
             Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\n{first}\r\n--c\r\n\
             Content-Type: text/html; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{second}\r\n--c--\r\n\
             --b 1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{third}\r\n\
             --b 1\r\nContent-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nold\r\n\
             --b 1\r\nContent-Type: image/png\r\n\r\nold\r\n--b 1--\r\nold epilogue\r\n"
        )
    };
    let given = message("an old one", "b2xkIG9uZQ==", "an =6Fld=\r\n one=20");
    let expected = message("an new one", "bmV3IG9uZQ==", "an new one=20");
    assert_eq!(
        world.pass(Side::Client, &given).1,
        format!("{expected}3 text/plain/ text/html/utf-8 text/plain/")
    );
    // Nothing to change: not a byte is touched.
    let odd = "Content-Type: multipart/mixed; boundary=x\n\n--x\nno end";
    assert_eq!(
        world.pass(Side::Client, odd).1,
        format!("{odd}0 text/plain/")
    );
}

#[test]
fn regular_expressions_replace() {
    let mut world = World::new(
        r##"function from_client(bytes)
          assert(regex.gsub("a1b22", "[0-9]+", "<$0>") == "a<1>b<22>")
          assert(select(2, regex.gsub("a1b22", "[0-9]+", "", 1)) == 1)
          assert(regex.gsub("John Smith", "(?P<first>\\w+) (\\w+)", "$2 ${first}") == "Smith John")
          assert(regex.gsub("abc", "(b)(x)?", function(all, b, x) return b:upper() .. tostring(x) end) == "aBfalsec")
          assert(regex.gsub("abc", "x", "y") == "abc")
          assert(regex.match("key=value", "(\\w+)=(\\w+)") == "key")
          assert(regex.match("abc", "b.") == "bc" and regex.match("abc", "x") == nil)
          assert(regex.match("ÄÖ", "(?i)äö") == "ÄÖ")
          local ok, message = pcall(regex.match, "x", "(")
          assert(not ok and message:find("bad regular expression"), message)
          ok, message = pcall(regex.match, "x", "(a{1000}){1000}")
          assert(not ok, message)
          return "all of it"
        end"##,
    );
    assert_eq!(world.pass(Side::Client, "x").1, "all of it");
}
