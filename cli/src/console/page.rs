//! The pages. `maud` checks the markup when the program is compiled and escapes whatever is put into it.

use super::{
    door::{Notice, Visit},
    house::{
        AccountShown, Ask, ConsentShown, EventShown, Gravity, ServerShown, SessionShown, Standing,
        State,
    },
    words::{ago, bytes, clock, date, duration, left, shortened},
};
use crate::messages::{console as texts, counted, sentence};
use maud::{DOCTYPE, Markup, html};

/// Seconds after which a browser without JavaScript loads the page again, unless there is something to be typed.
const AGAIN: u32 = 10;

/// Events that are shown at once; the others are folded away.
const EVENTS: usize = 15;

/// Longest word of an event, in characters: addresses of sign-in pages are longer than anybody reads.
const WORD: usize = 96;

/// Everything at a glance.
pub(super) fn overview(state: &State, visit: &Visit) -> Markup {
    let form_word = visit.form_word.expose();
    let waiting = state.consents.len();
    let title = match waiting {
        0 => "emailproxy".to_owned(),
        n => format!("({n}) emailproxy"),
    };
    // Loading it again would take away what somebody is typing.
    let typing = state
        .consents
        .iter()
        .any(|consent| matches!(consent.ask, Ask::Browser { .. }));
    let head = html! {
        @if !typing {
            noscript { meta http-equiv="refresh" content=(AGAIN); }
        }
        script src="/script.js" defer {}
    };
    let body = html! {
        header {
            (brand())
            p #status .status .ending[state.ending] {
                span .dot {}
                @if state.ending { "Ending" } @else { "Serving for " (duration(state.now.saturating_sub(state.since))) }
            }
        }
        main {
            div #notices {
                @if let Some(notice) = &visit.notice { (notice_shown(notice)) }
            }
            (consents(state, form_word, typing))
            (figures(state))
            (accounts(state))
            (servers(state))
            (events(state))
        }
        (footer(state, form_word))
    };
    document(&title, head, body)
}

/// Asks for the token. `why`: what was wrong with the last try.
pub(super) fn sign_in(why: Option<&str>) -> Markup {
    let body = html! {
        main .alone {
            (brand())
            h1 { "Sign in to the console" }
            @if let Some(why) = why { p .notice.bad role="alert" { (why) } }
            p {
                (texts::OPEN_THE_LINK) " " code { "emailproxy console" } " " (texts::IS_PRINTED)
            }
            form method="post" action="/sign-in" .line {
                label .hidden for="token" { "Token" }
                input #token name="token" type="password" autocomplete="current-password" placeholder="Token" required autofocus;
                button .main { "Sign in" }
            }
        }
    };
    document("emailproxy: sign in", html! {}, body)
}

/// A page of a few words.
pub(super) fn words(title: &str, text: &str) -> Markup {
    let body = html! {
        main .alone {
            (brand())
            h1 { (title) }
            p { (text) }
            p { a href="/" { "Back to the console" } }
        }
    };
    document(&format!("emailproxy: {title}"), html! {}, body)
}

fn document(title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                (head)
            }
            body { (body) }
        }
    }
}

fn brand() -> Markup {
    html! {
        a .brand href="/" {
            img src="/icon.svg" alt="" width="28" height="28";
            span { "emailproxy" }
        }
    }
}

fn notice_shown(notice: &Notice) -> Markup {
    html! {
        p .notice .good[notice.good] .bad[!notice.good] role="status" { (notice.text) }
    }
}

fn consents(state: &State, form_word: &str, typing: bool) -> Markup {
    html! {
        section #consents .consents aria-label="Permissions that are waited for" {
            @for consent in &state.consents { (consent_shown(consent, state, form_word)) }
            @if typing {
                noscript { p .quiet { (sentence(texts::PAGE_STAYS)) " " a href="/" { "Load it again" } } }
            }
        }
    }
}

fn consent_shown(consent: &ConsentShown, state: &State, form_word: &str) -> Markup {
    let id = consent.id;
    html! {
        article #{ "consent-" (id) } .card.asking {
            div .head {
                h2 { (consent.account) " needs your permission" }
                (countdown(consent, state.now))
            }
            p .quiet {
                @match &consent.client {
                    Some(client) => { "Login from " (client) }
                    None => { "Asked for at the command line" }
                }
                @if let Some(user) = &consent.user { " as " (user) }
                ", " (ago(consent.begun, state.now))
            }
            @if consent.password_differs {
                p .notice.warn { (texts::PASSWORD_DIFFERS) }
            }
            @match &consent.ask {
                Ask::Browser { url, redirect_uri } => (by_browser(id, url, redirect_uri, form_word)),
                Ask::Device { url, complete_url, code } => (by_code(id, url, complete_url.as_deref(), code)),
            }
            form method="post" action={ "/consents/" (id) "/dismiss" } .dismiss {
                (hidden(form_word))
                button .plain { "Dismiss: this was not me" }
            }
        }
    }
}

