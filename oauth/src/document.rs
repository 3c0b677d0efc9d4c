//! The configuration file as text that keeps every byte: read as Python's `configparser` reads it, written back line by line.
//!
//! The reading rules are those of `configparser.ConfigParser(interpolation=None)` with its other settings left alone:
//!
//! - a line ends with LF, CRLF or a lone CR; blank space is what Python's `str.isspace` calls so;
//! - a line whose first visible character is `#` or `;` is a comment wherever it stands, inside a value too;
//! - `[heading]` begins a section; what follows the last `]` of the line is ignored;
//! - `option = value` or `option: value`, split at the first of either; names ignore letter case;
//! - a line indented deeper than the line of its option goes on with the value, joined by LF; blank lines in between count, blank lines at the end do not;
//! - `[DEFAULT]` may appear several times, and every section inherits its options.
//!
//! A byte-order mark is accepted and kept (Python refuses it). Where Python stops at its first error, all of them are collected here.
//!
//! ```
//! use oauth::document::Document;
//!
//! let mut document = Document::parse(b"# mine\n[alice@example.com]\nclient_id = abc\n\n# the end\n").unwrap();
//! document.set("alice@example.com", "last_activity", "17").unwrap();
//! assert_eq!(
//!     document.text(),
//!     "# mine\n[alice@example.com]\nclient_id = abc\nlast_activity = 17\n\n# the end\n"
//! );
//! ```

use crate::messages::document as messages;
use std::{
    collections::HashMap,
    fmt,
    ops::{Range, RangeInclusive},
};
use zeroize::Zeroizing;

mod edit;
mod insert;
mod read;

pub use edit::{Edit, Unwritable};

/// The section that all others inherit from.
pub const DEFAULT: &str = "DEFAULT";

/// A configuration file. It has no `Debug`, because there are secrets in it, and is wiped when dropped.
#[derive(Clone, Default)]
pub struct Document {
    bom: bool,
    text: Zeroizing<String>,
    lines: Vec<Line>,
    sections: Vec<Section>,
    index: HashMap<String, usize>,
}

impl Document {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the lines; never an empty list.
    pub fn parse(bytes: &[u8]) -> Result<Document, Vec<SyntaxError>> {
        read::parse(bytes)
    }

    /// The file's text, without the byte-order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file's bytes, byte-order mark included.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mark: &[u8] = if self.bom { BOM } else { b"" };
        let mut bytes = Zeroizing::new(Vec::with_capacity(mark.len() + self.text.len()));
        bytes.extend_from_slice(mark);
        bytes.extend_from_slice(self.text.as_bytes());
        bytes
    }

    /// All sections in the file's order; `[DEFAULT]` as often as it stands there.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    /// The section of this name, compared exactly; for `DEFAULT`: its first part.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.index.get(name).map(|&at| &self.sections[at])
    }

    /// The option as it stands in the section itself. The name is compared without regard to letter case.
    pub fn own(&self, section: &str, option: &str) -> Option<&Entry> {
        let option = option.to_lowercase();
        if section == DEFAULT {
            return self.default_entry(&option);
        }
        self.section(section)?.entry(&option)
    }

    /// The option as `configparser` would give it: from the section, else from `[DEFAULT]`; nothing where the section does not exist.
    pub fn get(&self, section: &str, option: &str) -> Option<&Entry> {
        let own = self.own(section, option);
        if own.is_some() || !self.index.contains_key(section) {
            return own;
        }
        self.default_entry(&option.to_lowercase())
    }

    fn default_entry(&self, option: &str) -> Option<&Entry> {
        self.index.get(DEFAULT)?;
        let mut parts = self
            .sections
            .iter()
            .filter(|section| section.name == DEFAULT);
        parts.find_map(|section| section.entry(option))
    }
}

/// A section: its heading and the options that stand in it.
#[derive(Clone)]
pub struct Section {
    name: String,
    heading: usize,
    entries: Vec<Entry>,
}

impl Section {
    /// The heading without its brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Line of the heading, from 1.
    pub fn line(&self) -> usize {
        self.heading + 1
    }

    /// The options in the file's order, without inherited ones.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    fn entry(&self, lower: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == lower)
    }
}

/// One option and its value.
#[derive(Clone)]
pub struct Entry {
    name: String,
    value: Zeroizing<String>,
    /// Lines from the option's own to the last one of its value.
    lines: Range<usize>,
    column: usize,
    /// Byte offsets in the text: behind the delimiter, and where the value begins.
    delimiter_end: usize,
    value_start: usize,
}

impl Entry {
    /// The option's name in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value; its lines joined by LF, each without outer blanks.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Line of the option, from 1.
    pub fn line(&self) -> usize {
        self.lines.start + 1
    }

    /// The lines of option and value, from 1; comments and blank lines between them included.
    pub fn lines(&self) -> RangeInclusive<usize> {
        self.lines.start + 1..=self.lines.end
    }

    /// Column of the option's name, in characters from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

/// Something that keeps a file from being read. It never quotes the file, because secrets stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Column, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: SyntaxErrorKind,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&messages::at_line(self.line, self.column, &self.kind))
    }
}

impl std::error::Error for SyntaxError {}

/// What is wrong with a line, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// A byte that no UTF-8 text contains here.
    NotUtf8,
    /// The whole file is UTF-16.
    Utf16,
    /// Text before the first heading.
    NoSection,
    /// Neither a heading nor an option nor the rest of a value.
    NotAnOption,
    /// A line that begins with the delimiter.
    NoOptionName,
    /// The heading stands in an earlier line already.
    DuplicateSection {
        /// That line, from 1.
        first: usize,
    },
    /// The option stands in an earlier line of the section already.
    DuplicateOption {
        /// That line, from 1.
        first: usize,
    },
}

impl fmt::Display for SyntaxErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyntaxErrorKind::NotUtf8 => f.write_str(messages::NOT_UTF8),
            SyntaxErrorKind::Utf16 => f.write_str(messages::UTF16),
            SyntaxErrorKind::NoSection => f.write_str(messages::NO_SECTION),
            SyntaxErrorKind::NotAnOption => f.write_str(messages::NOT_AN_OPTION),
            SyntaxErrorKind::NoOptionName => f.write_str(messages::NO_OPTION_NAME),
            SyntaxErrorKind::DuplicateSection { first } => {
                f.write_str(&messages::duplicate_section(first))
            }
            SyntaxErrorKind::DuplicateOption { first } => {
                f.write_str(&messages::duplicate_option(first))
            }
        }
    }
}

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Byte offsets of one line.
#[derive(Clone, Copy)]
struct Line {
    start: usize,
    /// Where the line end begins.
    content_end: usize,
    end: usize,
}

/// What Python's `str.isspace` says of one character: Unicode's white space and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn is_comment(stripped: &str) -> bool {
    stripped.starts_with(['#', ';'])
}
