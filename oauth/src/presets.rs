//! Providers whose servers, addresses and scopes are known, for setting accounts up. Nothing in here is used when serving.
//!
//! ```
//! use oauth::presets::Preset;
//! use proxy_proto::Protocol;
//!
//! let preset = Preset::of_domain("Hotmail.co.uk").expect("a domain of Microsoft's");
//! assert_eq!(preset.name, "outlook");
//! assert!(preset.scope(&[Protocol::Imap]).contains("offline_access"));
//! ```

use crate::messages::presets as messages;
use proxy_proto::Protocol;

/// A provider.
#[derive(Debug)]
pub struct Preset {
    /// As on a command line, such as `gmail`.
    pub name: &'static str,
    /// As people call it.
    pub title: &'static str,
    /// Domains of its addresses; `yahoo.*` stands for one of each country.
    domains: &'static [&'static str],
    /// Where mail is.
    pub servers: &'static [MailServer],
    /// Where its user approves.
    pub permission_url: &'static str,
    /// The device authorisation endpoint (RFC 8628 §3.1), if mail is known to work with it.
    pub device_url: Option<&'static str>,
    /// Where tokens are issued.
    pub token_url: &'static str,
    scopes: Scopes,
    /// Whether its registrations have a secret.
    pub client_secret: ClientSecret,
    /// Where the browser comes back to, on a port that needs no privileges.
    pub redirect_uri: &'static str,
    /// How to come by a client id: a sentence, with an address.
    pub registration: &'static str,
}

/// A provider's server.
#[derive(Debug)]
pub struct MailServer {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its name.
    pub host: &'static str,
    /// Its port.
    pub port: u16,
    /// Whether TLS begins by command, rather than with the first byte.
    pub starttls: bool,
    /// The local port that the sample configuration gives it.
    pub local_port: u16,
}

#[derive(Debug)]
struct Scopes {
    imap: &'static str,
    pop: &'static str,
    smtp: &'static str,
    /// Whatever is asked for.
    always: &'static str,
}

/// Whether a provider's clients for desktop programs have a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientSecret {
    /// All of them.
    Always,
    /// Some have one.
    Perhaps,
    /// None has: they are public clients (RFC 6749 §2.1).
    Never,
}

impl Preset {
    /// All of them.
    pub fn all() -> &'static [Preset] {
        PRESETS
    }

    /// By its name, whatever the letter case.
    pub fn of_name(name: &str) -> Option<&'static Preset> {
        PRESETS
            .iter()
            .find(|preset| preset.name.eq_ignore_ascii_case(name))
    }

    /// That of an address's domain. Domains of organisations' own are nobody's, even where a provider serves them.
    pub fn of_domain(domain: &str) -> Option<&'static Preset> {
        let domain = domain.to_ascii_lowercase();
        let fits = |pattern: &&str| match pattern.strip_suffix("*") {
            Some(beginning) => domain.strip_prefix(beginning).is_some_and(is_country),
            None => **pattern == domain,
        };
        PRESETS
            .iter()
            .find(|preset| preset.domains.iter().any(fits))
    }

    /// That of a mail server's name.
    pub fn of_server(host: &str) -> Option<&'static Preset> {
        let named = |server: &MailServer| server.host.eq_ignore_ascii_case(host);
        PRESETS
            .iter()
            .find(|preset| preset.servers.iter().any(named))
    }

    /// Its server for this protocol.
    pub fn server(&self, protocol: Protocol) -> Option<&'static MailServer> {
        self.servers
            .iter()
            .find(|server| server.protocol == protocol)
    }

    /// The scope that these protocols need, and no more.
    pub fn scope(&self, protocols: &[Protocol]) -> String {
        let scopes = &self.scopes;
        let mut words: Vec<&str> = Vec::new();
        for protocol in [Protocol::Imap, Protocol::Pop, Protocol::Smtp] {
            if protocols.contains(&protocol) {
                words.push(match protocol {
                    Protocol::Imap => scopes.imap,
                    Protocol::Pop => scopes.pop,
                    Protocol::Smtp => scopes.smtp,
                });
            }
        }
        words.push(scopes.always);
        words.retain(|word| !word.is_empty());
        words.join(" ")
    }
}

