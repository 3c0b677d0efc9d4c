//! Transcripts played through a runtime: its listener, its TLS and its timers are real, and so are the sockets.
//!
//! A [`Driver`] plays along in memory. It tells what each input must lead to, so that the next one is not sent before the
//! runtime has got so far; what is compared with the transcript is what the sockets and the authenticator were told. The
//! server is reached by way of an HTTP proxy of the test's own, which is the server: host and port can be those that the
//! transcript names, and are in the bearer of OAUTHBEARER.

mod desk;
mod wire;

use super::{Input, Stage, Transcript, apply, matching};
use crate::driver::{Driver, SIDES, Seen};
use desk::Desk;
use proxy_proto::{Bearer, LocalTls, Secret, Side, UpstreamTls};
use proxy_runtime::{
    Bound, ListenError, ListenerConfig, Options, Stopped,
    testing::{Authority, PATIENCE},
};
use rustls::{ClientConfig, ServerConfig};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use wire::{Upstream, Wire};

/// What a transcript is played through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `proxy-runtime-smol`.
    Tasks,
    /// `proxy-runtime-std`.
    Threads,
}

/// Certificates for all that is played.
pub struct Theatre {
    authority: Authority,
    /// By host.
    servers: Mutex<HashMap<String, Arc<ServerConfig>>>,
    /// By an authority that nobody trusts.
    impostor: Arc<ServerConfig>,
    /// Shown to clients.
    local: Arc<ServerConfig>,
    trust: Arc<ClientConfig>,
}

impl Transcript {
    /// Why no runtime can play it; `None` where one can.
    pub fn obstacle(&self) -> Option<&'static str> {
        let inputs = || self.stages.iter().flat_map(|stage| &stage.inputs);
        if self.uses_time() {
            Some("time passes in it, which a runtime takes from the clock")
        } else if inputs().any(|input| matches!(input, Input::Stale)) {
            Some("a login is answered twice, which a runtime does not do")
        } else {
            None
        }
    }
}

impl Theatre {
    /// Makes the certificates.
    ///
    /// # Errors
    /// Those of the files that they are kept in.
    pub fn open() -> Result<Self, String> {
        let authority = Authority::new();
        let trust = authority.trust().client_config(None);
        Ok(Theatre {
            servers: Mutex::default(),
            impostor: Authority::new().leaf("mail.example").server_config(),
            local: authority.leaf("localhost").server_config(),
            trust: trust.map_err(|why| why.to_string())?,
            authority,
        })
    }

    /// What the server of this name shows.
    fn server(&self, host: &str) -> Arc<ServerConfig> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || self.authority.leaf(host).server_config();
        servers.entry(host.to_owned()).or_insert_with(make).clone()
    }

    /// Plays a transcript; both sides and the authenticator must be told what it says.
    ///
    /// # Errors
    /// What differs, with the transcript's name and line.
    pub fn play(&self, transcript: &Transcript, kind: Kind) -> Result<(), String> {
        let mut played = Played::begin(self, transcript, kind)
            .map_err(|why| format!("{}: {why}", transcript.name))?;
        for stage in &transcript.stages {
            played
                .stage(stage)
                .map_err(|why| format!("{}:{} ({kind:?}): {why}", transcript.name, stage.line))?;
        }
        let end = transcript.stages.last().map_or(0, |stage| stage.line);
        played
            .end()
            .map_err(|why| format!("{}:{end} ({kind:?}): at the end: {why}", transcript.name))
    }
}

/// One transcript on its way.
struct Played<'a> {
    theatre: &'a Theatre,
    transcript: &'a Transcript,
    runtime: Arc<Runtime>,
    /// What happens in memory at the same time.
    model: Driver,
    desk: Arc<Desk>,
    upstream: Upstream,
    client: Wire,
    server: Wire,
    /// Who has logged in last.
    login: String,
    /// How many events the authenticator must have noted by now.
    noted: usize,
    stopping: Option<thread::JoinHandle<Stopped>>,
}

