//! The tests: each takes a runtime from beginning to end, over real sockets on loopback.

mod faults;
mod gates;
mod listeners;
mod observations;
mod relays;
mod sessions;
mod unreliable;
mod worn;

pub use faults::*;
pub use gates::*;
pub use listeners::*;
pub use observations::*;
pub use relays::*;
pub use sessions::*;
pub use unreliable::*;
pub use worn::*;
