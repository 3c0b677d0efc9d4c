//! Drives [`proxy_proto::Session`]s on std sockets and threads, for programs that want no executor.
//!
//! Options, listeners and behaviour are those of `proxy-runtime-smol`; the types are the same ones, from
//! [`proxy_runtime`]. What differs is who waits: here a session that has something to do has a thread to itself.
//!
//! ```text
//!  Runtime::apply          accept     one thread per listening socket
//!     │                      │ a client
//!     │                      ▼
//!     │  census ◀─ ticket ─ session   on a worker: a thread that does one thing at a time, and is kept for the next one
//!     │                      │        for a while (`workers.rs`); panics end here
//!     │                      ▼
//!     │          connect ◀─ pump      until the login is done: sockets, clock and authenticator on one side,
//!     │                      │        proxy_proto::Session on the other; `connect` is work for another worker, because
//!     │                      ▼        resolving a name cannot be interrupted
//!     │                    relay ◀─▶ parking   from then on: stream to stream, without the session; while nothing moves
//!     ▼                      ▲                 without a worker, too (`parking.rs`)
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
//!   as the *other* side's backlog allows. After 126 KiB one direction lets the other have its turn.
//! - **A slow reader is felt by the sender**: what a buffer holds is written before the source is read again.
//! - **TLS needs no lock**, since one thread at a time does both directions of a connection.
//! - **A shutdown wakes everybody** with two socket pairs for the whole runtime, whose ends become readable for good.
//! - **A session's failure is its own.** A panic is caught and logged; accepting goes on when the system is out of
//!   descriptors or threads.
//!
//! # How a session waits without a thread
//!
//! Most sessions of a mail proxy do nothing most of the time. A relay of which nothing has moved for 30 ms is parked: what is
//! left of it are two sockets, what rustls keeps, and a few hundred bytes of its own; buffers are borrowed while bytes are in
//! them. One thread asks the kernel (`epoll(7)`) for news of all that are parked, and gives a session that has some to a worker,
//! so that what costs time never happens on the thread that others wait for. Workers are made when all are busy, and end when
//! there is nothing to do for them: their number is that of the sessions that do something, or have done so just now, and a few.
//! A session that waits for more than bytes — half closed, its peer not reading, in a drain — keeps its worker. Where there is
//! no epoll, all do.
//!
//! Plaintext is never read ahead, because TLS may begin with the next byte; TLS is, because one read of the socket serves many records.
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
mod messages;
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
