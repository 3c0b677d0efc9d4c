//! How other processes of the same user reach a running proxy: HTTP with JSON over a Unix-domain socket.
//!
//! `emailproxy authorise` and `emailproxy accounts` are its callers. The socket's name comes from the configuration's real path, so
//! that a command finds the proxy that serves the same file. Nobody but the proxy's user and root gets in: the folder is the user's
//! alone, and both ends ask the kernel who is on the other one.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /accounts` | [`wire::Accounts`] |
//! | `GET /waiting` | a list of [`wire::Waits`] |
//! | `POST /waiting/ID` with an address | `{}` once the token is saved; the page's text where somebody else approved |
//! | `DELETE /waiting/ID` | `{}`; the consent is dismissed |
//! | `POST /authorise?account=NAME&fresh=BOOL` with the password | lines of JSON ([`wire::Progress`]) until it has ended |

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod place;
#[cfg(unix)]
mod server;
pub mod wire;

#[cfg(unix)]
pub(crate) use client::Client;
#[cfg(unix)]
pub use place::Unreachable;
#[cfg(unix)]
pub use server::{Control, serve};

#[cfg(all(test, unix))]
mod tests;
