//! Saved values under another password, without any login: what the commands `passwd` and `encrypt-secret` do.
//!
//! A proxy may be running over the same stores: what it saves between our look and our write is never overwritten
//! ([`Store::save_unless_changed`]), and it reads what we wrote at its next login.

use super::{grant::read_file, saved::Holdings};
use crate::{
    crypt::{Damaged, Kdf, Key, NoRandomness, OpenError},
    flow::service_account::ServiceAccountKey,
    messages::rekey as messages,
    settings::{Account, Settings},
    store::{Change, Store, StoreError, spelling},
};
use proxy_proto::Secret;
use std::{fmt, path::Path, sync::Arc};

/// How often a change is tried while somebody else keeps changing the same section.
const TRIES: usize = 10;

/// Where values stand.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// Where tokens live.
    pub tokens: &'a dyn Store,
    /// The configuration file, when tokens live elsewhere.
    pub configuration: Option<&'a dyn Store>,
}

/// Why nothing was changed; one line that says what to do, without secrets.
#[derive(Clone, Debug)]
pub enum RekeyError {
    /// Nothing there that could be changed.
    Configuration(String),
    /// A wrong or unusable password.
    Password(String),
    /// A value or a store in trouble.
    Store(String),
}

impl fmt::Display for RekeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (RekeyError::Configuration(text)
        | RekeyError::Password(text)
        | RekeyError::Store(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for RekeyError {}

impl From<StoreError> for RekeyError {
    fn from(error: StoreError) -> Self {
        RekeyError::Store(error.0)
    }
}

impl From<NoRandomness> for RekeyError {
    fn from(error: NoRandomness) -> Self {
        RekeyError::Store(error.to_string())
    }
}

/// What was encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekeyed {
    /// The section.
    pub heading: String,
    /// The options whose values are new.
    pub options: Vec<&'static str>,
}

/// Encrypts all that is saved of an account under a new password, with a fresh salt and at least `iterations`. A client secret
/// that was a catch-all's is written into the account's own section. It blocks, for two key derivations and a few file operations.
pub fn change_password(
    settings: &Settings,
    stores: Stores<'_>,
    name: &str,
    old: &Secret,
    new: &Secret,
    iterations: u32,
) -> Result<Rekeyed, RekeyError> {
    let account = account(settings, stores, name)?;
    check(new)?;
    let mut keys = Keys::of(old);
    for _ in 0..TRIES {
        let seen = stores.tokens.load(&account.name)?;
        let holdings = Holdings::read(&account, stores.tokens, stores.configuration)?;
        let opened = open(&holdings, &account, &mut keys)?;
        if opened.is_empty() {
            return Err(RekeyError::Configuration(messages::nothing_saved(name)));
        }
        let used = holdings.kdf().map_or(0, |kdf| kdf.iterations);
        let kdf = Kdf::fresh(iterations.max(used))?;
        let key = kdf.derive(new);
        let mut changes = under(&kdf);
        for (option, text) in &opened {
            let format = settings.options.token_format;
            let value = key.seal(&account.name, option, text, format)?;
            changes.push(set(option, value));
        }
        if seen.access_token_expiry.is_none() && opened.iter().any(|(o, _)| *o == "access_token") {
            changes.push(set("access_token_expiry", holdings.expiry.to_string()));
        }
        if stores
            .tokens
            .save_unless_changed(&account.name, &seen, &changes)?
        {
            return Ok(Rekeyed {
                heading: account.name.to_string(),
                options: opened.into_iter().map(|(option, _)| option).collect(),
            });
        }
    }
    Err(keeps_changing(name))
}

/// Encrypts the plain `client_secret` of a section (for a key file: its contents) before its first use, and takes the plain one out
/// of the configuration file. Where tokens are saved already, the password must be theirs. It blocks.
pub fn encrypt_secret(
    settings: &Settings,
    stores: Stores<'_>,
    name: &str,
    password: &Secret,
    iterations: u32,
) -> Result<Rekeyed, RekeyError> {
    let heading = settings
        .heading(name)
        .ok_or_else(|| RekeyError::Configuration(messages::no_section(name)))?;
    check(password)?;
    let secret = plain_secret(settings, heading)?;
    let configuration = stores.configuration.unwrap_or(stores.tokens);
    let account = settings
        .account(heading)
        .filter(|account| *account.name == *heading);
    for _ in 0..TRIES {
        let seen = configuration.load(heading)?;
        let mut kept = None;
        if let Some(account) = &account {
            let mut keys = Keys::of(password);
            let all = Holdings::read(account, stores.tokens, stores.configuration)?;
            let here = Holdings::read(account, configuration, None)?;
            for holdings in [&all, &here] {
                let tokens = holdings.values().into_iter().flatten();
                for value in tokens.filter(|value| value.option() != SECRET) {
                    value.open(&mut |kdf| keys.get(kdf)).map_err(|error| {
                        explain(account, value.option(), error, |name, option| {
                            messages::not_the_password_of_logins(name, option)
                        })
                    })?;
                }
            }
            // one salt serves the whole section
            if here.tokens().iter().any(Option::is_some) {
                kept = here.kdf().cloned();
            }
        } else if let Some(salt) = &seen.token_salt {
            // a catch-all's salt is that of the accounts which inherited it
            let kdf = Kdf::parse(salt, seen.token_iterations.as_deref()).map_err(|damaged| {
                let text = messages::damaged_salt_first(heading, damaged.option, damaged.why);
                RekeyError::Store(text)
            })?;
            kept = Some(kdf);
        }
        let kdf = match kept {
            Some(kdf) => kdf,
            None => Kdf::fresh(iterations)?,
        };
        let key = kdf.derive(password);
        let mut changes = under(&kdf);
        let format = settings.options.token_format;
        changes.push(set(SECRET, key.seal(heading, SECRET, &secret, format)?));
        changes.push(unset("client_secret"));
        if !configuration.save_unless_changed(heading, &seen, &changes)? {
            continue;
        }
        if stores.configuration.is_some()
            && stores
                .tokens
                .load(heading)?
                .client_secret_encrypted
                .is_some()
        {
            // an older one there would come first
            stores.tokens.save(heading, &[unset(SECRET)])?;
        }
        return Ok(Rekeyed {
            heading: heading.to_owned(),
            options: vec![SECRET],
        });
    }
    Err(keeps_changing(heading))
}

/// The path of the key file that a section's `client_secret` names: it holds the secret in plain text, also after it was encrypted.
pub fn key_file<'a>(settings: &'a Settings, name: &str) -> Option<&'a Path> {
    let heading = settings.heading(name)?;
    let service_account =
        settings.text_for(heading, "oauth2_flow").as_deref() == Some("service_account");
    let file = settings.text_for(heading, "client_id").as_deref() == Some("file");
    let text = settings.own_text(heading, "client_secret")?.trim();
    (service_account && file && !text.starts_with('{')).then(|| Path::new(text))
}

