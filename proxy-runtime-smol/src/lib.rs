//! Drives [`proxy_proto::Session`]s on smol.

#![forbid(unsafe_code)]

mod buffer;
mod census;
mod connect;
mod handshake;
mod listen;
mod pump;
mod relay;
mod runtime;
mod session;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

pub use listen::{Bound, ListenError, ListenerConfig};
pub use runtime::{Options, Runtime, Stopped};
pub use tls::{TlsError, Trust, server_config};
