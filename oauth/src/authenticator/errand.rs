//! What a flight does: refresh, or authorise afresh; then save, before anybody gets the token.

use super::{
    Authenticator, Denial, Life,
    denial::{busy, consent_pending},
    flight::{Flight, Pause, Setback},
    lock,
    saved::{Holdings, New, Opened, Proof, Refresh, Unlocked},
};
use crate::{
    crypt::{Kdf, random},
    flow::{self, Failure, Grant, advice, token_answer},
    keyring::{Busy, Tag},
    settings::{Account, FlowKind, Settings},
    store::Outcome,
};
use proxy_proto::Secret;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// A pause after failures that a login waits for; longer ones refuse it.
const PATIENCE: u64 = 5;

/// One flight's task.
pub(super) struct Errand {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) settings: Arc<Settings>,
    pub(super) account: Arc<Account>,
    pub(super) proof: Proof,
    /// `None` for a renewal ahead of its time.
    pub(super) client: Option<IpAddr>,
    /// The access token with this tag has to be replaced whatever its expiry says: the server refused it, or its time comes.
    pub(super) force: Option<Tag>,
    pub(super) flight: Arc<Flight>,
}

/// What is known of the account when the flight begins.
pub(super) struct Found {
    pub(super) holdings: Holdings,
    pub(super) opened: Option<Opened>,
    /// Tokens are saved under another password.
    pub(super) password_differs: bool,
    /// The client secret, from the settings or opened.
    pub(super) secret: Option<Secret>,
    /// It stands unencrypted in the settings.
    pub(super) secret_is_plain: bool,
}

impl Errand {
    /// An access token that is saved, or will be: its refresh token is on disk unless the store is in trouble.
    pub(super) async fn run(&self) -> Result<Secret, Setback> {
        let found = self.find().await?;
        // while it cannot be renewed; while that would take the user
        let (mut fallback, mut last_resort) = (None, None);
        if let Some(opened) = &found.opened
            && let Some(access) = &opened.access
            && self.force != Some(self.authenticator.token_tag(access))
        {
            match self
                .authenticator
                .life(&self.account, access, found.holdings.expiry)
            {
                Life::Long => {
                    self.rewrite(&found, access).await;
                    return Ok(access.clone());
                }
                Life::Short => (fallback, last_resort) = (Some(access), Some(access)),
                Life::Ending => last_resort = Some(access),
                Life::Over => {}
            }
        }
        if let Some(refresh_token) = found.opened.as_ref().and_then(|o| o.refresh.as_ref()) {
            match self.refresh(&found, refresh_token).await {
                Ok(grant) => {
                    return self.save_refreshed(&found, &grant, refresh_token).await;
                }
                Err(Failure::Ended(text)) => {
                    if self.have_tokens_changed(&found).await? {
                        // another process has replaced it, with the same provider's help
                        return Err(Setback::Changed);
                    }
                    tracing::warn!(account = %self.account.name, "the refresh token is of no more use: {text}");
                }
                Err(failure) => {
                    if let Some(access) = fallback {
                        tracing::warn!(
                            account = %self.account.name,
                            "no new token, the old one serves a little longer: {}", failure.text()
                        );
                        return Ok(access.clone());
                    }
                    return Err(self.denial(&failure).into());
                }
            }
        }
        let asks = matches!(
            self.account.flow,
            FlowKind::AuthorizationCode | FlowKind::Device
        );
        if let Some(access) = last_resort.filter(|_| asks) {
            // the user is not asked before it is necessary
            return Ok(access.clone());
        }
        match (self.authorize(&found).await, fallback) {
            (Err(Denial::Temporary(text)), Some(access)) => {
                tracing::warn!(
                    account = %self.account.name,
                    "the old token serves a little longer: {text}"
                );
                Ok(access.clone())
            }
            (result, _) => Ok(result?),
        }
    }

