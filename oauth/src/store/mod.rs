//! Where tokens live: the configuration file, another file, AWS Secrets Manager (with the feature `aws`).

use crate::document::Document;
use std::fmt;

#[cfg(feature = "aws")]
mod aws;
mod file;
mod saver;

#[cfg(feature = "aws")]
pub use aws::AwsStore;
pub use file::FileStore;
pub use saver::{Outcome, Saver, Unsaved};

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

impl Saved {
    /// What stands in the section itself; neither `[DEFAULT]` nor a catch-all counts, and an empty value is none.
    pub fn from_document(document: &Document, heading: &str) -> Saved {
        let mut saved = Saved::default();
        for (option, field) in saved.fields() {
            let entry = document
                .own(heading, option)
                .filter(|entry| !entry.value().is_empty());
            *field = entry.map(|entry| entry.value().to_owned());
        }
        saved
    }

    /// Makes these changes; options that are not the proxy's own are passed over.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            let mut fields = self.fields().into_iter();
            if let Some((_, field)) = fields.find(|(option, _)| *option == change.option) {
                field.clone_from(&change.value);
            }
        }
    }

    fn fields(&mut self) -> [(&'static str, &mut Option<String>); 7] {
        [
            ("token_salt", &mut self.token_salt),
            ("token_iterations", &mut self.token_iterations),
            ("access_token", &mut self.access_token),
            ("access_token_expiry", &mut self.access_token_expiry),
            ("refresh_token", &mut self.refresh_token),
            ("client_secret_encrypted", &mut self.client_secret_encrypted),
            ("last_activity", &mut self.last_activity),
        ]
    }
}

/// One option to be set (`Some`) or removed (`None`) in a section.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The option's name, lower case.
    pub option: &'static str,
    /// The new value: one line.
    pub value: Option<String>,
}

/// Why a store could not be read or written; says which file or secret and what to do.
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
    /// The same for several sections at once; where it fails, some of them may have been written, and all may be tried again.
    fn save_all(&self, sections: &[(String, Vec<Change>)]) -> Result<(), StoreError> {
        sections
            .iter()
            .try_for_each(|(heading, changes)| self.save(heading, changes))
    }
    /// Makes the changes only while the section holds what was read of it before (`seen`); `false` where it holds something else by
    /// now. A store that other processes write as well has to look and write in one step, which this default does not.
    fn save_unless_changed(
        &self,
        heading: &str,
        seen: &Saved,
        changes: &[Change],
    ) -> Result<bool, StoreError> {
        if self.load(heading)? != *seen {
            return Ok(false);
        }
        self.save(heading, changes).map(|()| true)
    }
    /// For the start of the program: looks whether the store can be used, and creates it where that has to be done beforehand. A
    /// failure here leaves a store that works as soon as its cause is gone.
    fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// For logs: the file's path or the secret's name.
    fn describe(&self) -> String;
}
