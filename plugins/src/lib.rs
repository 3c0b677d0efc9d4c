//! The users' own scripts: Lua between mail client and server, in an open session.
//!
//! ```text
//!   the option `plugins` ──► list.rs: files and parameters
//!                               │
//!                            load.rs: sources found, read and tried ──► Plugins ──► proxy_proto::filter::Filters
//!                                                                                     │  for each session
//!                            vm.rs: one Lua state for all its scripts ◄───────────────┤
//!                            raw.rs, framed.rs: a script as a filter ◄────────────────┘
//!   deflate.rs: the one plugin that is no script
//!   within the state: sandbox.lua, sandbox.rs (what scripts may use), budget.rs (how much), api.rs (log, proxy)
//! ```
//!
//! What scripts may define and use, and the security model, stand in `docs/plugins.md`.
//!
//! ```
//! use plugins::{Place, Plugins};
//! use proxy_proto::{Protocol, Side, filter::Opened};
//!
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("shout.lua"), "function from_client(bytes) return bytes:upper() end")?;
//! let place = Place { protocol: Protocol::Imap, listener: "IMAP-1993".into() };
//! let plugins = Plugins::load("shout.lua", &[folder.path().to_owned()], &place)?;
//!
//! let who = Opened { login: "me@example.com".into(), user: "me@example.com".into() };
//! let mut chain = plugins.filters().chain(&who)?;
//! let mut to_server = Vec::new();
//! chain.pass(Side::Client, b"a1 noop\r\n", &mut |_, bytes| to_server.extend_from_slice(bytes))?;
//! assert_eq!(to_server, b"A1 NOOP\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod api;
mod budget;
mod deflate;
mod framed;
mod list;
mod load;
mod messages;
mod raw;
mod sandbox;
mod vm;

pub use list::{BadList, Entry, parse};
pub use load::{LoadError, Place, Plugins};