    /// Renews the access token ahead of its time, quietly and without the user.
    pub(super) async fn renew(&self) -> Result<Secret, Setback> {
        let found = self.find().await?;
        let Some(opened) = &found.opened else {
            return Err(Setback::Changed);
        };
        let access = opened.access.as_ref();
        if access.map(|access| self.authenticator.token_tag(access)) != self.force {
            // somebody has done it
            return Err(Setback::Changed);
        }
        let Some(refresh_token) = &opened.refresh else {
            return Ok(self.authorize(&found).await?);
        };
        match self.refresh(&found, refresh_token).await {
            Ok(grant) => self.save_refreshed(&found, &grant, refresh_token).await,
            Err(Failure::Ended(_)) if self.have_tokens_changed(&found).await? => {
                Err(Setback::Changed)
            }
            Err(failure) => Err(self.denial(&failure).into()),
        }
    }

    async fn have_tokens_changed(&self, found: &Found) -> Result<bool, Denial> {
        let holdings = self.authenticator.holdings(&self.account).await?;
        Ok(holdings.tokens() != found.holdings.tokens())
    }

    /// Tokens that were saved meanwhile under another password are not overwritten by a refresh of the old ones.
    async fn still_ours(&self, found: &Found) -> Result<(), Setback> {
        if !self.have_tokens_changed(found).await? || self.find().await?.opened.is_some() {
            return Ok(());
        }
        tracing::warn!(
            account = %self.account.name,
            "a refreshed token is dropped: others have been saved meanwhile under another password"
        );
        Err(Setback::Changed)
    }

    pub(super) async fn find(&self) -> Result<Found, Setback> {
        let Errand {
            authenticator,
            account,
            ..
        } = self;
        let holdings = authenticator.holdings(account).await?;
        let plain = authenticator.plain_secret(account).cloned();
        if plain.is_some() && holdings.has_encrypted_secret() {
            tracing::warn!(
                account = %account.name,
                "both client_secret and client_secret_encrypted are there: the first one is used; remove one of them"
            );
        }
        let form = authenticator.form(&self.settings);
        let unlocked = holdings
            .unlock(
                &authenticator.keyring,
                account,
                &self.proof,
                plain.is_some(),
                form,
            )
            .await
            .map_err(|Busy| busy(&account.name))?;
        let (opened, password_differs) = match unlocked {
            Unlocked::Empty => (None, false),
            Unlocked::Open(opened) => (Some(opened), false),
            Unlocked::Wrong { secret: false, .. }
                if self.settings.options.delete_account_token_on_password_error
                    && !matches!(
                        account.flow,
                        FlowKind::ClientCredentials | FlowKind::ServiceAccount
                    ) =>
            {
                (None, true)
            }
            Unlocked::Wrong { .. } | Unlocked::Damaged { .. } => return Err(Setback::Changed),
        };
        let secret_is_plain = plain.is_some();
        let secret = plain.or_else(|| opened.as_ref().and_then(|opened| opened.secret.clone()));
        Ok(Found {
            holdings,
            opened,
            password_differs,
            secret,
            secret_is_plain,
        })
    }

    async fn refresh(&self, found: &Found, refresh_token: &Secret) -> Result<Grant, Failure> {
        let auth = self.client_auth(found).await.map_err(Failure::Transient)?;
        let form = flow::refresh::token_request(&self.account, &auth, refresh_token);
        tracing::debug!(account = %self.account.name, "refreshing the access token");
        self.paced_request(&form, &self.account.token_url).await
    }

