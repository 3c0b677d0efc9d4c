//! What is written, and what to tell the user then.

use super::{
    Failure,
    gather::{Wanted, Wish},
};
use crate::{args::Args, messages::add as texts};
use oauth::{
    document::{Document, Unwritable},
    settings::{Server, Settings},
};
use proxy_proto::Protocol;
use std::{
    collections::HashSet,
    fmt::Write as _,
    net::{Ipv4Addr, TcpListener},
};

/// Sections to be added.
pub(super) struct Plan {
    address: String,
    servers: Vec<PlannedServer>,
    account: Vec<(&'static str, String)>,
}

struct PlannedServer {
    protocol: Protocol,
    /// The options of a new section; `None` where the file has such a server already.
    new: Option<Vec<(&'static str, String)>>,
    heading: String,
    local_port: u16,
    local_address: String,
    security: &'static str,
}

const LISTEN: &str = "127.0.0.1";

fn parsed(existing: &[u8]) -> Result<Document, Failure> {
    Document::parse(existing).map_err(|errors| {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        Failure::Wrong(texts::configuration_unreadable(first))
    })
}

/// An account that is there is never written over.
pub(super) fn refuse_known(existing: &[u8], address: &str) -> Result<(), Failure> {
    known(&parsed(existing)?, address)
}

fn known(document: &Document, address: &str) -> Result<(), Failure> {
    let folded = address.to_lowercase();
    let mut sections = document.sections();
    match sections.find(|section| section.name().to_lowercase() == folded) {
        Some(section) => {
            let text = texts::account_is_there(section.name(), section.line());
            Err(Failure::Wrong(text))
        }
        None => Ok(()),
    }
}

impl Plan {
    pub(super) fn new(wish: &Wish, existing: &[u8]) -> Result<Plan, Failure> {
        let document = parsed(existing)?;
        known(&document, &wish.address)?;
        let settings = Settings::read(existing).settings;
        let there = settings.as_ref().map_or(&[][..], |s| s.servers.as_slice());
        let mut taken: HashSet<u16> = document
            .sections()
            .filter_map(|section| section.name().rsplit_once('-')?.1.parse().ok())
            .collect();
        let mut servers = Vec::new();
        for wanted in &wish.servers {
            let server = planned(wanted, there, &taken)?;
            taken.insert(server.local_port);
            servers.push(server);
        }
        let mut account = vec![
            ("permission_url", wish.endpoints.permission_url.clone()),
            ("token_url", wish.endpoints.token_url.clone()),
            ("oauth2_scope", wish.endpoints.scope.clone()),
        ];
        match wish.device {
            true => account.push(("oauth2_flow", "device".to_owned())),
            false => {
                account.push(("redirect_uri", wish.redirect_uri.clone()));
                // The default, written so that the Python tool does the same with this file.
                account.push(("use_pkce", "True".to_owned()));
            }
        }
        account.push(("client_id", wish.client_id.clone()));
        if let Some(secret) = &wish.client_secret {
            account.push(("client_secret", secret.expose().to_owned()));
        }
        let plan = Plan {
            address: wish.address.clone(),
            servers,
            account,
        };
        plan.check(document)?;
        Ok(plan)
    }

