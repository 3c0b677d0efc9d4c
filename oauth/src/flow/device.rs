//! RFC 8628: the user types a code at another device.

use super::{
    ClientAuth, Failure, Form,
    answer::{clean, parse, seconds, text_of},
    with_query,
};
use crate::{messages::provider as messages, settings::Account, transport::Request};
use proxy_proto::Secret;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// §3.2, §3.5.
const DEFAULT_INTERVAL: u64 = 5;
const SLOW_DOWN: u64 = 5;
/// No code is waited for longer.
const LONGEST: u64 = 3600;

/// The device authorisation request (§3.1).
pub fn request(account: &Account, auth: &ClientAuth) -> Form {
    Form::default()
        .client(&account.client_id, auth)
        .with_optional("scope", account.oauth2_scope.as_deref())
}

/// The same by GET, for providers that answer POST with 404 or 405. No secret goes into a URL.
pub fn get_request(account: &Account) -> Request {
    let mut pairs = vec![("client_id", account.client_id.as_str())];
    pairs.extend(
        account
            .oauth2_scope
            .as_deref()
            .map(|scope| ("scope", scope)),
    );
    let url = with_query(
        account.permission_url.as_deref().unwrap_or_default(),
        &pairs,
    );
    Request { url, form: None }
}

/// What to show to the user, and what to poll with (§3.2).
pub struct DeviceCode {
    /// For the token endpoint.
    pub device_code: Secret,
    /// What the user types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// The life of the code, at most an hour.
    pub expires_in: Duration,
    /// Between two polls.
    pub interval: Duration,
}

impl DeviceCode {
    /// §3.5: from now on five seconds more between polls.
    pub fn slow_down(&mut self) {
        self.interval = Duration::from_secs((self.interval.as_secs() + SLOW_DOWN).min(LONGEST));
    }
}

/// Reads the answer to the device authorisation request.
pub fn device_answer<'a>(
    status: u16,
    body: &[u8],
    secrets: impl IntoIterator<Item = &'a Secret>,
) -> Result<DeviceCode, Failure> {
    let answer: Answer = parse(status, body, secrets)?;
    let shown = |text: Option<String>| text.map(|t| clean(&t, &[])).filter(|t| !t.is_empty());
    let (Some(device_code), Some(user_code), Some(verification_uri)) = (
        answer.device_code.and_then(text_of),
        shown(answer.user_code),
        // Google's name for it
        shown(answer.verification_uri.or(answer.verification_url)),
    ) else {
        return Err(Failure::Transient(messages::NO_DEVICE_CODE.to_owned()));
    };
    let interval = seconds(answer.interval.as_ref())
        .unwrap_or(DEFAULT_INTERVAL)
        .clamp(1, LONGEST);
    Ok(DeviceCode {
        device_code,
        user_code,
        verification_uri,
        verification_uri_complete: shown(answer.verification_uri_complete),
        expires_in: Duration::from_secs(
            seconds(answer.expires_in.as_ref())
                .unwrap_or(600)
                .clamp(1, LONGEST),
        ),
        interval: Duration::from_secs(interval),
    })
}

/// The token request, repeated at `interval` (§3.4).
pub fn token_request(account: &Account, auth: &ClientAuth, code: &DeviceCode) -> Form {
    Form::grant(GRANT_TYPE, &account.client_id, auth).with("device_code", code.device_code.expose())
}

#[derive(Deserialize)]
struct Answer {
    device_code: Option<Value>,
    user_code: Option<String>,
    verification_uri: Option<String>,
    verification_url: Option<String>,
    verification_uri_complete: Option<String>,
    expires_in: Option<Value>,
    interval: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::test::account;

    fn answer(body: &str) -> Result<DeviceCode, Failure> {
        device_answer(200, body.as_bytes(), [])
    }

    #[test]
    fn requests_name_client_and_scope() {
        let auth = ClientAuth::Secret(Secret::new("s"));
        let form = request(&account(), &auth);
        assert_eq!(form.value("client_id"), Some("id"));
        assert_eq!(form.value("scope"), Some("mail offline_access"));
        assert_eq!(form.value("grant_type"), None);
        let get = get_request(&account());
        assert_eq!(
            get.url,
            "https://provider.example/auth?client_id=id&scope=mail%20offline_access"
        );
        assert!(get.form.is_none());
    }

    #[test]
    fn answers_are_read_with_their_defaults() {
        let code = answer(
            r#"{"device_code":"d","user_code":"AB-CD","verification_uri":"https://p.example/d",
                "verification_uri_complete":"https://p.example/d?c=AB-CD","expires_in":"900",
                "interval":7,"message":"Go to …"}"#,
        )
        .expect("a code");
        assert_eq!(code.user_code, "AB-CD");
        assert_eq!(code.expires_in.as_secs(), 900);
        assert_eq!(code.interval.as_secs(), 7);
        let google =
            r#"{"device_code":"d","user_code":"A","verification_url":"https://g.example"}"#;
        let mut code = answer(google).expect("a code");
        assert_eq!(code.verification_uri, "https://g.example");
        assert_eq!(code.interval.as_secs(), 5);
        code.slow_down();
        assert_eq!(code.interval.as_secs(), 10);
        assert!(code.verification_uri_complete.is_none());
    }

    #[test]
    fn answers_without_a_code_are_trouble() {
        for body in [
            "{}",
            r#"{"user_code":"A","verification_uri":"https://p.example"}"#,
            "<html>",
        ] {
            assert!(matches!(answer(body), Err(Failure::Transient(_))), "{body}");
        }
    }

    #[test]
    fn polling_presents_the_device_code() {
        let code =
            answer(r#"{"device_code":"d","user_code":"A","verification_uri":"https://p.example"}"#)
                .expect("a code");
        let form = token_request(&account(), &ClientAuth::None, &code);
        assert_eq!(form.value("grant_type"), Some(GRANT_TYPE));
        assert_eq!(form.value("device_code"), Some("d"));
    }
}
