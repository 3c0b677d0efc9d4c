//! Answers to logins, and what the log says of them. Mail programs show the answers: each names the account.

proxy_proto::texts! {
    /// To a login without a password.
    pub(crate) fn no_password(user = "user@example.com") =
        "no password was given for {user}: set one in the mail program";
    /// To a login whose password would only feed the key derivation.
    pub(crate) fn long_password(user = "user@example.com", most = 16384) =
        "the password given for {user} is too long: choose one of at most {most} bytes";
    /// To a login that guesses; nothing is looked at.
    pub(crate) fn braked(client = "192.0.2.7", user = "user@example.com") =
        "too many wrong passwords from {client}: {user} has to wait a minute";

    /// Logged: nobody has this login name.
    pub(crate) fn unknown_account_refused(user = "user@example.com") = "login refused: there is no account {user}";
    /// To such a login from this machine.
    pub(crate) fn unknown_account(user = "user@example.com") =
        "there is no account {user}: add a section [{user}] to the configuration file";
    /// To such a login from elsewhere, and to a wrong password from there.
    pub(crate) fn refused_to_strangers(user = "user@example.com") =
        "login refused: there is no account {user}, or its password is another";

    /// Logged: the password opens nothing of what is saved.
    pub(crate) const WRONG_PASSWORD_REFUSED = "login refused: wrong password";
    /// To such a login from this machine, where it is the client secret that does not open.
    pub(crate) fn wrong_password_for_secret(account = "user@example.com") =
        "wrong password for {account}: it does not open client_secret_encrypted; use the one that it was encrypted with";
    /// The same, where it is the tokens.
    pub(crate) fn wrong_password(account = "user@example.com") =
        "wrong password for {account}: use the one of its first login, or remove its access_token and refresh_token from \
         where they are saved";
    /// To a login while another password's consent is waiting.
    pub(crate) fn consent_pending(account = "user@example.com") =
        "an authorisation of {account} is waiting for its user, begun with another password; finish it, or try again in ten \
         minutes";

    /// Logged (debug): nothing has to be asked for.
    pub(crate) const SAVED_TOKEN_SERVES = "the saved token serves";
    /// To a login for which no thread is free to derive its key.
    pub(crate) fn busy(user = "user@example.com") = "too many logins at once: {user} has to try again";
    /// To a login whose account is being changed by somebody else again and again.
    pub(crate) fn keeps_changing(user = "user@example.com") = "what is saved of {user} keeps changing; try again";
    /// To a login whose task has ended by a defect.
    pub(crate) fn broken_off(account = "user@example.com") = "the login of {account} was broken off; try again";
    /// To a login under settings that are not those of now.
    pub(crate) fn settings_have_changed(account = "user@example.com") =
        "the settings of {account} have changed meanwhile; log in again";
    /// To whoever has approved, where the password is not the account's any more.
    pub(crate) fn password_has_changed(account = "user@example.com") =
        "the password of {account} has been changed meanwhile; log in with the new one";

    /// Logged: the mail server does not take a token that is only minutes old.
    pub(crate) fn renewed_token_refused(said = "535 5.7.3 Authentication unsuccessful") =
        "the server refuses a renewed token: {said}";
    /// To the login that has brought that.
    pub(crate) fn refused_again(account = "user@example.com", said = "535 5.7.3 Authentication unsuccessful") =
        "the server refuses the token of {account}, renewed within the last ten minutes ({said}); check oauth2_scope, \
         sasl_user, and that the mailbox allows this protocol";
}
