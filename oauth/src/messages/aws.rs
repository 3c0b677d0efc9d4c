//! AWS Secrets Manager. These are shown behind `--cache-store`, or as the reason why tokens are not read or saved.

proxy_proto::texts! {
    /// How the store is called.
    pub(crate) fn secret(name = "mail") = "AWS secret {name}";
    /// `aws:||mail`.
    pub(crate) const NO_PROFILE = "aws: there is no profile before ||";
    /// `aws:`.
    pub(crate) const NO_NAME = "aws: needs the name or ARN of a secret behind it";
    /// A name that AWS would not take.
    pub(crate) fn impossible_secret(name = "my mail") =
        "aws:{name} is neither the name of a secret (letters, digits and /_+=.@-) nor the ARN of one";
    /// Nobody says where the secret is.
    pub(crate) fn no_region(name = "mail") =
        "AWS secret {name}: no AWS region is known; set AWS_REGION, or `region` in the AWS configuration file, or give the \
         secret's ARN";
    /// Logged: it was not there.
    pub(crate) fn created(store = "AWS secret mail") = "{store} has been created";
    /// Logged, once: a permission that makes several proxies safe.
    pub(crate) fn allow_more(store = "AWS secret mail") =
        "{store}: where several proxies share it, allow `secretsmanager:UpdateSecretVersionStage` as well, so that none can \
         overwrite what another one saves at the same moment";

    /// It is not there, and cannot be made.
    pub(crate) fn no_such_secret(store = "AWS secret arn:aws:secretsmanager:eu-west-1:123456789012:secret:mail-AbCdEf") =
        "{store}: there is no such secret, and none can be created by ARN; create it in AWS, or give a name instead";
    /// It holds bytes instead of text.
    pub(crate) fn binary(name = "mail") =
        "AWS secret {name} holds binary data; name another secret, or delete its value";
    /// It holds another text; one of the next three says what.
    pub(crate) fn unfit(store = "AWS secret mail", why = "its entry `user@example.com` is not a JSON object") =
        "{store}: {why}; correct it, or name another secret";
    /// In the one above.
    pub(crate) fn not_json(line = 1, column = 17) =
        "it is not a JSON object of accounts (line {line}, column {column})";
    /// In the one above that.
    pub(crate) fn entry_not_json(heading = "user@example.com") = "its entry `{heading}` is not a JSON object";
    /// The same.
    pub(crate) fn entry_unwritable(heading = "user@example.com") = "its entry `{heading}` cannot be written";
    /// Too many accounts.
    pub(crate) fn too_small(store = "AWS secret mail", bytes = 70215, most = 65536) =
        "{store} would need {bytes} bytes and can hold {most}: remove accounts that are not used any more from it, or spread \
         the accounts over several proxies with a secret each";
    /// Other proxies were faster each time.
    pub(crate) fn always_others(store = "AWS secret mail", times = 10) =
        "{store}: others have changed it each time, {times} times in a row";
    /// Other proxies were faster.
    pub(crate) fn others(store = "AWS secret mail") = "{store}: others are changing it";
    /// A limit of AWS's was reached a while ago.
    pub(crate) fn no_more_versions(store = "AWS secret mail", minutes = 20) =
        "{store}: AWS takes no more versions of it at the moment, and is asked again in {minutes} minutes";

    /// AWS refuses, or is out of reach; one of those behind says why.
    pub(crate) fn failed(name = "mail", why = BAD_CREDENTIALS) = "AWS secret {name}: {why}";
    /// The same with the service's own words.
    pub(crate) fn failed_with_words(name = "mail", why = KMS_DENIED, words = "Access to KMS is not allowed") =
        "AWS secret {name}: {why} (AWS says: {words})";
    /// A permission is missing.
    pub(crate) fn denied(action = "GetSecretValue") =
        "access denied; allow `secretsmanager:{action}` on it to the AWS identity that the proxy runs as";
    /// A permission on the key is missing.
    pub(crate) const KMS_DENIED =
        "access to the KMS key that encrypts it is denied; allow `kms:Decrypt` and `kms:GenerateDataKey` on that key to the \
         AWS identity that the proxy runs as";
    /// The key is of no use.
    pub(crate) const KMS_UNUSABLE = "its KMS key cannot be used; see that the key exists and is enabled";
    /// Credentials that are wrong, or have ended.
    pub(crate) const BAD_CREDENTIALS =
        "AWS does not accept the credentials; renew them, and see that this computer's clock is right";
    /// No credentials.
    pub(crate) fn no_credentials(why = "the credential provider was not enabled") =
        "no usable AWS credentials ({why}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile with \
         AWS_PROFILE, or give this computer a role";
    /// Too many versions of the secret.
    pub(crate) const LIMIT_REACHED =
        "one of its limits is reached; AWS keeps about a hundred versions of a secret and all those of the last 24 hours, and \
         each save is one, so let fewer proxies share it, spread the accounts over several proxies with a secret each, or \
         name a file instead";
    /// Too many requests.
    pub(crate) const FEWER_REQUESTS = "AWS asks for fewer requests; it is asked again later";
    /// Any other refusal.
    pub(crate) fn refused(action = "PutSecretValue", code = "InvalidRequestException") =
        "{action} was refused with {code}";
    /// No answer.
    pub(crate) const TIMED_OUT = "AWS did not answer in time";
    /// An answer that says nothing.
    pub(crate) fn no_reason(status = 502) = "the answer has status {status} and no reason";
}
