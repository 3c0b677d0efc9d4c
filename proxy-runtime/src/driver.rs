//! A session up to its relay, as far as it does not depend on how a runtime waits.

use crate::{ListenerConfig, SessionRecord, messages};
use proxy_proto::{
    Authenticate, Bearer, BoxFuture, Event, LocalTls, LoginRequest, Reason, Refusal, RequestId,
    Session, Side, Time, Upstream, UpstreamTls,
};
use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tracing::{debug, info, warn};

/// Longest wait for a peer to take the last bytes of a session before its relay, and then for its own end.
pub const PARTING: Duration = Duration::from_secs(2);

/// Most bytes that are read from a peer after the last ones were sent to it, and ignored. Unread ones would make the system
/// reset the connection, which can take a farewell with it; whoever sends more than this waits for none.
pub const PARTING_BYTES: usize = 1024 * 1024;

/// A [`Session`] with its clock, its authenticator and its record. A session with filters is driven to its very end: its
/// relay is its own. Streams stay with the runtime: it tells what comes of them,
/// and takes [steps](Self::next_step) until there are no more of them and [`ended`](Self::ended) says that the session is
/// over or its relay begins.
pub struct Driver {
    session: Session,
    authenticate: Arc<dyn Authenticate>,
    config: Arc<ListenerConfig>,
    client: SocketAddr,
    record: Arc<SessionRecord>,
    epoch: Instant,
    login: Option<(RequestId, BoxFuture<Result<Bearer, Refusal>>)>,
    authenticated: Option<Arc<str>>,
    filtered: Option<Filtered>,
    stopping: bool,
    end: Option<End>,
}

/// The relay of a session with filters.
struct Filtered {
    /// Dropped with the session: the authenticator wants to be told.
    _open: Box<dyn Send + Sync>,
    to_client: u64,
    to_server: u64,
}

/// What a session needs its runtime for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A connection to the server, in place of any there was.
    Connect,
    /// TLS on this side, whose plaintext has been flushed.
    Upgrade(Side),
    /// The end of this side's write half, once all is out.
    EndWriting(Side),
    /// Nothing: the driver has done it.
    Done,
}

/// How a session before its relay ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Bytes may go from stream to stream.
    Relay,
    /// The session is over.
    Closed(Reason),
    /// A plaintext connection whose client speaks TLS.
    TlsOnPlaintext,
    /// The runtime ends at once.
    Cut,
}

/// What is left of a session before its relay, with the streams that are open.
pub enum Outcome<S> {
    /// Bytes may go from stream to stream.
    Relay {
        /// The client's connection.
        client: S,
        /// The server's connection.
        server: S,
        /// The login name.
        login: Arc<str>,
        /// To be dropped when the session ends: the authenticator wants to be told.
        open: Box<dyn Send + Sync>,
    },
    /// The session is over, for a reason that has been logged.
    Closed {
        /// Why.
        reason: Reason,
        /// Each side's connection, and the last bytes for it.
        sides: [(Option<S>, Vec<u8>); 2],
    },
    /// A client that cannot be answered, which has been logged; with what its user can do.
    TlsOnPlaintext(String),
    /// The runtime ends at once.
    Cut,
}

impl Driver {
    /// Begins a session. The connection to the server is begun by the runtime, without having been asked.
    pub fn new(
        authenticate: Arc<dyn Authenticate>,
        config: Arc<ListenerConfig>,
        client: SocketAddr,
        record: Arc<SessionRecord>,
    ) -> Self {
        Driver {
            session: Session::new(config.session.clone(), Duration::ZERO),
            authenticate,
            config,
            client,
            record,
            epoch: Instant::now(),
            login: None,
            authenticated: None,
            filtered: None,
            stopping: false,
            end: None,
        }
    }

    /// The listener's configuration when the session began.
    pub fn config(&self) -> &Arc<ListenerConfig> {
        &self.config
    }

    /// Where the session is observed.
    pub fn record(&self) -> &Arc<SessionRecord> {
        &self.record
    }

    fn now(&self) -> Time {
        self.epoch.elapsed()
    }

