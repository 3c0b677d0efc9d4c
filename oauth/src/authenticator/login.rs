//! One login: opens what is saved, and boards a flight where that does not serve.

use super::{
    Attempt, Authenticator, Denial, LOOKS, Life,
    brake::Brake,
    denial::{
        busy, consent_pending, is_local, refused_again, refused_to_strangers, wrong_password,
    },
    errand::Errand,
    flight::{self, AfterRefusal, Flight, Landing, Setback},
    lock,
    saved::{Proof, Unlocked},
};
use crate::{
    crypt::{Damaged, Kdf},
    keyring::Busy,
    messages::{login as messages, saved},
    settings::{Account, FlowKind, Settings},
};
use proxy_proto::Secret;
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

impl Authenticator {
    pub(super) async fn access_token(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        account: &Arc<Account>,
        attempt: &Attempt,
        user: &str,
        purpose: Purpose,
    ) -> Result<Secret, Denial> {
        let counted = AtomicBool::new(false);
        let count_wrong = || {
            if !counted.swap(true, Ordering::Relaxed) {
                lock(&self.brake).wrong(attempt.client, self.clock.now());
            }
        };
        for _ in 0..LOOKS {
            let holdings = self.holdings(account).await?;
            let plain = self.plain_secret(account).is_some();
            // Where nothing can be guessed the brake would only hold up the first login of an account.
            let guessable =
                holdings.checks_passwords(plain) || is_checked_by_provider(settings, account);
            if guessable && !holdings.password_is_known(&self.keyring, account, &attempt.password) {
                self.brake(attempt.client, user).await?;
            }
            let unlocked = holdings
                .unlock(
                    &self.keyring,
                    account,
                    &Proof::Password(attempt.password.clone()),
                    plain,
                    self.form(settings),
                )
                .await
                .map_err(|Busy| busy(user))?;
            let need = match unlocked {
                Unlocked::Empty => Need::Authorization,
                Unlocked::Open(_) if purpose.is_afresh() => Need::Authorization,
                Unlocked::Open(opened) => match (opened.access, &attempt.rejected) {
                    (Some(access), None) => {
                        let life = self.life(account, &access, holdings.expiry);
                        if life == Life::Long && !opened.stale {
                            tracing::debug!(account = %account.name, "{}", messages::SAVED_TOKEN_SERVES);
                            return Ok(access);
                        }
                        Need::Renewal
                    }
                    (Some(access), Some(_)) => {
                        let life = self.life(account, &access, holdings.expiry);
                        Need::AfterRefusal {
                            access,
                            long: life == Life::Long,
                        }
                    }
                    (None, _) => Need::Renewal,
                },
                Unlocked::Wrong { secret, iterations } => {
                    count_wrong();
                    let user_decides = !matches!(
                        account.flow,
                        FlowKind::ClientCredentials | FlowKind::ServiceAccount
                    );
                    let afresh = settings.options.delete_account_token_on_password_error;
                    if secret || !user_decides || !afresh {
                        self.pad(attempt, iterations).await;
                        return Err(wrong_password(account, attempt, user, secret));
                    }
                    Need::Authorization
                }
                Unlocked::Damaged { heading, damaged } => {
                    let Damaged { option, why } = damaged;
                    return Err(Denial::Temporary(match option {
                        "token_salt" | "token_iterations" => {
                            saved::damaged_salt(user, option, why, heading)
                        }
                        _ => saved::damaged(user, option, why, heading),
                    }));
                }
            };
            let authorization = matches!(need, Need::Authorization);
            match self.board(settings, account, attempt, need, purpose) {
                Boarding::Aboard(flight) => {
                    let denial = match flight.wait().await {
                        Ok(access) => return Ok(access),
                        Err(Setback::Changed) => continue,
                        Err(Setback::Denial(denial)) => denial,
                    };
                    let guessed = authorization && is_checked_by_provider(settings, account);
                    if guessed && matches!(denial, Denial::Denied(_)) {
                        count_wrong();
                    }
                    return Err(denial);
                }
                Boarding::NotNeeded(access) => return Ok(access),
                Boarding::After(flight) => flight.wait_or_asking().await,
                Boarding::Refused(denial) => return Err(denial),
            }
        }
        Err(Denial::Temporary(messages::keeps_changing(user)))
    }

