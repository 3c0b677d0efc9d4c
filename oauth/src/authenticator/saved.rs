//! What is saved of an account: found in its sections, opened with a password, written back.

use crate::{
    crypt::{Damaged, Kdf, Key, NoRandomness, OpenError, format_of},
    keyring::{Busy, Keyring},
    messages::saved as messages,
    settings::{Account, TokenFormat},
    store::{Change, Saved, Saver, Store, StoreError},
};
use proxy_proto::Secret;
use std::sync::Arc;

/// What opens saved values.
#[derive(Clone)]
pub(super) enum Proof {
    /// The login's password.
    Password(Secret),
    /// The keys that earlier logins have left in memory.
    Keys,
}

impl Proof {
    /// Nothing opens a saved value but its password, or a key that its password has given.
    async fn open(
        &self,
        keyring: &Keyring,
        account: &Account,
        value: &Value,
    ) -> Result<Result<(Secret, Arc<Key>), OpenError>, Busy> {
        let kdf = match &value.kdf {
            Ok(kdf) => kdf,
            Err(damaged) => return Ok(Err(OpenError::Damaged(damaged.clone()))),
        };
        let open = |key: &Key| key.open(&value.heading, value.option, &value.text);
        match self {
            Proof::Password(password) => {
                let key = keyring.derive(&account.name, password, kdf).await?;
                Ok(open(&key).map(|text| {
                    keyring.keep(&account.name, password, kdf, &key);
                    (text, key)
                }))
            }
            Proof::Keys => {
                let mut result = Err(OpenError::WrongKey);
                for key in keyring.known(&account.name, kdf) {
                    result = open(&key).map(|text| (text, key));
                    if result.is_ok() {
                        break;
                    }
                }
                Ok(result)
            }
        }
    }
}

/// One encrypted value, where it stands, and how its key is derived.
pub(super) struct Value {
    pub(super) heading: String,
    option: &'static str,
    text: String,
    kdf: Result<Kdf, Damaged>,
    /// It stands in the configuration file, while tokens are saved elsewhere.
    elsewhere: bool,
}

impl Value {
    /// Opens it without any keyring; `derive` gives the key.
    pub(super) fn open(
        &self,
        derive: &mut dyn FnMut(&Kdf) -> Arc<Key>,
    ) -> Result<Secret, OpenError> {
        match &self.kdf {
            Ok(kdf) => derive(kdf).open(&self.heading, self.option, &self.text),
            Err(damaged) => Err(OpenError::Damaged(damaged.clone())),
        }
    }

    pub(super) fn option(&self) -> &'static str {
        self.option
    }

    fn iterations(&self) -> u32 {
        self.kdf.as_ref().map_or(0, |kdf| kdf.iterations)
    }

    fn stale(&self, form: Form) -> bool {
        format_of(&self.text) != Some(form.format)
            || self
                .kdf
                .as_ref()
                .is_ok_and(|kdf| kdf.iterations < form.iterations)
    }
}

/// The form of values that are written now.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) format: TokenFormat,
    pub(super) iterations: u32,
}

/// All that is saved of an account.
pub(super) struct Holdings {
    access: Option<Value>,
    /// Unix time; 0 where it is missing or unreadable.
    pub(super) expiry: u64,
    refresh: Option<Value>,
    /// `client_secret_encrypted` of the account, or of the catch-all that covers it.
    secret: Option<Value>,
    /// The one in the account's own section, which has the same key as the tokens.
    own_secret: Option<Value>,
    /// Salt and iterations that go on being used for the account.
    kdf: Option<Kdf>,
    /// The account's own section, where tokens are saved.
    own: Saved,
}

/// The account's own heading first.
fn headings(account: &Account) -> impl Iterator<Item = &str> {
    let own: &str = &account.name;
    std::iter::once(own).chain(
        account
            .headings
            .iter()
            .map(String::as_str)
            .filter(move |heading| *heading != own),
    )
}

/// One section of one store.
struct Place {
    heading: String,
    own: bool,
    elsewhere: bool,
    saved: Saved,
}

