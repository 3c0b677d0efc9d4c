//! One process and its file.

use super::{account, commented_configuration, set};
use oauth::{
    document::Document,
    store::{Change, FileStore, Saved, Store},
};
use std::{fs, path::Path};

#[test]
fn a_save_adds_lines_and_touches_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emailproxy.config");
    let before = commented_configuration();
    fs::write(&path, &before).unwrap();
    let store = FileStore::configuration(&path);
    store
        .save(
            &account(7),
            &[set("token_salt", "c2FsdA=="), set("access_token", "v1:abc")],
        )
        .unwrap();
    let after = fs::read_to_string(&path).unwrap();
    let added: Vec<&str> = after
        .lines()
        .filter(|line| !before.contains(line))
        .collect();
    assert_eq!(
        added,
        ["  token_salt = c2FsdA==", "  access_token = v1:abc"]
    );
    assert_eq!(
        after.replace("  token_salt = c2FsdA==\n  access_token = v1:abc\n", ""),
        before
    );
    let saved = store.load(&account(7)).unwrap();
    assert_eq!(saved.token_salt.as_deref(), Some("c2FsdA=="));
    assert_eq!(saved.access_token.as_deref(), Some("v1:abc"));
    assert!(store.load(&account(8)).unwrap() == Saved::default());
    assert_eq!(
        names(folder.path()),
        [".emailproxy.config.lock", "emailproxy.config"]
    );
}

#[test]
fn changes_are_made_all_at_once_and_removed_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "[a@x]\nclient_secret = plain\n# end").unwrap();
    let store = FileStore::configuration(&path);
    let drop_secret = Change {
        option: "client_secret",
        value: None,
    };
    store
        .save(
            "a@x",
            &[set("client_secret_encrypted", "v1:e"), drop_secret],
        )
        .unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "[a@x]\nclient_secret_encrypted = v1:e\n# end"
    );
    let bad = [
        set("access_token", "good"),
        set("refresh_token", "two\rlines"),
    ];
    let error = store.save("a@x", &bad).unwrap_err();
    assert!(
        error.0.contains("cannot hold this change") && !error.0.contains("two"),
        "{error}"
    );
    assert_eq!(store.load("a@x").unwrap().access_token, None, "all or none");
}

#[test]
fn last_activity_alone_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let store = FileStore::cache(&path);
    store.save("a@x", &[set("last_activity", "1")]).unwrap();
    assert!(!path.exists());
    store
        .save(
            "a@x",
            &[set("access_token", "t"), set("last_activity", "2")],
        )
        .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    store
        .save(
            "a@x",
            &[set("access_token", "t"), set("last_activity", "3")],
        )
        .unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    store
        .save(
            "a@x",
            &[set("access_token", "u"), set("last_activity", "4")],
        )
        .unwrap();
    assert_eq!(
        store.load("a@x").unwrap().last_activity.as_deref(),
        Some("4")
    );
}

#[test]
fn a_persons_edit_between_two_saves_survives_and_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "[a@x]\nclient_id = 0\n").unwrap();
    let store = FileStore::configuration(&path);
    for round in 0..20 {
        store
            .save("a@x", &[set("access_token", format!("t{round}"))])
            .unwrap();
        // Edited in place, to the same length: only the content tells.
        let text = fs::read_to_string(&path).unwrap();
        let old = format!("client_id = {}", round % 10);
        let edited = text.replace(&old, &format!("client_id = {}", (round + 1) % 10));
        assert_ne!(edited, text);
        fs::write(
            &path,
            edited.replace(&format!("t{round}"), &format!("p{round}")),
        )
        .unwrap();
        assert_eq!(
            store.load("a@x").unwrap().access_token,
            Some(format!("p{round}"))
        );
    }
    store.save("a@x", &[set("access_token", "last")]).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "[a@x]\nclient_id = 0\naccess_token = last\n"
    );
}

#[test]
fn a_replaced_file_is_seen_whatever_its_age_and_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "[a@x]\naccess_token = one\n").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let age = || {
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap()
    };
    age();
    let store = FileStore::configuration(&path);
    let first = store.load("a@x").unwrap();
    assert_eq!(first.access_token.as_deref(), Some("one"));
    fs::rename(&path, folder.path().join("old")).unwrap();
    fs::write(&path, "[a@x]\naccess_token = two\n").unwrap();
    age();
    assert_eq!(
        store.load("a@x").unwrap().access_token.as_deref(),
        Some("two")
    );
}

#[test]
fn a_cache_is_made_at_the_first_save_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache");
    let store = FileStore::cache(&path);
    assert!(store.load("a@x").unwrap() == Saved::default());
    store.save("a@x", &[set("refresh_token", "r")]).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "[a@x]\nrefresh_token = r\n"
    );
    assert_eq!(store.describe(), path.display().to_string());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for name in ["cache", ".cache.lock"] {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}

