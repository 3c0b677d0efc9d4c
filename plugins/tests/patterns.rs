//! The bounded matcher gives what Lua's own gives: results, captures, errors.

mod common;

use common::World;
use mlua::{Function, Lua, LuaString};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use proxy_proto::Side;
use std::cell::RefCell;

/// Everything that patterns are used for, as one text. The first byte is the pattern's length.
const COMPARE: &str = r##"
local function show(...)
  local t = table.pack(...)
  for i = 1, t.n do t[i] = tostring(t[i]) end
  return table.concat(t, ",", 1, t.n)
end
local function result(ok, first, ...)
  if ok then return show(first, ...) end
  return "error " .. (tostring(first):gsub("^[^:]*:%d+: ", ""))
end
local function collect(s, p)
  local all = {}
  for a, b in string.gmatch(s, p) do
    all[#all + 1] = show(a, b)
    if #all > 20 then break end
  end
  return table.concat(all, ";")
end
function compare(bytes)
  local n = bytes:byte(1)
  local p, s = bytes:sub(2, n + 1), bytes:sub(n + 2)
  local list = { "x", b = false, a = 5 }
  local out = {
    result(pcall(string.find, s, p)),
    result(pcall(string.find, s, p, -3)),
    result(pcall(string.find, s, p, 2, true)),
    result(pcall(string.match, s, p)),
    result(pcall(string.match, s, p, 3)),
    result(pcall(string.gsub, s, p, "<%0>")),
    result(pcall(string.gsub, s, p, "%1%%", 3)),
    result(pcall(string.gsub, s, p, "%2")),
    result(pcall(string.gsub, s, p, list)),
    result(pcall(string.gsub, s, p, function(a, b) return b or a end)),
    result(pcall(string.gsub, s, p, "%")),
    result(pcall(collect, s, p)),
  }
  return table.concat(out, "\n")
end
"##;

fn input(pattern: &[u8], subject: &[u8]) -> Vec<u8> {
    let length = u8::try_from(pattern.len()).unwrap();
    [&[length], pattern, subject].concat()
}

#[test]
fn results_are_those_of_lua() {
    let lua = Lua::new();
    lua.load(COMPARE).set_name("=compare").exec().unwrap();
    let theirs: Function = lua.globals().get("compare").unwrap();
    let script = format!("{COMPARE}\nfunction from_client(bytes) return compare(bytes) end");
    let ours = RefCell::new(World::new(&script));
    let same = |pattern: &[u8], subject: &[u8]| {
        let bytes = input(pattern, subject);
        let expected: LuaString = theirs.call(lua.create_string(&bytes).unwrap()).unwrap();
        let found = ours
            .borrow_mut()
            .pass_bytes(Side::Client, &bytes)
            .unwrap()
            .1;
        assert_eq!(
            String::from_utf8_lossy(&found),
            String::from_utf8_lossy(&expected.as_bytes()),
            "pattern {:?} on {:?}",
            String::from_utf8_lossy(pattern),
            String::from_utf8_lossy(subject)
        );
    };
    for pattern in [
        "",
        "^",
        "$",
        "^$",
        "%",
        "[",
        "[]",
        "[]]",
        "[^]]",
        "[^",
        "[a-]",
        "[-a]",
        "[%",
        "[%a",
        "[a-%d]",
        "(",
        ")",
        "()",
        "(()",
        "%1",
        "(a)%1",
        "(a%1)",
        "()%1",
        "%b",
        "%bx",
        "%bxy",
        "%b()",
        "%f",
        "%f[",
        "%f[a]",
        "%f[%w]%w+",
        "a**",
        "a-",
        "a-$",
        ".-b",
        "(a*(.)%w(%s*))",
        "%z",
        "%Z+",
        "[%a_][%w_]*",
        "%s*(.-)%s*$",
        "((((((((((((((((((((((((((((((((a",
    ] {
        for subject in ["", "a", "abc", "aab (b(c)) 12\u{0}_x", "]^-%", "aaaaaaaab"] {
            same(pattern.as_bytes(), subject.as_bytes());
        }
    }
    same(&[b'a', b'?'].repeat(100), b"aaaa");
    same(&b"%S".repeat(100), &b"x".repeat(200));
    let deep = [&b"x*".repeat(120)[..], b"y"].concat();
    same(&deep, b"");

    let pattern = prop::collection::vec(
        prop::sample::select(b"aab.%%[]()*+?-^$1dwsfbZ\0\xe9".to_vec()),
        0..10,
    );
    let subject = prop::collection::vec(
        prop::sample::select(b"aaab (b)1-]%\0\xe9\n".to_vec()),
        0..16,
    );
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&(pattern, subject), |(pattern, subject)| {
            same(&pattern, &subject);
            Ok(())
        })
        .unwrap();
}
