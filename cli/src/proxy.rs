//! One configuration, served: the authenticator and the runtime that belong together, and how they change at a reload.

use crate::{
    args::CacheStore,
    gate::Gate,
    messages::{common, counted, serve as texts},
    runtime::{Kind, Runtime},
    scripts, systemd,
};
use oauth::{
    authenticator::{
        self, AccountOverview, Authenticator, NEW_ITERATIONS, Parts, Spawn, SystemClock,
    },
    consent::Consent,
    settings::{Loaded, LocalStartTls, Problem, Server, Settings, Severity},
    store::{FileStore, Saver, Store},
    transport::Http,
};
use proxy_proto::{LocalTls, SessionConfig, UpstreamTls};
use proxy_runtime_smol::{
    BadNetwork, Bound, Counts, ListenError, ListenerConfig, Networks, OpenSession, Options,
    OutgoingProxy, Trust, server_config,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tracing::{Instrument, Level, error, info, warn};

/// Where configuration and tokens are.
#[derive(Clone, Debug)]
pub struct Source {
    /// `--config-file`.
    pub config_file: PathBuf,
    /// `--cache-store`.
    pub cache_store: Option<CacheStore>,
}

/// Why a configuration cannot be served: one line per problem, each with its place and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unusable(pub Vec<String>);

/// A running proxy. Dropping it ends it at once; [`Proxy::end`] does so gracefully.
pub struct Proxy {
    source: Source,
    runtime: Runtime,
    authenticator: Arc<Authenticator>,
    settings: Mutex<Arc<Settings>>,
}

impl Proxy {
    /// Reads the configuration, opens its listeners and serves. What cannot be served is named in the log and left out.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, a port cannot be bound, nothing is left to serve, or the cache store cannot be one.
    pub async fn start(
        source: Source,
        kind: Kind,
        consent: Arc<dyn Consent>,
    ) -> Result<Proxy, Unusable> {
        let cache = match source.cache_store.clone() {
            None => None,
            Some(store) => Some(smol::unblock(move || open(&store)).await?),
        };
        let settings = Arc::new(load(&source)?);
        let listeners = listeners(&source, &settings, Scripts::LeaveOut)?;
        let authenticator = authenticator(&source, settings.clone(), cache.clone(), consent)?;
        let options = options(&settings);
        let runtime = Runtime::start(kind, Arc::new(Gate(authenticator.clone())), options)
            .map_err(|error| Unusable(vec![texts::cannot_begin(error)]))?;
        apply(&runtime, &source, &settings, listeners).await?;
        announce(&source, &settings, &runtime.listeners());
        if let Some(cache) = cache {
            // Logins need not wait for it.
            smol::unblock(move || {
                if let Err(problem) = cache.prepare() {
                    error!("{problem}");
                }
            })
            .detach();
        }
        Ok(Proxy {
            source,
            runtime,
            authenticator,
            settings: Mutex::new(settings),
        })
    }

    /// Reads the configuration again. Listeners change by difference, open sessions go on.
    ///
    /// # Errors
    ///
    /// As for [`Proxy::start`]; in that case nothing has changed.
    pub async fn reload(&self) -> Result<(), Unusable> {
        let settings = Arc::new(load(&self.source)?);
        let listeners = listeners(&self.source, &settings, Scripts::Refuse)?;
        apply(&self.runtime, &self.source, &settings, listeners).await?;
        let limits = options(&settings);
        self.runtime
            .limit(limits.max_sessions, limits.max_sessions_per_address);
        self.authenticator.reload(settings.clone());
        announce(&self.source, &settings, &self.runtime.listeners());
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        Ok(())
    }

    /// Lets later sessions report their dialogue if debug logging is on now, and not if it is off.
    pub async fn refresh_dialogue(&self) {
        let settings = self
            .settings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let applied = match listeners(&self.source, &settings, Scripts::Refuse) {
            Ok(listeners) => apply(&self.runtime, &self.source, &settings, listeners).await,
            Err(unusable) => Err(unusable),
        };
        if let Err(Unusable(problems)) = applied {
            problems.iter().for_each(|problem| warn!("{problem}"));
        }
    }

    /// How the accounts stand. Stores are read off the executor.
    pub(crate) async fn accounts(&self) -> Vec<AccountOverview> {
        self.authenticator.accounts().await
    }

    /// What has been done for tokens since the start.
    pub(crate) fn token_counts(&self) -> authenticator::Counts {
        self.authenticator.counts()
    }

    /// The configuration as it was read last.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.lock();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where configuration and tokens are.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// What answers the logins.
    pub fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }

    /// The open listeners.
    pub fn listeners(&self) -> Vec<Bound> {
        self.runtime.listeners()
    }

    /// What each listener has done since the start, by heading.
    pub fn counters(&self) -> Vec<(Arc<str>, Counts)> {
        self.runtime.counters()
    }

    /// The open sessions, the oldest first.
    pub fn open_sessions(&self) -> Vec<OpenSession> {
        self.runtime.open_sessions()
    }

    /// What is served, in a few words for a service manager.
    pub(crate) fn status(&self) -> String {
        let servers = self.listeners().len();
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let accounts = settings.accounts().count();
        texts::serving(counted(servers, "server"), counted(accounts, "account"))
    }

    /// Ends gracefully within about `grace`, and waits until tokens are saved.
    ///
    /// # Errors
    ///
    /// When tokens could not be saved: one line for each account.
    pub async fn end(&self, grace: Duration) -> Result<(), Vec<String>> {
        let stopped = self.runtime.shutdown(grace).await;
        if stopped.cut_off > 0 {
            let sessions = counted(stopped.cut_off, "session");
            warn!("{}", texts::cut_off(sessions));
        }
        let unsaved = self.authenticator.flush().await;
        if unsaved.is_empty() {
            return Ok(());
        }
        Err(unsaved
            .iter()
            .map(|lost| common::tokens_not_saved(&lost.heading, &lost.error))
            .collect())
    }
}

