//! Lua's patterns (Lua 5.4 manual §6.4.1), with the same results and errors as the library's, and a count of steps: the
//! library's own matcher cannot be interrupted.

use crate::{budget::Budget, messages::libraries as messages};

/// Most captures of a pattern.
const CAPTURES: usize = 32;

/// How deep a match may nest, as in the library.
const DEPTH: usize = 200;

/// Steps between two looks at the time.
const STEPS: u32 = 1 << 14;

/// Why a match came to no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The pattern cannot be used; the library's text.
    Pattern(String),
    /// The time is used up.
    Exhausted,
}

fn trouble<T>(text: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Pattern(text.into()))
}

/// A capture as a script gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capture<'a> {
    Text(&'a [u8]),
    /// From 1.
    Position(usize),
}

#[derive(Clone, Copy)]
enum Length {
    Unfinished,
    Position,
    Of(usize),
}

/// A subject, a pattern, and the captures of the last match.
pub(crate) struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<(usize, Length)>,
    depth: usize,
    steps: u32,
    budget: &'a Budget,
}

impl<'a> Matcher<'a> {
    pub(crate) fn new(subject: &'a [u8], pattern: &'a [u8], budget: &'a Budget) -> Self {
        Matcher {
            subject,
            pattern,
            captures: Vec::new(),
            depth: 0,
            steps: 0,
            budget,
        }
    }

    /// The end of a match that begins exactly at `at`.
    pub(crate) fn at(&mut self, at: usize) -> Result<Option<usize>, Trouble> {
        self.captures.clear();
        self.depth = 0;
        self.go_on(at, 0)
    }

    /// How many values the last match has: its captures, or the whole match where there are none and `whole` is asked for.
    pub(crate) fn count(&self, whole: bool) -> usize {
        match self.captures.len() {
            0 => usize::from(whole),
            count => count,
        }
    }

