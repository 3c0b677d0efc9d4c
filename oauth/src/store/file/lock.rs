//! Writers take turns, across processes.

use super::{StoreError, beside};
use crate::messages::files as messages;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    time::{Duration, Instant},
};

/// Held until dropped; the system lets go of it when the process dies, however it dies.
pub(super) struct Lock(#[allow(dead_code, reason = "locked as long as it is open")] File);

/// A save takes milliseconds. Whoever holds the lock so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

impl Lock {
    pub(super) fn take(target: &Path) -> Result<Lock, StoreError> {
        let path = beside(target, ".lock");
        let file = match open(&path) {
            Ok(file) => {
                give_to_owner_of(target, &file);
                file
            }
            // A folder that cannot be written: the file is written in place then, and can be locked itself.
            Err(error) if cannot_write(&error) && !path.exists() => match File::open(target) {
                Ok(file) => file,
                Err(_) => return Err(failed(target, &path, &error)),
            },
            Err(error) => return Err(failed(target, &path, &error)),
        };
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError(messages::locked(
                        target.display(),
                        path.display(),
                        PATIENCE.as_secs(),
                    )));
                }
                Err(TryLockError::Error(error)) => {
                    // Some network file systems have no locks. One writer is the rule; it goes on.
                    tracing::debug!("{}", messages::cannot_be_locked(path.display(), error));
                    return Ok(Lock(file));
                }
            }
        }
    }
}

pub(super) fn cannot_write(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn failed(target: &Path, path: &Path, error: &io::Error) -> StoreError {
    let text = messages::no_lock(target.display(), path.display(), error);
    StoreError(with_advice(text, error))
}

/// Adds what to do where a file cannot be written.
pub(super) fn with_advice(text: String, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            messages::make_writable(text)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => messages::make_room(text),
        _ => text,
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(no_follow).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// A lock file that root has made must not lock out the user whose file it is.
#[cfg(unix)]
fn give_to_owner_of(target: &Path, lock: &File) {
    use std::os::unix::fs::MetadataExt;
    let Ok(owner) = std::fs::metadata(target) else {
        return;
    };
    let differs = lock.metadata().is_ok_and(|own| own.uid() != owner.uid());
    if differs && rustix::process::geteuid().is_root() {
        let owner = Some(rustix::fs::Uid::from_raw(owner.uid()));
        if let Err(error) = rustix::fs::fchown(lock, owner, None) {
            tracing::debug!("{}", messages::lock_keeps_owner(target.display(), error));
        }
    }
}

#[cfg(not(unix))]
fn give_to_owner_of(_: &Path, _: &File) {}
