//! Files: what cannot be read of them, and how they cannot be written.

proxy_proto::texts! {
    /// Reading fails.
    pub(crate) fn unreadable(path = "/etc/emailproxy.config", why = "Input/output error (os error 5)") =
        "{path} cannot be read: {why}";
    /// Reading is not allowed.
    pub(crate) fn forbidden(path = "/etc/emailproxy.config", why = "Permission denied (os error 13)") =
        "{path} cannot be read ({why}): let the user that runs the proxy read it";
    /// A mistake in a file that a crash has torn.
    pub(crate) fn unreadable_with_copy(
        path = "/etc/emailproxy.config",
        why = "line 12, column 1: not UTF-8: save the file as UTF-8",
        copy = "/etc/.emailproxy.config.saving"
    ) = "{path} cannot be read: {why}; a whole copy of its last save is {copy}";
    /// A folder, a device: in place of the system's reason.
    pub(crate) const NOT_A_FILE = "it is not a regular file";

    /// A file that is to be made, and no folder for it.
    pub(crate) fn no_folder(path = "/var/lib/emailproxy/tokens", folder = "/var/lib/emailproxy") =
        "{path} cannot be made: the folder {folder} does not exist; make it, or name another file";
    /// Something that the file's form cannot hold.
    pub(crate) fn cannot_hold(path = "/etc/emailproxy.config", why = "a section's name cannot contain a line break") =
        "{path} cannot hold this change: {why}";
    /// Another process hangs.
    pub(crate) fn locked(path = "/etc/emailproxy.config", lock = "/etc/.emailproxy.config.lock", seconds = 30) =
        "{path} cannot be written: another process has held the lock {lock} for {seconds} seconds";
    /// No turn can be taken.
    pub(crate) fn no_lock(
        path = "/etc/emailproxy.config", lock = "/etc/.emailproxy.config.lock", why = "Permission denied (os error 13)"
    ) = "{path} cannot be written: its lock file {lock} cannot be opened: {why}";
    /// Writing fails.
    pub(crate) fn unwritable(path = "/etc/emailproxy.config", why = READ_ONLY) = "{path} cannot be written: {why}";
    /// In place of the system's reason.
    pub(crate) const READ_ONLY = "it is read-only";
    /// Behind the two above, where that is the reason.
    pub(crate) fn make_writable(what = "/etc/emailproxy.config cannot be written: it is read-only") =
        "{what}: make it writable for the proxy, or keep tokens elsewhere with --cache-store";
    /// The same.
    pub(crate) fn make_room(what = "/etc/emailproxy.config cannot be written: No space left on device (os error 28)") =
        "{what}: make room on that disk";

    /// Logged, once: it is not replaced as it should be; one of the next four says why.
    pub(crate) fn in_place(path = "/etc/emailproxy.config", why = IS_MOUNT) =
        "{path} is written in place, because {why}: a crash of the machine during a save could damage it";
    /// A file that was given to a container.
    pub(crate) const IS_MOUNT = "it is a mount of its own";
    /// A folder with rules of its own.
    pub(crate) const NO_RENAMING = "its folder does not allow renaming";
    /// A file of another user.
    pub(crate) const OWNER_LOST = "its owner cannot be kept otherwise";
    /// A folder that is not the proxy's.
    pub(crate) const FOLDER_UNWRITABLE = "its folder cannot be written";

    /// Logged (debug): a file system without locks.
    pub(crate) fn cannot_be_locked(lock = "/etc/.emailproxy.config.lock", why = "Operation not supported (os error 95)") =
        "{lock} cannot be locked: {why}";
    /// Logged (debug): a lock file of root's stays root's.
    pub(crate) fn lock_keeps_owner(path = "/etc/emailproxy.config", why = "Operation not permitted (os error 1)") =
        "the lock of {path} keeps its owner: {why}";
}