/// `com`, `de`, `co.uk`, `com.au`: what stands behind `yahoo.` in the provider's own domains.
fn is_country(ending: &str) -> bool {
    let label = |label: &str| {
        (2..=3).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_lowercase())
    };
    match ending.split_once('.') {
        None => label(ending),
        Some((second, country)) => {
            matches!(second, "co" | "com") && country.len() == 2 && label(country)
        }
    }
}

const fn server(
    protocol: Protocol,
    host: &'static str,
    port: u16,
    starttls: bool,
    local_port: u16,
) -> MailServer {
    MailServer {
        protocol,
        host,
        port,
        starttls,
        local_port,
    }
}

const MICROSOFT: Preset = Preset {
    name: "outlook",
    title: "Outlook.com, Hotmail, Live",
    domains: &[
        "outlook.*",
        "hotmail.*",
        "live.*",
        "msn.com",
        "passport.com",
    ],
    servers: &[
        server(Protocol::Imap, "outlook.office365.com", 993, false, 1993),
        server(Protocol::Pop, "outlook.office365.com", 995, false, 1995),
        server(Protocol::Smtp, "smtp-mail.outlook.com", 587, true, 1587),
    ],
    permission_url: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
    device_url: Some("https://login.microsoftonline.com/common/oauth2/v2.0/devicecode"),
    token_url: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
    scopes: Scopes {
        imap: "https://outlook.office.com/IMAP.AccessAsUser.All",
        pop: "https://outlook.office.com/POP.AccessAsUser.All",
        smtp: "https://outlook.office.com/SMTP.Send",
        always: "offline_access",
    },
    client_secret: ClientSecret::Perhaps,
    redirect_uri: "http://localhost:8080",
    registration: messages::REGISTER_AT_MICROSOFT,
};

