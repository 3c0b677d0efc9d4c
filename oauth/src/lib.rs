//! Accounts, tokens and secrets.

#![forbid(unsafe_code)]

pub mod authenticator;
pub mod consent;
pub mod crypt;
pub mod document;
pub mod flow;
pub mod keyring;
mod legacy;
pub mod settings;
pub mod store;
pub mod transport;
