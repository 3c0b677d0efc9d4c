//! Files that cannot be replaced.
#![cfg(unix)]

use super::{again, set};
use oauth::store::{FileStore, Store};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

const VARIABLE: &str = "STORE_TEST_REFUSED";
const NOBODY: u32 = 65534;

#[test]
fn a_read_only_file_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "[a@x]\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let store = FileStore::configuration(&path);
    let error = store.save("a@x", &[set("access_token", "t")]).unwrap_err();
    assert!(
        error.0.contains("read-only") && error.0.contains("--cache-store"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "[a@x]\n");
    assert!(store.load("a@x").is_ok());
}

#[test]
fn a_folder_in_the_files_place_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let error = FileStore::cache(folder.path()).load("a@x").err().unwrap();
    assert!(error.0.contains("cannot be read"), "{error}");
    assert!(
        FileStore::cache(folder.path())
            .save("a@x", &[set("access_token", "t")])
            .is_err()
    );
}

/// The service's user may write the file, but not the folder: written in place, with a lock on the file itself.
#[test]
fn in_a_folder_that_cannot_be_written_the_file_is_written_in_place() {
    if let Ok(path) = std::env::var(VARIABLE) {
        let store = FileStore::configuration(path);
        store
            .save("a@x", &[set("access_token", "longer than before")])
            .unwrap();
        return store.save("a@x", &[set("access_token", "short")]).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "# mine\n[a@x]\naccess_token = old\n# end\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let test = "refused::in_a_folder_that_cannot_be_written_the_file_is_written_in_place";
    run_without_the_folder(
        &again(test, VARIABLE, path.to_str().unwrap()),
        folder.path(),
    );
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "# mine\n[a@x]\naccess_token = short\n# end\n"
    );
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

/// Root drops to another user; anybody else loses the folder's write permission.
fn run_without_the_folder(command: &Command, folder: &Path) {
    let root = rustix::process::geteuid().is_root();
    // The test binary may lie where the other user cannot go.
    let copies = tempfile::tempdir().unwrap();
    let binary = copies.path().join("store-test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    for path in [copies.path(), &binary] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut copy = Command::new(&binary);
    copy.args(command.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .current_dir("/");
    for (name, value) in command.get_envs() {
        copy.env(name, value.unwrap_or_default());
    }
    if root {
        copy.uid(NOBODY).gid(NOBODY);
    } else {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let status = copy.status();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(status.unwrap().success());
}

/// A single file given to a container is a mount: the kernel refuses to rename over it.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_a_mount_is_written_in_place() {
    if let Ok(path) = std::env::var(VARIABLE) {
        let store = FileStore::configuration(path);
        store
            .save("a@x", &[set("access_token", "a new one")])
            .unwrap();
        assert_eq!(
            store.load("a@x").unwrap().access_token.as_deref(),
            Some("a new one")
        );
        return store.save("a@x", &[set("access_token", "b")]).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, "# mine\n[a@x]\naccess_token = old\n# end\n").unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    let mounted = |then: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount --bind \"$0\" \"$0\" && {then}");
        command
            .args(["--mount", "--map-root-user", "sh", "-c", &script])
            .arg(&path);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    if !mounted("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        return eprintln!("skipped: this machine allows no bind mounts in a namespace (unshare)");
    }
    let test = again(
        "refused::a_file_that_is_a_mount_is_written_in_place",
        VARIABLE,
        "",
    );
    let mut command = mounted("exec \"$@\"");
    command
        .arg(test.get_program())
        .args(test.get_args())
        .env(VARIABLE, &path);
    assert!(command.status().unwrap().success());
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "# mine\n[a@x]\naccess_token = b\n# end\n"
    );
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [".f.lock", "f"],
        "neither a copy nor a temporary file is left"
    );
}
