//! As much of IMAP's grammar as framing needs.

use super::super::trimmed;

/// An announced literal (RFC 9051 §4.3, RFC 7888, RFC 9051 §9 `literal8`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) size: usize,
    /// The sender waits for the other side's word.
    pub(super) synchronising: bool,
    /// Where the announcement begins in its line, `~` included.
    pub(super) start: usize,
    pub(super) binary: bool,
}

impl Literal {
    /// The announcement of another size. Servers may take literals without asking up to 4096 octets only (RFC 7888 §5).
    pub(super) fn announcement(&self, size: usize) -> Vec<u8> {
        let binary = if self.binary { "~" } else { "" };
        let plus = match self.synchronises(size) {
            true => "",
            false => "+",
        };
        format!("{binary}{{{size}{plus}}}\r\n").into_bytes()
    }

    /// Whether its announcement waits for the server's word.
    pub(super) fn synchronises(&self, size: usize) -> bool {
        self.synchronising || (size > 4096 && self.size <= 4096)
    }
}

/// The literal that a line announces at its end.
pub(super) fn literal(line: &[u8]) -> Option<Literal> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let inner = line.strip_suffix(b"}")?;
    let (inner, synchronising) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let open = inner.iter().rposition(|byte| !byte.is_ascii_digit())?;
    if inner[open] != b'{' || open + 1 == inner.len() || inner.len() - open > 20 {
        return None;
    }
    let size = std::str::from_utf8(&inner[open + 1..]).ok()?.parse().ok()?;
    let binary = open > 0 && inner[open - 1] == b'~';
    Some(Literal {
        size,
        synchronising,
        start: if binary { open - 1 } else { open },
        binary,
    })
}

/// The beginning of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) tag: Vec<u8>,
    /// Upper case.
    pub(super) name: String,
    /// Where the arguments begin.
    pub(super) arguments: usize,
}

/// Reads tag and name off a command's first line.
pub(super) fn head(line: &[u8]) -> Head {
    let whole = trimmed(line);
    let word = |from: usize| {
        let end = whole[from..].iter().position(|&byte| byte == b' ');
        end.map_or(whole.len(), |at| from + at)
    };
    let tag = word(0);
    let start = (tag + 1).min(whole.len());
    let mut end = word(start);
    if whole[start..end].eq_ignore_ascii_case(b"UID") && end < whole.len() {
        end = word(end + 1);
    }
    Head {
        tag: whole[..tag].to_vec(),
        name: String::from_utf8_lossy(&whole[start..end]).to_ascii_uppercase(),
        arguments: (end + 1).min(whole.len()),
    }
}

/// The first argument: an atom, a quoted string, or a literal whose announcement and octets stand there.
pub(super) fn first_argument(arguments: &[u8]) -> Vec<u8> {
    if let Some(quoted) = arguments.strip_prefix(b"\"") {
        let mut value = Vec::new();
        let mut bytes = quoted.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'"' => break,
                b'\\' => value.extend(bytes.next()),
                byte => value.push(byte),
            }
        }
        return value;
    }
    let line = arguments
        .split_inclusive(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    if let Some(literal) = literal(line)
        && literal.start == 0
    {
        let behind = &arguments[line.len()..];
        return behind[..literal.size.min(behind.len())].to_vec();
    }
    let end = arguments
        .iter()
        .position(|byte| b" \r\n".contains(byte))
        .unwrap_or(arguments.len());
    arguments[..end].to_vec()
}

/// A response's first line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) tag: Vec<u8>,
    pub(super) number: Option<u64>,
    pub(super) name: Option<String>,
}

impl ResponseHead {
    /// Whether it is text for people, at whose end nothing is announced.
    pub(super) fn is_status(&self) -> bool {
        self.tag != b"*"
            || matches!(
                self.name.as_deref(),
                Some("OK" | "NO" | "BAD" | "BYE" | "PREAUTH")
            )
    }
}

/// Reads the beginning of a response.
pub(super) fn response(line: &[u8]) -> ResponseHead {
    let mut words = trimmed(line).split(|&byte| byte == b' ');
    let tag = words.next().unwrap_or_default().to_vec();
    if tag == b"+" {
        return ResponseHead {
            tag,
            ..ResponseHead::default()
        };
    }
    let mut name = words.next().unwrap_or_default();
    let number = match tag == b"*" {
        true => std::str::from_utf8(name)
            .ok()
            .and_then(|word| word.parse().ok()),
        false => None,
    };
    if number.is_some() {
        name = words.next().unwrap_or_default();
    }
    ResponseHead {
        tag,
        number,
        name: Some(String::from_utf8_lossy(name).to_ascii_uppercase()),
    }
}

/// The data item of FETCH whose literal is announced behind `text`, in upper case, if it holds a message or a part of one.
pub(super) fn item(text: &[u8]) -> Option<String> {
    let text = text.trim_ascii_end();
    let mut at = text.len();
    if text.ends_with(b">") {
        at = text.iter().rposition(|&byte| byte == b'<')?;
    }
    if text[..at].ends_with(b"]") {
        at = text[..at].iter().rposition(|&byte| byte == b'[')?;
    }
    let start = text[..at]
        .iter()
        .rposition(|byte| b" (\r\n".contains(byte))
        .map_or(0, |blank| blank + 1);
    let item = String::from_utf8_lossy(&text[start..]).to_ascii_uppercase();
    let known = ["BODY[", "BINARY[", "RFC822"];
    known
        .iter()
        .any(|known| item.starts_with(known))
        .then_some(item)
}