impl Holdings {
    /// Reads the account's sections. Tokens are the account's own; salt, iterations and encrypted client secret may be a catch-all's.
    pub(super) async fn load(
        account: &Account,
        saver: &Saver,
        config_saver: Option<&Saver>,
    ) -> Result<Self, StoreError> {
        let mut places = Vec::new();
        for heading in headings(account) {
            for (saver, elsewhere) in [(Some(saver), false), (config_saver, true)] {
                if let Some(saver) = saver {
                    places.push(Place {
                        heading: heading.to_owned(),
                        own: heading == &*account.name,
                        elsewhere,
                        saved: saver.load(heading).await?,
                    });
                }
            }
        }
        Ok(Holdings::find(&places))
    }

    /// The same from the stores themselves. It blocks.
    pub(super) fn read(
        account: &Account,
        tokens: &dyn Store,
        configuration: Option<&dyn Store>,
    ) -> Result<Self, StoreError> {
        let mut places = Vec::new();
        for heading in headings(account) {
            for (store, elsewhere) in [(Some(tokens), false), (configuration, true)] {
                if let Some(store) = store {
                    places.push(Place {
                        heading: heading.to_owned(),
                        own: heading == &*account.name,
                        elsewhere,
                        saved: store.load(heading)?,
                    });
                }
            }
        }
        Ok(Holdings::find(&places))
    }

    /// Access token, refresh token and client secret.
    pub(super) fn values(&self) -> [Option<&Value>; 3] {
        [&self.access, &self.refresh, &self.secret].map(Option::as_ref)
    }

    /// Salt and iterations that go on being used for the account.
    pub(super) fn kdf(&self) -> Option<&Kdf> {
        self.kdf.as_ref()
    }

