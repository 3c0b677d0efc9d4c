//! A client's command: read with its literals, then taken apart (RFC 3501 §9).

use crate::mail::{mailbox::MAX_MESSAGE, wire::Wire};
use std::io;

/// Octets of literals in a command before login.
const MAX_BEFORE_LOGIN: usize = 8 << 10;

/// What is wrong with a command.
pub(crate) type Bad = &'static str;

/// Reads one command whole: its lines joined by CRLF, literals in place. `None`: it was refused, and answered.
pub(crate) async fn read(wire: &mut Wire, open: bool) -> io::Result<Option<Vec<u8>>> {
    let limit = if open { MAX_MESSAGE } else { MAX_BEFORE_LOGIN };
    let mut command = wire.line().await?;
    let mut line_start = 0;
    while let Some((size, synchronising)) = literal_at_end(&command[line_start..]) {
        if size
            .is_none_or(|size| command.len().saturating_add(size) > limit.saturating_add(64 << 10))
        {
            let tag = Arguments::new(&command).atom().unwrap_or("*").to_owned();
            if synchronising {
                wire.put_line(format!("{tag} NO [TOOBIG] this literal is too large"));
                return Ok(None);
            }
            wire.put_line("* BYE [TOOBIG] this literal is too large");
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "literal too large",
            ));
        }
        if synchronising {
            wire.put_line("+ go on");
        }
        let literal = wire.octets(size.unwrap_or_default()).await?;
        command.extend_from_slice(b"\r\n");
        command.extend_from_slice(&literal);
        line_start = command.len();
        command.extend_from_slice(&wire.line().await?);
    }
    Ok(Some(command))
}

/// `{n}` or `{n+}` at the end of a line: its size (`None`: more than fits) and whether the client waits.
fn literal_at_end(line: &[u8]) -> Option<(Option<usize>, bool)> {
    let inside = line.strip_suffix(b"}")?;
    let start = inside.iter().rposition(|byte| *byte == b'{')?;
    let digits = &inside[start + 1..];
    let (digits, synchronising) = match digits.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (digits, true),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    Some((size, synchronising))
}

/// A command, read from left to right.
pub(crate) struct Arguments<'a> {
    rest: &'a [u8],
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Arguments<'a> {
        Arguments { rest: bytes }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes these bytes when they come next.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    pub(crate) fn expect(&mut self, bytes: &[u8]) -> Result<(), Bad> {
        if self.take(bytes) {
            Ok(())
        } else {
            Err("syntax error")
        }
    }

    pub(crate) fn space(&mut self) -> Result<(), Bad> {
        if self.take(b" ") {
            Ok(())
        } else {
            Err("a blank was expected")
        }
    }

    pub(crate) fn end(&self) -> Result<(), Bad> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err("too many arguments")
        }
    }

    /// What is left.
    pub(crate) fn remainder(&self) -> &'a [u8] {
        self.rest
    }

    fn run(&mut self, allowed: impl Fn(u8) -> bool) -> Result<&'a str, Bad> {
        let end = self
            .rest
            .iter()
            .position(|byte| !allowed(*byte))
            .unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        if run.is_empty() {
            return Err("an argument is missing");
        }
        self.rest = rest;
        std::str::from_utf8(run).map_err(|_| "only ASCII here")
    }

    /// An atom; brackets are left to the caller.
    pub(crate) fn atom(&mut self) -> Result<&'a str, Bad> {
        self.run(|byte| byte.is_ascii_graphic() && !b"(){%*\"\\[]".contains(&byte))
    }

    pub(crate) fn number(&mut self) -> Result<u32, Bad> {
        self.run(|byte| byte.is_ascii_digit())?
            .parse()
            .map_err(|_| "this number is too large")
    }

    /// A flag: a keyword, or a system flag with its backslash.
    fn flag(&mut self) -> Result<String, Bad> {
        let system = self.take(b"\\");
        let name = self.atom()?;
        Ok(if system {
            format!("\\{name}")
        } else {
            name.into()
        })
    }

    /// `(\Seen keyword)`, or flags without parentheses where the grammar has them so.
    pub(crate) fn flags(&mut self) -> Result<Vec<String>, Bad> {
        let mut flags = Vec::new();
        let list = self.take(b"(");
        if list && self.take(b")") {
            return Ok(flags);
        }
        loop {
            flags.push(self.flag()?);
            if flags.len() > 100 {
                return Err("too many flags");
            }
            if !self.take(b" ") {
                break;
            }
        }
        if list {
            self.expect(b")")?;
        }
        Ok(flags)
    }

    /// A quoted string or a literal.
    pub(crate) fn string(&mut self) -> Result<Vec<u8>, Bad> {
        if self.take(b"\"") {
            let mut out = Vec::new();
            loop {
                match self.rest {
                    [b'"', rest @ ..] => {
                        self.rest = rest;
                        return Ok(out);
                    }
                    [b'\\', c @ (b'"' | b'\\'), rest @ ..] => {
                        out.push(*c);
                        self.rest = rest;
                    }
                    [b'\\' | b'\r' | b'\n' | 0, ..] | [] => {
                        return Err("this quoted string is malformed");
                    }
                    [c, rest @ ..] => {
                        out.push(*c);
                        self.rest = rest;
                    }
                }
            }
        }
        self.expect(b"{")?;
        let size = self.number()? as usize;
        self.take(b"+");
        self.expect(b"}\r\n")?;
        let (literal, rest) = self
            .rest
            .split_at_checked(size)
            .ok_or("this literal is incomplete")?;
        self.rest = rest;
        Ok(literal.to_vec())
    }

    /// An atom (with `]` and, for mailboxes to list, wildcards) or a string.
    pub(crate) fn astring(&mut self) -> Result<String, Bad> {
        self.text(b"(){%*\"\\")
    }

    /// The pattern of LIST.
    pub(crate) fn pattern(&mut self) -> Result<String, Bad> {
        self.text(b"(){\"\\")
    }

    fn text(&mut self, forbidden: &[u8]) -> Result<String, Bad> {
        match self.peek() {
            Some(b'"' | b'{') => String::from_utf8(self.string()?).map_err(|_| "only UTF-8 here"),
            _ => Ok(self
                .run(|byte| byte.is_ascii_graphic() && !forbidden.contains(&byte))?
                .into()),
        }
    }

    pub(crate) fn set(&mut self) -> Result<Set, Bad> {
        let text = self.run(|byte| byte.is_ascii_digit() || b"*:,".contains(&byte))?;
        Set::parse(text).ok_or("this set of numbers is malformed")
    }
}