/// What answers logins, over the configuration and the open store of `--cache-store`.
pub(crate) fn authenticator(
    source: &Source,
    settings: Arc<Settings>,
    cache: Option<Arc<dyn Store>>,
    consent: Arc<dyn Consent>,
) -> Result<Arc<Authenticator>, Unusable> {
    let unusable = |error: &dyn std::fmt::Display| Unusable(vec![error.to_string()]);
    let spawn: Spawn = Arc::new(|flight| smol::spawn(flight.in_current_span()).detach());
    let config = Saver::new(Arc::new(FileStore::configuration(&source.config_file)));
    let (saver, config_saver) = match cache {
        None => (config, None),
        Some(cache) => (Saver::new(cache), Some(config)),
    };
    let transport = Http::new().map_err(|error| unusable(&error))?;
    Authenticator::new(Parts {
        settings,
        saver,
        config_saver,
        consent,
        transport: Arc::new(transport),
        spawn,
        clock: Arc::new(SystemClock),
        new_iterations: NEW_ITERATIONS,
    })
    .map_err(|error| unusable(&error))
}

/// Opens the store of `--cache-store`. Blocks.
pub(crate) fn open(store: &CacheStore) -> Result<Arc<dyn Store>, Unusable> {
    match store {
        CacheStore::File(path) => Ok(Arc::new(FileStore::cache(path))),
        CacheStore::Aws(id) => aws(id).map_err(|text| Unusable(vec![text])),
    }
}

#[cfg(feature = "aws")]
fn aws(id: &str) -> Result<Arc<dyn Store>, String> {
    match oauth::store::AwsStore::open(id) {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(texts::bad_cache_store(error)),
    }
}

#[cfg(not(feature = "aws"))]
fn aws(id: &str) -> Result<Arc<dyn Store>, String> {
    Err(texts::no_aws(id))
}

/// Reads the configuration file and reports what is wrong with it.
fn load(source: &Source) -> Result<Settings, Unusable> {
    let path = &source.config_file;
    if fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(Unusable(vec![texts::no_configuration(path.display())]));
    }
    let Loaded { settings, problems } = Settings::load(path);
    let settings = settings.filter(|settings| !settings.servers.is_empty());
    let mut fatal = Vec::new();
    for problem in &problems {
        let text = place(path, problem);
        match (problem.severity, &settings) {
            (Severity::Warning, _) => warn!("{text}"),
            (Severity::Error, Some(_)) => error!("{text}"),
            (Severity::Error, None) => fatal.push(text),
        }
    }
    settings.ok_or(Unusable(fatal))
}

