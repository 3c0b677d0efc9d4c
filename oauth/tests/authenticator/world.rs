//! What surrounds an authenticator in these tests.

use async_channel::{Receiver, Sender, unbounded};
use event_listener::Event;
use futures_lite::future::block_on;
use oauth::{
    authenticator::{Attempt, Authenticator, Clock, Denial, Parts, Token},
    consent::{
        CodeAnswer, CodeRequest, Consent, ConsentError, DeviceRequest, Granted, Outcome, Shown,
    },
    settings::Settings,
    store::{FileStore, Saved, Saver, Store, StoreError, Update},
    transport::{Answer, Request, Transport, TransportError},
};
use proxy_proto::{BoxFuture, Protocol, Secret};
use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use zeroize::Zeroizing;

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

/// Answers token requests by script; where the script ends, with `access-N` and `refresh-N` (N counts requests).
#[derive(Default)]
pub(crate) struct Provider(Arc<ProviderState>);

#[derive(Default)]
struct ProviderState {
    log: Log,
    script: Mutex<VecDeque<Result<(u16, String), String>>>,
    asked: Mutex<Vec<Asked>>,
    held: Mutex<bool>,
    changed: Event,
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) url: String,
    pub(crate) form: Option<HashMap<String, String>>,
}

impl Asked {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.form.as_ref()?.get(name).map(String::as_str)
    }
}

impl Provider {
    fn new(log: Log) -> Self {
        Provider(Arc::new(ProviderState {
            log,
            ..ProviderState::default()
        }))
    }

    pub(crate) fn answer(&self, status: u16, body: &str) {
        lock(&self.0.script).push_back(Ok((status, body.to_owned())));
    }

    pub(crate) fn fail(&self, why: &str) {
        lock(&self.0.script).push_back(Err(why.to_owned()));
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        lock(&self.0.asked).clone()
    }

    pub(crate) fn requests(&self) -> usize {
        lock(&self.0.asked).len()
    }

    pub(crate) fn last(&self) -> Asked {
        lock(&self.0.asked).last().cloned().expect("a request")
    }

    /// Answers nothing until [`Provider::release`].
    pub(crate) fn hold(&self) {
        *lock(&self.0.held) = true;
    }

    pub(crate) fn release(&self) {
        *lock(&self.0.held) = false;
        self.0.changed.notify(usize::MAX);
    }

    /// Until so many requests have come in.
    pub(crate) fn wait_for(&self, requests: usize) {
        block_on(async {
            loop {
                let changed = self.0.changed.listen();
                if self.requests() >= requests {
                    return;
                }
                changed.await;
            }
        });
    }
}

impl Transport for Provider {
    fn send(&self, request: Request) -> BoxFuture<Result<Answer, TransportError>> {
        let form = request.form.as_ref().map(|form| {
            url::form_urlencoded::parse(form.as_bytes())
                .into_owned()
                .collect::<HashMap<_, _>>()
        });
        let grant = form
            .as_ref()
            .and_then(|f| f.get("grant_type"))
            .map_or("other", |g| g);
        self.0.log.push(format!("request {grant}"));
        let number = {
            let mut asked = lock(&self.0.asked);
            asked.push(Asked {
                url: request.url,
                form,
            });
            asked.len()
        };
        self.0.changed.notify(usize::MAX);
        let answer = lock(&self.0.script).pop_front().unwrap_or_else(|| {
            Ok((
                200,
                format!(
                    r#"{{"access_token":"access-{number}","refresh_token":"refresh-{number}","expires_in":3600}}"#
                ),
            ))
        });
        let state = self.0.clone();
        Box::pin(async move {
            loop {
                let changed = state.changed.listen();
                if !*lock(&state.held) {
                    break;
                }
                changed.await;
            }
            match answer {
                Ok((status, body)) => Ok(Answer {
                    status,
                    body: Zeroizing::new(body.into_bytes()),
                }),
                Err(why) => Err(TransportError(why)),
            }
        })
    }
}

/// Sections in memory.
#[derive(Default)]
pub(crate) struct Memory {
    log: Log,
    sections: Mutex<HashMap<String, Saved>>,
    broken: Mutex<bool>,
}

impl Memory {
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    pub(crate) fn saved(&self, heading: &str) -> Saved {
        lock(&self.sections)
            .get(heading)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn put(&self, heading: &str, saved: Saved) {
        lock(&self.sections).insert(heading.to_owned(), saved);
    }

    pub(crate) fn edit(&self, heading: &str, edit: impl FnOnce(&mut Saved)) {
        edit(lock(&self.sections).entry(heading.to_owned()).or_default());
    }

    /// How many saves there were.
    pub(crate) fn saves(&self) -> usize {
        self.log
            .lines()
            .iter()
            .filter(|line| line.starts_with("save"))
            .count()
    }

    /// Until there have been so many.
    pub(crate) fn wait_for_saves(&self, saves: usize) {
        block_on(async {
            loop {
                let changed = self.log.0.1.listen();
                if self.saves() >= saves {
                    return;
                }
                changed.await;
            }
        });
    }

    pub(crate) fn set_broken(&self, broken: bool) {
        *lock(&self.broken) = broken;
    }
}

impl Store for Memory {
    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        Ok(self.saved(heading))
    }