const SECRET: &str = "client_secret_encrypted";

/// Keys derived from one password, each once.
struct Keys<'a> {
    password: &'a Secret,
    derived: Vec<(Kdf, Arc<Key>)>,
}

impl<'a> Keys<'a> {
    fn of(password: &'a Secret) -> Self {
        let derived = Vec::new();
        Keys { password, derived }
    }

    fn get(&mut self, kdf: &Kdf) -> Arc<Key> {
        if let Some((_, key)) = self.derived.iter().find(|(of, _)| of == kdf) {
            return key.clone();
        }
        let key = Arc::new(kdf.derive(self.password));
        self.derived.push((kdf.clone(), key.clone()));
        key
    }
}

fn account(
    settings: &Settings,
    stores: Stores<'_>,
    name: &str,
) -> Result<Arc<Account>, RekeyError> {
    if name.starts_with('@') {
        return Err(RekeyError::Configuration(messages::catch_all_named(name)));
    }
    let account = settings
        .account(name)
        .ok_or_else(|| RekeyError::Configuration(messages::no_account(name)))?;
    if account.own_section {
        return Ok(account);
    }
    // its section is where it first logged in, as it was typed then
    let headings = stores.tokens.headings()?;
    Ok(spelling(&account.name, &headings)
        .and_then(|spelling| settings.account(spelling))
        .unwrap_or(account))
}

