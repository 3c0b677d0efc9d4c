//! Saved values that do not open, and stores that are read and written in spite of trouble.

proxy_proto::texts! {
    /// To a login whose saved values are of no use; one of the next eight says why.
    pub(crate) fn damaged(
        user = "user@example.com", option = "refresh_token", why = CUT_SHORT, heading = "user@example.com"
    ) = "{user}: the saved {option} {why}; remove it from section [{heading}] to log in afresh";
    /// The same of salt and iterations, without which nothing else opens.
    pub(crate) fn damaged_salt(
        user = "user@example.com", option = "token_salt", why = MISSING, heading = "user@example.com"
    ) = "{user}: the saved {option} {why}; correct it, or remove what was encrypted with it from section [{heading}] to log in \
         afresh";
    /// Logged, with option and section in fields.
    pub(crate) fn damaged_value(why = NOT_BASE64) = "a saved value {why}";
    /// Of a salt: it is not there.
    pub(crate) const MISSING = "is missing";
    /// Of a value or a salt.
    pub(crate) const NOT_BASE64 = "is not base64";
    /// Of `token_iterations`.
    pub(crate) const BAD_ITERATIONS = "is not a number from 1 to 20000000";
    /// Of a value.
    pub(crate) const CUT_SHORT = "is cut short";
    /// Of a value that begins like none that is known.
    pub(crate) const UNKNOWN_FORMAT = "is in no known format";
    /// Of a value of the Python tool.
    pub(crate) const UNKNOWN_VERSION = "is of an unknown version";
    /// Of a value of the Python tool.
    pub(crate) const BADLY_PADDED = "is badly padded";
    /// Of a value that opens, and holds other bytes than UTF-8.
    pub(crate) const NOT_TEXT = "does not hold text";
    /// Nothing can be encrypted.
    pub(crate) const NO_RANDOMNESS = "the operating system gives no random numbers";

    /// To a login: the store is in trouble, and nothing is known of the account.
    pub(crate) fn cannot_be_opened(
        account = "user@example.com", why = "/etc/emailproxy.config cannot be read: Input/output error (os error 5)"
    ) = "the tokens of {account} cannot be read: {why}";
    /// Logged: the store is in trouble, and the account has been read before.
    pub(crate) fn known_instead(
        why = "AWS secret mail: AWS did not answer in time", heading = "user@example.com"
    ) = "{why}; going on with what was read before for {heading}";
    /// Logged: the store is in trouble, and something of the account waits to be written.
    pub(crate) fn pending_instead(
        why = "AWS secret mail: AWS did not answer in time", heading = "user@example.com"
    ) = "{why}; going on with what is to be saved for {heading}";
    /// Logged: some accounts are not shown.
    pub(crate) fn cannot_be_listed(why = "AWS secret mail: AWS did not answer in time") =
        "the accounts of catch-alls cannot be listed: {why}";

    /// Logged: a write has failed, and others will be tried.
    pub(crate) fn not_saved(
        accounts = "user@example.com, other@example.com",
        why = "/etc/emailproxy.config cannot be written: No space left on device (os error 28): make room on that disk"
    ) = "tokens of {accounts} could not be saved: {why}; they are kept in memory and saving is retried";
    /// Logged: it has worked again.
    pub(crate) fn saved_again(store = "/etc/emailproxy.config") = "{store}: tokens are saved again";
    /// Logged: no thread for trying again.
    pub(crate) fn no_retries(why = "Resource temporarily unavailable (os error 11)") =
        "saving will be retried at the next save only: {why}";
    /// Logged: the store wants to be written seldom.
    pub(crate) fn few_writes(store = "AWS secret mail", minutes = 20) =
        "{store}: it takes no more than one write in {minutes} minutes, and there have been many: tokens that were just \
         renewed are kept in memory until the next one";
    /// Logged: another process was faster.
    pub(crate) fn changed_by_others(heading = "user@example.com") =
        "what was to be saved of {heading} is not written: somebody else has changed it meanwhile";
    /// A value that no file could hold; it is dropped.
    pub(crate) fn not_one_line(store = "/etc/emailproxy.config") =
        "{store}: a value of several lines, or with blanks around it, cannot be saved";
    /// A save whose thread has ended by a defect.
    pub(crate) fn save_broken_off(store = "/etc/emailproxy.config") = "{store}: the save broke off; it is tried again";
}
