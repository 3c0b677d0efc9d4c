//! Addresses of host names.

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
            let lookup = Lookup(name);
            let result = lookup.0.to_socket_addrs().map(Vec::from_iter);
            lookup.answer(&result);
        })
        .detach();
    }
    match receiver.recv().await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other("the look-up was given up")),
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

/// Whatever becomes of it, the next one who asks begins anew.
struct Lookup(Name);

impl Lookup {
    fn end(&self) -> Vec<Sender<Answer>> {
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.0).unwrap_or_default()
    }

    fn answer(&self, result: &Answer) {
        for waiting in self.end() {
            // Some have left meanwhile.
            let _ = waiting.try_send(copy(result));
        }
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

    #[test]
    fn an_answer_is_not_kept() {
        let name = ("name.invalid".to_owned(), 1);
        // The first one does not wait for its answer.
        assert!(join(&name, async_channel::bounded(1).0));
        let (sender, receiver) = async_channel::bounded(1);
        assert!(!join(&name, sender));
        let (late, late_receiver) = async_channel::bounded(1);
        assert!(!join(&name, late));
        let lookup = Lookup(name.clone());
        lookup.answer(&Err(io::Error::other("no such name")));
        for receiver in [receiver, late_receiver] {
            let error = receiver.try_recv().unwrap().unwrap_err();
            assert_eq!(error.to_string(), "no such name");
        }
        // The next one is the first again, even behind one that broke off.
        let (sender, receiver) = async_channel::bounded(1);
        assert!(join(&name, sender));
        drop(lookup);
        assert!(receiver.try_recv().is_err_and(|error| error.is_closed()));
    }
}
