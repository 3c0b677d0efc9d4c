//! The built program between a [`Sandbox`] and clients that speak over real sockets.
//!
//! A [`World`] is a sandbox, a configuration in a folder of its own, and the program as a child process on free
//! loopback ports. It is ended by [`World::end`], which also looks through everything the program said (it runs with
//! `--debug`) for passwords and tokens.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rustix::process::{Pid, Signal, kill_process};
use sandbox::{Protocol, Sandbox, Service, client};
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
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

/// The program as a child process; killed when dropped.
struct Program {
    child: Child,
    said: Arc<Said>,
}

#[derive(Default)]
struct Said {
    text: Mutex<String>,
    grown: Condvar,
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program {
    fn start(runtime: Runtime, config: &Path, ca_file: &Path) -> Program {
        let path = program();
        let mut command = Command::new(&path);
        command
            .args([
                "--no-gui",
                "--local-server-auth",
                "--debug",
                "--runtime",
                match runtime {
                    Runtime::Smol => "smol",
                    Runtime::Std => "std",
                },
                "--config-file",
            ])
            .arg(config)
            .current_dir(config.parent().unwrap_or(Path::new(".")))
            .env("SSL_CERT_FILE", ca_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for name in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let said = Arc::new(Said::default());
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe was asked for"));
        let sink = said.clone();
        thread::spawn(move || {
            let mut line = Vec::new();
            while lines
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                sink.lock().push_str(&String::from_utf8_lossy(&line));
                sink.grown.notify_all();
                line.clear();
            }
        });
        Program { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().clone()
    }

    /// Waits until the condition holds for what was said (it is looked at again now and then, too); what was said.
    fn wait_for(&self, condition: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut said = self.said.lock();
        while !condition(&said) {
            assert!(
                Instant::now() < end,
                "still waiting; the program said: {said}"
            );
            let tick = Duration::from_millis(50);
            said = self
                .said
                .grown
                .wait_timeout(said, tick)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        said.clone()
    }

    /// Whether all mail ports accept connections; false when the program ended instead.
    fn wait_listening(&mut self, ports: &[u16]) -> bool {
        let end = Instant::now() + PATIENCE;
        for port in ports {
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                if self.child.try_wait().expect("the child's state").is_some() {
                    return false;
                }
                assert!(
                    Instant::now() < end,
                    "not listening; the program said: {}",
                    self.said()
                );
                thread::sleep(Duration::from_millis(5));
            }
        }
        // Still there: it was not somebody else who answered.
        self.child.try_wait().expect("the child's state").is_none()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the program runs");
    }

    fn wait_ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                return status;
            }
            assert!(
                Instant::now() < end,
                "it does not end; it said: {}",
                self.said()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that cargo built beside this test: `target/<profile>/emailproxy`.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("tests are in target/<profile>/deps");
    let program = profile.join(format!("emailproxy{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.is_file(),
        "{} is missing; build it first: cargo build -p emailproxy",
        program.display()
    );
    program
}

/// A mail client that writes and reads its lines itself.
pub struct Client {
    protocol: Protocol,
    stream: BufReader<TcpStream>,
    tag: usize,
}

impl Client {
    /// Connects; nothing is read or said yet.
    pub fn connect(protocol: Protocol, port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Client {
            protocol,
            stream: BufReader::new(stream),
            tag: 0,
        }
    }

    /// Reads the greeting, and says EHLO in SMTP; the last line.
    pub fn greet(&mut self) -> String {
        let greeting = self.line();
        match self.protocol {
            Protocol::Imap => assert!(greeting.starts_with("* OK"), "{greeting}"),
            Protocol::Pop => assert!(greeting.starts_with("+OK"), "{greeting}"),
            Protocol::Smtp => {
                assert!(greeting.starts_with("220 "), "{greeting}");
                self.send("EHLO client.example\r\n");
                return self.until("250 ").pop().unwrap_or_default();
            }
        }
        greeting
    }

    /// Writes these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("the proxy reads");
    }

    /// Reads a line, without its CRLF; fails at the end of the stream.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream
            .read_until(b'\n', &mut line)
            .expect("the proxy answers");
        assert!(
            line.ends_with(b"\r\n"),
            "the stream ended in {:?}",
            String::from_utf8_lossy(&line)
        );
        line.truncate(line.len() - 2);
        String::from_utf8(line).expect("lines here are UTF-8")
    }

    /// Reads up to the first line that begins so; all of them.
    pub fn until(&mut self, prefix: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !lines.last().is_some_and(|line| line.starts_with(prefix)) {
            lines.push(self.line());
        }
        lines
    }

    /// Reads exactly so many octets.
    pub fn octets(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream
            .read_exact(&mut bytes)
            .expect("the proxy answers");
        bytes
    }

    /// Reads up to the end of the stream.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream
            .read_to_end(&mut bytes)
            .expect("the stream ends in order");
        bytes
    }

