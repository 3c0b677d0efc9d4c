//! Framing, before any grammar sees a byte: lines that end in CRLF, and IMAP's counted literals.
//!
//! A framer is shown the bytes from the beginning of the current frame, again and again as they grow, and remembers
//! how far it has looked. A literal's bytes are counted, never searched: what is in them is never taken for a line.

/// What a framer makes of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// The frame has not ended yet.
    Incomplete,
    /// The first so many bytes are one frame, its CRLF included.
    Complete(usize),
    /// The bytes up to `end` announce a literal of `len` bytes. Say [`Framer::accept`], or end the command there with
    /// [`Framer::reset`].
    Literal {
        end: usize,
        len: usize,
        synchronising: bool,
    },
    /// The bytes can never become a frame.
    Broken(Broken),
}

/// Why bytes can never become a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A line longer than its bound.
    TooLong,
    /// CR without LF, or LF without CR.
    BareNewline,
}

/// Finds lines; with literals where `literals` says so.
#[derive(Default)]
pub(crate) struct Framer {
    /// Bytes of the frame that are known to hold no end of line.
    scanned: usize,
    /// Where the line began that is being looked at: behind the last literal, whose octets announce nothing.
    line_start: usize,
    /// Octets of literals accepted so far: they do not count as line.
    literal_octets: usize,
    /// A literal that was announced and waits for `accept`: where its bytes begin, and how many.
    announced: Option<(usize, usize)>,
}

impl Framer {
    /// Looks at the frame's bytes so far. `literals` says whether `{n}` at the end of a line announces a literal.
    pub(crate) fn look(&mut self, frame: &[u8], line_limit: usize, literals: bool) -> Framed {
        // Inside a literal `scanned` lies beyond the bytes so far.
        let Some(rest) = frame.get(self.scanned..) else {
            return Framed::Incomplete;
        };
        let Some(at) = rest.iter().position(|&b| b == b'\r' || b == b'\n') else {
            self.scanned = frame.len();
            if frame.len() - self.literal_octets > line_limit {
                return Framed::Broken(Broken::TooLong);
            }
            return Framed::Incomplete;
        };
        let at = self.scanned + at;
        // The bound comes first: however the bytes are cut, the same bytes break the same rule.
        let shortest_end = if frame[at] == b'\r' { at + 2 } else { at };
        if shortest_end - self.literal_octets > line_limit {
            return Framed::Broken(Broken::TooLong);
        }
        if frame[at] == b'\n' {
            return Framed::Broken(Broken::BareNewline);
        }
        match frame.get(at + 1) {
            None => {
                // The CR is looked at again, together with what follows it.
                self.scanned = at;
                Framed::Incomplete
            }
            Some(b'\n') => {
                let end = at + 2;
                if literals
                    && let Some((len, synchronising)) =
                        announced_literal(&frame[self.line_start..at])
                {
                    self.announced = Some((end, len));
                    return Framed::Literal {
                        end,
                        len,
                        synchronising,
                    };
                }
                self.reset();
                Framed::Complete(end)
            }
            Some(_) => Framed::Broken(Broken::BareNewline),
        }
    }

    /// Takes the announced literal: its bytes follow and are part of the frame.
    pub(crate) fn accept(&mut self) {
        if let Some((start, len)) = self.announced.take() {
            self.scanned = start.saturating_add(len);
            self.line_start = self.scanned;
            self.literal_octets = self.literal_octets.saturating_add(len);
        }
    }

    /// Begins anew: the next bytes shown are a new frame.
    pub(crate) fn reset(&mut self) {
        *self = Framer::default();
    }
}

/// The literal that a line announces at its end: RFC 3501 `{n}`, RFC 7888 `{n+}`. `line` has no CRLF.
/// A number beyond `usize` counts as the largest, which no limit allows.
fn announced_literal(line: &[u8]) -> Option<(usize, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let open = inner.iter().rposition(|&b| b == b'{')?;
    let digits = &inner[open + 1..];
    let (digits, synchronising) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let len = digits.iter().try_fold(0usize, |n, d| {
        n.checked_mul(10)?.checked_add(usize::from(d - b'0'))
    });
    Some((len.unwrap_or(usize::MAX), synchronising))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(bytes: &[u8]) -> Framed {
        Framer::default().look(bytes, 100, true)
    }

    #[test]
    fn lines_end_in_crlf_alone() {
        assert_eq!(look(b"a b"), Framed::Incomplete);
        assert_eq!(look(b"a b\r"), Framed::Incomplete);
        assert_eq!(look(b"a b\r\nc"), Framed::Complete(5));
        assert_eq!(look(b"a\nb\r\n"), Framed::Broken(Broken::BareNewline));
        assert_eq!(look(b"a\rb\r\n"), Framed::Broken(Broken::BareNewline));
    }

    #[test]
    fn literal_bytes_are_counted_not_searched() {
        let mut framer = Framer::default();
        let all = b"a LOGIN {4}\r\n\r\n\r\n b\r\nc";
        assert_eq!(
            framer.look(all, 100, true),
            Framed::Literal {
                end: 13,
                len: 4,
                synchronising: true
            }
        );
        framer.accept();
        assert_eq!(framer.look(&all[..15], 100, true), Framed::Incomplete);
        assert_eq!(framer.look(all, 100, true), Framed::Complete(21));
    }

    #[test]
    fn literal_bytes_announce_no_further_literal() {
        let mut framer = Framer::default();
        let all = b"a LOGIN u {3}\r\n{5}\r\n";
        assert!(matches!(
            framer.look(all, 100, true),
            Framed::Literal { len: 3, .. }
        ));
        framer.accept();
        assert_eq!(framer.look(all, 100, true), Framed::Complete(all.len()));
    }

    #[test]
    fn limits_hold_with_and_without_a_line_end() {
        let mut framer = Framer::default();
        assert_eq!(framer.look(&[b'x'; 10], 10, false), Framed::Incomplete);
        assert_eq!(
            framer.look(&[b'x'; 11], 10, false),
            Framed::Broken(Broken::TooLong)
        );
        assert_eq!(
            Framer::default().look(b"12345678\r\n", 10, false),
            Framed::Complete(10)
        );
        assert_eq!(
            Framer::default().look(b"123456789\r\n", 10, false),
            Framed::Broken(Broken::TooLong)
        );
    }

    #[test]
    fn numbers_that_overflow_are_enormous() {
        assert_eq!(
            announced_literal(b"x {99999999999999999999999}"),
            Some((usize::MAX, true))
        );
        assert_eq!(announced_literal(b"x {3+}"), Some((3, false)));
        assert_eq!(announced_literal(b"x {}"), None);
        assert_eq!(announced_literal(b"x {-3}"), None);
    }
}
