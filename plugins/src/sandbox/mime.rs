//! `mime`: the text parts of messages, decoded and encoded again (RFC 2045, RFC 2046).

use crate::{
    budget::{Budget, Nested},
    messages::libraries as messages,
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use mlua::{Function, Lua, LuaString, MultiValue, Result, Table, Value};
use std::sync::Arc;

/// How deep parts may lie within each other, and be looked at.
const DEPTH: usize = 20;

/// Parts of one message that are looked at.
const PARTS: usize = 1_000;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(super) fn library(lua: &Lua, budget: &Arc<Budget>) -> Result<Table> {
    let library = lua.create_table()?;
    let add = |name: &str, convert: fn(&[u8]) -> Vec<u8>| {
        let function =
            move |lua: &Lua, text: LuaString| lua.create_string(convert(&text.as_bytes()));
        library.raw_set(name, lua.create_function(function)?)
    };
    add("encode_base64", encode_base64)?;
    add("decode_base64", decode_base64)?;
    add("encode_quoted_printable", encode_quoted_printable)?;
    add("decode_quoted_printable", decode_quoted_printable)?;
    let budget = budget.clone();
    let edit = move |lua: &Lua, arguments| {
        let nested = budget.nest()?;
        edit_text(lua, &nested, arguments)
    };
    library.raw_set("edit_text", lua.create_function(edit)?)?;
    Ok(library)
}

fn edit_text(
    lua: &Lua,
    nested: &Nested<'_>,
    (message, function): (LuaString, Function),
) -> Result<MultiValue> {
    let mut editor = Editor {
        lua,
        nested,
        held: 0,
        function,
        parts: 0,
        changed: 0,
    };
    let changed = editor.entity(&message.as_bytes(), 0)?;
    let text = match changed {
        Some(text) => lua.create_string(text)?,
        None => message,
    };
    Ok([Value::String(text), Value::Integer(editor.changed)]
        .into_iter()
        .collect())
}

struct Editor<'a> {
    lua: &'a Lua,
    nested: &'a Nested<'a>,
    /// Octets of changed parts.
    held: usize,
    function: Function,
    parts: usize,
    changed: i64,
}

/// What a part's header says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Header {
    /// Lower case; `text/plain` where there is none.
    kind: String,
    charset: String,
    boundary: Option<Vec<u8>>,
    encoding: String,
    attachment: bool,
}

