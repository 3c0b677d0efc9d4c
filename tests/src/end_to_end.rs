//! The built program between a [`Sandbox`] and clients that speak over real sockets.
//!
//! A [`World`] is a sandbox, a configuration in a folder of its own, and the program as a child process on free
//! loopback ports. It is ended by [`World::end`], which also looks through everything the program said (it runs with
//! `--debug`) for passwords and tokens.

mod mail_client;
mod program;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
pub use mail_client::{Client, plain};
use program::Program;
pub use program::example;
use rustix::process::Signal;
use sandbox::{Protocol, Sandbox, Service, client};
use std::{
    fmt::Write as _,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

/// The account that every client here logs in to.
pub const USER: &str = "ada@example.org";
/// Its password at the provider, for the password flow.
const PROVIDER_PASSWORD: &str = "ada-at-the-provider";
/// The password that clients use where the flow leaves the choice to the user.
const LOCAL_PASSWORD: &str = "a local choice, 4711";
/// When a test gives up waiting for something that should have happened: far beyond what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A way to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// RFC 6749 §4.3.
    Password,
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 6749 §4.1, public client, PKCE; a [`sandbox::Person`] approves.
    Code,
}

impl Flow {
    /// The `grant_type` of its first token request.
    pub fn grant(self) -> &'static str {
        match self {
            Flow::Password => "password",
            Flow::ClientCredentials => "client_credentials",
            Flow::Code => "authorization_code",
        }
    }

    /// The password that opens the account.
    pub fn password(self) -> &'static str {
        match self {
            Flow::Password => PROVIDER_PASSWORD,
            Flow::ClientCredentials | Flow::Code => LOCAL_PASSWORD,
        }
    }
}

/// What the program's sessions run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Tasks.
    Smol,
    /// A thread for each.
    Std,
}

/// Makes two tests of each of these functions, which take an `end_to_end::Runtime`.
#[macro_export]
macro_rules! over_both_runtimes {
    ($($test:ident)*) => {
        mod smol {
            $(
                #[test]
                fn $test() {
                    super::$test($crate::end_to_end::Runtime::Smol);
                }
            )*
        }
        mod threads {
            $(
                #[test]
                fn $test() {
                    super::$test($crate::end_to_end::Runtime::Std);
                }
            )*
        }
    };
}

/// How a [`World`] is to be; start with [`World::with`].
pub struct Setup {
    runtime: Runtime,
    flow: Flow,
    scope: &'static str,
    starttls: bool,
    large_message: bool,
    options: Vec<(&'static str, &'static str)>,
    plugins: Vec<(&'static str, &'static str)>,
}

impl Setup {
    /// Asks for tokens of this scope instead of `mail`.
    #[must_use]
    pub fn scope(mut self, scope: &'static str) -> Self {
        self.scope = scope;
        self
    }

    /// Reaches the mail servers by STARTTLS (STLS) instead of implicit TLS.
    #[must_use]
    pub fn starttls(mut self) -> Self {
        self.starttls = true;
        self
    }

    /// Puts a message of 25 MB into the inbox.
    #[must_use]
    pub fn large_message(mut self) -> Self {
        self.large_message = true;
        self
    }

    /// Sets an option of `[emailproxy]`.
    #[must_use]
    pub fn option(mut self, name: &'static str, value: &'static str) -> Self {
        self.options.push((name, value));
        self
    }

    /// Puts a plugin into the lists of all three servers: its line there, and the script that this names.
    #[must_use]
    pub fn plugin(mut self, line: &'static str, source: &'static str) -> Self {
        self.plugins.push((line, source));
        self
    }

    /// Starts the sandbox and the program, and waits until it listens.
    pub fn start(self) -> World {
        World::start(&self)
    }
}

/// A sandbox, and the program in front of it.
pub struct World {
    /// The provider and the mail servers.
    pub sandbox: Sandbox,
    runtime: Runtime,
    flow: Flow,
    starttls: bool,
    config: PathBuf,
    ports: [u16; 3],
    program: Program,
}

impl World {
    /// One account that gets its tokens by `flow`, a server for each protocol.
    pub fn with(runtime: Runtime, flow: Flow) -> Setup {
        Setup {
            runtime,
            flow,
            scope: "mail offline_access",
            starttls: false,
            large_message: false,
            options: Vec::new(),
            plugins: Vec::new(),
        }
    }

