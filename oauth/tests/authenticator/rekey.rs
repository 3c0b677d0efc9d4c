//! Change of password, and secrets encrypted beforehand, while a proxy runs over the same files.

use crate::world::{BY_CLIENT, BY_CODE, BY_PASSWORD, ITERATIONS, USER, World, config, settings};
use oauth::{
    authenticator::rekey::{
        RekeyError, Rekeyed, Stores, change_password, encrypt_secret, key_file,
    },
    store::{FileStore, Saved, Store},
};
use proxy_proto::Secret;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

pub(crate) struct Files {
    folder: TempDir,
    pub(crate) config: PathBuf,
    cache: Option<PathBuf>,
}

impl Files {
    pub(crate) fn new(text: &str) -> Files {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("emailproxy.config");
        fs::write(&config, format!("# mine\n{text}\n# the end\n")).expect("written");
        Files {
            folder,
            config,
            cache: None,
        }
    }

    /// A proxy that starts now.
    pub(crate) fn world(&self) -> World {
        World::of_files(&self.config, self.cache.as_deref())
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.config).expect("the configuration")
    }

    fn with_stores<T>(&self, act: impl FnOnce(Stores<'_>) -> T) -> T {
        let config = FileStore::configuration(&self.config);
        match &self.cache {
            None => act(Stores {
                tokens: &config,
                configuration: None,
            }),
            Some(path) => act(Stores {
                tokens: &FileStore::cache(path),
                configuration: Some(&config),
            }),
        }
    }

    pub(crate) fn passwd(&self, old: &str, new: &str) -> Result<Rekeyed, RekeyError> {
        let (old, new) = (Secret::new(old), Secret::new(new));
        let settings = settings(&self.text());
        self.with_stores(|stores| change_password(&settings, stores, USER, &old, &new, ITERATIONS))
    }

    fn encrypt(&self, name: &str, password: &str) -> Result<Rekeyed, RekeyError> {
        let settings = settings(&self.text());
        let password = Secret::new(password);
        self.with_stores(|stores| encrypt_secret(&settings, stores, name, &password, ITERATIONS))
    }

    pub(crate) fn saved(&self) -> Saved {
        let store = FileStore::configuration(&self.config);
        store.load(USER).expect("readable")
    }
}

pub(crate) fn keep_tokens(options: &str) -> String {
    format!(
        "[emailproxy]\ndelete_account_token_on_password_error = False\n{}",
        config(options)
    )
}

fn log_in(world: &World, password: &str, by_code: bool) -> String {
    let login = world.start(password);
    if by_code {
        world.user.consent();
    }
    login.join().expect("no panic").expect("a token")
}

#[test]
fn a_running_proxy_takes_the_new_password_and_no_consent_is_needed() {
    let files = Files::new(&keep_tokens(BY_CODE));
    let world = files.world();
    assert_eq!(log_in(&world, "old", true), "access-1");
    let before = files.saved();
    let done = files.passwd("old", "new").expect("changed");
    assert_eq!(done.heading, USER);
    assert_eq!(done.options, ["access_token", "refresh_token"]);
    let after = files.saved();
    assert!(after.token_salt != before.token_salt && after.refresh_token != before.refresh_token);
    assert!(after.access_token_expiry == before.access_token_expiry);
    assert!(files.text().starts_with("# mine\n") && files.text().contains("\n# the end\n"));
    assert_eq!(world.token("new"), "access-1");
    assert!(world.denied("old").contains("wrong password"));
    assert!(world.user.was_left_alone());
    world.clock.advance(3600);
    assert_eq!(world.token("new"), "access-2");
    assert_eq!(
        world.provider.last().value("refresh_token"),
        Some("refresh-1")
    );
}

