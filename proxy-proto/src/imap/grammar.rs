//! IMAP's grammar (RFC 3501 §9, RFC 9051 §9), as far as it is spoken before login.
//!
//! Everything here is shown complete frames only: literals are in place, CRLF is at the end.

use crate::{
    messages,
    names::{is_one_of, may_become_one_of},
};
use nom::{
    IResult, Parser,
    branch::alt,
    bytes::complete::{tag, tag_no_case, take, take_while, take_while1},
    character::complete::digit1,
    combinator::{all_consuming, map, opt, rest, verify},
    sequence::{delimited, preceded, terminated},
};
use std::borrow::Cow;
use zeroize::Zeroizing;

/// A command of the client.
pub(crate) enum Command<'a> {
    Login {
        user: Octets,
        password: Octets,
    },
    Authenticate {
        mechanism: &'a [u8],
        initial: Option<&'a [u8]>,
    },
    Capability,
    Noop,
    Id,
    Logout,
    StartTls,
    /// Known verb, wrong arguments; the text says what is expected.
    Malformed(&'static str),
    Other,
}

/// The tag and verb of a frame; the verb may be cut where the frame is not complete yet.
pub(crate) struct Head<'a> {
    pub(crate) tag: &'a [u8],
    pub(crate) verb: &'a [u8],
    /// The verb is followed by something: it is whole.
    pub(crate) whole: bool,
}

/// The head of a command, from as many of its bytes as there are; `None`: there is no tag and verb.
pub(crate) fn head(bytes: &[u8]) -> Option<Head<'_>> {
    let (rest, tag) = command_tag(bytes).ok()?;
    let rest = rest.strip_prefix(b" ")?;
    let len = rest.iter().position(|&b| !is_verb(b)).unwrap_or(rest.len());
    (len > 0).then(|| Head {
        tag,
        verb: &rest[..len],
        whole: len < rest.len(),
    })
}

/// The head of what a server may take for a command although its tag is none, for whoever must not let a login through:
/// any word before the verb, any spaces around it, and the verb in the tag's place.
pub(crate) fn loose_head(bytes: &[u8]) -> Option<Head<'_>> {
    let strict = head(bytes);
    let forgotten = |h: &Head<'_>| is_authentication(h.tag) && !is_known(h.verb);
    if strict.as_ref().is_some_and(|h| !forgotten(h)) {
        return strict;
    }
    let line = bytes.split(|b| b"\r\n".contains(b)).next().unwrap_or(bytes);
    let word = |from: usize| {
        let start = from + line[from..].iter().position(|&b| b != b' ')?;
        let len = line[start..].iter().position(|&b| b == b' ');
        Some(start..len.map_or(line.len(), |len| start + len))
    };
    let first = word(0)?;
    let whole = |end: usize| end < bytes.len();
    if is_authentication(&line[first.clone()]) && whole(first.end) {
        return Some(Head {
            tag: b"*",
            verb: &line[first.clone()],
            whole: true,
        });
    }
    let second = word(first.end)?;
    Some(Head {
        tag: b"*",
        whole: whole(second.end),
        verb: &line[second],
    })
}

/// A whole command behind its tag: `None` where there is no tag and verb.
pub(crate) fn command(frame: &[u8]) -> Option<(&[u8], Command<'_>)> {
    let head = head(frame)?;
    let line = frame.strip_suffix(b"\r\n").unwrap_or(frame);
    let arguments = &line[head.tag.len() + 1 + head.verb.len()..];
    let bare = arguments.is_empty();
    let is = |name: &str| head.verb.eq_ignore_ascii_case(name.as_bytes());
    let without_arguments = |command| {
        if bare {
            command
        } else {
            Command::Malformed(messages::NO_ARGUMENTS)
        }
    };
    let command = if is("LOGIN") {
        match login_arguments(arguments) {
            Ok((_, (user, password))) => Command::Login { user, password },
            Err(_) => Command::Malformed(messages::TAKES_NAME_AND_PASSWORD),
        }
    } else if is("AUTHENTICATE") {
        match authenticate_arguments(arguments) {
            Ok((_, (mechanism, initial))) => Command::Authenticate { mechanism, initial },
            Err(_) => Command::Malformed(messages::TAKES_MECHANISM),
        }
    } else if is("CAPABILITY") {
        without_arguments(Command::Capability)
    } else if is("NOOP") {
        without_arguments(Command::Noop)
    } else if is("LOGOUT") {
        without_arguments(Command::Logout)
    } else if is("STARTTLS") {
        without_arguments(Command::StartTls)
    } else if is("ID") {
        if bare {
            Command::Malformed(messages::TAKES_PARAMETERS)
        } else {
            Command::Id
        }
    } else {
        Command::Other
    };
    Some((head.tag, command))
}

