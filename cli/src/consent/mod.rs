//! How a user is asked for permission.
//!
//! [`Front`] announces each consent and puts it into the list of those that wait ([`Waiting`]). It is answered by the [`Receiver`],
//! which catches the browser's final redirect on this machine, or through the list: by an address that is pasted at the
//! [`Terminal`], in the web console, or over the control channel. Several that wait at the same time are told apart by `state`. A
//! device code is in the list too; the provider knows when it has been entered.

pub(crate) mod address;
mod browser;
mod front;
mod notify;
mod page;
mod program;
mod qr;
mod receiver;
mod terminal;
mod waiting;

pub use front::{Announce, Announcement, Front, Way};
pub use program::words;
pub use qr::qr_svg;
pub use receiver::Receiver;
pub use terminal::Terminal;
pub use waiting::{Ask, Attendance, Waiting, WaitingConsent};

use crate::messages::consent as texts;
use oauth::consent::Who;
use proxy_proto::Secret;
use subtle::ConstantTimeEq;

/// The value of a query's only parameter of that name; `None` where it is absent, empty or given twice.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    let (_, value) = values.next()?;
    (values.next().is_none() && !value.is_empty()).then(|| value.into_owned())
}

/// Whether the query carries an answer of a provider: a code or an error (RFC 6749 §4.1.2).
fn is_answer(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "code" || key == "error")
}

/// The one of those who wait that this `state` belongs to. All are compared, each in constant time.
fn belonging_to<'a>(states: impl Iterator<Item = &'a Secret>, given: &str) -> Option<usize> {
    let mut found = None;
    for (index, state) in states.enumerate() {
        if bool::from(state.expose().as_bytes().ct_eq(given.as_bytes())) {
            found = Some(index);
        }
    }
    found
}

/// What every surface says about a login that waits: where it comes from, and whether its password is a new one.
pub(crate) fn circumstances(who: &Who) -> String {
    let text = match who.client {
        Some(client) if who.user != who.account => texts::login_as(&who.user, client),
        Some(client) => texts::login_from(client),
        None => texts::AT_COMMAND_LINE.to_owned(),
    };
    match who.password_differs {
        true => texts::with_another_password(text),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_given_twice_is_none() {
        assert_eq!(
            parameter("code=a&state=b%20c", "state").as_deref(),
            Some("b c")
        );
        for query in ["state=a&state=b", "state=", "estate=x", ""] {
            assert_eq!(parameter(query, "state"), None, "{query}");
        }
    }

    #[test]
    fn the_owner_of_a_state_is_found_among_several() {
        let states = ["first", "second", "third"].map(Secret::new);
        assert_eq!(belonging_to(states.iter(), "second"), Some(1));
        for wrong in ["", "secon", "second ", "Second"] {
            assert_eq!(belonging_to(states.iter(), wrong), None, "{wrong:?}");
        }
    }
}