    fn find(places: &[Place]) -> Self {
        let value = |index: usize, option: &'static str, text: &Option<String>| {
            let text = text.clone()?;
            Some(Value {
                heading: places[index].heading.clone(),
                option,
                text,
                kdf: kdf(places, index).unwrap_or(Err(Damaged {
                    option: "token_salt",
                    why: messages::MISSING,
                })),
                elsewhere: places[index].elsewhere,
            })
        };
        let secret = |index: usize| {
            value(
                index,
                "client_secret_encrypted",
                &places[index].saved.client_secret_encrypted,
            )
        };
        let tokens = places.iter().position(|place| {
            place.own && (place.saved.access_token.is_some() || place.saved.refresh_token.is_some())
        });
        let own = places
            .iter()
            .position(|place| place.own && !place.elsewhere);
        Holdings {
            access: tokens.and_then(|i| value(i, "access_token", &places[i].saved.access_token)),
            expiry: tokens
                .and_then(|i| places[i].saved.access_token_expiry.as_ref())
                .and_then(|expiry| expiry.trim().parse().ok())
                .unwrap_or(0),
            refresh: tokens.and_then(|i| value(i, "refresh_token", &places[i].saved.refresh_token)),
            secret: (0..places.len()).find_map(secret),
            own_secret: own.and_then(secret),
            kdf: own.and_then(|own| kdf(places, own)).and_then(Result::ok),
            own: own.map_or_else(Saved::default, |own| places[own].saved.clone()),
        }
    }

    /// Whether a key in memory belongs to this password: then it needs no derivation, and is no guess.
    pub(super) fn password_is_known(
        &self,
        keyring: &Keyring,
        account: &Account,
        password: &Secret,
    ) -> bool {
        [&self.access, &self.refresh, &self.secret]
            .into_iter()
            .flatten()
            .filter_map(|value| value.kdf.as_ref().ok())
            .any(|kdf| keyring.cached(&account.name, password, kdf).is_some())
    }

    /// Whether something is saved that only the right password opens. `plain_secret`: as for [`Holdings::unlock`].
    pub(super) fn checks_passwords(&self, plain_secret: bool) -> bool {
        self.access.is_some() || self.refresh.is_some() || (self.secret.is_some() && !plain_secret)
    }

    pub(super) fn has_encrypted_secret(&self) -> bool {
        self.secret.is_some()
    }

    pub(super) fn has_refresh_token(&self) -> bool {
        self.refresh.is_some()
    }

    /// The tokens as they stand there, to see whether they are still the same.
    pub(super) fn tokens(&self) -> [Option<&str>; 2] {
        [&self.access, &self.refresh].map(|value| value.as_ref().map(|value| value.text.as_str()))
    }

    /// What stands in the section that is written: changes are right only while it does.
    pub(super) fn seen(&self) -> &Saved {
        &self.own
    }

    /// Tries the password, or the keys. `plain_secret`: the account's client secret stands unencrypted in its settings, and comes first.
    pub(super) async fn unlock(
        &self,
        keyring: &Keyring,
        account: &Account,
        proof: &Proof,
        plain_secret: bool,
        form: Form,
    ) -> Result<Unlocked, Busy> {
        let open = async |value: &Value| proof.open(keyring, account, value).await;
        let mut opened = Opened {
            key: None,
            access: None,
            refresh: None,
            secret: None,
            own_secret: None,
            stale: false,
        };
        if let Some(value) = self.secret.as_ref().filter(|_| !plain_secret) {
            match open(value).await? {
                Ok((secret, _)) => opened.secret = Some(secret),
                Err(OpenError::WrongKey) => {
                    return Ok(Unlocked::Wrong {
                        secret: true,
                        iterations: value.iterations(),
                    });
                }
                Err(OpenError::Damaged(damaged)) => return Ok(Unlocked::damaged(value, damaged)),
            }
        }
        let mut wrong = None;
        let mut damaged = None;
        for (value, to) in [
            (&self.refresh, &mut opened.refresh),
            (&self.access, &mut opened.access),
        ] {
            let Some(value) = value else { continue };
            match open(value).await? {
                Ok((token, key)) => {
                    *to = Some(token);
                    opened.key = value.kdf.clone().ok().map(|kdf| (kdf, key));
                    opened.stale |= value.stale(form);
                }
                Err(OpenError::WrongKey) => wrong = Some(value.iterations()),
                Err(OpenError::Damaged(why)) => {
                    tracing::warn!(
                        account = %account.name, option = value.option, section = %value.heading,
                        "{}", messages::damaged_value(why.why)
                    );
                    damaged = damaged.or(Some(Unlocked::damaged(value, why)));
                }
            }
        }
        if opened.refresh.is_none() && opened.access.is_none() {
            if let Some(iterations) = wrong {
                return Ok(Unlocked::Wrong {
                    secret: false,
                    iterations,
                });
            }
            if let Some(damaged) = damaged {
                return Ok(damaged);
            }
            if opened.secret.is_none() {
                return Ok(Unlocked::Empty);
            }
        }
        if let Some(value) = &self.own_secret {
            // no guess any more: the password has just proved right
            opened.own_secret = open(value).await?.ok().map(|(secret, _)| secret);
            opened.stale |= opened.own_secret.is_some() && value.stale(form);
        }
        Ok(Unlocked::Open(opened))
    }

    /// Salt and iterations for what is written next. `opened`: what the password could open. A client secret in the account's own
    /// section that it could not open keeps them as they are.
    pub(super) fn next_kdf(
        &self,
        opened: Option<&Opened>,
        replaces_secret: bool,
        form: Form,
    ) -> Option<Kdf> {
        let kdf = self.kdf.clone()?;
        let locked = self.own_secret.is_some()
            && !replaces_secret
            && opened.is_none_or(|opened| opened.own_secret.is_none());
        Some(if locked || kdf.iterations >= form.iterations {
            kdf
        } else {
            Kdf {
                iterations: form.iterations,
                ..kdf
            }
        })
    }

    /// The changes that write `new` into the account's own section, under the key that `kdf` gives.
    pub(super) fn changes(
        &self,
        new: &New<'_>,
        key: &Key,
        kdf: &Kdf,
        form: Form,
    ) -> Result<Vec<Change>, NoRandomness> {
        let heading = new.heading;
        let set = |option, value| Change {
            option,
            value: Some(value),
        };
        let seal = |option: &'static str, secret: &Secret| {
            key.seal(heading, option, secret, form.format)
                .map(|value| set(option, value))
        };
        let unset = |option| Change {
            option,
            value: None,
        };
        let rekeyed = self.kdf.as_ref() != Some(kdf);
        let mut changes = Vec::new();
        let iterations = kdf.iterations.to_string();
        if self.own.token_salt.as_deref() != Some(&kdf.salt_text()) {
            changes.push(set("token_salt", kdf.salt_text()));
        }
        if self.own.token_iterations.as_deref() != Some(&iterations) {
            changes.push(set("token_iterations", iterations));
        }
        if let Some((access, expiry)) = &new.access {
            changes.push(seal("access_token", access)?);
            changes.push(set("access_token_expiry", expiry.to_string()));
        }
        match new.refresh {
            Refresh::New(token) => changes.push(seal("refresh_token", token)?),
            Refresh::Kept(token) => {
                if self
                    .refresh
                    .as_ref()
                    .is_none_or(|v| rekeyed || v.elsewhere || v.stale(form))
                {
                    changes.push(seal("refresh_token", token)?);
                }
            }
            Refresh::Gone => {
                if self.refresh.as_ref().is_some_and(|value| !value.elsewhere) {
                    changes.push(unset("refresh_token"));
                }
            }
        }
        if let Some(secret) = new.secret {
            let kept = self
                .own_secret
                .as_ref()
                .filter(|value| !rekeyed && !value.stale(form));
            if kept.is_none() || new.secret_is_new {
                changes.push(seal("client_secret_encrypted", secret)?);
            }
        }
        if new.forget_plain_secret {
            changes.push(unset("client_secret"));
        }
        if let Some(now) = new.last_activity.filter(|_| !changes.is_empty()) {
            changes.push(set("last_activity", now.to_string()));
        }
        Ok(changes)
    }
}

