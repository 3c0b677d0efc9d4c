//! The console's token: a file of its own beside the saved tokens, so that links and monitoring outlive a restart.

use crate::messages::console as texts;
use oauth::crypt::random_text;
use proxy_proto::Secret;
use std::{
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use tracing::warn;
use zeroize::Zeroizing;

/// Shortest and longest token, in octets.
const SHORTEST: usize = 16;
const LONGEST: usize = 256;

/// Where the token lives, for tokens that are saved in `store`.
pub(crate) fn path(store: &Path) -> PathBuf {
    let mut name = OsString::from(store);
    name.push(".console");
    name.into()
}

/// The token that is there.
///
/// # Errors
///
/// When there is none, or what is there is none; one line that says what to do.
pub(crate) fn read(path: &Path) -> Result<Secret, String> {
    let file = fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => texts::no_token(path.display()),
        _ => cannot(path, texts::READ, &error),
    })?;
    let mut octets = Zeroizing::new(Vec::with_capacity(LONGEST + 3));
    file.take(LONGEST as u64 + 3)
        .read_to_end(&mut octets)
        .map_err(|error| cannot(path, texts::READ, &error))?;
    let token = octets.trim_ascii();
    let fits =
        (SHORTEST..=LONGEST).contains(&token.len()) && token.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(token) {
        Ok(token) if fits => {
            warn_of_readers(path);
            Ok(Secret::new(token))
        }
        _ => Err(texts::bad_token(path.display(), SHORTEST, LONGEST)),
    }
}

/// The token that is there, or a new one.
///
/// # Errors
///
/// As for [`read`], and when a new one cannot be written.
pub(crate) fn read_or_make(path: &Path) -> Result<Secret, String> {
    if path.exists() {
        return read(path);
    }
    let token = random_text().map_err(|error| error.to_string())?;
    match make(path, &token) {
        Ok(()) => Ok(token),
        // Another proxy was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(cannot(path, texts::WRITE, &error)),
    }
}

/// Whole or not at all, and for its owner alone.
fn make(path: &Path, token: &Secret) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    writeln!(file, "{}", token.expose())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

fn cannot(path: &Path, done: &str, error: &io::Error) -> String {
    texts::token_out_of_reach(done, path.display(), error, SHORTEST)
}

#[cfg(unix)]
fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(found) = fs::metadata(path) {
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o004 != 0 {
            let mode = format!("{mode:03o}");
            warn!("{}", texts::token_is_readable(path.display(), mode));
        }
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("emailproxy.config"));
        assert_eq!(path.file_name().unwrap(), "emailproxy.config.console");
        let made = read_or_make(&path).unwrap();
        assert!(made.expose().len() >= 40);
        assert_eq!(read_or_make(&path).unwrap().expose(), made.expose());
        assert_eq!(read(&path).unwrap().expose(), made.expose());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_token_of_ones_own_is_taken_and_a_bad_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        fs::write(&path, "0123456789abcdef\r\n").unwrap();
        assert_eq!(read_or_make(&path).unwrap().expose(), "0123456789abcdef");
        for bad in ["", "short", "0123456789 abcdef", &"x".repeat(LONGEST + 1)] {
            fs::write(&path, bad).unwrap();
            let text = read_or_make(&path).err().unwrap();
            assert!(text.contains("remove the file"), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn where_nothing_can_be_written_it_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("t");
        let text = read_or_make(&path).err().unwrap();
        assert!(
            text.contains("cannot write") && text.contains("yourself"),
            "{text}"
        );
        assert!(read(&path).err().unwrap().contains("no token yet"));
    }
}
