//! One configuration, served: the authenticator and the runtime that belong together, and how they change at a reload.

use crate::gate::Gate;
use oauth::{
    authenticator::{Authenticator, NEW_ITERATIONS, Parts, Spawn, SystemClock},
    consent::Consent,
    settings::{Loaded, LocalStartTls, Problem, Server, Settings, Severity},
    store::{FileStore, Saver},
    transport::Http,
};
use proxy_proto::{LocalTls, SessionConfig, UpstreamTls};
use proxy_runtime_smol::{
    Bound, ListenError, ListenerConfig, Options, Runtime, Trust, server_config,
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
    /// `--cache-store`, where it is a file.
    pub cache_store: Option<PathBuf>,
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
    /// When the file cannot be read, a port cannot be bound, or nothing is left to serve.
    pub async fn start(source: Source, consent: Arc<dyn Consent>) -> Result<Proxy, Unusable> {
        let settings = Arc::new(load(&source)?);
        let listeners = listeners(&source, &settings)?;
        let spawn: Spawn = Arc::new(|flight| smol::spawn(flight.in_current_span()).detach());
        let config = Saver::new(Arc::new(FileStore::configuration(&source.config_file)));
        let (saver, config_saver) = match &source.cache_store {
            None => (config, None),
            Some(path) => (Saver::new(Arc::new(FileStore::cache(path))), Some(config)),
        };
        let transport = Http::new().map_err(|error| Unusable(vec![error.to_string()]))?;
        let authenticator = Authenticator::new(Parts {
            settings: settings.clone(),
            saver,
            config_saver,
            consent,
            transport: Arc::new(transport),
            spawn,
            clock: Arc::new(SystemClock),
            new_iterations: NEW_ITERATIONS,
        })
        .map_err(|error| Unusable(vec![error.to_string()]))?;
        let mut options = Options::default();
        if let Some(limit) = settings.options.max_sessions {
            options.max_sessions = Some(limit);
        }
        if let Some(limit) = settings.options.max_sessions_per_address {
            options.max_sessions_per_address = Some(limit);
        }
        let runtime = Runtime::start(Arc::new(Gate(authenticator.clone())), options)
            .map_err(|error| Unusable(vec![format!("cannot start threads: {error}")]))?;
        apply(&runtime, &source, &settings, listeners).await?;
        announce(&source, &settings, &runtime.listeners());
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
        let listeners = listeners(&self.source, &settings)?;
        apply(&self.runtime, &self.source, &settings, listeners).await?;
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
        let applied = match listeners(&self.source, &settings) {
            Ok(listeners) => apply(&self.runtime, &self.source, &settings, listeners).await,
            Err(unusable) => Err(unusable),
        };
        if let Err(Unusable(problems)) = applied {
            problems.iter().for_each(|problem| warn!("{problem}"));
        }
    }

    /// The open listeners.
    pub fn listeners(&self) -> Vec<Bound> {
        self.runtime.listeners()
    }

    /// Ends gracefully within about `grace`, and waits until tokens are saved.
    ///
    /// # Errors
    ///
    /// When tokens could not be saved: one line for each account.
    pub async fn end(&self, grace: Duration) -> Result<(), Vec<String>> {
        let stopped = self.runtime.shutdown(grace).await;
        if stopped.cut_off > 0 {
            warn!(
                "{} sessions did not end by themselves and were cut off",
                stopped.cut_off
            );
        }
        let unsaved = self.authenticator.flush().await;
        if unsaved.is_empty() {
            return Ok(());
        }
        Err(unsaved
            .iter()
            .map(|lost| {
                format!(
                    "the tokens of {} are not saved: {}",
                    lost.heading, lost.error
                )
            })
            .collect())
    }
}

/// Reads the configuration file and reports what is wrong with it.
fn load(source: &Source) -> Result<Settings, Unusable> {
    let path = &source.config_file;
    if fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(Unusable(vec![format!(
            "{}: there is no such file; copy the sample emailproxy.config there and fill in your servers and accounts, name another \
             file with --config-file, or have a look first with `emailproxy demo`",
            path.display()
        )]));
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
fn place(path: &Path, problem: &Problem) -> String {
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

/// The listeners of all servers that can be served; the others are named in the log.
fn listeners(source: &Source, settings: &Settings) -> Result<Vec<ListenerConfig>, Unusable> {
    let trust = Trust::new();
    let dialogue = tracing::enabled!(target: "emailproxy::dialogue", Level::DEBUG);
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    for server in &settings.servers {
        match listener(server, &trust, dialogue) {
            Ok(listener) => listeners.push(listener),
            Err(text) => problems.push(format!(
                "{}:{}: [{}] {text}",
                source.config_file.display(),
                server.line,
                server.heading
            )),
        }
    }
    if listeners.is_empty() {
        problems.push(format!(
            "{}: there is no server left to serve; add a section such as [IMAP-1993] with server_address and server_port",
            source.config_file.display()
        ));
        return Err(Unusable(problems));
    }
    problems
        .iter()
        .for_each(|problem| error!("{problem}; this server is left out"));
    Ok(listeners)
}

fn listener(server: &Server, trust: &Trust, dialogue: bool) -> Result<ListenerConfig, String> {
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
        .map_err(|error| error.to_string())?;
    let mut listener = ListenerConfig::new(
        server.heading.clone(),
        server.port,
        server.server_address.as_str(),
        server.server_port,
        session,
        upstream,
    );
    listener.address.clone_from(&server.local_address);
    if let Some(local) = &server.local_tls {
        let config =
            server_config(&local.certificate, &local.key).map_err(|error| error.to_string())?;
        listener.local_tls = Some(config);
    }
    Ok(listener)
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
    for server in &settings.servers {
        let Some(bound) = open.iter().find(|bound| bound.heading == server.heading) else {
            continue;
        };
        let addresses: Vec<_> = bound.addresses.iter().map(ToString::to_string).collect();
        let local = match (server.local_starttls, &server.local_tls) {
            (LocalStartTls::Off, None) => "plaintext",
            (LocalStartTls::Off, Some(_)) => "TLS",
            (LocalStartTls::Required, _) => "STARTTLS required",
            (LocalStartTls::Optional, _) => "STARTTLS optional",
        };
        info!(
            "[{}] serves {} at {} ({local}) for {}:{} ({})",
            server.heading,
            server.protocol.name(),
            addresses.join(" and "),
            server.server_address,
            server.server_port,
            if server.server_starttls {
                "STARTTLS"
            } else {
                "TLS"
            },
        );
    }
    let tokens = source.cache_store.as_ref().unwrap_or(&source.config_file);
    let accounts = settings.accounts().count();
    info!(
        "{accounts} {} configured; tokens are kept in {}",
        if accounts == 1 { "account" } else { "accounts" },
        tokens.display()
    );
}
