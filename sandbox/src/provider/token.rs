//! The token endpoint: who is the client, what does it bring, what does it get.

use super::{
    OAuthError, Parameters, Question, Reply,
    client::{self, Client},
    key::{SERVICE_ACCOUNT, Verified},
    state::{Tables, Token, random},
};
use crate::{ExpiresIn, TokenRequest, shared::Shared};
use async_io::Timer;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Refresh tokens live this long.
const REFRESH_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// How far in the future a JWT may end (RFC 7523 leaves it to the provider).
const MAX_JWT: f64 = 3_660.0;
/// Polls may come this much early.
const POLL_SLACK: Duration = Duration::from_millis(200);

pub(crate) async fn answer(shared: &Shared, question: Question) -> Reply {
    let form = question.form.clone().unwrap_or_default();
    let number = shared.note_token_request(TokenRequest {
        grant_type: form.get("grant_type").unwrap_or_default().into(),
        parameters: form.0,
        authorization: question.authorization.clone(),
        status: None,
    });
    let delay = shared.behaviour().token_delay;
    if !delay.is_zero() {
        Timer::after(delay).await;
    }
    let ordered = shared.behaviour().take_token_answer();
    let reply = match ordered {
        Some((status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Reply::Raw(status, body.to_string())
        }
        None => grant(shared, &question)
            .unwrap_or_else(|error| error.reply(question.authorization.is_some())),
    };
    let status = match &reply {
        Reply::Json(status, _) | Reply::Raw(status, _) => *status,
        _ => StatusCode::UNAUTHORIZED,
    };
    shared.note_token_answer(number, status.as_u16());
    reply
}

/// RFC 7662.
pub(crate) fn introspect(shared: &Shared, question: &Question) -> Reply {
    let (form, client) = match authenticated(shared, question) {
        Ok(good) => good,
        Err(error) => return error.reply(question.authorization.is_some()),
    };
    if client == client::PUBLIC {
        let error = OAuthError::new(
            "invalid_client",
            "introspection is for confidential clients",
        );
        return error.reply(false);
    }
    let name = form.get("token").unwrap_or_default();
    let mut tables = shared.provider().tables();
    let left = tables.access.left(name).unwrap_or_default();
    let answer = match tables.access.get(name) {
        Some(token) => json!({
            "active": true,
            "username": &*token.user,
            "client_id": token.client,
            "scope": token.scope,
            "token_type": "Bearer",
            "exp": (unix_time() + left.as_secs_f64()) as u64,
        }),
        None => json!({"active": false}),
    };
    Reply::Json(StatusCode::OK, answer)
}

/// The form and the client of a request, the client authenticated as it is registered (RFC 6749 §2.3, RFC 7523 §2.2).
pub(crate) fn authenticated<'a>(
    shared: &Shared,
    question: &'a Question,
) -> Result<(&'a Parameters, Client), OAuthError> {
    let form = form(question)?;
    let wrong = |text: &str| OAuthError::new("invalid_client", text);
    let (id, secret) = match &question.authorization {
        Some(header) => {
            let (id, secret) =
                basic(header).ok_or_else(|| wrong("the Authorization header is not Basic"))?;
            if form.get("client_secret").is_some()
                || form.get("client_id").is_some_and(|own| own != id)
            {
                return Err(OAuthError::new(
                    "invalid_request",
                    "the client is named twice",
                ));
            }
            (id, Some(secret))
        }
        None => {
            let assertion = form
                .get("client_assertion")
                .map(|jwt| issuer_unverified(jwt).unwrap_or_default());
            let id = form
                .get("client_id")
                .map(Into::into)
                .or(assertion)
                .unwrap_or_default();
            (id, form.get("client_secret").map(Into::into))
        }
    };
    let client = client::find(&id).ok_or_else(|| wrong("the client is unknown"))?;
    if client == client::CERTIFICATE {
        assertion(shared, form, client)?;
    } else if client.secret != secret.as_deref() {
        return Err(wrong("the client's secret is missing or wrong"));
    }
    Ok((form, client))
}

fn form(question: &Question) -> Result<&Parameters, OAuthError> {
    let wrong = |text: String| OAuthError::new("invalid_request", text);
    let form = question
        .form
        .as_ref()
        .ok_or_else(|| wrong("the body has to be application/x-www-form-urlencoded".into()))?;
    match form.repeated() {
        Some(name) => Err(wrong(format!("{name} is there more than once"))),
        None => Ok(form),
    }
}

