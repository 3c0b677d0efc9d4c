//! Derived keys kept in memory, and the threads that derive them.
//!
//! Only the first login of an account pays for PBKDF2. Keys are found by a keyed hash over account, password, salt and iterations
//! (the key of the hash is random and never leaves the process), which is compared in constant time. A key is kept only once it
//! has opened or sealed something, so that guesses fill nothing.

use crate::crypt::{Kdf, Key, NoRandomness, random};
use event_listener::{Event, listener};
use hmac::{Hmac, KeyInit, Mac};
use proxy_proto::Secret;
use sha2::Sha256;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Keys kept; the oldest gives way. An account needs one, or two while its values are being rewritten.
const KEPT: usize = 8192;

/// Derivations that may wait for a thread.
const QUEUE: usize = 1024;

/// A keyed hash: says whether two secrets are the same without keeping either.
#[derive(Clone, Copy)]
pub struct Tag([u8; 32]);

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Tag {}

impl Tag {
    /// A number from 0 to 255 that stays the same as long as the process runs: for spreading things in time.
    pub(crate) fn spread(&self) -> u64 {
        self.0[0].into()
    }
}

/// Derived keys in memory.
pub struct Keyring {
    index: Zeroizing<[u8; 32]>,
    threads: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    kept: VecDeque<Kept>,
    pending: Vec<(Tag, Arc<Derivation>)>,
    queue: VecDeque<Job>,
    running: usize,
}

struct Kept {
    tag: Tag,
    /// The same without the password.
    place: Tag,
    key: Arc<Key>,
}

struct Job {
    tag: Tag,
    kdf: Kdf,
    password: Secret,
    derivation: Arc<Derivation>,
}

#[derive(Default)]
struct Derivation {
    key: OnceLock<Arc<Key>>,
    done: Event,
}

/// Too many derivations are waiting already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl Keyring {
    /// Empty; derives on at most `threads` threads at once.
    pub fn new(threads: usize) -> Result<Self, NoRandomness> {
        Ok(Keyring {
            index: Zeroizing::new(random()?),
            threads: threads.max(1),
            inner: Arc::default(),
        })
    }

    /// The hash by which secrets are compared. The parts are told apart: `["a", "b"]` is not `["ab", ""]`.
    pub fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut mac = hmac(self.index.as_slice());
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Tag(mac.finalize().into_bytes().into())
    }

    /// The key, when it is in memory.
    pub fn cached(&self, account: &str, password: &Secret, kdf: &Kdf) -> Option<Arc<Key>> {
        let tag = self.key_tag(account, password, kdf);
        lock(&self.inner)
            .kept
            .iter()
            .find(|kept| kept.tag == tag)
            .map(|kept| kept.key.clone())
    }

    /// The keys in memory for this account, salt and iterations, whatever their passwords; the latest first.
    pub fn known(&self, account: &str, kdf: &Kdf) -> Vec<Arc<Key>> {
        let place = self.place_tag(account, kdf);
        let inner = lock(&self.inner);
        let here = inner.kept.iter().rev().filter(|kept| kept.place == place);
        here.map(|kept| kept.key.clone()).collect()
    }

    /// The key from memory, or derived on a thread; logins that need the same key wait for one derivation.
    pub async fn derive(
        &self,
        account: &str,
        password: &Secret,
        kdf: &Kdf,
    ) -> Result<Arc<Key>, Busy> {
        if let Some(key) = self.cached(account, password, kdf) {
            return Ok(key);
        }
        let tag = self.key_tag(account, password, kdf);
        let derivation = {
            let mut inner = lock(&self.inner);
            if let Some((_, derivation)) = inner.pending.iter().find(|(t, _)| *t == tag) {
                derivation.clone()
            } else if inner.queue.len() >= QUEUE {
                return Err(Busy);
            } else {
                let derivation = Arc::<Derivation>::default();
                inner.pending.push((tag, derivation.clone()));
                inner.queue.push_back(Job {
                    tag,
                    kdf: kdf.clone(),
                    password: password.clone(),
                    derivation: derivation.clone(),
                });
                if inner.running < self.threads {
                    inner.running += 1;
                    let inner = self.inner.clone();
                    blocking::unblock(move || work(&inner)).detach();
                }
                derivation
            }
        };
        loop {
            if let Some(key) = derivation.key.get() {
                return Ok(key.clone());
            }
            listener!(derivation.done => done);
            if let Some(key) = derivation.key.get() {
                return Ok(key.clone());
            }
            done.await;
        }
    }

    /// Keeps a key that has proved right.
    pub fn keep(&self, account: &str, password: &Secret, kdf: &Kdf, key: &Arc<Key>) {
        let tag = self.key_tag(account, password, kdf);
        let place = self.place_tag(account, kdf);
        let mut inner = lock(&self.inner);
        if !inner.kept.iter().any(|kept| kept.tag == tag) {
            if inner.kept.len() >= KEPT {
                inner.kept.pop_front();
            }
            let key = key.clone();
            inner.kept.push_back(Kept { tag, place, key });
        }
    }

    fn place_tag(&self, account: &str, kdf: &Kdf) -> Tag {
        self.tag(&[
            b"place",
            account.as_bytes(),
            &kdf.salt,
            &kdf.iterations.to_be_bytes(),
        ])
    }

    fn key_tag(&self, account: &str, password: &Secret, kdf: &Kdf) -> Tag {
        self.tag(&[
            account.as_bytes(),
            password.expose().as_bytes(),
            &kdf.salt,
            &kdf.iterations.to_be_bytes(),
        ])
    }
}

