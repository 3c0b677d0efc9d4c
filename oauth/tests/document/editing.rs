//! What the file looks like after a change, byte for byte.

use oauth::document::{Document, Edit};

fn edited(input: &str, edits: &[(&str, &str, Option<&str>)]) -> String {
    let mut document = Document::parse(input.as_bytes()).unwrap_or_else(|e| panic!("{e:?}"));
    let edits: Vec<_> = edits
        .iter()
        .map(|&(section, option, value)| Edit {
            section,
            option,
            value,
        })
        .collect();
    document.apply(&edits).expect("writable");
    document.text().to_owned()
}

/// Name, file before, edits, file after.
type Row<'a> = (
    &'a str,
    &'a str,
    &'a [(&'a str, &'a str, Option<&'a str>)],
    &'a str,
);

#[rustfmt::skip]
const ROWS: &[Row<'_>] = &[
    ("behind the last option, before blank lines and comments",
        "[a]\n# c\nk = v\n\n# about b\n[b]\n", &[("a", "t", Some("1"))], "[a]\n# c\nk = v\nt = 1\n\n# about b\n[b]\n"),
    ("behind a value of several lines",
        "[a]\nk = v\n  w\n\n  x\n\n# c\n", &[("a", "t", Some("1"))], "[a]\nk = v\n  w\n\n  x\nt = 1\n\n# c\n"),
    ("into an empty section", "[a]\n\n[b]\n", &[("a", "t", Some("1"))], "[a]\nt = 1\n\n[b]\n"),
    ("into an empty section before an indented heading", "[a]\n  [b]\n", &[("a", "t", Some("1"))], "[a]\n  t = 1\n  [b]\n"),
    ("as deep as its neighbour", "[a]\n\tk = v\n\t[b]\n", &[("a", "t", Some("1"))], "[a]\n\tk = v\n\tt = 1\n\t[b]\n"),
    ("CRLF", "[a]\r\nk = v\r\n[b]\r\n", &[("a", "t", Some("1"))], "[a]\r\nk = v\r\nt = 1\r\n[b]\r\n"),
    ("the neighbour's line end", "[a]\nk = v\r\n[b]\n", &[("a", "t", Some("1"))], "[a]\nk = v\r\nt = 1\r\n[b]\n"),
    ("no line end at the end", "[a]\r\nk = v", &[("a", "t", Some("1"))], "[a]\r\nk = v\r\nt = 1\r\n"),
    ("no line end behind a heading", "[a]", &[("a", "t", Some("1"))], "[a]\nt = 1\n"),
    ("several keep their order", "[a]\nk = v\n", &[("a", "t", Some("1")), ("a", "u", Some("2"))], "[a]\nk = v\nt = 1\nu = 2\n"),
    ("the later of two wins", "[a]\nk = v\n", &[("a", "t", Some("1")), ("a", "T", Some("2"))], "[a]\nk = v\nT = 2\n"),
    ("replace keeps spelling and spacing", "[a]\n  Key\t:   old  \nl=w\n", &[("a", "key", Some("new"))], "[a]\n  Key\t:   new\nl=w\n"),
    ("replace without spaces", "[a]\nk=old\n", &[("a", "k", Some("new"))], "[a]\nk=new\n"),
    ("replace an empty value", "[a]\nk =\nl=\n", &[("a", "k", Some("1")), ("a", "l", Some("2"))], "[a]\nk = 1\nl=2\n"),
    ("replace an empty value at the end and add", "[a]\nk =", &[("a", "t", Some("2")), ("a", "k", Some("1"))], "[a]\nk = 1\nt = 2\n"),
    ("replace by nothing", "[a]\nk = v\n", &[("a", "k", Some(""))], "[a]\nk =\n"),
    ("a value of several lines goes whole", "[a]\nk = v\n  w\n\n  x\n\nl = y\n", &[("a", "k", Some("1"))], "[a]\nk = 1\n\nl = y\n"),
    ("comments inside a replaced value stay", "[a]\nk = v\n# c\n  w\n  ; d\n  x\nl = y\n", &[("a", "k", Some("1"))], "[a]\nk = 1\n# c\n  ; d\nl = y\n"),
    ("remove", "[a]\nk = v\n  w\n# c\n  x\n\nl = y\n", &[("a", "K", None)], "[a]\n# c\n\nl = y\n"),
    ("remove the last line", "[a]\nk = v\nl = w", &[("a", "l", None)], "[a]\nk = v\n"),
    ("remove the last and add", "[a]\nk = v\nl = w", &[("a", "l", None), ("a", "t", Some("1"))], "[a]\nk = v\nt = 1\n"),
    ("remove what is not there", "[a]\nk = v", &[("a", "l", None), ("b", "l", None)], "[a]\nk = v"),
    ("a new section", "# mine\n[a]\nk = v\n", &[("b", "t", Some("1")), ("b", "u", Some("2"))], "# mine\n[a]\nk = v\n\n[b]\nt = 1\nu = 2\n"),
    ("a new section behind a blank line", "[a]\nk = v\n\n", &[("b", "t", Some("1"))], "[a]\nk = v\n\n[b]\nt = 1\n"),
    ("a new section, no line end", "[a]\r\nk = v", &[("b", "t", Some("1"))], "[a]\r\nk = v\r\n\r\n[b]\r\nt = 1\r\n"),
    ("a new section in an empty file", "", &[("b", "t", Some("1"))], "[b]\nt = 1\n"),
    ("two new sections and an old one", "[a]\n", &[("b", "t", Some("1")), ("a", "k", Some("0")), ("c", "u", Some("2"))], "[a]\nk = 0\n\n[b]\nt = 1\n\n[c]\nu = 2\n"),
    ("several lines", "[a]\n  k = v\n", &[("a", "t", Some("{\n\nx\n}"))], "[a]\n  k = v\n  t = {\n\n      x\n      }\n"),
    ("replace by several lines", "[a]\nk = v\r\n  w\nl = x\n", &[("a", "k", Some("1\n2"))], "[a]\nk = 1\r\n    2\r\nl = x\n"),
    ("the defaults", "[DEFAULT]\nk = 1\n[a]\n", &[("DEFAULT", "l", Some("2"))], "[DEFAULT]\nk = 1\nl = 2\n[a]\n"),
    ("an inherited option becomes one of its own", "[DEFAULT]\nk = 1\n[a]\n", &[("a", "k", Some("2"))], "[DEFAULT]\nk = 1\n[a]\nk = 2\n"),
    ("the same value", "[a]\nk  =  v  \n", &[("a", "k", Some("v"))], "[a]\nk  =  v  \n"),
];

