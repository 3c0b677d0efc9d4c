//! XOAUTH2 and OAUTHBEARER, the server's side.

use super::wire::Wire;
use crate::{Mechanism, Protocol};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;
use std::sync::Arc;

/// What becomes of credentials.
pub(crate) enum Verdict {
    /// Logged in as this account.
    Accepted(Arc<str>),
    /// Refused: this challenge (base64), the client's answer to it, then the protocol's refusal.
    Refused(String),
    /// `*`.
    Cancelled,
    /// Not base64, or not what the mechanism sends.
    Malformed,
    /// Final line as ordered.
    Ordered(Arc<str>),
    /// Close as ordered.
    Close,
}

/// The mechanism of this name, when it is offered on this connection.
pub(crate) fn mechanism(wire: &Wire, name: &str) -> Option<Mechanism> {
    wire.behaviour()
        .mechanisms
        .into_iter()
        .find(|own| own.name().eq_ignore_ascii_case(name))
}

/// Names of what is offered, in order; none while credentials are not allowed.
pub(crate) fn offered(wire: &Wire) -> Vec<&'static str> {
    if !wire.allows_auth() {
        return Vec::new();
    }
    wire.behaviour()
        .mechanisms
        .into_iter()
        .map(Mechanism::name)
        .collect()
}

/// Judges a client's response as it stands on the wire.
pub(crate) fn judge(wire: &Wire, mechanism: Mechanism, response: &[u8]) -> Verdict {
    if response == b"*" {
        return Verdict::Cancelled;
    }
    {
        let mut behaviour = wire.shared.behaviour();
        let behaviour = behaviour.of(wire.protocol());
        if behaviour.take_close() {
            return Verdict::Close;
        }
        if let Some(line) = behaviour.take_answer() {
            return Verdict::Ordered(line);
        }
    }
    let Some((user, token)) = BASE64_STANDARD
        .decode(response)
        .ok()
        .and_then(|decoded| String::from_utf8(decoded).ok())
        .and_then(|decoded| parse(mechanism, &decoded))
    else {
        return Verdict::Malformed;
    };
    match wire
        .shared
        .provider()
        .bearer(&token, &user, wire.protocol())
    {
        Ok(user) => Verdict::Accepted(user),
        Err(reason) => Verdict::Refused(challenge(wire, mechanism, reason)),
    }
}

/// What the client answers to the challenge of a refusal.
pub(crate) fn is_acknowledgement(mechanism: Mechanism, line: &[u8]) -> bool {
    match mechanism {
        Mechanism::XOAuth2 => line.is_empty(),
        // RFC 7628 §3.2.3: a single 0x01.
        Mechanism::OAuthBearer => line == b"AQ==",
    }
}

fn challenge(wire: &Wire, mechanism: Mechanism, reason: &str) -> String {
    let scope = match wire.protocol() {
        Protocol::Imap => "mail.imap",
        Protocol::Pop => "mail.pop",
        Protocol::Smtp => "mail.smtp",
    };
    let json = match mechanism {
        Mechanism::XOAuth2 => json!({"status": "401", "schemes": "bearer", "scope": scope}),
        Mechanism::OAuthBearer => json!({
            "status": "invalid_token",
            "scope": scope,
            "error_description": reason,
            "openid-configuration":
                format!("{}/.well-known/oauth-authorization-server", wire.shared.provider_url),
        }),
    };
    BASE64_STANDARD.encode(json.to_string())
}

/// User and token of a decoded response.
fn parse(mechanism: Mechanism, decoded: &str) -> Option<(String, String)> {
    let (user, pairs) = match mechanism {
        Mechanism::XOAuth2 => {
            let (user, pairs) = decoded.strip_prefix("user=")?.split_once('\x01')?;
            (user.to_owned(), pairs)
        }
        Mechanism::OAuthBearer => {
            let (header, pairs) = decoded.split_once('\x01')?;
            let name = header.strip_prefix("n,a=")?.strip_suffix(',')?;
            (saslname(name)?, pairs)
        }
    };
    let pairs = pairs.strip_suffix("\x01\x01")?;
    let mut token = None;
    for pair in pairs.split('\x01') {
        let (key, value) = pair.split_once('=')?;
        match (mechanism, key) {
            (_, "auth") if token.is_none() => token = Some(bearer(value)?.to_owned()),
            (Mechanism::OAuthBearer, "host" | "port") => {}
            _ => return None,
        }
    }
    (!user.is_empty()).then_some((user, token?))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let good = scheme.eq_ignore_ascii_case("bearer")
        && !token.is_empty()
        && token.bytes().all(|b| b.is_ascii_graphic());
    good.then_some(token)
}

/// Undoes `=2C` and `=3D` (RFC 5801 §4); a bare `,` or `=` is an error.
fn saslname(name: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = name;
    while let Some((plain, escaped)) = rest.split_once('=') {
        out.push_str(plain);
        out.push(match escaped.get(..2)? {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        rest = &escaped[2..];
    }
    out.push_str(rest);
    (!name.contains(',')).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_taken_apart() {
        let x = |text: &str| parse(Mechanism::XOAuth2, text);
        let o = |text: &str| parse(Mechanism::OAuthBearer, text);
        let good = Some(("a@b".to_owned(), "T".to_owned()));
        assert_eq!(x("user=a@b\x01auth=Bearer T\x01\x01"), good);
        assert_eq!(x("user=a@b\x01auth=Bearer T\x01"), None);
        assert_eq!(x("user=a@b\x01auth=Bearer \x01\x01"), None);
        assert_eq!(x("user=\x01auth=Bearer T\x01\x01"), None);
        assert_eq!(x("user=a@b\x01auth=Basic T\x01\x01"), None);
        assert_eq!(x("user=a@b\x01host=h\x01auth=Bearer T\x01\x01"), None);
        assert_eq!(
            o("n,a=a@b,\x01host=h\x01port=993\x01auth=Bearer T\x01\x01"),
            good
        );
        assert_eq!(
            o("n,a=a=2Cb=3D,\x01auth=Bearer T\x01\x01"),
            Some(("a,b=".into(), "T".into()))
        );
        assert_eq!(o("n,a=a=2Xb,\x01auth=Bearer T\x01\x01"), None);
        assert_eq!(o("n,a=a,b,\x01auth=Bearer T\x01\x01"), None);
        assert_eq!(o("y,a=a@b,\x01auth=Bearer T\x01\x01"), None);
    }
}