    /// The next step, if there is one.
    pub fn next_step(&mut self) -> Option<Step> {
        match self.session.poll_event()? {
            Event::UpgradeTls(side) => return Some(Step::Upgrade(side)),
            Event::Reconnect => {
                debug!("{}", messages::server::CONNECTING_ANEW);
                return Some(Step::Connect);
            }
            Event::ShutdownWrite(side) => return Some(Step::EndWriting(side)),
            Event::NeedCredentials { id, login, after } => {
                debug!(user = &*login.user, "{}", messages::session::LOGIN);
                let request = LoginRequest {
                    login,
                    protocol: self.config.session.protocol,
                    server: self.config.heading.clone(),
                    client: self.client,
                    after,
                };
                self.login = Some((id, self.authenticate.authenticate(request)));
            }
            Event::Abandoned(id) => {
                if self.login.as_ref().is_some_and(|(open, _)| *open == id) {
                    self.login = None;
                    self.record.login_abandoned();
                }
            }
            Event::Authenticated { login, user } => {
                info!(
                    login = &*login,
                    user = &*user,
                    "{}",
                    messages::session::LOGGED_IN
                );
                self.record.login_accepted(&login);
                if self.config.session.filters.is_some() {
                    self.filtered = Some(Filtered {
                        _open: self.authenticate.session_opened(&login),
                        to_client: 0,
                        to_server: 0,
                    });
                    debug!("{}", messages::session::RELAY_WITH_PLUGINS_BEGINS);
                    self.record.relay_begins();
                }
                self.authenticated = Some(login);
            }
            Event::Refused { login, text } => {
                info!(
                    login = &*login,
                    "{}",
                    messages::session::login_refused(&text)
                );
                self.record.login_refused();
                let protocol = self.config.session.protocol;
                self.authenticate.refused(&login, protocol, &text);
            }
            Event::Dialogue(line) => debug!(target: "emailproxy::dialogue", "{line}"),
            Event::Relay => self.end = Some(End::Relay),
            Event::Closed(reason) => self.end = Some(End::Closed(reason)),
            other => debug!(
                "{}",
                messages::session::event_not_understood(format_args!("{other:?}"))
            ),
        }
        Some(Step::Done)
    }

    /// The runtime is shutting down; whether this is news.
    pub fn shut_down(&mut self) -> bool {
        if self.stopping {
            return false;
        }
        self.stopping = true;
        let now = self.now();
        self.session.shutdown(now);
        true
    }

    /// Whether it has heard of the shutdown.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// When [`look_at_the_clock`](Self::look_at_the_clock) has something to do.
    pub fn due(&self) -> Option<Instant> {
        Some(self.epoch + self.session.poll_timeout()?)
    }

    /// Does what is due; whether something was.
    pub fn look_at_the_clock(&mut self) -> bool {
        let now = self.now();
        if self.session.poll_timeout().is_none_or(|due| due > now) {
            return false;
        }
        self.session.handle_timeout(now);
        true
    }

    /// Asks the authenticator, if a login is open; whether it has answered.
    pub fn poll_login(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((id, future)) = &mut self.login else {
            return false;
        };
        let Poll::Ready(answer) = future.as_mut().poll(cx) else {
            return false;
        };
        let id = *id;
        self.login = None;
        if let Err(refusal) = &answer {
            self.record.no_bearer(refusal);
        }
        let now = self.now();
        if let Err(misuse) = self.session.provide_credentials(id, answer, now) {
            debug!("{}", messages::session::late_answer(misuse));
        }
        true
    }

    /// The server is connected, TLS included where it is spoken from the first byte; or why not.
    pub fn connected(&mut self, result: Result<(), String>) {
        let now = self.now();
        match result {
            Ok(()) => {
                let secure = self.config.session.upstream_tls == UpstreamTls::Implicit;
                debug!(secure, "{}", messages::server::CONNECTED);
                let upstream = Upstream {
                    host: self.config.upstream_host.clone(),
                    port: self.config.upstream_port,
                    secure,
                };
                self.session.connected(upstream, now);
            }
            Err(why) => {
                debug!("{why}");
                self.session.connect_failed(&why, now);
            }
        }
    }

