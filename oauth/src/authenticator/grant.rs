//! Fresh authorisations: each flow's requests in their order, and the user's part in them.

use super::{
    Denial,
    errand::{Errand, Found},
    flight::Setback,
    saved::Proof,
};
use crate::{
    consent::{CodeRequest, ConsentError, DeviceRequest, Granted, Outcome, Shown, Who},
    crypt::NoRandomness,
    flow::{
        ClientAuth, Failure, Grant,
        assertion::{AssertionError, client_assertion},
        authorization_code::{Authorization, RedirectError, any_loopback_port},
        client_credentials, device, password,
        service_account::ServiceAccountKey,
    },
    messages::{consent as messages, login, provider, tokens},
    settings::FlowKind,
};
use futures_lite::future::or;
use proxy_proto::Secret;
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use zeroize::Zeroizing;

/// How long a user has to answer.
const CONSENT: Duration = Duration::from_secs(600);
/// Longest key or certificate file.
const LONGEST_FILE: u64 = 64 * 1024;

impl Errand {
    /// Obtains and saves tokens by the account's flow.
    pub(super) async fn authorize(&self, found: &Found) -> Result<Secret, Setback> {
        let account = &self.account;
        tracing::debug!(account = %account.name, flow = ?account.flow, "{}", tokens::AUTHORISING);
        let form = match account.flow {
            FlowKind::AuthorizationCode => return self.by_code(found).await,
            FlowKind::Device => return self.by_device(found).await,
            FlowKind::ServiceAccount => return self.by_service_account(found).await,
            FlowKind::Password => {
                let password = self.password()?;
                password::token_request(account, &self.auth(found).await?, password)
            }
            FlowKind::ClientCredentials => {
                client_credentials::token_request(account, &self.auth(found).await?)
            }
        };
        let grant = self
            .paced_request(&form, &account.token_url)
            .await
            .map_err(|failure| self.denial(&failure))?;
        self.save(found, &grant, None).await
    }

    async fn by_code(&self, found: &Found) -> Result<Secret, Setback> {
        let account = &self.account;
        self.claim_consent()?;
        let auth = self.auth(found).await?;
        let authorization = Authorization::new(account.use_pkce).map_err(|e| self.trouble(e))?;
        let url = {
            let (account, authorization) = (account.clone(), authorization.clone());
            Arc::new(move |redirect_uri: &str| authorization.url(&account, redirect_uri))
        };
        let tally = &self.authenticator.tally;
        tally.consent_asked();
        let result = self.ask_code(found, &auth, &authorization, url).await;
        tally.consent_ended(&result);
        result.map(|(access, _)| access)
    }

    /// Sends the user to the provider and redeems the code that comes back.
    async fn ask_code(
        &self,
        found: &Found,
        auth: &ClientAuth,
        authorization: &Authorization,
        url: Arc<dyn Fn(&str) -> String + Send + Sync>,
    ) -> Result<(Secret, Granted), Setback> {
        let account = &self.account;
        let timeout = self.authenticator.clock.sleep(CONSENT);
        let question = self.authenticator.consent.ask_code(CodeRequest {
            who: self.who(found),
            redirect_uri: account.redirect_uri.clone(),
            redirect_listen_address: account.redirect_listen_address.clone(),
            any_loopback_port: account
                .permission_url
                .as_deref()
                .is_some_and(any_loopback_port),
            state: authorization.state.clone(),
            expires_in: CONSENT,
            url,
        });
        let answer = or(async { Some(question.await) }, async {
            timeout.await;
            None
        })
        .await
        .ok_or_else(|| self.unanswered())?
        .map_err(|e| match e {
            ConsentError::Unable(text) => {
                Denial::Temporary(messages::no_consent(&account.name, text))
            }
            ConsentError::Dismissed => self.dismissed(),
        })?;

        let result = async {
            let code = authorization
                .redirected(&answer.redirected)
                .map_err(|e| match e {
                    RedirectError::State => {
                        tracing::warn!(account = %account.name, "{}", messages::OTHER_STATE);
                        Denial::Denied(messages::answer_of_another(&account.name))
                    }
                    RedirectError::Provider(failure) => self.denial(&failure),
                    RedirectError::NoCode => {
                        Denial::Denied(messages::answer_without_code(&account.name))
                    }
                })?;
            let form = authorization.token_request(account, auth, &code, &answer.redirect_uri);
            let grant = self
                .request(&form, &account.token_url)
                .await
                .map_err(|failure| self.denial(&failure))?;
            self.warn_without_refresh_token(&grant);
            let access = self.save(found, &grant, None).await?;
            Ok((access, self.granted(&grant)))
        }
        .await;
        // nobody may be listening any more; and a full channel has its answer
        let _ = answer.outcome.try_send(self.outcome(&result));
        result
    }

