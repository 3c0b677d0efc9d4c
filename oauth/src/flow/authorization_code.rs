//! RFC 6749 §4.1 with RFC 7636 (PKCE, S256).

use super::{ClientAuth, Failure, Form, advice, answer::clean, with_query};
use crate::{
    crypt::{NoRandomness, random_text},
    settings::Account,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use proxy_proto::Secret;
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

/// Hosts known to accept a loopback redirect on any port (RFC 8252 §7.3).
const ANY_LOOPBACK_PORT: [&str; 9] = [
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "login.microsoft.com",
    "login.windows.net",
    "login.live.com",
    "accounts.google.com",
    "oauth2.googleapis.com",
];

/// One authorisation request: its secrets, fresh for each.
#[derive(Clone)]
pub struct Authorization {
    /// Comes back with the redirect.
    pub state: Secret,
    /// PKCE, unless it is turned off.
    pub code_verifier: Option<Secret>,
}

impl Authorization {
    /// Fresh secrets.
    pub fn new(use_pkce: bool) -> Result<Self, NoRandomness> {
        Ok(Authorization {
            state: random_text()?,
            code_verifier: if use_pkce { Some(random_text()?) } else { None },
        })
    }

    /// The URL to open in the user's browser.
    pub fn url(&self, account: &Account, redirect_uri: &str) -> String {
        let mut pairs = vec![
            ("client_id", account.client_id.as_str()),
            ("redirect_uri", redirect_uri),
        ];
        if let Some(scope) = &account.oauth2_scope {
            pairs.push(("scope", scope));
        }
        pairs.extend([
            ("response_type", "code"),
            ("access_type", "offline"),
            ("login_hint", &account.name),
            ("state", self.state.expose()),
        ]);
        let challenge = self.code_verifier.as_ref().map(challenge);
        if let Some(challenge) = &challenge {
            pairs.extend([
                ("code_challenge", challenge.as_str()),
                ("code_challenge_method", "S256"),
            ]);
        }
        with_query(
            account.permission_url.as_deref().unwrap_or_default(),
            &pairs,
        )
    }

    /// Takes the code out of the URL (or path and query) that the provider redirected to.
    ///
    /// `state` is compared first; whatever else stands there is not looked at when it differs.
    pub fn redirected(&self, redirected: &str) -> Result<Secret, RedirectError> {
        let url = Zeroizing::new(redirected.trim().to_owned());
        let query = url
            .split_once('?')
            .map(|(_, query)| query)
            .unwrap_or_default();
        let query = query.split('#').next().unwrap_or_default();
        let parameter = |name: &str| {
            let mut found = form_urlencoded::parse(query.as_bytes())
                .filter(|(n, _)| n == name)
                .map(|(_, value)| Secret::new(value));
            // a parameter that stands there twice is as good as none (RFC 6749 §3.1)
            found.next().filter(|_| found.next().is_none())
        };
        // `Secret` compares in constant time
        if parameter("state").as_ref() != Some(&self.state) {
            return Err(RedirectError::State);
        }
        if let Some(error) = parameter("error") {
            let description = parameter("error_description");
            let description = description.as_ref().map_or("", Secret::expose);
            let code = clean(error.expose(), &[]);
            let secrets: Vec<&Secret> = [&self.state]
                .into_iter()
                .chain(&self.code_verifier)
                .collect();
            let text = advice::explain(&code, &clean(description, &secrets));
            return Err(RedirectError::Provider(if advice::is_transient(&code) {
                Failure::Transient(text)
            } else {
                Failure::Refused { code, text }
            }));
        }
        parameter("code")
            .filter(|code| !code.is_empty() && code.expose().len() <= 16 * 1024)
            .ok_or(RedirectError::NoCode)
    }

    /// The request that redeems the code (RFC 6749 §4.1.3).
    pub fn token_request(
        &self,
        account: &Account,
        auth: &ClientAuth,
        code: &Secret,
        redirect_uri: &str,
    ) -> Form {
        Form::grant("authorization_code", &account.client_id, auth)
            .with("code", code.expose())
            .with("redirect_uri", redirect_uri)
            .with_optional(
                "code_verifier",
                self.code_verifier.as_ref().map(Secret::expose),
            )
    }
}

/// Why a redirect brought no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectError {
    /// `state` is missing or another: not the answer to our request.
    State,
    /// The provider refused.
    Provider(Failure),
    /// Neither code nor error.
    NoCode,
}

/// Whether the provider accepts any port on a loopback redirect.
pub fn any_loopback_port(permission_url: &str) -> bool {
    Url::parse(permission_url).is_ok_and(|url| {
        url.host_str()
            .is_some_and(|host| ANY_LOOPBACK_PORT.contains(&host))
    })
}