    /// An [upgrade](Step::Upgrade) has ended.
    pub fn upgraded(&mut self, side: Side, result: Result<(), String>) {
        let now = self.now();
        self.record.tls(side, result.is_ok());
        match result {
            Ok(()) => {
                debug!("{}", messages::client::tls_established(side));
                if let Err(misuse) = self.session.tls_established(side, now) {
                    // Only a defect leads here; the connection is not to be used any further.
                    self.session.tls_failed(side, &misuse.to_string(), now);
                }
            }
            Err(why) => {
                match side {
                    Side::Client => debug!("{}", messages::client::tls_with_client_failed(&why)),
                    Side::Server => {
                        let host = &self.config.upstream_host;
                        debug!("{}", messages::server::tls_with_server_failed(host, &why));
                    }
                }
                self.session.tls_failed(side, &why, now);
            }
        }
    }

    /// What is to be written to this side.
    pub fn transmit(&self, side: Side) -> &[u8] {
        self.session.transmit(side)
    }

    /// So much of it is written, or there is nobody to write it to.
    pub fn advance(&mut self, side: Side, count: usize) {
        self.session.advance(side, count);
        if let Some(filtered) = &mut self.filtered {
            match side {
                Side::Client => filtered.to_client += count as u64,
                Side::Server => filtered.to_server += count as u64,
            }
            self.record.relayed(filtered.to_client, filtered.to_server);
        }
    }

    /// Most bytes to be read from this side now.
    pub fn read_budget(&self, side: Side) -> usize {
        self.session.read_budget(side)
    }

    /// Bytes of this side. They are wiped, because there may be a password among them and buffers are kept.
    pub fn input(&mut self, side: Side, bytes: &mut [u8]) {
        let now = self.now();
        self.session.handle_input(side, bytes, now);
        bytes.fill(0);
    }

    /// Nothing more comes from this side.
    pub fn ended_reading(&mut self, side: Side) {
        let now = self.now();
        self.session.handle_eof(side, now);
    }

    /// The session ends like this, whatever it says itself.
    pub fn end_with(&mut self, end: End) {
        self.end = Some(end);
    }

    /// Whether the session is over, or its relay begins.
    pub fn ended(&self) -> bool {
        self.end.is_some()
    }

    /// What is left, once it has [ended](Self::ended).
    pub fn finish<S>(&mut self, client: Option<S>, server: Option<S>) -> Outcome<S> {
        match (self.end.take(), client, server) {
            (Some(End::Relay), Some(client), Some(server)) => {
                let login = self.authenticated.take().unwrap_or_else(|| Arc::from(""));
                let open = self.authenticate.session_opened(&login);
                debug!("{}", messages::session::RELAY_BEGINS);
                self.record.relay_begins();
                Outcome::Relay {
                    client,
                    server,
                    login,
                    open,
                }
            }
            (Some(End::Closed(reason)), client, server) => {
                match &reason {
                    Reason::Finished if self.filtered.is_some() => self.log_relay(),
                    Reason::ClientLeft | Reason::Finished | Reason::Shutdown => debug!("{reason}"),
                    Reason::ServerLeft => info!("{reason}"),
                    reason => warn!("{reason}"),
                }
                let last = |side| self.session.transmit(side).to_vec();
                let sides = [(client, last(Side::Client)), (server, last(Side::Server))];
                Outcome::Closed { reason, sides }
            }
            (Some(End::TlsOnPlaintext), ..) => {
                let why = crate::trouble::tls_on_plaintext(self.local_tls());
                warn!("{why}");
                Outcome::TlsOnPlaintext(why)
            }
            // A relay needs both sides; without one of them there is nothing more to do.
            (Some(End::Cut | End::Relay) | None, ..) => {
                debug!("{}", messages::session::CUT_OFF);
                Outcome::Cut
            }
        }
    }

    /// The relay of a session with filters is over.
    fn log_relay(&self) {
        if let (Some(login), Some(filtered)) = (&self.authenticated, &self.filtered) {
            let (up, down) = (filtered.to_server, filtered.to_client);
            info!(
                login = &**login,
                up,
                down,
                "{}",
                messages::session::FINISHED
            );
        }
    }

    fn local_tls(&self) -> LocalTls {
        self.config.session.local_tls
    }
}
