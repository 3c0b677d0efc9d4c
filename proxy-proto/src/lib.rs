//! IMAP, POP and SMTP login proxy as pure byte-in/byte-out state machines.
//!
//! A mail client that only knows LOGIN talks to one side of a [`Session`], a mail server that demands a bearer token to
//! the other. The session speaks both dialogues up to the login and swaps the password for the token; from then on bytes
//! pass unchanged. It has no sockets, no clock, no threads, no TLS and no idea of OAuth: a *driver* brings those.
//!
//! ```text
//!               bytes                                        bytes
//!   client  ──────────▶  handle_input ┐          ┌ handle_input  ◀──────────  server
//!           ◀──────────  transmit     │ Session  │     transmit  ──────────▶
//!                                     └──────────┘
//!                       poll_event  ▼          ▲  tls_established, provide_credentials,
//!        UpgradeTls, NeedCredentials, Relay …       connected, handle_timeout …
//! ```
//!
//! # Driving a session
//!
//! Inputs are the methods `handle_*`, [`connected`](Session::connected) and its like,
//! [`provide_credentials`](Session::provide_credentials) and [`shutdown`](Session::shutdown). After any of them, and
//! after [`advance`](Session::advance), a driver serves the outputs in this order:
//!
//! 1. [`poll_event`](Session::poll_event) until `None`;
//! 2. [`transmit`](Session::transmit) of both sides, reporting progress with `advance`;
//! 3. [`poll_timeout`](Session::poll_timeout) sets the timer for [`handle_timeout`](Session::handle_timeout);
//! 4. reads of each side, at most [`read_budget`](Session::read_budget) bytes, none where it is 0.
//!
//! Time is a parameter everywhere: a [`Time`] since any epoch of the driver's own that never goes back.
//!
//! # Rules
//!
//! * Intake is all or nothing: `handle_input` takes everything it is given.
//! * What a peer does wrong is an [`Event`] and the protocol's farewell, never an `Err`: [`Misuse`] is the driver's own.
//! * A bearer leaves only over a connection that is TLS ([`Upstream::secure`] or
//!   [`tls_established`](Session::tls_established)).
//! * Bytes that arrive in plaintext behind STARTTLS or its answer end the session.
//! * Reading one side depends on the other side's backlog, never on this side's pending writes.
//! * Every bound is in [`Limits`].
//! * After [`Event::Relay`] the driver may move bytes between its streams without the session. Ignoring the event is
//!   safe: `handle_input` passes bytes on. Sessions with [`filter`]s never announce it.
//!
//! # A complete embedding
//!
//! Here the network is two buffers; with sockets the loop is the same.
//!
//! ```
//! use proxy_proto::*;
//! use std::{sync::Arc, time::Duration};
//!
//! let config = Arc::new(SessionConfig::new(Protocol::Imap));
//! let now = Duration::ZERO;
//! let mut session = Session::new(config, now);
//! session.connected(Upstream { host: "imap.example".into(), port: 993, secure: true }, now);
//!
//! // Serves events and writes; returns what was written to the client and to the server.
//! fn serve(session: &mut Session, now: Time) -> (String, String) {
//!     let mut written = [Vec::new(), Vec::new()];
//!     loop {
//!         let mut idle = true;
//!         while let Some(event) = session.poll_event() {
//!             idle = false;
//!             if let Event::NeedCredentials { id, login, .. } = event {
//!                 assert_eq!((&*login.user, login.password.expose()), ("me@example", "local"));
//!                 let token = Secret::new("ya29.token");
//!                 let bearer = Bearer { token, user: login.user, mechanism: None };
//!                 session.provide_credentials(id, Ok(bearer), now).unwrap();
//!             }
//!         }
//!         for (side, out) in [Side::Client, Side::Server].into_iter().zip(&mut written) {
//!             let bytes = session.transmit(side).to_vec();
//!             session.advance(side, bytes.len());
//!             idle &= bytes.is_empty();
//!             out.extend(bytes);
//!         }
//!         if idle {
//!             return written.map(|bytes| String::from_utf8(bytes).unwrap()).into();
//!         }
//!     }
//! }
//!
//! let greeting = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n";
//! session.handle_input(Side::Server, greeting, now);
//! let (client, _) = serve(&mut session, now);
//! assert_eq!(client, "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n");
//!
//! session.handle_input(Side::Client, b"a1 LOGIN me@example \"local\"\r\n", now);
//! let (_, server) = serve(&mut session, now);
//! assert!(server.starts_with("a1 AUTHENTICATE XOAUTH2 dXNlcj1tZUBl"));
//!
//! session.handle_input(Side::Server, b"a1 OK Success\r\n", now);
//! let (client, _) = serve(&mut session, now);
//! assert_eq!(client, "a1 OK Success\r\n");
//! ```
//!
//! The crate's examples are complete drivers to copy from: blocking sockets and two threads (`blocking.rs`), tokio
//! (`async_tokio.rs`), and buffers under virtual time (`virtual_time.rs`). What is answered to what, in which state,
//! stands as tables in `docs/protocols.md`, each cell of which is tested.
//!
//! # Within
//!
//! `session.rs` is the surface, `settling.rs` its part between login and relay; `core.rs` holds what every protocol
//! needs: both links' buffers (`buffer.rs`), events, timers (`timers.rs`), the login under way. `refusal.rs` gives a
//! login or a session up. `frame.rs` finds lines and counted literals before any grammar sees a byte, `names.rs`
//! commands' names. `imap/`, `pop/` and `smtp/` implement `machine.rs`'s trait, each with its nom grammar. `sasl.rs`
//! decodes and encodes the mechanisms, `redact.rs` makes text fit for logs and peers, `messages.rs` is what people read.
//! `relay.rs` passes an open session's bytes, `filter.rs` is what may stand in their way.

#![forbid(unsafe_code)]

mod buffer;
mod config;
mod core;
mod error;
mod event;
pub mod filter;
mod frame;
mod imap;
mod limits;
mod login;
mod machine;
mod messages;
mod names;
mod pop;
mod redact;
mod refusal;
mod relay;
mod sasl;
mod secret;
mod session;
mod settling;
mod smtp;
mod texts;
mod timers;

pub use config::{LocalTls, Protocol, SessionConfig, UpstreamTls};
pub use error::Misuse;
pub use event::{Event, Reason, RedactedLine, RequestId};
pub use limits::Limits;
pub use login::{
    Authenticate, Bearer, BoxFuture, Login, LoginRequest, Mechanism, Refusal, Rejection,
};
pub use secret::Secret;
pub use session::{Session, Side, Time, Upstream};
