//! POP3's grammar (RFC 1939, RFC 2449, RFC 5034), as far as it is spoken before login.

use crate::{messages, names::first_word, sasl::auth_arguments};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, tag_no_case, take_while1},
    combinator::{all_consuming, rest},
    sequence::{delimited, preceded},
};

/// A command of the client; arguments point into its line.
pub(crate) enum Command<'a> {
    User(&'a [u8]),
    /// The whole rest of the line: a password may hold blanks (RFC 1939 §7).
    Pass(&'a [u8]),
    /// `AUTH` alone lists mechanisms.
    Auth(Option<(&'a [u8], Option<&'a [u8]>)>),
    Capa,
    Stls,
    Quit,
    Apop,
    /// `UTF8` and `LANG` (RFC 6856); `true`: the answer has several lines.
    Language(bool),
    /// Known name, wrong arguments; the text says what is expected.
    Malformed(&'static str),
    Other,
}

/// Commands that ask for authentication or TLS: nothing that the server may see again.
pub(crate) const AUTHENTICATION: [&[u8]; 5] = [b"USER", b"PASS", b"AUTH", b"APOP", b"STLS"];

/// Reads a line without its CRLF.
pub(crate) fn command(line: &[u8]) -> Command<'_> {
    let name = first_word(line);
    let argument = line.get(name.len() + 1..);
    let is = |verb: &str| name.eq_ignore_ascii_case(verb.as_bytes());
    match argument {
        Some(user) if is("USER") && !user.is_empty() => Command::User(user),
        _ if is("USER") => Command::Malformed(messages::TAKES_NAME),
        Some(password) if is("PASS") => Command::Pass(password),
        _ if is("PASS") => Command::Malformed(messages::TAKES_PASSWORD),
        None | Some(b"") if is("AUTH") => Command::Auth(None),
        Some(argument) if is("AUTH") => match auth_arguments(argument) {
            Ok((_, arguments)) => Command::Auth(Some(arguments)),
            Err(_) => Command::Malformed(messages::TAKES_MECHANISM),
        },
        None if is("CAPA") => Command::Capa,
        None if is("STLS") => Command::Stls,
        None if is("QUIT") => Command::Quit,
        _ if is("APOP") => Command::Apop,
        None if is("UTF8") => Command::Language(false),
        argument if is("LANG") => Command::Language(argument.is_none()),
        _ if is("CAPA") || is("STLS") || is("QUIT") || is("UTF8") => {
            Command::Malformed(messages::NO_ARGUMENTS)
        }
        _ => Command::Other,
    }
}

/// Whether a positive answer to the command has several lines (RFC 1939, RFC 2449, RFC 6856).
pub(crate) fn has_lines(line: &[u8]) -> bool {
    let name = first_word(line);
    let is = |verb: &str| name.eq_ignore_ascii_case(verb.as_bytes());
    let bare = line.len() == name.len();
    is("CAPA") || is("RETR") || is("TOP") || (bare && (is("LIST") || is("UIDL") || is("LANG")))
}

/// A server's first line.
pub(crate) enum Reply<'a> {
    Ok,
    /// Extended code (RFC 2449 §8), text behind it.
    Err {
        code: Option<&'a [u8]>,
        text: &'a [u8],
    },
    /// `+ text`
    Continuation(&'a [u8]),
}

/// Reads a line without its CRLF; `None`: it is no reply.
pub(crate) fn reply(line: &[u8]) -> Option<Reply<'_>> {
    if status("+OK", line).is_ok() {
        return Some(Reply::Ok);
    }
    if let Ok((_, said)) = status("-ERR", line) {
        let code: IResult<&[u8], &[u8]> =
            delimited(tag("["), take_while1(|b| b != b']'), tag("]")).parse(said);
        return Some(match code {
            Ok((text, code)) => Reply::Err {
                code: Some(code),
                text: text.trim_ascii_start(),
            },
            Err(_) => Reply::Err {
                code: None,
                text: said,
            },
        });
    }
    line.strip_prefix(b"+")
        .map(|text| Reply::Continuation(text.trim_ascii_start()))
}

/// A status indicator and the text behind it.
fn status<'a>(indicator: &str, line: &'a [u8]) -> IResult<&'a [u8], &'a [u8]> {
    preceded(
        tag_no_case(indicator),
        alt((preceded(tag(" "), rest), all_consuming(tag("")))),
    )
    .parse(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_keep_their_blanks() {
        assert!(matches!(command(b"pass  a b "), Command::Pass(b" a b ")));
        assert!(matches!(command(b"USER u@x"), Command::User(b"u@x")));
        assert!(matches!(command(b"USER"), Command::Malformed(_)));
        assert!(matches!(command(b"PASS"), Command::Malformed(_)));
    }

    #[test]
    fn auth_has_three_forms() {
        assert!(matches!(command(b"AUTH"), Command::Auth(None)));
        assert!(matches!(
            command(b"AUTH PLAIN"),
            Command::Auth(Some((b"PLAIN", None)))
        ));
        assert!(matches!(
            command(b"auth plain AGEA"),
            Command::Auth(Some((b"plain", Some(b"AGEA"))))
        ));
        assert!(matches!(command(b"AUTH PLAIN a b"), Command::Malformed(_)));
    }

    #[test]
    fn replies_are_told_apart() {
        assert!(matches!(reply(b"+OK hi"), Some(Reply::Ok)));
        assert!(matches!(reply(b"+OK"), Some(Reply::Ok)));
        assert!(matches!(
            reply(b"+ YQ=="),
            Some(Reply::Continuation(b"YQ=="))
        ));
        assert!(matches!(reply(b"+"), Some(Reply::Continuation(b""))));
        assert!(matches!(
            reply(b"-ERR [IN-USE] busy"),
            Some(Reply::Err {
                code: Some(b"IN-USE"),
                text: b"busy"
            })
        ));
        assert!(matches!(
            reply(b"-ERR no"),
            Some(Reply::Err {
                code: None,
                text: b"no"
            })
        ));
        assert!(reply(b"-ERROR").is_none());
        assert!(reply(b"hello").is_none());
    }
}
