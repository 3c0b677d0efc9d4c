//! The place of the socket, and what times look like. The whole channel is tested with the built command.

use super::{place, wire::stamp};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[test]
fn the_name_is_that_of_the_file_behind_links() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link, other] = ["a", "b", "c"].map(|name| folder.path().join(name));
    fs::write(&file, "").unwrap();
    fs::write(&other, "").unwrap();
    symlink(&file, &link).unwrap();
    let name = place::name(&file).unwrap();
    assert_eq!(name, place::name(&link).unwrap());
    assert_ne!(name, place::name(&other).unwrap());
    assert_eq!(name.len(), "0123456789abcdef.sock".len());
    assert!(place::name(&folder.path().join("missing")).is_err());
}

#[test]
fn only_a_folder_of_our_own_into_which_nobody_else_can_write_is_taken() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("emailproxy");
    place::prepare(&folder).unwrap();
    let mode = |path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    place::prepare(&folder).unwrap();

    let link = outer.path().join("link");
    symlink(&folder, &link).unwrap();
    assert!(place::prepare(&link).is_err(), "a link may lead anywhere");
    for open in [0o770, 0o702, 0o777] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(open)).unwrap();
        assert!(place::prepare(&folder).is_err(), "{open:o}");
    }
}

#[test]
fn times_are_those_of_a_calendar() {
    let at = |seconds| {
        UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .and_then(stamp)
    };
    assert_eq!(at(0).as_deref(), Some("1970-01-01T00:00:00Z"));
    assert_eq!(at(1_764_040_000).as_deref(), Some("2025-11-25T03:06:40Z"));
    assert_eq!(at(u64::MAX / 4), None);
    let half = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
    assert_eq!(stamp(half).as_deref(), Some("1970-01-01T00:00:01Z"));
}