impl Editor<'_> {
    /// The entity with its text parts changed; `None`: nothing has changed.
    fn entity(&mut self, entity: &[u8], depth: usize) -> Result<Option<Vec<u8>>> {
        self.parts += 1;
        if depth > DEPTH || self.parts > PARTS {
            return Ok(None);
        }
        let start = body_start(entity);
        let (head, body) = entity.split_at(start);
        let header = Header::read(head);
        let new = if header.kind.starts_with("multipart/") {
            let closed = matches!(&*header.kind, "multipart/signed" | "multipart/encrypted");
            match &header.boundary {
                Some(boundary) if !closed => self.parts_of(body, boundary, depth)?,
                _ => None,
            }
        } else if header.kind == "message/rfc822" && header.is_plain() {
            self.entity(body, depth + 1)?
        } else if header.kind.starts_with("text/") && !header.attachment {
            self.text(body, &header)?
        } else {
            None
        };
        Ok(new.map(|body| [head, &body].concat()))
    }

    fn parts_of(&mut self, body: &[u8], boundary: &[u8], depth: usize) -> Result<Option<Vec<u8>>> {
        let mut new = Vec::new();
        let mut changed = false;
        let mut copied = 0;
        let mut part: Option<usize> = None;
        let mut at = 0;
        while at < body.len() {
            let end = line_end(body, at);
            let line = body[at..end].trim_ascii_end();
            let delimiter = line
                .strip_prefix(b"--")
                .and_then(|line| line.strip_prefix(boundary));
            if let Some(rest) = delimiter
                && (rest.is_empty() || rest == b"--")
            {
                if let Some(from) = part.take() {
                    // The line end before a delimiter belongs to it.
                    let mut to = at;
                    if body[from..to].ends_with(b"\r\n") {
                        to -= 2;
                    } else if body[from..to].ends_with(b"\n") {
                        to -= 1;
                    }
                    if let Some(text) = self.entity(&body[from..to], depth + 1)? {
                        new.extend_from_slice(&body[copied..from]);
                        new.extend_from_slice(&text);
                        copied = to;
                        changed = true;
                    }
                }
                if rest.is_empty() {
                    part = Some(end);
                } else {
                    break;
                }
            }
            at = end;
        }
        // Mail programs show a last part that nothing closes.
        if let Some(from) = part
            && let Some(text) = self.entity(&body[from..], depth + 1)?
        {
            new.extend_from_slice(&body[copied..from]);
            new.extend_from_slice(&text);
            copied = body.len();
            changed = true;
        }
        new.extend_from_slice(&body[copied..]);
        Ok(changed.then_some(new))
    }

    fn text(&mut self, body: &[u8], header: &Header) -> Result<Option<Vec<u8>>> {
        let decoded = match &*header.encoding {
            "base64" => decode_base64(body),
            "quoted-printable" => decode_quoted_printable(body),
            _ if header.is_plain() => body.to_vec(),
            _ => return Ok(None),
        };
        let part = self.lua.create_table()?;
        part.raw_set("type", &*header.kind)?;
        part.raw_set("charset", &*header.charset)?;
        let given = self.lua.create_string(&decoded)?;
        let new = match self.function.call::<Value>((given, part))? {
            Value::String(text) if *text.as_bytes() == *decoded => return Ok(None),
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Nil => return Ok(None),
            other => {
                let wrong = messages::bad_edit(other.type_name());
                return Err(mlua::Error::runtime(wrong));
            }
        };
        self.changed += 1;
        self.held = self.held.saturating_add(new.len());
        self.nested.holds(self.held)?;
        Ok(Some(match &*header.encoding {
            "base64" => {
                let mut text = encode_base64(&new);
                if !body.ends_with(b"\n") {
                    text.truncate(text.trim_ascii_end().len());
                }
                text
            }
            "quoted-printable" => encode_quoted_printable(&new),
            _ => new,
        }))
    }
}

impl Header {
    fn read(head: &[u8]) -> Header {
        let mut header = Header {
            kind: "text/plain".to_owned(),
            ..Header::default()
        };
        for (name, value) in fields(head) {
            match &*name {
                "content-type" => {
                    let mut pieces = parameters(&value).into_iter();
                    if let Some((kind, _)) = pieces.next()
                        && kind.contains('/')
                    {
                        header.kind = kind;
                    }
                    for (name, value) in pieces {
                        match &*name {
                            "charset" => header.charset = value.to_ascii_lowercase(),
                            "boundary" => header.boundary = Some(value.into_bytes()),
                            _ => {}
                        }
                    }
                }
                "content-transfer-encoding" => {
                    header.encoding = value.trim().to_ascii_lowercase();
                }
                "content-disposition" => {
                    let kind = parameters(&value).into_iter().next();
                    header.attachment = kind.is_some_and(|(kind, _)| kind == "attachment");
                }
                _ => {}
            }
        }
        header
    }

    fn is_plain(&self) -> bool {
        matches!(&*self.encoding, "" | "7bit" | "8bit" | "binary")
    }
}

/// Fields by their name in lower case, unfolded.
fn fields(head: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in head.split(|&byte| byte == b'\n') {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    fields
}

/// `text/plain; charset="utf-8"`: the value in lower case, then its parameters.
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut quoted = false;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => piece.extend(chars.next()),
            ';' if !quoted => pieces.push(std::mem::take(&mut piece)),
            c => piece.push(c),
        }
    }
    pieces.push(piece);
    let split = |piece: &String| match piece.split_once('=') {
        Some((name, value)) => (name.trim().to_ascii_lowercase(), value.trim().to_owned()),
        None => (piece.trim().to_ascii_lowercase(), String::new()),
    };
    pieces.iter().map(split).collect()
}

/// Where the body begins; without an empty line there is a header alone.
fn body_start(entity: &[u8]) -> usize {
    let mut at = 0;
    while at < entity.len() {
        let end = line_end(entity, at);
        if matches!(&entity[at..end], b"\r\n" | b"\n") {
            return end;
        }
        at = end;
    }
    entity.len()
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    let found = bytes[from..].iter().position(|&byte| byte == b'\n');
    found.map_or(bytes.len(), |at| from + at + 1)
}

