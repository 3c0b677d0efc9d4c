//! Changes to the text that leave every other byte alone.

use super::{DEFAULT, Document, Entry, Line, Section, is_comment, is_space, read};
use crate::messages::document as messages;
use std::{fmt, ops::Range};
use zeroize::Zeroizing;

/// One option to be set or removed.
#[derive(Clone, Copy)]
pub struct Edit<'a> {
    /// The section's heading without brackets; the section is added at the end of the file where it is missing.
    pub section: &'a str,
    /// The option's name; an existing one is found whatever its letter case, and keeps it.
    pub option: &'a str,
    /// The new value, its lines separated by LF; `None` removes the option.
    pub value: Option<&'a str>,
}

/// Why something cannot be written so that it would be read back as it was meant. Nothing has been changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritable(pub(super) &'static str);

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unwritable {}

impl Document {
    /// Sets an option; says whether that changed anything. See [`Document::apply`].
    ///
    /// # Errors
    /// See [`Document::apply`].
    pub fn set(&mut self, section: &str, option: &str, value: &str) -> Result<bool, Unwritable> {
        self.apply(&[Edit {
            section,
            option,
            value: Some(value),
        }])
    }

    /// Removes an option with all the lines of its value; comments between these stay. Says whether it was there.
    ///
    /// # Errors
    /// See [`Document::apply`].
    pub fn remove(&mut self, section: &str, option: &str) -> Result<bool, Unwritable> {
        self.apply(&[Edit {
            section,
            option,
            value: None,
        }])
    }

    /// Adds an empty section at the end, unless it is there already. Says whether it was added.
    ///
    /// # Errors
    /// A name that no heading can hold.
    pub fn add_section(&mut self, name: &str) -> Result<bool, Unwritable> {
        check_heading(name)?;
        if self.index.contains_key(name) {
            return Ok(false);
        }
        let mut text = self.text.clone();
        append_section(&mut text, name, self.line_end(self.lines.last()));
        self.replace_text(text)?;
        Ok(true)
    }

