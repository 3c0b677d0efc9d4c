//! What is wanted: from the command line, from what is known of the provider, and from whoever sits at the terminal.

use super::{
    AddArgs, Failure,
    ask::{self, Terminal},
    autoconfig, plan,
};
use crate::messages::{add as texts, sentence};
use oauth::{
    presets::{ClientSecret, Preset},
    settings::check_login_name,
};
use proxy_proto::{Protocol, Secret};
use url::Url;

/// A mail server at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) protocol: Protocol,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) starttls: bool,
}

/// Where a provider's consent and tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) permission_url: String,
    pub(super) token_url: String,
    pub(super) scope: String,
}

/// All that an account needs.
pub(super) struct Wish {
    pub(super) address: String,
    pub(super) servers: Vec<Wanted>,
    pub(super) endpoints: Endpoints,
    pub(super) device: bool,
    pub(super) redirect_uri: String,
    pub(super) client_id: String,
    pub(super) client_secret: Option<Secret>,
}

/// A server and its local port.
pub(super) struct Wanted {
    pub(super) remote: Remote,
    /// As asked for; else a free one from `usual_port` on.
    pub(super) local_port: Option<u16>,
    pub(super) usual_port: u16,
}

fn wrong<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Wrong(text.into()))
}

/// Completes what the command line says.
pub(super) fn wish(
    options: &AddArgs,
    existing: &[u8],
    terminal: &mut Terminal,
) -> Result<Wish, Failure> {
    let address = address(options, existing, terminal)?;
    let domain = address
        .rsplit('@')
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let preset = match &options.preset {
        Some(name) => match Preset::of_name(name) {
            Some(preset) => Some(preset),
            None => {
                let names: Vec<_> = Preset::all().iter().map(|preset| preset.name).collect();
                return wrong(texts::no_preset(name, names.join(", ")));
            }
        },
        None => Preset::of_domain(&domain),
    };
    let mut protocols = protocols(options);
    let mut remotes = named(options)?;
    let mut endpoints = None;
    let missing = |remotes: &[Remote], protocol: &Protocol| {
        !remotes.iter().any(|remote| remote.protocol == *protocol)
    };
    if let Some(preset) = preset {
        for server in preset.servers {
            if missing(&remotes, &server.protocol) {
                remotes.push(Remote {
                    protocol: server.protocol,
                    host: server.host.to_owned(),
                    port: server.port,
                    starttls: server.starttls,
                });
            }
        }
    } else if protocols.iter().any(|one| missing(&remotes, one)) {
        match looked_up(options, &domain, terminal) {
            Ok(found) => {
                endpoints = found.endpoints;
                for remote in found.servers {
                    if missing(&remotes, &remote.protocol) {
                        remotes.push(remote);
                    }
                }
            }
            // Somebody is there who may know them.
            Err(Failure::Failed(why)) if terminal.is_there() => {
                terminal.show(&format!("{}\n", sentence(&why)))?;
            }
            Err(Failure::Wrong(_)) if terminal.is_there() => {}
            Err(failure) => return Err(failure),
        }
        let asked = protocols.iter().filter(|one| missing(&remotes, one));
        for protocol in asked.copied().collect::<Vec<_>>() {
            remotes.extend(asked_server(protocol, terminal)?);
        }
        if terminal.is_there() {
            // No answer: that one is left out.
            protocols.retain(|one| !missing(&remotes, one));
        }
    }
    if protocols.is_empty() {
        return wrong(texts::NO_SERVER_NAMED);
    }
    remotes.retain(|remote| protocols.contains(&remote.protocol));
    if let Some(protocol) = protocols.iter().find(|one| missing(&remotes, one)) {
        let text = texts::no_server_known(protocol.name(), domain, option(*protocol));
        return wrong(text);
    }
    let preset = preset.or_else(|| {
        let mut hosts = remotes.iter().map(|remote| remote.host.as_str());
        hosts.find_map(Preset::of_server)
    });
    let endpoints = complete_endpoints(options, preset, endpoints, &protocols, terminal)?;
    let client_id = client_id(options, preset, terminal)?;
    let client_secret = client_secret(options, preset, terminal)?;
    let redirect_uri = options.redirect_uri.clone().unwrap_or_else(|| {
        let usual = preset.map(|preset| preset.redirect_uri);
        usual.unwrap_or("http://localhost:8080").to_owned()
    });
    let servers = remotes
        .into_iter()
        .map(|remote| wanted(options, preset, remote));
    Ok(Wish {
        servers: servers.collect(),
        device: options.device,
        address,
        endpoints,
        redirect_uri,
        client_id,
        client_secret,
    })
}