    /// Whether what comes of it can be served.
    fn check(&self, mut document: Document) -> Result<(), Failure> {
        self.insert(&mut document)?;
        let loaded = Settings::read(&document.to_bytes());
        let Some(settings) = loaded.settings else {
            let errors: Vec<_> = loaded.problems.iter().map(ToString::to_string).collect();
            return Err(Failure::Wrong(errors.join("\n")));
        };
        let ours = |section: &str| {
            section == self.address || self.servers.iter().any(|one| one.heading == section)
        };
        if settings.account(&self.address).is_some() {
            return Ok(());
        }
        let mut problems = loaded.problems.iter();
        let why = problems.find(|problem| problem.section.as_deref().is_some_and(ours));
        Err(Failure::Wrong(why.map_or_else(
            || texts::ACCOUNT_UNUSABLE.to_owned(),
            |problem| problem.text.clone(),
        )))
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Makes the change, unless the file has got such an account or server meanwhile.
    pub(super) fn insert(&self, document: &mut Document) -> Result<(), Failure> {
        known(document, &self.address)?;
        let failed = |error: Unwritable| Failure::Wrong(texts::cannot_be_written(error));
        let servers = |name: &str| {
            let mut protocols = ["IMAP-", "POP-", "SMTP-"].iter();
            protocols.any(|protocol| name.starts_with(protocol))
        };
        for server in &self.servers {
            if let Some(options) = &server.new {
                document
                    .insert_section(&server.heading, &pairs(options), servers)
                    .map_err(failed)?;
            }
        }
        // Catch-alls and accounts are told by the @.
        let accounts = |name: &str| name.contains('@');
        document
            .insert_section(&self.address, &pairs(&self.account), accounts)
            .map_err(failed)
    }

    /// The new sections as they will stand there.
    pub(super) fn sections(&self) -> String {
        self.text(false)
    }

    /// The same for a screen.
    pub(super) fn sections_without_secret(&self) -> String {
        self.text(true)
    }

    fn text(&self, hide_secret: bool) -> String {
        let mut text = String::new();
        let mut section = |heading: &str, options: &[(&'static str, String)]| {
            let _ = writeln!(text, "[{heading}]");
            for (option, value) in options {
                match hide_secret && *option == "client_secret" {
                    true => text.push_str("client_secret = (not shown)\n"),
                    false => {
                        let _ = writeln!(text, "{option} = {value}");
                    }
                }
            }
            text.push('\n');
        };
        for server in &self.servers {
            if let Some(options) = &server.new {
                section(&server.heading, options);
            }
        }
        section(&self.address, &self.account);
        text
    }

    /// The mail program's settings, and the next steps.
    pub(super) fn advice(&self, args: &Args) -> String {
        let mut text = format!("\n{}\n", texts::SETTINGS);
        for server in &self.servers {
            let direction = match server.protocol {
                Protocol::Imap | Protocol::Pop => "incoming",
                Protocol::Smtp => "outgoing",
            };
            let host = match server.local_address.as_str() {
                "::" | "0.0.0.0" => LISTEN,
                address => address,
            };
            let protocol = server.protocol.name();
            let settings = texts::settings_of_server(
                protocol,
                direction,
                host,
                server.local_port,
                server.security,
            );
            let settings = match server.new {
                Some(_) => settings,
                None => texts::settings_of_old_server(settings, &server.heading),
            };
            let _ = writeln!(text, "  {settings}");
        }
        let user_name = texts::settings_user_name(&self.address);
        let _ = writeln!(text, "  {user_name}\n  {}", texts::SETTINGS_PASSWORD);
        let mut options = String::new();
        if args.config_file.as_os_str() != "emailproxy.config" {
            options = format!(" --config-file {}", args.config_file.display());
        }
        text.push_str("\nNext:\n");
        let steps = [
            (" check --connect".to_owned(), texts::NEXT_CHECK),
            (
                format!(" authorise {}", self.address),
                texts::NEXT_AUTHORISE,
            ),
            (String::new(), texts::NEXT_SERVE),
        ];
        let width = steps.iter().map(|(step, _)| step.chars().count()).max();
        let width = width.unwrap_or_default();
        for (step, what) in steps {
            let _ = writeln!(text, "  emailproxy{options}{step:width$}   {what}");
        }
        text
    }
}

fn pairs<'a>(options: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    options
        .iter()
        .map(|(option, value)| (*option, value.as_str()))
        .collect()
}

/// The server that is there, or a new one on a free port.
fn planned(
    wanted: &Wanted,
    there: &[Server],
    taken: &HashSet<u16>,
) -> Result<PlannedServer, Failure> {
    let remote = &wanted.remote;
    let same = |server: &&Server| {
        server.protocol == remote.protocol
            && server.server_address.eq_ignore_ascii_case(&remote.host)
            && server.server_port == remote.port
            && server.server_starttls == remote.starttls
            && wanted.local_port.is_none_or(|port| port == server.port)
    };
    if let Some(server) = there.iter().find(same) {
        return Ok(PlannedServer {
            protocol: server.protocol,
            new: None,
            heading: server.heading.to_string(),
            local_port: server.port,
            local_address: server.local_address.clone(),
            security: security(server),
        });
    }
    let local_port = match wanted.local_port {
        Some(port) if taken.contains(&port) => {
            return Err(Failure::Wrong(texts::port_of_another(port)));
        }
        Some(port) => port,
        None => free_port(wanted.usual_port, taken)?,
    };
    let mut options = vec![
        ("server_address", remote.host.clone()),
        ("server_port", remote.port.to_string()),
    ];
    if remote.starttls {
        options.push(("server_starttls", "True".to_owned()));
    }
    options.push(("local_address", LISTEN.to_owned()));
    Ok(PlannedServer {
        protocol: remote.protocol,
        new: Some(options),
        heading: format!("{}-{local_port}", remote.protocol.name()),
        local_port,
        local_address: LISTEN.to_owned(),
        security: "none",
    })
}

fn security(server: &Server) -> &'static str {
    use oauth::settings::LocalStartTls;
    match (&server.local_tls, server.local_starttls) {
        (None, _) => "none",
        (Some(_), LocalStartTls::Off) => "SSL/TLS",
        (Some(_), _) => "STARTTLS",
    }
}

/// The usual port, or the next one that neither the file nor a program on this machine has.
fn free_port(usual: u16, taken: &HashSet<u16>) -> Result<u16, Failure> {
    let free = |port: &u16| {
        !taken.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
    };
    (usual..=u16::MAX)
        .find(free)
        .ok_or_else(|| Failure::Failed(texts::no_free_port(usual)))
}
