//! Capability lists, rebuilt from what was parsed: the client is offered what the proxy serves.

use super::grammar;
use crate::{core::ClientMay, sasl::Offered};

/// What matters of a server's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) offered: Offered,
    pub(crate) sasl_ir: bool,
    pub(crate) starttls: bool,
}

impl Capabilities {
    pub(crate) fn parse(list: &[u8]) -> Self {
        let mut found = Capabilities::default();
        for name in grammar::capabilities(list) {
            if let Some(mechanism) = authentication(name) {
                found.offered.note(mechanism);
            }
            found.sasl_ir |= name.eq_ignore_ascii_case(b"SASL-IR");
            found.starttls |= name.eq_ignore_ascii_case(b"STARTTLS");
        }
        found
    }
}

/// The server's list as the client is to see it: other capabilities kept in their order, what concerns
/// authentication and TLS replaced by what the proxy does.
pub(crate) fn rebuild(list: &[u8], client: ClientMay) -> Vec<u8> {
    let mut rebuilt = Vec::with_capacity(list.len() + 32);
    let mut add = |name: &[u8]| {
        if !rebuilt.is_empty() {
            rebuilt.push(b' ');
        }
        rebuilt.extend_from_slice(name);
    };
    let ours = [&b"SASL-IR"[..], b"LOGINDISABLED", b"STARTTLS"];
    for name in grammar::capabilities(list) {
        let replaced =
            authentication(name).is_some() || ours.iter().any(|our| name.eq_ignore_ascii_case(our));
        if !replaced {
            add(name);
        }
    }
    if client.login {
        add(b"SASL-IR");
        add(b"AUTH=PLAIN");
    } else {
        add(b"LOGINDISABLED");
    }
    if client.starttls {
        add(b"STARTTLS");
    }
    rebuilt
}

/// The mechanism of an `AUTH=` capability.
fn authentication(name: &[u8]) -> Option<&[u8]> {
    let (prefix, mechanism) = name.split_at_checked(5)?;
    prefix.eq_ignore_ascii_case(b"AUTH=").then_some(mechanism)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GMAIL: &[u8] =
        b"IMAP4rev1 UNSELECT AUTH=XOAUTH2 sasl-ir auth=OAUTHBEARER LOGINDISABLED ID";

    #[test]
    fn lists_are_rebuilt_for_the_client() {
        let open = ClientMay {
            login: true,
            starttls: false,
        };
        assert_eq!(
            rebuild(GMAIL, open),
            b"IMAP4rev1 UNSELECT ID SASL-IR AUTH=PLAIN"
        );
        let before_tls = ClientMay {
            login: false,
            starttls: true,
        };
        assert_eq!(
            rebuild(GMAIL, before_tls),
            b"IMAP4rev1 UNSELECT ID LOGINDISABLED STARTTLS"
        );
        let optional = ClientMay {
            login: true,
            starttls: true,
        };
        assert_eq!(
            rebuild(b"IMAP4rev1 STARTTLS", optional),
            b"IMAP4rev1 SASL-IR AUTH=PLAIN STARTTLS"
        );
    }

    #[test]
    fn what_the_server_offers_is_noted() {
        let found = Capabilities::parse(GMAIL);
        assert!(
            found.sasl_ir && found.offered.xoauth2 && found.offered.oauthbearer && !found.starttls
        );
    }
}
