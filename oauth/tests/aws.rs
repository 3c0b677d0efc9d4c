//! Tokens in AWS Secrets Manager, through the real SDK: against moto where `EMAILPROXY_TEST_MOTO` names its `moto_server`, and
//! against a few lines of HTTP for what moto does not do.
//!
//! The SDK takes its settings from the environment, so every test runs once more as a process of its own, with an environment made
//! for it.

#![cfg(feature = "aws")]

use futures_lite::future::block_on;
use oauth::store::{AwsStore, Change, Outcome, Saved, Saver, Store, StoreError};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Set in the second process: where the service is to be.
const PORT: &str = "EMAILPROXY_TEST_AWS_PORT";
/// The path of `moto_server`.
const MOTO: &str = "EMAILPROXY_TEST_MOTO";

/// Runs `body` in a process whose AWS settings, apart from these, lead to the port that `body` is given.
fn isolated(test: &str, settings: &[(&str, &str)], body: impl FnOnce(u16)) {
    if let Ok(port) = env::var(PORT) {
        return body(port.parse().unwrap());
    }
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env(PORT, port.to_string())
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        // The test's server is not to be asked through it.
        .env("http_proxy", "http://127.0.0.1:9")
        .envs(settings.iter().copied());
    assert!(command.status().unwrap().success(), "{test}");
}

const KEYS: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", "x"),
    ("AWS_SECRET_ACCESS_KEY", "x"),
    ("AWS_REGION", "eu-west-1"),
];

/// The same with moto at the port; says so where there is none.
fn with_moto(test: &str, body: impl FnOnce(Moto)) {
    match env::var(MOTO) {
        Ok(_) => isolated(test, KEYS, |port| body(Moto::start(port))),
        Err(_) => println!("skipped: {test}: {MOTO} names no moto_server"),
    }
}