    fn start(setup: &Setup) -> World {
        let sandbox = Sandbox::start(sandbox::Options {
            large_message: setup.large_message,
            ..sandbox::Options::default()
        })
        .expect("the sandbox starts");
        let config = sandbox.folder().join("emailproxy.config");
        for (line, source) in &setup.plugins {
            let name = line.split(' ').next().unwrap_or_default();
            fs::write(sandbox.folder().join(name), source).expect("writing a script");
        }
        // Between choosing a free port and the program's bind somebody else may take it.
        for _ in 0..5 {
            let ports = free_ports();
            fs::write(&config, configuration(setup, &sandbox, &ports))
                .expect("writing the configuration");
            let mut program = Program::start(setup.runtime, &config, sandbox.ca_file());
            if program.wait_listening(&ports[..3]) {
                let world = World {
                    sandbox,
                    runtime: setup.runtime,
                    flow: setup.flow,
                    starttls: setup.starttls,
                    config,
                    ports: [ports[0], ports[1], ports[2]],
                    program,
                };
                return world;
            }
            let said = program.said();
            assert!(said.contains("in use"), "the program ended at once: {said}");
        }
        panic!("five times in a row a port that was free was taken");
    }

    /// The port of the proxy for this protocol.
    pub fn port(&self, protocol: Protocol) -> u16 {
        self.ports[protocol as usize]
    }

    /// The mail service that the proxy connects to for this protocol.
    pub fn service(&self, protocol: Protocol) -> Service {
        match (protocol, self.starttls) {
            (Protocol::Imap, false) => Service::Imaps,
            (Protocol::Imap, true) => Service::Imap,
            (Protocol::Pop, false) => Service::Pops,
            (Protocol::Pop, true) => Service::Pop,
            (Protocol::Smtp, false) => Service::Smtps,
            (Protocol::Smtp, true) => Service::Submission,
        }
    }

    /// The path of the configuration that the program runs with.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A client that has read the greeting (and, in SMTP, said EHLO).
    pub fn client(&self, protocol: Protocol) -> Client {
        let mut client = Client::connect(protocol, self.port(protocol));
        client.greet();
        client
    }

