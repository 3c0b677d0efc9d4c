//! Bytes to sections and options.

use super::{
    BOM, DEFAULT, Document, Entry, Line, Section, SyntaxError, SyntaxErrorKind, is_comment,
    is_space,
};
use std::collections::HashMap;
use zeroize::Zeroizing;

pub(super) fn parse(bytes: &[u8]) -> Result<Document, Vec<SyntaxError>> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(vec![SyntaxError {
            line: 1,
            column: 1,
            kind: SyntaxErrorKind::Utf16,
        }]);
    }
    let (bom, bytes) = match bytes.strip_prefix(BOM) {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let (text, mut errors) = match std::str::from_utf8(bytes) {
        Ok(text) => (Zeroizing::new(text.to_owned()), Vec::new()),
        // The rest of the file is looked at all the same, for its other errors.
        Err(_) => (
            Zeroizing::new(String::from_utf8_lossy(bytes).into_owned()),
            not_utf8(bytes),
        ),
    };
    match parse_text(text) {
        Ok(document) if errors.is_empty() => Ok(Document { bom, ..document }),
        Ok(_) => Err(errors),
        Err(mut more) => {
            errors.append(&mut more);
            errors.sort_by_key(|error| (error.line, error.column));
            Err(errors)
        }
    }
}

/// The same for text that is known to be UTF-8 and begins behind the byte-order mark.
pub(super) fn parse_text(text: Zeroizing<String>) -> Result<Document, Vec<SyntaxError>> {
    let lines = cut_lines(text.as_bytes());
    let mut reader = Reader {
        text: &text,
        lines: &lines,
        ..Reader::default()
    };
    reader.read();
    let Reader {
        sections,
        index,
        errors,
        ..
    } = reader;
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Document {
        bom: false,
        lines,
        sections,
        index,
        text,
    })
}

/// The first bad byte of each line.
fn not_utf8(bytes: &[u8]) -> Vec<SyntaxError> {
    let mut errors = Vec::new();
    for (number, line) in cut_lines(bytes).into_iter().enumerate() {
        let line = &bytes[line.start..line.content_end];
        if let Err(error) = std::str::from_utf8(line) {
            let good = String::from_utf8_lossy(&line[..error.valid_up_to()]);
            let column = good.chars().count() + 1;
            errors.push(SyntaxError {
                line: number + 1,
                column,
                kind: SyntaxErrorKind::NotUtf8,
            });
        }
    }
    errors
}

/// Cuts at LF, CRLF and lone CR. A last line without a line end counts; nothing behind the last line end does not.
pub(super) fn cut_lines(bytes: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let rest = &bytes[start..];
        let length = rest
            .iter()
            .position(|b| matches!(b, b'\n' | b'\r'))
            .unwrap_or(rest.len());
        let ending = match &rest[length..] {
            [] => 0,
            [b'\r', b'\n', ..] => 2,
            _ => 1,
        };
        let content_end = start + length;
        lines.push(Line {
            start,
            content_end,
            end: content_end + ending,
        });
        start = content_end + ending;
    }
    lines
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    lines: &'a [Line],
    sections: Vec<Section>,
    index: HashMap<String, usize>,
    /// Options of all the parts of `[DEFAULT]`, with their lines.
    defaults: HashMap<String, usize>,
    /// Whether the section at hand has an option that a deeper line would go on with.
    open: bool,
    /// Blank lines since the last line of the open value.
    blanks: usize,
    indent: usize,
    headless: bool,
    errors: Vec<SyntaxError>,
}

impl Reader<'_> {
    fn read(&mut self) {
        for number in 0..self.lines.len() {
            let line = self.lines[number];
            let content = &self.text[line.start..line.content_end];
            let stripped = content.trim_matches(is_space);
            if is_comment(stripped) {
                continue;
            }
            if stripped.is_empty() {
                self.blanks += 1;
                continue;
            }
            let leading = &content[..content.len() - content.trim_start_matches(is_space).len()];
            let indent = leading.chars().count();
            if self.open && indent > self.indent {
                self.go_on(number, stripped);
                continue;
            }
            self.indent = indent;
            let column = indent + 1;
            if let Some(name) = heading(stripped) {
                self.heading(number, column, name);
            } else if self.sections.is_empty() {
                // One report for the whole stretch: one heading above it mends it.
                if !self.headless {
                    self.error(number, column, SyntaxErrorKind::NoSection);
                }
                self.headless = true;
            } else {
                self.option(number, column, line.start + leading.len(), stripped);
            }
        }
    }

    fn go_on(&mut self, number: usize, stripped: &str) {
        let blanks = std::mem::take(&mut self.blanks);
        let Some(entry) = self
            .sections
            .last_mut()
            .and_then(|section| section.entries.last_mut())
        else {
            return;
        };
        for _ in 0..=blanks {
            entry.value.push('\n');
        }
        entry.value.push_str(stripped);
        entry.lines.end = number + 1;
    }

    fn heading(&mut self, number: usize, column: usize, name: &str) {
        match self.index.get(name) {
            Some(&at) if name != DEFAULT => {
                let first = self.sections[at].heading + 1;
                self.error(number, column, SyntaxErrorKind::DuplicateSection { first });
            }
            Some(_) => {}
            None => {
                self.index.insert(name.to_owned(), self.sections.len());
            }
        }
        let name = name.to_owned();
        self.sections.push(Section {
            name,
            heading: number,
            entries: Vec::new(),
        });
        self.open = false;
    }

    fn option(&mut self, number: usize, column: usize, start: usize, stripped: &str) {
        let Some(delimiter) = stripped.find(['=', ':']) else {
            return self.error(number, column, SyntaxErrorKind::NotAnOption);
        };
        let name = stripped[..delimiter]
            .trim_end_matches(is_space)
            .to_lowercase();
        if name.is_empty() {
            self.open = false;
            return self.error(number, column, SyntaxErrorKind::NoOptionName);
        }
        let behind = &stripped[delimiter + 1..];
        let value = behind.trim_start_matches(is_space);
        let delimiter_end = start + delimiter + 1;
        let entry = Entry {
            value: Zeroizing::new(value.to_owned()),
            lines: number..number + 1,
            column,
            delimiter_end,
            value_start: delimiter_end + behind.len() - value.len(),
            name,
        };
        let Some(section) = self.sections.last_mut() else {
            return;
        };
        let first = if section.name == DEFAULT {
            self.defaults.insert(entry.name.clone(), number + 1)
        } else {
            section.entry(&entry.name).map(Entry::line)
        };
        section.entries.push(entry);
        self.open = true;
        self.blanks = 0;
        if let Some(first) = first {
            self.error(number, column, SyntaxErrorKind::DuplicateOption { first });
        }
    }

    fn error(&mut self, number: usize, column: usize, kind: SyntaxErrorKind) {
        self.errors.push(SyntaxError {
            line: number + 1,
            column,
            kind,
        });
    }
}

/// `[name]`, with anything behind the last bracket.
fn heading(stripped: &str) -> Option<&str> {
    let inside = stripped.strip_prefix('[')?;
    let name = &inside[..inside.rfind(']')?];
    (!name.is_empty()).then_some(name)
}
