//! How a user is asked for permission, and what becomes of it.

proxy_proto::texts! {
    /// Permission is needed, with the page where it is given.
    pub(crate) fn needs_permission(
        account = "user@example.com", circumstances = "login from 127.0.0.1",
        url = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
    ) = "{account} needs your permission ({circumstances}); open {url}";

    /// The same by a device code.
    pub(crate) fn needs_code(
        account = "user@example.com", circumstances = "login from 127.0.0.1", code = "ABCD-EFGH",
        url = "https://microsoft.com/devicelogin",
    ) = "{account} needs your permission ({circumstances}); enter the code {code} at {url}";

    /// The circumstances: the login names somebody else than the account's heading.
    pub(crate) fn login_as(user = "shared@example.com", client = "192.0.2.7") =
        "login as {user} from {client}";

    /// The circumstances: where the login comes from.
    pub(crate) fn login_from(client = "192.0.2.7") =
        "login from {client}";

    /// The circumstances: there is no login, but a command.
    pub(crate) const AT_COMMAND_LINE = "asked for at the command line";

    /// The circumstances, if the password would become the account's new one.
    pub(crate) fn with_another_password(circumstances = "login from 192.0.2.7") =
        "{circumstances}, with a password that differs from the saved one: approve only if this is you";

    /// Nobody has answered.
    pub(crate) fn nobody_answered(account = "user@example.com", seconds = 600) =
        "nobody gave permission for {account} within {seconds} seconds; check mail again to start over";

    /// The list of those who wait is full.
    pub(crate) const TOO_MANY_WAIT = "too many sign-ins are waiting already; try again in ten minutes";

    /// The browser was opened by itself.
    pub(crate) const BROWSER_OPENED = "the browser was opened";

    /// It was not.
    pub(crate) fn browser_not_opened(why = "xdg-open cannot be run: no such file or directory") =
        "the browser could not be opened: {why}; open the address by hand";

    /// The title of a notification on the desktop.
    pub(crate) fn notification_title(account = "user@example.com") =
        "{account} needs your permission";

    /// Its text.
    pub(crate) fn notification(circumstances = "login from 127.0.0.1") =
        "{circumstances}. The proxy's log and its web console show the page to open.";

    /// Its text where there is a code.
    pub(crate) fn notification_of_code(circumstances = "login from 127.0.0.1") =
        "{circumstances}. The proxy's log and its web console show the page and the code.";

    /// It could not be shown.
    pub(crate) fn no_notification(why = "notify-send cannot be run: no such file or directory") =
        "no notification on the desktop: {why}";

    /// `notify_command` is no command.
    pub(crate) fn notify_command_is_none(why = OPEN_QUOTE) =
        "notify_command is not run: {why}";

    /// `notify_command` runs as often as it may.
    pub(crate) fn notify_command_runs(times = 8) =
        "notify_command is not run: {times} of it are running";

    /// It has run and printed nothing.
    pub(crate) const NOTIFY_COMMAND_RUN = "notify_command was run";

    /// What it has printed, or how it has failed.
    pub(crate) fn notify_command(said = "notify-send has failed (exit status: 1): no display") =
        "notify_command: {said}";

    /// A command line without words.
    pub(crate) const NO_PROGRAM = "there is no program in it";

    /// A command line that a shell would go on reading.
    pub(crate) const OPEN_QUOTE = "a quote is not closed, or a backslash stands at its end";

    /// A program whose output is not read has failed.
    pub(crate) fn program_failed(program = "xdg-open", status = "exit status: 3") =
        "{program} has failed ({status})";

    /// A program has failed.
    pub(crate) fn program_failed_saying(program = "notify-send", status = "exit status: 1", said = "no display") =
        "{program} has failed ({status}): {said}";

    /// A program has taken too long.
    pub(crate) fn program_ended(program = "notify-send", seconds = 30, said = SAID_NOTHING) =
        "{program} did not end within {seconds} seconds and was ended: {said}";

    /// A program's output, where there is none.
    pub(crate) const SAID_NOTHING = "it said nothing";

    /// An address is none.
    pub(crate) fn no_http_address(address = "ftp://localhost") =
        "`{address}` is not an http address";

    /// The same with a reason.
    pub(crate) fn no_http_address_because(address = "http://localhost:x", why = "invalid port number") =
        "`{address}` is not an http address ({why})";

    /// `redirect_uri` is none.
    pub(crate) fn bad_redirect_uri(why = "`ftp://localhost` is not an http address") =
        "redirect_uri {why}; correct it in the account's section";

    /// `redirect_listen_address` is none.
    pub(crate) fn bad_listen_address(why = "`ftp://localhost` is not an http address") =
        "redirect_listen_address {why}; correct it in the account's section";

    /// The redirect would come by TLS.
    pub(crate) fn redirect_by_https(address = "https://mail.example.com/callback") =
        "the receiver speaks plain http, but {address} is https; set redirect_listen_address = http://ADDRESS:PORT and \
         forward the redirects to it, or paste the final address instead (--external-auth)";

    /// The usual port is taken, and any other will do.
    pub(crate) fn another_port(port = 80, why = "permission denied") =
        "cannot listen on port {port} ({why}); taking any free port";

    /// The redirect cannot be received.
    pub(crate) fn cannot_receive(address = "http://localhost", port = 80, why = "permission denied", advice = NEEDS_PRIVILEGES) =
        "cannot listen for the redirect on {address} port {port} ({why}); {advice}";

    /// The cure for a port that is refused.
    pub(crate) const NEEDS_PRIVILEGES = "ports below 1024 need privileges: give redirect_uri a higher port (and register it with the \
        provider), run with the privilege to bind it, or paste the final address instead (--external-auth)";

    /// The cure for a port that is taken.
    pub(crate) const PORT_IN_USE = "another program uses it: end that program, give redirect_uri another port (and register it with \
        the provider), or paste the final address instead (--external-auth)";

    /// The cure for an address of another machine.
    pub(crate) const NOT_OURS = "the address is not one of this machine's: set redirect_listen_address to one that is and forward the \
        redirects to it, or paste the final address instead (--external-auth)";

    /// Connections to the receiver fail.
    pub(crate) fn receiver_cannot_accept(why = "too many open files") =
        "the redirect receiver cannot accept a connection: {why}";

    /// The final page's address came, and belongs to nobody who waits.
    pub(crate) fn redirect_refused(why = UNKNOWN_STATE) =
        "a redirect was refused: {why}";

    /// Why: it has no `Host`.
    pub(crate) const NO_HOST = "the request does not say which host it is for";

    /// Why: its `Host` is another's.
    pub(crate) const OTHER_HOST = "the request is for another host than the redirect_uri";

    /// Why: it has no `state`.
    pub(crate) const NO_STATE = "the address has no state parameter: it does not come from a sign-in of this proxy";

    /// Why: its `state` is that of another one.
    pub(crate) const OTHER_REDIRECT_URI = "the redirect arrived at another account's redirect_uri";

    /// Why: it says nothing.
    pub(crate) const NO_ANSWER_IN_IT = "that address has neither a code nor an error in it";

    /// Why: its `state` is nobody's.
    pub(crate) const UNKNOWN_STATE = "the state parameter belongs to no sign-in that is waiting";

    /// The terminal cannot be read.
    pub(crate) fn terminal_unreadable(why = "input/output error") =
        "cannot read from the terminal: {why}";

    /// Nobody can paste any more.
    pub(crate) const INPUT_CLOSED = "nobody can paste an address because standard input is closed; run emailproxy in a terminal, or with \
        --local-server-auth";

    /// A sign-in at the terminal; the page's address is on the next line.
    pub(crate) fn sign_in(number = 1, account = "user@example.com", circumstances = "login from 127.0.0.1") =
        "[{number}] Sign in as {account} ({circumstances}). Open";

    /// Below the address, where the receiver listens.
    pub(crate) const IN_A_BROWSER = "in a browser on this machine";

    /// Below the address, where it has to be pasted.
    pub(crate) fn paste_the_end(redirect_uri = "http://localhost:8080") =
        "and paste the address of the page where the browser ends; it begins with {redirect_uri} (that page need not load)";

    /// Below the address, where the receiver listens and it may be pasted too.
    pub(crate) fn paste_if_it_does_not_load(redirect_uri = "http://localhost:8080") =
        "If the page where the browser ends does not load, paste its address here; it begins with {redirect_uri}";

    /// Below the address, above a device code.
    pub(crate) const ENTER_THE_CODE = "on any device and enter the code";

    /// In the status line: who is waited for, if it is one.
    pub(crate) const THE_SIGN_IN = "the sign-in";

    /// The status line.
    pub(crate) fn time_left(who = THE_SIGN_IN, time = "9:59") =
        "waiting for {who}: {time} left";

    /// The status line that is a prompt.
    pub(crate) fn paste_here(time = "10 minutes", who = THE_SIGN_IN) =
        "{time} left for {who}; paste the address here>";

    /// Something was pasted that is no address.
    pub(crate) const LINE_TOO_LONG = "that line is too long for an address";

    /// A number was typed that is none of those who wait, or nothing where nobody waits.
    pub(crate) const NO_SUCH_SIGN_IN = "no such sign-in is waiting";

    /// A number with a minus was typed.
    pub(crate) fn dismissed_number(number = 7) =
        "[{number}] is dismissed: that login is refused";

    /// What was pasted belongs to nobody who waits.
    pub(crate) fn pasted_refused(why = UNKNOWN_ADDRESS) =
        "a pasted address was refused: {why}";

    /// Why: it is no address.
    pub(crate) const NO_ADDRESS = "that is not the address of a page";

    /// Why: it has no `state`.
    pub(crate) const NO_STATE_IN_IT =
        "that address has no state parameter: paste all of what stands in the browser's address bar";

    /// Why: its `state` is nobody's.
    pub(crate) const UNKNOWN_ADDRESS = "that address belongs to no sign-in that is waiting";

    /// Why: what it should begin with is not known.
    pub(crate) const REDIRECT_URI_IS_NONE = "the redirect_uri is not an address";

    /// Why: it is another page's.
    pub(crate) const OTHER_PAGE = "that address does not begin with the account's redirect_uri";

    /// Somebody was faster, or the time is over.
    pub(crate) const NO_LONGER_WAITING = "that sign-in is no longer waiting";

    /// The flight has ended without a word.
    pub(crate) const NOT_FINISHED = "the proxy could not finish it; its log has the details";

    /// The token was obtained.
    pub(crate) fn signed_in(account = "user@example.com") =
        "{account} is signed in";

    /// The same, but not by whom one would think; at the terminal.
    pub(crate) fn signed_in_by(account = "user@example.com", other = "other@example.com") =
        "{account} is signed in; but the provider says that it was {other} who approved";

    /// It was not obtained.
    pub(crate) fn not_signed_in(account = "user@example.com", why = NOT_FINISHED) =
        "{account} is not signed in: {why}";

    /// The browser's last page: its title once the token was obtained.
    pub(crate) const PAGE_SIGNED_IN = "Signed in";

    /// Its text.
    pub(crate) fn usable_now(account = "user@example.com") =
        "{account} can now be used from your mail program";

    /// What to do then.
    pub(crate) const CLOSE_THE_PAGE = "you can close this page";

    /// The title if somebody else approved.
    pub(crate) const PAGE_SIGNED_IN_BY = "Signed in, by somebody else";

    /// Its text.
    pub(crate) fn usable_now_by(account = "user@example.com", other = "other@example.com") =
        "The provider says that {other} approved, not {account}. {account} can now be used from your mail program.";

    /// What to do then.
    pub(crate) fn approve_again(account = "user@example.com") =
        "If that is not what you meant, sign out at the provider and approve again as {account}: \
         emailproxy authorise --fresh {account}";

    /// The title if there is no token.
    pub(crate) const PAGE_NOT_SIGNED_IN = "Not signed in";

    /// What to do then.
    pub(crate) const START_OVER = "check mail again in your mail program to start over; the proxy's log has the details";

    /// The title if nobody waits for it.
    pub(crate) const PAGE_NOT_ACCEPTED = "Not accepted";

    /// What to do then.
    pub(crate) const CLOSE_OR_START_OVER =
        "If the sign-in was finished already, close this page. Otherwise check mail again in your mail program to start over.";
}
