//! What a flight does: refresh, or authorise afresh; then save, before anybody gets the token.

use super::{
    Authenticator, Denial, Life,
    denial::{busy, consent_pending},
    flight::{Flight, Pause, Setback},
    saved::{Holdings, Opened, Proof, Unlocked},
};
use crate::{
    crypt::random,
    flow::{self, Failure, Grant, token_answer},
    keyring::{Busy, Tag},
    messages::{consent, tokens as messages},
    settings::{Account, FlowKind, Settings},
};
use proxy_proto::Secret;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// A pause after failures that a login waits for; longer ones refuse it.
const PATIENCE: u64 = 5;

/// One flight's task.
pub(super) struct Errand {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) settings: Arc<Settings>,
    pub(super) account: Arc<Account>,
    pub(super) proof: Proof,
    /// The login name as it was given.
    pub(super) user: Arc<str>,
    /// `None` for a renewal ahead of its time, and for the command line.
    pub(super) client: Option<IpAddr>,
    /// Authorise even where what is saved would serve.
    pub(super) afresh: bool,
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
        if !self.afresh
            && let Some(access) = self.take_over(&found).await?
        {
            return Ok(access);
        }
        // while it cannot be renewed; while that would take the user
        let (mut fallback, mut last_resort) = (None, None);
        let opened = found.opened.as_ref().filter(|_| !self.afresh);
        if let Some(opened) = opened
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
        if let Some(refresh_token) = opened.and_then(|opened| opened.refresh.as_ref()) {
            match self.refresh(&found, refresh_token).await {
                Ok(grant) => {
                    return self.save(&found, &grant, Some(refresh_token)).await;
                }
                Err(Failure::Ended(text)) => {
                    if self.have_tokens_changed(&found).await? {
                        // another process has replaced it, with the same provider's help
                        return Err(Setback::Changed);
                    }
                    tracing::warn!(account = %self.account.name, "{}", messages::refresh_token_ended(text));
                }
                Err(failure) => {
                    if let Some(access) = fallback {
                        tracing::warn!(
                            account = %self.account.name,
                            "{}", messages::old_token_instead(failure.text())
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
            (Err(Setback::Denial(Denial::Temporary(text))), Some(access)) => {
                tracing::warn!(
                    account = %self.account.name,
                    "{}", messages::old_token_serves(text)
                );
                Ok(access.clone())
            }
            (result, _) => result,
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
        if let Some(access) = self.take_over(&found).await? {
            return Ok(access);
        }
        let Some(refresh_token) = &opened.refresh else {
            return self.authorize(&found).await;
        };
        match self.refresh(&found, refresh_token).await {
            Ok(grant) => self.save(&found, &grant, Some(refresh_token)).await,
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

    /// What is saved of the account, and what the password opens of it.
    pub(super) async fn find(&self) -> Result<Found, Setback> {
        let (holdings, unlocked) = self.look().await?;
        let (opened, password_differs) = match unlocked {
            Unlocked::Empty => (None, false),
            Unlocked::Open(opened) => (Some(opened), false),
            Unlocked::Wrong { secret: false, .. }
                if self.settings.options.delete_account_token_on_password_error
                    && !self.takes_only_its_password() =>
            {
                (None, true)
            }
            Unlocked::Wrong { .. } | Unlocked::Damaged { .. } => return Err(Setback::Changed),
        };
        if self.authenticator.plain_secret(&self.account).is_some()
            && holdings.has_encrypted_secret()
        {
            tracing::warn!(account = %self.account.name, "{}", messages::BOTH_SECRETS_SAVED);
        }
        Ok(self.found(holdings, opened, password_differs))
    }

    pub(super) async fn look(&self) -> Result<(Holdings, Unlocked), Denial> {
        let Errand {
            authenticator,
            account,
            ..
        } = self;
        let holdings = authenticator.holdings(account).await?;
        let plain = authenticator.plain_secret(account).is_some();
        let form = authenticator.form(&self.settings);
        let unlocked = holdings
            .unlock(&authenticator.keyring, account, &self.proof, plain, form)
            .await
            .map_err(|Busy| busy(&account.name))?;
        Ok((holdings, unlocked))
    }

    pub(super) fn found(
        &self,
        holdings: Holdings,
        opened: Option<Opened>,
        password_differs: bool,
    ) -> Found {
        let plain = self.authenticator.plain_secret(&self.account).cloned();
        let secret_is_plain = plain.is_some();
        let secret = plain.or_else(|| opened.as_ref().and_then(|opened| opened.secret.clone()));
        Found {
            holdings,
            opened,
            password_differs,
            secret,
            secret_is_plain,
        }
    }

    /// Whoever knows another password gets nowhere with it.
    pub(super) fn takes_only_its_password(&self) -> bool {
        matches!(
            self.account.flow,
            FlowKind::ClientCredentials | FlowKind::ServiceAccount
        )
    }

    async fn refresh(&self, found: &Found, refresh_token: &Secret) -> Result<Grant, Failure> {
        let auth = self.client_auth(found).await.map_err(Failure::Transient)?;
        let form = flow::refresh::token_request(&self.account, &auth, refresh_token);
        tracing::debug!(account = %self.account.name, "{}", messages::REFRESHING);
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
                return Err(Failure::Transient(messages::asked_again_in(left)));
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
        let begun = Instant::now();
        let result = match self.authenticator.transport.send(form.post(url)).await {
            Ok(answer) => token_answer(answer.status, &answer.body, form.secrets()),
            Err(error) => Err(Failure::Transient(error.0)),
        };
        let tally = &self.authenticator.tally;
        tally.token_request(&result, begun.elapsed());
        result
    }

    /// What a failure means to the login.
    pub(super) fn denial(&self, failure: &Failure) -> Denial {
        let name = &self.account.name;
        let why = if self.account.client_id.contains("*** your") {
            messages::with_placeholder(failure.text())
        } else {
            failure.text().to_owned()
        };
        match self.proof {
            Proof::Password(_) => tracing::warn!(account = %name, "{}", messages::none(&why)),
            // the sessions that are open do not need it, and the next login says it aloud
            Proof::Keys => tracing::debug!(account = %name, "{}", messages::not_renewed(&why)),
        }
        match failure {
            Failure::Transient(_) => Denial::Temporary(messages::none_now_for(name, why)),
            Failure::Ended(_) | Failure::Refused { .. } => {
                Denial::Denied(messages::none_for(name, why))
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
                "{}", consent::no_refresh_token(grant.expires_in)
            );
        }
    }
}
