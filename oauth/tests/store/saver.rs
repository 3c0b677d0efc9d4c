//! What the saver remembers while its store is in trouble.

use super::set;
use futures_lite::future::block_on;
use oauth::store::{Change, Outcome, Saved, Saver, Store, StoreError};
use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A store in memory that can be told to fail, and to stand still in the middle of a save.
#[derive(Default)]
struct Fickle {
    broken: AtomicBool,
    unreadable: AtomicBool,
    sections: Mutex<HashMap<String, Saved>>,
    saves: AtomicUsize,
    gate: Mutex<bool>,
    gate_moved: Condvar,
    written: Condvar,
}

impl Fickle {
    fn close_gate(&self, closed: bool) {
        *self.gate.lock().unwrap() = closed;
        self.gate_moved.notify_all();
    }

    fn wait_for(&self, heading: &str, token: &str) {
        let sections = self.sections.lock().unwrap();
        let missing = |sections: &mut HashMap<String, Saved>| {
            sections
                .get(heading)
                .and_then(|saved| saved.access_token.as_deref())
                != Some(token)
        };
        let waited = self
            .written
            .wait_timeout_while(sections, Duration::from_secs(30), missing)
            .unwrap();
        assert!(!waited.1.timed_out(), "never written");
    }
}

impl Store for Fickle {
    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        if self.unreadable.load(Ordering::SeqCst) {
            return Err(StoreError("cannot be read".to_owned()));
        }
        Ok(self
            .sections
            .lock()
            .unwrap()
            .get(heading)
            .cloned()
            .unwrap_or_default())
    }

    fn save(&self, heading: &str, changes: &[Change]) -> Result<(), StoreError> {
        self.saves.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap();
        drop(self.gate_moved.wait_while(gate, |closed| *closed).unwrap());
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError("the disk is full".to_owned()));
        }
        self.sections
            .lock()
            .unwrap()
            .entry(heading.to_owned())
            .or_default()
            .apply(changes);
        self.written.notify_all();
        Ok(())
    }

    fn describe(&self) -> String {
        "fickle".to_owned()
    }
}

fn fickle() -> (Arc<Fickle>, Arc<Saver>) {
    let store = Arc::new(Fickle::default());
    (store.clone(), Saver::new(store))
}

fn token(saver: &Saver, heading: &str) -> Option<String> {
    block_on(saver.load(heading)).unwrap().access_token
}

#[test]
fn what_is_saved_is_written_and_loaded() {
    let (store, saver) = fickle();
    let outcome = block_on(saver.save("a@x", vec![set("access_token", "t")]));
    assert!(matches!(outcome, Outcome::Written));
    assert_eq!(token(&saver, "a@x").as_deref(), Some("t"));
    assert_eq!(token(&saver, "b@x"), None);
    assert_eq!(store.saves.load(Ordering::SeqCst), 1);
    assert!(block_on(saver.flush()).is_empty());
    assert_eq!(saver.describe(), "fickle");
}

#[test]
fn pending_changes_are_served_and_retried_until_they_are_written() {
    let store = Arc::new(Fickle::default());
    let retry = Duration::from_millis(1);
    let saver = Saver::with_retry(store.clone(), retry, retry * 8);
    store.broken.store(true, Ordering::SeqCst);
    for value in ["one", "two"] {
        let outcome = block_on(saver.save("a@x", vec![set("access_token", value)]));
        assert!(matches!(outcome, Outcome::Pending(error) if error.0 == "the disk is full"));
    }
    assert_eq!(token(&saver, "a@x").as_deref(), Some("two"));
    let unsaved = block_on(saver.flush());
    assert_eq!(unsaved.len(), 1);
    assert_eq!(
        (&*unsaved[0].heading, &*unsaved[0].error.0),
        ("a@x", "the disk is full")
    );
    store.broken.store(false, Ordering::SeqCst);
    store.wait_for("a@x", "two");
    assert!(block_on(saver.flush()).is_empty());
}

#[test]
fn the_next_save_takes_pending_ones_with_it() {
    let (store, saver) = fickle();
    store.broken.store(true, Ordering::SeqCst);
    block_on(saver.save(
        "a@x",
        vec![set("access_token", "a"), set("refresh_token", "r")],
    ));
    store.broken.store(false, Ordering::SeqCst);
    let outcome = block_on(saver.save("b@x", vec![set("access_token", "b")]));
    assert!(matches!(outcome, Outcome::Written));
    let sections = store.sections.lock().unwrap();
    assert_eq!(sections["a@x"].refresh_token.as_deref(), Some("r"));
    assert_eq!(sections["b@x"].access_token.as_deref(), Some("b"));
}

#[test]
fn a_store_that_cannot_be_read_costs_no_account_that_is_known() {
    let (store, saver) = fickle();
    block_on(saver.save("a@x", vec![set("access_token", "t")]));
    assert_eq!(token(&saver, "a@x").as_deref(), Some("t"));
    store.unreadable.store(true, Ordering::SeqCst);
    assert_eq!(token(&saver, "a@x").as_deref(), Some("t"));
    assert_eq!(
        block_on(saver.load("b@x")).err().map(|e| e.0).as_deref(),
        Some("cannot be read")
    );
}

#[test]
fn a_login_that_is_given_up_loses_nothing() {
    let (store, saver) = fickle();
    store.close_gate(true);
    {
        let mut save = std::pin::pin!(saver.save("a@x", vec![set("access_token", "t")]));
        assert!(block_on(futures_lite::future::poll_once(save.as_mut())).is_none());
    }
    assert_eq!(
        token(&saver, "a@x").as_deref(),
        Some("t"),
        "served while it is being written"
    );
    store.close_gate(false);
    store.wait_for("a@x", "t");
}

#[test]
fn saves_during_a_write_go_out_together() {
    let (store, saver) = fickle();
    store.close_gate(true);
    let threads: Vec<_> = (0..20)
        .map(|number| {
            let saver = saver.clone();
            let changes = vec![
                set("access_token", format!("t{number}")),
                set("refresh_token", format!("r{number}")),
            ];
            std::thread::spawn(move || block_on(saver.save("a@x", changes)))
        })
        .collect();
    while store.saves.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    store.close_gate(false);
    for thread in threads {
        assert!(matches!(thread.join().unwrap(), Outcome::Written));
    }
    assert!(block_on(saver.flush()).is_empty());
    let sections = store.sections.lock().unwrap();
    let saved = &sections["a@x"];
    let (access, refresh) = (
        saved.access_token.as_deref().unwrap(),
        saved.refresh_token.as_deref().unwrap(),
    );
    assert_eq!(access[1..], refresh[1..], "tokens of one save");
    assert!(store.saves.load(Ordering::SeqCst) <= 20);
}

#[test]
fn a_value_that_no_store_can_hold_blocks_no_other() {
    let (store, saver) = fickle();
    for bad in ["a\nb", " a", "a\r"] {
        let outcome = block_on(saver.save("a@x", vec![set("access_token", bad)]));
        assert!(matches!(outcome, Outcome::Pending(_)), "{bad:?}");
    }
    assert!(block_on(saver.flush()).is_empty());
    assert_eq!(store.saves.load(Ordering::SeqCst), 0);
}
