//! What a person may read of plugins: what is wrong with the option `plugins` and with a script when the configuration is
//! read, why a script ends a session, and what its author sees of the libraries. Lines of the log stand in their session's
//! span.

pub(crate) mod libraries;
pub(crate) mod loading;
pub(crate) mod running;

/// Each text by its name, rendered with its examples.
#[allow(dead_code, reason = "tests render them")]
pub(crate) fn every() -> Vec<(&'static str, String)> {
    [loading::every(), running::every(), libraries::every()].concat()
}
