//! The proxy as the console shows it.

use super::{
    house::{
        AccountShown, Ask, ConsentShown, EventShown, Gravity, House, ServerShown, SessionShown,
        Standing, State,
    },
    metrics,
};
use crate::{
    consent::{self, Waiting, WaitingConsent},
    log::{Log, recent},
    messages::{self, console as texts},
    proxy::Proxy,
};
use oauth::{
    authenticator::{self, AccountOverview},
    settings::{FlowKind, LocalStartTls, Server, Settings},
};
use proxy_proto::BoxFuture;
use proxy_runtime_smol::{Bound, Counts, OpenSession};
use smol::lock::Mutex;
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tracing::{Level, info};

/// Sessions and events that a page shows.
const SESSIONS: usize = 250;
const EVENTS: usize = 100;

/// Accounts are looked up at most so often. Where that takes long, because the store is a remote one, the pause is so many times as
/// long as it took, up to a bound.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_FACTOR: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A running proxy, from the console's side.
#[derive(Clone)]
pub(super) struct Live {
    shared: Arc<Shared>,
}

struct Shared {
    proxy: Weak<Proxy>,
    waiting: Waiting,
    log: Log,
    since: SystemTime,
    ending: AtomicBool,
    accounts: Mutex<Option<LookedUp>>,
}

struct LookedUp {
    accounts: Arc<[AccountOverview]>,
    until: Instant,
}

impl Live {
    pub(super) fn new(proxy: &Arc<Proxy>, waiting: Waiting, log: Log) -> Self {
        Live {
            shared: Arc::new(Shared {
                proxy: Arc::downgrade(proxy),
                waiting,
                log,
                since: SystemTime::now(),
                ending: AtomicBool::new(false),
                accounts: Mutex::new(None),
            }),
        }
    }

    /// The proxy is about to end.
    pub(super) fn end(&self) {
        self.shared.ending.store(true, Ordering::Relaxed);
    }
}

impl House for Live {
    fn state(&self) -> BoxFuture<State> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.state().await })
    }

    fn metrics(&self) -> BoxFuture<String> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let Some(proxy) = shared.proxy.upgrade() else {
                return String::new();
            };
            let accounts = shared.accounts(&proxy).await;
            metrics::text(&metrics::Figures {
                version: env!("CARGO_PKG_VERSION"),
                since: seconds(shared.since),
                servers: &proxy.counters(),
                tokens: &proxy.token_counts(),
                accounts: &accounts,
                waiting: shared.waiting.list().len(),
            })
        })
    }

    fn health(&self) -> Result<(), &'static str> {
        match self.shared.proxy.upgrade() {
            _ if self.shared.ending.load(Ordering::Relaxed) => Err(texts::IS_ENDING),
            Some(proxy) if !proxy.listeners().is_empty() => Ok(()),
            _ => Err(texts::NO_SERVER_IS_OPEN),
        }
    }

    fn attend(&self) -> Box<dyn Send + Sync> {
        Box::new(self.shared.waiting.attend())
    }

    fn answer(&self, id: u64, address: String) -> BoxFuture<Result<String, String>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let waiting = &shared.waiting;
            let asked = waiting.list().into_iter().find(|asked| asked.id == id);
            let account = asked.map_or_else(|| texts::IT.into(), |asked| asked.account);
            let answered = waiting.answer(id, &address).await;
            // How accounts stood a moment ago is of no interest any more.
            *shared.accounts.lock().await = None;
            match answered {
                Ok(granted) => Ok(match granted.other_person {
                    None => messages::consent::signed_in(account),
                    Some(other) => texts::signed_in_but(account, other),
                }),
                Err(text) => Err(text),
            }
        })
    }

    fn dismiss(&self, id: u64) -> bool {
        self.shared.waiting.dismiss(id)
    }

    fn qr(&self, id: u64) -> Option<String> {
        let asked = self.shared.waiting.list();
        let asked = asked.iter().find(|asked| asked.id == id)?;
        Some(asked.url().to_owned())
    }

    fn set_debug(&self, on: bool) -> BoxFuture<()> {
        let shared = self.shared.clone();
        Box::pin(async move {
            if shared.log.set_debug(on) {
                if let Some(proxy) = shared.proxy.upgrade() {
                    proxy.refresh_dialogue().await;
                }
                info!("{}", messages::serve::debug(on));
            }
        })
    }
}

impl Shared {
    async fn state(&self) -> State {
        let offset = self.log.offset();
        let mut state = State {
            version: env!("CARGO_PKG_VERSION"),
            now: seconds(SystemTime::now()),
            since: seconds(self.since),
            ending: self.ending.load(Ordering::Relaxed),
            debug: self.log.is_debug(),
            consents: self.waiting.list().iter().map(consent).collect(),
            accounts: Vec::new(),
            servers: Vec::new(),
            sessions: Vec::new(),
            sessions_open: 0,
            events: self
                .log
                .recent()
                .newest(EVENTS)
                .into_iter()
                .map(event)
                .collect(),
            offset,
        };
        let Some(proxy) = self.proxy.upgrade() else {
            return state;
        };
        state.accounts = self.accounts(&proxy).await.iter().map(account).collect();
        state.servers = servers(&proxy.settings(), &proxy.listeners(), &proxy.counters());
        let sessions = proxy.open_sessions();
        state.sessions_open = sessions.len();
        state.sessions = sessions.iter().rev().take(SESSIONS).map(session).collect();
        state
    }

