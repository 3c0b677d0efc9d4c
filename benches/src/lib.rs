//! What emailproxy costs: processor, memory, time.
//!
//! ```text
//!   benches/run ──► load (a process) ── compare, soak ──► client: mail programs, on threads
//!                        │ starts          │ peers: each with a configuration of its own
//!                        ▼                 ▼
//!                    upstream ◄── TLS ── emailproxy, HAProxy, nginx, stunnel ◄── plain ── client
//!                  (a process)             └── usage: what /proc says of their process trees
//!
//!   .ci/instructions ──► instructions (under callgrind) ──► dialogue: sessions without any socket
//!                    └─► load ── count: a runtime (under callgrind) between client and upstream
//!   cargo bench ──► login, framing, tokens                 ──► dialogue
//! ```
//!
//! - [`compare`], [`peers`]: the table; [`soak`]: hours of mixed work on one proxy.
//! - [`upstream`]: the mail server and token endpoint behind all of them.
//! - [`usage`]: processor time, memory, descriptors and threads of a process tree.
//! - [`count`]: instructions of the whole proxy. [`dialogue`]: logins and lines through a `proxy_proto::Session`, for divan and callgrind.
//!
//! `docs/performance.md` has the figures and how to read them.

#![forbid(unsafe_code)]

mod client;
pub mod compare;
pub mod count;
pub mod dialogue;
mod load;
pub mod peers;
pub mod soak;
pub mod upstream;
pub mod usage;
mod wire;