    /// Closes the way to the proxy; reading goes on.
    pub fn close_write(&mut self) {
        self.stream
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("the connection is open");
    }

    /// Logs in as [`USER`]; the final answer. Fails when a challenge of the server's comes through.
    pub fn login(&mut self, password: &str) -> String {
        match self.protocol {
            Protocol::Imap => {
                let lines = self.command(&format!("LOGIN \"{USER}\" \"{password}\""));
                assert!(
                    !lines.iter().any(|line| line.starts_with('+')),
                    "a challenge came through: {lines:?}"
                );
                lines.last().cloned().unwrap_or_default()
            }
            Protocol::Pop => {
                self.send(format!("USER {USER}\r\n"));
                let user = self.line();
                assert!(user.starts_with("+OK"), "{user}");
                self.send(format!("PASS {password}\r\n"));
                self.line()
            }
            Protocol::Smtp => {
                self.send(format!("AUTH PLAIN {}\r\n", plain(password)));
                self.line()
            }
        }
    }

    /// An IMAP command under a tag of its own; the lines up to the tagged one.
    pub fn command(&mut self, command: &str) -> Vec<String> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.send(format!("{tag} {command}\r\n"));
        self.until(&format!("{tag} "))
    }

    /// Uses the mailbox a little, to show that the session is open: SELECT, STAT, or a mail to oneself.
    pub fn work(&mut self) {
        match self.protocol {
            Protocol::Imap => {
                let lines = self.command("SELECT INBOX");
                assert!(
                    lines.last().is_some_and(|line| line.contains(" OK")),
                    "{lines:?}"
                );
            }
            Protocol::Pop => {
                self.send("STAT\r\n");
                let line = self.line();
                assert!(line.starts_with("+OK "), "{line}");
            }
            Protocol::Smtp => self.submit(b"Subject: hello\r\n\r\nA line.\r\n"),
        }
    }

    /// Sends a mail to oneself (SMTP); the message is dot-stuffed here.
    pub fn submit(&mut self, message: &[u8]) {
        for (command, code) in [
            (format!("MAIL FROM:<{USER}>"), "250"),
            (format!("RCPT TO:<{USER}>"), "250"),
            ("DATA".into(), "354"),
        ] {
            self.send(format!("{command}\r\n"));
            let answer = self.line();
            assert!(answer.starts_with(code), "{command}: {answer}");
        }
        let mut stuffed = Vec::with_capacity(message.len());
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed.extend_from_slice(b".\r\n");
        self.send(stuffed);
        let answer = self.line();
        assert!(answer.starts_with("250"), "{answer}");
    }

    /// Whether this final answer means that the login succeeded.
    pub fn is_success(&self, answer: &str) -> bool {
        match self.protocol {
            Protocol::Imap => answer.split(' ').nth(1) == Some("OK"),
            Protocol::Pop => answer.starts_with("+OK"),
            Protocol::Smtp => answer.starts_with("235 "),
        }
    }

    /// Whether it says that the credentials are wrong.
    pub fn is_refusal(&self, answer: &str) -> bool {
        match self.protocol {
            Protocol::Imap => answer.contains(" NO [AUTHENTICATIONFAILED] "),
            Protocol::Pop => answer.starts_with("-ERR [AUTH] "),
            Protocol::Smtp => answer.starts_with("535 5.7.8 "),
        }
    }

    /// Whether it says that trying again later may help.
    pub fn is_temporary(&self, answer: &str) -> bool {
        match self.protocol {
            Protocol::Imap => answer.contains(" NO [UNAVAILABLE] "),
            Protocol::Pop => answer.starts_with("-ERR [SYS/TEMP] "),
            Protocol::Smtp => answer.starts_with("454 4.7.0 "),
        }
    }
}

/// The message of SASL PLAIN for [`USER`], in base64.
pub fn plain(password: &str) -> String {
    BASE64.encode(format!("\0{USER}\0{password}"))
}
