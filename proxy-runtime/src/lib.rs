//! What the runtimes of [`proxy_proto`] share: what they are asked to do, and what needs no waiting.
//!
//! ```text
//!  ListenerConfig ── Place, bind ──▶ listening sockets        listen.rs: checked, opened, refused with advice
//!                    Census ── Ticket                         census.rs: how many sessions, and whether one more
//!                    Listeners ── Acceptor                     listeners.rs: which are open, and how they become others
//!                    admit, identify                            admission.rs: whether a client is served
//!                    Counts, OpenSession, SessionRecord       observe.rs: what was done, and what is under way
//!                    Networks                                 networks.rs: allow_from, proxy_protocol
//!                    HeaderReader                             proxy_header.rs: whom a balancer's connection stands for
//!                    Trust, server_config                     tls.rs: whom to trust, what to show
//!                    Lent, Stock                              buffer.rs: buffers borrowed only while there are bytes
//!                    TlsToServer                              to_server.rs: TLS that we open, over any socket that does not block
//!                    OutgoingProxy ── Dialogue                outgoing.rs: SOCKS5 and HTTP CONNECT
//!                    Driver                                   driver.rs: a session up to its relay
//!                    Course                                   course.rs: when a relay is over
//!                    pace                                     pace.rs: room for short answers beside bulk
//!                    trouble                                  what to tell when it fails
//! ```
//!
//! Whoever only runs sessions uses a runtime, which exports what is needed of this crate; whoever writes a further runtime
//! finds here all that does not depend on how it waits. Nothing in here waits for a peer: bytes that come are handed over
//! ([`HeaderReader::feed`], [`Dialogue::feed`]), and both tell how many of them were theirs, so that a driver that looks at
//! bytes without taking them (`MSG_PEEK`) leaves those that follow for TLS. The only system calls are those that open a
//! listening socket ([`bind`]) and read a PEM file.
//!
//! ```
//! use proxy_runtime::{DialogueProgress, OutgoingProxy};
//!
//! let proxy: OutgoingProxy = "http://127.0.0.1:3128".parse()?;
//! let mut dialogue = proxy.dialogue("imap.example.com", 993);
//! assert!(dialogue.transmit().starts_with(b"CONNECT imap.example.com:993 HTTP/1.1\r\n"));
//! let progress = dialogue.feed(b"HTTP/1.1 200 OK\r\n\r\n* OK ready\r\n")?;
//! assert_eq!(progress, DialogueProgress::Open { used: 19 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod admission;
mod buffer;
mod census;
mod config;
mod course;
mod driver;
mod listen;
mod listeners;
#[doc(hidden)]
pub mod messages;
mod networks;
mod observe;
mod outgoing;
pub mod pace;
mod proxy_header;
mod sockets;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod to_server;
pub mod trouble;

pub use admission::{Backoff, Rare, TurnedAway, admit, identify};
pub use buffer::{BUFFER, Lent, PLAINTEXT, Stock};
pub use census::{Census, Full, Ticket};
pub use config::{Bound, ListenerConfig, Options, Stopped};
pub use course::{Course, Failure, Progress, Relayed, Why};
pub use driver::{Driver, End, Outcome, PARTING, PARTING_BYTES, Step};
pub use listen::{ListenError, Place, bind, check};
pub use listeners::{Acceptor, Current, Listeners};
pub use networks::{BadNetwork, Networks};
pub use observe::{
    Counts, LoginCounts, OpenSession, Outcomes, Phase, SessionRecord, TurnedAwayCounts,
};
pub use outgoing::{BadProxy, Dialogue, DialogueProgress, OutgoingProxy, Refused};
pub use proxy_header::{BadHeader, HeaderProgress, HeaderReader, Origin};
pub use sockets::{families_in_turn, prepare, raise_open_files_limit};
pub use tls::{TlsError, Trust, server_config};
pub use to_server::TlsToServer;
