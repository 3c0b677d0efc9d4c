//! Tokens asked for, renewed, and saved after that. The log names the account in a field.

proxy_proto::texts! {
    /// Logged (debug): a flow begins.
    pub(crate) const AUTHORISING = "authorising afresh";
    /// Logged (debug): a refresh token is used.
    pub(crate) const REFRESHING = "refreshing the access token";
    /// Logged: an account has a secret twice.
    pub(crate) const BOTH_SECRETS_SAVED =
        "both client_secret and client_secret_encrypted are there: the first one is used; remove one of them";
    /// Logged: an account has a secret and a certificate.
    pub(crate) const SECRET_NOT_CERTIFICATE =
        "the client secret is used, not the certificate; remove one of them";

    /// Logged: no token came.
    pub(crate) fn none(why = "the provider answered invalid_client; check client_id and client_secret") =
        "no token: {why}";
    /// To the login, where it would be refused again.
    pub(crate) fn none_for(account = "user@example.com", why = "the provider answered invalid_scope; check oauth2_scope") =
        "no token for {account}: {why}";
    /// To the login, where it may pass.
    pub(crate) fn none_now_for(
        account = "user@example.com", why = "login.microsoftonline.com did not answer in time"
    ) = "no token for {account} at the moment: {why}";
    /// Behind the reasons in those above.
    pub(crate) fn with_placeholder(why = "the provider answered unauthorized_client") =
        "{why}; client_id still holds the sample's placeholder: put your own there";
    /// A reason in those above: a pause is on.
    pub(crate) fn asked_again_in(seconds = 32) =
        "the provider failed a moment ago and is asked again in {seconds} seconds";
    /// A renewal ahead of time knows no password.
    pub(crate) fn none_without_password(account = "user@example.com") = "no token for {account} without its password";
    /// Logged (debug): sessions go on without.
    pub(crate) fn not_renewed(why = "login.microsoftonline.com did not answer in time") =
        "not renewed ahead of time: {why}";

    /// Logged: the user has to approve again.
    pub(crate) fn refresh_token_ended(why = "the provider answered invalid_grant") =
        "the refresh token is of no more use: {why}";
    /// Logged: a refresh failed before its time.
    pub(crate) fn old_token_instead(why = "login.microsoftonline.com did not answer in time") =
        "no new token, the old one serves a little longer: {why}";
    /// Logged: the same of an account without a refresh token.
    pub(crate) fn old_token_serves(why = "no token for user@example.com at the moment: provider.example did not answer in time") =
        "the old token serves a little longer: {why}";

    /// Logged: an access token came.
    pub(crate) fn new_access_token(seconds = 3599) = "new access token, good for {seconds} seconds";
    /// Logged: a refresh token came along.
    pub(crate) fn new_tokens(seconds = 3599) =
        "new access token, good for {seconds} seconds, and new refresh token";
    /// Logged: what came is not for the settings of now.
    pub(crate) const DROPPED = "tokens dropped: the account's settings have changed meanwhile";
    /// Logged: what came is not for the password of now.
    pub(crate) const NOT_SAVED =
        "a new token is not saved: the account's password has been changed meanwhile; the next login with the new one gets \
         it, unless the proxy ends before";
    /// Logged: the store is in trouble.
    pub(crate) fn kept_in_memory(why = "/etc/emailproxy.config cannot be written: No space left on device (os error 28)") =
        "tokens are kept in memory until they can be saved: {why}";
    /// To a login whose tokens cannot be made ready for saving.
    pub(crate) fn cannot_be_saved(account = "user@example.com", why = NO_KEY) =
        "the tokens of {account} cannot be saved: {why}";
    /// A reason for the one above, in renewals ahead of time.
    pub(crate) const NO_KEY = "no key is in memory";

    /// Logged: older forms of saved values are replaced.
    pub(crate) const REWRITTEN = "saved values rewritten in the current form";
    /// Logged: the secret is encrypted, and the plain one removed.
    pub(crate) const SECRET_ENCRYPTED = "client_secret is now saved as client_secret_encrypted";
    /// Logged: the secret is encrypted, and the plain one is somewhere else.
    pub(crate) const SECRET_ENCRYPTED_REMOVE_PLAIN =
        "client_secret is now saved as client_secret_encrypted; remove the plain one from the configuration file, also from \
         a catch-all";
    /// Logged: a key file cannot be read.
    pub(crate) fn secret_not_encrypted(why = "the file that client_secret names is not text") =
        "client_secret is not encrypted: {why}";
}
