//! Options of one section, or of a chain of them, read with their problems.

use super::{Problem, Severity};
use crate::{
    document::{Document, Entry},
    messages::settings as messages,
};

/// Reads options and collects what is wrong with them.
pub(super) struct Reader<'a> {
    document: &'a Document,
    /// In the order of look-up.
    headings: Vec<&'a str>,
    /// Where problems are told that belong to no option.
    line: Option<usize>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Headings that the file does not have are passed over.
    pub(super) fn new(document: &'a Document, headings: Vec<&'a str>) -> Self {
        let line = headings
            .iter()
            .find_map(|name| document.section(name))
            .map(|s| s.line());
        Reader {
            document,
            headings,
            line,
            problems: Vec::new(),
        }
    }

    /// Whether nothing that was read stands in the way of using it.
    pub(super) fn usable(&self) -> bool {
        self.problems
            .iter()
            .all(|problem| problem.severity != Severity::Error)
    }

    /// The option as it stands first in the chain. An empty value is none, and hides what comes behind it.
    pub(super) fn entry(&self, option: &str) -> Option<(&'a str, &'a Entry)> {
        self.line_of(option)
            .filter(|(_, entry)| !entry.value().is_empty())
    }

    /// As [`entry`](Self::entry), with an empty value too.
    fn line_of(&self, option: &str) -> Option<(&'a str, &'a Entry)> {
        self.headings.iter().find_map(|name| {
            let entry = self.document.get(name, option)?;
            Some((*name, entry))
        })
    }

    /// The value, empty where somebody left it so: for a restriction, whose missing value must not mean that there is none.
    pub(super) fn restriction(&self, option: &str) -> Option<String> {
        self.line_of(option)
            .map(|(_, entry)| entry.value().to_owned())
    }

    pub(super) fn text(&self, option: &str) -> Option<&'a str> {
        self.entry(option).map(|(_, entry)| entry.value())
    }

    pub(super) fn owned(&self, option: &str) -> Option<String> {
        self.text(option).map(str::to_owned)
    }

    /// The option's value, of one line; an error where it is missing.
    pub(super) fn required(&mut self, option: &str) -> Option<&'a str> {
        let found = self.text(option);
        if found.is_none() {
            self.section_problem(Severity::Error, messages::missing(option));
        }
        found
    }

    /// As Python's `getboolean`: 1/yes/true/on and 0/no/false/off, in any letter case.
    pub(super) fn boolean(&mut self, option: &str) -> Option<bool> {
        let value = self.text(option)?;
        let read = boolean(value);
        if read.is_none() {
            self.error(option, messages::not_boolean(option));
        }
        read
    }

    /// A decimal number of this range.
    pub(super) fn number(&mut self, option: &str, least: usize, most: usize) -> Option<usize> {
        let value = self.text(option)?;
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        let read = value
            .parse()
            .ok()
            .filter(|n| digits && (least..=most).contains(n));
        if read.is_none() {
            let text = match most {
                usize::MAX => messages::not_a_number_from(option, least),
                _ => messages::not_a_number_between(option, least, most),
            };
            self.error(option, text);
        }
        read
    }

    /// A problem of an option that makes the whole unusable.
    pub(super) fn error(&mut self, option: &str, text: impl Into<String>) {
        self.problem(Severity::Error, option, text.into());
    }

    pub(super) fn warn(&mut self, option: &str, text: impl Into<String>) {
        self.problem(Severity::Warning, option, text.into());
    }

    pub(super) fn problem(&mut self, severity: Severity, option: &str, text: String) {
        let problem = self.located(severity, option, text);
        self.problems.push(problem);
    }

    /// A problem of the section as a whole.
    pub(super) fn section_problem(&mut self, severity: Severity, text: String) {
        let problem = self.of_section(severity, text);
        self.problems.push(problem);
    }

    /// A problem where the option stands; of the section, where it is missing.
    pub(super) fn located(&self, severity: Severity, option: &str, text: String) -> Problem {
        let Some((heading, entry)) = self.line_of(option) else {
            return self.of_section(severity, text);
        };
        Problem {
            severity,
            line: Some(entry.line()),
            column: Some(entry.column()),
            section: Some(heading.to_owned()),
            text,
        }
    }

    fn of_section(&self, severity: Severity, text: String) -> Problem {
        Problem {
            severity,
            line: self.line,
            column: None,
            section: self.headings.first().map(|name| (*name).to_owned()),
            text,
        }
    }
}

/// As Python's `getboolean`.
pub(super) fn boolean(value: &str) -> Option<bool> {
    match &*value.to_lowercase() {
        "1" | "yes" | "true" | "on" => Some(true),
        "0" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}