#[test]
fn a_configuration_that_is_gone_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let store = FileStore::configuration(&path);
    assert!(
        store
            .load("a@x")
            .err()
            .unwrap()
            .0
            .contains("cannot be read")
    );
    assert!(store.save("a@x", &[set("access_token", "t")]).is_err());
    assert!(!path.exists());
    let lost = FileStore::cache(folder.path().join("no/such/cache"));
    let error = lost.save("a@x", &[set("access_token", "t")]).unwrap_err();
    assert!(error.0.contains("does not exist"), "{error}");
}

#[test]
fn a_file_that_cannot_be_parsed_is_left_alone_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let store = FileStore::configuration(&path);
    fs::write(&path, "[a@x]\nhalf a line").unwrap();
    for error in [
        store.load("a@x").err().unwrap(),
        store.save("a@x", &[set("access_token", "t")]).unwrap_err(),
    ] {
        assert!(
            error.0.contains("line 2, column 1") && error.0.contains("/f"),
            "{error}"
        );
        assert!(!error.0.contains("half"), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "[a@x]\nhalf a line");
}

#[test]
fn what_killed_writers_left_is_swept_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "").unwrap();
    for name in [".f.Ab12.new", ".f.saving", ".g.Ab12.new", "f.new"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    FileStore::configuration(&path)
        .save("a@x", &[set("access_token", "t")])
        .unwrap();
    assert_eq!(
        names(folder.path()),
        [".f.lock", ".g.Ab12.new", "f", "f.new"]
    );
}

#[test]
fn the_byte_order_mark_and_windows_line_ends_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, b"\xef\xbb\xbf[a@x]\r\n").unwrap();
    FileStore::configuration(&path)
        .save("a@x", &[set("access_token", "t")])
        .unwrap();
    assert_eq!(
        fs::read(&path).unwrap(),
        b"\xef\xbb\xbf[a@x]\r\naccess_token = t\r\n"
    );
}

#[cfg(unix)]
#[test]
fn symbolic_links_stay_and_mode_and_owner_are_kept() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    fs::create_dir(&real).unwrap();
    let file = real.join("f");
    fs::write(&file, "[a@x]\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&file, Some(12345), Some(23456)).unwrap();
    }
    let before = fs::metadata(&file).unwrap();
    let link = folder.path().join("link");
    symlink("real/f", &link).unwrap();
    FileStore::configuration(&link)
        .save("a@x", &[set("access_token", "t")])
        .unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let after = fs::metadata(&file).unwrap();
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    assert_ne!(after.ino(), before.ino(), "replaced, not written over");
    if root {
        let lock = fs::metadata(real.join(".f.lock")).unwrap();
        assert_eq!(
            lock.uid(),
            12345,
            "the owner can take the lock that root has made"
        );
    }
    // A link to a cache that is still to be made.
    let early = folder.path().join("early");
    symlink("real/cache", &early).unwrap();
    FileStore::cache(&early)
        .save("a@x", &[set("access_token", "t")])
        .unwrap();
    assert!(fs::symlink_metadata(&early).unwrap().is_symlink() && real.join("cache").exists());
}

#[test]
fn threads_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, commented_configuration()).unwrap();
    let (shared, own) = (
        FileStore::configuration(&path),
        FileStore::configuration(&path),
    );
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = if thread < 3 { &shared } else { &own };
            scope.spawn(move || {
                for round in 0..10 {
                    let number = thread * 7 + round % 7;
                    let value = format!("{thread}-{round}");
                    store
                        .save(&account(number), &[set("refresh_token", value)])
                        .unwrap();
                    assert!(
                        store
                            .load(&account(number))
                            .unwrap()
                            .refresh_token
                            .is_some()
                    );
                }
            });
        }
    });
    let text = fs::read(&path).unwrap();
    let document = Document::parse(&text).ok().unwrap();
    for thread in 0..4 {
        for slot in 0..7 {
            let round = if slot < 3 { slot + 7 } else { slot };
            let entry = document
                .own(&account(thread * 7 + slot), "refresh_token")
                .unwrap();
            assert_eq!(entry.value(), format!("{thread}-{round}"));
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_change_that_rests_on_what_was_read_is_made_only_while_that_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "[a@x]\nclient_secret = s\nrefresh_token = one\n").unwrap();
    let store = FileStore::configuration(&path);
    let seen = store.load("a@x").unwrap();
    let changes = [
        set("refresh_token", "two"),
        Change {
            option: "client_secret",
            value: None,
        },
    ];
    // another process saves in between
    let other = FileStore::configuration(&path);
    other.save("a@x", &[set("refresh_token", "new")]).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(!store.save_unless_changed("a@x", &seen, &changes).unwrap());
    assert_eq!(fs::read(&path).unwrap(), before);
    let seen = store.load("a@x").unwrap();
    assert!(store.save_unless_changed("a@x", &seen, &changes).unwrap());
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "[a@x]\nrefresh_token = two\n"
    );
}
