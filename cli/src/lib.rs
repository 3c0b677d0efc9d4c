//! The `emailproxy` command.

#![forbid(unsafe_code)]

pub mod args;
pub mod consent;
pub mod log;
pub mod signals;