fn challenge(verifier: &Secret) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::test::account;
    use std::collections::HashMap;

    fn fixed() -> Authorization {
        Authorization {
            state: Secret::new("st4te"),
            // RFC 7636 appendix B
            code_verifier: Some(Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")),
        }
    }

    #[test]
    fn the_url_says_all_that_is_needed() {
        let url = Url::parse(&fixed().url(&account(), "http://localhost:8080")).expect("a URL");
        assert_eq!(url.host_str(), Some("provider.example"));
        let pairs: HashMap<String, String> = url.query_pairs().into_owned().collect();
        for (name, value) in [
            ("client_id", "id"),
            ("redirect_uri", "http://localhost:8080"),
            ("scope", "mail offline_access"),
            ("response_type", "code"),
            ("access_type", "offline"),
            ("login_hint", "user@example.com"),
            ("state", "st4te"),
            (
                "code_challenge",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            ),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(pairs.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(pairs.len(), 9);
    }

    #[test]
    fn without_pkce_there_is_neither_challenge_nor_verifier() {
        let authorization = Authorization::new(false).expect("randomness");
        assert!(
            !authorization
                .url(&account(), "http://localhost")
                .contains("code_challenge")
        );
        let form = authorization.token_request(
            &account(),
            &ClientAuth::None,
            &Secret::new("c"),
            "http://localhost",
        );
        assert_eq!(form.value("code_verifier"), None);
    }

    #[test]
    fn secrets_are_fresh_and_long() {
        let (a, b) = (Authorization::new(true), Authorization::new(true));
        let (a, b) = (a.expect("randomness"), b.expect("randomness"));
        assert!(a.state != b.state && a.code_verifier != b.code_verifier);
        // RFC 7636 §4.1: 43 to 128 characters
        assert_eq!(a.code_verifier.expect("PKCE").expose().len(), 43);
    }

    #[test]
    fn state_comes_before_everything() {
        for redirected in [
            "http://localhost/?code=c",
            "http://localhost/?code=c&state=other",
            "http://localhost/?error=access_denied",
            "http://localhost/?error=access_denied&state=",
            "http://localhost/?code=c&state=st4te&state=st4te",
            "http://localhost/?code=c#state=st4te",
            "",
            "?",
            "http://localhost/?code=%FF&state=%FF",
        ] {
            assert_eq!(
                fixed().redirected(redirected).err(),
                Some(RedirectError::State),
                "{redirected}"
            );
        }
    }

    #[test]
    fn the_code_is_found_in_urls_and_paths() {
        for redirected in [
            "http://localhost/?code=4%2F0A+b&state=st4te&scope=x",
            "/?state=st4te&code=4%2F0A+b",
            " https://localhost?state=st4te&code=4%2F0A+b#_ ",
        ] {
            let code = fixed().redirected(redirected).expect("a code");
            assert_eq!(code.expose(), "4/0A b", "{redirected}");
        }
    }

    #[test]
    fn refusals_are_told_from_trouble() {
        let at = |query: &str| fixed().redirected(&format!("/?state=st4te&{query}")).err();
        assert_eq!(at(""), Some(RedirectError::NoCode));
        assert_eq!(at("code="), Some(RedirectError::NoCode));
        assert_eq!(at("code=a&code=b"), Some(RedirectError::NoCode));
        match at("error=access_denied&error_description=The+user%0D%0Adenied&code=c") {
            Some(RedirectError::Provider(Failure::Refused { code, text })) => {
                assert_eq!(code, "access_denied");
                assert!(text.contains("The user denied"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            at("error=temporarily_unavailable"),
            Some(RedirectError::Provider(Failure::Transient(_)))
        ));
    }

    #[test]
    fn the_code_is_redeemed_with_the_redirect_uri_that_was_used() {
        let auth = ClientAuth::Secret(Secret::new("s"));
        let form = fixed().token_request(
            &account(),
            &auth,
            &Secret::new("c"),
            "http://localhost:4711",
        );
        for (name, value) in [
            ("grant_type", "authorization_code"),
            ("client_id", "id"),
            ("client_secret", "s"),
            ("code", "c"),
            ("redirect_uri", "http://localhost:4711"),
            (
                "code_verifier",
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            ),
        ] {
            assert_eq!(form.value(name), Some(value), "{name}");
        }
    }

    #[test]
    fn providers_that_take_any_port_are_known_by_host_alone() {
        for (url, expected) in [
            (
                "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
                true,
            ),
            ("https://accounts.google.com/o/oauth2/auth", true),
            (
                "https://accounts.google.com.evil.example/o/oauth2/auth",
                false,
            ),
            ("https://provider.example/?x=accounts.google.com", false),
            ("nonsense", false),
        ] {
            assert_eq!(any_loopback_port(url), expected, "{url}");
        }
    }
}