/// What is to be written.
pub(super) struct New<'a> {
    pub(super) heading: &'a str,
    /// The access token and the Unix time of its end.
    pub(super) access: Option<(&'a Secret, u64)>,
    pub(super) refresh: Refresh<'a>,
    /// The client secret to be kept encrypted in the account's own section.
    pub(super) secret: Option<&'a Secret>,
    /// It is not the one that is encrypted there now.
    pub(super) secret_is_new: bool,
    /// Take `client_secret` out of the section.
    pub(super) forget_plain_secret: bool,
    /// Unix time.
    pub(super) last_activity: Option<u64>,
}

/// What becomes of the refresh token.
#[derive(Clone, Copy)]
pub(super) enum Refresh<'a> {
    New(&'a Secret),
    Kept(&'a Secret),
    Gone,
}

/// What a password opened.
pub(super) struct Opened {
    /// What opened the tokens.
    pub(super) key: Option<(Kdf, Arc<Key>)>,
    pub(super) access: Option<Secret>,
    pub(super) refresh: Option<Secret>,
    /// The client secret, where the encrypted one is used.
    pub(super) secret: Option<Secret>,
    /// What stands encrypted in the account's own section, used or not.
    pub(super) own_secret: Option<Secret>,
    /// Something is in an older form.
    pub(super) stale: bool,
}

/// What a password is worth.
pub(super) enum Unlocked {
    /// Nothing is saved to check it against.
    Empty,
    /// It is right.
    Open(Opened),
    /// It is wrong, for the client secret or for the tokens.
    Wrong {
        /// For the client secret.
        secret: bool,
        /// What the attempt has cost.
        iterations: u32,
    },
    /// Nobody's password can open it.
    Damaged {
        /// The section.
        heading: String,
        /// The option, and what is wrong with it.
        damaged: Damaged,
    },
}

impl Unlocked {
    fn damaged(value: &Value, damaged: Damaged) -> Self {
        Unlocked::Damaged {
            heading: value.heading.clone(),
            damaged,
        }
    }
}

/// Salt and iterations of the values in `places[index]`: its own, else those of the others in the order of look-up. Iterations
/// are its own, else those beside the salt. (The Python tool may write the iterations alone when the salt is a catch-all's.)
fn kdf(places: &[Place], index: usize) -> Option<Result<Kdf, Damaged>> {
    let salted = std::iter::once(&places[index])
        .chain(places)
        .find(|place| place.saved.token_salt.is_some())?;
    let iterations = places[index]
        .saved
        .token_iterations
        .as_ref()
        .or(salted.saved.token_iterations.as_ref());
    let salt = salted.saved.token_salt.as_deref()?;
    Some(Kdf::parse(salt, iterations.map(String::as_str)))
}

#[cfg(test)]
mod tests;
