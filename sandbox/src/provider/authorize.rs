//! What the user's browser sees: authorisation requests, the device page, and the user's decision.

use super::{
    OAuthError, Parameters, Question, Reply,
    client::{self, Client},
    page,
    state::{CODE_LIFETIME, Code, DEVICE_LIFETIME, Device, PAGE_LIFETIME, Page, random, user_code},
    token,
};
use crate::shared::Shared;
use hyper::StatusCode;
use serde_json::json;
use std::time::Duration;
use url::{Host, Url};

/// An authorisation request (RFC 6749 §4.1.1, RFC 7636 §4.3).
pub(crate) fn consent_page(shared: &Shared, query: &Parameters) -> Reply {
    shared.note_authorization(query.0.clone());
    let refuse = |text: &str| Reply::Html(StatusCode::BAD_REQUEST, page::error(text));
    if let Some(name) = query.repeated() {
        return refuse(&format!("The parameter {name} is there more than once."));
    }
    // Until client and redirect URI are known to be good, nothing is redirected.
    let Some(client) = query.get("client_id").and_then(client::find) else {
        return refuse("The client_id is missing or unknown to this provider.");
    };
    let Some(redirect_uri) = query.get("redirect_uri").filter(|uri| is_loopback(uri)) else {
        return refuse("The redirect_uri is missing, or is not an http address on loopback.");
    };
    let state = query.get("state");
    let redirect = |code: &str, description: &str| {
        redirect(
            redirect_uri,
            state,
            &[("error", code), ("error_description", description)],
        )
    };
    if !client.grants.contains(&client::CODE) {
        return redirect("unauthorized_client", "this client may not ask users");
    }
    match query.get("response_type") {
        Some("code") => {}
        Some(_) => return redirect("unsupported_response_type", "response_type has to be code"),
        None => return redirect("invalid_request", "response_type is missing"),
    }
    let scope = match token::scope(query.get("scope")) {
        Ok(scope) => scope,
        Err(error) => return redirect(error.code, &error.description),
    };
    let challenge = match (
        query.get("code_challenge"),
        query.get("code_challenge_method"),
    ) {
        (Some(challenge), Some("S256")) if token::is_verifier(challenge) => Some(challenge),
        (Some(_), Some("S256")) => {
            return redirect("invalid_request", "code_challenge is malformed");
        }
        (Some(_), _) => return redirect("invalid_request", "code_challenge_method has to be S256"),
        (None, Some(_)) => return redirect("invalid_request", "code_challenge is missing"),
        (None, None) if client == client::PUBLIC => {
            return redirect(
                "invalid_request",
                "a public client has to send a code_challenge",
            );
        }
        (None, None) => None,
    };
    let waiting = Page {
        client: client.id,
        redirect_uri: redirect_uri.into(),
        state: state.map(Into::into),
        scope,
        challenge: challenge.map(Into::into),
        device: None,
    };
    show(shared, client, waiting, query.get("login_hint"), None)
}

/// The page where a device's code is typed (RFC 8628 §3.3).
pub(crate) fn device_page(shared: &Shared, query: &Parameters) -> Reply {
    let Some(typed) = query.get("user_code") else {
        return Reply::Html(StatusCode::OK, page::device_code(false));
    };
    // Letter case, blanks and dashes do not matter (RFC 8628 §6.1).
    let plain = |code: &str| code.replace(['-', ' '], "").to_ascii_uppercase();
    let found = shared
        .provider()
        .tables()
        .devices
        .iter()
        .find_map(|(name, device)| {
            let open = device.decision.is_none() && plain(&device.user_code) == plain(typed);
            open.then(|| (name.to_owned(), device.clone()))
        });
    let Some((name, client, device)) =
        found.and_then(|(name, device)| Some((name, client::find(device.client)?, device)))
    else {
        return Reply::Html(StatusCode::NOT_FOUND, page::device_code(true));
    };
    let waiting = Page {
        client: client.id,
        redirect_uri: String::new(),
        state: None,
        scope: device.scope,
        challenge: None,
        device: Some(name),
    };
    show(shared, client, waiting, None, Some(&device.user_code))
}

