//! The provider's pages: plain HTML that needs no script, in light and dark.

use super::client::Client;

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#f4f3ef;--card:#fff;--ink:#1d2126;--soft:#5c636b;--line:#d9d7d0;--go:#17633f;--go-ink:#fff}\
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1e2226;--ink:#e9e7e2;--soft:#a3a9b0;--line:#363c43;--go:#7fd1a4;--go-ink:#0d2317}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--paper);color:var(--ink);font:1.0625rem/1.55 system-ui,sans-serif}\
main{width:100%;max-width:31rem;background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.75rem 2rem}\
h1{font-size:1.35rem;line-height:1.3;margin:0 0 1rem}\
p{margin:.6rem 0}\
.soft{color:var(--soft);font-size:.925rem}\
code{font-size:.925em;overflow-wrap:anywhere}\
fieldset{border:1px solid var(--line);border-radius:10px;margin:1.1rem 0;padding:.5rem 1rem .75rem}\
legend{padding:0 .4rem;color:var(--soft);font-size:.925rem}\
label{display:block;padding:.3rem 0;overflow-wrap:anywhere}\
ul{margin:.4rem 0;padding-left:1.25rem}\
.buttons{display:flex;gap:.75rem;flex-wrap:wrap;margin-top:1.25rem}\
button{flex:1 1 8rem;font:inherit;font-weight:600;padding:.65rem 1rem;border-radius:10px;border:1px solid var(--line);background:transparent;color:inherit;cursor:pointer}\
button.go{background:var(--go);border-color:var(--go);color:var(--go-ink)}\
button:focus-visible,input:focus-visible{outline:3px solid var(--go);outline-offset:2px}\
input[type=text]{width:100%;font:inherit;font-size:1.3rem;letter-spacing:.12em;text-transform:uppercase;padding:.5rem .75rem;border-radius:10px;border:1px solid var(--line);background:var(--paper);color:inherit}";

/// What the consent page shows.
pub(crate) struct Consent<'a> {
    pub(crate) client: Client,
    /// The one-time value that the form carries.
    pub(crate) page: &'a str,
    pub(crate) scope: &'a str,
    /// `login_hint`.
    pub(crate) hint: Option<&'a str>,
    /// All addresses to choose from.
    pub(crate) accounts: Vec<&'a str>,
    /// Where the browser goes afterwards; `None` for a device.
    pub(crate) redirect_uri: Option<&'a str>,
    /// The code that the device shows.
    pub(crate) user_code: Option<&'a str>,
}

pub(crate) fn consent(consent: &Consent<'_>) -> String {
    let hinted = consent.accounts.iter().position(|account| {
        consent
            .hint
            .is_some_and(|hint| hint.eq_ignore_ascii_case(account))
    });
    let mut body = format!(
        "<h1>Let <strong>{}</strong> into a mailbox?</h1>\n",
        escape(consent.client.name)
    );
    body += &format!(
        "<p>The program with the client id <code>{}</code> asks the sandbox provider for access to:</p>\n<ul>{}</ul>\n",
        escape(consent.client.id),
        consent
            .scope
            .split(' ')
            .map(|scope| format!("<li>{}</li>", escape(scope_text(scope))))
            .collect::<String>()
    );
    if let Some(code) = consent.user_code {
        body += &format!(
            "<p>Go on only if your device shows the code <strong>{}</strong>.</p>\n",
            escape(code)
        );
    }
    if let (Some(hint), None) = (consent.hint, hinted) {
        body += &format!(
            "<p>It wants the mail of <strong>{}</strong>, which is no account of this sandbox.</p>\n",
            escape(hint)
        );
    }
    body += &format!(
        "<form method=\"post\" action=\"/consent\">\n<input type=\"hidden\" name=\"page\" value=\"{}\">\n\
         <fieldset><legend>For the mail of</legend>\n",
        escape(consent.page)
    );
    for (index, account) in consent.accounts.iter().enumerate() {
        let checked = if index == hinted.unwrap_or(0) {
            " checked"
        } else {
            ""
        };
        let account = escape(account);
        body += &format!(
            "<label><input type=\"radio\" name=\"account\" value=\"{account}\"{checked}> {account}</label>\n"
        );
    }
    body += "</fieldset>\n<div class=\"buttons\">\n\
             <button class=\"go\" name=\"decision\" value=\"approve\">Approve</button>\n\
             <button name=\"decision\" value=\"deny\">Deny</button>\n</div>\n</form>\n";
    if let Some(uri) = consent.redirect_uri {
        body += &format!(
            "<p class=\"soft\">Your answer goes to <code>{}</code>.</p>\n",
            escape(uri)
        );
    }
    body += "<p class=\"soft\">This is a test provider on your own machine: no password is asked for, and the mail \
             is made up.</p>\n";
    document("Give access?", &body)
}

/// Asks for the code that a device shows.
pub(crate) fn device_code(wrong: bool) -> String {
    let note = if wrong {
        "<p><strong>This code is unknown, used or too old.</strong> Ask the device for another one.</p>\n"
    } else {
        ""
    };
    document(
        "Connect a device",
        &format!(
            "<h1>Connect a device</h1>\n{note}<form method=\"get\" action=\"/device\">\n\
             <p><label for=\"code\">The code that the device shows</label>\n\
             <input type=\"text\" id=\"code\" name=\"user_code\" autocomplete=\"off\" autofocus></p>\n\
             <div class=\"buttons\"><button class=\"go\">Go on</button></div>\n</form>\n"
        ),
    )
}

/// A heading and a sentence.
pub(crate) fn note(title: &str, text: &str) -> String {
    document(
        title,
        &format!("<h1>{}</h1>\n<p>{}</p>\n", escape(title), escape(text)),
    )
}

pub(crate) fn error(text: &str) -> String {
    note("That did not work", text)
}

pub(crate) fn home(base: &str) -> String {
    let base = escape(base);
    document(
        "Sandbox provider",
        &format!(
            "<h1>A provider to try things with</h1>\n\
             <p>This OAuth 2.0 provider lives inside a process on your own machine and ends with it. A mail program's \
             login at the proxy brings you to its consent page.</p>\n<ul>\n\
             <li>authorisation: <code>{base}/authorize</code></li>\n<li>tokens: <code>{base}/token</code></li>\n\
             <li>devices: <code>{base}/device_authorization</code>, with the page <a href=\"/device\">/device</a></li>\n\
             <li><a href=\"/.well-known/oauth-authorization-server\">metadata</a> (RFC 8414)</li>\n</ul>\n"
        ),
    )
}

fn scope_text(scope: &str) -> &str {
    match scope {
        "mail" => "read and send mail",
        "mail.imap" => "read mail by IMAP",
        "mail.pop" => "read mail by POP3",
        "mail.smtp" => "send mail",
        "offline_access" => "stay connected until you withdraw it",
        "openid" | "email" | "profile" => "see the mail address",
        other => other,
    }
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title)
    )
}

/// Text for HTML, attribute values included.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}
