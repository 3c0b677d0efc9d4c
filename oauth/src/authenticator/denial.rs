//! Why there is no token, in words for the client.

use super::Attempt;
use crate::{flow::answer::clean, settings::Account};
use std::net::IpAddr;

/// Why there is no token: one line for the client that names the account and says what to do; no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A wrong password, a denied consent, a refused token.
    Denied(String),
    /// Provider or store in trouble, time-outs.
    Temporary(String),
}

/// Whether the client runs on this computer: it may be told more.
pub(super) fn is_local(client: IpAddr) -> bool {
    client.to_canonical().is_loopback()
}

pub(super) fn refused_to_strangers(user: &str) -> Denial {
    Denial::Denied(format!(
        "login refused: there is no account {user}, or its password is another"
    ))
}

pub(super) fn wrong_password(
    account: &Account,
    attempt: &Attempt,
    user: &str,
    secret: bool,
) -> Denial {
    tracing::info!(account = %account.name, client = %attempt.client, "login refused: wrong password");
    if !is_local(attempt.client) {
        return refused_to_strangers(user);
    }
    let name = &account.name;
    Denial::Denied(if secret {
        format!(
            "wrong password for {name}: it does not open client_secret_encrypted; use the one that it was encrypted with"
        )
    } else {
        format!(
            "wrong password for {name}: use the one of its first login, or remove its access_token and refresh_token from where they are saved"
        )
    })
}

pub(super) fn consent_pending(account: &str) -> Denial {
    Denial::Temporary(format!(
        "an authorisation of {account} is waiting for its user, begun with another password; finish it, or try again in ten minutes"
    ))
}

pub(super) fn refused_again(account: &Account, text: &str) -> Denial {
    let text = clean(text, &[]);
    tracing::warn!(account = %account.name, "the server refuses a renewed token: {text}");
    Denial::Denied(format!(
        "the server refuses the token of {}, renewed within the last ten minutes ({text}); check oauth2_scope, sasl_user, and that the mailbox allows this protocol",
        account.name
    ))
}

pub(super) fn busy(user: &str) -> Denial {
    Denial::Temporary(format!("too many logins at once: {user} has to try again"))
}
