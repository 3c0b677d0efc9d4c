//! What a flight saves: conditions, forms, and what becomes of a grant that cannot be saved.

use super::{
    Denial, LOOKS, Life,
    denial::busy,
    errand::{Errand, Found},
    flight::{Setback, Stray},
    lock,
    saved::{New, Proof, Refresh, Unlocked},
};
use crate::{
    crypt::Kdf,
    flow::Grant,
    keyring::Busy,
    messages::{login, tokens as messages},
    settings::FlowKind,
    store::Outcome,
};
use proxy_proto::Secret;

impl Errand {
    /// Saves what the provider granted, and gives the access token. `kept`: what was refreshed; it goes on where there is no new
    /// one.
    ///
    /// What is saved may change meanwhile, in this process and in others. So it is looked at once more, and written only while it is
    /// what was seen; else it is looked at again. Where the password is the account's no longer, somebody has changed that: the
    /// grant is kept for whoever knows the new one ([`Stray`]), for the refresh token that stands there may have ended with it.
    pub(super) async fn save(
        &self,
        found: &Found,
        grant: &Grant,
        kept: Option<&Secret>,
    ) -> Result<Secret, Setback> {
        let _turn = self.authenticator.turn(&self.account.name).await;
        self.check_settings()?;
        let expiry = (self.authenticator.clock.now()).saturating_add(grant.expires_in);
        for _ in 0..LOOKS {
            let Some(now) = self.find_again(found).await? else {
                self.leave_stray(found, grant, expiry);
                tracing::warn!(account = %self.account.name, "{}", messages::NOT_SAVED);
                return Err(Setback::Changed);
            };
            match self.save_over(&now, grant, expiry, kept).await? {
                Outcome::Written => {
                    let name = &self.account.name;
                    self.authenticator.state(name, |state| state.stray = None);
                }
                Outcome::Changed => continue,
                Outcome::Waiting => self.leave_stray(&now, grant, expiry),
                Outcome::Pending(error) => {
                    self.leave_stray(&now, grant, expiry);
                    tracing::error!(
                        account = %self.account.name,
                        "{}", messages::kept_in_memory(error)
                    );
                }
            }
            let text = match &grant.refresh_token {
                Some(_) => messages::new_tokens(grant.expires_in),
                None => messages::new_access_token(grant.expires_in),
            };
            tracing::info!(account = %self.account.name, "{text}");
            return Ok(grant.access_token.clone());
        }
        Err(Setback::Denial(Denial::Temporary(login::keeps_changing(
            &self.account.name,
        ))))
    }

    /// As [`Errand::find`] when there is something to be saved; `None` where what is saved by now is not this login's to replace: it was
    /// the right password when the flight began, and is so no more.
    async fn find_again(&self, before: &Found) -> Result<Option<Found>, Denial> {
        let (holdings, unlocked) = self.look().await?;
        let opened = match unlocked {
            Unlocked::Empty => None,
            Unlocked::Open(opened) => Some(opened),
            Unlocked::Wrong { .. } | Unlocked::Damaged { .. } => {
                if before.opened.is_some() || self.takes_only_its_password() {
                    return Ok(None);
                }
                // the provider, or the user, has just said that it is
                None
            }
        };
        let mut found = self.found(holdings, opened, before.password_differs);
        found.secret = found.secret.or_else(|| before.secret.clone());
        Ok(Some(found))
    }

