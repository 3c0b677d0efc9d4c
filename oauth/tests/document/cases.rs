//! Edge cases with what is to be read, written by hand from the rules of Python's library reference; `python.rs` asks
//! the real one.

use super::{Reading, reading};
use oauth::document::{Document, SyntaxErrorKind};

pub(crate) enum Expected {
    Read(&'static [(&'static str, &'static [(&'static str, &'static str)])]),
    /// Line and column of every error, and what it is.
    Errors(&'static [(usize, usize, &'static str)]),
}

use Expected::{Errors, Read};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) input: &'static [u8],
    pub(crate) expected: Expected,
    /// Where we read what Python refuses.
    pub(crate) beyond_python: bool,
}

const fn case(name: &'static str, input: &'static [u8], expected: Expected) -> Case {
    Case {
        name,
        input,
        expected,
        beyond_python: false,
    }
}

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    case("empty file", b"", Read(&[])),
    case("only comments", b"# a\n; b\n\n", Read(&[])),
    case("equals", b"[a]\nk = v\n", Read(&[("a", &[("k", "v")])])),
    case("colon", b"[a]\nk: v\n", Read(&[("a", &[("k", "v")])])),
    case("no spaces", b"[a]\nk=v\nl:w", Read(&[("a", &[("k", "v"), ("l", "w")])])),
    case("the first delimiter counts", b"[a]\nk = a=b:c\nl: x=y\n", Read(&[("a", &[("k", "a=b:c"), ("l", "x=y")])])),
    case("url as value", b"[a]\nu = https://h:80/p?q=1&r=%20\n", Read(&[("a", &[("u", "https://h:80/p?q=1&r=%20")])])),
    case("url without a delimiter before it", b"[a]\nhttps://h/p\n", Read(&[("a", &[("https", "//h/p")])])),
    case("percent signs are plain", b"[a]\nk = %(x)s %% %\n", Read(&[("a", &[("k", "%(x)s %% %")])])),
    case("empty value", b"[a]\nk =\nl=\n", Read(&[("a", &[("k", ""), ("l", "")])])),
    case("no inline comments", b"[a]\nk = v # no ; comment\n", Read(&[("a", &[("k", "v # no ; comment")])])),
    case("value of a comment sign", b"[a]\nk = #v\nl = ;\n", Read(&[("a", &[("k", "#v"), ("l", ";")])])),
    case("names ignore case", b"[a]\nClient_ID = V\n", Read(&[("a", &[("client_id", "V")])])),
    case("names beyond ASCII ignore case", "[a]\nÄÖÜ = ß\n".as_bytes(), Read(&[("a", &[("äöü", "ß")])])),
    case("sections keep case", b"[A]\nk=1\n[a]\nk=2\n", Read(&[("A", &[("k", "1")]), ("a", &[("k", "2")])])),
    case("names with blanks inside", b"[a]\nmy key  = v\n", Read(&[("a", &[("my key", "v")])])),
    case("blanks around", b"[a]\n\tk \t=\t v \t\n", Read(&[("a", &[("k", "v")])])),
    case("blanks inside brackets stay", b"[ a b ]\n", Read(&[(" a b ", &[])])),
    case("text behind a heading", b"[a] tail\nk=v\n", Read(&[("a", &[("k", "v")])])),
    case("the last bracket closes", b"[a]b]c\n", Read(&[("a]b", &[])])),
    case("bracket as a name", b"[]]\n", Read(&[("]", &[])])),
    case("heading with a delimiter behind", b"[a] = b\n", Read(&[("a", &[])])),
    case("unclosed heading with a delimiter", b"[a]\n[b = c\n", Read(&[("a", &[("[b", "c")])])),
    case("indented heading", b"  [a]\n  k=v\n  [b]\n  l=w\n", Read(&[("a", &[("k", "v")]), ("b", &[("l", "w")])])),
    case("indented heading under an option goes on with it", b"[a]\nk=v\n [b]\nl=w\n", Read(&[("a", &[("k", "v\n[b]"), ("l", "w")])])),
    case("continuation", b"[a]\nk = v\n  w\n\tx\n", Read(&[("a", &[("k", "v\nw\nx")])])),
    case("continuation that looks like an option", b"[a]\nk = v\n l = w\n", Read(&[("a", &[("k", "v\nl = w")])])),
    case("value begins on the next line", b"[a]\nk =\n  v\n", Read(&[("a", &[("k", "\nv")])])),
    case("blank line inside a value", b"[a]\nk = v\n\n  w\n", Read(&[("a", &[("k", "v\n\nw")])])),
    case("line of blanks inside a value", b"[a]\nk = v\n   \n\t\n  w\n", Read(&[("a", &[("k", "v\n\n\nw")])])),
    case("blank lines behind a value", b"[a]\nk = v\n\n\nl = w\n\n", Read(&[("a", &[("k", "v"), ("l", "w")])])),
    case("comment inside a value", b"[a]\nk = v\n# c\n  w\n  ; d\n  x\n", Read(&[("a", &[("k", "v\nw\nx")])])),
    case("comment and blank line inside a value", b"[a]\nk = v\n\n# c\n\n  w\n", Read(&[("a", &[("k", "v\n\n\nw")])])),
    case("blank line before a value's first line", b"[a]\nk =\n\n  v\n", Read(&[("a", &[("k", "\n\nv")])])),
    case("indented options stand side by side", b"[a]\n  k = v\n  l = w\n m = x\n", Read(&[("a", &[("k", "v"), ("l", "w"), ("m", "x")])])),
    case("deeper than an indented option", b"[a]\n  k = v\n   w\n  l = x\n", Read(&[("a", &[("k", "v\nw"), ("l", "x")])])),
    case("a tab is one column", b"[a]\n  k = v\n\tl = w\n", Read(&[("a", &[("k", "v"), ("l", "w")])])),
    case("indented option right under a heading", b"[a]\n    k = v\n", Read(&[("a", &[("k", "v")])])),
    case("indented comments are comments", b"[a]\n   # c\n   ; d\nk = v\n", Read(&[("a", &[("k", "v")])])),
    case("CRLF", b"[a]\r\nk = v\r\n  w\r\n\r\n[b]\r\n", Read(&[("a", &[("k", "v\nw")]), ("b", &[])])),
    case("lone CR", b"[a]\rk = v\r  w\r", Read(&[("a", &[("k", "v\nw")])])),
    case("mixed line ends", b"[a]\nk = v\r\n\r  w\n\rl = x", Read(&[("a", &[("k", "v\n\nw"), ("l", "x")])])),
    case("other separators do not end a line", "[a]\nk = v\u{2028}l = w\u{b}m\n".as_bytes(), Read(&[("a", &[("k", "v\u{2028}l = w\u{b}m")])])),
    case("Python's blanks are stripped", "[a]\nk\u{a0}=\u{2003}v\u{1f}\n\u{1c}w\n".as_bytes(), Read(&[("a", &[("k", "v\nw")])])),
    case("a zero-width space is no blank", "[a]\nk = \u{200b}v\n".as_bytes(), Read(&[("a", &[("k", "\u{200b}v")])])),
    case("defaults", b"[DEFAULT]\nk = 1\n[a]\nl = 2\n", Read(&[("DEFAULT", &[("k", "1")]), ("a", &[("l", "2")])])),
    case("defaults behind and in parts", b"[a]\n[DEFAULT]\nk = 1\n[b]\n[DEFAULT]\nl = 2\n", Read(&[("DEFAULT", &[("k", "1"), ("l", "2")]), ("a", &[]), ("b", &[])])),
    case("default is another section", b"[default]\nk = 1\n", Read(&[("default", &[("k", "1")])])),
    case("an option over its default", b"[DEFAULT]\nk = 1\n[a]\nk = 2\n", Read(&[("DEFAULT", &[("k", "1")]), ("a", &[("k", "2")])])),
    case("NUL and control bytes stay", b"[a]\nk = a\0b\x01c\n", Read(&[("a", &[("k", "a\0b\x01c")])])),
    case("pasted key", b"[a]\nclient_secret = {\n  \"type\": \"x\",\n  \"key\": \"-----BEGIN\\n=\"\n  }\n", Read(&[("a", &[("client_secret", "{\n\"type\": \"x\",\n\"key\": \"-----BEGIN\\n=\"\n}")])])),
    Case { beyond_python: true, ..case("byte-order mark", b"\xef\xbb\xbf[a]\nk = v\n", Read(&[("a", &[("k", "v")])])) },

    case("no heading", b"k = v\nl = w\n[a]\n", Errors(&[(1, 1, "NoSection")])),
    case("comments before text without heading", b"# c\n\n  k = v\n", Errors(&[(3, 3, "NoSection")])),
    case("empty heading", b"[a]\n[]\n", Errors(&[(2, 1, "NotAnOption")])),
    case("neither", b"[a]\nk = v\nword\n  deeper\n  word\nl = w\nother\n", Errors(&[(3, 1, "NotAnOption"), (7, 1, "NotAnOption")])),
    case("no name", b"[a]\n = v\n: w\n", Errors(&[(2, 2, "NoOptionName"), (3, 1, "NoOptionName")])),
    case("duplicate section", b"[a]\n[b]\n[a]\n", Errors(&[(3, 1, "DuplicateSection 1")])),
    case("duplicate option", b"[a]\nk = 1\nl = 2\n  K: 3\nK: 4\n", Errors(&[(5, 1, "DuplicateOption 2")])),
    case("duplicate option in parts of the defaults", b"[DEFAULT]\nk = 1\n[a]\n[DEFAULT]\nk = 2\n", Errors(&[(5, 1, "DuplicateOption 2")])),
    case("not UTF-8", b"[a]\nk = \xe9t\xe9\nl = \xff\n", Errors(&[(2, 5, "NotUtf8"), (3, 5, "NotUtf8")])),
    case("columns count characters", "[a]\nk = é".as_bytes(), Read(&[("a", &[("k", "é")])])),
    case("cut in the middle of a character", b"[a]\nk = \xc3\xa9\xc3", Errors(&[(2, 6, "NotUtf8")])),
    case("UTF-16", b"\xff\xfe[\0a\0]\0\n\0", Errors(&[(1, 1, "Utf16")])),
    case("all errors at once", b"x\n[a]\nk=1\nk=2\nword\n[a]\nz = \xff\n[]\n", Errors(&[
        (1, 1, "NoSection"), (4, 1, "DuplicateOption 3"), (5, 1, "NotAnOption"),
        (6, 1, "DuplicateSection 2"), (7, 5, "NotUtf8"), (8, 1, "NotAnOption"),
    ])),
];