/// Derives until nothing waits.
fn work(inner: &Mutex<Inner>) {
    loop {
        let job = {
            let mut inner = lock(inner);
            match inner.queue.pop_front() {
                Some(job) => job,
                None => {
                    inner.running -= 1;
                    return;
                }
            }
        };
        let key = Arc::new(job.kdf.derive(&job.password));
        lock(inner).pending.retain(|(tag, _)| *tag != job.tag);
        let _ = job.derivation.key.set(key);
        job.derivation.done.notify(usize::MAX);
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// HMAC-SHA256 under a key of any length.
pub(crate) fn hmac(key: &[u8]) -> Hmac<Sha256> {
    match Hmac::new_from_slice(key) {
        Ok(mac) => mac,
        // HMAC takes keys of every length (RFC 2104 §2)
        Err(_) => unreachable!("HMAC refused a key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, zip};

    fn kdf(iterations: u32) -> Kdf {
        Kdf {
            salt: b"salt".to_vec(),
            iterations,
        }
    }

    #[test]
    fn a_kept_key_is_found_by_all_four_of_its_parts() {
        let keyring = Keyring::new(1).expect("randomness");
        let password = Secret::new("one");
        let key = block_on(keyring.derive("a", &password, &kdf(1))).expect("nothing waits");
        assert!(
            keyring.cached("a", &password, &kdf(1)).is_none(),
            "not kept yet"
        );
        keyring.keep("a", &password, &kdf(1), &key);
        assert!(keyring.cached("a", &password, &kdf(1)).is_some());
        assert!(keyring.cached("b", &password, &kdf(1)).is_none());
        assert!(keyring.cached("a", &Secret::new("two"), &kdf(1)).is_none());
        assert!(keyring.cached("a", &password, &kdf(2)).is_none());
        let other = Kdf {
            salt: b"pepper".to_vec(),
            iterations: 1,
        };
        assert!(keyring.cached("a", &password, &other).is_none());
    }

    #[test]
    fn kept_keys_are_known_without_their_password() {
        let keyring = Keyring::new(1).expect("randomness");
        let keep = |password: &str| {
            let password = Secret::new(password);
            let key = block_on(keyring.derive("a", &password, &kdf(1))).expect("nothing waits");
            assert!(
                !keyring
                    .known("a", &kdf(1))
                    .iter()
                    .any(|k| Arc::ptr_eq(k, &key)),
                "not kept yet"
            );
            keyring.keep("a", &password, &kdf(1), &key);
            key
        };
        let (first, second) = (keep("one"), keep("two"));
        let known = keyring.known("a", &kdf(1));
        assert!(
            known.len() == 2 && Arc::ptr_eq(&known[0], &second) && Arc::ptr_eq(&known[1], &first)
        );
        assert!(keyring.known("b", &kdf(1)).is_empty() && keyring.known("a", &kdf(2)).is_empty());
    }

    #[test]
    fn those_who_need_the_same_key_share_a_derivation() {
        let keyring = Keyring::new(2).expect("randomness");
        let password = Secret::new("one");
        let (kdf_a, kdf_b) = (kdf(50_000), kdf(50_000));
        let (first, second) = block_on(zip(
            keyring.derive("a", &password, &kdf_a),
            keyring.derive("a", &password, &kdf_b),
        ));
        let (first, second) = (first.expect("free"), second.expect("free"));
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn a_waiter_that_leaves_takes_nothing_from_the_others() {
        let keyring = Keyring::new(1).expect("randomness");
        let password = Secret::new("one");
        let key = block_on(async {
            let busy = kdf(200_000);
            let mut left = Box::pin(keyring.derive("a", &password, &busy));
            assert!(futures_lite::future::poll_once(&mut left).await.is_none());
            drop(left);
            keyring.derive("a", &password, &busy).await
        });
        assert!(key.is_ok());
    }

    #[test]
    fn tags_tell_parts_apart() {
        let keyring = Keyring::new(1).expect("randomness");
        assert!(keyring.tag(&[b"a", b"b"]) == keyring.tag(&[b"a", b"b"]));
        assert!(keyring.tag(&[b"a", b"b"]) != keyring.tag(&[b"ab", b""]));
    }
}