fn countdown(consent: &ConsentShown, now: u64) -> Markup {
    html! {
        p .countdown {
            time #{ "left-" (consent.id) } data-left=(consent.ends.saturating_sub(now)) { (left(consent.ends.saturating_sub(now))) }
            " left"
        }
    }
}

fn by_browser(id: u64, url: &str, redirect_uri: &str, form_word: &str) -> Markup {
    html! {
        div .actions {
            (open(url, "Open the sign-in page"))
            button .plain.scripted type="button" data-copy=(url) hidden { "Copy its address" }
        }
        form method="post" action={ "/consents/" (id) "/answer" } .paste {
            (hidden(form_word))
            label for={ "address-" (id) } {
                (texts::PASTE_HERE) " "
                code { (redirect_uri) }
            }
            div .line {
                input #{ "address-" (id) } name="address" type="text" inputmode="url" autocomplete="off" autocapitalize="off"
                    spellcheck="false" placeholder={ (redirect_uri) "…?code=…" } required;
                button { "Finish" }
            }
        }
        details #{ "qr-" (id) } {
            summary { "Use another device" }
            div .qr {
                img src={ "/consents/" (id) "/qr.svg" } alt="QR code of the sign-in page's address" width="200" height="200" loading="lazy";
                p .quiet { (texts::APPROVE_THERE) }
            }
        }
    }
}

fn by_code(id: u64, url: &str, complete_url: Option<&str>, code: &str) -> Markup {
    html! {
        div .device {
            div {
                p { "Enter this code at " code { (url) } }
                p .code {
                    (code)
                    button .plain.scripted type="button" data-copy=(code) hidden { "Copy" }
                }
                div .actions { (open(complete_url.unwrap_or(url), "Open the page")) }
            }
            img src={ "/consents/" (id) "/qr.svg" } alt="QR code of the page's address" width="148" height="148";
        }
    }
}

/// A button that leads to the provider. Addresses that are no web addresses are text.
fn open(url: &str, text: &str) -> Markup {
    html! {
        @if is_web(url) {
            a .button.main href=(url) target="_blank" rel="noopener noreferrer" { (text) span aria-hidden="true" { " ↗" } }
        } @else {
            code { (url) }
        }
    }
}

fn is_web(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http"))
}

fn hidden(form_word: &str) -> Markup {
    html! { input type="hidden" name="form" value=(form_word); }
}

fn figures(state: &State) -> Markup {
    let ready = |account: &&AccountShown| {
        matches!(
            account.standing,
            Standing::Authorised | Standing::NeedsNoUser
        )
    };
    let ready = state.accounts.iter().filter(ready).count();
    let accepted: u64 = state.servers.iter().map(|server| server.accepted).sum();
    let failed: u64 = state.servers.iter().map(|server| server.failed).sum();
    let relayed: u64 = state
        .servers
        .iter()
        .map(|server| server.to_clients + server.to_server)
        .sum();
    html! {
        dl #figures .figures {
            div { dt { "Accounts ready" } dd { (ready) span .of { " of " (state.accounts.len()) } } }
            div { dt { "Open sessions" } dd { (state.sessions_open) } }
            div { dt { "Logins" } dd { (accepted) @if failed > 0 { span .of { " and " (failed) " refused" } } } }
            div { dt { "Relayed" } dd { (bytes(relayed)) } }
        }
    }
}

fn accounts(state: &State) -> Markup {
    html! {
        section #accounts .card aria-labelledby="accounts-title" {
            h2 #accounts-title { "Accounts" }
            @if state.accounts.is_empty() {
                p .quiet { (sentence(texts::NO_ACCOUNT_SHOWN)) }
            }
            @if state.accounts.iter().any(|account| account.standing == Standing::Unauthorised) {
                p .quiet { (sentence(texts::HOW_TO_AUTHORISE)) }
            }
            ul .rows {
                @for account in &state.accounts { (account_shown(account, state)) }
            }
        }
    }
}

