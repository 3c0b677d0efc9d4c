//! Which sockets have news.
//!
//! async-io has one reactor for the whole process: whichever thread holds it hands events to the others, and each wait of
//! a socket is a system call of its own. Threads that run sessions have their own one here, where the system has epoll:
//! a socket is registered once, and its events stay on the thread that serves it. Elsewhere, and for listening sockets, it
//! is async-io's.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
pub(crate) use epoll::{Alarm, Reactor, Registration};

#[cfg(not(target_os = "linux"))]
mod none;
#[cfg(not(target_os = "linux"))]
pub(crate) use none::{Alarm, Reactor, Registration};

#[cfg(all(test, target_os = "linux"))]
mod tests;
