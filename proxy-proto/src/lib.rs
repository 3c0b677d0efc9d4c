//! IMAP, POP and SMTP login proxy as pure byte-in/byte-out state machines.

#![forbid(unsafe_code)]

mod buffer;
mod config;
mod core;
mod error;
mod event;
mod frame;
mod imap;
mod limits;
mod login;
mod machine;
mod pop;
mod redact;
mod sasl;
mod secret;
mod session;
mod smtp;

pub use config::{LocalTls, Protocol, SessionConfig, UpstreamTls};
pub use error::Misuse;
pub use event::{Event, Reason, RedactedLine, RequestId};
pub use limits::Limits;
pub use login::{
    Authenticate, Bearer, BoxFuture, Login, LoginRequest, Mechanism, Refusal, Rejection,
};
pub use secret::Secret;
pub use session::{Session, Side, Time, Upstream};
