//! Drives [`proxy_proto::Session`]s on blocking sockets and threads.
//!
//! This crate will hold the same rooms as `proxy-runtime-smol`, for programs that want no asynchronous executor:
//!
//! - `listen`: listeners from the same kind of configuration, one accepting thread each;
//! - `connect`: resolving and trying the server's addresses with time-outs;
//! - `tls`: rustls driven directly over `std::net::TcpStream`;
//! - `pump`: one thread per direction and session, so that two busy peers cannot block each other;
//! - `shutdown`: farewell before login, drain in relay, join with a deadline.
//!
//! The rules are those of the state machine: read at most `read_budget`, hand over all of it, write what `transmit` shows,
//! poll events until there are none. There is nothing to call here yet.

#![forbid(unsafe_code)]
