//! What surrounds an authenticator in these tests.

mod clock;
mod memory;
mod provider;
mod user;

use async_channel::unbounded;
pub(crate) use clock::Stopped;
use event_listener::Event;
use futures_lite::future::block_on;
pub(crate) use memory::Memory;
use oauth::{
    authenticator::{Attempt, Authenticator, Denial, Parts, Token},
    settings::Settings,
    store::{FileStore, Saver, Store},
    transport::Transport,
};
use provider::Provider;
use proxy_proto::{Protocol, Secret};
use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};
use user::{Front, User};

pub(crate) const USER: &str = "user@example.com";
/// Where the clock stands at first.
pub(crate) const START: u64 = 1_000_000;
/// Low, so that tests are fast.
pub(crate) const ITERATIONS: u32 = 50;

/// A configuration of one account.
pub(crate) fn config(options: &str) -> String {
    format!(
        "[IMAP-1993]\nserver_address = mail.example\nserver_port = 993\n\
         [{USER}]\ntoken_url = https://provider.example/token\nclient_id = id\n\
         oauth2_scope = mail\n{options}\n"
    )
}

pub(crate) const BY_CODE: &str =
    "permission_url = https://provider.example/auth\nclient_secret = cl1ent";
pub(crate) const BY_PASSWORD: &str = "oauth2_flow = password\nclient_secret = cl1ent";
pub(crate) const BY_CLIENT: &str = "oauth2_flow = client_credentials\nclient_secret = cl1ent";

pub(crate) struct World {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) store: Arc<Memory>,
    pub(crate) clock: Arc<Stopped>,
    pub(crate) user: User,
}

impl World {
    pub(crate) fn new(config: &str) -> World {
        World::with(config, Arc::default(), Arc::new(Stopped::new()))
    }

    /// Another process over what this one has saved.
    pub(crate) fn restart(&self, config: &str) -> World {
        World::with(config, self.store.clone(), self.clock.clone())
    }

    pub(crate) fn with(config: &str, store: Arc<Memory>, clock: Arc<Stopped>) -> World {
        let saver = Saver::new(store.clone());
        World::over(settings(config), saver, None, store, clock, None)
    }

    /// In which a real transport stands in for the provider.
    pub(crate) fn over_http(config: &str, transport: Arc<dyn Transport>) -> World {
        let store = Arc::<Memory>::default();
        let saver = Saver::new(store.clone());
        let clock = Arc::new(Stopped::new());
        World::over(settings(config), saver, None, store, clock, Some(transport))
    }

    /// Over another store.
    pub(crate) fn over_store(config: &str, store: Arc<dyn Store>) -> World {
        let clock = Arc::new(Stopped::new());
        let saver = Saver::new(store);
        World::over(settings(config), saver, None, Arc::default(), clock, None)
    }

    /// Over files: the configuration, where tokens live unless there is a cache.
    pub(crate) fn of_files(configuration: &Path, cache: Option<&Path>) -> World {
        let bytes = std::fs::read_to_string(configuration).expect("a configuration");
        let config = Saver::new(Arc::new(FileStore::configuration(configuration)));
        let (saver, config_saver) = match cache {
            None => (config, None),
            Some(path) => (Saver::new(Arc::new(FileStore::cache(path))), Some(config)),
        };
        let clock = Arc::new(Stopped::new());
        World::over(
            settings(&bytes),
            saver,
            config_saver,
            Arc::default(),
            clock,
            None,
        )
    }

    fn over(
        settings: Arc<Settings>,
        saver: Arc<Saver>,
        config_saver: Option<Arc<Saver>>,
        store: Arc<Memory>,
        clock: Arc<Stopped>,
        transport: Option<Arc<dyn Transport>>,
    ) -> World {
        let provider = Arc::new(Provider::new(store.log.clone()));
        let (asked, questions) = unbounded();
        let (shown, devices) = unbounded();
        let authenticator = Authenticator::new(Parts {
            settings,
            saver,
            config_saver,
            consent: Arc::new(Front { asked, shown }),
            transport: transport.unwrap_or_else(|| provider.clone()),
            spawn: Arc::new(|task| {
                thread::spawn(move || block_on(task));
            }),
            clock: clock.clone(),
            new_iterations: ITERATIONS,
        })
        .expect("randomness");
        World {
            authenticator,
            provider,
            store,
            clock,
            user: User { questions, devices },
        }
    }

    pub(crate) fn login(&self, password: &str) -> Result<Token, Denial> {
        block_on(self.authenticator.token(attempt(USER, password)))
    }

    /// The token of a login that has to succeed.
    pub(crate) fn token(&self, password: &str) -> String {
        match self.login(password) {
            Ok(token) => token.token.expose().to_owned(),
            Err(denial) => panic!("{denial:?}"),
        }
    }

    pub(crate) fn denied(&self, password: &str) -> String {
        match self.login(password) {
            Err(Denial::Denied(text)) => text,
            other => panic!("not denied: {:?}", other.err()),
        }
    }

    pub(crate) fn temporary(&self, password: &str) -> String {
        match self.login(password) {
            Err(Denial::Temporary(text)) => text,
            other => panic!("not temporary: {:?}", other.err()),
        }
    }

    /// A login whose token the server has just refused.
    pub(crate) fn rejected(&self, password: &str) -> Result<String, Denial> {
        let mut attempt = attempt(USER, password);
        attempt.rejected = Some("NO [AUTHENTICATIONFAILED]\r\nInvalid".to_owned());
        block_on(self.authenticator.token(attempt)).map(|token| token.token.expose().to_owned())
    }

    pub(crate) fn login_from(
        &self,
        user: &str,
        password: &str,
        client: &str,
    ) -> Result<Token, Denial> {
        let mut attempt = attempt(user, password);
        attempt.client = client.parse::<IpAddr>().expect("an address");
        block_on(self.authenticator.token(attempt))
    }

    /// A login in another thread.
    pub(crate) fn start(&self, password: &str) -> JoinHandle<Result<String, Denial>> {
        self.start_as(USER, password)
    }

    pub(crate) fn start_as(
        &self,
        user: &str,
        password: &str,
    ) -> JoinHandle<Result<String, Denial>> {
        let (authenticator, attempt) = (self.authenticator.clone(), attempt(user, password));
        thread::spawn(move || {
            block_on(authenticator.token(attempt)).map(|token| token.token.expose().to_owned())
        })
    }
}

pub(crate) fn attempt(user: &str, password: &str) -> Attempt {
    Attempt {
        user: user.into(),
        password: Secret::new(password),
        protocol: Protocol::Imap,
        client: "127.0.0.1".parse().expect("an address"),
        rejected: None,
    }
}

pub(crate) fn settings(config: &str) -> Arc<Settings> {
    let loaded = Settings::read(config.as_bytes());
    match loaded.settings {
        Some(settings) => Arc::new(settings),
        None => panic!("{:?}", loaded.problems),
    }
}

/// What happened, in its order: requests, and saves with the options they changed.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<String>>, Event)>);

impl Log {
    fn push(&self, line: String) {
        lock(&self.0.0).push(line);
        self.0.1.notify(usize::MAX);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        lock(&self.0.0).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