type Octets = Zeroizing<Vec<u8>>;

/// `login = "LOGIN" SP userid SP password`
fn login_arguments(bytes: &[u8]) -> IResult<&[u8], (Octets, Octets)> {
    all_consuming((preceded(tag(" "), astring), preceded(tag(" "), astring))).parse(bytes)
}

/// A mechanism and, perhaps, an initial response.
type Arguments<'a> = (&'a [u8], Option<&'a [u8]>);

/// `authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]` (RFC 4959)
fn authenticate_arguments(bytes: &[u8]) -> IResult<&[u8], Arguments<'_>> {
    all_consuming((
        preceded(tag(" "), take_while1(is_atom)),
        opt(preceded(tag(" "), take_while1(is_word))),
    ))
    .parse(bytes)
}

/// Commands that ask for authentication or TLS: nothing that the server may see again.
const AUTHENTICATION: [&[u8]; 3] = [b"LOGIN", b"AUTHENTICATE", b"STARTTLS"];

/// Whether the verb asks for authentication or TLS.
pub(crate) fn is_authentication(verb: &[u8]) -> bool {
    is_one_of(verb, &AUTHENTICATION)
}

/// Whether the beginning of a verb may still become one that [`is_authentication`].
pub(crate) fn may_become_authentication(verb: &[u8]) -> bool {
    may_become_one_of(verb, &AUTHENTICATION)
}

/// Commands of the authenticated state, and of extensions that clients try early.
pub(crate) fn is_known(verb: &[u8]) -> bool {
    let known: [&[u8]; 26] = [
        b"SELECT",
        b"EXAMINE",
        b"CREATE",
        b"DELETE",
        b"RENAME",
        b"SUBSCRIBE",
        b"UNSUBSCRIBE",
        b"LIST",
        b"LSUB",
        b"XLIST",
        b"NAMESPACE",
        b"STATUS",
        b"APPEND",
        b"CHECK",
        b"CLOSE",
        b"UNSELECT",
        b"EXPUNGE",
        b"SEARCH",
        b"FETCH",
        b"STORE",
        b"COPY",
        b"MOVE",
        b"UID",
        b"IDLE",
        b"ENABLE",
        b"COMPRESS",
    ];
    is_one_of(verb, &known)
}

/// A response of the server.
pub(crate) enum Response<'a> {
    /// `+ text`
    Continuation(&'a [u8]),
    /// `* OK`, `* NO`, `* BAD`, `* BYE`, `* PREAUTH`
    Condition {
        status: Status,
        code: Option<&'a [u8]>,
        text: &'a [u8],
    },
    /// `* CAPABILITY …`; the list.
    Capability(&'a [u8]),
    /// Any other untagged response.
    Data,
    /// `tag OK`, `tag NO`, `tag BAD`
    Tagged {
        tag: &'a [u8],
        status: Status,
        code: Option<&'a [u8]>,
        text: &'a [u8],
    },
}

/// A status response's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    No,
    Bad,
    Bye,
    PreAuth,
}

/// A whole response; `None`: it is none.
pub(crate) fn response(frame: &[u8]) -> Option<Response<'_>> {
    let line = frame.strip_suffix(b"\r\n").unwrap_or(frame);
    if let Some(text) = line.strip_prefix(b"+") {
        return Some(Response::Continuation(
            text.strip_prefix(b" ").unwrap_or(text),
        ));
    }
    if let Some(data) = line.strip_prefix(b"* ") {
        if let Ok((_, list)) = capability_data(data) {
            return Some(Response::Capability(list));
        }
        return Some(match condition(data) {
            Ok((_, (status, code, text))) => Response::Condition { status, code, text },
            Err(_) => Response::Data,
        });
    }
    let (_, (tag, (status, code, text))) = (terminated(command_tag, tag(" ")), condition)
        .parse(line)
        .ok()?;
    let tagged = matches!(status, Status::Ok | Status::No | Status::Bad);
    tagged.then_some(Response::Tagged {
        tag,
        status,
        code,
        text,
    })
}

/// Whether a response is of the kind that has literals: untagged data. `resp-text` is text to its end.
pub(crate) fn may_hold_literals(frame: &[u8]) -> bool {
    matches!(response(frame), Some(Response::Data))
}

/// The list in a `CAPABILITY …` response code; `None`: another code.
pub(crate) fn capability_code(code: &[u8]) -> Option<&[u8]> {
    capability_data(code).ok().map(|(_, list)| list)
}

/// The names in a capability list.
pub(crate) fn capabilities(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&b| b == b' ').filter(|name| !name.is_empty())
}

