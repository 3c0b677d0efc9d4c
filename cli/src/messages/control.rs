//! The control channel, by which commands reach a running proxy: its end and the commands'.

proxy_proto::texts! {
    /// The proxy serves without it.
    pub(crate) fn commands_cannot_reach(why = "/run/emailproxy: permission denied") =
        "commands such as emailproxy authorise cannot reach this proxy: {why}";

    /// Why: a folder is somebody else's.
    pub(crate) fn belongs_to_another(user = 1001) =
        "it belongs to another user ({user})";

    /// Why: a folder is none.
    pub(crate) const NO_FOLDER = "it is not a folder";

    /// Why: a folder is everybody's.
    pub(crate) const WRITABLE_BY_OTHERS = "others can write into it";

    /// Why: somebody listens there already.
    pub(crate) const ANOTHER_PROXY = "another proxy serves the same configuration";

    /// Where it is.
    pub(crate) fn commands_reach(path = "/run/emailproxy/0123456789abcdef.sock") =
        "commands reach this proxy at {path}";

    /// Connections to it fail.
    pub(crate) fn control_cannot_accept(why = "too many open files") =
        "the control channel cannot accept a connection: {why}";

    /// Somebody else has connected.
    pub(crate) fn user_refused(user = 1001) =
        "user {user} was refused at the control channel";

    /// Somebody has connected.
    pub(crate) fn user_unknown(why = "transport endpoint is not connected") =
        "the control channel cannot tell who is there: {why}";

    /// To a command: its request is cut off.
    pub(crate) const NO_BODY = "the request has no readable body";

    /// To a command: its request lacks the account.
    pub(crate) const NO_ACCOUNT_NAMED = "no account is named";

    /// To a command: its request is none.
    pub(crate) const NO_SUCH_REQUEST = "this proxy knows no such request; is it of another version?";

    /// A command finds a socket and does not use it.
    pub(crate) fn passed_over(path = "/tmp/emailproxy-1000/0123456789abcdef.sock", why = "it is served by another user (1001)") =
        "{path} is passed over: {why}";

    /// Why: somebody else would get the password.
    pub(crate) fn served_by_another(user = 1001) =
        "it is served by another user ({user})";

    /// A command gets no answer.
    pub(crate) fn proxy_does_not_answer(why = "connection reset by peer") =
        "the running proxy does not answer: {why}";

    /// Why: there is more of it than any proxy says.
    pub(crate) const ENDLESS = "its answer has no end";

    /// A command waits for a proxy that is no more.
    pub(crate) const PROXY_HAS_ENDED = "the running proxy has ended meanwhile; run this command again: it needs no running proxy";
}