fn address(options: &AddArgs, existing: &[u8], terminal: &mut Terminal) -> Result<String, Failure> {
    let address = match &options.address {
        Some(address) => Some(address.clone()),
        None => terminal.answer(texts::ASK_ADDRESS)?,
    };
    let Some(address) = address else {
        return wrong(texts::WHICH_ACCOUNT);
    };
    if let Err(why) = check_login_name(&address) {
        return wrong(texts::bad_account_address(address, why));
    }
    // Told before anything is asked.
    plan::refuse_known(existing, &address)?;
    Ok(address)
}

/// In the order in which they are shown.
fn protocols(options: &AddArgs) -> Vec<Protocol> {
    let chosen = |protocol| match options.protocols.is_empty() {
        true => protocol != Protocol::Pop,
        false => options.protocols.contains(&protocol),
    };
    let named = |protocol| match protocol {
        Protocol::Imap => options.imap_port.is_some() || options.imap_server.is_some(),
        Protocol::Pop => options.pop_port.is_some() || options.pop_server.is_some(),
        Protocol::Smtp => options.smtp_port.is_some() || options.smtp_server.is_some(),
    };
    [Protocol::Imap, Protocol::Pop, Protocol::Smtp]
        .into_iter()
        .filter(|protocol| chosen(*protocol) || named(*protocol))
        .collect()
}

/// Servers of the command line.
fn named(options: &AddArgs) -> Result<Vec<Remote>, Failure> {
    let mut remotes = Vec::new();
    for (protocol, text) in [
        (Protocol::Imap, &options.imap_server),
        (Protocol::Pop, &options.pop_server),
        (Protocol::Smtp, &options.smtp_server),
    ] {
        let Some(text) = text else {
            continue;
        };
        match remote(protocol, text) {
            Ok(remote) => remotes.push(remote),
            Err(why) => return wrong(texts::bad_argument(option(protocol), text, why)),
        }
    }
    Ok(remotes)
}

/// The option that names a server.
fn option(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "--imap-server",
        Protocol::Pop => "--pop-server",
        Protocol::Smtp => "--smtp-server",
    }
}

/// A server from `HOST:PORT`.
fn remote(protocol: Protocol, text: &str) -> Result<Remote, String> {
    let parts = text.rsplit_once(':');
    let port = parts.and_then(|(_, port)| port.parse().ok());
    let (Some((host, _)), Some(port @ 1_u16..)) = (parts, port) else {
        return Err(texts::write_host_and_port(example(protocol)));
    };
    Ok(Remote {
        protocol,
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
        starttls: matches!(
            (protocol, port),
            (Protocol::Imap, 143) | (Protocol::Pop, 110) | (Protocol::Smtp, 25 | 587)
        ),
    })
}

fn example(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "imap.example.com:993",
        Protocol::Pop => "pop.example.com:995",
        Protocol::Smtp => "smtp.example.com:465",
    }
}

/// A server as it is typed at the terminal; `None` where nobody is there, or nothing is typed.
fn asked_server(protocol: Protocol, terminal: &mut Terminal) -> Result<Option<Remote>, Failure> {
    let question = texts::ask_server(protocol.name(), example(protocol));
    loop {
        let Some(answer) = terminal.answer(&question)? else {
            return Ok(None);
        };
        match remote(protocol, &answer) {
            Ok(remote) => return Ok(Some(remote)),
            Err(why) => terminal.show(&format!("{answer}: {why}\n"))?,
        }
    }
}

/// Asks the network for a domain that is not known, if the user agrees.
fn looked_up(
    options: &AddArgs,
    domain: &str,
    terminal: &mut Terminal,
) -> Result<autoconfig::Found, Failure> {
    if let Some(url) = &options.autoconfig_url {
        return autoconfig::look_up(std::slice::from_ref(url), domain, terminal);
    }
    let places = autoconfig::places(domain);
    let agreed =
        options.yes || terminal.is_there() && terminal.agrees(&texts::ask_look_up(domain))?;
    if agreed {
        return autoconfig::look_up(&places, domain, terminal);
    }
    wrong(texts::provider_unknown(domain))
}

