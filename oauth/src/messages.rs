//! What this crate says to people: log lines, errors, and answers to logins; by theme, in the order in which somebody meets them.
//!
//! Nothing in here uses the rest of the crate, so that a test of the workspace can take this file in and render every text.

pub(crate) mod accounts;
pub(crate) mod advice;
#[allow(dead_code, reason = "builds without the feature `aws` say none of it")]
pub(crate) mod aws;
pub(crate) mod consent;
pub(crate) mod document;
pub(crate) mod files;
pub(crate) mod login;
pub(crate) mod presets;
pub(crate) mod provider;
pub(crate) mod rekey;
pub(crate) mod saved;
pub(crate) mod settings;
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
