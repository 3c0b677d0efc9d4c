//! What a token endpoint answers (RFC 6749 §5), and what providers really send.

use crate::{flow::advice, messages::provider as messages};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use proxy_proto::Secret;
use serde::Deserialize;
use serde_json::Value;

/// Lifetime where the provider says none.
const DEFAULT_LIFETIME: u64 = 3600;
/// No token is believed to live longer: ten years.
const LONGEST_LIFETIME: u64 = 10 * 365 * 86_400;
/// Longest token accepted; in a SASL line it must fit into what servers read.
const LONGEST_TOKEN: usize = 64 * 1024;

/// Tokens.
pub struct Grant {
    /// Visible ASCII, not empty.
    pub access_token: Secret,
    /// Seconds from now.
    pub expires_in: u64,
    /// A new refresh token, which replaces the old one.
    pub refresh_token: Option<Secret>,
    /// Whom an `id_token` names (its `email`, `preferred_username` and `upn`); empty where none came.
    pub names: Vec<String>,
}

/// Why there are no tokens. The texts are one line, without secrets, and say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// What was presented (refresh token, code, password) is not, or no longer, good: `invalid_grant` and its kin.
    Ended(String),
    /// The provider refuses for another reason; it would refuse again.
    Refused {
        /// `error` of RFC 6749 §5.2 or RFC 8628 §3.5.
        code: String,
        /// The whole story.
        text: String,
    },
    /// Trouble that may pass.
    Transient(String),
}

impl Failure {
    /// The text, whichever it is.
    pub fn text(&self) -> &str {
        match self {
            Failure::Ended(text) | Failure::Refused { text, .. } | Failure::Transient(text) => text,
        }
    }
}

/// Reads the answer of a token endpoint. `secrets` are blotted out of what is quoted from it.
pub fn token_answer<'a>(
    status: u16,
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a Secret>,
) -> Result<Grant, Failure> {
    let answer: TokenAnswer = parse(status, body, secrets)?;
    let token = |token: Secret| {
        let text = token.expose();
        let good = (1..=LONGEST_TOKEN).contains(&text.len())
            && text.bytes().all(|b| (0x21..=0x7e).contains(&b));
        good.then_some(token)
    };
    let access_token = answer
        .access_token
        .and_then(text_of)
        .and_then(token)
        .ok_or_else(|| Failure::Transient(messages::NO_ACCESS_TOKEN.to_owned()))?;
    Ok(Grant {
        access_token,
        expires_in: seconds(answer.expires_in.as_ref()).unwrap_or(DEFAULT_LIFETIME),
        refresh_token: answer.refresh_token.and_then(text_of).and_then(token),
        names: answer
            .id_token
            .and_then(text_of)
            .map_or_else(Vec::new, |token| names(token.expose())),
    })
}

/// Reads an answer that is JSON on success, and else an error in one of the shapes that providers use.
pub(super) fn parse<'a, T: for<'de> Deserialize<'de>>(
    status: u16,
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a Secret>,
) -> Result<T, Failure> {
    let error = serde_json::from_slice::<ErrorAnswer>(body)
        .ok()
        .filter(|e| e.code().is_some());
    if (200..300).contains(&status) && error.is_none() {
        return serde_json::from_slice(body)
            .map_err(|_| Failure::Transient(messages::strange_answer(what_it_is(body))));
    }
    let Some(error) = error else {
        let what = what_it_is(body);
        return Err(Failure::Transient(match status {
            300..=399 => messages::redirects(status),
            401 | 403 | 404 | 405 | 410 => messages::strange_failure(what, status),
            _ => messages::in_trouble(what, status),
        }));
    };
    let code = clean(error.code().unwrap_or_default(), &[]);
    let secrets: Vec<&Secret> = secrets.into_iter().collect();
    let description = error.description();
    let text = advice::explain(&code, &clean(&description, &secrets));
    Err(
        if advice::ends_grant(&code, &description, &error.error_codes()) {
            Failure::Ended(text)
        } else if status == 429 || status >= 500 || advice::is_transient(&code) {
            Failure::Transient(text)
        } else {
            Failure::Refused { code, text }
        },
    )
}

/// One line of at most 300 characters, without control characters and secrets.
pub(crate) fn clean(text: &str, secrets: &[&Secret]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().map(|s| s.expose()).filter(|s| s.len() > 3) {
        text = text.replace(secret, "***");
    }
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= 300 {
            line.push('…');
            break;
        }
        let blank = c.is_whitespace() || c.is_control();
        match (blank, line.ends_with(' ') || line.is_empty()) {
            (true, true) => {}
            (true, false) => line.push(' '),
            (false, _) => line.push(c),
        }
    }
    line.trim_end().to_owned()
}

