//! Tokens in a file of the user's: the configuration itself, or another one in the same format.

use super::{Change, Saved, Store, StoreError, Update};
use crate::{
    document::{Document, Edit},
    messages::files as messages,
};
use std::{
    fs::{self, File, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

mod lock;
mod replace;

/// A configuration file or token cache on disk.
///
/// Each save reads the file as it stands, edits the lines concerned, and replaces it: a temporary file in the same folder
/// with the old owner and mode (0600 when there was none), fsync, rename, fsync of the folder. A symbolic link is followed
/// and stays. Writers of all processes take turns by a lock on `.NAME.lock` in that folder, which is never removed.
///
/// Where the file cannot be replaced, because it is a mount of its own (a single file given to a container), because
/// the folder cannot be written, or because its owner could not be kept, only the bytes that differ are written into the
/// file in place. A whole copy lies beside it as `.NAME.saving` meanwhile, where the folder allows that: a file that was
/// torn by a power failure can be mended from it, and the error that names the torn file says so. A file without any
/// write permission is never touched.
pub struct FileStore {
    path: PathBuf,
    create: bool,
    cached: Mutex<Option<Cached>>,
    writing: Mutex<Writing>,
}

#[derive(Default)]
struct Writing {
    /// What killed writers left behind has been removed.
    swept: bool,
    /// The user has been told that the file is written in place.
    told: bool,
}

/// A file that was read and has not changed since, as far as can be seen from outside.
struct Cached {
    stamp: Stamp,
    document: Arc<Document>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    file: (u64, u64),
    changed: (i64, i64),
}

/// A change within this time after the last one may leave the time stamp as it was on some file systems.
const STAMP_RESOLUTION: Duration = Duration::from_secs(2);

impl FileStore {
    /// Tokens live in the configuration file. It must exist: where it is missing for a moment, saves fail and are retried.
    pub fn configuration(path: impl Into<PathBuf>) -> FileStore {
        FileStore::new(path.into(), false)
    }

    /// Tokens live in a file of their own, made at the first save.
    pub fn cache(path: impl Into<PathBuf>) -> FileStore {
        FileStore::new(path.into(), true)
    }

    fn new(path: PathBuf, create: bool) -> FileStore {
        FileStore {
            path,
            create,
            cached: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// The file as it is now; read again only where it has changed.
    fn document(&self) -> Result<Arc<Document>, StoreError> {
        let before = match fs::metadata(&self.path) {
            Ok(metadata) => Stamp::of(&metadata),
            Err(error) if self.create && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Arc::default());
            }
            Err(error) => return Err(self.unreadable(&error)),
        };
        if let Some(cached) = &*locked(&self.cached)
            && cached.stamp == before
        {
            return Ok(cached.document.clone());
        }
        let bytes = fs::read(&self.path).map_err(|error| self.unreadable(&error))?;
        let document = Arc::new(self.parse(&bytes, &self.path)?);
        let after = fs::metadata(&self.path)
            .map(|metadata| Stamp::of(&metadata))
            .ok();
        let settled = before.modified.and_then(|modified| modified.elapsed().ok());
        let trusted = after == Some(before) && settled.is_some_and(|age| age > STAMP_RESOLUTION);
        *locked(&self.cached) = trusted.then(|| Cached {
            stamp: before,
            document: document.clone(),
        });
        Ok(document)
    }

    fn parse(&self, bytes: &[u8], target: &Path) -> Result<Document, StoreError> {
        Document::parse(bytes).map_err(|errors| {
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            let (path, copy) = (self.path.display(), replace::safety_copy(target));
            StoreError(if copy.exists() {
                messages::unreadable_with_copy(path, first, copy.display())
            } else {
                messages::unreadable(path, first)
            })
        })
    }

    fn unreadable(&self, error: &io::Error) -> StoreError {
        let path = self.path.display();
        StoreError(match error.kind() {
            io::ErrorKind::PermissionDenied => messages::forbidden(path, error),
            _ => messages::unreadable(path, error),
        })
    }

    /// The file itself, behind symbolic links.
    fn target(&self) -> Result<PathBuf, StoreError> {
        let path = match fs::canonicalize(&self.path) {
            Ok(path) => return Ok(path),
            Err(error) if self.create && error.kind() == io::ErrorKind::NotFound => {
                // A link to a file that is still to be made.
                let link = fs::read_link(&self.path).ok();
                link.map_or_else(|| self.path.clone(), |link| folder(&self.path).join(link))
            }
            Err(error) => return Err(self.unreadable(&error)),
        };
        let name = path.file_name().map(ToOwned::to_owned);
        let found = fs::canonicalize(folder(&path)).ok().zip(name);
        found
            .map(|(folder, name)| folder.join(name))
            .ok_or_else(|| StoreError(messages::no_folder(path.display(), folder(&path).display())))
    }
}

impl Store for FileStore {
    fn load(&self, heading: &str) -> Result<Saved, StoreError> {
        Ok(Saved::from_document(&*self.document()?, heading))
    }

    /// All that fit or none, by one replacement of the file, under one lock. Where nothing but `last_activity` would change,
    /// nothing is written.
    fn save_all(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError> {
        self.write(updates)
    }

    fn headings(&self) -> Result<Vec<String>, StoreError> {
        let document = self.document()?;
        let sections = document.sections();
        Ok(sections.map(|section| section.name().to_owned()).collect())
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

impl FileStore {
    /// Changes the file as a person would, under the lock of saves and as safely as they are. `change` is given the file as it is at
    /// that moment; an empty one where there is none, which is made then, readable for its owner only.
    ///
    /// # Errors
    /// Those of `change`, and of reading and writing; the file has not changed then.
    pub fn edit<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Document) -> Result<T, E>,
    ) -> Result<T, E> {
        self.rewrite(|document| {
            let result = change(document)?;
            Ok((true, result))
        })
    }

    fn write(&self, updates: &[Update]) -> Result<Vec<bool>, StoreError> {
        self.rewrite(|document| {
            let fits =
                |update: &Update| update.fits(&Saved::from_document(document, &update.heading));
            let made: Vec<bool> = updates.iter().map(fits).collect();
            let edits: Vec<Edit<'_>> = updates
                .iter()
                .zip(&made)
                .filter(|(_, made)| **made)
                .flat_map(|(update, _)| edits(&update.heading, &update.changes))
                .collect();
            if !edits.iter().any(|edit| worth_writing(document, edit)) {
                return Ok((false, made));
            }
            document
                .apply(&edits)
                .map_err(|error| StoreError(messages::cannot_hold(self.path.display(), error)))?;
            Ok((true, made))
        })
    }

    /// Reads, lets `change` work on it, and writes what came of it if that says so.
    fn rewrite<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Document) -> Result<(bool, T), E>,
    ) -> Result<T, E> {
        let mut writing = locked(&self.writing);
        let target = self.target()?;
        let _lock = lock::Lock::take(&target)?;
        let first = !std::mem::replace(&mut writing.swept, true);
        if first {
            replace::sweep(&target);
        }
        let old = match read(&target) {
            Ok(old) => Some(old),
            Err(error) if self.create && error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.unreadable(&error).into()),
        };
        let mut document = match &old {
            Some((bytes, _)) => self.parse(bytes, &target)?,
            None => Document::default(),
        };
        let (changed, result) = change(&mut document)?;
        if !changed {
            return Ok(result);
        }
        let written = replace::replace(&target, old.as_ref(), &document.to_bytes())?;
        if let replace::Written::InPlace(why) = written
            && !std::mem::replace(&mut writing.told, true)
        {
            tracing::warn!("{}", messages::in_place(self.path.display(), why));
        }
        if first {
            // Of a write that was broken off; the file has been read and written since, so it is whole.
            let _ = fs::remove_file(replace::safety_copy(&target));
        }
        *locked(&self.cached) = None;
        Ok(result)
    }
}

