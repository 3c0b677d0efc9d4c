//! Whole sections that a person would have written, put where that person would have put them.

use super::{
    Document, Section,
    edit::{Unwritable, check_heading, check_option, check_value, end_line, option_lines, reparse},
    is_space,
};
use crate::messages::document as messages;
use zeroize::Zeroizing;

impl Document {
    /// Adds a section with these options, a blank line around it: behind the last line of the last section that is its like, ahead
    /// of the comments that follow there (they belong to what comes next); at the end of the file where there is none.
    ///
    /// # Errors
    /// A heading that is there already; a heading, name or value that could not be read back.
    pub fn insert_section(
        &mut self,
        name: &str,
        options: &[(&str, &str)],
        like: impl Fn(&str) -> bool,
    ) -> Result<(), Unwritable> {
        check_heading(name)?;
        for (option, value) in options {
            check_option(option)?;
            check_value(value)?;
        }
        if self.section(name).is_some() {
            return Err(Unwritable(messages::SECTION_IS_THERE));
        }
        let behind = self.sections.iter().rfind(|section| like(section.name()));
        let line_end = self.line_end(self.lines.last()).to_owned();
        let at = behind.map_or(self.text.len(), |section| self.end_of(section));
        let (before, after) = self.text.split_at(at);
        let mut text = Zeroizing::new(before.to_owned());
        if !text.trim_matches(is_space).is_empty() {
            end_line(&mut text, &line_end);
            let blank = text.ends_with(&format!("{line_end}{line_end}"));
            text.push_str(if blank { "" } else { &line_end });
        }
        text.push_str(&format!("[{name}]{line_end}"));
        for (option, value) in options {
            text.push_str(&option_lines("", option, value, &line_end));
        }
        let next = after.split(['\n', '\r']).next().unwrap_or_default();
        if !after.is_empty() && !next.trim_matches(is_space).is_empty() {
            text.push_str(&line_end);
        }
        text.push_str(after);
        let new = reparse(self.bom, text)?;
        // Nothing but this section may have come of it, or nothing happens.
        let meant = options.iter().all(|(option, value)| {
            new.own(name, option)
                .is_some_and(|entry| entry.value() == *value)
        });
        let same = |section: &Section| {
            new.section(section.name())
                .is_some_and(|now| now.entries.len() == section.entries.len())
        };
        let one_more = new.sections.len() == self.sections.len() + 1;
        if !meant || !one_more || !self.sections.iter().all(same) {
            return Err(Unwritable(messages::SECTION_READ_OTHERWISE));
        }
        *self = new;
        Ok(())
    }

    /// Byte offset behind a section's last option, or behind its heading.
    fn end_of(&self, section: &Section) -> usize {
        let last = section.entries.last();
        let line = last.map_or(section.heading, |entry| entry.lines.end - 1);
        self.lines[line].end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(text: &str, like: &str) -> Result<String, Unwritable> {
        let mut document = Document::parse(text.as_bytes()).unwrap();
        let options = [("a", "1"), ("b", "x\ny")];
        document.insert_section("NEW", &options, |name| name.starts_with(like))?;
        Ok(document.text().to_owned())
    }

    #[test]
    fn a_section_stands_behind_its_likes_and_ahead_of_comments() {
        let text = "# top\n[S-1]\nx = 1\n[S-2]\nx = 2\n  more\n\n# accounts\n[me@x]\n";
        assert_eq!(
            inserted(text, "S-").unwrap(),
            "# top\n[S-1]\nx = 1\n[S-2]\nx = 2\n  more\n\n[NEW]\na = 1\nb = x\n    y\n\n# accounts\n[me@x]\n"
        );
        assert_eq!(
            inserted("[S-1]\r\nx = 1\r\n# c\r\n[T]\r\n", "S-").unwrap(),
            "[S-1]\r\nx = 1\r\n\r\n[NEW]\r\na = 1\r\nb = x\r\n    y\r\n\r\n# c\r\n[T]\r\n"
        );
    }

    #[test]
    fn without_likes_it_stands_at_the_end() {
        for (text, expected) in [
            ("", "[NEW]\na = 1\nb = x\n    y\n"),
            ("[S]", "[S]\n\n[NEW]\na = 1\nb = x\n    y\n"),
            (
                "# only this\n\n",
                "# only this\n\n[NEW]\na = 1\nb = x\n    y\n",
            ),
        ] {
            assert_eq!(inserted(text, "none").unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_could_not_be_read_back_changes_nothing() {
        assert!(inserted("[NEW]\n", "x").is_err());
        let mut document = Document::parse(b"[S]\n").unwrap();
        let bad = document.insert_section("NEW", &[("a", "1\n# no value")], |_| false);
        assert!(bad.is_err());
        assert_eq!(document.text(), "[S]\n");
    }
}
