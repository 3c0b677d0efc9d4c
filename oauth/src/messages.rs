//! What this crate says to people: log lines, errors, and answers to logins; by theme, in the order in which somebody meets them.
//!
//! Nothing in here uses the rest of the crate, so that a test of the workspace can take this file in and render every text. There
//! the compiler would look for the modules beside this file: hence their paths.

#[path = "messages/accounts.rs"]
pub(crate) mod accounts;
#[path = "messages/advice.rs"]
pub(crate) mod advice;
#[path = "messages/aws.rs"]
#[allow(dead_code, reason = "builds without the feature `aws` say none of it")]
pub(crate) mod aws;
#[path = "messages/consent.rs"]
pub(crate) mod consent;
#[path = "messages/document.rs"]
pub(crate) mod document;
#[path = "messages/files.rs"]
pub(crate) mod files;
#[path = "messages/login.rs"]
pub(crate) mod login;
#[path = "messages/presets.rs"]
pub(crate) mod presets;
#[path = "messages/provider.rs"]
pub(crate) mod provider;
#[path = "messages/rekey.rs"]
pub(crate) mod rekey;
#[path = "messages/saved.rs"]
pub(crate) mod saved;
#[path = "messages/settings.rs"]
pub(crate) mod settings;
#[path = "messages/tokens.rs"]
pub(crate) mod tokens;

/// Every text by its name, rendered with its examples.
#[allow(dead_code, reason = "tests render them")]
pub(crate) fn every() -> Vec<(&'static str, String)> {
    [
        document::every(),
        settings::every(),
        accounts::every(),
        presets::every(),
        login::every(),
        consent::every(),
        provider::every(),
        advice::every(),
        tokens::every(),
        saved::every(),
        files::every(),
        aws::every(),
        rekey::every(),
    ]
    .concat()
}
