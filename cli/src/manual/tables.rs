//! The tables of docs/manual.md, for the manual page: what options, files and variables mean is written down once.

const MANUAL: &str = include_str!("../../../docs/manual.md");

/// A row of a table, as plain text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    /// The meaning, behind the default where there is one.
    pub(super) text: String,
}

/// The rows of the tables under this heading, up to the next one. Tables whose first column is no code say something else.
pub(super) fn rows(heading: &str) -> Vec<Row> {
    let is_heading = |line: &&str| line.starts_with('#');
    let begin = MANUAL
        .lines()
        .skip_while(|line| !is_heading(line) || line.trim_start_matches(['#', ' ']) != heading);
    let below = begin.skip(1).take_while(|line| !is_heading(line));
    below.filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let inner = line.strip_prefix("| `")?.strip_suffix(" |")?;
    // `\|` stands for itself.
    let escaped = inner.replace("\\|", "\u{0}");
    let cells: Vec<String> = escaped
        .split(" | ")
        .map(|cell| plain(cell.trim()).replace('\u{0}', "|"))
        .collect();
    let (name, text) = match cells.as_slice() {
        [name, meaning] => (name, meaning.clone()),
        [name, default, meaning] => (
            name,
            match default.as_str() {
                "" | "none" => meaning.clone(),
                "required" => format!("Required. {meaning}"),
                default => format!("Default: {default}. {meaning}"),
            },
        ),
        _ => return None,
    };
    Some(Row {
        name: name.clone(),
        text,
    })
}

/// Markdown without its marks.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(middle) = rest.find("](") {
        let (before, behind) = rest.split_at(middle);
        let Some((open, close)) = before.rfind('[').zip(behind.find(')')) else {
            break;
        };
        plain.push_str(&before[..open]);
        plain.push_str(&before[open + 1..]);
        rest = &behind[close + 1..];
    }
    plain.push_str(rest);
    // Not every `man` knows which characters a page has beyond ASCII.
    plain.replace('`', "").replace("**", "").replace('…', "...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_off() {
        assert_eq!(
            plain("a `b`, see [its page](x.md#y) and **c** [IMAP-n]…"),
            "a b, see its page and c [IMAP-n]..."
        );
    }

    #[test]
    fn rows_have_their_default_in_front() {
        let row = |line| row(line).map(|row| (row.name, row.text));
        let said = |name: &str, text: &str| Some((name.to_owned(), text.to_owned()));
        assert_eq!(row("| `a` | `1` | B. |"), said("a", "Default: 1. B."));
        assert_eq!(row("| `a` | required | B. |"), said("a", "Required. B."));
        assert_eq!(row("| `a`, `b` | B. |"), said("a, b", "B."));
        assert_eq!(row("| `a\\|b` | none | B. |"), said("a|b", "B."));
        assert_eq!(row("| Option | Default | Meaning |"), None);
    }

    #[test]
    fn every_section_of_the_page_has_rows() {
        for (heading, of_manual) in super::super::SECTIONS {
            assert!(rows(of_manual).len() >= 3, "{heading}");
        }
    }
}