fn edits<'a>(section: &'a str, changes: &'a [Change]) -> impl Iterator<Item = Edit<'a>> {
    changes.iter().map(move |change| Edit {
        section,
        option: change.option,
        value: change.value.as_deref(),
    })
}

/// `last_activity` alone is not.
fn worth_writing(document: &Document, edit: &Edit<'_>) -> bool {
    let now = document
        .own(edit.section, edit.option)
        .map(|entry| entry.value());
    edit.option != "last_activity" && now != edit.value
}

fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other(messages::NOT_A_FILE));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut file, &mut bytes)?;
    Ok((bytes, metadata))
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// `.NAME` and this ending, beside the file.
fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(ending);
    target.with_file_name(name)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stamp {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        Stamp {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            file: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Stamp {
        let modified = metadata.modified().ok();
        Stamp {
            modified,
            length: metadata.len(),
            file: (0, 0),
            changed: (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_settled_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "[a@x]\n").unwrap();
        let store = FileStore::configuration(&path);
        let same = || Arc::ptr_eq(&store.document().unwrap(), &store.document().unwrap());
        assert!(
            !same(),
            "a change a moment later might leave the time stamp as it is"
        );
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - STAMP_RESOLUTION * 2)
            .unwrap();
        assert!(same());
        file.set_modified(SystemTime::now() - STAMP_RESOLUTION * 3)
            .unwrap();
        assert!(same(), "read anew, and kept again");
    }
}
