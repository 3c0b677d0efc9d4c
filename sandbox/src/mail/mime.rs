//! As much of RFC 5322 and MIME as IMAP asks of a server: parts, parameters, envelopes.

/// Depth of nested parts; what lies deeper is one opaque part.
const MAX_DEPTH: usize = 16;
/// Parts side by side.
const MAX_PARTS: usize = 500;

/// Type and subtype.
type Kind = (String, String);
/// Names in capitals, and values.
type Parameters = Vec<(String, String)>;

/// One part of a message, or a whole one.
pub(crate) struct Part<'a> {
    /// The header with the empty line that ends it.
    pub(crate) header: &'a [u8],
    pub(crate) body: &'a [u8],
    /// Type and subtype, in capitals.
    pub(crate) kind: Kind,
    pub(crate) parameters: Parameters,
    pub(crate) content: Content<'a>,
}

/// What a part holds.
pub(crate) enum Content<'a> {
    Leaf,
    Multipart(Vec<Part<'a>>),
    /// `message/rfc822`.
    Message(Box<Part<'a>>),
}

impl<'a> Part<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Part<'a> {
        Part::at_depth(bytes, 0, ("TEXT", "PLAIN"))
    }

    fn at_depth(bytes: &'a [u8], depth: usize, default: (&str, &str)) -> Part<'a> {
        let (header, body) = split(bytes);
        let (kind, parameters) = field(header, "Content-Type")
            .and_then(|value| content_type(&value))
            .unwrap_or_else(|| ((default.0.into(), default.1.into()), Vec::new()));
        let boundary = parameters
            .iter()
            .find(|(name, _)| name == "BOUNDARY")
            .map(|(_, value)| value.as_str());
        let content = match (kind.0.as_str(), boundary) {
            _ if depth >= MAX_DEPTH => Content::Leaf,
            ("MULTIPART", Some(boundary)) => {
                let default = if kind.1 == "DIGEST" {
                    ("MESSAGE", "RFC822")
                } else {
                    ("TEXT", "PLAIN")
                };
                let parts = enclosed(body, boundary);
                match parts.is_empty() {
                    true => Content::Leaf,
                    false => Content::Multipart(
                        parts
                            .into_iter()
                            .map(|part| Part::at_depth(part, depth + 1, default))
                            .collect(),
                    ),
                }
            }
            ("MESSAGE", _) if kind.1 == "RFC822" => {
                Content::Message(Box::new(Part::at_depth(body, depth + 1, ("TEXT", "PLAIN"))))
            }
            _ => Content::Leaf,
        };
        // A multipart without parts is text to everybody.
        let kind = match (&content, kind.0.as_str()) {
            (Content::Leaf, "MULTIPART") => ("TEXT".into(), "PLAIN".into()),
            _ => kind,
        };
        Part {
            header,
            body,
            kind,
            parameters,
            content,
        }
    }

    /// The part of an IMAP section such as `1.2` (RFC 3501 §6.4.5).
    pub(crate) fn at(&self, numbers: &[u32]) -> Option<&Part<'a>> {
        let mut part = self;
        for (index, number) in numbers.iter().enumerate() {
            // The parts of an enclosed message are counted in it, not beside it.
            if let (Content::Message(inner), true) = (&part.content, index > 0) {
                part = inner;
            }
            part = match &part.content {
                Content::Multipart(parts) => parts.get((*number as usize).checked_sub(1)?)?,
                _ if *number == 1 => part,
                _ => return None,
            };
        }
        Some(part)
    }

    /// Value of a header field, unfolded.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        field(self.header, name)
    }
}

/// Header (with the empty line) and body.
pub(crate) fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    if bytes.starts_with(b"\r\n") {
        return bytes.split_at(2);
    }
    match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(end) => bytes.split_at(end + 4),
        None => (bytes, &[]),
    }
}

/// The fields of a header as they stand, folding and CRLF included, each with its name.
pub(crate) fn fields(header: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut fields = Vec::new();
    let mut start = 0;
    let mut position = 0;
    while position < header.len() {
        let end = header[position..]
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .map_or(header.len(), |end| position + end + 2);
        let folded = matches!(header.get(end), Some(b' ' | b'\t'));
        if !folded {
            let raw = &header[start..end];
            if let Some(colon) = raw.iter().position(|byte| *byte == b':') {
                fields.push((raw[..colon].trim_ascii(), raw));
            }
            start = end;
        }
        position = end;
    }
    fields
}

/// Value of the first field of this name, unfolded.
pub(crate) fn field(header: &[u8], name: &str) -> Option<String> {
    let (own, raw) = fields(header)
        .into_iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))?;
    let colon = raw.iter().position(|byte| *byte == b':')?;
    debug_assert!(own.len() <= colon);
    let value = String::from_utf8_lossy(&raw[colon + 1..]).replace("\r\n", "");
    Some(value.trim().into())
}

/// The bodies between the lines of a boundary (RFC 2046 §5.1.1).
fn enclosed<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut start = None;
    let mut position = 0;
    while position < body.len() {
        let end = body[position..]
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .map_or(body.len(), |end| position + end + 2);
        let line = body[position..end].trim_ascii_end();
        let delimiter = line
            .strip_prefix(b"--")
            .and_then(|line| line.strip_prefix(boundary.as_bytes()));
        if let Some(tail) = delimiter.filter(|tail| matches!(*tail, b"" | b"--")) {
            if let Some(start) = start {
                // The CRLF before a boundary belongs to it.
                let before = position.saturating_sub(2).max(start);
                parts.push(&body[start..before]);
            }
            start = Some(end);
            if tail == b"--" || parts.len() >= MAX_PARTS {
                return parts;
            }
        }
        position = end;
    }
    if let Some(start) = start {
        parts.push(&body[start..]);
    }
    parts
}

