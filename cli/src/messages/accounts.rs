//! `emailproxy passwd`, `encrypt-secret`, `authorise` and `accounts`.

proxy_proto::texts! {
    /// Asked by `passwd`.
    pub(crate) fn ask_old_password(account = "user@example.com") =
        "Password of {account} until now";

    /// Asked by `passwd`.
    pub(crate) fn ask_new_password(account = "user@example.com") =
        "New password of {account}";

    /// Asked by `encrypt-secret`.
    pub(crate) fn ask_login_password(section = "@example.com") =
        "Password for logins of {section}";

    /// Asked by `authorise`.
    pub(crate) fn ask_password(account = "user@example.com") =
        "Password of {account}";

    /// Asked by `authorise` if the account has none.
    pub(crate) fn ask_first_password(account = "user@example.com") =
        "A password for {account}, to be used in the mail program";

    /// Asked for a second time.
    pub(crate) const ASK_AGAIN = "The same again";

    /// What cannot be read, or is missing.
    pub(crate) const THE_PASSWORD = "the password";

    /// What else.
    pub(crate) const THE_OLD_PASSWORD = "the old password";

    /// What else.
    pub(crate) const THE_NEW_PASSWORD = "the new password, behind the old one,";

    /// There is no terminal, and standard input has ended.
    pub(crate) fn is_missing(what = THE_PASSWORD) =
        "{what} is missing: it is read from the next line of standard input, or asked for at a terminal";

    /// A new password was mistyped.
    pub(crate) const THE_TWO_DIFFER = "the two differ, so nothing was done: try again";

    /// `passwd` has succeeded.
    pub(crate) fn password_changed(
        account = "user@example.com", options = "access_token, refresh_token", store = "/etc/emailproxy.config",
    ) = "The password of {account} is changed: {options} in {store} can be opened with the new one only. Change it in your mail \
         programs too; a running proxy takes it from the next login on.";

    /// `encrypt-secret` has succeeded.
    pub(crate) fn secret_encrypted(section = "@example.com", file = "/etc/emailproxy.config") =
        "The client secret of [{section}] is encrypted as client_secret_encrypted, and client_secret is taken out of {file}. Log in \
         with this password; a running proxy has to read the configuration again (SIGHUP).";

    /// The same for a service account's key that is in a file of its own.
    pub(crate) fn key_still_there(
        done = "The client secret of [@example.com] is encrypted.", file = "/etc/emailproxy.key.json",
    ) = "{done} The key itself still stands in {file}: move it to a safe place, or delete it.";

    /// `authorise` for an account that is not there.
    pub(crate) fn no_usable_account(account = "user@example.com", file = "/etc/emailproxy.config") =
        "there is no account {account} in {file} that can be used: add a section [{account}], or mend it as `emailproxy check` says";

    /// `authorise` has succeeded.
    pub(crate) fn authorised(account = "user@example.com", then = RENEWED) =
        "{account} is authorised; {then}";

    /// The same where the provider has said for how long.
    pub(crate) fn authorised_until(account = "user@example.com", end = "2026-01-31T09:15:04Z", then = NOT_RENEWED) =
        "{account} is authorised until {end}; {then}";

    /// What comes then.
    pub(crate) const RENEWED = "it is renewed by itself";

    /// What else.
    pub(crate) const NOT_RENEWED = "then permission has to be given again";

    /// `accounts` without any.
    pub(crate) const NO_ACCOUNT_YET = "there is no account in the configuration yet";

    /// `accounts`: the state of one that cannot be renewed.
    pub(crate) fn state_until(end = "2026-01-31T09:15:04Z") =
        "authorised until {end}";

    /// `accounts`: the state of one whose user is asked.
    pub(crate) const STATE_WAITING = "waiting for consent";

    /// `accounts`, below the table.
    pub(crate) const NO_PROXY_RUNS = "no proxy is running with this configuration";

    /// `accounts`, above the errors.
    pub(crate) const LAST_ERRORS = "Last errors:";
}