/// Whole seconds of a number or a string.
pub(super) fn seconds(value: Option<&Value>) -> Option<u64> {
    let seconds = match value? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // `as` saturates, and NaN becomes 0
    Some((seconds as u64).min(LONGEST_LIFETIME))
}

/// Takes the string out of a JSON value.
pub(super) fn text_of(value: Value) -> Option<Secret> {
    match value {
        Value::String(text) => Some(Secret::new(text)),
        _ => None,
    }
}

/// Whom an ID token names (OpenID Connect Core 1.0 §5.1). Its signature is not checked: it has come from the token endpoint itself,
/// over TLS (§3.1.3.7 number 6 lets that stand in), and nothing but a warning depends on it.
fn names(id_token: &str) -> Vec<String> {
    let claims = id_token
        .split('.')
        .nth(1)
        .and_then(|claims| {
            BASE64_URL_SAFE_NO_PAD
                .decode(claims.trim_end_matches('='))
                .ok()
        })
        .and_then(|claims| serde_json::from_slice::<Value>(&claims).ok());
    let Some(claims) = claims else {
        return Vec::new();
    };
    let mut names: Vec<String> = Vec::new();
    for claim in ["email", "preferred_username", "upn"] {
        let name = claims
            .get(claim)
            .and_then(Value::as_str)
            .unwrap_or_default();
        let name = clean(name, &[]);
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn what_it_is(body: &[u8]) -> &'static str {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        messages::NOTHING
    } else if start.starts_with(b"<") {
        messages::WEB_PAGE
    } else {
        messages::SOMETHING_UNKNOWN
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<Value>,
    expires_in: Option<Value>,
    refresh_token: Option<Value>,
    id_token: Option<Value>,
}

/// `error` is a string in RFC 6749, an object in Google's other APIs.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: Option<Value>,
    error_description: Option<Value>,
    error_codes: Option<Value>,
}

impl ErrorAnswer {
    fn code(&self) -> Option<&str> {
        match self.error.as_ref()? {
            Value::String(code) if !code.is_empty() => Some(code),
            Value::Object(error) => Some(
                error
                    .get("status")
                    .and_then(Value::as_str)
                    .unwrap_or("error"),
            ),
            _ => None,
        }
    }

