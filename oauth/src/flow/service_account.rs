//! RFC 7523 §2.1 with a Google service account's key: the account is opened in the user's name, without the user.

use super::{
    Form,
    assertion::{AssertionError, Header, sign},
};
use crate::{messages::provider as messages, settings::Account};
use proxy_proto::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// Seconds that the assertion is good for; Google allows an hour.
const LIFETIME: u64 = 3600;

/// The JSON key as downloaded from the provider; no `Debug`.
pub struct ServiceAccountKey {
    client_email: String,
    private_key: Zeroizing<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl ServiceAccountKey {
    /// Reads the JSON.
    pub fn parse(json: &Secret) -> Result<Self, ServiceAccountError> {
        let key: KeyFile =
            serde_json::from_str(json.expose()).map_err(|_| ServiceAccountError::NotAKey)?;
        Ok(ServiceAccountKey {
            client_email: key.client_email,
            private_key: Zeroizing::new(key.private_key),
            private_key_id: key.private_key_id,
            token_uri: key.token_uri.filter(|uri| !uri.is_empty()),
        })
    }

    /// Where tokens come from: the key's `token_uri`, else the account's `token_url`.
    pub fn token_url<'a>(&'a self, account: &'a Account) -> &'a str {
        self.token_uri.as_deref().unwrap_or(&account.token_url)
    }

    /// The token request; `now` in seconds since 1970.
    pub fn token_request(&self, account: &Account, now: u64) -> Result<Form, ServiceAccountError> {
        let assertion = sign(
            &Header {
                alg: "RS256",
                typ: "JWT",
                kid: self.private_key_id.as_deref(),
                thumbprint: None,
            },
            &Claims {
                iss: &self.client_email,
                sub: &account.name,
                scope: account.oauth2_scope.as_deref().unwrap_or_default(),
                aud: self.token_url(account),
                iat: now,
                exp: now.saturating_add(LIFETIME),
            },
            self.private_key.as_bytes(),
        )
        .map_err(|e| match e {
            AssertionError::Key(why) | AssertionError::Certificate(why) => {
                ServiceAccountError::PrivateKey(why)
            }
        })?;
        Ok(Form::default()
            .with("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .with("assertion", assertion.expose()))
    }
}

/// Why the key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAccountError {
    /// Not the JSON of a service account's key.
    NotAKey,
    /// Its `private_key`; continues a sentence.
    PrivateKey(&'static str),
}

impl fmt::Display for ServiceAccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceAccountError::NotAKey => f.write_str(messages::NOT_A_SERVICE_ACCOUNT_KEY),
            ServiceAccountError::PrivateKey(why) => f.write_str(&messages::bad_private_key(why)),
        }
    }
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{
        assertion::tests::{KEY, verify},
        test::account,
    };
    use serde_json::json;

    fn key(token_uri: Option<&str>) -> Secret {
        let key = std::str::from_utf8(KEY).expect("PEM");
        let json = json!({
            "type": "service_account", "private_key_id": "k1", "private_key": key,
            "client_email": "robot@example.com", "token_uri": token_uri, "universe_domain": "x",
        });
        Secret::new(json.to_string())
    }

    #[test]
    fn the_robot_asks_in_the_users_name() {
        let key = ServiceAccountKey::parse(&key(Some("https://k.example/token"))).expect("a key");
        assert_eq!(key.token_url(&account()), "https://k.example/token");
        let form = key.token_request(&account(), 1_000).expect("a request");
        assert_eq!(
            form.value("grant_type"),
            Some("urn:ietf:params:oauth:grant-type:jwt-bearer")
        );
        let (header, claims) = verify(&Secret::new(form.value("assertion").expect("assertion")));
        assert_eq!(header["kid"], "k1");
        for (name, value) in [
            ("iss", json!("robot@example.com")),
            ("sub", json!("user@example.com")),
            ("scope", json!("mail offline_access")),
            ("aud", json!("https://k.example/token")),
            ("iat", json!(1_000)),
            ("exp", json!(4_600)),
        ] {
            assert_eq!(claims[name], value, "{name}");
        }
    }

    #[test]
    fn without_token_uri_the_accounts_url_serves() {
        for token_uri in [None, Some("")] {
            let key = ServiceAccountKey::parse(&key(token_uri)).expect("a key");
            assert_eq!(key.token_url(&account()), "https://provider.example/token");
        }
    }

    #[test]
    fn other_json_is_no_key() {
        for json in [
            "",
            "{}",
            "[]",
            "/path/to/key.json",
            r#"{"client_email":"x"}"#,
        ] {
            let parsed = ServiceAccountKey::parse(&Secret::new(json));
            assert_eq!(parsed.err(), Some(ServiceAccountError::NotAKey), "{json}");
        }
        let json = r#"{"client_email":"x","private_key":"nonsense"}"#;
        let key = ServiceAccountKey::parse(&Secret::new(json)).expect("the fields are there");
        assert!(matches!(
            key.token_request(&account(), 0).err(),
            Some(ServiceAccountError::PrivateKey(_))
        ));
    }
}