/// Sequence numbers or UIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set(Vec<(Bound, Bound)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Number(u32),
    /// `*`.
    Largest,
}

impl Set {
    fn parse(text: &str) -> Option<Set> {
        let bound = |text: &str| match text {
            "*" => Some(Bound::Largest),
            _ => text
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .map(Bound::Number),
        };
        let range = |text: &str| match text.split_once(':') {
            Some((from, to)) => Some((bound(from)?, bound(to)?)),
            None => bound(text).map(|bound| (bound, bound)),
        };
        text.split(',').map(range).collect::<Option<_>>().map(Set)
    }

    /// Whether a number is in it, where the largest one in use is `largest`.
    pub(crate) fn contains(&self, number: u32, largest: u32) -> bool {
        let value = |bound| match bound {
            Bound::Number(number) => number,
            Bound::Largest => largest,
        };
        self.0.iter().any(|(a, b)| {
            let (a, b) = (value(*a), value(*b));
            (a.min(b)..=a.max(b)).contains(&number)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_seen_at_line_ends() {
        assert_eq!(literal_at_end(b"a {12}"), Some((Some(12), true)));
        assert_eq!(literal_at_end(b"a {0+}"), Some((Some(0), false)));
        assert_eq!(
            literal_at_end(b"a {99999999999999999999}"),
            Some((None, true))
        );
        for line in [&b"a {}"[..], b"a {x}", b"a 12}", b"a {1", b"{+}", b"{-1}"] {
            assert_eq!(literal_at_end(line), None, "{line:?}");
        }
    }

    #[test]
    fn arguments_in_their_forms() {
        let mut arguments = Arguments::new(b"a1 \"q\\\"\\\\\" {3}\r\nx\r\n (\\Seen key) 1:3,*");
        assert_eq!(arguments.atom(), Ok("a1"));
        assert_eq!(arguments.space(), Ok(()));
        assert_eq!(arguments.astring(), Ok("q\"\\".into()));
        assert_eq!(arguments.space(), Ok(()));
        assert_eq!(arguments.astring(), Ok("x\r\n".into()));
        assert_eq!(arguments.space(), Ok(()));
        assert_eq!(arguments.flags(), Ok(vec!["\\Seen".into(), "key".into()]));
        assert_eq!(arguments.space(), Ok(()));
        assert!(
            arguments
                .set()
                .is_ok_and(|set| set.contains(2, 9) && set.contains(9, 9) && !set.contains(4, 9))
        );
        assert_eq!(arguments.end(), Ok(()));
        for wrong in [&b"\"open"[..], b"\"a\\x\"", b"{5}\r\nabc", b"{5}abcde", b""] {
            assert!(Arguments::new(wrong).astring().is_err(), "{wrong:?}");
        }
        for wrong in ["0", "1:", ":1", "1,,2", "a", "5000000000"] {
            assert_eq!(Set::parse(wrong), None, "{wrong}");
        }
    }
}