/// `Basic` credentials; both parts are form-encoded inside (RFC 6749 §2.3.1).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, value) = header.split_once(' ')?;
    let decoded = BASE64_STANDARD
        .decode(value.trim())
        .ok()
        .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |part: &str| {
        let pairs = format!("x={part}");
        form_urlencoded::parse(pairs.as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
    };
    Some((plain(id)?, plain(secret)?))
}

/// Who claims to have signed a JWT.
fn issuer_unverified(jwt: &str) -> Option<String> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("sub")?.as_str()?.into())
}

/// A signed client assertion (RFC 7523 §3).
fn assertion(shared: &Shared, form: &Parameters, client: Client) -> Result<(), OAuthError> {
    let wrong = |text: &str| OAuthError::new("invalid_client", text);
    if form.get("client_assertion_type")
        != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
    {
        return Err(wrong("client_assertion_type is missing or unknown"));
    }
    let jwt = form
        .get("client_assertion")
        .ok_or_else(|| wrong("client_assertion is missing"))?;
    let key = shared
        .provider()
        .service_key()
        .map_err(|e| OAuthError::new("server_error", e.to_string()))?;
    let Verified { header, claims } = key.verify(jwt).map_err(wrong)?;
    if header["x5t#S256"] != key.thumbprint() {
        return Err(wrong("x5t#S256 is not that of the registered certificate"));
    }
    if claims["iss"] != client.id || claims["sub"] != client.id {
        return Err(wrong("iss and sub have to be the client id"));
    }
    check_jwt(shared, &claims).map_err(wrong)?;
    let id = claims["jti"]
        .as_str()
        .ok_or_else(|| wrong("jti is missing"))?;
    let mut tables = shared.provider().tables();
    if tables.assertions.get(id).is_some() {
        return Err(wrong("this assertion was used before"));
    }
    tables
        .assertions
        .insert(id.into(), (), Duration::from_secs(MAX_JWT as u64));
    Ok(())
}

/// Audience and times of a JWT.
fn check_jwt(shared: &Shared, claims: &Value) -> Result<(), &'static str> {
    let audience = format!("{}/token", shared.provider_url);
    let meant = match &claims["aud"] {
        Value::String(own) => *own == audience,
        Value::Array(several) => several.iter().any(|own| *own == *audience),
        _ => false,
    };
    if !meant {
        return Err("aud is not this token endpoint");
    }
    let now = unix_time();
    match claims["exp"].as_f64() {
        None => Err("exp is missing"),
        Some(end) if end <= now => Err("the assertion has expired"),
        Some(end) if end > now + MAX_JWT => Err("exp is more than an hour away"),
        Some(_)
            if claims["nbf"]
                .as_f64()
                .is_some_and(|start| start > now + 60.0) =>
        {
            Err("nbf is in the future")
        }
        Some(_) => Ok(()),
    }
}