    fn save_all(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError> {
        if *lock(&self.broken) {
            return Err(StoreError("the disk is full".to_owned()));
        }
        let mut sections = lock(&self.sections);
        let mut made = Vec::new();
        for update in updates {
            let heading = &update.heading;
            let section = sections.entry(heading.clone()).or_default();
            let fits = update.fits(section);
            made.push(fits);
            if !fits {
                continue;
            }
            section.apply(&update.changes);
            let options: Vec<String> = update
                .changes
                .iter()
                .map(|c| format!("{}{}", if c.value.is_some() { "" } else { "-" }, c.option))
                .collect();
            self.log
                .push(format!("save {heading}: {}", options.join(" ")));
        }
        Ok(made)
    }

    fn headings(&self) -> Result<Vec<String>, StoreError> {
        let mut headings: Vec<_> = lock(&self.sections).keys().cloned().collect();
        headings.sort();
        Ok(headings)
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

/// A clock that stands still, except that short waits (up to half a minute) pass at once.
pub(crate) struct Stopped {
    state: Arc<(Mutex<u64>, Event)>,
    slept: Mutex<Vec<u64>>,
}

impl Stopped {
    pub(crate) fn new() -> Self {
        Stopped {
            state: Arc::new((Mutex::new(START), Event::new())),
            slept: Mutex::default(),
        }
    }

    pub(crate) fn advance(&self, seconds: u64) {
        *lock(&self.state.0) += seconds;
        self.state.1.notify(usize::MAX);
    }

    /// Until so many waits of so many seconds have begun.
    pub(crate) fn wait_for_sleeps(&self, seconds: u64, count: usize) {
        block_on(async {
            loop {
                let changed = self.state.1.listen();
                if self.slept().iter().filter(|s| **s == seconds).count() >= count {
                    return;
                }
                changed.await;
            }
        });
    }

    /// The waits so far, in seconds.
    pub(crate) fn slept(&self) -> Vec<u64> {
        lock(&self.slept).clone()
    }
}

impl Clock for Stopped {
    fn now(&self) -> u64 {
        *lock(&self.state.0)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        let until = self.now() + time.as_secs();
        lock(&self.slept).push(time.as_secs());
        self.state.1.notify(usize::MAX);
        if time.as_secs() <= 30 {
            self.advance(time.as_secs());
            return Box::pin(async {});
        }
        let state = self.state.clone();
        Box::pin(async move {
            loop {
                let changed = state.1.listen();
                if *lock(&state.0) >= until {
                    return;
                }
                changed.await;
            }
        })
    }
}

/// Passes questions on to the test.
struct Front {
    asked: Sender<Question>,
    shown: Sender<DeviceRequest>,
}

/// A question, and the way to answer it.
pub(crate) struct Question {
    pub(crate) request: CodeRequest,
    answer: Sender<Result<CodeAnswer, ConsentError>>,
}

impl Question {
    /// The provider redirects with this query, after the state.
    pub(crate) fn redirect(self, query: &str) -> Receiver<Outcome> {
        let state = self.request.state.expose().to_owned();
        self.redirect_raw(&format!("http://localhost/?state={state}&{query}"))
    }

    pub(crate) fn redirect_raw(self, redirected: &str) -> Receiver<Outcome> {
        let (outcome, told) = async_channel::bounded(1);
        self.answer(Ok(CodeAnswer {
            redirected: redirected.to_owned(),
            redirect_uri: "http://localhost:4711".to_owned(),
            outcome,
        }));
        told
    }

    pub(crate) fn fail(self, why: &str) {
        self.answer(Err(ConsentError::Unable(why.to_owned())));
    }

    pub(crate) fn dismiss(self) {
        self.answer(Err(ConsentError::Dismissed));
    }

    fn answer(self, answer: Result<CodeAnswer, ConsentError>) {
        self.answer
            .send_blocking(answer)
            .expect("the authenticator waits");
    }
}

impl Consent for Front {
    fn ask_code(&self, request: CodeRequest) -> BoxFuture<Result<CodeAnswer, ConsentError>> {
        let (answer, answered) = async_channel::bounded(1);
        let _ = self.asked.try_send(Question { request, answer });
        Box::pin(async move {
            answered
                .recv()
                .await
                .unwrap_or_else(|_| Err(ConsentError::Unable("no answer".to_owned())))
        })
    }

    fn show_device(&self, request: DeviceRequest) -> Box<dyn Shown> {
        let _ = self.shown.try_send(request);
        Box::new(())
    }
}

/// The user: takes questions.
pub(crate) struct User {
    questions: Receiver<Question>,
    devices: Receiver<DeviceRequest>,
}

impl User {
    /// The next question; waits for it.
    pub(crate) fn question(&self) -> Question {
        self.questions.recv_blocking().expect("a question")
    }

    /// Consents to the next question, and sees success.
    pub(crate) fn consent(&self) {
        let told = self.question().redirect("code=the-c0de");
        assert_eq!(told.recv_blocking(), Ok(Ok(Granted::default())));
    }

    /// Whether nothing was asked.
    pub(crate) fn was_left_alone(&self) -> bool {
        self.questions.is_empty() && self.devices.is_empty()
    }

    pub(crate) fn device(&self) -> DeviceRequest {
        self.devices.recv_blocking().expect("a code")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