impl<'a> Played<'a> {
    fn begin(theatre: &'a Theatre, transcript: &'a Transcript, kind: Kind) -> Result<Self, String> {
        let upstream = Upstream::bind().map_err(|why| why.to_string())?;
        let mut session = transcript.config.clone();
        session.dialogue = false;
        let mut listener = ListenerConfig::new(
            transcript.name.as_str(),
            0,
            transcript.host.as_str(),
            transcript.port,
            session,
            theatre.trust.clone(),
        );
        listener.address = "127.0.0.1".to_owned();
        listener.outgoing_proxy = Some(Arc::new(upstream.as_outgoing_proxy()?));
        if transcript.config.local_tls != LocalTls::None {
            listener.local_tls = Some(theatre.local.clone());
        }
        let desk = Arc::new(Desk::default());
        let runtime = Runtime::start(kind, desk.clone())?;
        runtime
            .apply(listener)
            .map_err(|failures| format!("{failures:?}"))?;
        let address = runtime.listeners()[0].addresses[0];
        let mut client = Wire::connect(address).map_err(|why| why.to_string())?;
        if transcript.config.local_tls == LocalTls::Implicit {
            client.secure(theatre.trust.clone())?;
        }
        let mut config = transcript.config.clone();
        config.dialogue = false;
        let mut played = Played {
            theatre,
            transcript,
            runtime: Arc::new(runtime),
            model: Driver::new(config, usize::MAX),
            desk,
            upstream,
            client,
            server: Wire::default(),
            login: String::new(),
            noted: 0,
            stopping: None,
        };
        if transcript.connect {
            played.model.connect(&transcript.host, transcript.port);
            played.accept()?;
        }
        Ok(played)
    }

    /// Takes the connection that the runtime opens.
    fn accept(&mut self) -> Result<(), String> {
        self.server = self.upstream.accept(&format!(
            "{}:{}",
            self.transcript.host, self.transcript.port
        ))?;
        match self.transcript.config.upstream_tls {
            UpstreamTls::Implicit => self.secure_server(),
            _ => Ok(()),
        }
    }

    fn secure_server(&mut self) -> Result<(), String> {
        let config = self.theatre.server(&self.transcript.host);
        self.server.secured_by(config)
    }

