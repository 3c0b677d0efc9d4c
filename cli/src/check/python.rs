//! Lines that mean something else to the Python tool. `docs/migrating.md` describes the differences.

use super::{Finding, Kind};
use crate::messages::{check as texts, common};
use oauth::{
    document::{Document, Entry, Section},
    settings::{FlowKind, Settings, TokenFormat},
};
use std::path::Path;

/// Options that the Python tool does not know, and what it does in their absence.
const OURS: [(&str, &str); 15] = [
    ("allow_from", texts::SERVES_EVERYBODY),
    ("proxy_protocol", texts::READS_COMMANDS),
    ("server_ca_path", texts::TRUSTS_SYSTEM),
    ("sasl_user", texts::SENDS_HEADING),
    ("sasl_user_imap", texts::SENDS_HEADING),
    ("sasl_user_pop", texts::SENDS_HEADING),
    ("sasl_user_smtp", texts::SENDS_HEADING),
    ("sasl_mechanism", texts::ONLY_XOAUTH2),
    ("token_format", texts::OWN_FORM),
    ("console_address", ""),
    ("notify_command", ""),
    ("max_sessions", texts::NO_LIMIT),
    ("max_sessions_per_address", texts::NO_LIMIT),
    ("outgoing_proxy", texts::CONNECTS_DIRECTLY),
    ("plugins", texts::PYTHON_PLUGINS),
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
            text: texts::BYTE_ORDER_MARK.to_owned(),
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
        "server_starttls" if server(&["IMAP-", "POP-"]) && on => texts::STARTTLS_USED,
        "local_starttls" if server(&["IMAP-", "POP-"]) && (on || is("optional")) => {
            texts::STARTTLS_OFFERED
        }
        "local_starttls" if server(&["SMTP-"]) && on => texts::STARTTLS_DEMANDED,
        "local_starttls" if server(&["SMTP-"]) && is("optional") => texts::ONLY_TRUE_OR_FALSE,
        "delete_account_token_on_password_error" if on => texts::REPLACED_LATER,
        option => {
            let (_, instead) = OURS.iter().find(|(ours, _)| *ours == option)?;
            return Some(match *instead {
                "" => texts::UNKNOWN_OPTION.to_owned(),
                instead => texts::unknown_option(instead),
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
        let text = texts::PKCE_USED.to_owned();
        push_once(notes, note(section, entry, text));
    }
    let own = |option: &str| {
        let section = document.section(&account.name)?;
        Some((section, document.own(&account.name, option)?))
    };
    if settings.options.token_format == TokenFormat::AesGcm
        && let Some((section, entry)) = own("refresh_token").or_else(|| own("access_token"))
        && entry.value().starts_with("gAAAA")
    {
        let text = texts::SAVED_BY_PYTHON.to_owned();
        push_once(notes, note(section, entry, text));
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
        text: common::of_option(entry.name(), text),
    }
}