#[test]
fn only_the_lines_concerned_change() {
    for (name, before, edits, after) in ROWS {
        assert_eq!(edited(before, edits), *after, "{name}");
    }
}

#[test]
fn the_byte_order_mark_stays() {
    let mut document = Document::parse(b"\xef\xbb\xbf[a]\r\n").ok().unwrap();
    document.set("a", "t", "1").unwrap();
    assert_eq!(&document.to_bytes()[..], b"\xef\xbb\xbf[a]\r\nt = 1\r\n");
}

#[test]
fn what_cannot_be_read_back_is_refused_and_changes_nothing() {
    let mut document = Document::parse(b"[a]\nk = v\n").ok().unwrap();
    for value in [
        " v", "v ", "v\n", "v\n# c", "v\n; c", "v\rw", "v\n w", "v\u{a0}",
    ] {
        assert!(document.set("a", "t", value).is_err(), "{value:?}");
    }
    for option in ["", " t", "t=", "a:b", "#t", ";t", "[t", "t\nu"] {
        assert!(document.set("a", option, "1").is_err(), "{option:?}");
    }
    for section in ["", "a\nb", "a\rb"] {
        assert!(document.set(section, "t", "1").is_err(), "{section:?}");
        assert!(document.add_section(section).is_err(), "{section:?}");
    }
    assert_eq!(document.text(), "[a]\nk = v\n");
}

#[test]
fn sections_are_added_once() {
    let mut document = Document::parse(b"[a]\nk = v").ok().unwrap();
    assert!(document.add_section("b]").unwrap());
    assert!(!document.add_section("a").unwrap());
    assert_eq!(document.text(), "[a]\nk = v\n\n[b]]\n");
    assert!(document.section("b]").is_some());
}