    fn stage(&mut self, stage: &Stage) -> Result<(), String> {
        let before = self.model.closed().is_some();
        let first = self.desk.count();
        for input in &stage.inputs {
            if self.model.closed().is_some() {
                break;
            }
            // Of a server that has said goodbye nothing more is read, not even its end.
            let listened = self.model.read_budget(Side::Server) > 0;
            self.send(input)?;
            apply(&mut self.model, input, self.transcript, &self.login)?;
            self.follow(input, listened)?;
        }
        if before && !stage.inputs.is_empty() {
            return Err("the session has ended already".into());
        }
        let mut problems = Vec::new();
        for (side, expected) in SIDES.into_iter().zip(&stage.sent) {
            if let Err(why) = matching::sent(expected, &self.wire(side).take()) {
                problems.push(format!("to the {side}: {why}"));
            }
        }
        let told = |source: &str| desk::NOTED.iter().any(|kind| source.contains(kind));
        let expected = stage.events.iter().filter(|event| told(&event.source));
        let expected: Vec<_> = expected.collect();
        let mut happened = self.desk.since(first);
        if !expected
            .iter()
            .any(|event| event.source.contains("Refused"))
        {
            happened.retain(|event| !matches!(event, Seen::Refused { .. }));
        }
        if let Err(why) = matching::events(&expected, &happened) {
            problems.push(why);
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems.join("\n")),
        }
    }

    fn wire(&mut self, side: Side) -> &mut Wire {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Does what the input says.
    fn send(&mut self, input: &Input) -> Result<(), String> {
        match input {
            Input::Bytes(side, bytes) => self.wire(*side).write(bytes),
            Input::Eof(side) => self.wire(*side).close(),
            Input::Token {
                token,
                user,
                mechanism,
            } => {
                let user = match user {
                    Some(user) => user.clone(),
                    None => self.desk.login()?,
                };
                self.desk.answer(Ok(Bearer {
                    token: Secret::new(token.as_str()),
                    user: user.into(),
                    mechanism: *mechanism,
                }))?;
            }
            Input::Refuse(refusal) => self.desk.answer(Err(refusal.clone()))?,
            Input::TlsOk(Side::Client) => self.client.secure(self.theatre.trust.clone())?,
            Input::TlsOk(Side::Server) => self.secure_server()?,
            Input::TlsFail(Side::Client, _) => self.client.write(b"no TLS\r\n"),
            Input::TlsFail(Side::Server, _) => {
                // The runtime does not trust it, and says so.
                let _ = self.server.secured_by(self.theatre.impostor.clone());
            }
            Input::Connected => self.accept()?,
            Input::ConnectFail(_) => self.upstream.refuse()?,
            Input::Shutdown => {
                let runtime = self.runtime.clone();
                self.stopping = Some(thread::spawn(move || runtime.shutdown()));
            }
            Input::Quiet => {}
            Input::Advance(_) | Input::Stale => return Err("no runtime can play this".into()),
        }
        Ok(())
    }

    /// Waits until the runtime has got as far as the model.
    fn follow(&mut self, input: &Input, listened: bool) -> Result<(), String> {
        let events = self.model.take_events();
        // What a failure is called is the runtime's own matter, but not how many lines tell of it.
        let failed = matches!(input, Input::ConnectFail(_) | Input::TlsFail(..));
        let mut visible = !events.is_empty();
        for side in SIDES {
            let due = self.model.take_sent(side);
            visible |= !due.is_empty();
            let lines = due.iter().filter(|byte| **byte == b'\n').count();
            match failed {
                true => self.wire(side).read_lines(lines)?,
                false => self.wire(side).read(due.len())?,
            }
        }
        self.noted += events.iter().filter(|event| desk::is_noted(event)).count();
        self.desk.wait(self.noted)?;
        for event in &events {
            match event {
                Seen::NeedCredentials { user, .. } => self.login.clone_from(user),
                Seen::ShutdownWrite(side) => self.wire(*side).read_end()?,
                Seen::Closed(_) => {
                    for side in SIDES {
                        self.wire(side).read_end()?;
                    }
                }
                _ => {}
            }
        }
        match input {
            Input::Bytes(side, _) if !visible && self.model.undelivered(*side) == 0 => {
                let side = *side;
                self.wire(side).wait_until_taken()
            }
            // Before relay a server that leaves is answered in kind.
            Input::Eof(Side::Server) if !visible && listened && !self.model.relaying() => {
                self.server.read_end()
            }
            _ => Ok(()),
        }
    }

    /// Nothing may follow; then everything ends in order.
    fn end(mut self) -> Result<(), String> {
        let handshake = self.model.upgrading(Side::Server);
        self.client.close();
        self.server.read_end()?;
        self.server.close();
        self.client.read_end()?;
        let mut problems = Vec::new();
        for side in SIDES {
            let rest = self.wire(side).take();
            // The handshake that the transcript leaves out has begun.
            let hello = side == Side::Server && handshake && rest.first() == Some(&0x16);
            if !rest.is_empty() && !hello {
                problems.push(format!("more for the {side}: {}", rest.escape_ascii()));
            }
        }
        let stopped = match self.stopping.take() {
            Some(stopping) => stopping
                .join()
                .map_err(|_| "the runtime's shutdown panicked".to_owned())?,
            None => self.runtime.shutdown(),
        };
        if stopped.cut_off > 0 {
            problems.push("the session does not end".into());
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems.join("\n")),
        }
    }
}

enum Runtime {
    Tasks(proxy_runtime_smol::Runtime),
    Threads(proxy_runtime_std::Runtime),
}

impl Runtime {
    fn start(kind: Kind, desk: Arc<Desk>) -> Result<Self, String> {
        let mut options = Options::default();
        options.threads = 1;
        let runtime = match kind {
            Kind::Tasks => proxy_runtime_smol::Runtime::start(desk, options).map(Runtime::Tasks),
            Kind::Threads => proxy_runtime_std::Runtime::start(desk, options).map(Runtime::Threads),
        };
        runtime.map_err(|why| why.to_string())
    }

    fn apply(&self, listener: ListenerConfig) -> Result<(), Vec<ListenError>> {
        match self {
            Runtime::Tasks(runtime) => smol::block_on(runtime.apply(vec![listener])),
            Runtime::Threads(runtime) => runtime.apply(vec![listener]),
        }
    }

    fn listeners(&self) -> Vec<Bound> {
        match self {
            Runtime::Tasks(runtime) => runtime.listeners(),
            Runtime::Threads(runtime) => runtime.listeners(),
        }
    }

    fn shutdown(&self) -> Stopped {
        match self {
            Runtime::Tasks(runtime) => smol::block_on(runtime.shutdown(PATIENCE)),
            Runtime::Threads(runtime) => runtime.shutdown(PATIENCE),
        }
    }
}
