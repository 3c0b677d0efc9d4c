//! Where tokens live: the configuration file, another file, AWS Secrets Manager (with the feature `aws`).

use crate::document::Document;
use std::{fmt, time::Duration};

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

    /// Whether both hold the same, `last_activity` apart.
    pub fn agrees_with(&self, other: &Saved) -> bool {
        let values = |saved: &Saved| Saved {
            last_activity: None,
            ..saved.clone()
        };
        values(self) == values(other)
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

/// Changes to one section, to be made together or not at all.
#[derive(Clone)]
pub struct Update {
    /// The section.
    pub heading: String,
    /// What it has to hold for the changes to be right ([`Saved::agrees_with`]); `None`: they are right whatever it holds.
    pub seen: Option<Saved>,
    /// The changes.
    pub changes: Vec<Change>,
}

impl Update {
    /// Whether they may be made in a section that holds `now`; they also may where they have been made already.
    pub fn fits(&self, now: &Saved) -> bool {
        self.seen.as_ref().is_none_or(|seen| {
            seen.agrees_with(now) || {
                let mut done = seen.clone();
                done.apply(&self.changes);
                done.agrees_with(now)
            }
        })
    }
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
    /// Makes those updates that fit ([`Update::fits`]), durably, and says of each whether it did. A section that is missing is
    /// created. A store that other processes write as well has to look and write in one step. Where this fails, some may have been
    /// made, and all may be tried again.
    fn save_all(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError>;
    /// Makes the changes to the section `heading`, whatever it holds.
    fn save(&self, heading: &str, changes: &[Change]) -> Result<(), StoreError> {
        let update = Update {
            heading: heading.to_owned(),
            seen: None,
            changes: changes.to_vec(),
        };
        self.save_all(&[update]).map(drop)
    }
    /// Makes the changes only while the section holds what was read of it before; `false` where it holds something else by now.
    fn save_unless_changed(
        &self,
        heading: &str,
        seen: &Saved,
        changes: &[Change],
    ) -> Result<bool, StoreError> {
        let update = Update {
            heading: heading.to_owned(),
            seen: Some(seen.clone()),
            changes: changes.to_vec(),
        };
        Ok(self.save_all(&[update])?.first() == Some(&true))
    }
    /// For the start of the program: looks whether the store can be used, and creates it where that has to be done beforehand. A
    /// failure here leaves a store that works as soon as its cause is gone.
    fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// How seldom it wants to be written; `None`: it may be written at any time.
    fn pace(&self) -> Option<Pace> {
        None
    }
    /// The headings of its sections, whatever they hold, in their order there; none from a store that cannot tell.
    fn headings(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    /// For logs: the file's path or the secret's name.
    fn describe(&self) -> String;
}

/// How seldom a store wants to be written. What can be obtained again (an access token) waits for the next write; what cannot
/// (a refresh token) is written at once, as long as the writes last.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a write waits for others that come at the same time.
    pub gather: Duration,
    /// In the long run there is one write in this time.
    pub interval: Duration,
    /// So many more can be made at once.
    pub burst: u32,
}

/// Which of these names is meant: the one that is the same, or else the first that differs in letter case alone.
pub(crate) fn spelling<'a>(
    name: &str,
    among: impl IntoIterator<Item = &'a String>,
) -> Option<&'a String> {
    let folded = name.to_lowercase();
    let mut found = None;
    for one in among {
        if one == name {
            return Some(one);
        }
        if found.is_none() && one.to_lowercase() == folded {
            found = Some(one);
        }
    }
    found
}
