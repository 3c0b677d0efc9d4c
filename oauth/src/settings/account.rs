//! `[address@domain]`, `[@domain]` and `[@]`.

use super::{Account, FlowKind, Options, reader::Reader};
use crate::messages::accounts as messages;
use proxy_proto::{Mechanism, Secret};
use sha2::{Digest, Sha256};
use std::{path::PathBuf, sync::Arc};
use url::{Host, Url};

impl FlowKind {
    /// The value of `oauth2_flow`.
    pub fn name(self) -> &'static str {
        match self {
            FlowKind::AuthorizationCode => "authorization_code",
            FlowKind::Device => "device",
            FlowKind::ClientCredentials => "client_credentials",
            FlowKind::Password => "password",
            FlowKind::ServiceAccount => "service_account",
        }
    }

    /// Whether anyone who has the client's secret gets a token, without the user.
    pub fn needs_no_user(self) -> bool {
        matches!(self, FlowKind::ClientCredentials | FlowKind::ServiceAccount)
    }

    fn from_name(name: &str) -> Option<FlowKind> {
        let all = [
            FlowKind::AuthorizationCode,
            FlowKind::Device,
            FlowKind::ClientCredentials,
            FlowKind::Password,
            FlowKind::ServiceAccount,
        ];
        all.into_iter().find(|flow| flow.name() == name)
    }
}

/// The account of this name, where it can be used; its problems are in the reader.
pub(super) fn read(
    reader: &mut Reader<'_>,
    options: &Options,
    name: &str,
    headings: &[&str],
    own_section: bool,
) -> Option<Account> {
    let flow = flow(reader)?;
    let permission_url = match flow {
        FlowKind::AuthorizationCode | FlowKind::Device => endpoint(reader, "permission_url"),
        _ => None,
    };
    let token_url = reader
        .required("token_url")
        .and_then(|_| endpoint(reader, "token_url"));
    let scope = reader.owned("oauth2_scope").map(|scope| words(&scope));
    let resource = reader.owned("oauth2_resource");
    if scope.is_none() && !(flow == FlowKind::Password && resource.is_some()) {
        reader.required("oauth2_scope");
    }
    let client_id = reader.required("client_id").unwrap_or_default().to_owned();
    let jwt_certificate_path = reader.text("jwt_certificate_path").map(PathBuf::from);
    let jwt_key_path = reader.text("jwt_key_path").map(PathBuf::from);
    check_secrets(reader, options, flow, &client_id);
    check_redirects(reader, flow);
    let sasl_mechanism = mechanism(reader);
    let use_pkce = reader.boolean("use_pkce").unwrap_or(true);
    let mut account = Account {
        name: Arc::from(name),
        headings: headings
            .iter()
            .map(|heading| (*heading).to_owned())
            .collect(),
        own_section,
        flow,
        permission_url,
        token_url: token_url.unwrap_or_default(),
        oauth2_scope: scope,
        oauth2_resource: resource,
        client_id,
        client_secret: reader.text("client_secret").map(Secret::new),
        redirect_uri: reader
            .text("redirect_uri")
            .unwrap_or("http://localhost")
            .to_owned(),
        redirect_listen_address: reader.owned("redirect_listen_address"),
        use_pkce,
        jwt_certificate_path,
        jwt_key_path,
        sasl_user: identity(reader, "sasl_user"),
        sasl_user_imap: identity(reader, "sasl_user_imap"),
        sasl_user_pop: identity(reader, "sasl_user_pop"),
        sasl_user_smtp: identity(reader, "sasl_user_smtp"),
        sasl_mechanism,
        fingerprint: [0; 32],
    };
    account.fingerprint = fingerprint(&account);
    reader.usable().then_some(account)
}

fn flow(reader: &mut Reader<'_>) -> Option<FlowKind> {
    let option = "oauth2_flow";
    let value = reader.text(option);
    let named = value.and_then(FlowKind::from_name);
    if reader.entry("permission_url").is_some() {
        let flow = match named {
            Some(FlowKind::Device) => FlowKind::Device,
            _ => FlowKind::AuthorizationCode,
        };
        if value.is_some() && named != Some(flow) {
            reader.warn(option, messages::FLOW_OVERRULED);
        }
        return Some(flow);
    }
    match (value, named) {
        (_, Some(flow @ (FlowKind::AuthorizationCode | FlowKind::Device))) => {
            reader.error(option, messages::flow_needs_permission_url(flow.name()));
            None
        }
        (_, Some(flow)) => Some(flow),
        (Some(_), None) => {
            reader.error(option, messages::UNKNOWN_FLOW);
            None
        }
        (None, None) => {
            // What the Python tool does; more often `permission_url` was forgotten.
            reader.section_problem(super::Severity::Warning, messages::NO_FLOW.to_owned());
            Some(FlowKind::ClientCredentials)
        }
    }
}