    /// A token request that respects the pause after earlier failures, and is followed by one when it fails for a reason that has
    /// nothing to do with the grant. A refusal to authorise afresh may be the fault of a guessed password: others do not wait for it.
    pub(super) async fn paced_request(
        &self,
        form: &flow::Form,
        url: &str,
    ) -> Result<Grant, Failure> {
        let Errand {
            authenticator,
            account,
            ..
        } = self;
        let now = authenticator.clock.now();
        let ahead = matches!(self.proof, Proof::Keys);
        let pause = authenticator.state(&account.name, |state| state.pause);
        if let Some(left) = pause.and_then(|pause| pause.until.checked_sub(now)) {
            if left > PATIENCE || ahead {
                return Err(Failure::Transient(format!(
                    "the provider failed a moment ago and is asked again in {left} seconds"
                )));
            }
            authenticator.clock.sleep(Duration::from_secs(left)).await;
        }
        let result = self.request(form, url).await;
        let now = authenticator.clock.now();
        let refreshing = form.value("grant_type") == Some("refresh_token");
        let jitter = random::<1>().map_or(0, |[jitter]| jitter);
        authenticator.state(&account.name, |state| {
            state.pause = match &result {
                Ok(_) | Err(Failure::Ended(_)) => None,
                Err(Failure::Refused { .. }) if !refreshing => state.pause,
                // it has its own pauses; no login waits for them
                Err(_) if ahead => state.pause,
                Err(_) => Some(Pause::after(state.pause, now, jitter)),
            };
        });
        result
    }

    /// One token request.
    pub(super) async fn request(&self, form: &flow::Form, url: &str) -> Result<Grant, Failure> {
        match self.authenticator.transport.send(form.post(url)).await {
            Ok(answer) => token_answer(answer.status, &answer.body, form.secrets()),
            Err(error) => Err(Failure::Transient(error.0)),
        }
    }

    /// What a failure means to the login.
    pub(super) fn denial(&self, failure: &Failure) -> Denial {
        let name = &self.account.name;
        let text = failure.text();
        let hint = if self.account.client_id.contains("*** your") {
            "; client_id still holds the sample's placeholder"
        } else {
            ""
        };
        match self.proof {
            Proof::Password(_) => tracing::warn!(account = %name, "no token: {text}{hint}"),
            // the sessions that are open do not need it, and the next login says it aloud
            Proof::Keys => tracing::debug!(account = %name, "not renewed ahead of time: {text}"),
        }
        match failure {
            Failure::Transient(_) => {
                Denial::Temporary(format!("no token for {name} at the moment: {text}{hint}"))
            }
            Failure::Ended(_) | Failure::Refused { .. } => {
                Denial::Denied(format!("no token for {name}: {text}{hint}"))
            }
        }
    }

    /// Saves what a fresh authorisation brought, and gives the access token.
    pub(super) async fn save(&self, found: &Found, grant: &Grant) -> Result<Secret, Denial> {
        let _turn = self.authenticator.turn(&self.account.name).await;
        self.save_in_turn(found, grant, None).await
    }

    /// Saves what a refresh brought, unless others have been faster; the refresh token goes on where there is no new one.
    async fn save_refreshed(
        &self,
        found: &Found,
        grant: &Grant,
        refresh_token: &Secret,
    ) -> Result<Secret, Setback> {
        let _turn = self.authenticator.turn(&self.account.name).await;
        self.still_ours(found).await?;
        Ok(self.save_in_turn(found, grant, Some(refresh_token)).await?)
    }

