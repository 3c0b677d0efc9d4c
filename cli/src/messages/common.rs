//! What several parts say.

proxy_proto::texts! {
    /// A file, or what should be read from standard input, cannot be read.
    pub(crate) fn cannot_be_read(what = "/etc/emailproxy.config", why = "permission denied") =
        "{what} cannot be read: {why}";

    /// A program, or an option's command line, cannot be started.
    pub(crate) fn cannot_be_run(program = "xdg-open", why = "no such file or directory") =
        "{program} cannot be run: {why}";

    /// An option has a value of another kind; the reason begins with a verb.
    pub(crate) fn bad_value(option = "outgoing_proxy", why = "must be a URL such as socks5://127.0.0.1:1080") =
        "`{option}` {why}";

    /// Something is wrong about an option; the reason is a sentence.
    pub(crate) fn of_option(option = "allow_from", why = "192.0.2.0/33 is not a network") =
        "`{option}`: {why}";

    /// Tokens were not saved before the end: these accounts have to be approved again.
    pub(crate) fn tokens_not_saved(account = "user@example.com", why = "no space left on device") =
        "the tokens of {account} are not saved: {why}";

    /// A receiver of connections has as many as it serves at once.
    pub(crate) fn too_many_connections(to = "the console") =
        "too many connections to {to}; closed";

    /// A connection has ended otherwise than it should.
    pub(crate) fn connection_failed(to = "the console", why = "connection reset by peer") =
        "a connection to {to} failed: {why}";

    /// A page that is not there, such as a browser's icon.
    pub(crate) const NOTHING_HERE = "there is nothing here";

    /// Another method than GET.
    pub(crate) const ONLY_GET = "only GET is answered here";

    /// The console, as somebody who is connected to.
    pub(crate) const THE_CONSOLE = "the console";

    /// The receiver of redirects, as somebody who is connected to.
    pub(crate) const THE_RECEIVER = "the redirect receiver";

    /// The control channel, as somebody who is connected to.
    pub(crate) const THE_CONTROL_CHANNEL = "the control channel";

    /// The running proxy, as a command connects to it.
    pub(crate) const THE_RUNNING_PROXY = "the running proxy";
}
