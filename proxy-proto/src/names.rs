//! Commands' names, which are compared as all three protocols do: ASCII, whatever the letters' case.

use crate::frame::{Framed, Framer};

/// Everything up to the first blank: the name of a POP or SMTP command.
pub(crate) fn first_word(line: &[u8]) -> &[u8] {
    line.split(|&b| b == b' ').next().unwrap_or_default()
}

/// Whether this is one of the names.
pub(crate) fn is_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether this is the beginning of one of the names, or all of it.
pub(crate) fn may_become_one_of(name: &[u8], names: &[&[u8]]) -> bool {
    names
        .iter()
        .any(|known| known.len() >= name.len() && known[..name.len()].eq_ignore_ascii_case(name))
}

/// Whether a line of POP or SMTP among `held`, or its unfinished last one, is or may become one of `names`. Behind a
/// line that is one of `content` there are no commands.
pub(crate) fn may_hold_one_of(
    held: &[u8],
    limit: usize,
    names: &[&[u8]],
    content: &[&[u8]],
) -> bool {
    let mut rest = held;
    while !rest.is_empty() {
        match Framer::default().look(rest, limit, false) {
            Framed::Complete(len) => {
                let name = first_word(&rest[..len - 2]);
                if is_one_of(name, names) {
                    return true;
                }
                if is_one_of(name, content) {
                    return false;
                }
                rest = &rest[len..];
            }
            Framed::Broken(_) => return true, // looked at line by line, which ends the session there
            _ => {
                let line = rest.split(|&b| b == b'\r' || b == b'\n').next();
                return may_become_one_of(first_word(line.unwrap_or_default()), names);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case() {
        assert!(is_one_of(b"auth", &[b"USER", b"AUTH"]));
        assert!(!is_one_of(b"AUT", &[b"AUTH"]));
        assert!(may_become_one_of(b"au", &[b"AUTH"]) && may_become_one_of(b"", &[b"AUTH"]));
        assert!(!may_become_one_of(b"AUTHX", &[b"AUTH"]));
    }

    #[test]
    fn content_holds_no_commands() {
        let holds = |held: &[u8]| may_hold_one_of(held, 100, &[b"AUTH"], &[b"DATA"]);
        assert!(holds(b"NOOP\r\nAUTH x\r\n") && holds(b"NOOP\r\nau") && holds(b"NOOP\n"));
        assert!(!holds(b"DATA\r\nAUTH x\r\n") && !holds(b"NOOP\r\nMAIL") && !holds(b""));
    }
}
