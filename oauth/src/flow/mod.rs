//! The OAuth 2.0 flows: requests out, answers in, no IO.
//!
//! Each file is one flow: a function that builds the request, and where its answer differs from that of every token endpoint
//! (RFC 6749 §5), one that reads it. [`token_answer`] reads all others.

pub mod advice;
pub mod answer;
pub mod assertion;
pub mod authorization_code;
pub mod client_credentials;
pub mod device;
pub mod password;
pub mod refresh;
pub mod service_account;

pub use answer::{Failure, Grant, token_answer};

use crate::transport::Request;
use proxy_proto::Secret;
use zeroize::Zeroizing;

/// How the client proves itself at the token endpoint (RFC 6749 §2.3).
#[derive(Clone)]
pub enum ClientAuth {
    /// A public client.
    None,
    /// `client_secret` in the body.
    Secret(Secret),
    /// `client_assertion` (RFC 7523 §2.2).
    Assertion(Secret),
}

/// An `application/x-www-form-urlencoded` body. No `Debug`: it holds secrets.
#[derive(Default)]
pub struct Form {
    pairs: Vec<(&'static str, Secret)>,
}

impl Form {
    /// A token request of this grant type.
    fn grant(grant_type: &str, client_id: &str, auth: &ClientAuth) -> Self {
        Form::default()
            .with("grant_type", grant_type)
            .client(client_id, auth)
    }

    fn client(self, client_id: &str, auth: &ClientAuth) -> Self {
        let form = self.with("client_id", client_id);
        match auth {
            ClientAuth::None => form,
            ClientAuth::Secret(secret) => form.with("client_secret", secret.expose()),
            ClientAuth::Assertion(assertion) => form
                .with(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                )
                .with("client_assertion", assertion.expose()),
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.pairs.push((name, Secret::new(value)));
        self
    }

    fn with_optional(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The values that must never show in a log or an error, should the provider repeat them.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        const SECRET: [&str; 8] = [
            "client_secret",
            "client_assertion",
            "password",
            "refresh_token",
            "code",
            "code_verifier",
            "device_code",
            "assertion",
        ];
        self.pairs
            .iter()
            .filter(|(name, _)| SECRET.contains(name))
            .map(|(_, value)| value)
    }

    /// The value of a parameter.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value.expose())
    }

    /// POST to `url`.
    pub fn post(&self, url: &str) -> Request {
        Request {
            url: url.to_owned(),
            form: Some(self.encode()),
        }
    }

    fn encode(&self) -> Zeroizing<String> {
        // escaping at most triples a value: with enough room no copy is left behind by growing
        let room = self
            .pairs
            .iter()
            .map(|(n, v)| n.len() + 3 * v.expose().len() + 2)
            .sum();
        let mut serializer = form_urlencoded::Serializer::new(String::with_capacity(room));
        for (name, value) in &self.pairs {
            serializer.append_pair(name, value.expose());
        }
        Zeroizing::new(serializer.finish())
    }
}

/// `url` with further parameters in its query, blanks as `%20`, which every provider takes.
fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    let mut serializer = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        serializer.append_pair(name, value);
    }
    // a `+` of the values is escaped already: what is left are blanks
    let query = serializer.finish().replace('+', "%20");
    let (url, fragment) = match url.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (url, None),
    };
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    let fragment = fragment.map(|f| format!("#{f}")).unwrap_or_default();
    format!("{url}{joint}{query}{fragment}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_join_whatever_the_url_has() {
        let pairs = [("scope", "a b+c"), ("state", "é&=")];
        let query = "scope=a%20b%2Bc&state=%C3%A9%26%3D";
        for (url, expected) in [
            (
                "https://p.example/auth",
                format!("https://p.example/auth?{query}"),
            ),
            (
                "https://p.example/auth?",
                format!("https://p.example/auth?{query}"),
            ),
            (
                "https://p.example/auth?p=1",
                format!("https://p.example/auth?p=1&{query}"),
            ),
            (
                "https://p.example/auth#x",
                format!("https://p.example/auth?{query}#x"),
            ),
        ] {
            assert_eq!(with_query(url, &pairs), expected);
        }
    }

    #[test]
    fn clients_prove_themselves_in_the_body() {
        for (auth, expected) in [
            (ClientAuth::None, "grant_type=g&client_id=id"),
            (
                ClientAuth::Secret(Secret::new("s&=cret ")),
                "grant_type=g&client_id=id&client_secret=s%26%3Dcret+",
            ),
            (
                ClientAuth::Assertion(Secret::new("a.b.c")),
                "grant_type=g&client_id=id&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A\
                 client-assertion-type%3Ajwt-bearer&client_assertion=a.b.c",
            ),
        ] {
            assert_eq!(*Form::grant("g", "id", &auth).encode(), expected);
        }
    }
}

#[cfg(test)]
pub(crate) mod test {
    use crate::settings::{Account, FlowKind};

    /// An account with an authorisation code flow and no secret.
    pub(crate) fn account() -> Account {
        Account {
            name: "user@example.com".into(),
            headings: vec!["user@example.com".to_owned()],
            own_section: true,
            flow: FlowKind::AuthorizationCode,
            permission_url: Some("https://provider.example/auth".to_owned()),
            token_url: "https://provider.example/token".to_owned(),
            oauth2_scope: Some("mail offline_access".to_owned()),
            oauth2_resource: None,
            client_id: "id".to_owned(),
            client_secret: None,
            redirect_uri: "http://localhost".to_owned(),
            redirect_listen_address: None,
            use_pkce: true,
            jwt_certificate_path: None,
            jwt_key_path: None,
            sasl_user: None,
            sasl_user_imap: None,
            sasl_user_pop: None,
            sasl_user_smtp: None,
            sasl_mechanism: None,
            fingerprint: [0; 32],
        }
    }
}
