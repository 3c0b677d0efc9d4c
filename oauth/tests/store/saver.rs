//! What the saver remembers while its store is in trouble.

use super::set;
use futures_lite::future::block_on;
use oauth::store::{Outcome, Pace, Saved, Saver, Store, StoreError, Update};
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
    pace: Option<Pace>,
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

    fn save_all(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError> {
        self.saves.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap();
        drop(self.gate_moved.wait_while(gate, |closed| *closed).unwrap());
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError("the disk is full".to_owned()));
        }
        let mut sections = self.sections.lock().unwrap();
        let mut save = |update: &Update| {
            let section = sections.entry(update.heading.clone()).or_default();
            let fits = update.fits(section);
            if fits {
                section.apply(&update.changes);
            }
            fits
        };
        let made = updates.iter().map(&mut save).collect();
        self.written.notify_all();
        Ok(made)
    }

    fn headings(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.sections.lock().unwrap().keys().cloned().collect())
    }

    fn pace(&self) -> Option<Pace> {
        self.pace
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

/// What `[a@x]` holds in the store itself.
fn held(store: &Fickle) -> Saved {
    let sections = store.sections.lock().unwrap();
    sections.get("a@x").cloned().unwrap_or_default()
}

#[test]
fn a_save_that_rests_on_something_else_is_not_made() {
    let (store, saver) = fickle();
    block_on(saver.save("a@x", vec![set("access_token", "one")]));
    let seen = block_on(saver.load("a@x")).unwrap();
    store.save("a@x", &[set("last_activity", "7")]).unwrap();
    let save = |seen: &Saved, value: &str| {
        block_on(saver.save_unless_changed("a@x", seen, vec![set("access_token", value)]))
    };
    assert!(
        matches!(save(&seen, "two"), Outcome::Written),
        "last_activity does not count"
    );
    assert!(matches!(save(&seen, "three"), Outcome::Changed));
    assert_eq!(held(&store).access_token.as_deref(), Some("two"));
    store.save("a@x", &[set("token_salt", "theirs")]).unwrap();
    let seen = block_on(saver.load("a@x")).unwrap();
    assert!(matches!(save(&seen, "three"), Outcome::Written));
}

#[test]
fn what_is_pending_gives_way_to_what_others_have_written() {
    let (store, saver) = fickle();
    block_on(saver.save(
        "a@x",
        vec![set("token_salt", "ours"), set("access_token", "t1")],
    ));
    let seen = block_on(saver.load("a@x")).unwrap();
    store.broken.store(true, Ordering::SeqCst);
    let save = |seen: &Saved, value: &str| {
        block_on(saver.save_unless_changed("a@x", seen, vec![set("access_token", value)]))
    };
    assert!(matches!(save(&seen, "t2"), Outcome::Pending(_)));
    // the next save rests on what is pending
    assert!(matches!(save(&seen, "t3"), Outcome::Changed));
    let pending = block_on(saver.load("a@x")).unwrap();
    assert_eq!(pending.access_token.as_deref(), Some("t2"));
    assert!(matches!(save(&pending, "t3"), Outcome::Pending(_)));
    store.broken.store(false, Ordering::SeqCst);
    let theirs = [set("token_salt", "theirs"), set("access_token", "t0")];
    store.save("a@x", &theirs).unwrap();
    // whichever comes first, a look or a write
    let looks = block_on(saver.load("a@x")).unwrap();
    assert_eq!(looks.access_token.as_deref(), Some("t0"));
    assert!(block_on(saver.flush()).is_empty());
    assert_eq!(held(&store).access_token.as_deref(), Some("t0"));
    assert_eq!(held(&store).token_salt.as_deref(), Some("theirs"));
}

#[test]
fn a_retry_does_not_overwrite_what_others_have_written() {
    let (store, saver) = fickle();
    store.broken.store(true, Ordering::SeqCst);
    let nothing = Saved::default();
    let changes = vec![set("access_token", "ours")];
    let outcome = block_on(saver.save_unless_changed("a@x", &nothing, changes));
    assert!(matches!(outcome, Outcome::Pending(_)));
    store.broken.store(false, Ordering::SeqCst);
    store.save("a@x", &[set("access_token", "theirs")]).unwrap();
    assert!(block_on(saver.flush()).is_empty());
    assert_eq!(held(&store).access_token.as_deref(), Some("theirs"));
    assert_eq!(token(&saver, "a@x").as_deref(), Some("theirs"));
}

/// A store that takes three writes at once, and one more in `interval`.
fn paced(interval: Duration) -> (Arc<Fickle>, Arc<Saver>) {
    let pace = Pace {
        gather: Duration::ZERO,
        interval,
        burst: 2,
    };
    let store = Arc::new(Fickle {
        pace: Some(pace),
        ..Fickle::default()
    });
    (store.clone(), Saver::new(store))
}

#[test]
fn access_tokens_wait_for_the_next_write_of_a_store_that_takes_few() {
    let (store, saver) = paced(Duration::from_secs(3600));
    let save = |heading: &str, option, value: &str| {
        block_on(saver.save(heading, vec![set(option, value)]))
    };
    assert!(matches!(
        save("a@x", "access_token", "t1"),
        Outcome::Written
    ));
    for value in ["t2", "t3"] {
        assert!(matches!(
            save("a@x", "access_token", value),
            Outcome::Waiting
        ));
    }
    assert_eq!(held(&store).access_token.as_deref(), Some("t1"));
    assert_eq!(token(&saver, "a@x").as_deref(), Some("t3"), "served");
    // what cannot be had again is written at once, and takes along what waits
    assert!(matches!(
        save("b@x", "refresh_token", "r"),
        Outcome::Written
    ));
    assert_eq!(held(&store).access_token.as_deref(), Some("t3"));
    assert_eq!(store.saves.load(Ordering::SeqCst), 2);
    // until there have been too many
    assert!(matches!(
        save("b@x", "refresh_token", "r2"),
        Outcome::Written
    ));
    assert!(matches!(
        save("b@x", "refresh_token", "r3"),
        Outcome::Waiting
    ));
    assert!(matches!(
        save("a@x", "access_token", "t4"),
        Outcome::Waiting
    ));
    assert_eq!(store.saves.load(Ordering::SeqCst), 3);
    // the end of the process asks nobody
    assert!(block_on(saver.flush()).is_empty());
    assert_eq!(held(&store).access_token.as_deref(), Some("t4"));
    assert_eq!(store.saves.load(Ordering::SeqCst), 4);
}

#[test]
fn what_waits_is_written_when_its_time_comes() {
    let (store, saver) = paced(Duration::from_millis(20));
    for number in 0..50 {
        block_on(saver.save("a@x", vec![set("access_token", format!("t{number}"))]));
    }
    store.wait_for("a@x", "t49");
    for number in 0..50 {
        block_on(saver.save("a@x", vec![set("refresh_token", format!("r{number}"))]));
    }
    block_on(saver.save("a@x", vec![set("access_token", "last")]));
    store.wait_for("a@x", "last");
    assert_eq!(held(&store).refresh_token.as_deref(), Some("r49"));
}

#[test]
fn sections_are_found_in_any_letter_case() {
    let (store, saver) = fickle();
    let find = |name: &str| block_on(saver.spelling(name)).unwrap();
    for heading in ["b@x", "A@x", "B@x"] {
        store.save(heading, &[set("access_token", "t")]).unwrap();
    }
    assert_eq!(find("a@X").as_deref(), Some("A@x"));
    assert_eq!(find("B@x").as_deref(), Some("B@x"), "the same comes first");
    assert_eq!(find("c@x"), None);
    store.broken.store(true, Ordering::SeqCst);
    block_on(saver.save("New@X.example", vec![set("access_token", "t")]));
    for name in ["New@X.example", "new@x.EXAMPLE"] {
        let found = find(name);
        assert_eq!(
            found.as_deref(),
            Some("New@X.example"),
            "while it is pending"
        );
    }
}
