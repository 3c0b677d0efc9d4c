//! What systemd, or another service manager that speaks its protocols, is told and hands over: readiness (sd_notify(3)), the
//! watchdog, and listening sockets (sd_listen_fds(3)). Where none of its variables is set, nothing happens.

use crate::messages::serve as texts;
use std::{
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Tells the service manager how the service is.
pub struct Notify {
    /// Whether `NOTIFY_SOCKET` names somebody who listens.
    heard: bool,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Tells whom `NOTIFY_SOCKET` names, and feeds the watchdog if `WATCHDOG_USEC` asks for that.
    pub fn from_environment() -> Self {
        let heard = std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty());
        Notify {
            heard,
            watchdog: protocol::watchdog().filter(|_| heard),
        }
    }

    /// Tells nobody.
    pub fn nobody() -> Self {
        Notify {
            heard: false,
            watchdog: None,
        }
    }

    /// The service serves, after its start or a reload; `status` is shown by `systemctl status`.
    pub fn ready(&self, status: &str) {
        self.tell(protocol::State::Ready(status));
    }

    /// The configuration is read again; [`ready`](Self::ready) follows however that goes.
    pub fn reloading(&self) {
        self.tell(protocol::State::Reloading);
    }

    /// The service ends.
    pub fn stopping(&self, status: &str) {
        self.tell(protocol::State::Stopping(status));
    }

    /// Only a line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.tell(protocol::State::Status(status));
    }

    /// Feeds the watchdog for as long as tasks are run here, which is where tokens are obtained: when they hang, it bites.
    pub fn feed_watchdog(&self) {
        let Some(patience) = self.watchdog else {
            return;
        };
        let task = async move {
            loop {
                protocol::tell(protocol::State::Alive);
                // As sd_watchdog_enabled(3) recommends.
                async_io::Timer::after(patience / 2).await;
            }
        };
        smol::spawn(task).detach();
    }

    fn tell(&self, state: protocol::State<'_>) {
        if self.heard {
            protocol::tell(state);
        }
    }
}

/// A listening socket that somebody else has opened.
struct Handed {
    name: Option<String>,
    socket: Arc<TcpListener>,
}

/// They belong to the process, as its file descriptors do.
static HANDED: OnceLock<Vec<Handed>> = OnceLock::new();

/// Takes over the sockets that `LISTEN_FDS` counts. It is called once, before there are threads; a second call finds none.
/// The problems that it returns are for the log.
pub fn take_sockets() -> Vec<String> {
    let (handed, problems) = protocol::sockets();
    let _ = HANDED.set(handed);
    problems
}

/// The sockets for a server: those whose name (`FileDescriptorName=`) is its heading, or whose port is its own. They are listened
/// on in place of its address and port.
pub(crate) fn sockets_for(heading: &str, port: u16) -> Vec<Arc<TcpListener>> {
    let handed = HANDED.get().map_or(&[][..], Vec::as_slice);
    let by_name = |one: &&Handed| one.name.as_deref() == Some(heading);
    let by_port = |one: &&Handed| {
        let address = one.socket.local_addr();
        address.is_ok_and(|address| address.port() == port) && !one.names_a_server()
    };
    let named: Vec<_> = handed.iter().filter(by_name).collect();
    let chosen = match named.is_empty() {
        false => named,
        true => handed.iter().filter(by_port).collect(),
    };
    chosen.iter().map(|one| one.socket.clone()).collect()
}

/// Warnings about sockets that none of these servers (heading and port) takes.
pub(crate) fn unused_sockets<'a>(
    servers: impl Iterator<Item = (&'a str, u16)> + Clone,
) -> Vec<String> {
    let handed = HANDED.get().map_or(&[][..], Vec::as_slice);
    let taken = |one: &Handed| {
        servers.clone().any(|(heading, port)| {
            sockets_for(heading, port)
                .iter()
                .any(|socket| Arc::ptr_eq(socket, &one.socket))
        })
    };
    let unused = handed.iter().filter(|one| !taken(one));
    unused
        .map(|one| {
            let name = one.name.as_deref().unwrap_or(texts::NO_SOCKET_NAME);
            let address = one.socket.local_addr();
            let address = address.map_or_else(|error| error.to_string(), |a| a.to_string());
            texts::unused_socket(name, address)
        })
        .collect()
}

