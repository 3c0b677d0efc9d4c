//! Which login names are possible at all.

use crate::messages::accounts as messages;
use std::fmt;

/// Longest login name, in bytes.
pub const MAX_LOGIN_NAME: usize = 320;

/// Why a login name cannot be an account's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadLoginName {
    /// More than [`MAX_LOGIN_NAME`] bytes.
    TooLong,
    /// A control character.
    Control,
    /// `[` or `]`, which no heading can hold.
    Bracket,
    /// Blanks at either end.
    OuterBlank,
    /// No `@`.
    NoAt,
    /// Nothing before the last `@`: the heading of a catch-all.
    NoLocalPart,
    /// Nothing behind the last `@`.
    NoDomain,
}

impl fmt::Display for BadLoginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadLoginName::TooLong => messages::NAME_TOO_LONG,
            BadLoginName::Control => messages::NAME_HOLDS_CONTROL,
            BadLoginName::Bracket => messages::NAME_HOLDS_BRACKET,
            BadLoginName::OuterBlank => messages::NAME_HAS_BLANKS,
            BadLoginName::NoAt => messages::NAME_WITHOUT_AT,
            BadLoginName::NoLocalPart => messages::NAME_WITHOUT_LOCAL_PART,
            BadLoginName::NoDomain => messages::NAME_WITHOUT_DOMAIN,
        })
    }
}

impl std::error::Error for BadLoginName {}

/// Whether an account can have this login name: a local part and a domain, at most 320 bytes, no control characters,
/// brackets or outer blanks; never a catch-all heading.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_login_name(login: &str) -> Result<(), BadLoginName> {
    if login.len() > MAX_LOGIN_NAME {
        return Err(BadLoginName::TooLong);
    }
    if login
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        return Err(BadLoginName::Control);
    }
    if login.contains(['[', ']']) {
        return Err(BadLoginName::Bracket);
    }
    if login.trim().len() != login.len() {
        return Err(BadLoginName::OuterBlank);
    }
    let (local, domain) = login.rsplit_once('@').ok_or(BadLoginName::NoAt)?;
    if local.is_empty() {
        return Err(BadLoginName::NoLocalPart);
    }
    if domain.is_empty() {
        return Err(BadLoginName::NoDomain);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        use BadLoginName::*;
        let long = format!("{}@d", "x".repeat(318));
        let longer = format!("{}@d", "x".repeat(319));
        let table: &[(&str, Result<(), BadLoginName>)] = &[
            ("alice@example.com", Ok(())),
            ("a b@example.com", Ok(())),
            ("shared@example.com@example.com", Ok(())),
            ("bücher@bücher.example", Ok(())),
            (&long, Ok(())),
            (&longer, Err(TooLong)),
            ("", Err(NoAt)),
            ("alice", Err(NoAt)),
            ("@", Err(NoLocalPart)),
            ("@example.com", Err(NoLocalPart)),
            ("alice@", Err(NoDomain)),
            ("alice@x\r\n", Err(Control)),
            ("al\0ice@x", Err(Control)),
            ("alice\u{1}@x", Err(Control)),
            ("alice\u{85}@x", Err(Control)),
            ("alice\u{2028}@x", Err(Control)),
            ("alice@[127.0.0.1]", Err(Bracket)),
            (" alice@x", Err(OuterBlank)),
            ("alice@x\u{a0}", Err(OuterBlank)),
        ];
        for (login, expected) in table {
            assert_eq!(check_login_name(login), *expected, "{login:?}");
        }
    }
}