    /// Makes all edits, or none of them. The later of two edits of one option wins. Says whether anything changed.
    ///
    /// A new option goes behind the last one of its section, ahead of the blank lines and comments that follow, as
    /// `option = value` with the line end and the indentation of its neighbour; a new value keeps what stands before it
    /// on its line. An option that has its value already is not touched.
    ///
    /// # Errors
    /// A heading, name or value that could not be read back: line breaks in names, outer blanks, lines of a value that
    /// would read as comments.
    pub fn apply(&mut self, edits: &[Edit<'_>]) -> Result<bool, Unwritable> {
        for edit in edits {
            check_heading(edit.section)?;
            check_option(edit.option)?;
            edit.value.map_or(Ok(()), check_value)?;
        }
        let edits = last_of_each(edits);
        let mut splices = Vec::new();
        let mut appended: Vec<(&str, Vec<&Edit<'_>>)> = Vec::new();
        for edit in &edits {
            let (option, found) = (edit.option, self.own(edit.section, edit.option));
            match (found, edit.value) {
                (None, None) => {}
                (Some(entry), None) => self.remove_lines(entry, entry.lines.clone(), &mut splices),
                (Some(entry), Some(value)) => self.replace_value(entry, value, &mut splices),
                (None, Some(value)) => match self.part_to_extend(edit.section) {
                    Some(section) => splices.push(self.insertion(section, option, value)),
                    None => match appended.iter_mut().find(|(name, _)| *name == edit.section) {
                        Some((_, options)) => options.push(edit),
                        None => appended.push((edit.section, vec![edit])),
                    },
                },
            }
        }
        if splices.is_empty() && appended.is_empty() {
            return Ok(false);
        }
        let mut text = self.spliced(splices);
        let line_end = self.line_end(self.lines.last());
        for (name, options) in appended {
            append_section(&mut text, name, line_end);
            for edit in options {
                text.push_str(&option_lines(
                    "",
                    edit.option,
                    edit.value.unwrap_or(""),
                    line_end,
                ));
            }
        }
        let old = std::mem::replace(self, reparse(self.bom, text)?);
        // What was read back is what was meant, or nothing happens.
        let meant = edits
            .iter()
            .all(|edit| self.own(edit.section, edit.option).map(Entry::value) == edit.value);
        if !meant {
            *self = old;
            return Err(Unwritable(messages::CHANGE_READ_OTHERWISE));
        }
        Ok(true)
    }

    fn replace_text(&mut self, text: Zeroizing<String>) -> Result<(), Unwritable> {
        *self = reparse(self.bom, text)?;
        Ok(())
    }

    /// The section that takes new options; the last part of `[DEFAULT]`.
    fn part_to_extend(&self, name: &str) -> Option<&Section> {
        if name == DEFAULT {
            return self
                .sections
                .iter()
                .rfind(|section| section.name == DEFAULT);
        }
        self.section(name)
    }

    /// Removes those of the lines that are not comments.
    fn remove_lines(&self, entry: &Entry, lines: Range<usize>, splices: &mut Vec<Splice>) {
        for number in lines {
            let line = self.lines[number];
            let stripped = self.text[line.start..line.content_end].trim_matches(is_space);
            if number == entry.lines.start || !is_comment(stripped) {
                splices.push(Splice {
                    range: line.start..line.end,
                    text: Zeroizing::default(),
                    new_line: false,
                });
            }
        }
    }

    fn replace_value(&self, entry: &Entry, value: &str, splices: &mut Vec<Splice>) {
        if entry.value() == value {
            return;
        }
        let line = self.lines[entry.lines.start];
        let (first, rest) = value
            .split_once('\n')
            .map_or((value, None), |(f, r)| (f, Some(r)));
        let behind = &self.text[entry.delimiter_end..line.content_end];
        let before = &self.text[line.start..entry.delimiter_end - 1];
        let mut text = Zeroizing::new(String::new());
        let from = if first.is_empty() {
            entry.delimiter_end
        } else if behind.chars().all(is_space) {
            // No value on this line so far: its own spacing, else that before the delimiter.
            let none = behind.is_empty() && !before.ends_with(is_space);
            text.push_str(if none { "" } else { " " });
            entry.delimiter_end
        } else {
            entry.value_start
        };
        text.push_str(first);
        if let Some(rest) = rest {
            let line_end = self.line_end(Some(&line));
            for continuation in rest.split('\n') {
                text.push_str(line_end);
                push_continuation(&mut text, leading(before), continuation);
            }
        }
        splices.push(Splice {
            range: from..line.content_end,
            text,
            new_line: false,
        });
        self.remove_lines(entry, entry.lines.start + 1..entry.lines.end, splices);
    }

    fn insertion(&self, section: &Section, option: &str, value: &str) -> Splice {
        let (after, indent) = match section.entries.last() {
            // As deep as the last option: deeper would go on with its value, and less deep would swallow an indented heading.
            Some(entry) => (entry.lines.end - 1, self.indent(entry.lines.start)),
            None => {
                let next = self
                    .sections
                    .iter()
                    .find(|other| other.heading > section.heading);
                (
                    section.heading,
                    next.map_or("", |next| self.indent(next.heading)),
                )
            }
        };
        let line = self.lines[after];
        let line_end = self.line_end(Some(&line));
        let text = option_lines(indent, option, value, line_end);
        Splice {
            range: line.end..line.end,
            text,
            new_line: true,
        }
    }

    fn indent(&self, line: usize) -> &str {
        let line = self.lines[line];
        leading(&self.text[line.start..line.content_end])
    }

    /// The line end of this line, else the file's first, else LF.
    pub(super) fn line_end(&self, line: Option<&Line>) -> &str {
        let candidates = line.into_iter().chain(self.lines.first());
        let mut ends = candidates.map(|line| &self.text[line.content_end..line.end]);
        ends.find(|end| !end.is_empty()).unwrap_or("\n")
    }

    fn spliced(&self, mut splices: Vec<Splice>) -> Zeroizing<String> {
        // Stable: options inserted at one place keep their order, behind what is replaced there.
        splices.sort_by_key(|splice| (splice.range.start, splice.range.end, splice.new_line));
        let added: usize = splices.iter().map(|splice| splice.text.len()).sum();
        let mut text = Zeroizing::new(String::with_capacity(self.text.len() + added + 2));
        let mut at = 0;
        for splice in &splices {
            text.push_str(&self.text[at..splice.range.start]);
            at = splice.range.end;
            if splice.new_line && splice.range.start == self.text.len() {
                end_line(&mut text, self.line_end(self.lines.last()));
            }
            text.push_str(&splice.text);
        }
        text.push_str(&self.text[at..]);
        text
    }
}

/// A stretch of the old text and what stands there instead.
struct Splice {
    range: Range<usize>,
    text: Zeroizing<String>,
    /// Whole lines put in, rather than a part of a line changed.
    new_line: bool,
}

pub(super) fn reparse(bom: bool, text: Zeroizing<String>) -> Result<Document, Unwritable> {
    let parsed = read::parse_text(text);
    let mut document = parsed.map_err(|_| Unwritable(messages::BREAKS_THE_FILE))?;
    document.bom = bom;
    Ok(document)
}

fn last_of_each<'a>(edits: &[Edit<'a>]) -> Vec<Edit<'a>> {
    let mut kept: Vec<Edit<'a>> = Vec::with_capacity(edits.len());
    let mut seen = std::collections::HashMap::new();
    for edit in edits {
        let at = *seen
            .entry((edit.section, edit.option.to_lowercase()))
            .or_insert(kept.len());
        match kept.get_mut(at) {
            Some(earlier) => *earlier = *edit,
            None => kept.push(*edit),
        }
    }
    kept
}