fn complete_endpoints(
    options: &AddArgs,
    preset: Option<&Preset>,
    published: Option<Endpoints>,
    protocols: &[Protocol],
    terminal: &mut Terminal,
) -> Result<Endpoints, Failure> {
    let known = match (preset, published) {
        (Some(preset), _) => {
            let permission_url = match options.device {
                false => preset.permission_url,
                true => match preset.device_url {
                    Some(url) => url,
                    None if options.permission_url.is_some() => "",
                    None => return wrong(texts::no_device_codes(preset.title)),
                },
            };
            let tenant = |url: &str| match &options.tenant {
                Some(tenant) => url.replace("/common/", &format!("/{tenant}/")),
                None => url.to_owned(),
            };
            Some(Endpoints {
                permission_url: tenant(permission_url),
                token_url: tenant(preset.token_url),
                scope: preset.scope(protocols),
            })
        }
        (None, published) => published.filter(|_| !options.device),
    };
    if options.tenant.is_some()
        && !known
            .as_ref()
            .is_some_and(|known| known.token_url.contains("microsoftonline"))
    {
        return wrong(texts::TENANT_OF_OTHERS);
    }
    let mut told = false;
    let mut of = |given: &Option<String>, known: Option<&String>, option: &str| {
        let known = given.as_ref().or(known).filter(|text| !text.is_empty());
        if let Some(known) = known {
            return Ok(known.clone());
        }
        if terminal.is_there() && !std::mem::replace(&mut told, true) {
            terminal.show(&format!("{}\n", texts::ADDRESSES_UNKNOWN))?;
        }
        let question = match option {
            "--permission-url" if options.device => texts::ASK_DEVICE_URL,
            "--permission-url" => texts::ASK_PERMISSION_URL,
            "--token-url" => texts::ASK_TOKEN_URL,
            _ => texts::ASK_SCOPE,
        };
        while let Some(answer) = terminal.answer(question)? {
            if option == "--scope" || Url::parse(&answer).is_ok() {
                return Ok(answer);
            }
            terminal.show(&format!("{answer}: {}\n", texts::NO_URL))?;
        }
        wrong(texts::addresses_missing(option))
    };
    let known = known.as_ref();
    let endpoints = Endpoints {
        permission_url: of(
            &options.permission_url,
            known.map(|known| &known.permission_url),
            "--permission-url",
        )?,
        token_url: of(
            &options.token_url,
            known.map(|known| &known.token_url),
            "--token-url",
        )?,
        scope: of(&options.scope, known.map(|known| &known.scope), "--scope")?,
    };
    for (option, url) in [
        ("--permission-url", &endpoints.permission_url),
        ("--token-url", &endpoints.token_url),
    ] {
        if Url::parse(url).is_err() {
            return wrong(texts::bad_argument(option, url, texts::NO_URL));
        }
    }
    Ok(endpoints)
}

fn client_id(
    options: &AddArgs,
    preset: Option<&Preset>,
    terminal: &mut Terminal,
) -> Result<String, Failure> {
    if let Some(id) = &options.client_id {
        return Ok(id.trim().to_owned());
    }
    let how = preset.map_or(texts::REGISTER, |preset| preset.registration);
    if terminal.is_there() {
        let wanted = sentence(&texts::client_id_wanted(how));
        terminal.show(&format!("{wanted}\n"))?;
    }
    match terminal.answer(texts::ASK_CLIENT_ID)? {
        Some(id) => Ok(id),
        None => wrong(texts::client_id_missing(how)),
    }
}

fn client_secret(
    options: &AddArgs,
    preset: Option<&Preset>,
    terminal: &mut Terminal,
) -> Result<Option<Secret>, Failure> {
    if options.client_secret_stdin {
        return ask::secret_from_input().map(Some);
    }
    let kind = preset.map_or(ClientSecret::Perhaps, |preset| preset.client_secret);
    // Who names the id on the command line says there whether there is a secret.
    match kind {
        ClientSecret::Never => Ok(None),
        ClientSecret::Perhaps if options.client_id.is_some() => Ok(None),
        ClientSecret::Perhaps => terminal.secret(texts::ASK_CLIENT_SECRET_IF_ANY),
        ClientSecret::Always => match terminal.secret(texts::ASK_CLIENT_SECRET)? {
            Some(secret) => Ok(Some(secret)),
            None => wrong(texts::CLIENT_SECRET_MISSING),
        },
    }
}

fn wanted(options: &AddArgs, preset: Option<&Preset>, remote: Remote) -> Wanted {
    let (local_port, usual) = match remote.protocol {
        Protocol::Imap => (options.imap_port, 6993),
        Protocol::Pop => (options.pop_port, 6995),
        Protocol::Smtp => (options.smtp_port, 6465),
    };
    let known = preset.and_then(|preset| preset.server(remote.protocol));
    Wanted {
        usual_port: known.map_or(usual, |server| server.local_port),
        local_port,
        remote,
    }
}
