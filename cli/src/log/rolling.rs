//! A log file of bounded size: when it is full it becomes `name.1`, what was `name.1` becomes `name.2`, and so on.
//!
//! Somebody else may rotate it as well (logrotate): where the name stands for another file by now, or for none, the next line
//! goes into a file of that name. What is no regular file (`/dev/stderr`, a named pipe) is written to and never renamed.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Bytes after which a new file is begun.
const LIMIT: u64 = 32 * 1024 * 1024;
/// How many full files are kept.
const KEEP: usize = 10;

/// A file that is appended to and rotated. On Unix a new one is readable by its owner and group only.
pub struct RollingFile {
    path: PathBuf,
    file: File,
    /// What the open file is known by; `None` for what is no regular file.
    identity: Option<Identity>,
    written: u64,
    limit: u64,
    keep: usize,
}

impl RollingFile {
    /// Opens `path` for appending, with a limit of 32 MiB and ten full files kept.
    ///
    /// # Errors
    ///
    /// What the system says when the file cannot be opened or created.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limits(path, LIMIT, KEEP)
    }

    fn with_limits(path: &Path, limit: u64, keep: usize) -> io::Result<Self> {
        let file = append(path)?;
        let metadata = file.metadata()?;
        Ok(RollingFile {
            path: path.to_owned(),
            file,
            identity: Identity::of(&metadata),
            written: metadata.len(),
            limit,
            keep,
        })
    }

    /// Takes the file anew where its name stands for another one or for none. Where that fails the old one goes on.
    fn follow(&mut self) {
        if self.identity.is_none() {
            return;
        }
        let now = fs::metadata(&self.path).ok();
        if now.as_ref().and_then(Identity::of) != self.identity
            && let Ok(anew) = Self::with_limits(&self.path, self.limit, self.keep)
        {
            *self = anew;
        }
    }

    /// Begins a new file. Where renaming fails, the old one goes on: a log that is too long is better than none.
    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))?;
        *self = Self::with_limits(&self.path, self.limit, self.keep)?;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

impl Write for RollingFile {
    /// Takes all of `line` or nothing: a line is never spread over two files.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = line.len() as u64;
        self.follow();
        if self.identity.is_some() && self.written > 0 && self.written + length > self.limit {
            // Counting starts again either way, so that a failing rotation is tried once per limit and not for every line.
            let _ = self.rotate();
            self.written = 0;
        }
        self.file.write_all(line)?;
        self.written += length;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a regular file is known by, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &fs::Metadata) -> Option<Identity> {
        use std::os::unix::fs::MetadataExt;
        metadata
            .is_file()
            .then(|| Identity(metadata.dev(), metadata.ino()))
    }

    /// Open files cannot be moved away there.
    #[cfg(not(unix))]
    fn of(metadata: &fs::Metadata) -> Option<Identity> {
        metadata.is_file().then_some(Identity(0, 0))
    }
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_kept_up_to_the_number_and_lines_stay_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.log");
        let mut log = RollingFile::with_limits(&path, 20, 3).unwrap();
        for number in 0..20 {
            writeln!(log, "line {number:02}.").unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["proxy.log", "proxy.log.1", "proxy.log.2", "proxy.log.3"]
        );
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("proxy.log"), "line 18.\nline 19.\n");
        assert_eq!(read("proxy.log.1"), "line 16.\nline 17.\n");
        assert_eq!(read("proxy.log.3"), "line 12.\nline 13.\n");
    }

    #[test]
    fn what_was_there_counts_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "older line\n").unwrap();
        let mut log = RollingFile::with_limits(&path, 15, 2).unwrap();
        log.write_all(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "older line\nnew\n");
        log.write_all(b"newer\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer\n");
        assert_eq!(
            fs::read_to_string(folder.path().join("log.1")).unwrap(),
            "older line\nnew\n"
        );
    }

    #[test]
    fn a_line_longer_than_the_limit_is_written_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = RollingFile::with_limits(&path, 4, 2).unwrap();
        log.write_all(b"0123456789\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0123456789\n");
    }

    #[test]
    fn a_rotation_that_fails_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        // A folder that is not empty stands where the full file should go.
        fs::create_dir_all(folder.path().join("log.1/x")).unwrap();
        let mut log = RollingFile::with_limits(&path, 8, 1).unwrap();
        for number in 0..6 {
            writeln!(log, "line {number}").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 6);
    }

    #[cfg(unix)]
    #[test]
    fn others_cannot_read_a_new_log() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        RollingFile::open(&path).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o007, 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_somebody_moves_or_removes_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let mut log = RollingFile::with_limits(&path, 10, 2).unwrap();
        log.write_all(b"one\n").unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!((&*read("moved"), &*read("log")), ("one\n", "two\n"));
        fs::remove_file(&path).unwrap();
        // The new file is counted from its own beginning.
        log.write_all(b"three\n").unwrap();
        log.write_all(b"4\n").unwrap();
        assert_eq!(read("log"), "three\n4\n");
        assert!(!folder.path().join("log.1").exists());
        // Without the folder there is nowhere else to go.
        fs::remove_dir_all(folder.path()).unwrap();
        log.write_all(b"five\n").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_never_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("log");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let mut log = RollingFile::with_limits(&link, 4, 2).unwrap();
        for _ in 0..3 {
            log.write_all(b"a line\n").unwrap();
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
