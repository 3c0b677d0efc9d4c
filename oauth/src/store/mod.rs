//! Where tokens live: the configuration file, another file.

use std::fmt;

/// What the proxy has written into one section, as text exactly as it stands there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// Base64 salt of the key derivation.
    pub token_salt: Option<String>,
    /// PBKDF2 iterations, decimal.
    pub token_iterations: Option<String>,
    /// Encrypted access token.
    pub access_token: Option<String>,
    /// Unix time, decimal.
    pub access_token_expiry: Option<String>,
    /// Encrypted refresh token.
    pub refresh_token: Option<String>,
    /// Encrypted client secret.
    pub client_secret_encrypted: Option<String>,
    /// Unix time of the last login, decimal.
    pub last_activity: Option<String>,
}

/// One option to be set (`Some`) or removed (`None`) in a section.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The option's name, lower case.
    pub option: &'static str,
    /// The new value: one line.
    pub value: Option<String>,
}

/// Why a store could not be read or written; says which file and what to do.
#[derive(Debug, Clone)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// A place where tokens live. Its calls block; [`Saver`] makes them off the executor.
pub trait Store: Send + Sync {
    /// What is saved in the section `heading`; all `None` where it does not exist.
    fn load(&self, heading: &str) -> Result<Saved, StoreError>;
    /// Makes all changes to the section `heading` (created when missing) or none, durably.
    fn save(&self, heading: &str, changes: &[Change]) -> Result<(), StoreError>;
    /// For logs: the file's path or the secret's name.
    fn describe(&self) -> String;
}

/// A store with a memory: what could not be written yet is kept, served by `load`, and retried.
pub struct Saver {
    _private: (),
}

/// What became of a save.
#[derive(Debug)]
pub enum Outcome {
    /// On disk.
    Written,
    /// Kept in memory and retried.
    Pending(StoreError),
}
