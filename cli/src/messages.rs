//! All that a person reads of this command besides its help and its pages' layout: log lines, errors, questions and answers. Each
//! stands here once, by theme, with an example that tests render.
//!
//! A text is one line that begins with a small letter and has no full stop, because most of them follow something: a time and a
//! level, a file and a line, `emailproxy:`. What stands alone, on a page or on a screen, becomes a [`sentence`] there.

pub(crate) mod accounts;
pub(crate) mod add;
pub(crate) mod check;
pub(crate) mod common;
pub(crate) mod consent;
pub(crate) mod console;
pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod metrics;
pub(crate) mod serve;
pub(crate) mod service;

/// Each text by its name, rendered with its examples.
#[allow(dead_code, reason = "tests render them")]
pub(crate) fn every() -> Vec<(&'static str, String)> {
    [
        common::every(),
        serve::every(),
        consent::every(),
        console::every(),
        metrics::every(),
        control::every(),
        accounts::every(),
        add::every(),
        check::every(),
        service::every(),
        demo::every(),
    ]
    .concat()
}

/// `1 server`, `2 servers`.
pub(crate) fn counted(count: impl TryInto<u64>, what: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// A text as it stands alone: with a capital, unless it begins with an address or a name, and with a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let word = text.split([' ', ':', ',', '.']).next().unwrap_or_default();
    let mut sentence = String::with_capacity(text.len() + 1);
    let mut rest = text;
    if word.chars().all(|c| c.is_ascii_lowercase())
        && !text[word.len()..].starts_with('.')
        && let Some(first) = word.chars().next()
    {
        sentence.push(first.to_ascii_uppercase());
        rest = &text[1..];
    }
    sentence.push_str(rest);
    if !text.is_empty() && !text.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_stands_alone_is_a_sentence() {
        for (text, expected) in [
            ("that is too long", "That is too long."),
            (
                "dismissed: that login is refused",
                "Dismissed: that login is refused.",
            ),
            (
                "user@example.com is signed in",
                "user@example.com is signed in.",
            ),
            ("mail.example.com is away", "mail.example.com is away."),
            ("redirect_uri is no address", "redirect_uri is no address."),
            ("[7] is dismissed", "[7] is dismissed."),
            (
                "Nothing was done. Once more?",
                "Nothing was done. Once more?",
            ),
            ("", ""),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(0_usize, "server"), "0 servers");
        assert_eq!(counted(1_usize, "server"), "1 server");
        assert_eq!(counted(2_usize, "server"), "2 servers");
    }
}