#[test]
fn nothing_changes_under_a_wrong_password() {
    let files = Files::new(&keep_tokens(BY_PASSWORD));
    let nothing = files.passwd("old", "new").expect_err("nothing there");
    assert!(
        matches!(&nothing, RekeyError::Configuration(text) if text.contains("nothing is saved"))
    );
    log_in(&files.world(), "old", false);
    let before = files.text();
    for (old, new) in [("wrong", "new"), ("old", ""), ("", "new")] {
        let error = files.passwd(old, new).expect_err("refused");
        assert!(matches!(error, RekeyError::Password(_)), "{error}");
    }
    assert_eq!(files.text(), before);
    for damaged in ["v1:???", "nonsense"] {
        let line = before
            .lines()
            .find(|line| line.starts_with("refresh_token"))
            .expect("a line");
        let text = before.replace(line, &format!("refresh_token = {damaged}"));
        fs::write(&files.config, &text).expect("written");
        let error = files.passwd("old", "new").expect_err("refused");
        assert!(error.to_string().contains("refresh_token"), "{error}");
        assert_eq!(files.text(), text);
    }
}

#[test]
fn the_encrypted_client_secret_comes_along() {
    let text = format!(
        "{}\n[emailproxy]\nencrypt_client_secret_on_first_use = True\n",
        config(BY_CLIENT)
    );
    let files = Files::new(&text);
    log_in(&files.world(), "old", false);
    assert!(!files.text().contains("cl1ent"));
    let done = files.passwd("old", "new").expect("changed");
    assert_eq!(
        done.options,
        ["access_token", "refresh_token", "client_secret_encrypted"]
    );
    let world = files.world();
    assert!(world.denied("old").contains("client_secret_encrypted"));
    world.clock.advance(3600);
    assert_eq!(world.token("new"), "access-1");
    assert_eq!(world.provider.last().value("client_secret"), Some("cl1ent"));
}

#[test]
fn a_secret_of_a_catch_all_becomes_the_accounts_own() {
    let files = Files::new(&format!(
        "{}\n[emailproxy]\nallow_catch_all_accounts = True\n",
        config(BY_CLIENT).replace(USER, "@example.com")
    ));
    files.encrypt("@EXAMPLE.com", "old").expect("encrypted");
    log_in(&files.world(), "old", false);
    files.passwd("old", "new").expect("changed");
    let world = files.world();
    world.clock.advance(3600);
    assert_eq!(world.token("new"), "access-1");
    assert_eq!(world.provider.last().value("client_secret"), Some("cl1ent"));
    // the others go on with the old one
    assert!(
        world
            .login_from("b@example.com", "old", "127.0.0.1")
            .is_ok()
    );
    let error = files.with_stores(|stores| {
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        change_password(
            &settings(&files.text()),
            stores,
            "@example.com",
            &old,
            &new,
            1,
        )
    });
    assert!(matches!(error, Err(RekeyError::Configuration(_))));
}

#[test]
fn with_a_cache_the_configuration_stays_as_it_is() {
    let mut files = Files::new(&keep_tokens(BY_PASSWORD));
    // tokens that were left in the configuration file, from before there was a cache
    log_in(&files.world(), "old", false);
    let before = files.text();
    files.cache = Some(files.folder.path().join("cache"));
    files.passwd("old", "new").expect("changed");
    assert_eq!(files.text(), before);
    let world = files.world();
    assert_eq!(world.token("new"), "access-1");
    assert!(world.denied("old").contains("wrong password"));
    assert_eq!(world.provider.requests(), 0);
    files.passwd("new", "newer").expect("changed again");
    assert_eq!(world.token("newer"), "access-1");
}

#[test]
fn a_refresh_under_the_old_password_does_not_undo_the_change() {
    let files = Files::new(&keep_tokens(BY_PASSWORD));
    let world = files.world();
    log_in(&world, "old", false);
    world.clock.advance(3600);
    world.provider.hold();
    let refreshing = world.start("old");
    world.provider.wait_for(2);
    files.passwd("old", "new").expect("changed");
    let changed = files.text();
    world.provider.release();
    assert!(refreshing.join().expect("no panic").is_err());
    assert_eq!(files.text(), changed);
    // whoever knows the new password gets what was refreshed under the old one
    assert_eq!(world.token("new"), "access-2");
    assert_eq!(world.provider.requests(), 2);
    assert!(world.denied("old").contains("wrong password"));
}