    async fn by_device(&self, found: &Found) -> Result<Secret, Setback> {
        let account = &self.account;
        let clock = &self.authenticator.clock;
        self.claim_consent()?;
        let auth = self.auth(found).await?;
        let code = self
            .device_code(&auth)
            .await
            .map_err(|failure| self.denial(&failure))?;
        let deadline = clock.now().saturating_add(code.expires_in.as_secs());
        self.authenticator.tally.consent_asked();
        let shown = self.authenticator.consent.show_device(DeviceRequest {
            who: self.who(found),
            verification_uri: code.verification_uri.clone(),
            verification_uri_complete: code.verification_uri_complete.clone(),
            user_code: code.user_code.clone(),
            expires_in: code.expires_in,
        });
        let form = device::token_request(account, &auth, &code);
        let result = self.poll(found, &form, code, deadline, &*shown).await;
        self.authenticator.tally.consent_ended(&result);
        shown.ended(&self.outcome(&result));
        result.map(|(access, _)| access)
    }

    /// Asks for the token until the user has answered.
    async fn poll(
        &self,
        found: &Found,
        form: &crate::flow::Form,
        mut code: device::DeviceCode,
        deadline: u64,
        shown: &dyn Shown,
    ) -> Result<(Secret, Granted), Setback> {
        let account = &self.account;
        let clock = &self.authenticator.clock;
        loop {
            let slept = async {
                clock.sleep(code.interval).await;
                false
            };
            let dismissed = async {
                shown.dismissed().await;
                true
            };
            if or(slept, dismissed).await {
                return Err(self.dismissed().into());
            }
            if clock.now() >= deadline {
                return Err(self.unanswered().into());
            }
            match self.request(form, &account.token_url).await {
                Ok(grant) => {
                    self.warn_without_refresh_token(&grant);
                    let access = self.save(found, &grant, None).await?;
                    return Ok((access, self.granted(&grant)));
                }
                Err(Failure::Refused { code: error, text }) => match error.as_str() {
                    "authorization_pending" => {}
                    "slow_down" => code.slow_down(),
                    "expired_token" => return Err(self.unanswered().into()),
                    _ => {
                        let refused = Failure::Refused { code: error, text };
                        return Err(self.denial(&refused).into());
                    }
                },
                // RFC 8628 §3.5: after a time-out less often
                Err(Failure::Transient(text)) => {
                    tracing::debug!(account = %account.name, "{}", messages::polling_goes_on(text));
                    code.slow_down();
                }
                Err(failure @ Failure::Ended(_)) => return Err(self.denial(&failure).into()),
            }
        }
    }

    async fn device_code(&self, auth: &ClientAuth) -> Result<device::DeviceCode, Failure> {
        let transport = &self.authenticator.transport;
        let form = device::request(&self.account, auth);
        let url = self.account.permission_url.as_deref().unwrap_or_default();
        let failed = |e: crate::transport::TransportError| Failure::Transient(e.0);
        let mut answer = transport.send(form.post(url)).await.map_err(failed)?;
        if matches!(answer.status, 404 | 405) {
            answer = transport
                .send(device::get_request(&self.account))
                .await
                .map_err(failed)?;
        }
        device::device_answer(answer.status, &answer.body, form.secrets())
    }

    async fn by_service_account(&self, found: &Found) -> Result<Secret, Setback> {
        let account = &self.account;
        let unusable = |text: String| {
            tracing::error!(account = %account.name, "{text}");
            Denial::Denied(tokens::none_for(&account.name, text))
        };
        let secret = found
            .secret
            .as_ref()
            .ok_or_else(|| unusable(provider::NO_SERVICE_ACCOUNT_KEY.to_owned()))?;
        let json = self.service_account_json(secret).await.map_err(unusable)?;
        let what = |e: crate::flow::service_account::ServiceAccountError| {
            unusable(provider::bad_service_account_key(e))
        };
        let key = ServiceAccountKey::parse(&json).map_err(what)?;
        let form = key
            .token_request(account, self.authenticator.clock.now())
            .map_err(what)?;
        let grant = self
            .paced_request(&form, key.token_url(account))
            .await
            .map_err(|failure| self.denial(&failure))?;
        self.save(found, &grant, None).await
    }

    /// The key itself: what `client_secret` holds (or held, when it was encrypted), or the contents of the file that it names.
    pub(super) async fn service_account_json(&self, secret: &Secret) -> Result<Secret, String> {
        let text = secret.expose().trim();
        if text.starts_with('{') || self.account.client_id != "file" {
            return Ok(secret.clone());
        }
        let octets = read(PathBuf::from(text), "client_secret").await?;
        let text = std::str::from_utf8(&octets)
            .map_err(|_| provider::SECRET_FILE_IS_NOT_TEXT.to_owned())?;
        Ok(Secret::new(text))
    }

