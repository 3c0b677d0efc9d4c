//! Addresses of host names.

use crate::messages;
use async_channel::Sender;
use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{LazyLock, Mutex, PoisonError},
};

/// Asks the system. Whoever asks for a name that is being looked up at that moment gets the same answer: many clients
/// that come back at once, after an outage, cost one thread instead of one each. Nothing is kept beyond that.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let name = (host.to_owned(), port);
    let (sender, receiver) = async_channel::bounded(1);
    if join(&name, sender) {
        // It does not end when this caller does: there may be others.
        smol::unblock(move || {
            let lookup = Lookup(Some(name));
            lookup.run(|name| name.to_socket_addrs().map(Vec::from_iter));
        })
        .detach();
    }
    match receiver.recv().await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other(messages::LOOKUP_GIVEN_UP)),
    }
}

type Answer = io::Result<Vec<SocketAddr>>;
type Name = (String, u16);

static UNDER_WAY: LazyLock<Mutex<HashMap<Name, Vec<Sender<Answer>>>>> =
    LazyLock::new(Mutex::default);

/// True for the first one, who has to do it.
fn join(name: &Name, sender: Sender<Answer>) -> bool {
    let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    let waiting = under_way.entry(name.clone()).or_default();
    waiting.push(sender);
    waiting.len() == 1
}

/// The one look-up of a name; `None` once it is over. Whatever becomes of it, the next one who asks begins anew.
struct Lookup(Option<Name>);

impl Lookup {
    fn run(mut self, ask: impl FnOnce(&Name) -> Answer) {
        let Some(name) = &self.0 else {
            return;
        };
        let result = ask(name);
        for waiting in self.end() {
            // Some have left meanwhile.
            let _ = waiting.try_send(copy(&result));
        }
    }

    /// Only once: what is under way afterwards is another one's.
    fn end(&mut self) -> Vec<Sender<Answer>> {
        let Some(name) = self.0.take() else {
            return Vec::new();
        };
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&name).unwrap_or_default()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.end();
    }
}

fn copy(result: &Answer) -> Answer {
    match result {
        Ok(addresses) => Ok(addresses.clone()),
        Err(error) => Err(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, zip};

    #[test]
    fn all_who_ask_are_answered() {
        block_on(async {
            let both = zip(resolve("localhost", 4_711), resolve("localhost", 4_711));
            let ((first, second), other) = zip(both, resolve("localhost", 4_712)).await;
            for (answer, port) in [(first, 4_711), (second, 4_711), (other, 4_712)] {
                let addresses = answer.unwrap();
                assert!(!addresses.is_empty());
                assert!(
                    addresses
                        .iter()
                        .all(|address| { address.ip().is_loopback() && address.port() == port })
                );
            }
        });
    }

    fn joined(name: &Name) -> (bool, async_channel::Receiver<Answer>) {
        let (sender, receiver) = async_channel::bounded(1);
        (join(name, sender), receiver)
    }

    #[test]
    fn an_answer_is_for_all_who_asked_before_and_for_nobody_later() {
        let name = ("name.invalid".to_owned(), 1);
        // The first one does not wait for its answer.
        assert!(joined(&name).0);
        let (first, early) = joined(&name);
        assert!(!first);
        Lookup(Some(name.clone())).run(|_| Err(io::Error::other("no such name")));
        let error = early.try_recv().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "no such name");

        let (first, late) = joined(&name);
        assert!(first);
        assert!(late.try_recv().is_err_and(|error| error.is_empty()));
        drop(Lookup(Some(name)));
        assert!(late.try_recv().is_err_and(|error| error.is_closed()));
    }

    #[test]
    fn an_ended_look_up_leaves_the_next_one_alone() {
        let name = ("other.invalid".to_owned(), 1);
        assert!(joined(&name).0);
        let mut lookup = Lookup(Some(name.clone()));
        lookup.end();
        let (first, next) = joined(&name);
        assert!(first);
        drop(lookup);
        assert!(next.try_recv().is_err_and(|error| error.is_empty()));
        drop(Lookup(Some(name)));
    }

    #[test]
    fn many_who_ask_again_and_again_are_always_answered() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(|| {
                    for _ in 0..200 {
                        block_on(resolve("localhost", 4_713)).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
