//! SASL: PLAIN (RFC 4616) and LOGIN from the client, XOAUTH2 and OAUTHBEARER (RFC 7628) towards the server.

use crate::{Bearer, Login, Mechanism, Secret, Upstream, messages, names::is_one_of, redact};
use base64::{Engine, engine::general_purpose::STANDARD};
use nom::{
    IResult, Parser,
    bytes::complete::{tag, take_while1},
    combinator::{all_consuming, opt},
    sequence::preceded,
};
use zeroize::Zeroizing;

/// What the client's next response line means.
pub(crate) enum ClientSasl {
    /// The one message of PLAIN.
    Plain,
    /// The first response of LOGIN.
    LoginUser,
    /// The second response of LOGIN.
    LoginPassword { user: Zeroizing<Vec<u8>> },
}

/// A mechanism and, perhaps, an initial response.
type Arguments<'a> = (&'a [u8], Option<&'a [u8]>);

/// What stands behind `AUTH` in POP (RFC 5034 §4) and SMTP (RFC 4954 §4): `sasl-mech [SP initial-response]`.
pub(crate) fn auth_arguments(bytes: &[u8]) -> IResult<&[u8], Arguments<'_>> {
    fn word(bytes: &[u8]) -> IResult<&[u8], &[u8]> {
        take_while1(|b| b > 0x20 && b != 0x7f).parse(bytes)
    }
    all_consuming((word, opt(preceded(tag(" "), word)))).parse(bytes)
}

/// A mechanism's name as the log may see it: what nobody has heard of may be a response in the wrong place.
pub(crate) fn shown(mechanism: &[u8]) -> &[u8] {
    let known: [&[u8]; 16] = [
        b"PLAIN",
        b"LOGIN",
        b"XOAUTH2",
        b"OAUTHBEARER",
        b"CRAM-MD5",
        b"DIGEST-MD5",
        b"NTLM",
        b"GSSAPI",
        b"GSS-SPNEGO",
        b"EXTERNAL",
        b"ANONYMOUS",
        b"PLAIN-CLIENTTOKEN",
        b"SCRAM-SHA-1",
        b"SCRAM-SHA-1-PLUS",
        b"SCRAM-SHA-256",
        b"SCRAM-SHA-256-PLUS",
    ];
    if is_one_of(mechanism, &known) {
        mechanism
    } else {
        redact::SECRET.as_bytes()
    }
}

/// What came of a response line.
pub(crate) enum Step {
    Done(Login),
    /// Send the challenge of this state and read another line.
    Ask(ClientSasl),
    /// `*`
    Cancelled,
    BadBase64,
    /// Well encoded, but no login can come of it; the text says why.
    Unusable(&'static str),
}

impl ClientSasl {
    /// The state in which a mechanism begins; `None`: not served.
    pub(crate) fn begin(mechanism: &[u8], login: bool) -> Option<ClientSasl> {
        if mechanism.eq_ignore_ascii_case(b"PLAIN") {
            Some(ClientSasl::Plain)
        } else if login && mechanism.eq_ignore_ascii_case(b"LOGIN") {
            Some(ClientSasl::LoginUser)
        } else {
            None
        }
    }

    /// Base64 of the challenge. Some devices accept nothing but these (`Username:`, `Password:`).
    pub(crate) fn challenge(&self) -> &'static str {
        match self {
            ClientSasl::Plain => "",
            ClientSasl::LoginUser => "VXNlcm5hbWU6",
            ClientSasl::LoginPassword { .. } => "UGFzc3dvcmQ6",
        }
    }

    /// Takes a response line without its CRLF. An initial response of `=` is empty (RFC 4954 §4, RFC 4959 §3).
    pub(crate) fn respond(self, line: &[u8], initial: bool) -> Step {
        if !initial && line == b"*" {
            return Step::Cancelled;
        }
        let message = if initial && line == b"=" {
            Some(Vec::new())
        } else {
            STANDARD.decode(line).ok()
        };
        let Some(message) = message.map(Zeroizing::new) else {
            return Step::BadBase64;
        };
        match self {
            ClientSasl::Plain => plain(&message).map_or_else(Step::Unusable, Step::Done),
            ClientSasl::LoginUser => Step::Ask(ClientSasl::LoginPassword { user: message }),
            ClientSasl::LoginPassword { user } => {
                login(&user, &message).map_or_else(Step::Unusable, Step::Done)
            }
        }
    }
}

/// `[authzid] NUL authcid NUL passwd`. Acting for somebody else is not served: an authorisation identity must be
/// empty or the authentication identity itself.
fn plain(message: &[u8]) -> Result<Login, &'static str> {
    let mut parts = message.splitn(3, |&b| b == 0);
    let (Some(authzid), Some(authcid), Some(password)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(messages::NOT_PLAIN);
    };
    if password.contains(&0) {
        return Err(messages::NOT_PLAIN);
    }
    if !authzid.is_empty() && authzid != authcid {
        return Err(messages::OTHER_IDENTITY);
    }
    login(authcid, password)
}

