//! The web console: where it is, who may see it, and what its page answers.

proxy_proto::texts! {
    /// `console_address` or `--console` has something else.
    pub(crate) const BAD_ADDRESS =
        "must be a port, or a host and a port such as 127.0.0.1:8025 (an IPv6 address in brackets)";

    /// It cannot listen.
    pub(crate) fn console_cannot_listen(address = "localhost:80", why = "permission denied", advice = LOW_PORT) =
        "the console cannot listen on {address} ({why}): {advice} with console_address or --console";

    /// The cure for a port that is refused.
    pub(crate) const LOW_PORT = "ports below 1024 need privileges: choose a higher one";

    /// The cure for a port that is taken.
    pub(crate) const PORT_TAKEN = "another program uses it: choose another port";

    /// The cure for an address of another machine.
    pub(crate) const ANOTHER_ADDRESS = "choose an address of this machine";

    /// It is open.
    pub(crate) fn console_is_at(url = "http://127.0.0.1:8025/", token_file = "/etc/emailproxy.config.console") =
        "the console is at {url}; `emailproxy console` prints the link that opens it, with the token in {token_file}";

    /// It is open to others than this machine.
    pub(crate) fn reachable_from_elsewhere(address = "0.0.0.0:8025", port = 8025) =
        "the console can be reached from other machines at {address}, and speaks plain HTTP: whoever can listen on the way sees its \
         token; rather leave it on the loopback and reach it by a tunnel (ssh -L 8025:127.0.0.1:{port} HOST)";

    /// It is closed, after a reload.
    pub(crate) const CONSOLE_CLOSED = "the console is closed";

    /// Connections to it fail.
    pub(crate) fn console_cannot_accept(why = "too many open files") =
        "the console cannot accept a connection: {why}";

    /// `emailproxy console` where no token was made yet.
    pub(crate) fn no_token(path = "/etc/emailproxy.config.console") =
        "{path}: there is no token yet: it is made when emailproxy first serves with the console (--console or console_address)";

    /// The token's file holds something else.
    pub(crate) fn bad_token(path = "/etc/emailproxy.config.console", shortest = 16, longest = 256) =
        "{path}: the console's token must be one line of {shortest} to {longest} visible ASCII characters; remove the file to have \
         a new one made";

    /// The token's file cannot be read or written.
    pub(crate) fn token_out_of_reach(
        done = WRITE, path = "/etc/emailproxy.config.console", why = "permission denied", shortest = 16,
    ) = "cannot {done} the console's token in {path}: {why}; let the user that runs the proxy do so, or put a token of {shortest} \
         characters or more there yourself";

    /// What cannot be done to it.
    pub(crate) const READ = "read";

    /// What else cannot.
    pub(crate) const WRITE = "write";

    /// The token's file is everybody's.
    pub(crate) fn token_is_readable(path = "/etc/emailproxy.config.console", mode = "644") =
        "others on this machine can read {path} (mode {mode}), which opens the console: chmod o-rwx it";

    /// `emailproxy console` with a configuration that cannot be read.
    pub(crate) fn look_at_check(path = "/etc/emailproxy.config") =
        "{path} cannot be used: `emailproxy check` says why";

    /// `emailproxy console` has printed a link, and nobody is there.
    pub(crate) fn nothing_answers(url = "http://127.0.0.1:8025/") =
        "{url}: nothing answers there now: is emailproxy running, with --console or console_address?";

    /// Somebody has signed in.
    pub(crate) const SIGNED_IN_TO_CONSOLE = "signed in to the console";

    /// Somebody has not.
    pub(crate) const WRONG_TOKEN = "the console was asked for with a wrong token";

    /// The same, to whom it was.
    pub(crate) const NOT_THE_TOKEN = "that token is not the right one";

    /// To a program without a token.
    pub(crate) const TOKEN_WANTED = "the console's token is wanted: Authorization: Bearer TOKEN";

    /// A page elsewhere may have its own name lead here.
    pub(crate) fn other_name(name = "evil.example.com") =
        "the console was asked for by another name: {name}";

    /// In place of a name that is none.
    pub(crate) const NO_NAME = "none that can be read";

    /// The same, to whoever asked.
    pub(crate) const NOT_BY_THIS_NAME =
        "the console is not served by this name: use the address that emailproxy has printed";

    /// A form of another site's.
    pub(crate) const FORM_OF_OTHERS =
        "The form was sent by another site, or by a program that does not say who it is. Nothing was done.";

    /// A form that is cut off.
    pub(crate) const FORM_INCOMPLETE = "the form is not complete";

    /// A form of more than an address.
    pub(crate) const FORM_TOO_LONG = "that is too long";

    /// A form of an earlier visit: the page's title.
    pub(crate) const PAGE_OUT_OF_DATE = "Out of date";

    /// Its text.
    pub(crate) const FORM_OUT_OF_DATE =
        "This form is no longer valid, because you have signed in again since. Nothing was done.";

    /// Debug logging was switched on by the page.
    pub(crate) const DEBUG_IS_ON = "debug logging is on: the log shows each dialogue up to the login";

    /// A sign-in was dismissed by the page.
    pub(crate) const DISMISSED = "dismissed: that login is refused";

    /// A sign-in was finished by the page, if somebody else approved.
    pub(crate) fn signed_in_but(account = "user@example.com", other = "other@example.com") =
        "{account} is signed in. The provider says that {other} approved: if mail is refused or is another's, sign out of the \
         provider in this browser and approve again.";

    /// In place of an account that is not in the list any more.
    pub(crate) const IT = "It";

    /// `/healthz`: why the proxy is not well.
    pub(crate) const IS_ENDING = "ending";

    /// `/healthz`: the same.
    pub(crate) const NO_SERVER_IS_OPEN = "no server is open";

    /// The page, before somebody is signed in: `emailproxy console` stands behind it.
    pub(crate) const OPEN_THE_LINK = "Open the link with the token:";

    /// Behind that.
    pub(crate) const IS_PRINTED = "prints it, with the same options that the proxy runs with. Or enter the token here.";

    /// The page, where a browser has no scripts and something can be typed.
    pub(crate) const PAGE_STAYS = "this page stays as it is while there is something to enter";

    /// The page, about a login that could be somebody else's.
    pub(crate) const PASSWORD_DIFFERS =
        "The password of this login differs from the saved one. Approve only if this is you: from then on, the new password counts.";

    /// The page, above the field for an address; what it begins with stands behind it.
    pub(crate) const PASTE_HERE =
        "Does the browser end on a page that does not load? Paste that page's address; it begins with";

    /// The page, beside the QR code.
    pub(crate) const APPROVE_THERE =
        "Approve there. The page on which it ends will not load; copy its address into the field above.";

    /// The page, without accounts.
    pub(crate) const NO_ACCOUNT_SHOWN = "the configuration has no account of its own";

    /// The page, with accounts that have no token.
    pub(crate) const HOW_TO_AUTHORISE =
        "to authorise an account, check its mail with your mail program: the approval appears at the top of this page";

    /// The page, with more sessions than it shows.
    pub(crate) fn newest_sessions(shown = 250, open = 1024) =
        "the newest {shown} of {open} sessions are shown";
}