/// A running moto; ended when dropped, and with it all that it holds.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    fn start(port: u16) -> Moto {
        let child = Command::new(env::var(MOTO).unwrap())
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut moto = Moto { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(moto.child.try_wait().unwrap().is_none(), "moto has ended");
            thread::sleep(Duration::from_millis(20));
        }
        moto
    }

    /// Asks without the SDK.
    fn call(&self, action: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST / HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: secretsmanager.{action}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/eu-west-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=0\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn held(&self, secret: &str) -> Value {
        // Left out, the stage means AWSCURRENT; moto then does not see that it has been moved.
        let body = json!({ "SecretId": secret, "VersionStage": "AWSCURRENT" });
        let answer = self.call("GetSecretValue", &body);
        serde_json::from_str(answer["SecretString"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set(option: &'static str, value: &str) -> Change {
    Change {
        option,
        value: Some(value.to_owned()),
    }
}

fn token(store: &AwsStore, heading: &str) -> Option<String> {
    store.load(heading).unwrap().access_token
}

#[test]
fn first_start_and_restart() {
    with_moto("first_start_and_restart", |moto| {
        let store = AwsStore::open("prod/mail").unwrap();
        store.prepare().unwrap();
        assert_eq!(moto.held("prod/mail"), json!({}));
        assert!(store.load("a@x").unwrap() == Saved::default());
        store
            .save(
                "a@x",
                &[set("access_token", "t"), set("refresh_token", "r")],
            )
            .unwrap();
        assert_eq!(token(&store, "a@x").as_deref(), Some("t"));

        let later = AwsStore::open("prod/mail").unwrap();
        later.prepare().unwrap();
        assert_eq!(token(&later, "a@x").as_deref(), Some("t"));
        later.save("a@x", &[set("access_token", "t2")]).unwrap();
        assert_eq!(
            moto.held("prod/mail"),
            json!({ "a@x": { "access_token": "t2", "refresh_token": "r" } })
        );

        let arn = moto.call("DescribeSecret", &json!({ "SecretId": "prod/mail" }))["ARN"].clone();
        let by_arn = AwsStore::open(arn.as_str().unwrap()).unwrap();
        by_arn.prepare().unwrap();
        assert_eq!(token(&by_arn, "a@x").as_deref(), Some("t2"));
        by_arn.save("b@x", &[set("access_token", "b")]).unwrap();
        assert_eq!(moto.held("prod/mail")["b@x"]["access_token"], "b");
        let other = AwsStore::open(&format!("{}x", arn.as_str().unwrap())).unwrap();
        let error = other.prepare().unwrap_err();
        assert!(error.0.contains("none can be created by ARN"), "{error}");
        let error = other.save("a@x", &[set("access_token", "t")]).unwrap_err();
        assert!(error.0.contains("none can be created by ARN"), "{error}");
    });
}

#[test]
fn a_save_at_the_first_login_creates_the_secret_too() {
    with_moto("a_save_at_the_first_login_creates_the_secret_too", |moto| {
        let store = AwsStore::open("mail").unwrap();
        store.save("a@x", &[set("access_token", "t")]).unwrap();
        assert_eq!(moto.held("mail"), json!({ "a@x": { "access_token": "t" } }));
    });
}

#[test]
fn replicas_lose_nothing_of_each_other() {
    with_moto("replicas_lose_nothing_of_each_other", |moto| {
        let replicas: Vec<_> = (0..3)
            .map(|replica| {
                thread::spawn(move || {
                    let saver = Saver::with_retry(
                        Arc::new(AwsStore::open("mail").unwrap()),
                        Duration::from_millis(10),
                        Duration::from_millis(100),
                    );
                    for number in 0..8 {
                        let heading = format!("{replica}-{number}@x");
                        block_on(saver.save(&heading, vec![set("access_token", &heading)]));
                    }
                    flush(&saver);
                })
            })
            .collect();
        for replica in replicas {
            replica.join().unwrap();
        }
        let held = moto.held("mail");
        for replica in 0..3 {
            for number in 0..8 {
                let heading = format!("{replica}-{number}@x");
                assert_eq!(held[&heading]["access_token"], *heading, "{heading}");
            }
        }
        assert_eq!(held.as_object().unwrap().len(), 24);
    });
}

#[test]
fn what_the_python_tool_has_saved_is_read_and_stays_readable_for_it() {
    let test = "what_the_python_tool_has_saved_is_read_and_stays_readable_for_it";
    with_moto(test, |moto| {
        let python = json!({
            "a@x": {
                "token_salt": "c2FsdA==", "token_iterations": "1200000", "access_token": "gA", "access_token_expiry": "1700000000",
                "refresh_token": "gR", "last_activity": "1699999999"
            },
            "b@x": { "token_salt": "c2FsdA==", "refresh_token": "gB" },
            "note": "mine"
        });
        let body = json!({ "Name": "mail", "SecretString": python.to_string() });
        moto.call("CreateSecret", &body);
        let store = AwsStore::open("mail").unwrap();
        store.prepare().unwrap();
        let saved = store.load("a@x").unwrap();
        assert_eq!(saved.token_iterations.as_deref(), Some("1200000"));
        assert_eq!(saved.access_token_expiry.as_deref(), Some("1700000000"));
        assert_eq!(saved.refresh_token.as_deref(), Some("gR"));
        store
            .save(
                "a@x",
                &[
                    set("access_token", "gN"),
                    set("access_token_expiry", "1800000000"),
                ],
            )
            .unwrap();
        let mut expected = python;
        expected["a@x"]["access_token"] = json!("gN");
        expected["a@x"]["access_token_expiry"] = json!("1800000000");
        assert_eq!(moto.held("mail"), expected);
    });
}

#[test]
fn logins_go_on_while_the_service_is_away() {
    with_moto("logins_go_on_while_the_service_is_away", |moto| {
        let port = moto.port;
        let store = Arc::new(AwsStore::open("mail").unwrap());
        let saver = Saver::with_retry(store, Duration::from_millis(10), Duration::from_millis(200));
        let saved = block_on(saver.save("a@x", vec![set("access_token", "one")]));
        assert!(matches!(saved, Outcome::Written));
        drop(moto);
        let saved = block_on(saver.save("a@x", vec![set("refresh_token", "two")]));
        let Outcome::Pending(StoreError(why)) = saved else {
            panic!("saved without a service");
        };
        assert!(why.contains("127.0.0.1 cannot be reached"), "{why}");
        let still = block_on(saver.load("a@x")).unwrap();
        assert_eq!(still.refresh_token.as_deref(), Some("two"));
        let unknown = AwsStore::open("mail").unwrap().load("a@x");
        assert!(unknown.is_err_and(|error| error.0.contains("cannot be reached")));

        // It has forgotten everything, the secret too.
        let moto = Moto::start(port);
        flush(&saver);
        assert_eq!(
            moto.held("mail"),
            json!({ "a@x": { "refresh_token": "two" } })
        );
    });
}

fn flush(saver: &Saver) {
    let begin = Instant::now();
    loop {
        let unsaved = block_on(saver.flush());
        match unsaved.first() {
            None => return,
            Some(unsaved) => assert!(
                begin.elapsed() < Duration::from_secs(120),
                "{}",
                unsaved.error
            ),
        }
    }
}

/// A secret and who may do what with it, in a thread that ends with the process.
struct Service {
    denied: Vec<&'static str>,
    /// The versions' texts; the last is current, unless one is staged.
    versions: Vec<String>,
    staged: bool,
    calls: Vec<String>,
}

fn serve(port: u16, first: Option<&str>, denied: &[&'static str]) -> Arc<Mutex<Service>> {
    let service = Arc::new(Mutex::new(Service {
        denied: denied.to_vec(),
        versions: first.map(str::to_owned).into_iter().collect(),
        staged: false,
        calls: Vec::new(),
    }));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let state = service.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, state) = (stream.unwrap(), state.clone());
            thread::spawn(move || answer(stream, &state));
        }
    });
    service
}

/// One request to a connection.
fn answer(mut stream: TcpStream, state: &Mutex<Service>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    let Some(target) = headers.get("x-amz-target") else {
        return;
    };
    let action = target.rsplit('.').next().unwrap().to_owned();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let (status, answer) = state
        .lock()
        .unwrap()
        .act(&action, &serde_json::from_slice(&body).unwrap());
    let answer = answer.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{answer}",
        answer.len()
    )
    .unwrap();
}

