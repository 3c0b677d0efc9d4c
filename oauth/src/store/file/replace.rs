//! A file's new content, put in its place.

use super::{
    StoreError, beside, folder,
    lock::{cannot_write, with_advice},
};
use crate::messages::files as messages;
use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// How it was done.
pub(super) enum Written {
    Replaced,
    /// Why it could not be replaced.
    InPlace(&'static str),
}

const TEMPORARY: &str = ".new";

/// Where the whole content lies while a file is written in place.
pub(super) fn safety_copy(target: &Path) -> PathBuf {
    beside(target, ".saving")
}

/// Writes the content durably. `old`: what is there now, as read under the lock.
pub(super) fn replace(
    target: &Path,
    old: Option<&(Vec<u8>, Metadata)>,
    content: &[u8],
) -> Result<Written, StoreError> {
    let failed = |error: &io::Error| failed(target, error);
    if let Some((_, metadata)) = old {
        check_writable(target, metadata).map_err(|error| failed(&error))?;
    }
    let (temporary, why) = match prepare(target, old.map(|old| &old.1), content) {
        Ok(Prepared::Whole(temporary)) => match temporary.persist(target) {
            Ok(_) => {
                sync_folder(target).map_err(|error| failed(&error))?;
                return Ok(Written::Replaced);
            }
            Err(refused) if is_mount(&refused.error) => (Some(refused.file), messages::IS_MOUNT),
            Err(refused) if cannot_write(&refused.error) => {
                (Some(refused.file), messages::NO_RENAMING)
            }
            Err(refused) => return Err(failed(&refused.error)),
        },
        Ok(Prepared::OwnerLost(temporary)) => (Some(temporary), messages::OWNER_LOST),
        Err(error) if cannot_write(&error) => (None, messages::FOLDER_UNWRITABLE),
        Err(error) => return Err(failed(&error)),
    };
    let Some((now, _)) = old else {
        return Err(failed(&io::Error::other(why)));
    };
    let copy = temporary.and_then(|temporary| keep_copy(target, temporary));
    write_in_place(target, now, content).map_err(|error| failed(&error))?;
    if let Some(copy) = copy {
        let _ = fs::remove_file(copy);
    }
    Ok(Written::InPlace(why))
}

/// Removes what writers that were killed left behind. The caller holds the lock, so none of it is in use.
pub(super) fn sweep(target: &Path) {
    let Some(prefix) = beside(target, ".")
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
    else {
        return;
    };
    for entry in fs::read_dir(folder(target)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&*prefix) && name.ends_with(TEMPORARY) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn failed(target: &Path, error: &io::Error) -> StoreError {
    let text = messages::unwritable(target.display(), error);
    StoreError(with_advice(text, error))
}

/// Renaming would get past a file's own protection, which somebody has set on purpose.
fn check_writable(target: &Path, metadata: &Metadata) -> io::Result<()> {
    if metadata.permissions().readonly() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            messages::READ_ONLY,
        ));
    }
    OpenOptions::new().write(true).open(target).map(drop)
}

enum Prepared {
    Whole(NamedTempFile),
    OwnerLost(NamedTempFile),
}

fn prepare(target: &Path, old: Option<&Metadata>, content: &[u8]) -> io::Result<Prepared> {
    let prefix = beside(target, ".");
    let mut temporary = tempfile::Builder::new()
        .prefix(prefix.file_name().unwrap_or_default())
        .suffix(TEMPORARY)
        .tempfile_in(folder(target))?;
    temporary.write_all(content)?;
    let kept = old.is_none_or(|old| keep_owner_and_mode(temporary.as_file(), old));
    temporary.as_file().sync_all()?;
    Ok(if kept {
        Prepared::Whole(temporary)
    } else {
        Prepared::OwnerLost(temporary)
    })
}

#[cfg(unix)]
fn keep_owner_and_mode(file: &File, old: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(own) = file.metadata() else {
        return false;
    };
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        let owner = rustix::fs::Uid::from_raw(old.uid());
        let group = rustix::fs::Gid::from_raw(old.gid());
        if rustix::fs::fchown(file, Some(owner), Some(group)).is_err() {
            return false;
        }
    }
    // Behind the change of owner, which takes some mode bits away.
    file.set_permissions(old.permissions()).is_ok()
}

#[cfg(not(unix))]
fn keep_owner_and_mode(file: &File, old: &Metadata) -> bool {
    file.set_permissions(old.permissions()).is_ok()
}

#[cfg(unix)]
fn is_mount(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [rustix::io::Errno::BUSY, rustix::io::Errno::XDEV]
        .iter()
        .any(|e| code == Some(e.raw_os_error()))
}

#[cfg(not(unix))]
fn is_mount(_: &io::Error) -> bool {
    false
}

/// The rename is on disk only when the folder is.
#[cfg(unix)]
fn sync_folder(target: &Path) -> io::Result<()> {
    match File::open(folder(target)).and_then(|folder| folder.sync_all()) {
        // A folder that may be written but not read, or a file system without fsync for folders.
        Err(error) if cannot_write(&error) || error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Under its name for the time of the writing; `None` where even that cannot be done.
fn keep_copy(target: &Path, temporary: NamedTempFile) -> Option<PathBuf> {
    let path = safety_copy(target);
    temporary.persist(&path).ok()?;
    sync_folder(target).ok()?;
    Some(path)
}

/// As few bytes as possible, so that as little as possible can be torn.
fn write_in_place(target: &Path, old: &[u8], content: &[u8]) -> io::Result<()> {
    let same = old.iter().zip(content).take_while(|(a, b)| a == b).count();
    let tail = match old.len() == content.len() {
        true => old[same..]
            .iter()
            .rev()
            .zip(content[same..].iter().rev())
            .take_while(|(a, b)| a == b)
            .count(),
        false => 0,
    };
    let mut file = OpenOptions::new().write(true).open(target)?;
    file.seek(SeekFrom::Start(same as u64))?;
    file.write_all(&content[same..content.len() - tail])?;
    if content.len() < old.len() {
        file.set_len(content.len() as u64)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_place_writes_make_any_content_of_any_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let contents: [&[u8]; 6] = [b"", b"abc", b"abd", b"abcdef", b"xbc", b"abcdeg\n"];
        for old in contents {
            for new in contents {
                fs::write(&path, old).unwrap();
                write_in_place(&path, old, new).unwrap();
                assert_eq!(fs::read(&path).unwrap(), new);
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn refusals_of_bind_mounts_are_recognised() {
        assert!(is_mount(&io::Error::from_raw_os_error(16)), "EBUSY");
        assert!(is_mount(&io::Error::from_raw_os_error(18)), "EXDEV");
        assert!(!is_mount(&io::Error::from_raw_os_error(28)), "ENOSPC");
    }
}
