//! `emailproxy demo`.

proxy_proto::texts! {
    /// The sandbox finds no port, or no room for its files.
    pub(crate) fn demo_cannot_start(why = "no space left on device") =
        "the demo cannot start: {why}";

    /// The configuration could not name files there.
    pub(crate) fn bad_temporary_folder(path = "/tmp/\u{fffd}") =
        "the temporary folder's name {path} is not UTF-8; set TMPDIR to another one";

    /// Permission is needed; the page's address is on the next line.
    pub(crate) fn demo_needs_permission(account = "ada@example.org", circumstances = "login from 127.0.0.1") =
        "{account} needs your permission ({circumstances}). Open";

    /// With `--approve`: permission was given.
    pub(crate) fn approved(account = "ada@example.org") =
        "{account}: approved";

    /// With `--approve`: the browser's last page was an error.
    pub(crate) fn not_approved_status(account = "ada@example.org", status = 502) =
        "{account}: the browser ended on a page with status {status}";

    /// With `--approve`: there was no last page.
    pub(crate) fn not_approved(account = "ada@example.org", why = "connection refused") =
        "{account}: could not be approved: {why}";
}
