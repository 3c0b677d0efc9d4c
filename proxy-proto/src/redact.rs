//! Text for logs and for peers: one printable line, bounded, with secrets replaced.
//!
//! What is secret is decided by the grammars (a machine knows which line it is reading), never by looking for patterns.

/// Stands in the dialogue where a secret was.
pub(crate) const SECRET: &str = "[redacted]";

/// Longest text that a peer or a log line is given, in bytes.
const LONGEST: usize = 400;

/// `text` without control characters, cut at a character's boundary.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars().filter(|c| !c.is_control()) {
        if line.len() + c.len_utf8() > LONGEST {
            break;
        }
        line.push(c);
    }
    line
}

/// The lines in `bytes`, without their ends.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes
        .split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// A line as printable text; what is not printable ASCII is escaped.
pub(crate) fn printable(line: &[u8]) -> String {
    let mut text = String::with_capacity(line.len());
    for &b in line.iter().take(2 * LONGEST) {
        match b {
            b' '..=b'~' => text.push(char::from(b)),
            _ => text.push_str(&format!("\\x{b:02x}")),
        }
    }
    if line.len() > 2 * LONGEST {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_peer() {
        assert_eq!(one_line("a\r\nb\0c\x7fé"), "abcé");
        assert_eq!(one_line(&"é".repeat(300)).len(), 400);
    }

    #[test]
    fn lines_are_shown_one_by_one() {
        let shown: Vec<_> = lines(b"a\r\nb\xff\r\n").map(printable).collect();
        assert_eq!(shown, ["a", "b\\xff"]);
    }
}
