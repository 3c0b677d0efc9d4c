//! One secret through the SDK, and what its errors mean.

use super::{Fault, Version, Versions, http::Isahc};
use crate::{
    flow::answer::clean,
    messages::{aws as messages, provider},
    store::StoreError,
};
use async_compat::Compat;
use aws_config::{BehaviorVersion, Region, timeout::TimeoutConfig};
use aws_sdk_secretsmanager::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::get_secret_value::GetSecretValueOutput,
};
use futures_lite::future::block_on;
use std::{error::Error, time::Duration};

/// One attempt, and all attempts of one call: a login waits for the latter at most, where nothing is known of its account.
const ATTEMPT: Duration = Duration::from_secs(5);
const CALL: Duration = Duration::from_secs(12);
const CONNECT: Duration = Duration::from_secs(3);

/// Marks versions that are about to become current.
const STAGED: &str = "emailproxy-next";
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// A secret's name or ARN, and the client that reaches it.
pub(super) struct Secret {
    client: Client,
    name: String,
}

impl Secret {
    /// `PROFILE||NAME-or-ARN` or `NAME-or-ARN`. Reads the AWS settings of the environment; an ARN brings its own region.
    pub(super) fn open(id: &str) -> Result<Secret, StoreError> {
        let (profile, name) = match id.split_once("||") {
            Some((profile, name)) => (Some(profile), name),
            None => (None, id),
        };
        check(name, profile)?;
        let http = Isahc::new()
            .map_err(|error| StoreError(provider::no_http(clean(&error.to_string(), &[]))))?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(CALL)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts);
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = region_of(name) {
            loader = loader.region(Region::new(region.to_owned()));
        }
        let config = run(loader.load());
        if config.region().is_none() {
            return Err(StoreError(messages::no_region(name)));
        }
        Ok(Secret {
            client: Client::new(&config),
            name: name.to_owned(),
        })
    }

    fn get(&self, stage: &str) -> Result<Option<Version>, Fault> {
        let request = self.client.get_secret_value().secret_id(&self.name);
        match run(request.version_stage(stage).send()) {
            Ok(output) => self.version(output).map(Some),
            Err(error) => match fault(&self.name, "GetSecretValue", &error) {
                Fault::Missing => Ok(None),
                fault => Err(fault),
            },
        }
    }

    fn version(&self, output: GetSecretValueOutput) -> Result<Version, Fault> {
        let Some(text) = output.secret_string else {
            return Err(Fault::Other(StoreError(messages::binary(&self.name))));
        };
        Ok(Version {
            id: output.version_id.unwrap_or_default(),
            text,
            created: output
                .created_date
                .and_then(|date| date.to_millis().ok())
                .unwrap_or(0),
        })
    }
}

impl Versions for Secret {
    fn current(&self) -> Result<Option<Version>, Fault> {
        self.get(CURRENT)
    }

    fn previous(&self) -> Result<Option<Version>, Fault> {
        self.get(PREVIOUS)
    }

    fn create(&self, text: &str) -> Result<(), Fault> {
        let request = self.client.create_secret().name(&self.name);
        run(request.secret_string(text).send())
            .map(drop)
            .map_err(|error| fault(&self.name, "CreateSecret", &error))
    }

    fn put(&self, text: &str) -> Result<String, Fault> {
        let request = self.client.put_secret_value().secret_id(&self.name);
        run(request.secret_string(text).send())
            .map(|output| output.version_id.unwrap_or_default())
            .map_err(|error| fault(&self.name, "PutSecretValue", &error))
    }

    fn stage(&self, text: &str) -> Result<String, Fault> {
        let request = self.client.put_secret_value().secret_id(&self.name);
        run(request.secret_string(text).version_stages(STAGED).send())
            .map(|output| output.version_id.unwrap_or_default())
            .map_err(|error| fault(&self.name, "PutSecretValue", &error))
    }