fn account_shown(account: &AccountShown, state: &State) -> Markup {
    let (class, text) = match account.standing {
        Standing::Authorised => ("good", "Authorised"),
        Standing::NeedsNoUser => ("good", "Needs no approval"),
        Standing::Waiting => ("warn", "Waiting for you"),
        Standing::Unauthorised => ("none", "Not authorised yet"),
    };
    html! {
        li {
            div {
                strong { (account.name) }
                p .quiet .facts {
                    span { (flow(account.flow)) }
                    @if let Some(used) = account.last_used { span { "used " (ago(used, state.now)) } }
                    @if account.sessions > 0 { span { (counted(account.sessions, "session")) } }
                    @match account.token_until {
                        Some(until) if until > state.now => span { "token for " (duration(until - state.now)) },
                        Some(_) if account.renewable => span { "token is renewed at the next login" },
                        _ => {}
                    }
                }
                @if let Some(trouble) = &account.trouble { p .trouble { (trouble) } }
            }
            span .badge .(class) { (text) }
        }
    }
}

fn flow(name: &str) -> &str {
    match name {
        "authorization_code" => "sign-in in a browser",
        "device" => "device code",
        "client_credentials" => "client credentials",
        "password" => "password",
        "service_account" => "service account",
        other => other,
    }
}

fn servers(state: &State) -> Markup {
    html! {
        section #servers .card aria-labelledby="servers-title" {
            h2 #servers-title { "Servers" }
            ul .rows {
                @for server in &state.servers { (server_shown(server, state)) }
            }
            @if state.sessions_open > state.sessions.len() {
                p .quiet { (sentence(&texts::newest_sessions(state.sessions.len(), state.sessions_open))) }
            }
        }
    }
}

fn server_shown(server: &ServerShown, state: &State) -> Markup {
    let sessions: Vec<_> = state
        .sessions
        .iter()
        .filter(|session| session.server == server.heading)
        .collect();
    html! {
        li #{ "server-" (server.heading) } {
            div {
                strong { (server.heading) }
                p .quiet .route {
                    span { (server.addresses.join(", ")) " " em { (server.local) } }
                    span .arrow aria-label="to" { " → " }
                    span { (server.upstream) " " em { (server.upstream_tls) } }
                }
                p .quiet .facts {
                    span { (counted(server.accepted, "login")) }
                    @if server.failed > 0 { span .trouble { (server.failed) " refused" } }
                    span title="to mail programs" { "↓ " (bytes(server.to_clients)) }
                    span title="to the server" { "↑ " (bytes(server.to_server)) }
                }
                @if !sessions.is_empty() {
                    details #{ "sessions-" (server.heading) } {
                        summary { "Sessions" }
                        ul .sessions {
                            @for session in sessions { (session_shown(session, state.now)) }
                        }
                    }
                }
            }
            span .badge .good[server.open > 0] .none[server.open == 0] { (server.open) " open" }
        }
    }
}

fn session_shown(session: &SessionShown, now: u64) -> Markup {
    html! {
        li #{ "session-" (session.id) } {
            span {
                @match &session.account {
                    Some(account) => (account),
                    None => em { "logging in" },
                }
            }
            span .quiet { (session.client) }
            span .quiet { (duration(now.saturating_sub(session.since))) }
            span .quiet { "↓ " (bytes(session.to_client)) " ↑ " (bytes(session.to_server)) }
        }
    }
}

fn events(state: &State) -> Markup {
    html! {
        section .card aria-labelledby="events-title" {
            h2 #events-title { "Recent events" }
            ol #events .events {
                @for event in state.events.iter().take(EVENTS) { (event_shown(event, state)) }
            }
            @if state.events.len() > EVENTS {
                details #earlier {
                    summary { "Earlier" }
                    ol .events {
                        @for event in state.events.iter().skip(EVENTS) { (event_shown(event, state)) }
                    }
                }
            }
        }
    }
}

fn event_shown(event: &EventShown, state: &State) -> Markup {
    let level = match event.level {
        Gravity::Info => "info",
        Gravity::Warning => "warning",
        Gravity::Error => "error",
    };
    html! {
        li #{ "event-" (event.number) } .(level) {
            time title=(date(event.time, state.offset)) { (clock(event.time, state.offset)) }
            p {
                @if event.level != Gravity::Info { span .level { (level) } " " }
                (shortened(&event.text, WORD))
                @if !event.context.is_empty() { span .quiet { " " (event.context) } }
            }
        }
    }
}

fn footer(state: &State, form_word: &str) -> Markup {
    let (now, then, value) = match state.debug {
        true => ("debug", "Back to info", "off"),
        false => ("info", "Log more (debug)", "on"),
    };
    html! {
        footer {
            form method="post" action="/debug" #level {
                (hidden(form_word))
                span { "Log level: " strong { (now) } }
                button .plain name="debug" value=(value) { (then) }
            }
            nav {
                a href="/metrics" { "Metrics" }
                a href="/state.json" { "JSON" }
                a href="/healthz" { "Health" }
            }
            form method="post" action="/sign-out" {
                (hidden(form_word))
                button .plain { "Sign out" }
            }
            p .quiet { "emailproxy " (state.version) }
        }
    }
}
