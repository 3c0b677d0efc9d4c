//! What a sandbox is started with.

/// How to start a [`Sandbox`](crate::Sandbox).
#[derive(Clone, Debug)]
pub struct Options {
    /// The mailboxes, and their passwords at the *provider* (only the password grant asks for one).
    /// At least one; addresses are compared ignoring ASCII letter case.
    pub accounts: Vec<Account>,
    /// Where to listen on loopback; 0 is any free port.
    pub ports: Ports,
    /// The provider speaks https with the sandbox's own certificate instead of http.
    pub https: bool,
    /// Which account the tokens of [`client::DAEMON`](crate::client::DAEMON) and
    /// [`client::CERTIFICATE`](crate::client::CERTIFICATE) open by the client-credentials grant; the first account
    /// when `None`.
    pub daemon_account: Option<String>,
    /// Start every INBOX with the five sample messages.
    pub samples: bool,
    /// Add a generated message of 25 MB to the first account's INBOX.
    pub large_message: bool,
    /// Further mail.
    pub mail: Vec<ExtraMail>,
}

impl Default for Options {
    /// Two accounts, `ada@example.org` and `brook@example.org`, sample mail, free ports, provider over http.
    fn default() -> Self {
        Options {
            accounts: vec![
                Account::new("ada@example.org", "ada-at-the-provider"),
                Account::new("brook@example.org", "brook-at-the-provider"),
            ],
            ports: Ports::default(),
            https: false,
            daemon_account: None,
            samples: true,
            large_message: false,
            mail: Vec::new(),
        }
    }
}

/// A mail user of the sandbox.
#[derive(Clone, Debug)]
pub struct Account {
    /// Mail address, also the name for SASL.
    pub address: String,
    /// Password at the provider.
    pub password: String,
}

impl Account {
    /// An account with this address and password.
    pub fn new(address: impl Into<String>, password: impl Into<String>) -> Self {
        Account {
            address: address.into(),
            password: password.into(),
        }
    }
}

/// A message that is there from the start.
#[derive(Clone, Debug)]
pub struct ExtraMail {
    /// The account's address.
    pub account: String,
    /// Folder, created when missing, such as `INBOX`.
    pub folder: String,
    /// The message with CRLF line ends, served byte for byte.
    pub message: Vec<u8>,
}

/// Ports on loopback; 0 is any free one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// OAuth provider.
    pub provider: u16,
    /// IMAP, TLS from the first byte.
    pub imaps: u16,
    /// IMAP with STARTTLS.
    pub imap: u16,
    /// POP3, TLS from the first byte.
    pub pops: u16,
    /// POP3 with STLS.
    pub pop: u16,
    /// SMTP submission, TLS from the first byte.
    pub smtps: u16,
    /// SMTP submission with STARTTLS.
    pub submission: u16,
}

/// One listening service of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// The OAuth provider.
    Provider,
    /// IMAP, TLS from the first byte.
    Imaps,
    /// IMAP with STARTTLS.
    Imap,
    /// POP3, TLS from the first byte.
    Pops,
    /// POP3 with STLS.
    Pop,
    /// SMTP submission, TLS from the first byte.
    Smtps,
    /// SMTP submission with STARTTLS.
    Submission,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 7] = [
        Service::Provider,
        Service::Imaps,
        Service::Imap,
        Service::Pops,
        Service::Pop,
        Service::Smtps,
        Service::Submission,
    ];

    /// TLS from the first byte (the provider's scheme is an option of its own).
    pub(crate) fn implicit_tls(self) -> bool {
        matches!(self, Service::Imaps | Service::Pops | Service::Smtps)
    }

    pub(crate) fn port(self, ports: &Ports) -> u16 {
        match self {
            Service::Provider => ports.provider,
            Service::Imaps => ports.imaps,
            Service::Imap => ports.imap,
            Service::Pops => ports.pops,
            Service::Pop => ports.pop,
            Service::Smtps => ports.smtps,
            Service::Submission => ports.submission,
        }
    }
}