pub(super) fn option_lines(
    indent: &str,
    option: &str,
    value: &str,
    line_end: &str,
) -> Zeroizing<String> {
    let mut text = Zeroizing::new(format!("{indent}{option} ="));
    for (number, line) in value.split('\n').enumerate() {
        match (number, line) {
            (0, "") => {}
            (0, first) => {
                text.push(' ');
                text.push_str(first);
            }
            _ => push_continuation(&mut text, indent, line),
        }
        text.push_str(line_end);
    }
    text
}

fn push_continuation(text: &mut String, indent: &str, line: &str) {
    if !line.is_empty() {
        text.push_str(indent);
        text.push_str("    ");
        text.push_str(line);
    }
}

fn append_section(text: &mut String, name: &str, line_end: &str) {
    if !text.is_empty() {
        end_line(text, line_end);
        let last = text.trim_end_matches(['\n', '\r']).len();
        let last_line_is_blank = read::cut_lines(&text.as_bytes()[last..]).len() > 1;
        if !last_line_is_blank {
            text.push_str(line_end);
        }
    }
    text.push('[');
    text.push_str(name);
    text.push(']');
    text.push_str(line_end);
}

pub(super) fn end_line(text: &mut String, line_end: &str) {
    if !text.is_empty() && !text.ends_with(['\n', '\r']) {
        text.push_str(line_end);
    }
}

fn leading(line: &str) -> &str {
    &line[..line.len() - line.trim_start_matches(is_space).len()]
}

fn outer_blanks(text: &str) -> bool {
    text.trim_matches(is_space).len() != text.len()
}

pub(super) fn check_heading(name: &str) -> Result<(), Unwritable> {
    if name.is_empty() {
        return Err(Unwritable(messages::NAMELESS_SECTION));
    }
    if name.contains(['\n', '\r']) {
        return Err(Unwritable(messages::BROKEN_HEADING));
    }
    Ok(())
}

pub(super) fn check_option(name: &str) -> Result<(), Unwritable> {
    if name.is_empty() || outer_blanks(name) {
        return Err(Unwritable(messages::NAMELESS_OPTION));
    }
    if name.contains(['\n', '\r', '=', ':']) || name.starts_with(['#', ';', '[']) {
        return Err(Unwritable(messages::BROKEN_OPTION));
    }
    Ok(())
}

pub(super) fn check_value(value: &str) -> Result<(), Unwritable> {
    if value.contains('\r') {
        return Err(Unwritable(messages::CARRIAGE_RETURN));
    }
    let mut lines = value.split('\n');
    if lines.any(outer_blanks) || (value.contains('\n') && value.ends_with('\n')) {
        return Err(Unwritable(messages::OUTER_BLANKS));
    }
    if value.split('\n').skip(1).any(is_comment) {
        return Err(Unwritable(messages::COMMENT_IN_VALUE));
    }
    Ok(())
}
