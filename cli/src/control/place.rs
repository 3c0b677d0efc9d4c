//! Where the socket is, and whom to trust there.

use crate::messages::control as texts;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use std::{
    env, fs, io,
    os::{
        fd::AsFd,
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, MetadataExt},
        },
    },
    path::{Path, PathBuf},
};

/// The folder of system services (systemd's `RuntimeDirectory=emailproxy`).
const SYSTEM: &str = "/run/emailproxy";

/// Why other processes cannot reach this proxy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub(super) String);

/// Folders in which the socket may be, the best first.
pub(super) fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(runtime) = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
        && runtime.is_absolute()
    {
        folders.push(runtime.join("emailproxy"));
    }
    folders.push(SYSTEM.into());
    folders.push(env::temp_dir().join(format!("emailproxy-{}", geteuid().as_raw())));
    folders
}

/// The socket's name for this configuration: short, because paths of sockets have about 100 octets.
pub(super) fn name(config_file: &Path) -> io::Result<String> {
    let path = fs::canonicalize(config_file)?;
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    let short: String = digest
        .iter()
        .take(8)
        .map(|octet| format!("{octet:02x}"))
        .collect();
    Ok(format!("{short}.sock"))
}

/// Makes the folder where it is missing, and makes sure that nobody else can put anything into it.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let owner = owner(folder)?;
    if owner != geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            texts::belongs_to_another(owner),
        ));
    }
    Ok(())
}

/// The owner of a real folder into which nobody else can put anything.
pub(super) fn owner(folder: &Path) -> io::Result<u32> {
    let metadata = fs::symlink_metadata(folder)?;
    let trouble = |text: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    if !metadata.is_dir() {
        return trouble(texts::NO_FOLDER);
    }
    if metadata.mode() & 0o022 != 0 {
        return trouble(texts::WRITABLE_BY_OTHERS);
    }
    Ok(metadata.uid())
}

/// Users to whom a command may give a password: this one, root, whoever owns the configuration, and the one whom the system has given
/// its folder.
pub(super) fn may_serve(uid: u32, folder: &Path, config_file: &Path) -> bool {
    let owns = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.uid() == uid);
    uid == geteuid().as_raw()
        || uid == 0
        || owns(config_file)
        || (folder == Path::new(SYSTEM) && owns(folder))
}

/// Users whom a proxy obeys: its own, and root, who could do anything anyway.
pub(super) fn may_ask(uid: u32) -> bool {
    uid == geteuid().as_raw() || uid == 0
}

/// The user on the other end; `None` where the system cannot tell (then the folder's mode has to do).
#[cfg(target_os = "linux")]
pub(super) fn peer(socket: impl AsFd) -> io::Result<Option<u32>> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Some(peer.uid.as_raw()))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn peer(_: impl AsFd) -> io::Result<Option<u32>> {
    Ok(None)
}
