//! What the configuration says, in types.

use proxy_proto::{Mechanism, Protocol, Secret};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file, the server or the account cannot be used.
    Error,
    /// It can be used; the user should know.
    Warning,
}

/// A problem of the configuration: where it is and what to do about it.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Column in the line, from 1.
    pub column: Option<usize>,
    /// The section's heading, without brackets.
    pub section: Option<String>,
    /// What is wrong and what to do, one line, no secrets.
    pub text: String,
}

impl Problem {
    /// `emailproxy.config:12:3: error: [IMAP-1993] what is wrong`, for logs and terminals.
    pub fn one_line(&self, file: &Path) -> String {
        use std::fmt::Write;
        let mut line = file.display().to_string();
        if let Some(number) = self.line {
            let _ = write!(line, ":{number}");
            if let Some(column) = self.column {
                let _ = write!(line, ":{column}");
            }
        }
        let _ = write!(line, ": {self}");
        line
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        if let Some(section) = &self.section {
            write!(f, "[{section}] ")?;
        }
        f.write_str(&self.text)
    }
}

/// One `[IMAP-n]`, `[POP-n]` or `[SMTP-n]` section.
#[derive(Clone, Debug)]
pub struct Server {
    /// The heading, such as `IMAP-1993`.
    pub heading: Arc<str>,
    /// From the heading.
    pub protocol: Protocol,
    /// Local port, from the heading.
    pub port: u16,
    /// Upstream host.
    pub server_address: String,
    /// Upstream port.
    pub server_port: u16,
    /// Plaintext, then STARTTLS, towards the server.
    pub server_starttls: bool,
    /// Address or host name to listen on; default `::`.
    pub local_address: String,
    /// PEM files of the local side.
    pub local_tls: Option<LocalCertificate>,
    /// STARTTLS emulation.
    pub local_starttls: LocalStartTls,
    /// Further CA certificates.
    pub server_ca_path: Option<PathBuf>,
    /// Scripts and their parameters, as they stand there: read by whoever serves. Empty where nothing stands behind the name,
    /// `None` where it is absent.
    pub plugins: Option<String>,
    /// Networks whose clients are served, as they stand there: read by whoever serves. Empty where nothing stands behind the
    /// name, which must not mean everybody; `None` where it is absent.
    pub allow_from: Option<String>,
    /// Balancers whose PROXY protocol header is accepted; otherwise as `allow_from`.
    pub proxy_protocol: Option<String>,
    /// Line of the heading.
    pub line: usize,
}

/// Certificate chain and key of the local side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCertificate {
    /// PEM certificate chain.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// `local_starttls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalStartTls {
    /// `False`.
    Off,
    /// `True`: logins before TLS are refused.
    Required,
    /// `optional`: both are served.
    Optional,
}

/// How tokens are obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKind {
    /// RFC 6749 §4.1 with RFC 7636.
    AuthorizationCode,
    /// RFC 8628.
    Device,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.3.
    Password,
    /// RFC 7523 §2.1 with a Google service account key.
    ServiceAccount,
}

/// One account as it is used for a login: its own section's options over those of a catch-all.
#[derive(Clone)]
pub struct Account {
    /// Login name in the section's spelling; for an account that only a catch-all covers: as the client gave it.
    /// Also the heading under which its tokens are saved.
    pub name: Arc<str>,
    /// Headings in the order of look-up: the account's own, then `@domain`, then `@` (the latter two only with `allow_catch_all_accounts`).
    pub headings: Vec<String>,
    /// Whether the account has a section with options of its own.
    pub own_section: bool,
    /// The flow.
    pub flow: FlowKind,
    /// Authorisation endpoint, or device authorisation endpoint.
    pub permission_url: Option<String>,
    /// Token endpoint.
    pub token_url: String,
    /// Scope.
    pub oauth2_scope: Option<String>,
    /// `resource` of the password flow.
    pub oauth2_resource: Option<String>,
    /// Client id (`file` or `key` for service accounts).
    pub client_id: String,
    /// Plain client secret, where present.
    pub client_secret: Option<Secret>,
    /// Default `http://localhost`.
    pub redirect_uri: String,
    /// Where the receiver listens instead.
    pub redirect_listen_address: Option<String>,
    /// S256 with authorisation codes.
    pub use_pkce: bool,
    /// Certificate credentials.
    pub jwt_certificate_path: Option<PathBuf>,
    /// Certificate credentials.
    pub jwt_key_path: Option<PathBuf>,
    /// Identity sent upstream: for any protocol, IMAP, POP, SMTP.
    pub sasl_user: Option<String>,
    /// See `sasl_user`.
    pub sasl_user_imap: Option<String>,
    /// See `sasl_user`.
    pub sasl_user_pop: Option<String>,
    /// See `sasl_user`.
    pub sasl_user_smtp: Option<String>,
    /// Instead of choosing by what the server advertises.
    pub sasl_mechanism: Option<Mechanism>,
    /// SHA-256 over the options above: a result obtained under other settings is dropped.
    pub fingerprint: [u8; 32],
}

/// `token_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFormat {
    /// `v1:…`, AES-256-GCM.
    AesGcm,
    /// Readable by the Python tool.
    Fernet,
}

/// `[emailproxy]`.
#[derive(Clone)]
pub struct Options {
    /// Default true.
    pub delete_account_token_on_password_error: bool,
    /// Default false.
    pub encrypt_client_secret_on_first_use: bool,
    /// Default false.
    pub use_login_password_as_client_credentials_secret: bool,
    /// Default false.
    pub allow_catch_all_accounts: bool,
    /// Default `aes-gcm`.
    pub token_format: TokenFormat,
    /// Raw.
    pub console_address: Option<String>,
    /// Raw.
    pub notify_command: Option<String>,
    /// URL of the proxy for connections to mail servers, as it stands there: read by whoever serves. A password may be in it.
    pub outgoing_proxy: Option<Secret>,
    /// Sessions in all.
    pub max_sessions: Option<usize>,
    /// Sessions per client address.
    pub max_sessions_per_address: Option<usize>,
}
