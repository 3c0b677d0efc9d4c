//! The option `plugins`: a list, a plugin and its parameters in each line.

use crate::messages::loading as messages;
use std::collections::BTreeMap;

/// One plugin of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file, as it stands there.
    pub file: String,
    /// Parameters by key.
    pub params: BTreeMap<String, String>,
}

/// What is wrong with a list; the text says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadList(pub String);

/// Reads the option's value: lines as the configuration has them, blank ones and comments (`#`, `;`) ignored.
///
/// # Errors
/// When a line is not `file.lua key=value …`, and for the Python tool's dictionaries, with the equivalent.
pub fn parse(value: &str) -> Result<Vec<Entry>, BadList> {
    if value.trim_start().starts_with('{') {
        return Err(BadList(dictionary::advice(value)));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for line in value.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let mut words = words(line)?.into_iter().peekable();
        if let Some(Word::Plain(file)) = words.next_if(|word| matches!(word, Word::Plain(_))) {
            entries.push(Entry {
                file,
                params: BTreeMap::new(),
            });
        }
        let Some(entry) = entries.last_mut() else {
            return Err(BadList(messages::parameter_first(line)));
        };
        for word in words {
            match word {
                Word::Plain(word) => {
                    return Err(BadList(messages::no_parameter(word, &entry.file)));
                }
                Word::Param(key, value) => {
                    if entry.params.contains_key(&key) {
                        return Err(BadList(messages::parameter_twice(&entry.file, key)));
                    }
                    entry.params.insert(key, value);
                }
            }
        }
    }
    if entries.is_empty() {
        return Err(BadList(messages::EMPTY_LIST.to_owned()));
    }
    Ok(entries)
}

enum Word {
    Plain(String),
    Param(String, String),
}

fn words(line: &str) -> Result<Vec<Word>, BadList> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let key = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let is_key = rest.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_key && rest[key..].starts_with('=') {
            let (value, behind) = text(&rest[key + 1..], line)?;
            words.push(Word::Param(rest[..key].to_owned(), value));
            rest = behind;
        } else {
            let (word, behind) = text(rest, line)?;
            words.push(Word::Plain(word));
            rest = behind;
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

/// A quoted or a bare text at the beginning of `rest`, and what follows.
fn text<'a>(rest: &'a str, line: &str) -> Result<(String, &'a str), BadList> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        return Ok((rest[..end].to_owned(), &rest[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let behind = &quoted[at + 1..];
                if behind.starts_with(|c: char| !c.is_whitespace()) {
                    return Err(BadList(messages::no_blank_behind_quote(line)));
                }
                return Ok((value, behind));
            }
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                // Patterns are full of backslashes: one that escapes nothing stands for itself.
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(BadList(messages::quote_not_closed(line)))
}

mod dictionary {
    //! What the Python tool's dictionaries would be here.

    use super::messages;

    /// Tells how the same is written as a list.
    pub(super) fn advice(value: &str) -> String {
        match Reader(value).plugins() {
            Some(lines) if !lines.is_empty() => messages::is_dictionary_of(lines.join(" / ")),
            _ => messages::IS_DICTIONARY.to_owned(),
        }
    }

    /// Enough of Python's literals for `{'Name': {'key': 'value', 'number': 5}}`.
    struct Reader<'a>(&'a str);

    impl Reader<'_> {
        fn plugins(&mut self) -> Option<Vec<String>> {
            let mut lines = Vec::new();
            self.dictionary(0, &mut |reader, name| {
                let mut line = format!("{}.lua", name.trim_end_matches(".py"));
                reader.dictionary(1, &mut |reader, key| {
                    let value = reader.value()?;
                    let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
                    line.push_str(&format!(" {key}=\"{quoted}\""));
                    Some(())
                })?;
                lines.push(line);
                Some(())
            })?;
            Some(lines)
        }

        fn dictionary(
            &mut self,
            depth: usize,
            entry: &mut dyn FnMut(&mut Self, String) -> Option<()>,
        ) -> Option<()> {
            if depth > 1 || !self.symbol('{') {
                return None;
            }
            while !self.symbol('}') {
                let key = self.string()?;
                if !self.symbol(':') {
                    return None;
                }
                entry(self, key)?;
                if !self.symbol(',') && !self.0.trim_start().starts_with('}') {
                    return None;
                }
            }
            Some(())
        }

        fn symbol(&mut self, symbol: char) -> bool {
            match self.0.trim_start().strip_prefix(symbol) {
                Some(rest) => {
                    self.0 = rest;
                    true
                }
                None => false,
            }
        }

        fn string(&mut self) -> Option<String> {
            let text = self.0.trim_start();
            let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            let mut value = String::new();
            let mut chars = text.char_indices().skip(1);
            while let Some((at, c)) = chars.next() {
                match c {
                    c if c == quote => {
                        self.0 = &text[at + 1..];
                        return Some(value);
                    }
                    '\\' => value.push(chars.next()?.1),
                    c => value.push(c),
                }
            }
            None
        }

        /// A string, or a number or constant as it is written.
        fn value(&mut self) -> Option<String> {
            let text = self.0.trim_start();
            if text.starts_with(['\'', '"']) {
                return self.string();
            }
            let end = text.find([',', '}'])?;
            let word = text[..end].trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if word.is_empty() || !word.chars().all(plain) {
                return None;
            }
            self.0 = &text[end..];
            Some(word.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(file: &str, params: &[(&str, &str)]) -> Entry {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        Entry {
            file: file.into(),
            params: params.iter().map(owned).collect(),
        }
    }

    #[test]
    fn lists_are_read_line_by_line() {
        let value = "\n# first\nhide.lua capability=MOVE\n; second\n  a/b.lua\n\nreplace.lua pattern=\"two \\\"words\\\" \\d \\\\\" n=1\n more=x=y";
        assert_eq!(
            parse(value).unwrap(),
            [
                entry("hide.lua", &[("capability", "MOVE")]),
                entry("a/b.lua", &[]),
                entry(
                    "replace.lua",
                    &[
                        ("pattern", "two \"words\" \\d \\"),
                        ("n", "1"),
                        ("more", "x=y")
                    ]
                ),
            ]
        );
        assert_eq!(
            parse("\"my file.lua\"").unwrap(),
            [entry("my file.lua", &[])]
        );
    }

    #[test]
    fn what_is_no_list_is_explained() {
        let error = |value: &str| parse(value).unwrap_err().0;
        assert!(error("").contains("empty"));
        assert!(error("a=b").contains("begins with the parameter"));
        assert!(error("a.lua flag").contains("flag behind a.lua is no parameter"));
        assert!(error("a.lua x=1 x=2").contains("twice"));
        assert!(error("a.lua x=\"1").contains("not closed"));
        assert!(error("a.lua x=\"1\\").contains("not closed"));
        assert!(error("a.lua x=\"1\"2").contains("blank"));
    }

    #[test]
    fn dictionaries_get_their_equivalent() {
        let error = parse("{'Black Hole': {}, \"Replace\": {'what': 'a \"b\"', 'n': 5,},\n}")
            .unwrap_err()
            .0;
        assert!(
            error.ends_with("plugins = Black Hole.lua / Replace.lua what=\"a \\\"b\\\"\" n=\"5\""),
            "{error}"
        );
        for odd in [
            "{",
            "{'a': [1]}",
            "{'a': {'b': {}}}",
            "{'a'}",
            "{}",
            "{'a': {'b': 'c",
        ] {
            let error = parse(odd).unwrap_err().0;
            assert!(error.contains("name.lua key=value"), "{odd}: {error}");
        }
    }
}