fn encode_base64(bytes: &[u8]) -> Vec<u8> {
    let whole = BASE64.encode(bytes);
    let mut text = Vec::with_capacity(whole.len() + whole.len() / 38 + 2);
    for line in whole.as_bytes().chunks(76) {
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text
}

fn decode_base64(text: &[u8]) -> Vec<u8> {
    let meaningful = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let end = text
        .iter()
        .position(|&byte| byte == b'=')
        .unwrap_or(text.len());
    let mut digits: Vec<u8> = text[..end].iter().filter(meaningful).copied().collect();
    if digits.len() % 4 == 1 {
        digits.pop();
    }
    BASE64.decode(digits).unwrap_or_default()
}

fn encode_quoted_printable(bytes: &[u8]) -> Vec<u8> {
    const LINE: usize = 76;
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut rest = bytes;
    let mut width = 0;
    while !rest.is_empty() {
        let end = line_end(rest, 0);
        let line = &rest[..end];
        let (content, newline) = match line.strip_suffix(b"\r\n") {
            Some(content) => (content, &b"\r\n"[..]),
            None => (line, &b""[..]),
        };
        let ends = !newline.is_empty() || end == rest.len();
        for (at, &byte) in content.iter().enumerate() {
            let last = ends && at + 1 == content.len();
            let plain = match byte {
                b'=' => false,
                b' ' | b'\t' => !last,
                byte => byte.is_ascii_graphic(),
            };
            let needs = if plain { 1 } else { 3 };
            let room = if last { LINE } else { LINE - 1 };
            if width + needs > room {
                text.extend_from_slice(b"=\r\n");
                width = 0;
            }
            match plain {
                true => text.push(byte),
                false => text.extend_from_slice(format!("={byte:02X}").as_bytes()),
            }
            width += needs;
        }
        text.extend_from_slice(newline);
        if !newline.is_empty() {
            width = 0;
        }
        rest = &rest[end..];
    }
    text
}

fn decode_quoted_printable(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        let byte = *text.get(at)?;
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at] != b'=' {
            bytes.push(text[at]);
            at += 1;
        } else if text[at + 1..].starts_with(b"\r\n") {
            at += 3;
        } else if text[at + 1..].starts_with(b"\n") {
            at += 2;
        } else if let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) {
            bytes.push(high * 16 + low);
            at += 3;
        } else {
            bytes.push(b'=');
            at += 1;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_undone() {
        let all: Vec<u8> = (0..=255).cycle().take(1000).collect();
        assert_eq!(decode_base64(&encode_base64(&all)), all);
        assert_eq!(decode_quoted_printable(&encode_quoted_printable(&all)), all);
        let lines = encode_quoted_printable(&all);
        assert!(
            lines
                .split(|&byte| byte == b'\n')
                .all(|line| line.len() <= 77)
        );
        assert_eq!(decode_base64(b"aGk=\r\n"), b"hi");
        assert_eq!(decode_base64(b"a G\r\nk"), b"hi");
        assert_eq!(decode_base64(b"a"), b"");
        assert_eq!(
            encode_quoted_printable(b"a = b \r\n.\xe9\r\n"),
            b"a =3D b=20\r\n.=E9\r\n"
        );
        assert_eq!(decode_quoted_printable(b"a=\r\nb=3d=zz="), b"ab==zz=");
    }

    #[test]
    fn headers_are_read() {
        let head = b"Content-Type: Text/HTML;\r\n charset=\"UTF-8\"; boundary=\"a;b\\\"c\"\r\n\
                     content-transfer-encoding: Base64\r\nContent-Disposition: attachment; filename=x\r\n\r\n";
        let header = Header::read(head);
        assert_eq!((&*header.kind, &*header.charset), ("text/html", "utf-8"));
        assert_eq!(header.boundary.as_deref(), Some(&b"a;b\"c"[..]));
        assert!(header.attachment && header.encoding == "base64");
        assert_eq!(Header::read(b"").kind, "text/plain");
    }
}
