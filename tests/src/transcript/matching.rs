//! Comparing what was sent and what happened with what a transcript expects.

use crate::driver::Seen;
use std::fmt::Write as _;

/// A part of an expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// `…`: printable text up to the end of the line.
    Rest,
    /// `{words:…}`: these words, in any order, each once.
    Words(Vec<Vec<u8>>),
    /// `{any:…}`: one of these.
    Any(Vec<Vec<u8>>),
}

/// How strictly a line is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Here, once.
    Exact,
    /// `?`: here, or not at all.
    Optional,
    /// `~`: anywhere among the adjacent lines of this mode.
    Unordered,
}

pub(super) struct ExpectedLine {
    pub(super) line: usize,
    pub(super) mode: Mode,
    pub(super) pieces: Vec<Piece>,
    pub(super) crlf: bool,
    pub(super) source: String,
}

pub(super) struct ExpectedEvent {
    pub(super) line: usize,
    pub(super) optional: bool,
    pub(super) pieces: Vec<Piece>,
    pub(super) source: String,
}

/// Compares one side's bytes with its expected lines.
pub(super) fn sent(expected: &[ExpectedLine], actual: &[u8]) -> Result<(), String> {
    let mut rest = actual;
    let mut at = 0;
    while let Some(line) = expected.get(at) {
        match line.mode {
            Mode::Exact | Mode::Optional => match whole_line(line, rest) {
                Some(used) => rest = &rest[used..],
                None if line.mode == Mode::Optional => {}
                None => return Err(difference(expected, actual, line.line, rest)),
            },
            Mode::Unordered => {
                let run = expected[at..]
                    .iter()
                    .take_while(|line| line.mode == Mode::Unordered)
                    .count();
                match unordered(&expected[at..at + run], rest) {
                    Some(used) => rest = &rest[used..],
                    None => return Err(difference(expected, actual, line.line, rest)),
                }
                at += run;
                continue;
            }
        }
        at += 1;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(difference(expected, actual, 0, rest))
    }
}

/// Compares the events with the expected ones, in order.
pub(super) fn events(expected: &[&ExpectedEvent], actual: &[Seen]) -> Result<(), String> {
    let mut rest = actual.iter().peekable();
    let mut failed = None;
    for event in expected {
        let fits = rest.peek().is_some_and(|seen| {
            let text = seen.canonical();
            pieces(&event.pieces, text.as_bytes(), false) == Some(text.len())
        });
        if fits {
            rest.next();
        } else if !event.optional {
            failed = Some(event.line);
            break;
        }
    }
    if failed.is_none() && rest.peek().is_none() {
        return Ok(());
    }
    let mut text = match failed {
        Some(line) => format!("events differ at line {line}\n  expected:"),
        None => "events beyond the expected ones\n  expected:".to_owned(),
    };
    for event in expected {
        let _ = write!(text, "\n    {}", event.source);
    }
    text.push_str("\n  happened:");
    for seen in actual {
        let _ = write!(text, "\n    ! {}", seen.canonical().escape_debug());
        if let Seen::Closed(reason) = seen {
            let _ = write!(text, "   ({reason})");
        }
    }
    Err(text)
}

fn whole_line(line: &ExpectedLine, actual: &[u8]) -> Option<usize> {
    let used = pieces(&line.pieces, actual, true)?;
    if !line.crlf {
        return Some(used);
    }
    actual[used..].starts_with(b"\r\n").then_some(used + 2)
}

/// How many bytes of `actual` the pieces cover. With `lines`, free text ends at CRLF; else it takes everything.
fn pieces(expected: &[Piece], actual: &[u8], lines: bool) -> Option<usize> {
    let Some((first, others)) = expected.split_first() else {
        return Some(0);
    };
    match first {
        Piece::Bytes(bytes) => {
            let rest = actual.strip_prefix(bytes.as_slice())?;
            Some(bytes.len() + pieces(others, rest, lines)?)
        }
        Piece::Rest if !lines => Some(actual.len()),
        Piece::Rest => {
            let end = actual.windows(2).position(|pair| pair == b"\r\n")?;
            let printable = actual[..end]
                .iter()
                .all(|byte| *byte >= b' ' && *byte != 0x7f);
            (printable && others.is_empty()).then_some(end)
        }
        Piece::Words(words) => {
            let end = actual
                .iter()
                .position(|byte| b"\r]".contains(byte))
                .unwrap_or(actual.len());
            let mut found: Vec<&[u8]> = actual[..end].split(|byte| *byte == b' ').collect();
            let mut wanted: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            found.sort_unstable();
            wanted.sort_unstable();
            if found != wanted {
                return None;
            }
            Some(end + pieces(others, &actual[end..], lines)?)
        }
        Piece::Any(choices) => choices.iter().find_map(|choice| {
            let rest = actual.strip_prefix(choice.as_slice())?;
            Some(choice.len() + pieces(others, rest, lines)?)
        }),
    }
}

/// A run of lines in any order. In replies of the form `250-…` the separator belongs to the place, not to the line:
/// it is compared with that of the expectation in the same place.
fn unordered(expected: &[ExpectedLine], actual: &[u8]) -> Option<usize> {
    let mut lines = Vec::new();
    let mut used = 0;
    for place in expected {
        let end = actual[used..].windows(2).position(|pair| pair == b"\r\n")?;
        let line = &actual[used..used + end];
        used += end + 2;
        if separator(line) != separator(&leading(&place.pieces)) {
            return None;
        }
        lines.push(without_separator(line));
    }
    let mut open: Vec<&ExpectedLine> = expected.iter().collect();
    for line in &lines {
        let fits = open.iter().position(|candidate| {
            let mut wanted = candidate.pieces.clone();
            if let Some(Piece::Bytes(bytes)) = wanted.first_mut() {
                *bytes = without_separator(bytes);
            }
            let mut ended = line.clone();
            ended.extend(b"\r\n");
            pieces(&wanted, &ended, true) == Some(line.len())
        })?;
        open.remove(fits);
    }
    Some(used)
}