    async fn auth(&self, found: &Found) -> Result<ClientAuth, Denial> {
        self.client_auth(found).await.map_err(|text| {
            tracing::error!(account = %self.account.name, "{text}");
            Denial::Denied(tokens::none_for(&self.account.name, text))
        })
    }

    /// How the client proves itself: by its secret, else its certificate, else (where the option says so) the login password.
    pub(super) async fn client_auth(&self, found: &Found) -> Result<ClientAuth, String> {
        let account = &self.account;
        if account.flow == FlowKind::ServiceAccount {
            return Ok(ClientAuth::None);
        }
        let certificate = account
            .jwt_certificate_path
            .as_ref()
            .zip(account.jwt_key_path.as_ref());
        if let Some(secret) = &found.secret {
            if certificate.is_some() {
                tracing::warn!(account = %account.name, "{}", tokens::SECRET_NOT_CERTIFICATE);
            }
            return Ok(ClientAuth::Secret(secret.clone()));
        }
        if let Some((certificate_path, key_path)) = certificate {
            let certificate = read(certificate_path.clone(), "jwt_certificate_path").await?;
            let key = read(key_path.clone(), "jwt_key_path").await?;
            let now = self.authenticator.clock.now();
            return client_assertion(
                &account.token_url,
                &account.client_id,
                &certificate,
                &key,
                now,
            )
            .map(ClientAuth::Assertion)
            .map_err(|e| match e {
                AssertionError::Certificate(why) => provider::bad_certificate(why),
                AssertionError::Key(why) => provider::bad_key(why),
            });
        }
        let by_password = self
            .settings
            .options
            .use_login_password_as_client_credentials_secret;
        Ok(
            if account.flow == FlowKind::ClientCredentials && by_password {
                match self.password() {
                    Ok(password) => ClientAuth::Secret(password.clone()),
                    Err(Denial::Denied(text) | Denial::Temporary(text)) => return Err(text),
                }
            } else {
                ClientAuth::None
            },
        )
    }

    /// The login's password; a renewal ahead of its time has none.
    fn password(&self) -> Result<&Secret, Denial> {
        match &self.proof {
            Proof::Password(password) => Ok(password),
            Proof::Keys => Err(Denial::Temporary(tokens::none_without_password(
                &self.account.name,
            ))),
        }
    }

    fn who(&self, found: &Found) -> Who {
        Who {
            account: self.account.name.clone(),
            user: self.user.clone(),
            client: self.client,
            password_differs: found.password_differs,
        }
    }

    /// What the surfaces are told.
    fn outcome(&self, result: &Result<(Secret, Granted), Setback>) -> Outcome {
        match result {
            Ok((_, granted)) => Ok(granted.clone()),
            Err(Setback::Denial(Denial::Denied(text) | Denial::Temporary(text))) => {
                Err(text.clone())
            }
            Err(Setback::Changed) => Err(login::password_has_changed(&self.account.name)),
        }
    }

    /// Whether the one who approved is the account's owner, as far as the provider says.
    fn granted(&self, grant: &Grant) -> Granted {
        let account = &self.account;
        let own = [
            &account.sasl_user,
            &account.sasl_user_imap,
            &account.sasl_user_pop,
            &account.sasl_user_smtp,
        ];
        let is_own = |name: &String| {
            let name = name.to_lowercase();
            let mut own = own.iter().filter_map(|own| own.as_ref());
            account.name.to_lowercase() == name || own.any(|own| own.to_lowercase() == name)
        };
        let other_person = match grant.names.first() {
            Some(first) if !grant.names.iter().any(is_own) => Some(first.clone()),
            _ => None,
        };
        if let Some(other) = &other_person {
            tracing::warn!(
                account = %account.name,
                "{}", messages::other_person(other, &account.name)
            );
        }
        Granted { other_person }
    }

    fn dismissed(&self) -> Denial {
        let name = &self.account.name;
        tracing::warn!(account = %name, "{}", messages::DISMISSED);
        Denial::Denied(messages::consent_dismissed(name))
    }

    fn unanswered(&self) -> Denial {
        let name = &self.account.name;
        tracing::warn!(account = %name, "{}", messages::UNANSWERED);
        Denial::Temporary(messages::consent_unanswered(name))
    }

    fn trouble(&self, error: NoRandomness) -> Denial {
        Denial::Temporary(messages::no_login(&self.account.name, error))
    }
}

/// The contents of the file that `option` names; off the executor, and bounded.
async fn read(path: PathBuf, option: &'static str) -> Result<Zeroizing<Vec<u8>>, String> {
    blocking::unblock(move || read_file(&path, option)).await
}

/// The same at once.
pub(super) fn read_file(path: &Path, option: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut contents = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(LONGEST_FILE).read_to_end(&mut contents))
        .map(|_| contents)
        .map_err(|e| provider::named_file_unreadable(option, path.display(), e))
}