fn kind(kind: &SyntaxErrorKind) -> String {
    match kind {
        SyntaxErrorKind::DuplicateSection { first } => format!("DuplicateSection {first}"),
        SyntaxErrorKind::DuplicateOption { first } => format!("DuplicateOption {first}"),
        other => format!("{other:?}"),
    }
}

fn owned(expected: &[(&str, &[(&str, &str)])]) -> Reading {
    let option = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let section = |(name, options): &(&str, &[(&str, &str)])| {
        ((*name).to_owned(), options.iter().map(option).collect())
    };
    expected.iter().map(section).collect()
}

#[test]
fn edge_cases_are_read_as_expected() {
    assert!(CASES.len() >= 40);
    for case in CASES {
        let parsed = Document::parse(case.input);
        match (&case.expected, parsed) {
            (Read(expected), Ok(document)) => {
                assert_eq!(reading(&document), owned(expected), "{}", case.name);
                assert_eq!(&document.to_bytes()[..], case.input, "{}: bytes", case.name);
            }
            (Errors(expected), Err(errors)) => {
                let found: Vec<_> = errors
                    .iter()
                    .map(|e| (e.line, e.column, kind(&e.kind)))
                    .collect();
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(l, c, k)| (*l, *c, (*k).to_owned()))
                    .collect();
                assert_eq!(found, expected, "{}", case.name);
            }
            (Read(_), Err(errors)) => panic!("{}: {errors:?}", case.name),
            (Errors(_), Ok(_)) => panic!("{}: read without an error", case.name),
        }
    }
}

#[test]
fn errors_never_quote_the_file() {
    let input = b"[a]\nclient_secret = x\nhunter2\nclient_secret = hunter2\n[hunter2]\n[hunter2]\n";
    let Err(errors) = Document::parse(input) else {
        panic!("read without an error")
    };
    assert_eq!(errors.len(), 3);
    for error in errors {
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn look_ups_inherit_from_the_defaults() {
    let document = Document::parse(b"[a]\nk = own\n[DEFAULT]\nK = 1\n[b]\n[DEFAULT]\nl = 2\n");
    let document = document.ok().unwrap();
    let get = |section: &str, option: &str| document.get(section, option).map(|e| e.value());
    assert_eq!(get("a", "K"), Some("own"));
    assert_eq!(get("a", "L"), Some("2"));
    assert_eq!(get("b", "k"), Some("1"));
    assert_eq!(get("DEFAULT", "l"), Some("2"));
    assert_eq!(get("B", "k"), None, "section names are compared exactly");
    assert!(document.own("b", "k").is_none());
}