    /// The capture `index` (from 0) of the last match, which is `start..end`.
    pub(crate) fn capture(
        &self,
        index: usize,
        start: usize,
        end: usize,
    ) -> Result<Capture<'a>, Trouble> {
        match self.captures.get(index) {
            None if index == 0 => Ok(Capture::Text(&self.subject[start..end])),
            None => trouble(messages::no_capture(index + 1)),
            Some((_, Length::Unfinished)) => trouble(messages::UNFINISHED_CAPTURE),
            Some((at, Length::Position)) => Ok(Capture::Position(at + 1)),
            Some((at, Length::Of(length))) => Ok(Capture::Text(&self.subject[*at..at + length])),
        }
    }

    /// The whole of the last match.
    pub(crate) fn whole(&self, start: usize, end: usize) -> &'a [u8] {
        &self.subject[start..end]
    }

    fn step(&mut self) -> Result<(), Trouble> {
        self.steps(1)
    }

    /// Something that takes as long as so many steps, such as a look at a long set.
    fn steps(&mut self, count: usize) -> Result<(), Trouble> {
        let count = u32::try_from(count).unwrap_or(STEPS).min(STEPS);
        self.steps += count;
        if self.steps >= STEPS {
            self.steps = 0;
            if self.budget.check().is_err() {
                return Err(Trouble::Exhausted);
            }
        }
        Ok(())
    }

    /// What stands there in the pattern; 0 at its end, as in the library's.
    fn p(&self, at: usize) -> u8 {
        self.pattern.get(at).copied().unwrap_or(0)
    }

    fn go_on(&mut self, s: usize, p: usize) -> Result<Option<usize>, Trouble> {
        if self.depth == DEPTH {
            return trouble(messages::TOO_COMPLEX);
        }
        self.depth += 1;
        let result = self.nested(s, p);
        self.depth -= 1;
        result
    }

    fn nested(&mut self, mut s: usize, mut p: usize) -> Result<Option<usize>, Trouble> {
        loop {
            self.step()?;
            if p == self.pattern.len() {
                return Ok(Some(s));
            }
            match self.p(p) {
                b'(' if self.p(p + 1) == b')' => {
                    return self.open_capture(s, p + 2, Length::Position);
                }
                b'(' => return self.open_capture(s, p + 1, Length::Unfinished),
                b')' => return self.close_capture(s, p + 1),
                b'$' if p + 1 == self.pattern.len() => {
                    return Ok((s == self.subject.len()).then_some(s));
                }
                b'%' => match self.p(p + 1) {
                    b'b' => match self.balanced(s, p + 2)? {
                        Some(end) => {
                            s = end;
                            p += 4;
                            continue;
                        }
                        None => return Ok(None),
                    },
                    b'f' => {
                        p += 2;
                        if self.p(p) != b'[' {
                            return trouble(messages::NO_FRONTIER);
                        }
                        let end = self.class_end(p)?;
                        self.steps((end - p) / 8)?;
                        let before = match s {
                            0 => 0,
                            _ => self.subject[s - 1],
                        };
                        let here = self.subject.get(s).copied().unwrap_or(0);
                        if self.set_has(before, p, end - 1) || !self.set_has(here, p, end - 1) {
                            return Ok(None);
                        }
                        p = end;
                        continue;
                    }
                    digit @ b'0'..=b'9' => match self.same_as_capture(s, digit)? {
                        Some(end) => {
                            s = end;
                            p += 2;
                            continue;
                        }
                        None => return Ok(None),
                    },
                    _ => {}
                },
                _ => {}
            }
            let end = self.class_end(p)?;
            self.steps((end - p) / 8)?;
            let suffix = self.p(end);
            if !self.single(s, p, end) {
                if matches!(suffix, b'*' | b'?' | b'-') {
                    p = end + 1;
                    continue;
                }
                return Ok(None);
            }
            match suffix {
                b'?' => {
                    if let Some(found) = self.go_on(s + 1, end + 1)? {
                        return Ok(Some(found));
                    }
                    p = end + 1;
                }
                b'+' => return self.most(s + 1, p, end),
                b'*' => return self.most(s, p, end),
                b'-' => return self.least(s, p, end),
                _ => {
                    s += 1;
                    p = end;
                }
            }
        }
    }

    fn open_capture(
        &mut self,
        s: usize,
        p: usize,
        length: Length,
    ) -> Result<Option<usize>, Trouble> {
        if self.captures.len() >= CAPTURES {
            return trouble(messages::TOO_MANY_CAPTURES);
        }
        let level = self.captures.len();
        self.captures.push((s, length));
        let found = self.go_on(s, p)?;
        if found.is_none() {
            self.captures.truncate(level);
        }
        Ok(found)
    }

    fn close_capture(&mut self, s: usize, p: usize) -> Result<Option<usize>, Trouble> {
        let open = |(_, length): &(usize, Length)| matches!(length, Length::Unfinished);
        let Some(level) = self.captures.iter().rposition(open) else {
            return trouble(messages::INVALID_CAPTURE);
        };
        self.captures[level].1 = Length::Of(s - self.captures[level].0);
        let found = self.go_on(s, p)?;
        if found.is_none() {
            self.captures[level].1 = Length::Unfinished;
        }
        Ok(found)
    }

    fn same_as_capture(&mut self, s: usize, digit: u8) -> Result<Option<usize>, Trouble> {
        let number = i32::from(digit) - i32::from(b'0');
        let found = usize::try_from(number - 1)
            .ok()
            .and_then(|index| self.captures.get(index));
        let (at, length) = match found {
            None | Some((_, Length::Unfinished)) => {
                return trouble(messages::no_capture(number));
            }
            Some((_, Length::Position)) => return Ok(None),
            Some((at, Length::Of(length))) => (*at, *length),
        };
        // As many steps as bytes, near enough.
        self.steps(length / 64)?;
        let text = &self.subject[at..at + length];
        Ok(self.subject[s..].starts_with(text).then_some(s + length))
    }

    fn balanced(&mut self, s: usize, p: usize) -> Result<Option<usize>, Trouble> {
        let (Some(&open), Some(&close)) = (self.pattern.get(p), self.pattern.get(p + 1)) else {
            return trouble(messages::NO_BALANCE);
        };
        if self.subject.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut level = 1;
        for at in s + 1..self.subject.len() {
            self.step()?;
            let byte = self.subject[at];
            if byte == close {
                level -= 1;
                if level == 0 {
                    return Ok(Some(at + 1));
                }
            } else if byte == open {
                level += 1;
            }
        }
        Ok(None)
    }

    /// As many as there are, then fewer.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Result<Option<usize>, Trouble> {
        let mut last = s;
        while self.single(last, p, end) {
            self.steps(1 + (end - p) / 8)?;
            last += 1;
        }
        loop {
            if let Some(found) = self.go_on(last, end + 1)? {
                return Ok(Some(found));
            }
            if last == s {
                return Ok(None);
            }
            last -= 1;
        }
    }

    /// None, then more.
    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Result<Option<usize>, Trouble> {
        loop {
            if let Some(found) = self.go_on(s, end + 1)? {
                return Ok(Some(found));
            }
            self.steps((end - p) / 8)?;
            if !self.single(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    /// Where the single-character class that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Trouble> {
        let length = self.pattern.len();
        match self.p(p) {
            b'%' if p + 1 >= length => trouble(messages::NO_CLASS),
            b'%' => Ok(p + 2),
            b'[' => {
                let mut at = p + 1;
                if self.p(at) == b'^' {
                    at += 1;
                }
                loop {
                    if at >= length {
                        return trouble(messages::NO_BRACKET);
                    }
                    let escape = self.p(at) == b'%';
                    at += 1;
                    if escape && at < length {
                        at += 1;
                    }
                    if at < length && self.p(at) == b']' {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.subject.get(s) else {
            return false;
        };
        match self.p(p) {
            b'.' => true,
            b'%' => class_has(byte, self.p(p + 1)),
            b'[' => self.set_has(byte, p, end - 1),
            literal => literal == byte,
        }
    }

    /// Whether the set that begins at `p` and whose bracket closes at `close` has this byte.
    fn set_has(&self, byte: u8, p: usize, close: usize) -> bool {
        let mut at = p + 1;
        let negative = self.p(at) == b'^';
        if negative {
            at += 1;
        }
        while at < close {
            let member = self.p(at);
            if member == b'%' {
                at += 1;
                if class_has(byte, self.p(at)) {
                    return !negative;
                }
            } else if self.p(at + 1) == b'-' && at + 2 < close {
                at += 2;
                if member <= byte && byte <= self.p(at) {
                    return !negative;
                }
            } else if member == byte {
                return !negative;
            }
            at += 1;
        }
        negative
    }
}

/// Whether the class `%class` has this byte.
fn class_has(byte: u8, class: u8) -> bool {
    let has = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        // No longer in the manual, and still there.
        b'z' => byte == 0,
        _ => return class == byte,
    };
    has != class.is_ascii_uppercase()
}
