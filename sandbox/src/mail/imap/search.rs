//! SEARCH: the keys, and whether a message fits them (RFC 3501 §6.4.4). Text is compared as bytes, ignoring ASCII
//! letter case.

use super::command::{Arguments, Bad, Set};
use crate::mail::{mailbox::Message, mime};
use time::{
    Date, OffsetDateTime, format_description::well_known::Rfc2822, macros::format_description,
};

/// Depth of nested keys.
const MAX_DEPTH: usize = 20;

/// A search key.
pub(crate) enum Key {
    All(Vec<Key>),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    Flag(String),
    /// Recent: nothing is, here.
    Never,
    Sequence(Set),
    Uid(Set),
    Header(String, Vec<u8>),
    Body(Vec<u8>),
    Text(Vec<u8>),
    Larger(u32),
    Smaller(u32),
    Date {
        sent: bool,
        order: Order,
        date: Date,
    },
}

/// How a message's date stands to that of the key.
pub(crate) enum Order {
    Before,
    On,
    Since,
}

/// All keys of a command, CHARSET included.
pub(crate) fn keys(arguments: &mut Arguments<'_>) -> Result<Key, Bad> {
    if arguments.take(b"CHARSET ") || arguments.take(b"charset ") {
        let charset = arguments.astring()?;
        if !["UTF-8", "US-ASCII"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&charset))
        {
            return Err("[BADCHARSET (UTF-8 US-ASCII)] this character set is unknown");
        }
        arguments.space()?;
    }
    let key = several(arguments, 0)?;
    arguments.end()?;
    Ok(key)
}

fn several(arguments: &mut Arguments<'_>, depth: usize) -> Result<Key, Bad> {
    let mut keys = Vec::new();
    loop {
        keys.push(one(arguments, depth)?);
        if !arguments.take(b" ") {
            return Ok(Key::All(keys));
        }
    }
}

fn one(arguments: &mut Arguments<'_>, depth: usize) -> Result<Key, Bad> {
    if depth > MAX_DEPTH {
        return Err("these keys are nested too deeply");
    }
    if arguments.take(b"(") {
        let keys = several(arguments, depth + 1)?;
        arguments.expect(b")")?;
        return Ok(keys);
    }
    if arguments
        .peek()
        .is_some_and(|byte| byte.is_ascii_digit() || byte == b'*')
    {
        return Ok(Key::Sequence(arguments.set()?));
    }
    let name = arguments.atom()?.to_ascii_uppercase();
    let not = |key| Key::Not(Box::new(key));
    let flag = |name: &str| Key::Flag(name.into());
    let mut argument = |read: fn(&mut Arguments<'_>) -> Result<String, Bad>| {
        arguments.space()?;
        read(arguments)
    };
    let key = match name.as_str() {
        "ALL" | "OLD" => Key::All(Vec::new()),
        "ANSWERED" => flag("\\Answered"),
        "DELETED" => flag("\\Deleted"),
        "DRAFT" => flag("\\Draft"),
        "FLAGGED" => flag("\\Flagged"),
        "SEEN" => flag("\\Seen"),
        "UNANSWERED" => not(flag("\\Answered")),
        "UNDELETED" => not(flag("\\Deleted")),
        "UNDRAFT" => not(flag("\\Draft")),
        "UNFLAGGED" => not(flag("\\Flagged")),
        "UNSEEN" => not(flag("\\Seen")),
        "NEW" | "RECENT" => Key::Never,
        "KEYWORD" => Key::Flag(argument(|arguments| arguments.astring())?),
        "UNKEYWORD" => not(Key::Flag(argument(|arguments| arguments.astring())?)),
        "SUBJECT" | "FROM" | "TO" | "CC" | "BCC" => Key::Header(
            name.clone(),
            argument(|arguments| arguments.astring())?
                .to_ascii_lowercase()
                .into(),
        ),
        "HEADER" => {
            let field = argument(|arguments| arguments.astring())?;
            Key::Header(
                field,
                argument(|arguments| arguments.astring())?
                    .to_ascii_lowercase()
                    .into(),
            )
        }
        "BODY" => Key::Body(
            argument(|arguments| arguments.astring())?
                .to_ascii_lowercase()
                .into(),
        ),
        "TEXT" => Key::Text(
            argument(|arguments| arguments.astring())?
                .to_ascii_lowercase()
                .into(),
        ),
        "LARGER" | "SMALLER" => {
            arguments.space()?;
            let size = arguments.number()?;
            if name == "LARGER" {
                Key::Larger(size)
            } else {
                Key::Smaller(size)
            }
        }
        "UID" => {
            arguments.space()?;
            Key::Uid(arguments.set()?)
        }
        "BEFORE" | "ON" | "SINCE" | "SENTBEFORE" | "SENTON" | "SENTSINCE" => {
            let text = argument(|arguments| arguments.astring())?;
            let format = format_description!(
                "[day padding:none]-[month repr:short case_sensitive:false]-[year]"
            );
            let date = Date::parse(&text, format).map_err(|_| "this date is malformed")?;
            let (sent, order) = match name.strip_prefix("SENT") {
                Some(order) => (true, order),
                None => (false, name.as_str()),
            };
            let order = match order {
                "BEFORE" => Order::Before,
                "ON" => Order::On,
                _ => Order::Since,
            };
            Key::Date { sent, order, date }
        }
        "NOT" => {
            arguments.space()?;
            not(one(arguments, depth + 1)?)
        }
        "OR" => {
            arguments.space()?;
            let first = one(arguments, depth + 1)?;
            arguments.space()?;
            Key::Or(Box::new(first), Box::new(one(arguments, depth + 1)?))
        }
        _ => return Err("this search key is unknown"),
    };
    Ok(key)
}

