//! Beginnings of connections with clients: TLS from the first byte, PROXY protocol headers; and what both need.

use crate::{
    stream::Stream,
    wait::{Interest, Level, Stop, Wait},
};
use proxy_runtime::{
    HeaderProgress, HeaderReader, ListenerConfig, Origin, messages::client as messages, trouble,
};
use rustls::{ServerConfig, pki_types::ServerName};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

const READABLE: Interest = Interest {
    read: true,
    write: false,
};

/// Why a connection cannot go on.
pub(crate) enum Trouble {
    /// For the log.
    Failed(String),
    /// The runtime is shutting down: whoever has not even begun needs no farewell.
    Stopped,
}

/// Establishes TLS with a client; the error says what its user can do.
pub(crate) fn with_client(
    stream: &mut Stream,
    config: Arc<ServerConfig>,
    timeout: Duration,
    stop: &Stop,
) -> Result<(), Trouble> {
    let deadline = Instant::now() + timeout;
    loop {
        match begin_with_client(stream, &config) {
            Ok(true) => break,
            Ok(false) if Instant::now() >= deadline => {
                return Err(Trouble::Failed(messages::CLIENT_IS_SILENT.to_owned()));
            }
            Ok(false) => wait(stream, READABLE, deadline, stop)?,
            Err(why) => return Err(Trouble::Failed(why)),
        }
    }
    loop {
        match stream.handshake() {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return Err(Trouble::Failed(messages::SLOW_HANDSHAKE.to_owned()));
                }
                wait(stream, stream.handshake_interest(), deadline, stop)?;
            }
            Err(error) => return Err(Trouble::Failed(trouble::with_client(&error))),
        }
    }
}

/// Looks at the first byte; `false`: there is none yet.
pub(crate) fn begin_with_client(
    stream: &mut Stream,
    config: &Arc<ServerConfig>,
) -> Result<bool, String> {
    let mut first = [0];
    match stream.peek(&mut first) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
        Err(error) => return Err(trouble::plain(&error)),
        Ok(0) => return Err(messages::CLIENT_LEFT.to_owned()),
        Ok(_) if !trouble::begins_tls(first[0]) => {
            return Err(messages::CLIENT_IS_PLAIN.to_owned());
        }
        Ok(_) => {}
    }
    let begun = stream.begin_tls_with_client(config.clone());
    begun.map(|()| true).map_err(|error| error.to_string())
}

/// Turns a connection into TLS with the server of a listener. The error says why that failed.
pub(crate) fn begin_with_server(
    stream: &mut Stream,
    config: &ListenerConfig,
) -> Result<(), String> {
    let host = &*config.upstream_host;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| trouble::bad_name(host))?;
    stream
        .begin_tls_with_server(config.upstream_tls.clone(), name)
        .map_err(|error| error.to_string())
}

/// Reads the header that a balancer puts before a connection, and no byte more.
pub(crate) fn read_header(
    stream: &mut Stream,
    timeout: Duration,
    stop: &Stop,
) -> Result<Origin, Trouble> {
    let deadline = Instant::now() + timeout;
    let mut reader = HeaderReader::default();
    let mut bytes = [0; 512];
    loop {
        let count = match stream.peek(&mut bytes) {
            Ok(0) => return Err(Trouble::Failed(messages::INCOMPLETE_HEADER.to_owned())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() >= deadline {
                    return Err(Trouble::Failed(messages::SLOW_HEADER.to_owned()));
                }
                wait(stream, READABLE, deadline, stop)?;
                continue;
            }
            Err(error) => return Err(Trouble::Failed(trouble::plain(&error))),
        };
        let progress = reader.feed(&bytes[..count]);
        let (used, origin) = match progress.map_err(|bad| Trouble::Failed(bad.to_string()))? {
            HeaderProgress::More => (count, None),
            HeaderProgress::Complete { used, origin } => (used, Some(origin)),
        };
        let taken = stream.read(&mut bytes[..used]);
        taken.map_err(|error| Trouble::Failed(trouble::plain(&error)))?;
        if let Some(origin) = origin {
            return Ok(origin);
        }
    }
}

fn wait(
    stream: &Stream,
    interest: Interest,
    deadline: Instant,
    stop: &Stop,
) -> Result<(), Trouble> {
    if stop.level() > Level::Running {
        return Err(Trouble::Stopped);
    }
    let mut wait = Wait::default();
    wait.stream(stream, interest);
    wait.readable(stop.beyond(Level::Running));
    wait.until(deadline);
    wait.wait();
    Ok(())
}
