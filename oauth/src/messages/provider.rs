//! The provider: requests that do not reach it, answers that are none, and the keys by which the client proves itself. These
//! stand behind "no token for …" and its kin.

proxy_proto::texts! {
    /// The HTTP client does not start.
    pub(crate) fn no_http(why = "out of memory") = "HTTP cannot be set up: {why}";
    /// A URL of the configuration that is none.
    pub(crate) fn bad_url(why = "relative URL without a base") =
        "the provider's URL cannot be used ({why}): check token_url and permission_url";
    /// A URL of the configuration that leads nowhere.
    pub(crate) const NO_HOST = "the provider's URL names no host: check token_url and permission_url";
    /// A URL by which secrets would cross the network in the clear.
    pub(crate) fn not_https(host = "provider.example", scheme = "http") =
        "secrets are sent by https only, and the URL of {host} begins with {scheme}: check token_url and permission_url";
    /// A URL that the HTTP client does not take.
    pub(crate) fn unusable_url(host = "provider.example") =
        "the URL of {host} cannot be used: check token_url and permission_url";
    /// No such name.
    pub(crate) fn unknown_host(host = "login.microsoftonline.com") =
        "{host} is not known to the name service: check its spelling, and this machine's network";
    /// No connection.
    pub(crate) fn unreachable(host = "login.microsoftonline.com") =
        "{host} cannot be reached: check this machine's network, and https_proxy if one is needed";
    /// No answer.
    pub(crate) fn too_slow(host = "login.microsoftonline.com") = "{host} did not answer in time";
    /// A certificate of nobody who is known.
    pub(crate) fn untrusted(host = "provider.example") =
        "the certificate of {host} is not trusted; if it is a private authority's, name its file in SSL_CERT_FILE";
    /// Any other trouble on the way.
    pub(crate) fn not_asked(host = "provider.example", why = "the server sent no valid HTTP") =
        "{host} could not be asked: {why}";
    /// The connection ended in the middle of the answer.
    pub(crate) fn cut_off(host = "provider.example", why = "unexpected end of file") =
        "{host} did not finish its answer: {why}";
    /// An answer without end.
    pub(crate) fn too_much(host = "provider.example", most = "256 KiB") =
        "{host} answered with more than {most}: check its URL";
    /// Not to be expected: what the SDK of AWS sends is in memory.
    pub(crate) const NO_BODY = "a request without its body";

    /// A success that is none.
    pub(crate) fn strange_answer(what = WEB_PAGE) = "the provider answered with {what}; check its URL";
    /// A failure that says nothing.
    pub(crate) fn strange_failure(what = NOTHING, status = 404) =
        "the provider answered with {what} (status {status}); check its URL";
    /// A redirect, which could lead secrets elsewhere.
    pub(crate) fn redirects(status = 302) =
        "the provider redirects (status {status}), which is not followed; check its URL";
    /// A failure of the provider's own.
    pub(crate) fn in_trouble(what = SOMETHING_UNKNOWN, status = 502) =
        "the provider is in trouble: it answered with {what} (status {status})";
    /// An empty answer, in those above.
    pub(crate) const NOTHING = "nothing";
    /// HTML, in those above.
    pub(crate) const WEB_PAGE = "a web page";
    /// Neither, in those above.
    pub(crate) const SOMETHING_UNKNOWN = "something unknown";
    /// JSON, and no token in it.
    pub(crate) const NO_ACCESS_TOKEN = "the provider answered without a usable access token; check token_url";
    /// JSON, and no device code in it.
    pub(crate) const NO_DEVICE_CODE = "the provider answered without a device code; check permission_url";
    /// An error with a code; advice may follow.
    pub(crate) fn answered(code = "invalid_client") = "the provider answered {code}";
    /// The same with the provider's own words.
    pub(crate) fn answered_with_words(
        code = "invalid_grant",
        words = "AADSTS700082: The refresh token has expired due to inactivity."
    ) = "the provider answered {code} ({words})";

    /// A certificate's file of no use; one of the two behind it says why.
    pub(crate) fn bad_certificate(why = NO_PEM_CERTIFICATE) = "the file of jwt_certificate_path {why}";
    /// A key's file of no use; one of those behind it says why.
    pub(crate) fn bad_key(why = KEY_WITH_PASSPHRASE) = "the file of jwt_key_path {why}";
    /// In the file of a certificate.
    pub(crate) const NO_PEM_CERTIFICATE = "holds no PEM certificate";
    /// In the file of a key.
    pub(crate) const NO_PEM_KEY = "holds no PEM private key";
    /// A key that wants to be opened.
    pub(crate) const KEY_WITH_PASSPHRASE =
        "is protected by a passphrase; save it without one (openssl pkey -in OLD -out NEW)";
    /// A key of another kind.
    pub(crate) const NOT_RSA = "is not an RSA key of at least 2048 bits";
    /// A key that fails.
    pub(crate) const DOES_NOT_SIGN = "does not sign";
    /// What is to be signed cannot be written down.
    pub(crate) const CLAIMS_ARE_NOT_JSON = "cannot be used: the claims are not JSON";
    /// Each assertion takes a random number.
    pub(crate) const KEY_WITHOUT_RANDOMNESS = "cannot be used: the operating system gives no random numbers";

    /// A file that an option names.
    pub(crate) fn named_file_unreadable(
        option = "jwt_key_path", path = "/etc/emailproxy/client.key", why = "Permission denied (os error 13)"
    ) = "{option} names {path}, which cannot be read: {why}";
    /// A key file full of something else.
    pub(crate) const SECRET_FILE_IS_NOT_TEXT = "the file that client_secret names is not text";
    /// A service account without its key.
    pub(crate) const NO_SERVICE_ACCOUNT_KEY =
        "client_secret must name the key file (client_id = file) or hold the key (client_id = key)";
    /// A service account's key of no use; one of the two behind it says why.
    pub(crate) fn bad_service_account_key(why = NOT_A_SERVICE_ACCOUNT_KEY) = "the service account's key {why}";
    /// Something else than Google gives.
    pub(crate) const NOT_A_SERVICE_ACCOUNT_KEY =
        "is not the JSON key of a service account (it needs client_email and private_key)";
    /// Its private key is of no use, for a reason of those above.
    pub(crate) fn bad_private_key(why = NOT_RSA) = "holds a private_key that {why}";
}
