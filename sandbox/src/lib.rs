//! A small world to try the proxy in: an OAuth 2.0 provider with a consent page, and an IMAP, POP3 and SMTP server
//! over TLS with sample mail. Everything runs in this process, on loopback, on a thread of its own.
//!
//! ```text
//!                          Sandbox ── control(): behave otherwise from now on
//!                             │   └── log(): what happened so far
//!        ┌────────────────────┴──────────────────┐
//!   provider/  (http or https)              mail/  (IMAPS, IMAP, POPS, POP, SMTPS, submission)
//!   authorisation, token, device,           every login is checked against
//!   introspection endpoints     ───────────  the provider's live tokens
//!        ▲
//!   Person: a browser with a user in front of it, who approves or denies
//! ```
//!
//! It serves two masters. `emailproxy demo` lets a newcomer read mail without any account; the end-to-end tests drive
//! it by [`Control`] and look at [`Log`]. Nothing in it is canned: sockets, TLS, HTTP and tokens are real, and so are
//! the refusals.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! let sandbox = sandbox::Sandbox::start(sandbox::Options::default())?;
//! println!("IMAP over TLS at {}, trusted by {}", sandbox.imaps(), sandbox.ca_file().display());
//! println!("consent at {}", sandbox.authorize_url());
//! sandbox.control().set_token_lifetime(std::time::Duration::from_secs(60));
//! # Ok(())
//! # }
//! ```
//!
//! The files: `control` and `log` (what a test touches), `provider/` and `mail/` (the two servers), `person` (the
//! browser), `tls` (the certificate authority), `listen` (sockets that can be told to refuse).

#![forbid(unsafe_code)]

mod control;
mod listen;
mod log;
mod mail;
mod options;
mod person;
mod provider;
mod sandbox;
mod shared;
mod tls;

pub use control::{Control, ExpiresIn, Mechanism, Protocol};
pub use log::{Log, ReceivedLine, ReceivedMail, TokenRequest};
pub use options::{Account, ExtraMail, Options, Ports, Service};
pub use person::{Person, Visit};
pub use provider::client::{self, Client};
pub use sandbox::Sandbox;