    fn description(&self) -> String {
        let nested = self.error.as_ref().and_then(|error| error.get("message"));
        self.error_description
            .as_ref()
            .or(nested)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// Microsoft's numbers.
    fn error_codes(&self) -> Vec<u64> {
        let codes = self.error_codes.as_ref().and_then(Value::as_array);
        codes
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Grant, Failure> {
        token_answer(status, body.as_bytes(), [&Secret::new("s3cret")])
    }

    #[test]
    fn lifetimes_are_read_as_they_come() {
        for (expires_in, expected) in [
            (r#","expires_in":3599"#, 3599),
            (r#","expires_in":"3599""#, 3599),
            (r#","expires_in":" 60 ""#, 60),
            (r#","expires_in":3599.7"#, 3599),
            (r#","expires_in":-5"#, 0),
            (r#","expires_in":1e300"#, LONGEST_LIFETIME),
            (r#","expires_in":null"#, 3600),
            (r#","expires_in":"soon""#, 3600),
            (r#","expires_in":[1]"#, 3600),
            ("", 3600),
        ] {
            let body =
                format!(r#"{{"access_token":"t","token_type":"x"{expires_in},"more":{{}}}}"#);
            let grant = answer(200, &body).expect("tokens");
            assert_eq!(grant.expires_in, expected, "{expires_in}");
            assert!(grant.refresh_token.is_none());
        }
    }

    #[test]
    fn a_refresh_token_is_taken_and_an_unusable_one_is_not() {
        let with = |value: &str| {
            let body = format!(r#"{{"access_token":"t","refresh_token":{value}}}"#);
            answer(200, &body)
                .expect("tokens")
                .refresh_token
                .map(|t| t.expose().to_owned())
        };
        assert_eq!(with(r#""1//r""#).as_deref(), Some("1//r"));
        assert_eq!(with(r#""""#), None);
        assert_eq!(with("null"), None);
    }

    #[test]
    fn an_id_token_says_who_approved_and_a_strange_one_says_nothing() {
        let names = |id_token: &str| {
            let body = format!(r#"{{"access_token":"t","id_token":{id_token}}}"#);
            answer(200, &body).expect("tokens").names
        };
        let with = |claims: &str| {
            let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
            names(&format!(r#""e30.{claims}.c2ln""#))
        };
        assert_eq!(
            with(
                r#"{"email":"a@b.example","upn":"a@b.example","preferred_username":"x\r\ny","sub":"7"}"#
            ),
            ["a@b.example", "x y"]
        );
        for nothing in [
            r#"{"sub":"7"}"#,
            r#"{"email":7}"#,
            r#"{"email":""}"#,
            "[]",
            "{",
            "",
        ] {
            assert!(with(nothing).is_empty(), "{nothing}");
        }
        for strange in [
            r#""""#,
            r#""a""#,
            r#""a.b.c""#,
            r#""a.!.c""#,
            "7",
            "null",
            "{}",
        ] {
            assert!(names(strange).is_empty(), "{strange}");
        }
    }

    #[test]
    fn access_tokens_that_would_break_a_line_are_refused() {
        for token in [
            r#""""#,
            r#""a\r\nb""#,
            r#""a b""#,
            r#""a\u0001b""#,
            r#""ä""#,
            "7",
            "null",
        ] {
            let failure = answer(200, &format!(r#"{{"access_token":{token}}}"#)).err();
            assert!(
                matches!(failure, Some(Failure::Transient(_))),
                "{token}: {failure:?}"
            );
        }
    }

    #[test]
    fn failures_are_classified() {
        type Is = fn(&Failure) -> bool;
        let ended: Is = |f| matches!(f, Failure::Ended(_));
        let refused: Is = |f| matches!(f, Failure::Refused { .. });
        let transient: Is = |f| matches!(f, Failure::Transient(_));
        for (status, body, is) in [
            (400, r#"{"error":"invalid_grant"}"#, ended),
            (401, r#"{"error":"invalid_grant"}"#, ended),
            (400, r#"{"error":"interaction_required"}"#, ended),
            (400, r#"{"error":"consent_required"}"#, ended),
            (400, r#"{"error":"login_required"}"#, ended),
            (
                400,
                r#"{"error":"invalid_request","error_description":"AADSTS700082: The refresh token has expired"}"#,
                ended,
            ),
            (400, r#"{"error":"x","error_codes":[50173]}"#, ended),
            (
                400,
                r#"{"error":"invalid_client","error_codes":[7000215]}"#,
                refused,
            ),
            (400, r#"{"error":"invalid_scope"}"#, refused),
            (400, r#"{"error":"unauthorized_client"}"#, refused),
            (200, r#"{"error":"invalid_client"}"#, refused),
            (
                403,
                r#"{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}"#,
                refused,
            ),
            (400, r#"{"error":"temporarily_unavailable"}"#, transient),
            (400, r#"{"error":"server_error"}"#, transient),
            (503, r#"{"error":"whatever"}"#, transient),
            (429, r#"{"error":"rate"}"#, transient),
            (500, "", transient),
            (502, "<html>Bad gateway</html>", transient),
            (200, "<html>Sign in</html>", transient),
            (200, "{", transient),
            (200, "[]", transient),
            (200, "{}", transient),
            (302, "", transient),
            (400, r#"{"error":""}"#, transient),
            (400, "\u{0}\u{1}", transient),
        ] {
            let failure = answer(status, body).err().expect("a failure");
            assert!(is(&failure), "{status} {body}: {failure:?}");
            let text = failure.text();
            assert!(!text.is_empty() && !text.contains(['\r', '\n']), "{text:?}");
        }
    }

    #[test]
    fn what_the_provider_repeats_of_a_secret_is_blotted_out() {
        let body =
            r#"{"error":"invalid_client","error_description":"bad secret s3cret\r\nTrace: 1"}"#;
        let failure = answer(401, body).err().expect("a failure");
        assert!(
            failure.text().contains("bad secret *** Trace: 1"),
            "{failure:?}"
        );
    }

    #[test]
    fn long_texts_are_cut() {
        let body = format!(
            r#"{{"error":"x","error_description":"{}"}}"#,
            "ä".repeat(10_000)
        );
        let failure = answer(400, &body).err().expect("a failure");
        assert!(failure.text().len() < 600, "{}", failure.text().len());
    }
}