/// Where a message stands among the others.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u32,
    pub(crate) largest_sequence: u32,
    pub(crate) largest_uid: u32,
}

impl Key {
    pub(crate) fn fits(&self, message: &Message, place: Place) -> bool {
        match self {
            Key::All(keys) => keys.iter().all(|key| key.fits(message, place)),
            Key::Not(key) => !key.fits(message, place),
            Key::Or(one, other) => one.fits(message, place) || other.fits(message, place),
            Key::Flag(flag) => message.has(flag),
            Key::Never => false,
            Key::Sequence(set) => set.contains(place.sequence, place.largest_sequence),
            Key::Uid(set) => set.contains(message.uid, place.largest_uid),
            Key::Header(name, text) => {
                mime::fields(mime::split(&message.bytes).0)
                    .into_iter()
                    .any(|(own, raw)| {
                        own.eq_ignore_ascii_case(name.as_bytes())
                            && contains(raw.get(own.len() + 1..).unwrap_or_default(), text)
                    })
            }
            Key::Body(text) => contains(mime::split(&message.bytes).1, text),
            Key::Text(text) => contains(&message.bytes, text),
            Key::Larger(size) => message.bytes.len() > *size as usize,
            Key::Smaller(size) => message.bytes.len() < *size as usize,
            Key::Date { sent, order, date } => {
                let own = if *sent {
                    let field = mime::field(mime::split(&message.bytes).0, "Date");
                    match field.and_then(|field| OffsetDateTime::parse(&field, &Rfc2822).ok()) {
                        Some(own) => own,
                        None => return false,
                    }
                } else {
                    message.date
                };
                match order {
                    Order::Before => own.date() < *date,
                    Order::On => own.date() == *date,
                    Order::Since => own.date() >= *date,
                }
            }
        }
    }
}

/// `text` is in lower case already.
fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty()
        || bytes.windows(text.len()).any(|window| {
            window[0].to_ascii_lowercase() == text[0]
                && window
                    .iter()
                    .zip(text)
                    .all(|(own, wanted)| own.to_ascii_lowercase() == *wanted)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(asked: &str) -> bool {
        let message = Message {
            uid: 40,
            flags: vec!["\\Seen".into(), "work".into()],
            date: time::macros::datetime!(2024-05-06 07:08 UTC),
            bytes:
                (&b"Subject: Big\r\n News\r\nDate: Wed, 01 May 2024 10:00:00 +0000\r\n\r\nthe Body"
                    [..])
                    .into(),
            change: 1,
        };
        let key = keys(&mut Arguments::new(asked.as_bytes()))
            .unwrap_or_else(|bad| panic!("{asked}: {bad}"));
        key.fits(
            &message,
            Place {
                sequence: 3,
                largest_sequence: 5,
                largest_uid: 99,
            },
        )
    }

    #[test]
    fn keys_and_messages() {
        for yes in [
            "ALL",
            "SEEN",
            "KEYWORD work",
            "UNDELETED",
            "SUBJECT news",
            "HEADER Subject \"BIG\"",
            "BODY body",
            "3",
            "1:4",
            "UID 40",
            "UID 30:*",
            "NOT 4",
            "OR DELETED SEEN",
            "(SEEN (NOT DRAFT))",
            "SINCE 6-May-2024",
            "ON 06-May-2024",
            "BEFORE 7-may-2024",
            "SENTON 1-May-2024",
            "LARGER 10",
            "CHARSET UTF-8 TEXT body",
            "HEADER Date \"\"",
            "SMALLER 5000 SEEN",
        ] {
            assert!(fits(yes), "{yes}");
        }
        for no in [
            "UNSEEN",
            "DELETED",
            "SEEN DELETED",
            "SUBJECT body",
            "BODY news",
            "UID 41",
            "*",
            "NEW",
            "SINCE 7-May-2024",
            "SENTSINCE 2-May-2024",
            "HEADER X-None \"\"",
            "SMALLER 10",
        ] {
            assert!(!fits(no), "{no}");
        }
        let deep = format!("{}SEEN", "NOT ".repeat(1_000));
        for wrong in [
            "",
            "NOPE",
            "SUBJECT",
            "OR SEEN",
            "(SEEN",
            "ON yesterday",
            "CHARSET KOI8-R ALL",
            &deep,
        ] {
            assert!(
                keys(&mut Arguments::new(wrong.as_bytes())).is_err(),
                "{wrong}"
            );
        }
    }
}