/// What a login would refuse.
fn check(password: &Secret) -> Result<(), RekeyError> {
    if password.is_empty() {
        return Err(RekeyError::Password(messages::EMPTY_PASSWORD.to_owned()));
    }
    if password.expose().len() > super::LONGEST_PASSWORD {
        return Err(RekeyError::Password(messages::password_too_long(
            super::LONGEST_PASSWORD,
        )));
    }
    Ok(())
}

/// All or nothing: a value that stayed under the old password could never be used again.
fn open(
    holdings: &Holdings,
    account: &Account,
    keys: &mut Keys<'_>,
) -> Result<Vec<(&'static str, Secret)>, RekeyError> {
    let mut opened = Vec::new();
    for value in holdings.values().into_iter().flatten() {
        let text = value.open(&mut |kdf| keys.get(kdf)).map_err(|error| {
            explain(account, value.option(), error, |name, option| {
                messages::wrong_old_password(name, option)
            })
        })?;
        opened.push((value.option(), text));
    }
    Ok(opened)
}

/// `wrong_password`: the text for this account and option.
fn explain(
    account: &Account,
    option: &str,
    error: OpenError,
    wrong_password: impl FnOnce(&str, &str) -> String,
) -> RekeyError {
    let name = &account.name;
    match error {
        OpenError::WrongKey => RekeyError::Password(wrong_password(name, option)),
        OpenError::Damaged(Damaged { option, why }) => {
            RekeyError::Store(messages::damaged_first(name, option, why))
        }
    }
}

/// The secret itself.
fn plain_secret(settings: &Settings, heading: &str) -> Result<Secret, RekeyError> {
    let Some(text) = settings.own_text(heading, "client_secret") else {
        let inherited = settings.text_for(heading, "client_secret").is_some();
        let encrypted = settings.own_text(heading, SECRET).is_some();
        return Err(RekeyError::Configuration(if inherited {
            messages::inherited_secret(heading)
        } else if encrypted {
            messages::encrypted_already(heading)
        } else {
            messages::no_secret(heading)
        }));
    };
    if text.contains("*** your") {
        return Err(RekeyError::Configuration(messages::placeholder_secret(
            heading,
        )));
    }
    if settings.text_for(heading, "oauth2_flow").as_deref() != Some("service_account") {
        return Ok(Secret::new(text));
    }
    let json = match key_file(settings, heading) {
        None => Secret::new(text),
        Some(path) => {
            let octets = read_file(path, "client_secret").map_err(RekeyError::Configuration)?;
            let text = std::str::from_utf8(&octets).map_err(|_| {
                RekeyError::Configuration(messages::file_is_not_text(path.display()))
            })?;
            Secret::new(text)
        }
    };
    match ServiceAccountKey::parse(&json) {
        Ok(_) => Ok(json),
        Err(error) => Err(RekeyError::Configuration(messages::unusable_key(
            heading, error,
        ))),
    }
}

fn keeps_changing(name: &str) -> RekeyError {
    RekeyError::Store(messages::nothing_done(name))
}

fn under(kdf: &Kdf) -> Vec<Change> {
    vec![
        set("token_salt", kdf.salt_text()),
        set("token_iterations", kdf.iterations.to_string()),
    ]
}

fn set(option: &'static str, value: String) -> Change {
    Change {
        option,
        value: Some(value),
    }
}

fn unset(option: &'static str) -> Change {
    Change {
        option,
        value: None,
    }
}
