//! What the commands `passwd` and `encrypt-secret` say where nothing was changed.

proxy_proto::texts! {
    /// `passwd`: a catch-all's heading.
    pub(crate) fn catch_all_named(name = "@example.com") =
        "{name} is a catch-all, which no one logs in to: name an account";
    /// `passwd`: nobody has this name.
    pub(crate) fn no_account(name = "user@example.com") =
        "there is no account {name} in the configuration, or it cannot be used as it stands there";
    /// `passwd`: no password is in force yet.
    pub(crate) fn nothing_saved(name = "user@example.com") =
        "nothing is saved for {name} yet: the password of its first login will be its password";
    /// `encrypt-secret`: no such heading.
    pub(crate) fn no_section(name = "user@example.com") = "there is no section [{name}] in the configuration";
    /// A new password that is none.
    pub(crate) const EMPTY_PASSWORD = "an empty password is refused by the proxy: choose another";
    /// A new password that logins would be refused with.
    pub(crate) fn password_too_long(most = 16384) = "the password is too long: choose one of at most {most} bytes";

    /// `passwd`: the old password is wrong.
    pub(crate) fn wrong_old_password(account = "user@example.com", option = "refresh_token") =
        "wrong password for {account}: it does not open the saved {option}; give the one of its logins";
    /// `encrypt-secret`: the password is not that of what is saved.
    pub(crate) fn not_the_password_of_logins(account = "user@example.com", option = "refresh_token") =
        "wrong password for {account}: it does not open the saved {option}; give the password of its logins, or change that \
         first with `passwd`";
    /// Something saved that no password opens.
    pub(crate) fn damaged_first(account = "user@example.com", option = "refresh_token", why = "is cut short") =
        "the saved {option} of {account} {why}; correct it, or remove what is saved of the account, first";
    /// Salt and iterations by which nothing can be opened.
    pub(crate) fn damaged_salt_first(heading = "@example.com", option = "token_salt", why = "is not base64") =
        "[{heading}]: the saved {option} {why}; correct it first";

    /// `encrypt-secret`: it stands elsewhere.
    pub(crate) fn inherited_secret(heading = "user@example.com") =
        "[{heading}] has its client_secret from a catch-all or from [DEFAULT]: encrypt it there, or put it into this section";
    /// `encrypt-secret`: it has been done.
    pub(crate) fn encrypted_already(heading = "user@example.com") =
        "the client_secret of [{heading}] is encrypted already";
    /// `encrypt-secret`: there is nothing to do it with.
    pub(crate) fn no_secret(heading = "user@example.com") = "there is no client_secret in [{heading}]";
    /// `encrypt-secret`: nobody has filled it in.
    pub(crate) fn placeholder_secret(heading = "user@example.com") =
        "the client_secret of [{heading}] still holds the sample's placeholder: put your own there";
    /// `encrypt-secret`: a key file full of something else.
    pub(crate) fn file_is_not_text(path = "/etc/emailproxy/key.json") = "{path} is not text";
    /// `encrypt-secret`: a service account's key of no use.
    pub(crate) fn unusable_key(
        heading = "user@example.com",
        why = "is not the JSON key of a service account (it needs client_email and private_key)"
    ) = "the service account's key of [{heading}] {why}";
    /// Either: somebody else writes the same section again and again.
    pub(crate) fn nothing_done(name = "user@example.com") =
        "what is saved of {name} keeps changing: nothing was done; try again";
}