fn capability_data(data: &[u8]) -> IResult<&[u8], &[u8]> {
    preceded(
        tag_no_case("CAPABILITY"),
        alt((
            preceded(tag(" "), rest),
            verify(rest, |r: &[u8]| r.is_empty()),
        )),
    )
    .parse(data)
}

/// `resp-cond-state`: status, `[code]`, text.
#[allow(clippy::type_complexity)] // nom's own shape
fn condition(data: &[u8]) -> IResult<&[u8], (Status, Option<&[u8]>, &[u8])> {
    let status = alt((
        map(tag_no_case("OK"), |_| Status::Ok),
        map(tag_no_case("NO"), |_| Status::No),
        map(tag_no_case("BAD"), |_| Status::Bad),
        map(tag_no_case("BYE"), |_| Status::Bye),
        map(tag_no_case("PREAUTH"), |_| Status::PreAuth),
    ));
    let code = delimited(tag("["), take_while1(|b| b != b']'), tag("]"));
    let text = (
        opt(code),
        map(rest, |text: &[u8]| text.strip_prefix(b" ").unwrap_or(text)),
    );
    let nothing = map(verify(rest, |r: &[u8]| r.is_empty()), |r| (None, r));
    (status, alt((preceded(tag(" "), text), nothing)))
        .parse(data)
        .map(|(rest, (status, (code, text)))| (rest, (status, code, text)))
}

/// `tag = 1*<any ASTRING-CHAR except "+">`; a tag of `*` would be taken for an untagged response.
fn command_tag(bytes: &[u8]) -> IResult<&[u8], &[u8]> {
    verify(
        take_while1(|b| (is_atom(b) || b == b']') && b != b'+'),
        |tag: &[u8]| tag.len() <= 256,
    )
    .parse(bytes)
}

/// `ATOM-CHAR`.
fn is_atom(b: u8) -> bool {
    (0x21..=0x7e).contains(&b) && !br#"(){%*"\]"#.contains(&b)
}

fn is_verb(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'.'
}

fn is_word(b: u8) -> bool {
    // What is no base64 is told to the client by its decoder; here only the word's end matters.
    b > 0x20 && b != 0x7f
}

/// `astring`, and what clients send for one: a password with special characters that was not quoted.
fn astring(bytes: &[u8]) -> IResult<&[u8], Octets> {
    let lenient_atom = map(
        verify(take_while1(|b| b > 0x20 && b != 0x7f), |atom: &[u8]| {
            !matches!(atom[0], b'"' | b'{')
        }),
        |atom: &[u8]| Zeroizing::new(atom.to_vec()),
    );
    alt((quoted, literal, lenient_atom)).parse(bytes)
}

/// A quoted string; `\"` and `\\` are the only escapes.
fn quoted(bytes: &[u8]) -> IResult<&[u8], Octets> {
    let (mut bytes, _) = tag("\"").parse(bytes)?;
    let mut text = Zeroizing::new(Vec::new());
    loop {
        let (after, plain): (_, &[u8]) =
            take_while(|b| b != b'"' && b != b'\\' && b != b'\r' && b != b'\n' && b != 0)
                .parse(bytes)?;
        text.extend_from_slice(plain);
        let (after, mark) = alt((tag("\""), tag("\\\""), tag("\\\\"))).parse(after)?;
        match mark {
            b"\"" => return Ok((after, text)),
            escaped => text.push(escaped[1]),
        }
        bytes = after;
    }
}

/// A literal whose bytes are in place.
fn literal(bytes: &[u8]) -> IResult<&[u8], Octets> {
    let (bytes, digits) =
        delimited(tag("{"), digit1, (opt(tag("+")), tag("}\r\n"))).parse(bytes)?;
    let len = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse::<usize>().ok())
        .unwrap_or(usize::MAX);
    map(take(len), |octets: &[u8]| Zeroizing::new(octets.to_vec())).parse(bytes)
}

/// Splits an ID command at its literals: each part but the last ends with the announcing line, which asks to go on.
/// A server that does not know `{n+}` would take the octets for commands.
pub(crate) fn parts(frame: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    // Where the next part begins, and where its first line does: behind the octets that the last part announced.
    let mut next = Some((0, 0));
    std::iter::from_fn(move || {
        let (start, mut at) = next.take()?;
        while let Some(end) = find_crlf(&frame[at..]).map(|n| at + n + 2) {
            let Ok((_, (len, synchronising))) = line_literal(&frame[at..end - 2]) else {
                at = end;
                continue;
            };
            next = Some((end, end.saturating_add(len).min(frame.len())));
            let part = &frame[start..end];
            return Some(match part.strip_suffix(b"+}\r\n") {
                Some(announcement) if !synchronising => [announcement, b"}\r\n"].concat().into(),
                _ => part.into(),
            });
        }
        Some(frame[start..].into())
    })
}