fn endpoint(reader: &mut Reader<'_>, option: &str) -> Option<String> {
    let value = reader.text(option)?;
    if super::is_placeholder(value) {
        return Some(value.to_owned());
    }
    match Url::parse(value) {
        Ok(url) if url.scheme() == "https" && url.has_host() => {}
        Ok(url) if url.scheme() == "http" && is_loopback(&url) => {}
        Ok(url) if url.scheme() == "http" => {
            reader.error(option, messages::endpoint_not_https(option));
        }
        _ => reader.error(option, messages::endpoint_no_url(option)),
    }
    Some(value.to_owned())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn check_secrets(reader: &mut Reader<'_>, options: &Options, flow: FlowKind, client_id: &str) {
    let plain = reader.entry("client_secret").is_some();
    let encrypted = reader.entry("client_secret_encrypted").is_some();
    if plain && encrypted {
        reader.warn("client_secret", messages::BOTH_SECRETS);
    }
    if flow == FlowKind::ServiceAccount {
        return check_service_account(reader, client_id, plain || encrypted);
    }
    let certificate = reader.entry("jwt_certificate_path").is_some();
    let key = reader.entry("jwt_key_path").is_some();
    let secret = plain || encrypted;
    match (secret, certificate, key) {
        (true, false, false) | (false, true, true) => {}
        (true, _, _) => {
            let option = if certificate {
                "jwt_certificate_path"
            } else {
                "jwt_key_path"
            };
            reader.warn(option, messages::SECRET_AND_CERTIFICATE);
        }
        (false, true, false) => {
            reader.error("jwt_certificate_path", messages::NO_JWT_KEY);
        }
        (false, false, true) => {
            reader.error("jwt_key_path", messages::NO_JWT_CERTIFICATE);
        }
        (false, false, false) => {
            let password = options.use_login_password_as_client_credentials_secret;
            if flow == FlowKind::ClientCredentials && !password {
                let text = messages::NOTHING_PROVES_THE_CLIENT.to_owned();
                reader.section_problem(super::Severity::Warning, text);
            }
        }
    }
    let password = options.use_login_password_as_client_credentials_secret;
    if flow == FlowKind::ClientCredentials && password && plain {
        reader.warn("client_secret", messages::PASSWORD_IS_NOT_THE_SECRET);
    }
}

fn check_service_account(reader: &mut Reader<'_>, client_id: &str, secret: bool) {
    match client_id {
        "" => return,
        "file" | "key" => {}
        _ => return reader.error("client_id", messages::SERVICE_ACCOUNT_CLIENT_ID),
    }
    if !secret {
        reader.required("client_secret");
        return;
    }
    let Some(value) = reader.text("client_secret") else {
        return;
    };
    if client_id == "key" && !super::is_placeholder(value) {
        let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(value);
        if object.is_err() {
            reader.error("client_secret", messages::NOT_A_JSON_KEY);
        }
    }
    if client_id == "file" && value.contains('\n') {
        reader.error("client_secret", messages::KEY_INSTEAD_OF_PATH);
    }
}

fn check_redirects(reader: &mut Reader<'_>, flow: FlowKind) {
    if flow != FlowKind::AuthorizationCode {
        return;
    }
    for option in ["redirect_uri", "redirect_listen_address"] {
        let Some(value) = reader.text(option) else {
            continue;
        };
        if super::is_placeholder(value) {
            continue;
        }
        let url = Url::parse(value).ok();
        let http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if url.is_none() {
            reader.error(option, messages::redirect_no_url(option));
        } else if option == "redirect_listen_address" && !url.as_ref().is_some_and(http) {
            reader.error(option, messages::REDIRECT_LISTEN_ADDRESS);
        }
    }
}

fn mechanism(reader: &mut Reader<'_>) -> Option<Mechanism> {
    let value = reader.text("sasl_mechanism")?;
    let all = [Mechanism::XOAuth2, Mechanism::OAuthBearer];
    let found = all
        .into_iter()
        .find(|mechanism| mechanism.name().eq_ignore_ascii_case(value));
    if found.is_none() {
        reader.error("sasl_mechanism", messages::SASL_MECHANISM);
    }
    found
}

fn identity(reader: &mut Reader<'_>, option: &str) -> Option<String> {
    let value = reader.text(option)?;
    if value.chars().any(char::is_control) {
        reader.error(option, messages::identity_with_control(option));
    }
    Some(value.to_owned())
}

/// A scope list may go on over several lines; providers want it separated by single spaces.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn fingerprint(account: &Account) -> [u8; 32] {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned());
    let certificate = path(&account.jwt_certificate_path);
    let key = path(&account.jwt_key_path);
    let text = [
        Some(&*account.name),
        Some(account.flow.name()),
        account.permission_url.as_deref(),
        Some(&account.token_url),
        account.oauth2_scope.as_deref(),
        account.oauth2_resource.as_deref(),
        Some(&account.client_id),
        account.client_secret.as_ref().map(Secret::expose),
        Some(&account.redirect_uri),
        account.redirect_listen_address.as_deref(),
        Some(if account.use_pkce { "pkce" } else { "" }),
        certificate.as_deref(),
        key.as_deref(),
        account.sasl_user.as_deref(),
        account.sasl_user_imap.as_deref(),
        account.sasl_user_pop.as_deref(),
        account.sasl_user_smtp.as_deref(),
        account.sasl_mechanism.map(Mechanism::name),
    ];
    let mut hash = Sha256::new();
    for text in text {
        // Lengths keep neighbours apart; a missing option differs from an empty one.
        hash.update(
            text.map_or(u64::MAX, |text| text.len() as u64)
                .to_be_bytes(),
        );
        hash.update(text.unwrap_or_default());
    }
    hash.finalize().into()
}
