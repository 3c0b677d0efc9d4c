//! The course of a session, for the log.

proxy_proto::texts! {
    // ---- up to the relay

    /// A client's login has come; its user stands beside it.
    pub const LOGIN = "login";
    /// The authenticator's answer came when nobody waited for it any more.
    pub fn late_answer(why = "there is no such login request") = "the answer to a login came too late: {why}";
    /// The server has accepted the token; the login stands beside it.
    pub const LOGGED_IN = "logged in";
    /// The server has not accepted the token; the login stands beside it.
    pub fn login_refused(text = "NO [AUTHENTICATIONFAILED] AUTHENTICATE failed") =
        "the mail server refused the login: {text}";
    /// From here on bytes are passed as they are.
    pub const RELAY_BEGINS = "relay begins";
    /// From here on plugins pass them.
    pub const RELAY_WITH_PLUGINS_BEGINS = "relay begins, through plugins";
    /// The state machine has something to say that this driver has not learnt.
    pub fn event_not_understood(event = "Dialogue") = "an event that this runtime does not know: {event}";
    /// A connection breaks.
    pub fn reading_failed(side = "client", why = "connection reset by peer") = "reading from the {side} failed: {why}";
    /// A connection breaks.
    pub fn writing_failed(side = "client", why = "broken pipe") = "writing to the {side} failed: {why}";

    // ---- the end

    /// Both sides have ended a relay; the bytes stand beside it.
    pub const FINISHED = "finished";
    /// A connection broke within a relay.
    pub fn connection_broke(side = "server", why = "connection reset by peer") =
        "the connection with the {side} broke: {why}";
    /// A relay of which one half was left, and that was silent.
    pub const HALF_CLOSED = "one side had ended, the other one was silent";
    /// A relay did not end before the proxy.
    pub const STOPPED = "ended by the proxy's shutdown";
    /// A session did not end before the proxy.
    pub const CUT_OFF = "cut off";
    /// A session has panicked.
    pub fn defect(why = "index out of bounds: the len is 0 but the index is 0") =
        "ended by a defect of the proxy, please report it: {why}";
    /// Why it has: nobody knows.
    pub const DEFECT_WITHOUT_TEXT = "no text";
    /// A session is over.
    pub const CLOSED = "closed";
}