fn leading(pieces: &[Piece]) -> Vec<u8> {
    match pieces.first() {
        Some(Piece::Bytes(bytes)) => bytes.clone(),
        _ => Vec::new(),
    }
}

fn separator(line: &[u8]) -> Option<u8> {
    let code = line.len() > 3 && line[..3].iter().all(u8::is_ascii_digit);
    code.then(|| line[3])
}

fn without_separator(line: &[u8]) -> Vec<u8> {
    let mut line = line.to_vec();
    if separator(&line).is_some() {
        line[3] = b' ';
    }
    line
}

fn difference(expected: &[ExpectedLine], actual: &[u8], line: usize, rest: &[u8]) -> String {
    let mut text = match line {
        0 => "more than expected\n  expected:".to_owned(),
        line => format!("differs at line {line}\n  expected:"),
    };
    for wanted in expected {
        let mark = if wanted.line == line { ">" } else { " " };
        let _ = write!(text, "\n  {mark} {}", wanted.source);
    }
    if expected.is_empty() {
        text.push_str("\n    nothing");
    }
    text.push_str("\n  sent:");
    let differs_at = actual.len() - rest.len();
    let mut at = 0;
    for part in actual.split_inclusive(|byte| *byte == b'\n') {
        let mark = if (at..at + part.len()).contains(&differs_at) {
            ">"
        } else {
            " "
        };
        let _ = write!(text, "\n  {mark} {}", part.escape_ascii());
        at += part.len();
    }
    if actual.is_empty() {
        text.push_str("\n    nothing");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(mode: Mode, pieces: Vec<Piece>) -> ExpectedLine {
        ExpectedLine {
            line: 1,
            mode,
            pieces,
            crlf: true,
            source: String::new(),
        }
    }

    fn bytes(text: &str) -> Piece {
        Piece::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn free_text_ends_at_its_line() {
        let expected = [line(Mode::Exact, vec![bytes("A1 NO [X] "), Piece::Rest])];
        assert!(sent(&expected, b"A1 NO [X] whatever\r\n").is_ok());
        assert!(sent(&expected, b"A1 NO [X] whatever\r\nmore\r\n").is_err());
        assert!(sent(&expected, b"A1 NO [X] what\x07ever\r\n").is_err());
        assert!(sent(&expected, b"A1 NO [Y] whatever\r\n").is_err());
        assert!(sent(&expected, b"").is_err());
    }

    #[test]
    fn words_come_in_any_order_but_each_once() {
        let words = Piece::Words(vec![b"A".to_vec(), b"B".to_vec()]);
        let expected = [line(Mode::Exact, vec![bytes("* CAPABILITY "), words])];
        assert!(sent(&expected, b"* CAPABILITY B A\r\n").is_ok());
        assert!(sent(&expected, b"* CAPABILITY A\r\n").is_err());
        assert!(sent(&expected, b"* CAPABILITY A B B\r\n").is_err());
    }

    #[test]
    fn unordered_replies_keep_their_separators() {
        let expected = [
            line(Mode::Exact, vec![bytes("250-host")]),
            line(Mode::Unordered, vec![bytes("250-SIZE 10")]),
            line(Mode::Unordered, vec![bytes("250 AUTH PLAIN LOGIN")]),
        ];
        assert!(
            sent(
                &expected,
                b"250-host\r\n250-SIZE 10\r\n250 AUTH PLAIN LOGIN\r\n"
            )
            .is_ok()
        );
        assert!(
            sent(
                &expected,
                b"250-host\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 10\r\n"
            )
            .is_ok()
        );
        assert!(
            sent(
                &expected,
                b"250-host\r\n250 AUTH PLAIN LOGIN\r\n250-SIZE 10\r\n"
            )
            .is_err()
        );
        assert!(sent(&expected, b"250-host\r\n250-SIZE 10\r\n250 SIZE 10\r\n").is_err());
    }

    #[test]
    fn optional_lines_may_be_missing() {
        let expected = [
            line(Mode::Optional, vec![bytes("a")]),
            line(Mode::Exact, vec![bytes("b")]),
        ];
        assert!(sent(&expected, b"a\r\nb\r\n").is_ok());
        assert!(sent(&expected, b"b\r\n").is_ok());
        assert!(sent(&expected, b"a\r\n").is_err());
    }

    #[test]
    fn events_are_compared_in_order() {
        let event = |text: &str| ExpectedEvent {
            line: 1,
            optional: false,
            pieces: vec![bytes(text)],
            source: text.into(),
        };
        let (reconnect, relay) = (event("Reconnect"), event("Relay"));
        let expected = [&reconnect, &relay];
        assert!(events(&expected, &[Seen::Reconnect, Seen::Relay]).is_ok());
        assert!(events(&expected, &[Seen::Relay, Seen::Reconnect]).is_err());
        assert!(events(&expected, &[Seen::Reconnect]).is_err());
        assert!(events(&expected[..1], &[Seen::Reconnect, Seen::Relay]).is_err());
    }
}