    fn promote(&self, from: &str, to: &str) -> Result<(), Fault> {
        let request = self.client.update_secret_version_stage();
        let request = request.secret_id(&self.name).version_stage(CURRENT);
        let request = request.remove_from_version_id(from).move_to_version_id(to);
        let Err(error) = run(request.send()) else {
            return Ok(());
        };
        Err(match error.code() {
            Some("InvalidParameterException" | "InvalidRequestException") => Fault::Conflict,
            // An imitation of the service need not know the call.
            Some("AccessDeniedException" | "UnknownOperationException" | "InvalidAction") => {
                Fault::NotAllowed
            }
            _ => fault(&self.name, "UpdateSecretVersionStage", &error),
        })
    }

    fn by_arn(&self) -> bool {
        is_arn(&self.name)
    }

    fn describe(&self) -> String {
        messages::secret(&self.name)
    }
}

/// Parts of the SDK (external credential programs, timers) need a Tokio runtime around them: async-compat's, which is a single thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    block_on(Compat::new(future))
}

fn is_arn(name: &str) -> bool {
    name.starts_with("arn:")
}

/// `arn:aws:secretsmanager:REGION:…`.
fn region_of(name: &str) -> Option<&str> {
    let region = name.strip_prefix("arn:")?.split(':').nth(2)?;
    Some(region).filter(|region| !region.is_empty())
}