/// `emailproxy.config:12:3: [SMTP-1587] what is wrong`.
pub(crate) fn place(path: &Path, problem: &Problem) -> String {
    let mut text = path.display().to_string();
    for number in [problem.line, problem.line.and(problem.column)]
        .into_iter()
        .flatten()
    {
        text.push_str(&format!(":{number}"));
    }
    text.push_str(": ");
    if let Some(section) = &problem.section {
        text.push_str(&format!("[{section}] "));
    }
    text + &problem.text
}

/// What holds for all listeners: the runtime's own limits where the file is silent.
fn options(settings: &Settings) -> Options {
    let mut options = Options::default();
    let from_file = &settings.options;
    options.max_sessions = from_file.max_sessions.or(options.max_sessions);
    options.max_sessions_per_address = from_file
        .max_sessions_per_address
        .or(options.max_sessions_per_address);
    options
}

/// What to do about a server whose plugins cannot be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scripts {
    /// The others are served.
    LeaveOut,
    /// Nothing changes: the server goes on with the scripts that it has.
    Refuse,
}

/// The listeners of all servers that can be served; the others are named in the log. None may be served while the outgoing proxy
/// cannot be read: connecting without it is not what was asked for.
fn listeners(
    source: &Source,
    settings: &Settings,
    faulty: Scripts,
) -> Result<Vec<ListenerConfig>, Unusable> {
    let path = &source.config_file;
    let through =
        outgoing_proxy(settings).map_err(|problem| Unusable(vec![place(path, &problem)]))?;
    let trust = Trust::new();
    let dialogue = tracing::enabled!(target: "emailproxy::dialogue", Level::DEBUG);
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    for server in &settings.servers {
        let scripts = scripts::filters(server, path).map_err(|text| ("plugins", text));
        let refused = scripts.is_err() && faulty == Scripts::Refuse;
        let made = scripts.and_then(|filters| {
            let mut listener = listener(server, &trust, dialogue)?;
            if filters.is_some() {
                let mut session = SessionConfig::clone(&listener.session);
                session.filters = filters;
                listener.session = Arc::new(session);
            }
            Ok(listener)
        });
        match made {
            Ok(mut listener) => {
                listener.outgoing_proxy.clone_from(&through);
                listeners.push(listener);
            }
            Err((option, text)) => {
                let problem = settings.problem(Severity::Error, &server.heading, option, text);
                let problem = place(path, &problem);
                if refused {
                    return Err(Unusable(vec![problem]));
                }
                problems.push(problem);
            }
        }
    }
    if listeners.is_empty() {
        problems.push(texts::no_server_left(path.display()));
        return Err(Unusable(problems));
    }
    problems
        .iter()
        .for_each(|problem| error!("{}", texts::left_out(problem)));
    Ok(listeners)
}

/// The proxy through which mail servers are reached.
pub(crate) fn outgoing_proxy(settings: &Settings) -> Result<Option<Arc<OutgoingProxy>>, Problem> {
    let Some(url) = &settings.options.outgoing_proxy else {
        return Ok(None);
    };
    match url.expose().parse::<OutgoingProxy>() {
        Ok(proxy) => Ok(Some(Arc::new(proxy))),
        Err(error) => Err(settings.problem(
            Severity::Error,
            "emailproxy",
            "outgoing_proxy",
            common::bad_value("outgoing_proxy", error),
        )),
    }
}

