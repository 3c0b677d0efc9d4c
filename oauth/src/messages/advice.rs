//! What to do about errors of providers and refusals of mail servers. Each stands behind what they said.

proxy_proto::texts! {
    /// AADSTS7000215.
    pub(crate) const WRONG_SECRET = "client_secret is wrong: it must be the secret's value, not its id";
    /// AADSTS7000222.
    pub(crate) const EXPIRED_SECRET = "client_secret has expired: create a new one at the provider";
    /// AADSTS7000218.
    pub(crate) const SECRET_NEEDED = "this client needs a client_secret or a certificate";
    /// AADSTS700025.
    pub(crate) const PUBLIC_CLIENT = "this client is public: remove client_secret";
    /// AADSTS700027.
    pub(crate) const UNREGISTERED_CERTIFICATE =
        "check jwt_certificate_path: the certificate must be registered for this client";
    /// `invalid_client`.
    pub(crate) const CHECK_CLIENT = "check client_id and client_secret";
    /// AADSTS700016, AADSTS90002.
    pub(crate) const CHECK_CLIENT_AND_TENANT = "check client_id, and the tenant in token_url and permission_url";
    /// AADSTS7000112, `disabled_client`.
    pub(crate) const CLIENT_DISABLED = "the client is disabled at the provider: have it enabled, or register a new one";
    /// `deleted_client`.
    pub(crate) const CLIENT_DELETED = "the client was deleted at the provider: register a new one";
    /// `unauthorized_client`.
    pub(crate) const CLIENT_MAY_NOT =
        "the client may not use this flow: check oauth2_flow and its registration; a service account needs domain-wide \
         delegation";
    /// `unsupported_grant_type`.
    pub(crate) const FLOW_NOT_OFFERED = "the provider does not offer this flow: check oauth2_flow";
    /// AADSTS50194.
    pub(crate) const ONE_TENANT =
        "the client serves one tenant only: put its id in place of common in the URLs";
    /// AADSTS9002331, AADSTS9001023.
    pub(crate) const PERSONAL_ONLY =
        "the client is for personal accounts only: put consumers in place of the tenant in the URLs";
    /// AADSTS50011, `redirect_uri_mismatch`.
    pub(crate) const REGISTER_REDIRECT = "register redirect_uri for this client at the provider";
    /// AADSTS70011 and its kin, `invalid_scope`.
    pub(crate) const CHECK_SCOPE = "check oauth2_scope";
    /// AADSTS500011.
    pub(crate) const UNKNOWN_RESOURCE =
        "the resource in oauth2_scope is not known in this tenant: check oauth2_scope and the tenant";

    /// AADSTS50126.
    pub(crate) const WRONG_LOGIN =
        "the provider does not accept this login name and password: with this flow they are those of the account there";
    /// AADSTS50034, AADSTS50020.
    pub(crate) const UNKNOWN_IN_TENANT = "the account is not known in this tenant: check the tenant in token_url";
    /// AADSTS50053.
    pub(crate) const LOCKED = "the account is locked for a while after too many wrong passwords";
    /// AADSTS50057.
    pub(crate) const ACCOUNT_DISABLED = "the account is disabled at the provider: ask its administrator";
    /// AADSTS50055.
    pub(crate) const PASSWORD_EXPIRED = "the account's password at the provider has expired: change it there";
    /// AADSTS50076, AADSTS50079.
    pub(crate) const MULTI_FACTOR =
        "the account needs multi-factor authentication: use a flow with a permission_url";
    /// AADSTS50105.
    pub(crate) const NOT_ASSIGNED = "an administrator has to assign the account to this client";
    /// AADSTS53000 and its kin; SMTP's 5.7.139.
    pub(crate) const CONDITIONAL_ACCESS =
        "the organisation's conditional access forbids this login: ask its administrator";
    /// `admin_policy_enforced`, `org_internal`.
    pub(crate) const CLIENT_NOT_ALLOWED = "the organisation does not allow this client: ask its administrator";
    /// AADSTS65001 and its kin.
    pub(crate) const CONSENT_MISSING =
        "consent to the client's permissions is missing; an administrator may have to give it";
    /// `access_denied`.
    pub(crate) const CONSENT_REFUSED = "consent was refused at the provider: log in again to be asked once more";
    /// Google's `invalid_grant`.
    pub(crate) const APPROVE_AGAIN =
        "approve again; where the client's audience at Google is Testing, approvals end after seven days: publish it";

    /// Office 365: `SmtpClientAuthentication is disabled for the Tenant`.
    pub(crate) const SMTP_AUTH_OFF =
        "the organisation has turned SMTP AUTH off: its administrator turns it on for this mailbox (Set-CASMailbox \
         -SmtpClientAuthenticationDisabled $false), see https://aka.ms/smtp_auth_disabled";
    /// Office 365: the same for the mailbox.
    pub(crate) const SMTP_AUTH_OFF_FOR_MAILBOX =
        "SMTP AUTH is turned off for this mailbox: an administrator turns it on among its email apps (Authenticated SMTP)";
    /// Office 365: 5.7.139 that names security defaults.
    pub(crate) const SECURITY_DEFAULTS =
        "the organisation's security defaults forbid SMTP AUTH: ask its administrator";
    /// Office 365: any other 5.7.139.
    pub(crate) const SMTP_AUTH_FORBIDDEN =
        "the organisation does not allow this login by SMTP AUTH: ask its administrator";
    /// Office 365: `User is authenticated but not connected`.
    pub(crate) const MAILBOX_NOT_OPENED =
        "the token is good, the mailbox was not opened: it may not allow this protocol, have no licence, or be shared (see \
         sasl_user)";
    /// Gmail: `Your account is not enabled for IMAP use`.
    pub(crate) const TURN_PROTOCOL_ON =
        "the mailbox does not allow this protocol: turn it on in the settings of Gmail, under forwarding and POP/IMAP";
    /// Gmail: `IMAP access is disabled for your domain`.
    pub(crate) const PROTOCOL_FORBIDDEN = "the organisation does not allow this protocol: ask its administrator";
    /// Gmail: `Web login required`.
    pub(crate) const BROWSER_ONCE = "Google wants the user to log in with a browser once";
    /// Gmail: what a password would be answered with.
    pub(crate) const TAKEN_FOR_A_PASSWORD =
        "the server took this for a password: the token may be for another account, or lack https://mail.google.com/ in \
         oauth2_scope";
    /// `Too many simultaneous connections`.
    pub(crate) const FEWER_CONNECTIONS =
        "let the mail programs open fewer connections, or fewer of them run at once";
    /// `Too many login attempts`.
    pub(crate) const LESS_OFTEN =
        "the provider limits this account for a while: let mail programs look for mail less often";
    /// Gmail's error challenge.
    pub(crate) const CHECK_SCOPE_AND_ACCOUNT =
        "check that oauth2_scope is https://mail.google.com/ and that the approval was given by this very account";
}
