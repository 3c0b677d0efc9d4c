//! The clients that the provider knows.
//!
//! Every client may use any `http` redirect URI on loopback (`localhost`, `127.0.0.1`, `[::1]`), with any port and
//! path, as RFC 8252 §7.3 has it for native applications.

/// A registered client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// `client_id`.
    pub id: &'static str,
    /// `client_secret`; `None` for a client without one.
    pub secret: Option<&'static str>,
    /// What the consent page calls it.
    pub name: &'static str,
    /// The `grant_type` values that it may use.
    pub grants: &'static [&'static str],
}

pub(crate) const CODE: &str = "authorization_code";
pub(crate) const REFRESH: &str = "refresh_token";
pub(crate) const PASSWORD: &str = "password";
pub(crate) const CREDENTIALS: &str = "client_credentials";
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// A client with a secret, for users: authorisation code (PKCE optional), device code, password, refresh.
pub const CONFIDENTIAL: Client = Client {
    id: "emailproxy-with-secret",
    secret: Some("not-a-secret-of-anyone"),
    name: "emailproxy (with a secret)",
    grants: &[CODE, REFRESH, PASSWORD, DEVICE_CODE],
};

/// A client without a secret, for users: authorisation code with PKCE (S256 required), device code, password, refresh.
pub const PUBLIC: Client = Client {
    id: "emailproxy",
    secret: None,
    name: "emailproxy",
    grants: &[CODE, REFRESH, PASSWORD, DEVICE_CODE],
};

/// A client that needs no user: client credentials for the mail of
/// [`Options::daemon_account`](crate::Options::daemon_account).
pub const DAEMON: Client = Client {
    id: "emailproxy-daemon",
    secret: Some("daemon-secret-of-nobody"),
    name: "emailproxy as a daemon",
    grants: &[CREDENTIALS],
};

/// A client that authenticates by a signed assertion (RFC 7523 §2.2) with the key of
/// [`Sandbox::client_certificate`](crate::Sandbox::client_certificate): all that [`CONFIDENTIAL`] and [`DAEMON`] may.
pub const CERTIFICATE: Client = Client {
    id: "emailproxy-with-certificate",
    secret: None,
    name: "emailproxy (with a certificate)",
    grants: &[CODE, REFRESH, PASSWORD, DEVICE_CODE, CREDENTIALS],
};

/// All of them.
pub const ALL: [Client; 4] = [CONFIDENTIAL, PUBLIC, DAEMON, CERTIFICATE];

/// The scopes that can be asked for. `mail` opens all three protocols, the ones below it one each; the rest change
/// nothing. A request without `scope` gets `mail`.
pub const SCOPES: [&str; 8] = [
    "mail",
    "mail.imap",
    "mail.pop",
    "mail.smtp",
    "offline_access",
    "openid",
    "email",
    "profile",
];

/// The client of this id.
pub(crate) fn find(id: &str) -> Option<Client> {
    ALL.into_iter().find(|client| client.id == id)
}