    /// How the accounts stand, or did a moment ago. Whoever waits for its consent is marked from the list of those, which is always
    /// that of now.
    async fn accounts(&self, proxy: &Proxy) -> Arc<[AccountOverview]> {
        let mut looked_up = self.accounts.lock().await;
        let begun = Instant::now();
        if let Some(known) = looked_up.as_ref().filter(|known| known.until > begun) {
            return known.accounts.clone();
        }
        let accounts: Arc<[AccountOverview]> = proxy.accounts().await.into();
        let pause = begun.elapsed().saturating_mul(PAUSE_FACTOR);
        let pause = pause.clamp(PAUSE, LONGEST_PAUSE);
        *looked_up = Some(LookedUp {
            accounts: accounts.clone(),
            until: Instant::now() + pause,
        });
        accounts
    }
}

fn consent(asked: &WaitingConsent) -> ConsentShown {
    ConsentShown {
        id: asked.id,
        account: asked.account.to_string(),
        user: (asked.user != asked.account).then(|| asked.user.to_string()),
        client: asked.client.map(|client| client.to_string()),
        password_differs: asked.password_differs,
        begun: seconds(asked.begun),
        ends: seconds(asked.ends),
        ask: match asked.kind.clone() {
            consent::Ask::Browser { url, redirect_uri } => Ask::Browser { url, redirect_uri },
            consent::Ask::Device {
                url,
                complete_url,
                code,
            } => Ask::Device {
                url,
                complete_url,
                code,
            },
        },
    }
}

fn account(overview: &AccountOverview) -> AccountShown {
    let needs_user = matches!(
        overview.flow,
        FlowKind::AuthorizationCode | FlowKind::Device
    );
    let (standing, token_until, renewable) = match &overview.state {
        authenticator::Standing::Waiting => (Standing::Waiting, None, false),
        authenticator::Standing::Unauthorised if needs_user => {
            (Standing::Unauthorised, None, false)
        }
        authenticator::Standing::Unauthorised => (Standing::NeedsNoUser, None, true),
        authenticator::Standing::Authorised {
            expires,
            refreshable,
        } => (Standing::Authorised, expires.map(seconds), *refreshable),
    };
    AccountShown {
        name: overview.heading.to_string(),
        flow: overview.flow.name(),
        standing,
        token_until,
        renewable,
        last_used: overview.last_used.map(seconds),
        sessions: overview.open_sessions,
        trouble: overview.last_error.as_ref().map(|(_, text)| text.clone()),
    }
}

/// The open servers in the file's order.
fn servers(
    settings: &Settings,
    bound: &[Bound],
    counters: &[(Arc<str>, Counts)],
) -> Vec<ServerShown> {
    let shown = |server: &Server| {
        let bound = bound.iter().find(|bound| bound.heading == server.heading)?;
        let counts = counters
            .iter()
            .find(|(heading, _)| *heading == server.heading)
            .map_or_else(Counts::default, |(_, counts)| *counts);
        Some(ServerShown {
            heading: server.heading.to_string(),
            addresses: bound.addresses.iter().map(ToString::to_string).collect(),
            local: match (server.local_starttls, &server.local_tls) {
                (LocalStartTls::Off, None) => "plaintext",
                (LocalStartTls::Off, Some(_)) => "TLS",
                (LocalStartTls::Required, _) => "STARTTLS",
                (LocalStartTls::Optional, _) => "STARTTLS or plaintext",
            },
            upstream: format!("{}:{}", server.server_address, server.server_port),
            upstream_tls: match server.server_starttls {
                false => "TLS",
                true => "STARTTLS",
            },
            open: counts.open,
            accepted: counts.logins.accepted,
            failed: counts.logins.refused + counts.logins.temporary,
            to_clients: counts.to_clients,
            to_server: counts.to_server,
        })
    };
    settings.servers.iter().filter_map(shown).collect()
}

fn session(session: &OpenSession) -> SessionShown {
    SessionShown {
        id: session.id,
        server: session.listener.to_string(),
        client: session.client.to_string(),
        account: session.user.as_ref().map(ToString::to_string),
        since: seconds(session.since),
        to_client: session.to_client,
        to_server: session.to_server,
    }
}

fn event(line: recent::Line) -> EventShown {
    EventShown {
        number: line.number,
        time: seconds(line.time),
        level: match line.level {
            Level::ERROR => Gravity::Error,
            Level::WARN => Gravity::Warning,
            _ => Gravity::Info,
        },
        context: line.context,
        text: line.text,
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