const PRESETS: &[Preset] = &[
    Preset {
        name: "gmail",
        title: "Gmail, Google Workspace",
        domains: &["gmail.com", "googlemail.com"],
        servers: &[
            server(Protocol::Imap, "imap.gmail.com", 993, false, 2993),
            server(Protocol::Pop, "pop.gmail.com", 995, false, 2995),
            server(Protocol::Smtp, "smtp.gmail.com", 465, false, 2465),
        ],
        permission_url: "https://accounts.google.com/o/oauth2/auth",
        device_url: None,
        token_url: "https://oauth2.googleapis.com/token",
        scopes: Scopes {
            imap: "",
            pop: "",
            smtp: "",
            always: "https://mail.google.com/",
        },
        client_secret: ClientSecret::Always,
        redirect_uri: "http://localhost:8080",
        registration: messages::REGISTER_AT_GOOGLE,
    },
    MICROSOFT,
    Preset {
        name: "office365",
        title: "Microsoft 365 (Office 365) of an organisation",
        domains: &[],
        ..MICROSOFT
    },
    Preset {
        name: "fastmail",
        title: "Fastmail",
        domains: &["fastmail.com", "fastmail.fm", "messagingengine.com"],
        servers: &[
            server(Protocol::Imap, "imap.fastmail.com", 993, false, 3993),
            server(Protocol::Pop, "pop.fastmail.com", 995, false, 3995),
            server(Protocol::Smtp, "smtp.fastmail.com", 465, false, 3465),
        ],
        permission_url: "https://api.fastmail.com/oauth/authorize",
        device_url: None,
        token_url: "https://api.fastmail.com/oauth/refresh",
        scopes: Scopes {
            imap: "https://www.fastmail.com/dev/protocol-imap",
            pop: "https://www.fastmail.com/dev/protocol-pop",
            smtp: "https://www.fastmail.com/dev/protocol-smtp",
            always: "",
        },
        client_secret: ClientSecret::Never,
        redirect_uri: "http://localhost:8083",
        registration: messages::REGISTER_AT_FASTMAIL,
    },
    Preset {
        name: "yahoo",
        title: "Yahoo Mail",
        domains: &["yahoo.*", "ymail.com", "rocketmail.com", "myyahoo.com"],
        servers: &[
            server(Protocol::Imap, "imap.mail.yahoo.com", 993, false, 4993),
            server(Protocol::Pop, "pop.mail.yahoo.com", 995, false, 4995),
            server(Protocol::Smtp, "smtp.mail.yahoo.com", 465, false, 4465),
        ],
        permission_url: "https://api.login.yahoo.com/oauth2/request_auth",
        device_url: None,
        token_url: "https://api.login.yahoo.com/oauth2/get_token",
        scopes: Scopes {
            imap: "",
            pop: "",
            smtp: "",
            always: "mail-w",
        },
        client_secret: ClientSecret::Perhaps,
        redirect_uri: "http://localhost:8084",
        registration: messages::REGISTER_AT_YAHOO,
    },
    Preset {
        name: "aol",
        title: "AOL Mail",
        domains: &["aol.com", "aim.com"],
        servers: &[
            server(Protocol::Imap, "imap.aol.com", 993, false, 5993),
            server(Protocol::Pop, "pop.aol.com", 995, false, 5995),
            server(Protocol::Smtp, "smtp.aol.com", 465, false, 5465),
        ],
        permission_url: "https://api.login.aol.com/oauth2/request_auth",
        device_url: None,
        token_url: "https://api.login.aol.com/oauth2/get_token",
        scopes: Scopes {
            imap: "",
            pop: "",
            smtp: "",
            always: "mail-w",
        },
        client_secret: ClientSecret::Perhaps,
        redirect_uri: "http://localhost:8085",
        registration: messages::REGISTER_AT_AOL,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_name_their_provider() {
        let name = |domain: &str| Preset::of_domain(domain).map(|preset| preset.name);
        for (domain, preset) in [
            ("gmail.com", Some("gmail")),
            ("GoogleMail.com", Some("gmail")),
            ("hotmail.com", Some("outlook")),
            ("live.co.uk", Some("outlook")),
            ("outlook.com.br", Some("outlook")),
            ("yahoo.de", Some("yahoo")),
            ("aol.com", Some("aol")),
            ("fastmail.fm", Some("fastmail")),
            ("yahoo.evil.example", None),
            ("notgmail.com", None),
            ("example.com", None),
            ("", None),
        ] {
            assert_eq!(name(domain), preset, "{domain}");
        }
    }

    #[test]
    fn scopes_are_those_that_are_needed() {
        let outlook = Preset::of_name("Outlook").unwrap();
        assert_eq!(
            outlook.scope(&[Protocol::Smtp, Protocol::Imap]),
            "https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send offline_access"
        );
        let gmail = Preset::of_server("IMAP.gmail.com").unwrap();
        assert_eq!(gmail.scope(&[Protocol::Pop]), "https://mail.google.com/");
    }

    #[test]
    fn every_preset_makes_a_configuration_without_problems() {
        for preset in Preset::all() {
            let mut text = String::new();
            for server in preset.servers {
                text += &format!(
                    "[{}-{}]\nserver_address = {}\nserver_port = {}\nserver_starttls = {}\nlocal_address = 127.0.0.1\n",
                    server.protocol.name(),
                    server.local_port,
                    server.host,
                    server.port,
                    server.starttls
                );
            }
            text += &format!(
                "[me@example.com]\npermission_url = {}\ntoken_url = {}\noauth2_scope = {}\nredirect_uri = {}\nclient_id = x\n",
                preset.permission_url,
                preset.token_url,
                preset.scope(&[Protocol::Imap, Protocol::Pop, Protocol::Smtp]),
                preset.redirect_uri
            );
            let loaded = crate::settings::Settings::read(text.as_bytes());
            let problems: Vec<_> = loaded.problems.iter().map(|p| &p.text).collect();
            assert!(problems.is_empty(), "{}: {problems:?}", preset.name);
        }
    }
}