    /// Logs in with the right password, playing the person at the browser where the flow needs one; the final answer.
    pub fn login(&self, client: &mut Client) -> String {
        if self.flow != Flow::Code {
            return client.login(self.flow.password());
        }
        let since = self.program.said().len();
        thread::scope(|scope| {
            let login = scope.spawn(|| client.login(self.flow.password()));
            // Only a login without a saved token asks for consent.
            let url = self.program.wait_for(|said| {
                login.is_finished()
                    || find_url(&said[since..], &self.sandbox.authorize_url()).is_some()
            });
            if let Some(url) = find_url(&url[since..], &self.sandbox.authorize_url()) {
                let visit = self
                    .sandbox
                    .person()
                    .approve(url)
                    .expect("the person reaches the last page");
                drop(visit); // its text follows the outcome, which the caller looks at
            }
            login
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A new client, logged in.
    pub fn opened(&self, protocol: Protocol) -> Client {
        let mut client = self.client(protocol);
        let answer = self.login(&mut client);
        assert!(client.is_success(&answer), "login: {answer}");
        client
    }

    /// Waits for a URL of the consent page behind what was said before `since` octets; that URL.
    pub fn consent_url(&self, since: usize) -> String {
        let base = self.sandbox.authorize_url();
        let said = self
            .program
            .wait_for(|said| find_url(&said[since..], &base).is_some());
        find_url(&said[since..], &base)
            .expect("it was just found")
            .to_owned()
    }

    /// Everything the program has said so far.
    pub fn said(&self) -> String {
        self.program.said()
    }

    /// The grant types of all token requests so far.
    pub fn grants(&self) -> Vec<String> {
        let requests = self.sandbox.log().token_requests();
        requests
            .into_iter()
            .map(|request| request.grant_type)
            .collect()
    }

    /// The SASL messages (decoded) that reached the mail servers, and whether they came through TLS.
    pub fn bearers(&self) -> Vec<(String, bool)> {
        let lines = self.sandbox.log().lines();
        let decoded = lines.iter().filter_map(|line| {
            let text = line.text();
            let last = text.rsplit(' ').next().unwrap_or_default();
            let message = String::from_utf8(BASE64.decode(last).ok()?).ok()?;
            message
                .contains("auth=Bearer ")
                .then_some((message, line.secure))
        });
        decoded.collect()
    }

    /// Waits until this holds for what the program has said; it is looked at again now and then, too.
    pub fn wait_for(&self, condition: impl Fn(&str) -> bool) -> String {
        self.program.wait_for(condition)
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// The resident memory of the program in KiB, where the system tells (Linux).
    pub fn resident_kib(&self) -> Option<u64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.program.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Ends the program gracefully and starts it again on the same ports.
    pub fn restart(&mut self) {
        self.program.signal(Signal::TERM);
        let status = self.program.wait_ended();
        self.check(status);
        self.program = Program::start(self.runtime, &self.config, self.sandbox.ca_file());
        let up = self.program.wait_listening(&self.ports);
        assert!(up, "it ended at once: {}", self.program.said());
    }

    /// Waits until the program has ended by itself.
    pub fn wait_ended(&mut self) -> ExitStatus {
        self.program.wait_ended()
    }

    /// Ends the program gracefully, and fails when its exit code is not 0, when it panicked, when a password reached a
    /// mail server, or when a password or token stands in what it said.
    pub fn end(mut self) {
        self.program.signal(Signal::TERM);
        let status = self.program.wait_ended();
        self.check(status);
    }

    /// The second half of [`World::end`], for a program that has been ended already.
    pub fn check(&mut self, status: ExitStatus) {
        let said = self.program.said();
        assert!(status.success(), "{status}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        let password = self.flow.password();
        for line in self.sandbox.log().lines() {
            assert!(
                !contains_secret(&line.text(), password),
                "a password at the mail server: {}",
                line.text()
            );
        }
        let mut secrets = vec![password.to_owned()];
        secrets.extend(
            [client::CONFIDENTIAL, client::DAEMON]
                .iter()
                .filter_map(|client| client.secret.map(Into::into)),
        );
        for (message, _) in self.bearers() {
            let token = message
                .split("Bearer ")
                .nth(1)
                .and_then(|rest| rest.split('\u{1}').next());
            secrets.extend(token.map(Into::into));
        }
        for request in self.sandbox.log().token_requests() {
            for name in ["code", "code_verifier", "refresh_token", "password"] {
                secrets.extend(request.parameter(name).map(Into::into));
            }
        }
        for secret in secrets {
            assert!(
                !contains_secret(&said, &secret),
                "a secret of {} octets is in the log",
                secret.len()
            );
        }
    }
}

/// Whether the text contains the secret as it is or in base64, wherever in the encoded message it began.
fn contains_secret(text: &str, secret: &str) -> bool {
    let encoded = (0..3).map(|offset| {
        let mut message = vec![0; offset];
        message.extend_from_slice(secret.as_bytes());
        let full = BASE64.encode(&message);
        // The characters that do not depend on what stood before and behind.
        let start = [0, 2, 3][offset];
        let end = full.trim_end_matches('=').len() - usize::from(message.len() % 3 != 0);
        full[start..end].to_owned()
    });
    text.contains(secret) || encoded.into_iter().any(|form| text.contains(&form))
}

fn find_url<'a>(said: &'a str, base: &str) -> Option<&'a str> {
    let start = said.find(&format!("{base}?"))?;
    let url = &said[start..];
    // A URL that has not been followed by anything yet may be incomplete.
    let end = url.find(|c: char| c.is_whitespace() || c == '"' || c == '\'')?;
    Some(url[..end].trim_end_matches(['.', ',', ')']))
}

fn configuration(setup: &Setup, sandbox: &Sandbox, ports: &[u16; 4]) -> String {
    let mut text = String::new();
    let upstreams = if setup.starttls {
        [sandbox.imap(), sandbox.pop(), sandbox.submission()]
    } else {
        [sandbox.imaps(), sandbox.pops(), sandbox.smtps()]
    };
    let mut plugins = String::new();
    if !setup.plugins.is_empty() {
        plugins.push_str("plugins =\n");
        for (line, _) in &setup.plugins {
            let _ = writeln!(plugins, "  {line}");
        }
    }
    for ((kind, port), upstream) in ["IMAP", "POP", "SMTP"].iter().zip(ports).zip(upstreams) {
        let _ = writeln!(
            text,
            "[{kind}-{port}]\nserver_address = localhost\nserver_port = {}\nserver_starttls = {}\nlocal_address = 127.0.0.1\n{plugins}",
            upstream.port(),
            if setup.starttls { "True" } else { "False" },
        );
    }
    let _ = writeln!(
        text,
        "[{USER}]\ntoken_url = {}\noauth2_scope = {}",
        sandbox.token_url(),
        setup.scope
    );
    let client = match setup.flow {
        Flow::Password => {
            text.push_str("oauth2_flow = password\n");
            client::CONFIDENTIAL
        }
        Flow::ClientCredentials => {
            text.push_str("oauth2_flow = client_credentials\n");
            client::DAEMON
        }
        Flow::Code => {
            let _ = writeln!(
                text,
                "permission_url = {}\nredirect_uri = http://localhost:{}",
                sandbox.authorize_url(),
                ports[3]
            );
            client::PUBLIC
        }
    };
    let _ = writeln!(text, "client_id = {}", client.id);
    if let Some(secret) = client.secret {
        let _ = writeln!(text, "client_secret = {secret}");
    }
    text.push_str("\n[emailproxy]\n");
    for (name, value) in &setup.options {
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}

/// Four ports that are free now: one for each protocol, one for the redirect. The program cannot be told to take any
/// free port, so they are sought below the range from which systems take ports for outgoing connections, and in another
/// place by each process and each call.
fn free_ports() -> [u16; 4] {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = CALLS.fetch_add(1, Ordering::Relaxed);
        let block = std::process::id().wrapping_mul(7).wrapping_add(turn) % 4500;
        let first = 14_000 + u16::try_from(block * 4).unwrap_or_default();
        let ports = [0, 1, 2, 3].map(|offset| first + offset);
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        if ports.iter().all(free) {
            return ports;
        }
    }
}
