//! Which sockets have news.
//!
//! async-io has one reactor for the whole process: whichever thread holds it hands events to the others, and each wait of
//! a socket is a system call of its own. Threads that run sessions have their own one here, where the system has epoll:
//! a socket is registered once, and its events stay on the thread that serves it. Elsewhere, and for listening sockets, it
//! is async-io's; the feature `portable` makes Linux one of the others, so that all tests can be run on both.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod epoll;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub(crate) use epoll::{Alarm, Reactor, Registration};

#[cfg(any(not(target_os = "linux"), feature = "portable"))]
mod none;
#[cfg(any(not(target_os = "linux"), feature = "portable"))]
pub(crate) use none::{Alarm, Reactor, Registration};

#[cfg(all(test, target_os = "linux", not(feature = "portable")))]
mod tests;
