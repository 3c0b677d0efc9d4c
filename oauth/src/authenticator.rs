//! Login name and password in, bearer token out: one request per account at a time.

use crate::{consent::Consent, settings::Settings, store::Saver};
use proxy_proto::{Mechanism, Protocol, Secret};
use std::{net::IpAddr, sync::Arc};

/// A login to be answered.
pub struct Attempt {
    /// As the client gave it.
    pub user: Arc<str>,
    /// The local password; never empty.
    pub password: Secret,
    /// Chooses `sasl_user_imap` and kin.
    pub protocol: Protocol,
    /// Where the client comes from.
    pub client: IpAddr,
    /// The server has just refused the token that was given for this login; the text is its answer.
    pub rejected: Option<String>,
}

/// What goes upstream.
pub struct Token {
    /// The access token.
    pub token: Secret,
    /// The identity to send.
    pub user: Arc<str>,
    /// `sasl_mechanism`.
    pub mechanism: Option<Mechanism>,
}

/// Why there is no token: one line for the client that names the account and says what to do; no secrets.
#[derive(Clone, Debug)]
pub enum Denial {
    /// A wrong password, a denied consent, a refused token.
    Denied(String),
    /// Provider or store in trouble, time-outs.
    Temporary(String),
}

/// The heart of this crate.
pub struct Authenticator {
    _private: (),
}

impl Authenticator {
    /// `saver` is where tokens live; `config_saver` reads those left in the configuration file when that is another place.
    pub fn new(
        settings: Arc<Settings>,
        saver: Arc<Saver>,
        config_saver: Option<Arc<Saver>>,
        consent: Arc<dyn Consent>,
    ) -> Arc<Self> {
        let _ = (settings, saver, config_saver, consent);
        Arc::new(Authenticator { _private: () })
    }

    /// Replaces the settings (SIGHUP); results that come in under other settings of their account are dropped.
    pub fn reload(&self, settings: Arc<Settings>) {
        let _ = settings;
    }

    /// Answers a login.
    pub async fn token(self: &Arc<Self>, attempt: Attempt) -> Result<Token, Denial> {
        let _ = attempt;
        Err(Denial::Temporary(String::new()))
    }
}