fn check(name: &str, profile: Option<&str>) -> Result<(), StoreError> {
    if profile.is_some_and(str::is_empty) {
        return Err(StoreError(messages::NO_PROFILE.to_owned()));
    }
    if name.is_empty() {
        return Err(StoreError(messages::NO_NAME.to_owned()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    let named = name.len() <= 512 && name.chars().all(allowed);
    let arn = is_arn(name)
        && name.len() <= 2048
        && name.split(':').nth(2) == Some("secretsmanager")
        && name.chars().all(|c| allowed(c) || c == ':');
    if named || arn {
        return Ok(());
    }
    Err(StoreError(messages::impossible_secret(clean(name, &[]))))
}

/// What went wrong, with what to do about it.
fn fault<E>(name: &str, action: &str, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let code = error.code().unwrap_or_default();
    let said = clean(error.message().unwrap_or_default(), &[]);
    let why = match code {
        "ResourceNotFoundException" => return Fault::Missing,
        "ResourceExistsException" => return Fault::Exists,
        "AccessDeniedException" if said.contains("KMS") || said.contains("kms:") => {
            messages::KMS_DENIED.to_owned()
        }
        "AccessDeniedException" => messages::denied(action),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "ExpiredToken"
        | "ExpiredTokenException" => messages::BAD_CREDENTIALS.to_owned(),
        "LimitExceededException" => messages::LIMIT_REACHED.to_owned(),
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" => {
            messages::FEWER_REQUESTS.to_owned()
        }
        "DecryptionFailure" | "EncryptionFailure" => messages::KMS_UNUSABLE.to_owned(),
        "" => without_answer(error),
        code => messages::refused(action, clean(code, &[])),
    };
    let error = StoreError(if said.is_empty() {
        messages::failed(name, why)
    } else {
        messages::failed_with_words(name, why, said)
    });
    if code == "LimitExceededException" {
        Fault::Exhausted(error)
    } else {
        Fault::Other(error)
    }
}

fn without_answer<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: Error + 'static,
{
    if let SdkError::TimeoutError(_) = error {
        return messages::TIMED_OUT.to_owned();
    }
    let mut innermost: &dyn Error = error;
    let mut credentials = false;
    loop {
        credentials |= innermost.is::<aws_credential_types::provider::error::CredentialsError>();
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    let innermost = clean(&innermost.to_string(), &[]);
    if credentials {
        return messages::no_credentials(innermost);
    }
    match error {
        SdkError::ServiceError(answer) => messages::no_reason(answer.raw().status().as_u16()),
        _ => innermost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_secretsmanager::{
        error::{ConnectorError, ErrorMetadata},
        operation::get_secret_value::GetSecretValueError,
    };
    use aws_smithy_types::body::SdkBody;

    fn refused(code: &str, message: &str) -> SdkError<GetSecretValueError, HttpResponse> {
        let meta = ErrorMetadata::builder().code(code).message(message).build();
        let status = 400.try_into().unwrap();
        let answer = HttpResponse::new(status, SdkBody::empty());
        SdkError::service_error(GetSecretValueError::generic(meta), answer)
    }

    fn text(action: &str, error: &SdkError<GetSecretValueError, HttpResponse>) -> String {
        match fault("mail", action, error) {
            Fault::Other(StoreError(text)) | Fault::Exhausted(StoreError(text)) => text,
            _ => panic!("no text"),
        }
    }

    #[test]
    fn missing_permissions_are_named() {
        for action in ["GetSecretValue", "PutSecretValue", "CreateSecret"] {
            let error = refused("AccessDeniedException", "User: x\r\n is not authorized");
            let text = text(action, &error);
            assert!(text.contains("AWS secret mail"), "{text}");
            assert!(
                text.contains(&format!("`secretsmanager:{action}`")),
                "{text}"
            );
            assert!(text.contains("User: x is not authorized"), "{text}");
        }
        let kms = refused("AccessDeniedException", "Access to KMS is not allowed");
        let text = text("GetSecretValue", &kms);
        assert!(
            text.contains("`kms:Decrypt`") && !text.contains("secretsmanager:"),
            "{text}"
        );
    }

    #[test]
    fn every_refusal_says_what_to_do_on_one_line() {
        for (code, part) in [
            ("ExpiredTokenException", "credentials"),
            ("UnrecognizedClientException", "credentials"),
            ("LimitExceededException", "hundred versions"),
            ("ThrottlingException", "fewer requests"),
            ("DecryptionFailure", "KMS key"),
            ("InvalidRequestException", "InvalidRequestException"),
        ] {
            let text = text("GetSecretValue", &refused(code, "a\nb"));
            assert!(text.contains(part) && text.contains("a b"), "{text}");
            assert!(!text.contains('\n'));
        }
        let missing = refused("ResourceNotFoundException", "");
        assert!(matches!(
            fault("mail", "GetSecretValue", &missing),
            Fault::Missing
        ));
        let there = refused("ResourceExistsException", "");
        assert!(matches!(
            fault("mail", "CreateSecret", &there),
            Fault::Exists
        ));
    }

    #[test]
    fn troubles_on_the_way_are_told_by_their_cause() {
        let away = ConnectorError::io("host cannot be reached".into());
        let away = SdkError::dispatch_failure(away);
        assert!(text("GetSecretValue", &away).ends_with("AWS secret mail: host cannot be reached"));
        let none =
            aws_credential_types::provider::error::CredentialsError::not_loaded("nothing set");
        let none = SdkError::dispatch_failure(ConnectorError::other(none.into(), None));
        let said = text("GetSecretValue", &none);
        assert!(
            said.contains("nothing set") && said.contains("AWS_ACCESS_KEY_ID"),
            "{said}"
        );
        let late = SdkError::timeout_error("late");
        assert!(text("GetSecretValue", &late).contains("in time"));
        let page = HttpResponse::new(502.try_into().unwrap(), SdkBody::empty());
        let nothing = ErrorMetadata::builder().build();
        let page = SdkError::service_error(GetSecretValueError::generic(nothing), page);
        assert!(text("GetSecretValue", &page).contains("502"));
    }

    #[test]
    fn names_and_arns() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mail/tokens-AbCdEf";
        for good in ["mail", "prod/mail_1+=.@-x", arn] {
            assert!(check(good, None).is_ok(), "{good}");
        }
        let long = "x".repeat(513);
        for bad in ["", "a b", "a:b", "é", "arn:aws:s3:::bucket", &long, "a\nb"] {
            let error = check(bad, None).unwrap_err();
            assert!(
                error.0.contains("aws:") && !error.0.contains('\n'),
                "{error}"
            );
        }
        assert!(check("mail", Some("")).is_err() && check("mail", Some("work")).is_ok());
        assert_eq!(region_of(arn), Some("eu-west-1"));
        assert_eq!(region_of("arn:aws:secretsmanager::x"), None);
        assert_eq!(region_of("mail"), None);
    }
}
