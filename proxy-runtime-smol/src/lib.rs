//! Drives [`proxy_proto::Session`]s on smol.

#![forbid(unsafe_code)]

mod listen;
mod runtime;
mod tls;

pub use listen::{Bound, ListenError, ListenerConfig};
pub use runtime::{Options, Runtime, Stopped};
pub use tls::{TlsError, Trust, server_config};
