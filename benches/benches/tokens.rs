//! What tokens cost: a login that finds one saved, the key derivation in it, and saving.

use divan::{Bencher, black_box};
use futures_lite::future::block_on;
use oauth::{
    authenticator::{Attempt, Authenticator, NEW_ITERATIONS, Parts, SystemClock},
    consent::{CodeAnswer, CodeRequest, Consent, ConsentError, DeviceRequest},
    crypt::{Kdf, LEGACY_ITERATIONS},
    settings::{Settings, TokenFormat},
    store::{Change, FileStore, Saver, Store},
    transport::{Answer, Request, Transport, TransportError},
};
use proxy_proto::{BoxFuture, Protocol, Secret};
use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

fn main() {
    divan::main();
}

const ACCOUNTS: usize = 400;
const PASSWORD: &str = "a-local-password";

/// PBKDF2 alone.
#[divan::bench(args = [LEGACY_ITERATIONS, NEW_ITERATIONS], sample_count = 20, sample_size = 1)]
fn key_derivation(bencher: Bencher<'_, '_>, iterations: u32) {
    let kdf = Kdf::fresh(iterations).expect("randomness");
    let password = Secret::new(PASSWORD);
    bencher.bench(|| kdf.derive(black_box(&password)));
}

/// A login with a saved token, the process's first of its account: it pays for the key derivation.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn first_login(bencher: Bencher<'_, '_>) {
    let file = File::with_tokens();
    bencher
        .with_inputs(|| file.authenticator())
        .bench_values(|authenticator| log_in(&authenticator));
}

/// Every further one: the key is in memory.
#[divan::bench]
fn later_login(bencher: Bencher<'_, '_>) {
    let file = File::with_tokens();
    let authenticator = file.authenticator();
    log_in(&authenticator);
    bencher.bench(|| log_in(&authenticator));
}

/// 1,000 saves of new tokens into a file of 400 accounts, each on disk before the next begins.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn thousand_saves(bencher: Bencher<'_, '_>) {
    let file = File::with_tokens();
    let store = FileStore::configuration(&file.path);
    let mut round = 0;
    bencher.bench_local(|| {
        for number in 0..1_000 {
            round += 1;
            let changes = [
                set("access_token", format!("v1:{round}{}", "t".repeat(2_000))),
                set("access_token_expiry", (2_000_000_000 + round).to_string()),
                set("refresh_token", format!("v1:{round}{}", "r".repeat(1_000))),
            ];
            store
                .save(&account(number % ACCOUNTS), &changes)
                .expect("saved");
        }
    });
}

fn set(option: &'static str, value: String) -> Change {
    Change {
        option,
        value: Some(value),
    }
}

fn account(number: usize) -> String {
    format!("user{number}@example.com")
}

/// A configuration of 400 accounts in a folder of its own; the one in the middle has tokens.
struct File {
    _folder: TempDir,
    path: PathBuf,
    settings: Arc<Settings>,
}

impl File {
    fn with_tokens() -> File {
        let mut text = "[IMAP-1993]\nserver_address = mail.example\nserver_port = 993\n".to_owned();
        for number in 0..ACCOUNTS {
            let _ = write!(
                text,
                "\n# account {number}\n[{}]\npermission_url = https://provider.example/auth\n\
                 token_url = https://provider.example/token\nclient_id = id\noauth2_scope = mail\n",
                account(number)
            );
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("emailproxy.config");
        fs::write(&path, &text).expect("written");
        let user = account(ACCOUNTS / 2);
        let kdf = Kdf::fresh(NEW_ITERATIONS).expect("randomness");
        let key = kdf.derive(&Secret::new(PASSWORD));
        let seal = |option: &'static str, length: usize| {
            let token = Secret::new("t".repeat(length));
            let value = key.seal(&user, option, &token, TokenFormat::AesGcm);
            set(option, value.expect("sealed"))
        };
        let changes = [
            set("token_salt", kdf.salt_text()),
            set("token_iterations", NEW_ITERATIONS.to_string()),
            seal("access_token", 2_000),
            set("access_token_expiry", "4000000000".to_owned()),
            seal("refresh_token", 1_000),
        ];
        FileStore::configuration(&path)
            .save(&user, &changes)
            .expect("saved");
        // a file that was changed a moment ago is read anew at each look
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        let opened = fs::File::options().write(true).open(&path);
        opened
            .and_then(|file| file.set_modified(long_ago))
            .expect("its own file");
        let settings = Settings::load(&path).settings.expect("usable");
        File {
            _folder: folder,
            path,
            settings: Arc::new(settings),
        }
    }

    fn authenticator(&self) -> Arc<Authenticator> {
        Authenticator::new(Parts {
            settings: self.settings.clone(),
            saver: Saver::new(Arc::new(FileStore::configuration(&self.path))),
            config_saver: None,
            consent: Arc::new(Nobody),
            transport: Arc::new(Nobody),
            spawn: Arc::new(|task| {
                thread::spawn(move || block_on(task));
            }),
            clock: Arc::new(SystemClock),
            new_iterations: NEW_ITERATIONS,
        })
        .expect("randomness")
    }
}

fn log_in(authenticator: &Arc<Authenticator>) {
    let attempt = Attempt {
        user: account(ACCOUNTS / 2).into(),
        password: Secret::new(PASSWORD),
        protocol: Protocol::Imap,
        client: Ipv4Addr::LOCALHOST.into(),
        rejected: None,
    };
    let token = block_on(authenticator.token(attempt));
    assert!(token.is_ok_and(|token| token.token.expose().len() == 2_000));
}

/// Neither user nor provider is asked for anything here.
struct Nobody;

impl Consent for Nobody {
    fn ask_code(&self, _: CodeRequest) -> BoxFuture<Result<CodeAnswer, ConsentError>> {
        Box::pin(async { Err(ConsentError::Unable("nobody is there".to_owned())) })
    }

    fn show_device(&self, _: DeviceRequest) -> Box<dyn oauth::consent::Shown> {
        Box::new(())
    }
}

impl Transport for Nobody {
    fn send(&self, _: Request) -> BoxFuture<Result<Answer, TransportError>> {
        Box::pin(async { Err(TransportError("nobody is there".to_owned())) })
    }
}
