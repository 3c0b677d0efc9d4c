//! FETCH: what is asked for, and how a message answers (RFC 3501 §6.4.5, §7.4.2).

use super::command::{Arguments, Bad};
use crate::mail::{
    mailbox::Message,
    mime::{self, Content, Part},
};
use time::{OffsetDateTime, macros::format_description};

/// One item of a FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Flags,
    Uid,
    Size,
    Date,
    Envelope,
    /// `BODY`, or `BODYSTRUCTURE` with its extension data.
    Structure {
        extended: bool,
    },
    Section(Section),
}

/// `BODY[…]<…>` and its older kin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// The name in the answer.
    label: String,
    pub(crate) peek: bool,
    numbers: Vec<u32>,
    text: Text,
    /// Offset and length.
    partial: Option<(usize, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    All,
    Header,
    /// Names, and whether these are the ones to leave out.
    Fields(Vec<String>, bool),
    Body,
    Mime,
}

/// One item or a parenthesised list, macros resolved.
pub(crate) fn items(arguments: &mut Arguments<'_>) -> Result<Vec<Item>, Bad> {
    let mut items = Vec::new();
    if !arguments.take(b"(") {
        item(arguments, &mut items)?;
        return Ok(items);
    }
    loop {
        item(arguments, &mut items)?;
        if items.len() > 200 {
            return Err("too many items");
        }
        if arguments.take(b")") {
            return Ok(items);
        }
        arguments.space()?;
    }
}

fn item(arguments: &mut Arguments<'_>, items: &mut Vec<Item>) -> Result<(), Bad> {
    let name = arguments.atom()?.to_ascii_uppercase();
    let whole = |label: &str, text, peek| {
        Item::Section(Section {
            label: label.into(),
            peek,
            numbers: Vec::new(),
            text,
            partial: None,
        })
    };
    match name.as_str() {
        "ALL" => items.extend([Item::Flags, Item::Date, Item::Size, Item::Envelope]),
        "FAST" => items.extend([Item::Flags, Item::Date, Item::Size]),
        "FULL" => {
            items.extend([Item::Flags, Item::Date, Item::Size, Item::Envelope]);
            items.push(Item::Structure { extended: false });
        }
        "FLAGS" => items.push(Item::Flags),
        "UID" => items.push(Item::Uid),
        "RFC822.SIZE" => items.push(Item::Size),
        "INTERNALDATE" => items.push(Item::Date),
        "ENVELOPE" => items.push(Item::Envelope),
        "BODYSTRUCTURE" => items.push(Item::Structure { extended: true }),
        "RFC822" => items.push(whole("RFC822", Text::All, false)),
        "RFC822.HEADER" => items.push(whole("RFC822.HEADER", Text::Header, true)),
        "RFC822.TEXT" => items.push(whole("RFC822.TEXT", Text::Body, false)),
        "BODY" if arguments.peek() != Some(b'[') => items.push(Item::Structure { extended: false }),
        "BODY" | "BODY.PEEK" => items.push(Item::Section(section(arguments, name == "BODY.PEEK")?)),
        _ => return Err("this item is unknown"),
    }
    Ok(())
}

fn section(arguments: &mut Arguments<'_>, peek: bool) -> Result<Section, Bad> {
    arguments.expect(b"[")?;
    let mut numbers = Vec::new();
    while arguments.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        numbers.push(arguments.number()?);
        if !arguments.take(b".") {
            break;
        }
    }
    let mut label: Vec<String> = numbers.iter().map(u32::to_string).collect();
    let text = if arguments.peek() == Some(b']') {
        Text::All
    } else {
        let name = arguments.atom()?.to_ascii_uppercase();
        label.push(name.clone());
        match name.as_str() {
            "HEADER" => Text::Header,
            "TEXT" => Text::Body,
            "MIME" if !numbers.is_empty() => Text::Mime,
            "HEADER.FIELDS" | "HEADER.FIELDS.NOT" => {
                Text::Fields(names(arguments)?, name.ends_with("NOT"))
            }
            _ => return Err("this section is unknown"),
        }
    };
    arguments.expect(b"]")?;
    let mut label = label.join(".");
    if let Text::Fields(names, _) = &text {
        label += &format!(" ({})", names.join(" "));
    }
    let mut label = format!("BODY[{label}]");
    let mut partial = None;
    if arguments.take(b"<") {
        let offset = arguments.number()? as usize;
        arguments.expect(b".")?;
        partial = Some((offset, arguments.number()? as usize));
        arguments.expect(b">")?;
        label += &format!("<{offset}>");
    }
    Ok(Section {
        label,
        peek,
        numbers,
        text,
        partial,
    })
}

