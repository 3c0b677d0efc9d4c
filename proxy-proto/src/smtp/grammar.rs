//! SMTP's grammar (RFC 5321 §4.1, RFC 4954 §8), as far as it is spoken before login.

use crate::{messages, names::first_word, redact, sasl::auth_arguments};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, take_while_m_n},
    character::complete::digit1,
    combinator::{all_consuming, map, recognize, rest, verify},
    sequence::{preceded, terminated},
};

/// A command of the client; arguments point into its line.
pub(crate) enum Command<'a> {
    Ehlo(&'a [u8]),
    Helo(&'a [u8]),
    Auth {
        mechanism: &'a [u8],
        initial: Option<&'a [u8]>,
    },
    StartTls,
    /// NOOP, RSET, HELP: passed as they are.
    Pass,
    Quit,
    /// Known verb, wrong arguments; the text says what is expected.
    Malformed(&'static str),
    Other,
}

/// Commands that ask for authentication or TLS: nothing that the server may see again.
pub(crate) const AUTHENTICATION: [&[u8]; 2] = [b"AUTH", b"STARTTLS"];

/// Commands behind which a message's content follows, which is no commands.
pub(crate) const CONTENT: [&[u8]; 2] = [b"DATA", b"BDAT"];

/// Reads a line without its CRLF. Blanks at its end are ignored, as RFC 5321 §4.1.1 advises.
pub(crate) fn command(line: &[u8]) -> Command<'_> {
    let line = line.trim_ascii_end();
    let verb = first_word(line);
    let argument = line.get(verb.len() + 1..).map(<[u8]>::trim_ascii_start);
    let is = |name: &str| verb.eq_ignore_ascii_case(name.as_bytes());
    match argument {
        Some(name) if is("EHLO") && is_name(name) => Command::Ehlo(name),
        Some(name) if is("HELO") && is_name(name) => Command::Helo(name),
        _ if is("EHLO") || is("HELO") => Command::Malformed(messages::TAKES_HOST_NAME),
        Some(argument) if is("AUTH") => match auth_arguments(argument) {
            Ok((_, (mechanism, initial))) => Command::Auth { mechanism, initial },
            Err(_) => Command::Malformed(messages::TAKES_MECHANISM),
        },
        None if is("AUTH") => Command::Malformed(messages::TAKES_MECHANISM),
        None if is("STARTTLS") => Command::StartTls,
        _ if is("STARTTLS") => Command::Malformed(messages::NO_ARGUMENTS),
        _ if is("NOOP") || is("HELP") => Command::Pass,
        None if is("RSET") => Command::Pass,
        None if is("QUIT") => Command::Quit,
        _ if is("RSET") || is("QUIT") => Command::Malformed(messages::NO_ARGUMENTS),
        _ => Command::Other,
    }
}

/// A line of a reply.
pub(crate) struct ReplyLine<'a> {
    pub(crate) code: u16,
    /// The last line of its reply.
    pub(crate) last: bool,
    /// Behind the code and its separator.
    pub(crate) text: &'a [u8],
}

/// Reads a line without its CRLF; `None`: it is none.
pub(crate) fn reply_line(line: &[u8]) -> Option<ReplyLine<'_>> {
    let code = map(
        take_while_m_n(3, 3, |b: u8| b.is_ascii_digit()),
        |digits: &[u8]| digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0')),
    );
    let code = verify(code, |code| (200..600).contains(code));
    let end = alt((
        map(preceded(tag("-"), rest), |text| (false, text)),
        map(preceded(tag(" "), rest), |text| (true, text)),
        map(all_consuming(tag("")), |text| (true, text)),
    ));
    type Parsed<'a> = (u16, (bool, &'a [u8]));
    let parsed: IResult<&[u8], Parsed<'_>> = (code, end).parse(line);
    parsed
        .ok()
        .map(|(_, (code, (last, text)))| ReplyLine { code, last, text })
}

/// A reply's enhanced status code, and what its lines say together: RFC 2034 §4 has the code on each of them.
pub(crate) fn said(reply: &[u8]) -> (Option<&[u8]>, Vec<u8>) {
    let mut code = None;
    let mut said = Vec::new();
    for line in redact::lines(reply).filter_map(reply_line) {
        let (enhanced, text) = enhanced(line.text);
        code = code.or(enhanced);
        if !said.is_empty() {
            said.push(b' ');
        }
        said.extend_from_slice(text.trim_ascii());
    }
    (code, said)
}

/// The enhanced status code (RFC 2034) at a text's beginning, and what follows it.
fn enhanced(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let code: IResult<&[u8], &[u8]> = terminated(
        recognize((digit1, tag("."), digit1, tag("."), digit1)),
        alt((tag(" "), all_consuming(tag("")))),
    )
    .parse(text);
    match code {
        Ok((text, code)) => (Some(code), text),
        Err(_) => (None, text),
    }
}

/// A host name or address literal, and what clients send for one.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 512 && name.iter().all(|&b| b >= 0x20 && b != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart() {
        assert!(matches!(
            command(b"ehlo [127.0.0.1]"),
            Command::Ehlo(b"[127.0.0.1]")
        ));
        assert!(matches!(command(b"HELO a "), Command::Helo(b"a")));
        assert!(matches!(command(b"EHLO"), Command::Malformed(_)));
        assert!(matches!(
            command(b"AUTH PLAIN"),
            Command::Auth {
                mechanism: b"PLAIN",
                initial: None
            }
        ));
        assert!(matches!(
            command(b"auth login dQ=="),
            Command::Auth {
                mechanism: b"login",
                initial: Some(b"dQ==")
            }
        ));
        assert!(matches!(command(b"AUTH PLAIN a b"), Command::Malformed(_)));
        assert!(matches!(command(b"MAIL FROM:<a@b>"), Command::Other));
        assert!(matches!(command(b"NOOP x"), Command::Pass));
        assert!(matches!(command(b""), Command::Other));
    }

    #[test]
    fn reply_lines_are_read() {
        assert!(
            reply_line(b"250-SIZE 1")
                .is_some_and(|l| l.code == 250 && !l.last && l.text == b"SIZE 1")
        );
        assert!(reply_line(b"250").is_some_and(|l| l.last && l.text.is_empty()));
        assert!(
            reply_line(b"25 x").is_none()
                && reply_line(b"2500 x").is_none()
                && reply_line(b"99a").is_none()
        );
    }

    #[test]
    fn enhanced_codes_are_read() {
        assert_eq!(
            enhanced(b"5.7.139 disabled"),
            (Some(&b"5.7.139"[..]), &b"disabled"[..])
        );
        assert_eq!(enhanced(b"5.7 x"), (None, &b"5.7 x"[..]));
        assert_eq!(enhanced(b"no"), (None, &b"no"[..]));
    }

    #[test]
    fn lines_are_read_together() {
        assert_eq!(
            said(b"535-5.7.8 Not accepted. See\r\n535 5.7.8  https://example.com\r\n"),
            (
                Some(&b"5.7.8"[..]),
                b"Not accepted. See https://example.com".to_vec()
            )
        );
        assert_eq!(said(b"454\r\n"), (None, Vec::new()));
    }
}
