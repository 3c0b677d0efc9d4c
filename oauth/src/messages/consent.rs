//! Users who are asked: what comes back instead of their consent, and what is told beside it.

proxy_proto::texts! {
    /// To a login: nobody can be asked.
    pub(crate) fn no_consent(account = "user@example.com", why = "port 80 is taken") =
        "no consent for {account}: {why}";
    /// To a login that would need the user, while the system gives no random numbers.
    pub(crate) fn no_login(account = "user@example.com", why = "the operating system gives no random numbers") =
        "no login for {account}: {why}";

    /// Logged: an answer that is not to the question that was asked.
    pub(crate) const OTHER_STATE = "a redirect with another state was refused";
    /// To whoever has approved an old page.
    pub(crate) fn answer_of_another(account = "user@example.com") =
        "the answer for {account} does not belong to this login (its state differs): log in again and use the latest page only";
    /// To a login whose answer is good for nothing.
    pub(crate) fn answer_without_code(account = "user@example.com") =
        "the provider's answer for {account} holds no code; log in again";

    /// Logged: somebody does not want it.
    pub(crate) const DISMISSED = "the request for consent was dismissed";
    /// To that login.
    pub(crate) fn consent_dismissed(account = "user@example.com") =
        "the request for consent of {account} was dismissed; log in again to start over";
    /// Logged: the time is up.
    pub(crate) const UNANSWERED = "nobody answered the request for consent";
    /// To that login.
    pub(crate) fn consent_unanswered(account = "user@example.com") =
        "nobody gave consent for {account} in time; log in again and follow the link that the proxy shows";
    /// Logged (debug): a device code's token is asked for again.
    pub(crate) fn polling_goes_on(why = "login.microsoftonline.com did not answer in time") = "polling goes on: {why}";

    /// Logged: the user will be asked again soon.
    pub(crate) fn no_refresh_token(seconds = 3600) =
        "the provider gave no refresh token: the user will be asked again in {seconds} seconds; {OFFLINE}";
    /// What brings refresh tokens, in the one above.
    pub(crate) const OFFLINE =
        "Microsoft wants offline_access in oauth2_scope; Google gives one only with the first consent";
    /// Logged: the browser was signed in as somebody else.
    pub(crate) fn other_person(other = "other@example.com", account = "user@example.com") =
        "the provider says that {other} approved; if mail is refused or is another's, sign out in the browser and approve \
         again: emailproxy authorise --fresh {account}";
}
