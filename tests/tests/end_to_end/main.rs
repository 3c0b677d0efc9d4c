//! The built program between real sockets: every protocol by every flow, and what goes wrong on the way.
#![cfg(feature = "end-to-end")]

use sandbox::Protocol;
use std::time::Duration;

const PROTOCOLS: [Protocol; 3] = [Protocol::Imap, Protocol::Pop, Protocol::Smtp];
const PATIENCE: Duration = Duration::from_secs(60);

mod logins;
mod sessions;