fn unix_time() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// Checks what was asked for, and puts it into words as granted. Nothing asked for: `mail`.
pub(crate) fn scope(asked: Option<&str>) -> Result<String, OAuthError> {
    let asked = asked.unwrap_or("mail");
    match asked
        .split_ascii_whitespace()
        .find(|scope| !client::SCOPES.contains(scope))
    {
        Some(unknown) => Err(OAuthError::new(
            "invalid_scope",
            format!("the scope {unknown} is unknown"),
        )),
        None => Ok(asked.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

/// Whether this can be a code verifier or its S256 challenge (RFC 7636 §4.1).
pub(crate) fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// What a grant has led to.
struct Granted {
    client: &'static str,
    user: Arc<str>,
    scope: String,
    grant: u64,
    /// With a refresh token.
    refresh: bool,
}

fn grant(shared: &Shared, question: &Question) -> Result<Reply, OAuthError> {
    let asked = form(question)?;
    let kind = asked.get("grant_type");
    let kind = kind.ok_or_else(|| OAuthError::new("invalid_request", "grant_type is missing"))?;
    if kind == client::JWT_BEARER {
        return Ok(issue(shared, service_account(shared, asked)?));
    }
    let (form, client) = authenticated(shared, question)?;
    let known = client::ALL
        .iter()
        .any(|client| client.grants.contains(&kind));
    if !known {
        return Err(OAuthError::new(
            "unsupported_grant_type",
            "this grant_type is unknown",
        ));
    }
    if !client.grants.contains(&kind) {
        return Err(OAuthError::new(
            "unauthorized_client",
            "this client may not use this grant_type",
        ));
    }
    let granted = match kind {
        client::CODE => authorization_code(shared, form, client),
        client::REFRESH => refresh_token(shared, form, client),
        client::PASSWORD => password(shared, form, client),
        client::DEVICE_CODE => device_code(shared, form, client),
        _ => client_credentials(shared, form, client),
    }?;
    Ok(issue(shared, granted))
}

/// RFC 6749 §4.1.3 with RFC 7636 §4.6.
fn authorization_code(
    shared: &Shared,
    form: &Parameters,
    client: Client,
) -> Result<Granted, OAuthError> {
    let wrong = |text: &str| OAuthError::new("invalid_grant", text);
    let name = form
        .get("code")
        .ok_or_else(|| OAuthError::new("invalid_request", "code is missing"))?;
    let mut tables = shared.provider().tables();
    let code = tables
        .codes
        .get(name)
        .ok_or_else(|| wrong("the code is unknown or too old"))?;
    if code.page.client != client.id {
        return Err(wrong("the code was issued to another client"));
    }
    if std::mem::replace(&mut code.used, true) {
        let grant = code.grant;
        tables.revoke_grant(grant);
        return Err(wrong("the code was used before; what it gave is revoked"));
    }
    let code = code.clone();
    if form.get("redirect_uri") != Some(&code.page.redirect_uri) {
        return Err(wrong(
            "redirect_uri differs from that of the authorisation request",
        ));
    }
    match (&code.page.challenge, form.get("code_verifier")) {
        (None, None) => {}
        (None, Some(_)) => {
            return Err(wrong(
                "a code_verifier came without a code_challenge before it",
            ));
        }
        (Some(_), None) => return Err(wrong("code_verifier is missing")),
        (Some(challenge), Some(verifier)) => {
            let proof = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
            if !is_verifier(verifier) || proof != *challenge {
                return Err(wrong("code_verifier does not fit the code_challenge"));
            }
        }
    }
    Ok(Granted {
        client: client.id,
        user: code.user,
        scope: code.page.scope,
        grant: code.grant,
        refresh: true,
    })
}

/// RFC 6749 §6.
fn refresh_token(
    shared: &Shared,
    form: &Parameters,
    client: Client,
) -> Result<Granted, OAuthError> {
    let wrong = |text: &str| OAuthError::new("invalid_grant", text);
    let missing = || OAuthError::new("invalid_request", "refresh_token is missing");
    let name = form.get("refresh_token").ok_or_else(missing)?;
    let rotate = shared.behaviour().rotate_refresh_tokens;
    let mut tables = shared.provider().tables();
    let token = tables
        .refresh
        .get(name)
        .ok_or_else(|| wrong("the refresh token is unknown, used or revoked"))?;
    if token.client != client.id {
        return Err(wrong("the refresh token was issued to another client"));
    }
    let token = token.clone();
    let narrowed = match form.get("scope") {
        None => token.scope,
        Some(asked) => {
            let asked = scope(Some(asked))?;
            let granted: Vec<&str> = token.scope.split(' ').collect();
            if asked.split(' ').any(|scope| !granted.contains(&scope)) {
                return Err(OAuthError::new(
                    "invalid_scope",
                    "that is more than was granted",
                ));
            }
            asked
        }
    };
    if rotate {
        tables.refresh.remove(name);
    }
    Ok(Granted {
        client: client.id,
        user: token.user,
        scope: narrowed,
        grant: token.grant,
        refresh: rotate,
    })
}

/// RFC 6749 §4.3.
fn password(shared: &Shared, form: &Parameters, client: Client) -> Result<Granted, OAuthError> {
    let missing = |name: &str| OAuthError::new("invalid_request", format!("{name} is missing"));
    let user = form.get("username").ok_or_else(|| missing("username"))?;
    let password = form.get("password").ok_or_else(|| missing("password"))?;
    let provider = shared.provider();
    let user = provider
        .password_opens(user, password)
        .ok_or_else(|| OAuthError::new("invalid_grant", "user name or password is wrong"))?;
    let scope = scope(form.get("scope"))?;
    let grant = provider.tables().next_grant();
    Ok(Granted {
        client: client.id,
        user,
        scope,
        grant,
        refresh: true,
    })
}

/// RFC 6749 §4.4.
fn client_credentials(
    shared: &Shared,
    form: &Parameters,
    client: Client,
) -> Result<Granted, OAuthError> {
    let provider = shared.provider();
    let scope = scope(form.get("scope"))?;
    let grant = provider.tables().next_grant();
    Ok(Granted {
        client: client.id,
        user: provider.daemon(),
        scope,
        grant,
        refresh: false,
    })
}

/// RFC 8628 §3.4 and §3.5.
fn device_code(shared: &Shared, form: &Parameters, client: Client) -> Result<Granted, OAuthError> {
    let name = form
        .get("device_code")
        .ok_or_else(|| OAuthError::new("invalid_request", "device_code is missing"))?;
    let mut tables = shared.provider().tables();
    let Some(device) = tables.devices.get(name) else {
        return Err(OAuthError::new(
            "expired_token",
            "the device code is unknown, used or too old",
        ));
    };
    if device.client != client.id {
        return Err(OAuthError::new(
            "invalid_grant",
            "the device code was issued to another client",
        ));
    }
    let user = match &device.decision {
        None => {
            let now = Instant::now();
            let early = device
                .polled
                .is_some_and(|last| last + device.interval > now + POLL_SLACK);
            device.polled = Some(now);
            if early {
                device.interval += Duration::from_secs(5);
                return Err(OAuthError::new(
                    "slow_down",
                    "wait five seconds longer between requests",
                ));
            }
            return Err(OAuthError::new(
                "authorization_pending",
                "the user has not answered yet",
            ));
        }
        Some(decision) => decision.clone(),
    };
    let scope = device.scope.clone();
    tables.devices.remove(name);
    let user = user.map_err(|()| OAuthError::new("access_denied", "the user said no"))?;
    let grant = tables.next_grant();
    Ok(Granted {
        client: client.id,
        user,
        scope,
        grant,
        refresh: true,
    })
}

/// RFC 7523 §2.1 as Google has it: the key of the service account signs for the user in `sub`.
fn service_account(shared: &Shared, form: &Parameters) -> Result<Granted, OAuthError> {
    let wrong = |text: &str| OAuthError::new("invalid_grant", text);
    let jwt = form
        .get("assertion")
        .ok_or_else(|| OAuthError::new("invalid_request", "assertion is missing"))?;
    let provider = shared.provider();
    let key = provider
        .service_key()
        .map_err(|e| OAuthError::new("server_error", e.to_string()))?;
    let Verified { claims, .. } = key.verify(jwt).map_err(wrong)?;
    if claims["iss"] != SERVICE_ACCOUNT {
        return Err(wrong("iss is not the service account"));
    }
    check_jwt(shared, &claims).map_err(wrong)?;
    if claims["iat"]
        .as_f64()
        .is_none_or(|issued| issued > unix_time() + 60.0)
    {
        return Err(wrong("iat is missing or in the future"));
    }
    let user = claims["sub"].as_str().and_then(|sub| provider.account(sub));
    let user = user.ok_or_else(|| wrong("sub is no account of this sandbox"))?;
    let scope = scope(claims["scope"].as_str())?;
    let grant = provider.tables().next_grant();
    Ok(Granted {
        client: "service-account",
        user,
        scope,
        grant,
        refresh: false,
    })
}

/// RFC 6749 §5.1.
/// Who has approved (OpenID Connect Core 1.0 §2). It is not signed (`none`, RFC 7519 §6): what comes from the token endpoint itself need
/// not be.
fn id_token(shared: &Shared, client: &str, user: &str, lifetime: Duration) -> String {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let now = unix_time() as u64;
    let claims = json!({
        "iss": shared.provider_url,
        "sub": user,
        "aud": client,
        "iat": now,
        "exp": now + lifetime.as_secs(),
        "email": user,
    });
    format!("{}.{}.", part(json!({"alg": "none"})), part(claims))
}

fn issue(shared: &Shared, granted: Granted) -> Reply {
    let (lifetime, form) = {
        let behaviour = shared.behaviour();
        (behaviour.token_lifetime, behaviour.expires_in)
    };
    let mut tables = shared.provider().tables();
    let tables: &mut Tables = &mut tables;
    let mut answer = Map::new();
    let token = Token {
        client: granted.client,
        user: granted.user,
        scope: granted.scope.clone(),
        grant: granted.grant,
    };
    if granted.refresh {
        let name = random("rt-");
        tables
            .refresh
            .insert(name.clone(), token.clone(), REFRESH_LIFETIME);
        answer.insert("refresh_token".into(), name.into());
    }
    if granted.scope.split(' ').any(|scope| scope == "openid") {
        let token = id_token(shared, granted.client, &token.user, lifetime);
        answer.insert("id_token".into(), token.into());
    }
    let name = random("at-");
    tables.access.insert(name.clone(), token, lifetime);
    answer.insert("access_token".into(), name.into());
    answer.insert("token_type".into(), "Bearer".into());
    answer.insert("scope".into(), granted.scope.into());
    let seconds = lifetime.as_secs();
    match form {
        ExpiresIn::Number => drop(answer.insert("expires_in".into(), seconds.into())),
        ExpiresIn::Text => drop(answer.insert("expires_in".into(), seconds.to_string().into())),
        ExpiresIn::Missing => {}
    }
    Reply::Json(StatusCode::OK, answer.into())
}
