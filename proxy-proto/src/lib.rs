//! IMAP, POP and SMTP login proxy as pure byte-in/byte-out state machines.

#![forbid(unsafe_code)]

mod config;
mod error;
mod event;
mod limits;
mod login;
mod secret;
mod session;

pub use config::{LocalTls, Protocol, SessionConfig, UpstreamTls};
pub use error::Misuse;
pub use event::{Event, Reason, RedactedLine, RequestId};
pub use limits::Limits;
pub use login::{
    Authenticate, Bearer, BoxFuture, Login, LoginRequest, Mechanism, Refusal, Rejection,
};
pub use secret::Secret;
pub use session::{Session, Side, Time, Upstream};
