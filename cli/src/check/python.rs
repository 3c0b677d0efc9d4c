//! Lines that mean something else to the Python tool. `docs/migrating.md` describes the differences.

use super::{Finding, Kind};
use oauth::{
    document::{Document, Entry, Section},
    settings::{FlowKind, Settings, TokenFormat},
};
use std::path::Path;

/// Options that the Python tool does not know, and what it does in their absence.
const OURS: [(&str, &str); 15] = [
    ("allow_from", "it serves everybody who can reach the port"),
    ("proxy_protocol", "it takes the header for commands"),
    ("server_ca_path", "it trusts the system's authorities alone"),
    ("sasl_user", "it sends the heading"),
    ("sasl_user_imap", "it sends the heading"),
    ("sasl_user_pop", "it sends the heading"),
    ("sasl_user_smtp", "it sends the heading"),
    ("sasl_mechanism", "it always uses XOAUTH2"),
    ("token_format", "it always uses its own form"),
    ("console_address", ""),
    ("notify_command", ""),
    ("max_sessions", "it has no limit"),
    ("max_sessions_per_address", "it has no limit"),
    ("outgoing_proxy", "it connects directly"),
    (
        "plugins",
        "its plugins are Python scripts, which have to be rewritten",
    ),
];

/// A note for each line that counts otherwise than it did.
pub(super) fn differences(path: &Path, settings: &Settings) -> Vec<Finding> {
    let Ok(bytes) = std::fs::read(path).map(zeroize::Zeroizing::new) else {
        return Vec::new();
    };
    let Ok(document) = Document::parse(&bytes) else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    if bytes.starts_with(b"\xef\xbb\xbf") {
        notes.push(Finding {
            kind: Kind::Note,
            line: Some(1),
            column: None,
            section: None,
            text: "the file begins with a byte-order mark: the Python tool refuses it".to_owned(),
        });
    }
    for section in document.sections() {
        for entry in section.entries() {
            let text = of_entry(section, entry);
            notes.extend(text.map(|text| note(section, entry, text)));
        }
    }
    for account in settings.accounts() {
        of_account(&document, settings, account, &mut notes);
    }
    notes
}

fn of_entry(section: &Section, entry: &Entry) -> Option<String> {
    let name = section.name();
    let is = |yes: &str| entry.value().eq_ignore_ascii_case(yes);
    let on = ["1", "yes", "true", "on"].iter().any(|yes| is(yes));
    let server = |protocols: &[&str]| protocols.iter().any(|p| name.starts_with(p));
    let text = match entry.name() {
        "server_starttls" if server(&["IMAP-", "POP-"]) && on => {
            "STARTTLS is used: the Python tool ignores this line and speaks TLS from the first byte"
        }
        "local_starttls" if server(&["IMAP-", "POP-"]) && (on || is("optional")) => {
            "STARTTLS is offered: the Python tool ignores this line"
        }
        "local_starttls" if server(&["SMTP-"]) && on => {
            "logins before STARTTLS are refused: the Python tool serves them; `optional` does so too"
        }
        "local_starttls" if server(&["SMTP-"]) && is("optional") => {
            "the Python tool takes only True or False"
        }
        "delete_account_token_on_password_error" if on => {
            "another password's approval replaces the saved tokens once it has succeeded: the Python tool deletes them at once"
        }
        option => {
            let (_, instead) = OURS.iter().find(|(ours, _)| *ours == option)?;
            return Some(match *instead {
                "" => "the Python tool does not know this option".to_owned(),
                instead => format!("the Python tool does not know this option: {instead}"),
            });
        }
    };
    Some(text.to_owned())
}

fn of_account(
    document: &Document,
    settings: &Settings,
    account: &oauth::settings::Account,
    notes: &mut Vec<Finding>,
) {
    let found = |option: &str| {
        account
            .headings
            .iter()
            .find_map(|heading| Some((document.section(heading)?, document.own(heading, option)?)))
    };
    if account.flow == FlowKind::AuthorizationCode
        && account.use_pkce
        && found("use_pkce").is_none()
        && let Some((section, entry)) = found("permission_url")
    {
        let text = "PKCE is used: the Python tool does so only with `use_pkce = True`";
        push_once(notes, note(section, entry, text.to_owned()));
    }
    let own = |option: &str| {
        let section = document.section(&account.name)?;
        Some((section, document.own(&account.name, option)?))
    };
    if settings.options.token_format == TokenFormat::AesGcm
        && let Some((section, entry)) = own("refresh_token").or_else(|| own("access_token"))
        && entry.value().starts_with("gAAAA")
    {
        let text = "saved by the Python tool: the first login rewrites it in a form that the Python tool cannot read; \
                    `token_format = fernet` in [emailproxy] keeps the old one";
        push_once(notes, note(section, entry, text.to_owned()));
    }
}

/// A catch-all's line counts for many accounts.
fn push_once(notes: &mut Vec<Finding>, note: Finding) {
    let same = |other: &Finding| other.line == note.line && other.text == note.text;
    if !notes.iter().any(same) {
        notes.push(note);
    }
}

fn note(section: &Section, entry: &Entry, text: String) -> Finding {
    Finding {
        kind: Kind::Note,
        line: Some(entry.line()),
        column: Some(entry.column()),
        section: Some(section.name().to_owned()),
        text: format!("`{}`: {text}", entry.name()),
    }
}
