//! Why there is no token, in words for the client.

use super::Attempt;
use crate::{flow::answer::clean, messages::login as messages, settings::Account};
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
    Denial::Denied(messages::refused_to_strangers(user))
}

pub(super) fn wrong_password(
    account: &Account,
    attempt: &Attempt,
    user: &str,
    secret: bool,
) -> Denial {
    tracing::info!(
        account = %account.name, client = %attempt.client, "{}", messages::WRONG_PASSWORD_REFUSED
    );
    if !is_local(attempt.client) {
        return refused_to_strangers(user);
    }
    let name = &account.name;
    Denial::Denied(if secret {
        messages::wrong_password_for_secret(name)
    } else {
        messages::wrong_password(name)
    })
}

pub(super) fn consent_pending(account: &str) -> Denial {
    Denial::Temporary(messages::consent_pending(account))
}

pub(super) fn refused_again(account: &Account, text: &str) -> Denial {
    let text = clean(text, &[]);
    tracing::warn!(account = %account.name, "{}", messages::renewed_token_refused(&text));
    Denial::Denied(messages::refused_again(&account.name, text))
}

pub(super) fn busy(user: &str) -> Denial {
    Denial::Temporary(messages::busy(user))
}