fn show(
    shared: &Shared,
    client: Client,
    waiting: Page,
    hint: Option<&str>,
    user_code: Option<&str>,
) -> Reply {
    let name = random("page-");
    let provider = shared.provider();
    let html = page::consent(&page::Consent {
        client,
        page: &name,
        scope: &waiting.scope,
        hint,
        accounts: provider
            .accounts()
            .iter()
            .map(|account| account.address.as_str())
            .collect(),
        redirect_uri: waiting
            .device
            .is_none()
            .then_some(waiting.redirect_uri.as_str()),
        user_code,
    });
    provider.tables().pages.insert(name, waiting, PAGE_LIFETIME);
    Reply::Html(StatusCode::OK, html)
}

/// The user has pressed a button.
pub(crate) fn decide(shared: &Shared, form: &Parameters) -> Reply {
    let refuse = |text: &str| Reply::Html(StatusCode::BAD_REQUEST, page::error(text));
    let provider = shared.provider();
    let approved = match form.get("decision") {
        Some("approve") => true,
        Some("deny") => false,
        _ => return refuse("The form came without a decision."),
    };
    let Some(user) = form
        .get("account")
        .and_then(|address| provider.account(address))
    else {
        return refuse("The form came without an account of this sandbox.");
    };
    let mut tables = provider.tables();
    let Some(page) = form.get("page").and_then(|name| tables.pages.remove(name)) else {
        return refuse(
            "This page was answered before, or is too old. Start again from the mail program.",
        );
    };
    if let Some(name) = &page.device {
        let Some(device) = tables
            .devices
            .get(name)
            .filter(|device| device.decision.is_none())
        else {
            return refuse("The device's code is used or too old.");
        };
        device.decision = Some(if approved { Ok(user.clone()) } else { Err(()) });
        let (title, text) = if approved {
            (
                "Approved",
                format!("The device gets access to the mail of {user}. You can close this page."),
            )
        } else {
            (
                "Denied",
                "The device gets no access. You can close this page.".into(),
            )
        };
        return Reply::Html(StatusCode::OK, page::note(title, &text));
    }
    let (uri, state) = (page.redirect_uri.clone(), page.state.clone());
    if !approved {
        let error = [
            ("error", "access_denied"),
            ("error_description", "the user said no"),
        ];
        return redirect(&uri, state.as_deref(), &error);
    }
    let name = random("code-");
    let grant = tables.next_grant();
    tables.codes.insert(
        name.clone(),
        Code {
            page,
            user,
            grant,
            used: false,
        },
        CODE_LIFETIME,
    );
    redirect(&uri, state.as_deref(), &[("code", &name)])
}

/// RFC 8628 §3.1.
pub(crate) fn device_authorization(shared: &Shared, question: &Question) -> Reply {
    let by_header = question.authorization.is_some();
    match begin_device(shared, question) {
        Ok(reply) => reply,
        Err(error) => error.reply(by_header),
    }
}

fn begin_device(shared: &Shared, question: &Question) -> Result<Reply, OAuthError> {
    let (form, client) = token::authenticated(shared, question)?;
    if !client.grants.contains(&client::DEVICE_CODE) {
        return Err(OAuthError::new(
            "unauthorized_client",
            "this client may not use device codes",
        ));
    }
    let interval = shared.behaviour().device_interval;
    let (name, user_code) = (random("device-"), user_code());
    let device = Device {
        client: client.id,
        scope: token::scope(form.get("scope"))?,
        user_code: user_code.clone(),
        decision: None,
        interval: Duration::from_secs(interval),
        polled: None,
    };
    shared
        .provider()
        .tables()
        .devices
        .insert(name.clone(), device, DEVICE_LIFETIME);
    let page = format!("{}/device", shared.provider_url);
    Ok(Reply::Json(
        StatusCode::OK,
        json!({
            "device_code": name,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": format!("{page}?user_code={user_code}"),
            "expires_in": DEVICE_LIFETIME.as_secs(),
            "interval": interval,
        }),
    ))
}

/// Sends the browser back to the client.
fn redirect(uri: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> Reply {
    let Ok(mut url) = Url::parse(uri) else {
        return Reply::Html(
            StatusCode::BAD_REQUEST,
            page::error("The redirect_uri is not a URL."),
        );
    };
    url.query_pairs_mut()
        .extend_pairs(parameters)
        .extend_pairs(state.map(|state| ("state", state)));
    Reply::Redirect(url.into())
}

/// RFC 8252 §7.3; `localhost` as well.
fn is_loopback(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else {
        return false;
    };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    loopback && url.scheme() == "http" && url.fragment().is_none() && url.username().is_empty()
}