fn line_literal(line: &[u8]) -> IResult<&[u8], (usize, bool)> {
    let open = line.iter().rposition(|&b| b == b'{').unwrap_or(line.len());
    let (rest, (digits, plus)) =
        all_consuming(delimited(tag("{"), (digit1, opt(tag("+"))), tag("}")))
            .parse(&line[open..])?;
    let len = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse().ok())
        .unwrap_or(usize::MAX);
    Ok((rest, (len, plus.is_none())))
}

fn find_crlf(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(frame: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        match command(frame)?.1 {
            Command::Login { user, password } => Some((user.to_vec(), password.to_vec())),
            _ => None,
        }
    }

    fn pair(user: &[u8], password: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((user.to_vec(), password.to_vec()))
    }

    #[test]
    fn login_takes_every_kind_of_string() {
        assert_eq!(login(b"a LOGIN u@x p\r\n"), pair(b"u@x", b"p"));
        assert_eq!(
            login(br#"a login "u" "a\"b\\c {3}""#),
            pair(b"u", br#"a"b\c {3}"#)
        );
        assert_eq!(
            login(b"a LOGIN {3}\r\nu\r\n {2+}\r\n\r\n\r\n"),
            pair(b"u\r\n", b"\r\n")
        );
        assert_eq!(login(b"a LOGIN u {0}\r\n\r\n"), pair(b"u", b""));
        assert_eq!(login(b"a LOGIN u \"\"\r\n"), pair(b"u", b""));
        assert_eq!(login(b"a LOGIN u p(*)%\r\n"), pair(b"u", b"p(*)%"));
    }

    #[test]
    fn login_takes_exactly_two_arguments() {
        for frame in [
            &b"a LOGIN\r\n"[..],
            b"a LOGIN u\r\n",
            b"a LOGIN u p q\r\n",
            b"a LOGIN u  p\r\n",
            b"a LOGIN u p \r\n",
            b"a LOGIN \"u p\r\n",
            b"a LOGIN u \"a\\b\"\r\n",
            b"a LOGIN u {9}\r\nabc\r\n",
        ] {
            assert!(
                matches!(command(frame), Some((b"a", Command::Malformed(_)))),
                "{frame:?}"
            );
        }
    }

    #[test]
    fn responses_are_told_apart() {
        assert!(matches!(
            response(b"+ \r\n"),
            Some(Response::Continuation(b""))
        ));
        assert!(matches!(
            response(b"+\r\n"),
            Some(Response::Continuation(b""))
        ));
        assert!(matches!(
            response(b"* CAPABILITY IMAP4rev1 ID\r\n"),
            Some(Response::Capability(b"IMAP4rev1 ID"))
        ));
        assert!(matches!(
            response(b"* OK [CAPABILITY A B] hi\r\n"),
            Some(Response::Condition {
                status: Status::Ok,
                code: Some(b"CAPABILITY A B"),
                text: b"hi"
            })
        ));
        assert!(matches!(response(b"* OKAY\r\n"), Some(Response::Data)));
        assert!(matches!(response(b"* 3 EXISTS\r\n"), Some(Response::Data)));
        assert!(matches!(
            response(b"A1 NO [X Y] z\r\n"),
            Some(Response::Tagged {
                tag: b"A1",
                status: Status::No,
                code: Some(b"X Y"),
                text: b"z"
            })
        ));
        assert!(matches!(
            response(b"A1 OK\r\n"),
            Some(Response::Tagged {
                code: None,
                text: b"",
                ..
            })
        ));
        assert!(response(b"A1 BYE x\r\n").is_none());
        assert!(response(b"garbage\r\n").is_none());
    }

    #[test]
    fn verbs_may_be_cut() {
        assert!(head(b"a LOGI").is_some_and(|h| !h.whole && may_become_authentication(h.verb)));
        assert!(head(b"a LOGIC").is_some_and(|h| !may_become_authentication(h.verb)));
        assert!(head(b"a login x").is_some_and(|h| h.whole && is_authentication(h.verb)));
        assert!(
            head(b"a").is_none()
                && head(b"a ").is_none()
                && head(b" x").is_none()
                && head(b"* OK").is_none()
        );
    }

    #[test]
    fn id_is_split_at_its_literals() {
        let frame = b"a ID (\"name\" {3}\r\nabc \"v\" {1+}\r\nx)\r\n";
        let parts: Vec<_> = parts(frame).collect();
        let expected = [
            &b"a ID (\"name\" {3}\r\n"[..],
            b"abc \"v\" {1}\r\n",
            b"x)\r\n",
        ];
        assert_eq!(parts, expected);
    }
}
