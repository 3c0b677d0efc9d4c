//! What a session waits for before a connection can be used: the connection itself, and TLS behind STARTTLS.

use crate::{
    connect, handshake, messages,
    spans::Lent,
    stream::Stream,
    wait::{Interest, Teller, Wait, Wake, told_once},
    workers::Workers,
};
use proxy_proto::Side;
use proxy_runtime::{ListenerConfig, SessionRecord, messages::client, trouble};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A connection that another thread makes, because resolving a name cannot be interrupted; dropping it makes that thread
/// give up.
pub(crate) struct Connecting {
    result: Arc<Mutex<Option<Result<Stream, String>>>>,
    _given_up: Teller,
}

/// A handshake behind STARTTLS.
pub(crate) struct Upgrade {
    stream: Stream,
    deadline: Instant,
}

impl Connecting {
    /// Lets one of `workers` connect to the server of a listener; `wake` is woken when that is decided.
    pub(crate) fn begin(
        workers: &Workers,
        config: Arc<ListenerConfig>,
        record: Arc<SessionRecord>,
        span: Lent,
        timeout: Duration,
        wake: Arc<Wake>,
    ) -> Self {
        let (theirs, woken) = (record.clone(), wake.clone());
        let begun = Connecting::try_to_begin(workers, config, theirs, span, timeout, woken);
        begun.unwrap_or_else(|error| {
            record.connected(false);
            let result = Err(messages::short_of_resources(trouble::plain(&error)));
            wake.wake();
            Connecting {
                result: Arc::new(Mutex::new(Some(result))),
                _given_up: Teller::needless(),
            }
        })
    }

    fn try_to_begin(
        workers: &Workers,
        config: Arc<ListenerConfig>,
        record: Arc<SessionRecord>,
        span: Lent,
        timeout: Duration,
        wake: Arc<Wake>,
    ) -> io::Result<Self> {
        let result = Arc::default();
        let (given_up, heard) = told_once()?;
        let answer = Arc::clone(&result);
        let wake = WakeAtEnd(wake);
        let given = workers.give(wake, move |wake| {
            let _entered = span.enter();
            let connected = connect::to_server(&config, &record, timeout, &heard);
            *lock(&answer) = Some(connected);
            drop(wake);
        });
        given.map_err(|(_, error)| error)?;
        Ok(Connecting {
            result,
            _given_up: given_up,
        })
    }

    /// `None`: not decided yet. An error is fit to be shown to the client.
    pub(crate) fn take_result(&self) -> Option<Result<Stream, String>> {
        lock(&self.result).take()
    }
}

impl Upgrade {
    pub(crate) fn new(stream: Stream, deadline: Instant) -> Self {
        Upgrade { stream, deadline }
    }

    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    pub(crate) fn add_to<'a>(&'a self, wait: &mut Wait<'a>) {
        let interest = match self.stream.is_tls() {
            true => self.stream.handshake_interest(),
            false => Interest {
                read: true,
                write: false,
            },
        };
        wait.stream(&self.stream, interest);
        wait.until(self.deadline);
    }

    /// `None`: not done yet. An error is fit to be shown to the client.
    pub(crate) fn go_on(
        &mut self,
        side: Side,
        config: &ListenerConfig,
    ) -> Option<Result<(), String>> {
        let late = Instant::now() >= self.deadline;
        if !self.stream.is_tls() {
            let begun = match (side, &config.local_tls) {
                (Side::Client, None) => Err(client::NO_CERTIFICATE.to_owned()),
                (Side::Client, Some(local)) => {
                    handshake::begin_with_client(&mut self.stream, local)
                }
                (Side::Server, _) => {
                    handshake::begin_with_server(&mut self.stream, config).map(|()| true)
                }
            };
            match begun {
                Ok(true) => {}
                Ok(false) if late => return Some(Err(client::CLIENT_IS_SILENT.to_owned())),
                Ok(false) => return None,
                Err(why) => return Some(Err(why)),
            }
        }
        match self.stream.handshake() {
            Ok(()) => Some(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                late.then(|| Err(client::SLOW_HANDSHAKE.to_owned()))
            }
            Err(error) => Some(Err(match side {
                Side::Client => trouble::with_client(&error),
                Side::Server => trouble::with_server(&error),
            })),
        }
    }
}

/// Wakes a session however the thread that works for it ends.
struct WakeAtEnd(Arc<Wake>);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