impl Handed {
    /// Whether the name is a heading, so that its port does not matter.
    fn names_a_server(&self) -> bool {
        let protocols = ["IMAP-", "POP-", "SMTP-"];
        let name = self.name.as_deref().unwrap_or_default();
        protocols.iter().any(|protocol| name.starts_with(protocol))
    }
}

#[cfg(unix)]
mod protocol {
    use super::{Handed, texts};
    use sd_notify::NotifyState;
    use std::{env, sync::Arc, sync::atomic::AtomicBool, sync::atomic::Ordering, time::Duration};

    /// What there is to tell.
    pub(super) enum State<'a> {
        Ready(&'a str),
        Reloading,
        Stopping(&'a str),
        Status(&'a str),
        Alive,
    }

    pub(super) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }

    pub(super) fn tell(state: State<'_>) {
        static FAILED: AtomicBool = AtomicBool::new(false);
        // A line break would begin another assignment.
        let line = |status: &str| status.replace(['\n', '\r'], " ");
        let sent = match state {
            State::Ready(status) => {
                sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&line(status))])
            }
            State::Reloading => NotifyState::monotonic_usec_now().and_then(|now| {
                sd_notify::notify(&[
                    NotifyState::Reloading,
                    now,
                    NotifyState::Status(texts::READING_AGAIN),
                ])
            }),
            State::Stopping(status) => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(&line(status))])
            }
            State::Status(status) => sd_notify::notify(&[NotifyState::Status(&line(status))]),
            State::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        };
        if let Err(error) = sent
            && !FAILED.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("{}", texts::service_manager_unreachable(error));
        }
    }

    /// The sockets, and what is wrong with those that cannot be used.
    pub(super) fn sockets() -> (Vec<Handed>, Vec<String>) {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(|name| match name {
            "" | "unknown" => None,
            name => Some(name.to_owned()),
        });
        let mut sockets = listenfd::ListenFd::from_env();
        let mut handed = Vec::new();
        let mut problems = Vec::new();
        for index in 0..sockets.len() {
            let name = names.next().flatten();
            match sockets.take_tcp_listener(index) {
                Ok(Some(socket)) => handed.push(Handed {
                    name,
                    socket: Arc::new(socket),
                }),
                Ok(None) => {}
                Err(error) => problems.push(texts::bad_socket(index + 1, error)),
            }
        }
        (handed, problems)
    }
}

#[cfg(not(unix))]
mod protocol {
    use super::Handed;
    use std::time::Duration;

    pub(super) enum State<'a> {
        Ready(&'a str),
        Reloading,
        Stopping(&'a str),
        Status(&'a str),
        Alive,
    }

    pub(super) fn watchdog() -> Option<Duration> {
        None
    }

    pub(super) fn tell(_: State<'_>) {}

    pub(super) fn sockets() -> (Vec<Handed>, Vec<String>) {
        (Vec::new(), Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(name: Option<&str>) -> Handed {
        Handed {
            name: name.map(str::to_owned),
            socket: Arc::new(TcpListener::bind("127.0.0.1:0").unwrap()),
        }
    }

    #[test]
    fn a_name_that_is_a_heading_counts_more_than_the_port() {
        let sockets = vec![
            handed(Some("IMAP-1993")),
            handed(Some("mail.socket")),
            handed(Some("POP-1995")),
        ];
        let port = |index: usize| -> u16 { sockets[index].socket.local_addr().unwrap().port() };
        let (first, second, third) = (port(0), port(1), port(2));
        assert!(HANDED.set(sockets).is_ok());
        let ports = |heading: &str, port: u16| -> Vec<u16> {
            sockets_for(heading, port)
                .iter()
                .map(|socket| socket.local_addr().unwrap().port())
                .collect()
        };
        assert_eq!(ports("IMAP-1993", 1993), [first]);
        assert_eq!(ports("SMTP-2", second), [second]);
        // That port is another server's by name.
        assert!(ports("IMAP-2", third).is_empty());
        let servers = [("IMAP-1993", 1993), ("SMTP-2", second)];
        let unused = unused_sockets(servers.into_iter());
        assert_eq!(unused.len(), 1);
        assert!(unused[0].contains("POP-1995"), "{unused:?}");
    }
}
