//! A driver's own mistakes. What peers do wrong is never an `Err`: it is an event.

use std::fmt;

/// The driver called what does not fit the session's state. Bytes from the network cannot cause it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// `tls_established` without a preceding `UpgradeTls` of that side.
    NoUpgradePending,
    /// `provide_credentials` with an id that is not the open request's.
    StaleRequest,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misuse::NoUpgradePending => "no TLS upgrade is pending on this side",
            Misuse::StaleRequest => "the request for credentials is no longer open",
        })
    }
}

impl std::error::Error for Misuse {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let text = Misuse::NoUpgradePending.to_string();
        assert!(text.contains("TLS"), "{text}");
        let text = Misuse::StaleRequest.to_string();
        assert!(text.contains("credentials"), "{text}");
    }
}