    async fn save_in_turn(
        &self,
        found: &Found,
        grant: &Grant,
        kept: Option<&Secret>,
    ) -> Result<Secret, Denial> {
        let Errand {
            authenticator,
            account,
            ..
        } = self;
        let settings = authenticator.settings();
        if settings
            .account(&account.name)
            .is_none_or(|a| a.fingerprint != account.fingerprint)
        {
            tracing::warn!(account = %account.name, "tokens dropped: the account's settings have changed meanwhile");
            return Err(Denial::Temporary(format!(
                "the settings of {} have changed meanwhile; log in again",
                account.name
            )));
        }
        let refresh = match (&grant.refresh_token, kept) {
            (Some(token), _) => Refresh::New(token),
            (None, Some(token)) => Refresh::Kept(token),
            (None, None) => Refresh::Gone,
        };
        let expiry = authenticator.clock.now().saturating_add(grant.expires_in);
        let tag = authenticator.token_tag(&grant.access_token);
        authenticator.state(&account.name, |state| {
            state.lifetime = Some((tag, grant.expires_in))
        });
        self.write(found, Some((&grant.access_token, expiry)), refresh, true)
            .await?;
        if !account.own_section {
            let mut spellings = lock(&authenticator.spellings);
            let spelling = spellings.entry(account.name.to_lowercase());
            spelling.or_insert_with(|| account.name.clone());
        }
        tracing::info!(
            account = %account.name,
            "new access token, good for {} seconds{}", grant.expires_in,
            if grant.refresh_token.is_some() { ", and new refresh token" } else { "" }
        );
        Ok(grant.access_token.clone())
    }

    /// Brings saved values into the form of today, as far as the password opens them. A failure costs the login nothing.
    async fn rewrite(&self, found: &Found, access: &Secret) {
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
        if !matches!(self.have_tokens_changed(found).await, Ok(false)) {
            return;
        }
        match self.write(found, Some(access), refresh, false).await {
            Ok(()) => {
                tracing::info!(account = %self.account.name, "saved values rewritten in the current form");
            }
            Err(Denial::Denied(text) | Denial::Temporary(text)) => tracing::warn!("{text}"),
        }
    }

    async fn write(
        &self,
        found: &Found,
        access: Option<(&Secret, u64)>,
        refresh: Refresh<'_>,
        requested: bool,
    ) -> Result<(), Denial> {
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
            Denial::Temporary(format!(
                "the tokens of {} cannot be saved: {what}",
                account.name
            ))
        };
        // what is there may have changed while the provider or the user was asked
        let holdings = authenticator.holdings(account).await?;
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
                let (kdf, key) = key.ok_or_else(|| trouble(&"no key is in memory"))?;
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
        if let Outcome::Pending(error) = authenticator.saver.save(&account.name, changes).await {
            tracing::error!(
                account = %account.name,
                "tokens are kept in memory until they can be saved: {error}"
            );
        }
        if let Proof::Password(password) = &self.proof {
            let keyring = &authenticator.keyring;
            keyring.keep(&account.name, password, &kdf, &key);
        }
        if sealing.is_some() {
            lock(&authenticator.sealed).insert(account.name.clone());
            if in_config && account.own_section && account.headings.len() <= 1 {
                tracing::info!(account = %account.name, "client_secret is now saved as client_secret_encrypted");
            } else {
                tracing::warn!(
                    account = %account.name,
                    "client_secret is now saved as client_secret_encrypted; remove the plain one from the configuration file, also from a catch-all"
                );
            }
        }
        Ok(())
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
                tracing::warn!(account = %self.account.name, "client_secret is not encrypted: {text}");
                None
            }
        }
    }

    /// The user is to be asked: only one password at a time may do so.
    pub(super) fn claim_consent(&self) -> Result<(), Denial> {
        let Errand {
            authenticator,
            account,
            flight,
            ..
        } = self;
        authenticator.state(&account.name, |state| {
            let taken = state.flights.iter().any(|aloft| {
                aloft.fingerprint == account.fingerprint
                    && !Arc::ptr_eq(&aloft.flight, flight)
                    && aloft.flight.is_asking()
            });
            if taken {
                return Err(consent_pending(&account.name));
            }
            flight.ask();
            Ok(())
        })
    }

    /// For flows in which the user takes part and no refresh token came.
    pub(super) fn warn_without_refresh_token(&self, grant: &Grant) {
        if grant.refresh_token.is_none() {
            tracing::warn!(
                account = %self.account.name,
                "the provider gave no refresh token: the user will be asked again in {} seconds; {}",
                grant.expires_in,
                advice::OFFLINE
            );
        }
    }
}
