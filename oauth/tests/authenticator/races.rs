//! A change of password that lands at any moment of a renewal: just before each single call that the renewal makes to the store.

use crate::{
    rekey::{Files, keep_tokens},
    world::{BY_CLIENT, BY_CODE, START, USER, World},
};
use oauth::{
    authenticator::Denial,
    store::{FileStore, Saved, Store, StoreError, Update},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

type Act = Box<dyn FnOnce() + Send>;

/// The configuration file, with something that happens in front of a chosen call.
struct Between {
    inner: FileStore,
    /// Calls that are still to be let through, and what happens then.
    planned: Mutex<Option<(usize, Act)>>,
    happened: AtomicBool,
    broken: AtomicBool,
}

impl Between {
    fn over(files: &Files) -> Arc<Between> {
        Arc::new(Between {
            inner: FileStore::configuration(&files.config),
            planned: Mutex::default(),
            happened: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        })
    }

    fn plan(&self, calls: usize, act: impl FnOnce() + Send + 'static) {
        *self.planned.lock().unwrap() = Some((calls, Box::new(act)));
    }

    /// Whether what was planned has not happened; it will not.
    fn cancel(&self) -> bool {
        self.planned.lock().unwrap().take().is_some()
    }

    fn called(&self) {
        let act = {
            let mut planned = self.planned.lock().unwrap();
            match &mut *planned {
                Some((0, _)) => planned.take(),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
        };
        if let Some((_, act)) = act {
            act();
            self.happened.store(true, Ordering::SeqCst);
        }
    }
}

impl Store for Between {
    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        self.called();
        self.inner.load(heading)
    }

    fn save_all(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError> {
        self.called();
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError("the disk is full".to_owned()));
        }
        self.inner.save_all(updates)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

/// A proxy whose one account has logged in under the password `old`.
fn begun(options: &str) -> (Arc<Files>, Arc<Between>, World) {
    let files = Arc::new(Files::new(&keep_tokens(options)));
    let store = Between::over(&files);
    let world = World::over_store(&files.text(), store.clone());
    let login = world.start("old");
    if options == BY_CODE {
        world.user.consent();
    }
    login.join().expect("no panic").expect("a token");
    (files, store, world)
}

/// The refresh tokens that the provider has seen; it takes each once.
fn refreshed(world: &World) -> Vec<String> {
    let asked = world.provider.asked();
    let tokens = asked
        .iter()
        .filter_map(|asked| asked.value("refresh_token"));
    tokens.map(str::to_owned).collect()
}

/// What has to hold when `old` has become `new` at some moment: nobody was asked, and no refresh token is used twice or lost.
fn holds(files: &Files, world: &World, at: usize) {
    assert!(world.login("new").is_ok(), "{at}");
    let denial = world.login("old").err();
    assert!(
        matches!(&denial, Some(Denial::Denied(text)) if text.contains("wrong password")),
        "{at}: {denial:?}"
    );
    world.clock.advance(3600);
    assert!(world.login("new").is_ok(), "{at}");
    assert!(world.user.was_left_alone(), "{at}");
    let tokens = refreshed(world);
    for (number, token) in tokens.iter().enumerate() {
        assert!(!tokens[..number].contains(token), "{at}: {tokens:?}");
    }
    // and on disk is what the next process needs
    let next = files.world();
    assert!(next.login("new").is_ok(), "{at}");
    assert_eq!(next.provider.requests(), 0, "{at}");
}

#[test]
fn a_change_of_password_at_any_moment_of_a_refresh_costs_nothing() {
    for at in 0.. {
        let (files, store, world) = begun(BY_CODE);
        world.clock.advance(3600);
        let theirs = files.clone();
        store.plan(at, move || {
            theirs.passwd("old", "new").expect("changed");
        });
        let first = world.login("old");
        if store.cancel() {
            assert!(first.is_ok());
            assert!(at >= 4, "the store was called {at} times");
            return;
        }
        holds(&files, &world, at);
    }
}

#[test]
fn nor_does_it_where_the_provider_replaces_no_refresh_token() {
    for at in 0.. {
        let (files, store, world) = begun(BY_CODE);
        world.clock.advance(3600);
        let answer = r#"{"access_token":"fresh","expires_in":3600}"#;
        world.provider.answer(200, answer);
        let theirs = files.clone();
        store.plan(at, move || {
            theirs.passwd("old", "new").expect("changed");
        });
        let first = world.login("old");
        if store.cancel() {
            assert!(first.is_ok());
            return;
        }
        assert_eq!(world.token("new"), "fresh", "{at}");
        assert!(world.login("old").is_err(), "{at}");
        assert_eq!(world.provider.requests(), 2, "{at}");
        world.clock.advance(3600);
        assert_eq!(world.token("new"), "access-3", "{at}");
        assert!(world.user.was_left_alone(), "{at}");
    }
}

#[test]
fn nor_where_the_client_alone_is_asked() {
    for at in 0.. {
        let (files, store, world) = begun(BY_CLIENT);
        world.clock.advance(3600);
        let answer = r#"{"access_token":"fresh","expires_in":3600}"#;
        world.provider.answer(200, answer);
        let theirs = files.clone();
        store.plan(at, move || {
            theirs.passwd("old", "new").expect("changed");
        });
        let first = world.login("old");
        if store.cancel() {
            assert!(first.is_ok());
            return;
        }
        assert!(world.login("new").is_ok(), "{at}");
        let denial = world.login("old").err();
        assert!(matches!(denial, Some(Denial::Denied(_))), "{at}");
        assert!(files.world().login("new").is_ok(), "{at}");
    }
}

#[test]
fn nor_does_one_at_any_moment_of_a_renewal_ahead_of_time() {
    for at in 0.. {
        let (files, store, world) = begun(BY_CODE);
        let _open = world.authenticator.session_opened(USER);
        world.clock.wait_for_sleeps(60, 1);
        let theirs = files.clone();
        store.plan(at, move || {
            theirs.passwd("old", "new").expect("changed");
        });
        world.clock.advance(3600 - 600 - 60);
        // it is over when the change has been made, or else when what was renewed is there
        while !store.happened.load(Ordering::SeqCst) && !renewed(&files) {
            thread::yield_now();
        }
        if store.cancel() {
            assert!(at >= 4, "the store was called {at} times");
            return;
        }
        holds(&files, &world, at);
    }
}

fn renewed(files: &Files) -> bool {
    files.saved().last_activity.as_deref() != Some(&START.to_string())
}

#[test]
fn a_refreshed_token_that_waits_for_the_disk_is_not_lost_to_a_change_of_password() {
    let (files, store, world) = begun(BY_CODE);
    world.clock.advance(3600);
    store.broken.store(true, Ordering::SeqCst);
    assert_eq!(world.token("old"), "access-2");
    // it is in memory only; the command finds the old ones on disk
    files.passwd("old", "new").expect("changed");
    store.broken.store(false, Ordering::SeqCst);
    holds(&files, &world, 0);
    assert_eq!(refreshed(&world), ["refresh-1", "refresh-2"]);
}

#[test]
fn what_is_kept_for_a_new_password_is_given_to_nobody_else() {
    let (files, store, world) = begun(BY_CODE);
    world.clock.advance(3600);
    let theirs = files.clone();
    // just before the refreshed token is written
    store.plan(3, move || {
        theirs.passwd("old", "new").expect("changed");
    });
    let denial = world.login("old").err();
    assert!(matches!(denial, Some(Denial::Denied(_))), "{denial:?}");
    assert!(world.login("guess").is_err());
    assert!(world.login("old").is_err());
    assert_eq!(world.provider.requests(), 2);
    assert_eq!(world.token("new"), "access-2");
    assert_eq!(world.provider.requests(), 2, "nothing was asked for twice");
}