    /// Joins the flight of this account and password, or begins one.
    fn board(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        account: &Arc<Account>,
        attempt: &Attempt,
        need: Need,
        purpose: Purpose,
    ) -> Boarding {
        let tag = self.keyring.tag(&[
            b"flight",
            account.name.as_bytes(),
            attempt.password.expose().as_bytes(),
            &account.fingerprint,
        ]);
        let now = self.clock.now();
        let mut accounts = lock(&self.accounts);
        let state = accounts.entry(account.name.clone()).or_default();
        if let Some(aloft) = state.flights.iter().find(|aloft| aloft.tag == tag) {
            if purpose.is_afresh() && !aloft.flight.is_asking() {
                return Boarding::After(aloft.flight.clone());
            }
            if matches!(need, Need::AfterRefusal { .. }) {
                state.refusals.joined();
            }
            return Boarding::Aboard(aloft.flight.clone());
        }
        if let Some(ahead) = state.flights.iter().find(|aloft| aloft.ahead) {
            // it is over soon, never asks the user, and leaves what this login needs
            return Boarding::After(ahead.flight.clone());
        }
        let mut force = None;
        match need {
            Need::Renewal => {}
            Need::Authorization => {
                let mut others = state
                    .flights
                    .iter()
                    .filter(|a| a.fingerprint == account.fingerprint);
                if others.clone().any(|aloft| aloft.flight.is_asking()) {
                    return Boarding::Refused(consent_pending(&account.name));
                }
                if let Some(aloft) = others.next() {
                    return Boarding::After(aloft.flight.clone());
                }
            }
            Need::AfterRefusal { access, long } => {
                let access_tag = self.token_tag(&access);
                match state.refusals.refused(access_tag, now) {
                    AfterRefusal::Refresh => force = Some(access_tag),
                    AfterRefusal::Current if long => return Boarding::NotNeeded(access),
                    AfterRefusal::Current => {}
                    AfterRefusal::Refuse => {
                        let text = attempt.rejected.as_deref().unwrap_or_default();
                        return Boarding::Refused(refused_again(account, text));
                    }
                }
            }
        }
        let flight = Arc::<Flight>::default();
        state.flights.push(flight::Aloft {
            tag,
            fingerprint: account.fingerprint,
            ahead: false,
            flight: flight.clone(),
        });
        drop(accounts);
        let landing = Landing {
            authenticator: self.clone(),
            account: account.name.clone(),
            flight: flight.clone(),
        };
        let errand = Errand {
            authenticator: self.clone(),
            settings: settings.clone(),
            account: account.clone(),
            proof: Proof::Password(attempt.password.clone()),
            user: attempt.user.clone(),
            client: match purpose {
                Purpose::Login => Some(attempt.client),
                Purpose::Command { .. } => None,
            },
            afresh: purpose.is_afresh(),
            force,
            flight: flight.clone(),
        };
        (self.spawn)(Box::pin(async move {
            let result = errand.run().await;
            let passing =
                |setback: &Setback| !matches!(setback, Setback::Denial(Denial::Denied(_)));
            if force.is_some() && result.as_ref().is_err_and(passing) {
                let account = &errand.account.name;
                errand
                    .authenticator
                    .state(account, |state| state.refusals.not_made());
            }
            landing.land(result);
        }));
        Boarding::Aboard(flight)
    }

    /// The answer to a login name that has no account: to strangers the same as to a wrong password, at the same cost.
    pub(super) async fn unknown(&self, attempt: &Attempt, user: &str) -> Denial {
        if let Err(denial) = self.brake(attempt.client, user).await {
            return denial;
        }
        lock(&self.brake).wrong(attempt.client, self.clock.now());
        self.pad(attempt, 0).await;
        tracing::info!(client = %attempt.client, "{}", messages::unknown_account_refused(user));
        if is_local(attempt.client) {
            Denial::Denied(messages::unknown_account(user))
        } else {
            refused_to_strangers(user)
        }
    }

    /// Brings what a stranger's attempt has cost to what every attempt costs.
    async fn pad(&self, attempt: &Attempt, spent: u32) {
        let missing = self.new_iterations.saturating_sub(spent);
        if missing == 0 || (spent > 0 && is_local(attempt.client)) {
            return;
        }
        if let Ok(kdf) = Kdf::fresh(missing) {
            let _ = self.keyring.derive("", &attempt.password, &kdf).await;
        }
    }

    async fn brake(&self, client: IpAddr, user: &str) -> Result<(), Denial> {
        let wait = lock(&self.brake).wait(client, self.clock.now());
        let Some(wait) = wait else {
            return Err(Denial::Temporary(messages::braked(client, user)));
        };
        if !wait.is_zero() {
            struct Waiting<'a>(&'a Mutex<Brake>, IpAddr);
            impl Drop for Waiting<'_> {
                fn drop(&mut self) {
                    lock(self.0).waited(self.1);
                }
            }
            let _waiting = Waiting(&self.brake, client);
            self.clock.sleep(wait).await;
        }
        Ok(())
    }
}

/// What a login lacks.
enum Need {
    /// Nothing is saved, or it is saved under another password.
    Authorization,
    /// What is saved has to be refreshed, or rewritten.
    Renewal,
    /// The server refused a token; `access` is the one that is saved now, and whether it has long to live.
    AfterRefusal { access: Secret, long: bool },
}

/// Who wants a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A mail client.
    Login,
    /// The command line.
    Command {
        /// Even where what is saved would serve.
        afresh: bool,
    },
}

impl Purpose {
    fn is_afresh(self) -> bool {
        self == Purpose::Command { afresh: true }
    }
}

enum Boarding {
    Aboard(Arc<Flight>),
    NotNeeded(Secret),
    /// Another password's flight comes first.
    After(Arc<Flight>),
    Refused(Denial),
}

/// Whether the login password goes to the provider: what it refuses may be a guess.
pub(super) fn is_checked_by_provider(settings: &Settings, account: &Account) -> bool {
    match account.flow {
        FlowKind::Password => true,
        FlowKind::ClientCredentials => {
            settings
                .options
                .use_login_password_as_client_credentials_secret
                && account.client_secret.is_none()
        }
        _ => false,
    }
}
