//! Drives [`proxy_proto::Session`]s on std sockets and threads, for programs that want no executor.
//!
//! Options, listeners and behaviour are those of `proxy-runtime-smol`; the types are the same ones, from
//! [`proxy_runtime`]. What differs is who waits: here a session is a thread.
//!
//! ```text
//!  Runtime::apply          accept     one thread per listening socket
//!     │                      │ a client
//!     │                      ▼
//!     │  census ◀─ ticket ─ session   one thread per client; panics end here
//!     │                      │
//!     │                      ▼
//!     │          connect ◀─ pump      until the login is done: sockets, clock and authenticator on one side,
//!     │                      │        proxy_proto::Session on the other; `connect` is a thread that ends once
//!     │                      ▼        the server is reached, because resolving a name cannot be interrupted
//!     │                    relay      from then on: stream to stream, without the session, on a thread whose stack is fresh
//!     ▼                      ▲
//!  Runtime::shutdown ─ stop ─┘        farewell before login, drain in relay, cut at the deadline
//! ```
//!
//! # How a thread waits
//!
//! A session waits for two peers, a clock, the answer to a login and the runtime's shutdown at once. A thread that is
//! blocked in one socket's `read` hears of none of the others, so that the sockets do not block: a session *tries* all
//! that it could do, and when nothing moves it blocks in one place, `poll(2)` with the time of the next timer
//! (`wait.rs`). From that follows:
//!
//! - **Both peers may speak or leave at any time**, also while a login waits for its user: nobody waits for the
//!   authenticator, whose future is polled when its waker has written to a socket pair that is polled along.
//! - **Two busy peers cannot block each other.** Every turn tries to write and to read both sides; a side is read as far
//!   as the *other* side's backlog allows. After 256 KiB one direction lets the other have its turn.
//! - **A slow reader is felt by the sender**: a full buffer of 64 KiB is written before the source is read again.
//! - **TLS needs no lock**, since one thread does both directions of a connection.
//! - **A shutdown wakes everybody** with two socket pairs for the whole runtime, whose ends become readable for good.
//! - **An idle session holds** a thread's used stack, two sockets and what rustls keeps; buffers are borrowed while bytes
//!   are in them, and an idle thread uses no CPU.
//! - **A session's failure is its own.** A panic is caught and logged; accepting goes on when the system is out of
//!   descriptors or threads.
//!
//! Plaintext is never read ahead, because TLS may begin with the next byte; TLS is, because rustls takes 4 KiB at a time.
//! The crate is for Unix: it polls socket pairs.
//!
//! # Examples
//!
//! `examples/one_session.rs` serves one session on a thread of the program's own, with [`serve`]. A proxy in front of one
//! IMAP server, with one token for everyone who knows the password:
//!
//! ```no_run
//! use proxy_proto::{Authenticate, Bearer, BoxFuture, LoginRequest, Protocol, Refusal, Secret, SessionConfig};
//! use proxy_runtime_std::{ListenerConfig, Options, Runtime, Trust};
//! use std::{error::Error, sync::Arc, thread, time::Duration};
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
//!     let mut listener = ListenerConfig::new(
//!         "IMAP-1993",
//!         1993,
//!         "imap.example.com",
//!         993,
//!         SessionConfig::new(Protocol::Imap),
//!         Trust::new().client_config(None)?,
//!     );
//!     listener.address = "127.0.0.1".to_owned();
//!
//!     let runtime = Runtime::start(Arc::new(OneToken(Secret::new("token"))), Options::default())?;
//!     if let Err(errors) = runtime.apply(vec![listener]) {
//!         for error in errors {
//!             eprintln!("{error}");
//!         }
//!         return Ok(());
//!     }
//!     thread::sleep(Duration::from_secs(3600));
//!     let stopped = runtime.shutdown(Duration::from_secs(10));
//!     println!("{} sessions were cut off", stopped.cut_off);
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

mod buffer;
mod connect;
mod establish;
mod handshake;
mod parking;
mod pump;
mod relay;
mod runtime;
mod session;
mod spans;
mod stream;
mod survey;
#[cfg(test)]
mod tests;
mod wait;
mod workers;

pub use proxy_runtime::{
    BadNetwork, BadProxy, Bound, Counts, ListenError, ListenerConfig, LoginCounts, Networks,
    OpenSession, Options, Outcomes, OutgoingProxy, Phase, Stopped, TlsError, Trust,
    TurnedAwayCounts, raise_open_files_limit, server_config,
};
pub use runtime::{Runtime, serve};
pub use session::Ended;
pub use survey::{Survey, survey};