/// `type/subtype; name=value`; names and types in capitals.
fn content_type(value: &str) -> Option<(Kind, Parameters)> {
    let (kind, parameters) = with_parameters(value);
    let (major, minor) = kind.split_once('/')?;
    let token = |text: &str| {
        let text = text.trim();
        (!text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()))
            .then(|| text.to_ascii_uppercase())
    };
    Some(((token(major)?, token(minor)?), parameters))
}

/// A value and its parameters, as in `Content-Type` and `Content-Disposition`.
pub(crate) fn with_parameters(value: &str) -> (String, Parameters) {
    let mut pieces = Vec::new();
    let (mut piece, mut quoted, mut escaped) = (String::new(), false, false);
    for c in value.chars() {
        match c {
            _ if escaped => {
                piece.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => pieces.push(std::mem::take(&mut piece)),
            c => piece.push(c),
        }
    }
    pieces.push(piece);
    let mut pieces = pieces.into_iter();
    let first = pieces.next().unwrap_or_default().trim().to_owned();
    let parameters = pieces
        .filter_map(|piece| {
            let (name, value) = piece.split_once('=')?;
            Some((name.trim().to_ascii_uppercase(), value.trim().to_owned()))
        })
        .collect();
    (first, parameters)
}

/// An address of an envelope: display name, local part, domain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: Option<String>,
    pub(crate) local: String,
    pub(crate) domain: String,
}

/// The addresses of a field; groups are dissolved, comments dropped.
pub(crate) fn addresses(value: &str) -> Vec<Address> {
    let mut found = Vec::new();
    let (mut name, mut angle, mut in_angle) = (String::new(), None::<String>, false);
    let (mut quoted, mut escaped, mut comment) = (false, false, 0_u32);
    // The comma at the end closes the last address.
    for c in value.chars().chain([',']) {
        let text = match &mut angle {
            Some(angle) if in_angle => angle,
            _ => &mut name,
        };
        match c {
            _ if escaped => {
                text.push(c);
                escaped = false;
            }
            '\\' if quoted || comment > 0 => escaped = true,
            '"' if comment == 0 => quoted = !quoted,
            _ if quoted => text.push(c),
            '(' => comment += 1,
            ')' => comment = comment.saturating_sub(1),
            _ if comment > 0 => {}
            '<' => {
                angle = Some(String::new());
                in_angle = true;
            }
            '>' => in_angle = false,
            ':' if !in_angle => name.clear(),
            ',' | ';' if !in_angle => {
                let display = name.trim().to_owned();
                let (address, display) = match angle.take() {
                    Some(address) => (address, (!display.is_empty()).then_some(display)),
                    None => (display, None),
                };
                if let Some((local, domain)) = address.trim().rsplit_once('@') {
                    found.push(Address {
                        name: display,
                        local: local.into(),
                        domain: domain.into(),
                    });
                }
                name.clear();
            }
            c => text.push(c),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_their_forms() {
        let all = addresses(
            "a@b, \"Last, First\" <l@x.org>, Team: c@d, <e@f>;, Zo (a comment, really) <z@y>",
        );
        let parts: Vec<_> = all
            .iter()
            .map(|a| (a.name.as_deref(), a.local.as_str(), a.domain.as_str()))
            .collect();
        assert_eq!(
            parts,
            [
                (None, "a", "b"),
                (Some("Last, First"), "l", "x.org"),
                (None, "c", "d"),
                (None, "e", "f"),
                (Some("Zo"), "z", "y"),
            ]
        );
        assert_eq!(addresses("undisclosed-recipients:;"), []);
        assert_eq!(addresses(""), []);
    }

    #[test]
    fn parts_are_found_by_number() {
        let message = b"Content-Type: multipart/mixed;\r\n boundary=\"b\"\r\n\r\npreamble\r\n--b\r\n\r\none\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/alternative; boundary=c\r\n\
            \r\n--c\r\n\r\nx\r\n--c\r\nContent-Type: text/html\r\n\r\ny\r\n--c--\r\n--b--\r\nepilogue\r\n";
        let part = Part::parse(message);
        assert_eq!(part.at(&[1]).map(|part| part.body), Some(&b"one"[..]));
        assert_eq!(part.at(&[2, 2]).map(|part| part.body), Some(&b"y"[..]));
        assert_eq!(
            part.at(&[2, 2]).map(|part| part.kind.1.as_str()),
            Some("HTML")
        );
        assert!(part.at(&[3]).is_none() && part.at(&[0]).is_none() && part.at(&[1, 2]).is_none());
        let alone = Part::parse(b"Subject: x\r\n\r\ntext");
        assert_eq!(alone.at(&[1]).map(|part| part.body), Some(&b"text"[..]));
    }

    #[test]
    fn broken_messages_are_read_somehow() {
        for message in [
            &b""[..],
            b"\r\n",
            b"no colon",
            b"Content-Type: multipart/mixed\r\n\r\nx",
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b",
            b"Content-Type: ;;;=\r\n\r\n",
        ] {
            let part = Part::parse(message);
            assert_eq!(part.header.len() + part.body.len(), message.len());
        }
    }
}