fn names(arguments: &mut Arguments<'_>) -> Result<Vec<String>, Bad> {
    arguments.expect(b" (")?;
    let mut names = Vec::new();
    loop {
        let name = arguments.astring()?;
        // It is repeated in the answer, so it has to be an atom.
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            return Err("this is no name of a header field");
        }
        names.push(name);
        if arguments.take(b")") {
            return Ok(names);
        }
        arguments.space()?;
    }
}

/// The parenthesised answer for one message.
pub(crate) fn answer(items: &[Item], message: &Message) -> Vec<u8> {
    let mut out = vec![b'('];
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        match item {
            Item::Flags => out.extend(format!("FLAGS ({})", message.flags.join(" ")).bytes()),
            Item::Uid => out.extend(format!("UID {}", message.uid).bytes()),
            Item::Size => out.extend(format!("RFC822.SIZE {}", message.bytes.len()).bytes()),
            Item::Date => {
                out.extend(format!("INTERNALDATE \"{}\"", date_time(message.date)).bytes())
            }
            Item::Envelope => {
                out.extend(b"ENVELOPE ");
                envelope(&mut out, mime::split(&message.bytes).0);
            }
            Item::Structure { extended } => {
                out.extend(if *extended {
                    &b"BODYSTRUCTURE "[..]
                } else {
                    b"BODY "
                });
                structure(&mut out, &Part::parse(&message.bytes), *extended);
            }
            Item::Section(section) => {
                out.extend(section.label.bytes());
                out.push(b' ');
                section.answer(&mut out, &message.bytes);
            }
        }
    }
    out.push(b')');
    out
}

/// `date-time` of the grammar.
fn date_time(date: OffsetDateTime) -> String {
    let format = format_description!(
        "[day padding:space]-[month repr:short]-[year] [hour]:[minute]:[second] \
         [offset_hour sign:mandatory][offset_minute]"
    );
    // A fixed format does not fail.
    date.format(format).unwrap_or_default()
}

/// Reads a `date-time`, as in APPEND.
pub(crate) fn parse_date_time(text: &str) -> Result<OffsetDateTime, Bad> {
    let format = format_description!(
        "[day padding:none]-[month repr:short case_sensitive:false]-[year] [hour]:[minute]:[second] \
         [offset_hour sign:mandatory][offset_minute]"
    );
    OffsetDateTime::parse(text.trim_start(), format).map_err(|_| "this date is malformed")
}

impl Section {
    fn answer(&self, out: &mut Vec<u8>, message: &[u8]) {
        // A whole message needs no parsing, however large it is.
        let (header, body) = mime::split(message);
        let root;
        let part = if self.numbers.is_empty() {
            None
        } else {
            root = Part::parse(message);
            match root.at(&self.numbers) {
                Some(part) => Some(part),
                None => return out.extend(b"NIL"),
            }
        };
        // HEADER and TEXT of a numbered part mean the message that it encloses.
        let inner = part.and_then(|part| match &part.content {
            Content::Message(inner) => Some((inner.header, inner.body)),
            _ => None,
        });
        let chosen = match (&part, inner) {
            (None, _) => Some((header, body)),
            (Some(_), inner) => inner,
        };
        let filtered;
        let bytes = match (&self.text, part, chosen) {
            (Text::All, None, _) => message,
            (Text::All, Some(part), _) => part.body,
            (Text::Mime, Some(part), _) => part.header,
            (Text::Header, _, Some((header, _))) => header,
            (Text::Body, _, Some((_, body))) => body,
            (Text::Fields(names, without), _, Some((header, _))) => {
                filtered = some_fields(header, names, *without);
                &filtered
            }
            _ => return out.extend(b"NIL"),
        };
        let bytes = match self.partial {
            None => bytes,
            Some((offset, length)) => {
                let rest = bytes.get(offset..).unwrap_or_default();
                &rest[..rest.len().min(length)]
            }
        };
        literal(out, bytes);
    }
}

