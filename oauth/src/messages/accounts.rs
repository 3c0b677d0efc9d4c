//! Problems of accounts in the configuration. They are shown behind file, line and section.

proxy_proto::texts! {
    /// A heading that no login can have; one of the next seven says why.
    pub(crate) fn impossible_name(why = NAME_TOO_LONG) =
        "no login can have this name, because {why}: correct the heading";
    /// More than 320 bytes.
    pub(crate) const NAME_TOO_LONG = "it is longer than 320 bytes";
    /// A line break, a NUL and their like.
    pub(crate) const NAME_HOLDS_CONTROL = "it contains a control character";
    /// What would end the heading.
    pub(crate) const NAME_HOLDS_BRACKET = "it contains a bracket";
    /// Blanks at either end.
    pub(crate) const NAME_HAS_BLANKS = "it begins or ends with a blank";
    /// No @ at all.
    pub(crate) const NAME_WITHOUT_AT = "it is not of the form name@domain";
    /// A catch-all's heading.
    pub(crate) const NAME_WITHOUT_LOCAL_PART = "there is nothing before its @";
    /// Nothing behind the @.
    pub(crate) const NAME_WITHOUT_DOMAIN = "there is nothing behind its @";
    /// Two accounts that a person would take for one.
    pub(crate) fn same_but_for_case(other = "User@example.com") =
        "differs from [{other}] in letter case alone: each is reached by its exact spelling only";

    /// `permission_url`, and a flow without it.
    pub(crate) const FLOW_OVERRULED =
        "`permission_url` is present, so the flow is authorization_code whatever `oauth2_flow` says: remove one of the two";
    /// A flow that asks the user, and nowhere to ask.
    pub(crate) fn flow_needs_permission_url(flow = "device") = "`oauth2_flow = {flow}` needs `permission_url`";
    /// A flow of which nobody knows.
    pub(crate) const UNKNOWN_FLOW =
        "`oauth2_flow` must be authorization_code, device, client_credentials, password or service_account";
    /// The flow is guessed.
    pub(crate) const NO_FLOW =
        "neither `permission_url` nor `oauth2_flow`: client_credentials is assumed; name the flow that you mean";
    /// An endpoint by plain HTTP.
    pub(crate) fn endpoint_not_https(option = "token_url") = "`{option}` must begin with https://";
    /// An endpoint that is no URL.
    pub(crate) fn endpoint_no_url(option = "token_url") = "`{option}` is not a URL: it must begin with https://";
    /// `redirect_uri` and the like that is no URL.
    pub(crate) fn redirect_no_url(option = "redirect_uri") = "`{option}` is not a URL, such as http://localhost:8080";
    /// Where nobody can listen.
    pub(crate) const REDIRECT_LISTEN_ADDRESS =
        "`redirect_listen_address` must be a URL such as http://10.0.0.1:8080";
    /// A mechanism that carries no token.
    pub(crate) const SASL_MECHANISM = "`sasl_mechanism` must be XOAUTH2 or OAUTHBEARER";
    /// A name that no server could be sent.
    pub(crate) fn identity_with_control(option = "sasl_user") =
        "`{option}` must be one line without control characters";

    /// The client secret stands there twice.
    pub(crate) const BOTH_SECRETS =
        "`client_secret` and `client_secret_encrypted` are both present: the plain one is used; remove it to use the \
         encrypted one";
    /// A secret and a certificate.
    pub(crate) const SECRET_AND_CERTIFICATE =
        "a client secret is present and used, the certificate is not: remove one of the two";
    /// A certificate without its key.
    pub(crate) const NO_JWT_KEY = "`jwt_key_path` is missing beside `jwt_certificate_path`";
    /// A key without its certificate.
    pub(crate) const NO_JWT_CERTIFICATE = "`jwt_certificate_path` is missing beside `jwt_key_path`";
    /// A client that does not prove itself.
    pub(crate) const NOTHING_PROVES_THE_CLIENT =
        "no `client_secret`, no certificate, and the login password is not the secret: most providers refuse \
         client_credentials without one of these";
    /// The login password is to be the secret, and there is one.
    pub(crate) const PASSWORD_IS_NOT_THE_SECRET =
        "`client_secret` is present, so it is used and the login password is not \
         (`use_login_password_as_client_credentials_secret`)";
    /// A service account whose key could be anywhere.
    pub(crate) const SERVICE_ACCOUNT_CLIENT_ID =
        "with `oauth2_flow = service_account`, `client_id` must be `file` (and `client_secret` the path of the JSON key) or \
         `key` (and `client_secret` the JSON key itself)";
    /// A service account's key that was pasted in part.
    pub(crate) const NOT_A_JSON_KEY =
        "`client_secret` is not a JSON key: paste the whole file, from its first brace to its last, with every line indented";
    /// A service account's key where its path should be.
    pub(crate) const KEY_INSTEAD_OF_PATH =
        "`client_secret` has several lines: with `client_id = file` it must be a path, with `client_id = key` the key itself";

    /// Catch-alls that are not allowed.
    pub(crate) const CATCH_ALL_IGNORED =
        "this catch-all is ignored: it takes `allow_catch_all_accounts = True` in [emailproxy]";
    /// A catch-all's secret is to be encrypted at the first login.
    pub(crate) const CATCH_ALL_SECRET =
        "a catch-all's `client_secret` is encrypted with the first login's password, and must be removed here by you: \
         accounts with other passwords then need secrets of their own";
    /// A catch-all lacks what accounts' own sections may have.
    pub(crate) fn incomplete_catch_all(what = "`token_url` is missing") =
        "{what}: only accounts with a section that adds it can log in";

    /// A flow that asks no user, on listeners for this machine.
    pub(crate) fn open_to_this_machine(what = THIS_ACCOUNT, flow = "service_account", advice = CLOSE_THE_DOOR) =
        "anyone on this machine can open {what} with any password before its first login, because {flow} asks no user: \
         {advice}";
    /// A flow that asks no user, on listeners for others.
    pub(crate) fn open_to_everybody(what = COVERED_MAILBOXES, flow = "client_credentials", advice = CLOSE_CATCH_ALL) =
        "DANGER: other machines can reach a listener (`local_address`), and anyone there can open {what} with any password \
         before its first login, because {flow} asks no user: {advice}";
    /// In the two above.
    pub(crate) const THIS_ACCOUNT = "this account";
    /// In the two above, for a catch-all.
    pub(crate) const COVERED_MAILBOXES = "every mailbox that this covers";
    /// What to do about the two above.
    pub(crate) const CLOSE_THE_DOOR = "encrypt the secret beforehand, or keep listeners on 127.0.0.1";
    /// The same for client credentials.
    pub(crate) const CLOSE_THE_DOOR_OR_USE_PASSWORD =
        "encrypt the secret beforehand, use the login password as the secret, or keep listeners on 127.0.0.1";
    /// The same for a catch-all.
    pub(crate) const CLOSE_CATCH_ALL = "give accounts sections of their own, and keep listeners on 127.0.0.1";
}
