//! Drives [`proxy_proto::Session`]s on smol: listeners, connections, TLS, and the relay behind the login.
//!
//! The session knows what is said and does no IO; this crate does the IO and knows nothing of what is said. What it knows
//! of accounts is a trait, [`Authenticate`](proxy_proto::Authenticate): login in, bearer or refusal out.
//!
//! ```text
//!  Runtime::apply            listen     one task per listening socket; accepts for ever
//!     │                         │ a client
//!     │                         ▼
//!     │  census ◀─ ticket ── session    one task per client; panics end here
//!     │                         │
//!     │                         ▼
//!     │   connect, handshake ◀─ pump    until the login is done: sockets, clock and authenticator
//!     │                         │       on one side, proxy_proto::Session on the other
//!     │                         ▼
//!     │                       relay     from then on: stream to stream, without the session
//!     ▼                         ▲
//!  Runtime::shutdown ── stop ───┘       farewell before login, drain in relay, cut at the deadline
//! ```
//!
//! Which sockets are open, who is admitted, whom to trust and how outgoing proxies are asked is the same for every runtime
//! and stands in [`proxy_runtime`]; `balanced.rs` asks a balancer's connection whom it stands for, before all else.
//!
//! Rules that hold in here:
//!
//! - **Neither direction waits for the other one.** Every wake-up tries to write and to read both sides; a side is read as
//!   far as the *other* side's backlog allows. Two busy peers cannot block each other.
//! - **An idle session holds no buffer.** Buffers of 130 KiB belong to the threads and are borrowed while bytes are in them.
//!   The session and all that belongs to its login are freed when the relay begins.
//! - **Plaintext is never read ahead**, because TLS may begin with the next byte; behind the first byte of TLS it is, because
//!   one read of the socket serves many records.
//! - **A session stays on its thread.** Each thread has an executor and, on Linux, a reactor of its own: no byte crosses from
//!   one thread to another, and no lock is contended for it.
//! - **A busy session lets the others have their turn**: after 126 KiB in one direction it rests until its thread has looked
//!   at all its sockets.
//! - **A session's failure is its own.** A panic is caught and logged; a broken connection, a slow peer or a failed
//!   handshake ends or delays that session only; accepting goes on when the system is out of descriptors.
//!
//! TLS is rustls with aws-lc-rs, 1.2 at least, with the platform's roots ([`Trust`]).
//!
//! # Example
//!
//! A proxy in front of one IMAP server, with one token for everyone who knows the password:
//!
//! ```no_run
//! use proxy_proto::{Authenticate, Bearer, BoxFuture, LoginRequest, Protocol, Refusal, Secret, SessionConfig};
//! use proxy_runtime_smol::{ListenerConfig, Options, Runtime, Trust};
//! use std::{error::Error, sync::Arc, time::Duration};
//!
//! struct OneToken(Secret);
//!
//! impl Authenticate for OneToken {
//!     fn authenticate(&self, request: LoginRequest) -> BoxFuture<Result<Bearer, Refusal>> {
//!         let answer = if request.login.password == Secret::new("local password") {
//!             Ok(Bearer { token: self.0.clone(), user: request.login.user, mechanism: None })
//!         } else {
//!             Err(Refusal::Denied(format!("{}: wrong password", request.login.user)))
//!         };
//!         Box::pin(async { answer })
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let trust = Trust::new();
//!     let mut listener = ListenerConfig::new(
//!         "IMAP-1993",
//!         1993,
//!         "imap.example.com",
//!         993,
//!         SessionConfig::new(Protocol::Imap),
//!         trust.client_config(None)?,
//!     );
//!     listener.address = "127.0.0.1".to_owned();
//!
//!     let runtime = Runtime::start(Arc::new(OneToken(Secret::new("token"))), Options::default())?;
//!     smol::block_on(async {
//!         if let Err(errors) = runtime.apply(vec![listener]).await {
//!             for error in errors {
//!                 eprintln!("{error}");
//!             }
//!             return;
//!         }
//!         for bound in runtime.listeners() {
//!             println!("{} listens on {:?}", bound.heading, bound.addresses);
//!         }
//!         smol::Timer::after(Duration::from_secs(3600)).await;
//!         let stopped = runtime.shutdown(Duration::from_secs(10)).await;
//!         println!("{} sessions were cut off", stopped.cut_off);
//!     });
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

mod balanced;
mod buffer;
mod connect;
mod handshake;
mod listen;
mod messages;
mod pump;
mod reactor;
mod relay;
mod resolve;
mod runtime;
mod session;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
mod timer;
mod workers;

pub use proxy_runtime::{
    BadNetwork, BadProxy, Bound, Counts, ListenError, ListenerConfig, LoginCounts, Networks,
    OpenSession, Options, Outcomes, OutgoingProxy, Phase, Stopped, TlsError, Trust,
    TurnedAwayCounts, raise_open_files_limit, server_config,
};
pub use runtime::Runtime;