/// One server's listener, or the option that stands in its way and why.
pub(crate) fn listener(
    server: &Server,
    trust: &Trust,
    dialogue: bool,
) -> Result<ListenerConfig, (&'static str, String)> {
    let mut session = SessionConfig::new(server.protocol);
    session.dialogue = dialogue;
    session.upstream_tls = if server.server_starttls {
        UpstreamTls::StartTls
    } else {
        UpstreamTls::Implicit
    };
    session.local_tls = match (server.local_starttls, &server.local_tls) {
        (LocalStartTls::Off, None) => LocalTls::None,
        (LocalStartTls::Off, Some(_)) => LocalTls::Implicit,
        (LocalStartTls::Required, _) => LocalTls::StartTlsRequired,
        (LocalStartTls::Optional, _) => LocalTls::StartTlsOptional,
    };
    let upstream = trust
        .client_config(server.server_ca_path.as_deref())
        .map_err(|error| ("server_ca_path", error.to_string()))?;
    let mut listener = ListenerConfig::new(
        server.heading.clone(),
        server.port,
        server.server_address.as_str(),
        server.server_port,
        session,
        upstream,
    );
    listener.address.clone_from(&server.local_address);
    listener.ready = systemd::sockets_for(&server.heading, server.port);
    if let Some(local) = &server.local_tls {
        let config = server_config(&local.certificate, &local.key)
            .map_err(|error| ("local_certificate_path", error.to_string()))?;
        listener.local_tls = Some(config);
    }
    listener.allow_from = networks("allow_from", server.allow_from.as_deref())?;
    listener.proxy_protocol = networks("proxy_protocol", server.proxy_protocol.as_deref())?;
    Ok(listener)
}

fn networks(
    option: &'static str,
    list: Option<&str>,
) -> Result<Option<Networks>, (&'static str, String)> {
    list.map(str::parse)
        .transpose()
        .map_err(|error: BadNetwork| (option, common::of_option(option, error)))
}

async fn apply(
    runtime: &Runtime,
    source: &Source,
    settings: &Settings,
    listeners: Vec<ListenerConfig>,
) -> Result<(), Unusable> {
    runtime.apply(listeners).await.map_err(|errors| {
        let path = source.config_file.display();
        let place = |heading: &str| {
            let line = settings
                .servers
                .iter()
                .find(|server| &*server.heading == heading)
                .map(|server| server.line);
            line.map_or_else(|| path.to_string(), |line| format!("{path}:{line}"))
        };
        Unusable(
            errors
                .iter()
                .map(|error| format!("{}: {error}", place(heading(error))))
                .collect(),
        )
    })
}

fn heading(error: &ListenError) -> &str {
    match error {
        ListenError::Resolve { heading, .. }
        | ListenError::Bind { heading, .. }
        | ListenError::NoCertificate { heading }
        | ListenError::Duplicate { heading, .. } => heading,
        _ => "",
    }
}

/// Says what is served.
fn announce(source: &Source, settings: &Settings, open: &[Bound]) {
    let through = outgoing_proxy(settings).ok().flatten();
    for server in &settings.servers {
        let Some(bound) = open.iter().find(|bound| bound.heading == server.heading) else {
            continue;
        };
        let addresses: Vec<_> = bound.addresses.iter().map(ToString::to_string).collect();
        let local = match (server.local_starttls, &server.local_tls) {
            (LocalStartTls::Off, None) => texts::PLAINTEXT,
            (LocalStartTls::Off, Some(_)) => "TLS",
            (LocalStartTls::Required, _) => texts::STARTTLS_REQUIRED,
            (LocalStartTls::Optional, _) => texts::STARTTLS_OPTIONAL,
        };
        let upstream = match server.server_starttls {
            true => "STARTTLS",
            false => "TLS",
        };
        let upstream = match &through {
            Some(proxy) => texts::through(upstream, proxy),
            None => upstream.to_owned(),
        };
        info!(
            "{}",
            texts::serves(
                &server.heading,
                server.protocol.name(),
                addresses.join(" and "),
                local,
                &server.server_address,
                server.server_port,
                upstream,
            )
        );
    }
    let tokens = match &source.cache_store {
        None => source.config_file.display().to_string(),
        Some(CacheStore::File(path)) => path.display().to_string(),
        Some(CacheStore::Aws(id)) => texts::in_aws(id),
    };
    let servers = settings.servers.iter();
    for warning in systemd::unused_sockets(servers.map(|one| (&*one.heading, one.port))) {
        warn!("{warning}");
    }
    let accounts = counted(settings.accounts().count(), "account");
    info!("{}", texts::configured(accounts, tokens));
}
