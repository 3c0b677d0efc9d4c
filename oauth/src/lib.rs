//! Accounts, tokens and secrets: a login name and a local password go in, a bearer token or a refusal comes out.
//!
//! ```text
//!            Attempt                                       Token | Denial
//!               │                                                ▲
//!  ┌────────────▼────────────────────────────────────────────────┴───────────┐
//!  │ authenticator   one flight per account and password; refresh, back-off  │
//!  └──┬───────────┬───────────┬───────────────┬──────────────┬───────────────┘
//!     │           │           │               │              │
//!  settings    keyring      flow           consent       store::Saver
//!  accounts    derived      requests       asks the      what cannot be
//!  options     keys, in     out, answers   user: a       written is kept
//!     │        memory       in; no IO      trait         and retried
//!     │           │           │                              │
//!  document    crypt       transport                     store::Store
//!  lossless    AES-GCM,    the one place                 files that change
//!  INI         PBKDF2;     that talks                    only where tokens
//!              Fernet      HTTP                          stand
//! ```
//!
//! - **A login that finds a good token makes no request.** [`settings`] names the account, [`store`] gives what is saved of it, the
//!   password's key (from [`keyring`], or derived off the executor) opens it.
//! - **Else it boards a flight** of [`authenticator`]: a detached task which refreshes or runs the account's [`flow`], asks the user
//!   through [`consent`] where the flow has one, and saves before anybody gets the token. A login that leaves takes nothing with it.
//! - **Nobody shares what is not theirs**: flights are keyed by account, password and settings; only a password that opens what is
//!   saved joins its refresh.
//! - **A refresh token is given up only when the provider says that it has ended**, and saved tokens are replaced only by better ones.
//! - **Secrets** ([`proxy_proto::Secret`]) have no `Debug`, are compared in constant time, and are wiped when dropped.
//!
//! The crate is runtime-neutral: the embedder hands in how tasks are spawned ([`authenticator::Spawn`]).
//!
//! ```no_run
//! use oauth::{
//!     authenticator::{Attempt, Authenticator, NEW_ITERATIONS, Parts, SystemClock},
//!     consent::{CodeAnswer, CodeRequest, Consent, ConsentError, DeviceRequest, Shown},
//!     settings::Settings,
//!     store::{FileStore, Saver},
//!     transport::Http,
//! };
//! use proxy_proto::{BoxFuture, Protocol, Secret};
//! use std::{net::Ipv4Addr, path::Path, sync::Arc, thread};
//!
//! /// Prints what to open; has no way to hear of the redirect.
//! struct Printed;
//!
//! impl Consent for Printed {
//!     fn ask_code(&self, request: CodeRequest) -> BoxFuture<Result<CodeAnswer, ConsentError>> {
//!         println!("{}: {}", request.who.account, (request.url)(&request.redirect_uri));
//!         Box::pin(async { Err(ConsentError::Unable("this program cannot receive redirects".into())) })
//!     }
//!
//!     fn show_device(&self, request: DeviceRequest) -> Box<dyn Shown> {
//!         println!("enter {} at {}", request.user_code, request.verification_uri);
//!         Box::new(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = Path::new("emailproxy.config");
//! let loaded = Settings::load(path);
//! for problem in &loaded.problems {
//!     eprintln!("{}", problem.text);
//! }
//! let authenticator = Authenticator::new(Parts {
//!     settings: Arc::new(loaded.settings.ok_or("nothing to serve")?),
//!     saver: Saver::new(Arc::new(FileStore::configuration(path))),
//!     config_saver: None,
//!     consent: Arc::new(Printed),
//!     transport: Arc::new(Http::new()?),
//!     spawn: Arc::new(|task| {
//!         thread::spawn(move || futures_lite::future::block_on(task));
//!     }),
//!     clock: Arc::new(SystemClock),
//!     new_iterations: NEW_ITERATIONS,
//! })?;
//! let login = Attempt {
//!     user: "user@example.com".into(),
//!     password: Secret::new("the local password"),
//!     protocol: Protocol::Imap,
//!     client: Ipv4Addr::LOCALHOST.into(),
//!     rejected: None,
//! };
//! match futures_lite::future::block_on(authenticator.token(login)) {
//!     Ok(token) => println!("a bearer token for {}", token.user),
//!     Err(denial) => println!("{denial:?}"),
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod authenticator;
pub mod consent;
pub mod crypt;
pub mod document;
pub mod flow;
pub mod keyring;
mod legacy;
mod messages;
pub mod presets;
pub mod settings;
pub mod store;
pub mod transport;