    async fn save_over(
        &self,
        now: &Found,
        grant: &Grant,
        expiry: u64,
        kept: Option<&Secret>,
    ) -> Result<Outcome, Denial> {
        let Errand {
            authenticator,
            account,
            ..
        } = self;
        let there = now.opened.as_ref().and_then(|o| o.refresh.as_ref());
        let refresh = match (&grant.refresh_token, kept) {
            (Some(token), _) => Refresh::New(token),
            // another process may have replaced it meanwhile
            (None, Some(token)) => Refresh::Kept(there.unwrap_or(token)),
            (None, None) => Refresh::Gone,
        };
        let tag = authenticator.token_tag(&grant.access_token);
        authenticator.state(&account.name, |state| {
            state.lifetime = Some((tag, grant.expires_in))
        });
        let access = Some((&grant.access_token, expiry));
        let outcome = self.write(now, access, refresh, true).await?;
        if !account.own_section && !matches!(outcome, Outcome::Changed) {
            let mut spellings = lock(&authenticator.spellings);
            let spelling = spellings.entry(account.name.to_lowercase());
            spelling.or_insert_with(|| account.name.clone());
        }
        Ok(outcome)
    }

    fn check_settings(&self) -> Result<(), Denial> {
        let account = &self.account;
        let settings = self.authenticator.settings();
        if settings
            .account(&account.name)
            .is_some_and(|a| a.fingerprint == account.fingerprint)
        {
            return Ok(());
        }
        tracing::warn!(account = %account.name, "{}", messages::DROPPED);
        Err(Denial::Temporary(login::settings_have_changed(
            &account.name,
        )))
    }

    /// Keeps in memory what may not be saved as long as somebody else's password protects what is saved.
    fn leave_stray(&self, over: &Found, grant: &Grant, expiry: u64) {
        let from = self.authenticator.token_tags(over.opened.as_ref());
        if from.is_empty() {
            return;
        }
        self.authenticator.state(&self.account.name, |state| {
            state.stray = Some(Stray {
                from,
                fingerprint: self.account.fingerprint,
                access: grant.access_token.clone(),
                expiry,
                refresh: grant.refresh_token.clone(),
            });
        });
    }

    /// Saves the stray grant that replaces what this login's password has opened, and gives its access token if that serves.
    pub(super) async fn take_over(&self, found: &Found) -> Result<Option<Secret>, Setback> {
        let Some(opened) = &found.opened else {
            return Ok(None);
        };
        let authenticator = &self.authenticator;
        let tags = authenticator.token_tags(Some(opened));
        let taken = authenticator.state(&self.account.name, |state| {
            let ours = |stray: &mut Stray| {
                stray.fingerprint == self.account.fingerprint
                    && stray.from.iter().any(|tag| tags.contains(tag))
                    && !tags.contains(&authenticator.token_tag(&stray.access))
            };
            state.stray.take_if(ours)
        });
        let now = authenticator.clock.now();
        // what has neither a future nor a refresh token of its own is not worth a save
        let Some(stray) = taken.filter(|stray| stray.refresh.is_some() || stray.expiry > now)
        else {
            return Ok(None);
        };
        let grant = Grant {
            access_token: stray.access,
            refresh_token: stray.refresh,
            expires_in: stray.expiry.saturating_sub(now),
            names: Vec::new(),
        };
        let access = self.save(found, &grant, opened.refresh.as_ref()).await?;
        let refused = self.force == Some(authenticator.token_tag(&access));
        match authenticator.life(&self.account, &access, stray.expiry) {
            Life::Long | Life::Short if !refused => Ok(Some(access)),
            // what came with it is saved, and can be refreshed
            _ => Err(Setback::Changed),
        }
    }

    /// Brings saved values into the form of today, as far as the password opens them. A failure costs the login nothing.
    pub(super) async fn rewrite(&self, found: &Found, access: &Secret) {
        let Some(opened) = found.opened.as_ref().filter(|opened| opened.stale) else {
            return;
        };
        let refresh = match &opened.refresh {
            Some(token) => Refresh::Kept(token),
            // one that this password does not open stays as it is
            None if found.holdings.has_refresh_token() => return,
            None => Refresh::Gone,
        };
        let access = (access, found.holdings.expiry);
        let _turn = self.authenticator.turn(&self.account.name).await;
        match self.write(found, Some(access), refresh, false).await {
            Ok(Outcome::Changed) => {}
            Ok(_) => {
                tracing::info!(account = %self.account.name, "{}", messages::REWRITTEN);
            }
            Err(Denial::Denied(text) | Denial::Temporary(text)) => tracing::warn!("{text}"),
        }
    }