#[test]
fn more_iterations_are_taken_at_the_opportunity_and_never_fewer() {
    let files = Files::new(&config(BY_PASSWORD));
    log_in(&files.world(), "old", false);
    let change = |iterations| {
        let (old, new) = (Secret::new("old"), Secret::new("old"));
        let settings = settings(&files.text());
        files
            .with_stores(|stores| change_password(&settings, stores, USER, &old, &new, iterations))
            .expect("changed");
        files.saved().token_iterations
    };
    assert_eq!(change(ITERATIONS * 2).as_deref(), Some("100"));
    assert_eq!(change(1).as_deref(), Some("100"));
}

#[test]
fn a_client_secret_encrypted_beforehand_closes_the_door() {
    let files = Files::new(&config(BY_CLIENT));
    let done = files
        .encrypt("User@example.com", "right")
        .expect("encrypted");
    assert_eq!(
        (done.heading.as_str(), done.options.as_slice()),
        (USER, ["client_secret_encrypted"].as_slice())
    );
    assert!(!files.text().contains("cl1ent"));
    let world = files.world();
    assert!(world.denied("wrong").contains("client_secret_encrypted"));
    assert_eq!(world.provider.requests(), 0);
    assert_eq!(world.token("right"), "access-1");
    assert_eq!(world.provider.last().value("client_secret"), Some("cl1ent"));
    for (name, expected) in [
        (USER, "encrypted already"),
        ("nobody@example.com", "no section"),
    ] {
        let error = files.encrypt(name, "right").expect_err("refused");
        assert!(matches!(error, RekeyError::Configuration(_)));
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn where_tokens_are_saved_the_secrets_password_is_theirs() {
    for cached in [false, true] {
        let mut files = Files::new(&config(BY_CLIENT));
        if cached {
            files.cache = Some(files.folder.path().join("cache"));
        }
        log_in(&files.world(), "right", false);
        let before = files.text();
        let error = files.encrypt(USER, "other").expect_err("refused");
        assert!(matches!(error, RekeyError::Password(_)), "{error}");
        assert_eq!(files.text(), before);
        files.encrypt(USER, "right").expect("encrypted");
        let world = files.world();
        assert_eq!(world.token("right"), "access-1");
        assert_eq!(world.provider.requests(), 0);
        world.clock.advance(3600);
        assert_eq!(world.token("right"), "access-1");
        assert_eq!(world.provider.last().value("client_secret"), Some("cl1ent"));
        assert!(world.denied("other").contains("wrong password"));
    }
}

#[test]
fn of_a_key_file_the_contents_are_encrypted() {
    let data = format!("{}/tests/data/rsa.key", env!("CARGO_MANIFEST_DIR"));
    let key = fs::read_to_string(data).expect("a key");
    let json = serde_json::json!({ "client_email": "robot@example.com", "private_key": key });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.json");
    fs::write(&path, json.to_string()).expect("written");
    let by_key = format!("{json:#}").replace('\n', "\n  ");
    for (id, secret) in [("file", path.display().to_string()), ("key", by_key)] {
        let files = Files::new(
            &config(&format!(
                "oauth2_flow = service_account\nclient_secret = {secret}"
            ))
            .replace("client_id = id", &format!("client_id = {id}")),
        );
        let named = settings(&files.text());
        assert_eq!(key_file(&named, USER).is_some(), id == "file");
        files.encrypt(USER, "right").expect("encrypted");
        let text = files.text();
        assert!(!text.contains("private_key") && !text.contains("key.json"));
        let world = files.world();
        assert!(world.denied("wrong").contains("client_secret_encrypted"));
        assert_eq!(world.token("right"), "access-1");
        let asked = world.provider.last();
        assert!(asked.value("assertion").is_some());
    }
    let files = Files::new(
        &config("oauth2_flow = service_account\nclient_secret = /nowhere/key.json")
            .replace("client_id = id", "client_id = file"),
    );
    let error = files.encrypt(USER, "right").expect_err("no file");
    assert!(error.to_string().contains("/nowhere/key.json"), "{error}");
}