impl Service {
    fn act(&mut self, action: &str, body: &Value) -> (u16, Value) {
        self.calls.push(action.to_owned());
        if self.denied.contains(&action) {
            let message = format!("User: someone is not authorized to perform: {action}");
            return (
                400,
                json!({ "__type": "AccessDeniedException", "Message": message }),
            );
        }
        let id = |number: usize| format!("{number:032}");
        match action {
            "GetSecretValue" => {
                let back = if body["VersionStage"] == "AWSPREVIOUS" {
                    2
                } else {
                    1
                };
                let back = back + usize::from(self.staged);
                match self.versions.len().checked_sub(back) {
                    Some(number) => (
                        200,
                        json!({ "SecretString": self.versions[number], "VersionId": id(number), "CreatedDate": 1.5 }),
                    ),
                    None => (400, json!({ "__type": "ResourceNotFoundException" })),
                }
            }
            "CreateSecret" | "PutSecretValue" => {
                if std::mem::take(&mut self.staged) {
                    self.versions.pop();
                }
                self.staged = body["VersionStages"].is_array();
                let text = body["SecretString"].as_str().unwrap();
                self.versions.push(text.to_owned());
                (200, json!({ "VersionId": id(self.versions.len() - 1) }))
            }
            "UpdateSecretVersionStage" => {
                self.staged = false;
                (200, json!({}))
            }
            _ => (400, json!({ "__type": "InvalidAction" })),
        }
    }
}

#[test]
fn a_missing_permission_is_named() {
    isolated("a_missing_permission_is_named", KEYS, |port| {
        let service = serve(port, None, &[]);
        for (denied, held) in [
            ("GetSecretValue", Some("{}")),
            ("PutSecretValue", Some("{}")),
            ("CreateSecret", None),
        ] {
            {
                let mut service = service.lock().unwrap();
                service.denied = vec![denied];
                service.versions = held.map(str::to_owned).into_iter().collect();
            }
            let store = AwsStore::open("mail").unwrap();
            let error = store.save("a@x", &[set("access_token", "t")]).unwrap_err();
            let permission = format!("`secretsmanager:{denied}`");
            assert!(error.0.contains(&permission), "{error}");
            assert!(error.0.contains("AWS secret mail"), "{error}");
            if denied != "PutSecretValue" {
                let error = store.prepare().unwrap_err();
                assert!(error.0.contains(&permission), "{error}");
            }
            if denied == "GetSecretValue" {
                let error = store.load("a@x").err().unwrap();
                assert!(error.0.contains(&permission), "{error}");
            }
        }
    });
}

#[test]
fn the_three_permissions_of_the_python_tool_are_enough() {
    let test = "the_three_permissions_of_the_python_tool_are_enough";
    isolated(test, KEYS, |port| {
        let service = serve(port, Some("{}"), &["UpdateSecretVersionStage"]);
        let store = AwsStore::open("mail").unwrap();
        store.save("a@x", &[set("access_token", "a")]).unwrap();
        store.save("b@x", &[set("access_token", "b")]).unwrap();
        let service = service.lock().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(service.versions.last().unwrap()).unwrap(),
            json!({ "a@x": { "access_token": "a" }, "b@x": { "access_token": "b" } })
        );
        let asked = |action: &str| service.calls.iter().filter(|call| *call == action).count();
        assert_eq!(asked("UpdateSecretVersionStage"), 1, "asked for once only");
    });
}

#[test]
fn settings_that_are_missing_are_named() {
    isolated("settings_that_are_missing_are_named", &[], |_| {
        let error = AwsStore::open("mail").err().unwrap();
        assert!(error.0.contains("AWS_REGION"), "{error}");
        // An ARN brings its region; what is missing then are credentials.
        let store =
            AwsStore::open("arn:aws:secretsmanager:eu-west-1:1:secret:mail-AbCdEf").unwrap();
        let error = store.load("a@x").err().unwrap();
        assert!(error.0.contains("AWS_ACCESS_KEY_ID"), "{error}");
        assert!(AwsStore::open("not a name").is_err());
    });
}

#[test]
fn a_profile_before_the_name_brings_its_credentials_and_region() {
    let test = "a_profile_before_the_name_brings_its_credentials_and_region";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    // An external program: the one part of the chain that needs a runtime around it.
    let keys = r#"{"Version": 1, "AccessKeyId": "x", "SecretAccessKey": "y"}"#;
    fs::write(
        &file,
        format!("[profile work]\nregion = eu-north-1\ncredential_process = echo '{keys}'\n"),
    )
    .unwrap();
    let settings = [("AWS_CONFIG_FILE", file.to_str().unwrap())];
    isolated(test, &settings, |port| {
        serve(port, Some(r#"{"a@x": {"access_token": "t"}}"#), &[]);
        let store = AwsStore::open("work||mail").unwrap();
        assert_eq!(store.describe(), "AWS secret mail");
        assert_eq!(token(&store, "a@x").as_deref(), Some("t"));
        assert!(AwsStore::open("mail").is_err(), "no region without it");
    });
}