    /// Writes over what was found, while it is there.
    async fn write(
        &self,
        found: &Found,
        access: Option<(&Secret, u64)>,
        refresh: Refresh<'_>,
        requested: bool,
    ) -> Result<Outcome, Denial> {
        let Errand {
            authenticator,
            account,
            ..
        } = self;
        let mut form = authenticator.form(&self.settings);
        let in_config = authenticator.config_saver.is_none();
        let sealing = match &self.proof {
            Proof::Password(_)
                if requested && self.settings.options.encrypt_client_secret_on_first_use =>
            {
                self.secret_to_seal(found).await
            }
            _ => None,
        };
        let own_secret = found
            .opened
            .as_ref()
            .and_then(|opened| opened.own_secret.as_ref());
        let trouble = |what: &dyn std::fmt::Display| {
            Denial::Temporary(messages::cannot_be_saved(&account.name, what))
        };
        let holdings = &found.holdings;
        let (kdf, key) = match &self.proof {
            Proof::Password(password) => {
                let kdf = match holdings.next_kdf(found.opened.as_ref(), sealing.is_some(), form) {
                    Some(kdf) => kdf,
                    None => Kdf::fresh(form.iterations).map_err(|e| trouble(&e))?,
                };
                let keyring = &authenticator.keyring;
                let key = keyring.derive(&account.name, password, &kdf).await;
                (kdf, key.map_err(|Busy| busy(&account.name))?)
            }
            Proof::Keys => {
                let key = found.opened.as_ref().and_then(|opened| opened.key.clone());
                let (kdf, key) = key.ok_or_else(|| trouble(&messages::NO_KEY))?;
                // more of them take the password
                form.iterations = kdf.iterations;
                (kdf, key)
            }
        };
        let new = New {
            heading: &account.name,
            access,
            refresh,
            secret: sealing.as_ref().or(own_secret),
            secret_is_new: sealing.is_some() && sealing.as_ref() != own_secret,
            forget_plain_secret: sealing.is_some() && in_config && account.own_section,
            last_activity: Some(authenticator.clock.now()),
        };
        let changes = holdings
            .changes(&new, &key, &kdf, form)
            .map_err(|e| trouble(&e))?;
        let saver = &authenticator.saver;
        let outcome = saver
            .save_unless_changed(&account.name, holdings.seen(), changes)
            .await;
        if matches!(outcome, Outcome::Changed) {
            return Ok(outcome);
        }
        if let Proof::Password(password) = &self.proof {
            let keyring = &authenticator.keyring;
            keyring.keep(&account.name, password, &kdf, &key);
        }
        if sealing.is_some() {
            lock(&authenticator.sealed).insert(account.name.clone());
            if in_config && account.own_section && account.headings.len() <= 1 {
                tracing::info!(account = %account.name, "{}", messages::SECRET_ENCRYPTED);
            } else {
                tracing::warn!(
                    account = %account.name,
                    "{}", messages::SECRET_ENCRYPTED_REMOVE_PLAIN
                );
            }
        }
        Ok(outcome)
    }

    /// The plain client secret; of a service account's key file, its contents.
    async fn secret_to_seal(&self, found: &Found) -> Option<Secret> {
        let secret = found.secret.as_ref().filter(|_| found.secret_is_plain)?;
        if self.account.flow != FlowKind::ServiceAccount {
            return Some(secret.clone());
        }
        match self.service_account_json(secret).await {
            Ok(json) => Some(json),
            Err(text) => {
                tracing::warn!(account = %self.account.name, "{}", messages::secret_not_encrypted(text));
                None
            }
        }
    }
}