fn some_fields(header: &[u8], names: &[String], without: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (own, raw) in mime::fields(header) {
        let named = names
            .iter()
            .any(|name| name.as_bytes().eq_ignore_ascii_case(own));
        if named != without {
            out.extend_from_slice(raw);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn literal(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(format!("{{{}}}\r\n", bytes.len()).bytes());
    out.extend_from_slice(bytes);
}

/// A quoted string where it can be one, else a literal.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    if text.len() > 1_000
        || text
            .bytes()
            .any(|byte| !byte.is_ascii() || byte.is_ascii_control())
    {
        return literal(out, text.as_bytes());
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn nstring(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend(b"NIL"),
    }
}

fn envelope(out: &mut Vec<u8>, header: &[u8]) {
    let field = |name| mime::field(header, name);
    let from = field("From");
    out.push(b'(');
    nstring(out, field("Date").as_deref());
    out.push(b' ');
    nstring(out, field("Subject").as_deref());
    // Sender and Reply-To default to From (RFC 3501 §7.4.2).
    let or_from = |name| {
        field(name)
            .filter(|value| !value.is_empty())
            .or_else(|| from.clone())
    };
    for value in [
        from.clone(),
        or_from("Sender"),
        or_from("Reply-To"),
        field("To"),
        field("Cc"),
        field("Bcc"),
    ] {
        out.push(b' ');
        addresses(out, value.as_deref());
    }
    for name in ["In-Reply-To", "Message-ID"] {
        out.push(b' ');
        nstring(out, field(name).as_deref());
    }
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, value: Option<&str>) {
    let found = value.map(mime::addresses).unwrap_or_default();
    if found.is_empty() {
        return out.extend(b"NIL");
    }
    out.push(b'(');
    for address in &found {
        out.push(b'(');
        nstring(out, address.name.as_deref());
        out.extend(b" NIL ");
        string(out, &address.local);
        out.push(b' ');
        string(out, &address.domain);
        out.push(b')');
    }
    out.push(b')');
}

fn parameters(out: &mut Vec<u8>, parameters: &[(String, String)]) {
    if parameters.is_empty() {
        return out.extend(b"NIL");
    }
    out.push(b'(');
    for (index, (name, value)) in parameters.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        string(out, name);
        out.push(b' ');
        string(out, value);
    }
    out.push(b')');
}

fn structure(out: &mut Vec<u8>, part: &Part<'_>, extended: bool) {
    out.push(b'(');
    if let Content::Multipart(parts) = &part.content {
        for part in parts {
            structure(out, part, extended);
        }
        out.push(b' ');
        string(out, &part.kind.1);
        if extended {
            out.push(b' ');
            parameters(out, &part.parameters);
            extension(out, part);
        }
        out.push(b')');
        return;
    }
    string(out, &part.kind.0);
    out.push(b' ');
    string(out, &part.kind.1);
    out.push(b' ');
    if part.parameters.is_empty() && part.kind.0 == "TEXT" {
        out.extend(b"(\"CHARSET\" \"US-ASCII\")");
    } else {
        parameters(out, &part.parameters);
    }
    for name in ["Content-ID", "Content-Description"] {
        out.push(b' ');
        nstring(out, part.field(name).as_deref());
    }
    out.push(b' ');
    string(
        out,
        part.field("Content-Transfer-Encoding")
            .as_deref()
            .unwrap_or("7BIT"),
    );
    out.extend(format!(" {}", part.body.len()).bytes());
    let lines = part.body.iter().filter(|byte| **byte == b'\n').count();
    if let Content::Message(inner) = &part.content {
        out.push(b' ');
        envelope(out, inner.header);
        out.push(b' ');
        structure(out, inner, extended);
        out.extend(format!(" {lines}").bytes());
    } else if part.kind.0 == "TEXT" {
        out.extend(format!(" {lines}").bytes());
    }
    if extended {
        out.push(b' ');
        nstring(out, part.field("Content-MD5").as_deref());
        extension(out, part);
    }
    out.push(b')');
}

/// Disposition, language, location.
fn extension(out: &mut Vec<u8>, part: &Part<'_>) {
    out.push(b' ');
    match part.field("Content-Disposition") {
        Some(value) => {
            let (kind, own) = mime::with_parameters(&value);
            out.push(b'(');
            string(out, &kind.to_ascii_uppercase());
            out.push(b' ');
            parameters(out, &own);
            out.push(b')');
        }
        None => out.extend(b"NIL"),
    }
    for name in ["Content-Language", "Content-Location"] {
        out.push(b' ');
        nstring(out, part.field(name).as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(asked: &str, message: &[u8]) -> String {
        let items = items(&mut Arguments::new(asked.as_bytes())).expect(asked);
        let date = parse_date_time(" 7-Feb-1994 21:52:25 -0800").expect("a date");
        let message = Message {
            uid: 9,
            flags: vec!["\\Seen".into()],
            date,
            bytes: message.into(),
            change: 1,
        };
        String::from_utf8(answer(&items, &message)).expect("text")
    }

    #[test]
    fn simple_items() {
        assert_eq!(
            fetch("(FLAGS UID RFC822.SIZE INTERNALDATE)", b"A: b\r\n\r\nc"),
            "(FLAGS (\\Seen) UID 9 RFC822.SIZE 9 INTERNALDATE \" 7-Feb-1994 21:52:25 -0800\")"
        );
    }

    /// The example of RFC 3501 §7.4.2, shortened.
    #[test]
    fn envelopes() {
        assert_eq!(
            fetch(
                "ENVELOPE",
                b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
                Subject: minutes\r\nTo: imap@cac.washington.edu\r\nMessage-ID: <B27397-0100000@x>\r\n\r\n"
            ),
            "(ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"minutes\" \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((NIL NIL \"imap\" \"cac.washington.edu\")) NIL NIL NIL \"<B27397-0100000@x>\"))"
        );
    }

    #[test]
    fn sections() {
        let message = b"A: 1\r\nB: 2\r\n\t3\r\nC: 4\r\n\r\nbody";
        assert_eq!(
            fetch("BODY[]", message),
            "(BODY[] {28}\r\nA: 1\r\nB: 2\r\n\t3\r\nC: 4\r\n\r\nbody)"
        );
        assert_eq!(
            fetch("BODY.PEEK[TEXT]<1.2>", message),
            "(BODY[TEXT]<1> {2}\r\nod)"
        );
        assert_eq!(
            fetch("BODY.PEEK[TEXT]<9.2>", message),
            "(BODY[TEXT]<9> {0}\r\n)"
        );
        assert_eq!(
            fetch("body.peek[header.fields (b x)]", message),
            "(BODY[HEADER.FIELDS (b x)] {12}\r\nB: 2\r\n\t3\r\n\r\n)"
        );
        assert_eq!(
            fetch("BODY[HEADER.FIELDS.NOT (B)]", message),
            "(BODY[HEADER.FIELDS.NOT (B)] {14}\r\nA: 1\r\nC: 4\r\n\r\n)"
        );
        assert_eq!(fetch("BODY[1]", message), "(BODY[1] {4}\r\nbody)");
        assert_eq!(fetch("BODY[2]", message), "(BODY[2] NIL)");
        assert_eq!(fetch("RFC822.TEXT", message), "(RFC822.TEXT {4}\r\nbody)");
        for wrong in [
            "BODY[",
            "BODY[MIME]",
            "BODY[X]",
            "BODY[]<1>",
            "NOPE",
            "(FLAGS",
            "BODY[HEADER.FIELDS ()]",
        ] {
            assert!(
                items(&mut Arguments::new(wrong.as_bytes())).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn structures() {
        assert_eq!(
            fetch("BODY", b"Subject: x\r\n\r\none\r\ntwo\r\n"),
            "(BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 10 2))"
        );
        assert_eq!(
            fetch(
                "BODYSTRUCTURE",
                b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
                \r\nx\r\n--b\r\nContent-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\n\
                Content-Disposition: attachment; filename=\"a b.png\"\r\n\r\nAAAA\r\n--b--\r\n"
            ),
            "(BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL \"7BIT\" 1 0 NIL NIL NIL NIL)\
             (\"IMAGE\" \"PNG\" (\"NAME\" \"a b.png\") NIL NIL \"base64\" 4 NIL \
             (\"ATTACHMENT\" (\"FILENAME\" \"a b.png\")) NIL NIL) \
             \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL))"
        );
    }
}