/// Checks a login name and a password as they came.
pub(crate) fn login(user: &[u8], password: &[u8]) -> Result<Login, &'static str> {
    let user = std::str::from_utf8(user).map_err(|_| messages::NAME_NOT_UTF8)?;
    let password = std::str::from_utf8(password).map_err(|_| messages::PASSWORD_NOT_UTF8)?;
    if user.is_empty() {
        return Err(messages::NAME_EMPTY);
    }
    if user.chars().any(char::is_control) {
        return Err(messages::NAME_HOLDS_CONTROLS);
    }
    if password.is_empty() {
        return Err(messages::PASSWORD_EMPTY);
    }
    Ok(Login {
        user: user.into(),
        password: Secret::new(password),
    })
}

/// Whether a bearer can be sent at all: no separator of the mechanisms, no control character (behaviour §9.4).
pub(crate) fn sendable(bearer: &Bearer) -> bool {
    let clean = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    clean(&bearer.user) && clean(bearer.token.expose()) && bearer.token.expose().is_ascii()
}

/// What a server advertises of the mechanisms that matter here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) xoauth2: bool,
    pub(crate) oauthbearer: bool,
}

impl Offered {
    /// Notes a mechanism's name.
    pub(crate) fn note(&mut self, mechanism: &[u8]) {
        self.xoauth2 |= mechanism.eq_ignore_ascii_case(b"XOAUTH2");
        self.oauthbearer |= mechanism.eq_ignore_ascii_case(b"OAUTHBEARER");
    }

    /// The mechanism to use: the bearer's own, else XOAUTH2 unless only OAUTHBEARER is offered.
    pub(crate) fn choose(self, bearer: &Bearer) -> Mechanism {
        match bearer.mechanism {
            Some(mechanism) => mechanism,
            None if self.oauthbearer && !self.xoauth2 => Mechanism::OAuthBearer,
            None => Mechanism::XOAuth2,
        }
    }
}

/// The base64 of the message that carries the bearer.
pub(crate) fn message(
    mechanism: Mechanism,
    bearer: &Bearer,
    upstream: &Upstream,
) -> Zeroizing<String> {
    let token = bearer.token.expose();
    let plain = Zeroizing::new(match mechanism {
        Mechanism::XOAuth2 => format!("user={}\x01auth=Bearer {token}\x01\x01", bearer.user),
        Mechanism::OAuthBearer => {
            let user = bearer.user.replace('=', "=3D").replace(',', "=2C");
            format!(
                "n,a={user},\x01host={}\x01port={}\x01auth=Bearer {token}\x01\x01",
                upstream.host, upstream.port
            )
        }
    });
    Zeroizing::new(STANDARD.encode(plain.as_bytes()))
}

/// What the client of a mechanism answers to an error challenge.
pub(crate) fn error_answer(mechanism: Mechanism) -> &'static [u8] {
    match mechanism {
        Mechanism::XOAuth2 => b"\r\n",
        // RFC 7628 §3.2.3: a single 0x01.
        Mechanism::OAuthBearer => b"AQ==\r\n",
    }
}

/// An error challenge's content as one printable line.
pub(crate) fn error_text(challenge: &[u8]) -> String {
    let decoded = STANDARD
        .decode(challenge.trim_ascii())
        .unwrap_or_else(|_| challenge.to_vec());
    redact::one_line(&String::from_utf8_lossy(&decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(user: &str) -> Bearer {
        Bearer {
            token: Secret::new("T"),
            user: user.into(),
            mechanism: None,
        }
    }

    fn decoded(mechanism: Mechanism, user: &str) -> String {
        let upstream = Upstream {
            host: "mail.example".into(),
            port: 993,
            secure: true,
        };
        let text = message(mechanism, &bearer(user), &upstream);
        String::from_utf8(STANDARD.decode(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn messages_have_the_mechanisms_form() {
        assert_eq!(
            decoded(Mechanism::XOAuth2, "u@x"),
            "user=u@x\x01auth=Bearer T\x01\x01"
        );
        assert_eq!(
            decoded(Mechanism::OAuthBearer, "a,b=c@x"),
            "n,a=a=2Cb=3Dc@x,\x01host=mail.example\x01port=993\x01auth=Bearer T\x01\x01"
        );
    }

    #[test]
    fn plain_takes_three_parts_and_no_stranger() {
        assert!(plain(b"\0u\0p").is_ok());
        assert!(plain(b"u\0u\0p").is_ok());
        assert!(plain(b"v\0u\0p").is_err());
        assert!(plain(b"u\0p").is_err());
        assert!(plain(b"\0u\0p\0q").is_err());
        assert!(plain(b"\0u\0").is_err());
        assert!(plain(b"\0\0p").is_err());
        assert!(plain(b"\0u\x01\0p").is_err());
        assert!(plain(b"\0u\0\xff").is_err());
    }

    #[test]
    fn unsendable_bearers_are_found() {
        assert!(sendable(&bearer("u@x")));
        assert!(!sendable(&bearer("u\x01@x")));
        assert!(!sendable(&Bearer {
            token: Secret::new("a\r\nb"),
            ..bearer("u")
        }));
        assert!(!sendable(&Bearer {
            token: Secret::new(""),
            ..bearer("u")
        }));
    }

    #[test]
    fn mechanisms_are_chosen_by_what_is_offered() {
        let mut offered = Offered::default();
        assert_eq!(offered.choose(&bearer("u")), Mechanism::XOAuth2);
        offered.note(b"oauthbearer");
        assert_eq!(offered.choose(&bearer("u")), Mechanism::OAuthBearer);
        offered.note(b"XOAUTH2");
        assert_eq!(offered.choose(&bearer("u")), Mechanism::XOAuth2);
    }
}
