//! What holds for every file and every change.

use super::reading;
use oauth::document::Document;
use proptest::prelude::*;

/// Files made of lines that matter to the rules.
pub(crate) fn files() -> impl Strategy<Value = String> {
    let indent = prop::sample::select(vec!["", "", "", " ", "  ", "\t", "\u{a0}", "\u{1c} "]);
    let content = prop::sample::select(vec![
        "[a]",
        "[b]",
        "[c] tail",
        "[DEFAULT]",
        "[a]b]",
        "k = v",
        "K2: w",
        "l=",
        "m =",
        "n = a = b:c",
        "o % p = %(x)s",
        "q: # no comment",
        "é = ü",
        "x\u{2028}y = 1",
        "r = trailing \t",
        "# c",
        "; d",
        "",
        "",
        " ",
        "\u{85}",
        "more",
        "[",
        "[]",
        "=x",
        "deep = er",
    ]);
    let ending = prop::sample::select(vec!["\n", "\n", "\n", "\r\n", "\r"]);
    let line = (indent, content, ending).prop_map(|(i, c, e)| format!("{i}{c}{e}"));
    let cut = any::<bool>();
    (prop::collection::vec(line, 0..14), cut).prop_map(|(lines, cut)| {
        let mut text = format!("[s]\n{}", lines.concat());
        if cut {
            text.truncate(text.trim_end_matches(['\n', '\r']).len());
        }
        text
    })
}

/// Section, option, value.
pub(crate) fn changes() -> impl Strategy<Value = (String, String, String)> {
    let section = prop::sample::select(vec!["s", "a", "b", "DEFAULT", "new@x.example"]);
    let option = prop::sample::select(vec!["k", "K2", "l", "m", "token_salt", "N"]);
    let value = prop::sample::select(vec!["", "v", "#v", "a=b: c", "[x]", "1\n2", "\n\nx", "ü%"]);
    (section, option, value).prop_map(|(s, o, v)| (s.to_owned(), o.to_owned(), v.to_owned()))
}

/// The file's lines without their ends, except those of this option: that is what no change may touch.
fn other_lines(document: &Document, section: &str, option: &str) -> Vec<String> {
    let text = document.text().replace("\r\n", "\n").replace('\r', "\n");
    let own = document.own(section, option).map(|entry| entry.lines());
    let lines = text
        .strip_suffix('\n')
        .unwrap_or(&text)
        .split('\n')
        .map(str::to_owned);
    let kept = lines.enumerate().filter(|(number, line)| {
        let comment = line.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{1c}');
        let inside = own.as_ref().is_some_and(|own| own.contains(&(number + 1)));
        !inside || comment.starts_with(['#', ';'])
    });
    kept.map(|(_, line)| line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_and_all_are_kept(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        match Document::parse(&bytes) {
            Ok(document) => prop_assert_eq!(&document.to_bytes()[..], &bytes[..]),
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }

    #[test]
    fn no_file_panics_and_all_bytes_are_kept(text in files()) {
        match Document::parse(text.as_bytes()) {
            Ok(document) => {
                prop_assert_eq!(document.text(), &text);
                let again = Document::parse(&document.to_bytes()).ok().map(|d| reading(&d));
                prop_assert_eq!(again, Some(reading(&document)));
            }
            Err(errors) => {
                let sorted = errors.is_sorted_by_key(|e| (e.line, e.column));
                prop_assert!(sorted && !errors.is_empty());
            }
        }
    }

    #[test]
    fn what_is_written_is_read(text in files(), (section, option, value) in changes()) {
        let Ok(mut document) = Document::parse(text.as_bytes()) else { return Ok(()) };
        let before = document.clone();
        let changed = document.set(&section, &option, &value).unwrap();
        prop_assert_eq!(changed, document.text() != before.text());
        let read = Document::parse(&document.to_bytes()).ok().unwrap();
        prop_assert_eq!(read.own(&section, &option).map(|e| e.value()), Some(&*value));
        prop_assert_eq!(reading(&read), reading(&document));

        // Everything else is as it was, in meaning …
        let rest = |document: &Document| {
            let mut rest = reading(document);
            for (name, options) in &mut rest {
                if *name == section {
                    options.retain(|(name, _)| *name != option.to_lowercase());
                }
            }
            rest.retain(|(name, options)| *name != section || !options.is_empty());
            rest
        };
        prop_assert_eq!(rest(&document), rest(&before));

        // … and in bytes.
        let old = other_lines(&before, &section, &option);
        let mut new = other_lines(&document, &section, &option);
        if before.section(&section).is_none() {
            prop_assert_eq!(new.pop(), Some(format!("[{section}]")));
            if new.len() > old.len() {
                prop_assert_eq!(new.pop(), Some(String::new()));
            }
        }
        prop_assert_eq!(new, old);

        // Once more changes nothing.
        let once = document.text().to_owned();
        prop_assert!(!document.set(&section, &option, &value).unwrap());
        prop_assert_eq!(document.text(), once);
    }

    #[test]
    fn adding_and_removing_leaves_the_file_as_it_was(text in files(), value in "[a-z]{1,8}(\n[a-z]{1,8})?") {
        let Ok(mut document) = Document::parse(text.as_bytes()) else { return Ok(()) };
        document.set("s", "fresh", &value).unwrap();
        prop_assert!(document.remove("s", "fresh").unwrap());
        let ended = document.text().strip_prefix(&*text);
        prop_assert!(matches!(ended, Some("" | "\n" | "\r" | "\r\n")), "{:?}", document.text());
    }

    #[test]
    fn removing_leaves_the_rest(text in files(), (section, option, _) in changes()) {
        let Ok(mut document) = Document::parse(text.as_bytes()) else { return Ok(()) };
        let before = document.clone();
        let there = before.own(&section, &option).is_some();
        prop_assert_eq!(document.remove(&section, &option).unwrap(), there);
        prop_assert!(document.own(&section, &option).is_none());
        let mut expected = reading(&before);
        for (name, options) in &mut expected {
            if *name == section {
                options.retain(|(name, _)| *name != option.to_lowercase());
            }
        }
        expected.retain(|(name, options)| name != "DEFAULT" || !options.is_empty());
        prop_assert_eq!(reading(&document), expected);
        prop_assert_eq!(
            other_lines(&document, &section, &option),
            other_lines(&before, &section, &option)
        );
    }
}
