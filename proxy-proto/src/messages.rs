//! Every text of this room that a person may read: what a mail client is answered, and why a session has ended, as the client
//! and the log are told. The protocols' words, tags and codes stand where these are spoken.
//!
//! Mail clients show a refusal as it comes, so each is a sentence by itself. What is told to both sides is one text: `the
//! client`, `the mail server`, never `it`.

crate::texts! {
    // ---- the dialogue before the login

    /// The greeting of IMAP where the server's own came before TLS.
    pub(crate) const READY = "The mail server is ready";
    /// POP: the answer to USER.
    pub(crate) const SEND_PASSWORD = "Send the password";
    /// POP: the answer to AUTH without a mechanism.
    pub(crate) const MECHANISMS_FOLLOW = "Mechanisms follow";
    /// POP: the answer to CAPA.
    pub(crate) const CAPABILITIES_FOLLOW = "Capability list follows";
    /// IMAP: a literal may come.
    pub(crate) const GO_ON = "Go on";
    /// The answer to the client's STARTTLS (STLS).
    pub(crate) const BEGIN_TLS = "Begin TLS negotiation now";
    /// IMAP: said every 20 seconds while the user has not approved yet.
    pub(crate) const WAITING = "Waiting for the user to approve the login at the provider";
    /// The client has said QUIT or LOGOUT.
    pub(crate) const GOODBYE = "Goodbye";
    /// IMAP: the tagged answer to LOGOUT once the server has gone.
    pub(crate) const LOGOUT_COMPLETED = "LOGOUT completed";
    /// Stands in the dialogue of a debug log for a command whose literal was not asked for.
    pub(crate) const COMMAND_WITH_LITERAL = "(a command with a literal)";

    // ---- commands that are not served

    /// SMTP: a command that is served only to those who have logged in.
    pub(crate) const AUTHENTICATION_REQUIRED = "Authentication required";
    /// IMAP and POP: a command that is served only to those who have logged in, or by nobody.
    pub(crate) const LOG_IN_FIRST = "log in first, or the command is unknown";
    /// A second login, sent ahead behind the one that has succeeded.
    pub(crate) const ALREADY_AUTHENTICATED = "already authenticated";
    /// A login before TLS where `local_starttls` demands it.
    pub(crate) const START_TLS_FIRST = "TLS has to be started before the login: turn on STARTTLS in the mail client";
    /// STARTTLS where the listener has none.
    pub(crate) const STARTTLS_NOT_SERVED = "STARTTLS is not offered here: turn it off in the mail client";
    /// STARTTLS over TLS.
    pub(crate) const TLS_ALREADY = "TLS is active already";
    /// AUTHENTICATE or AUTH with a mechanism that does not hand the password over.
    pub(crate) const MECHANISM_NOT_SERVED =
        "this mechanism is not served: use PLAIN, which mail clients call a normal password";
    /// POP: APOP, which does not hand the password over either.
    pub(crate) const APOP_NOT_SERVED =
        "APOP is not served: use USER and PASS, which mail clients call a normal password";
    /// The client has sent `*` instead of a response.
    pub(crate) const CANCELLED = "authentication cancelled";
    /// A response to a challenge is not what SASL sends.
    pub(crate) const NOT_BASE64 = "the response is not base64";
    /// IMAP: a line that is no command at all.
    pub(crate) const NO_TAG = "a command begins with a tag and a name";
    /// A known command with something behind it.
    pub(crate) const NO_ARGUMENTS = "this command takes no arguments";
    /// IMAP: LOGIN with other arguments.
    pub(crate) const TAKES_NAME_AND_PASSWORD = "LOGIN takes a user name and a password";
    /// AUTHENTICATE or AUTH with other arguments.
    pub(crate) const TAKES_MECHANISM = "this command takes a mechanism and, perhaps, an initial response";
    /// IMAP: ID alone.
    pub(crate) const TAKES_PARAMETERS = "ID takes a parameter list or NIL";
    /// POP: USER alone.
    pub(crate) const TAKES_NAME = "USER takes a name";
    /// POP: PASS alone.
    pub(crate) const TAKES_PASSWORD = "PASS takes a password";
    /// POP: PASS without USER.
    pub(crate) const USER_FIRST = "USER comes first, then PASS";
    /// SMTP: EHLO or HELO without a name.
    pub(crate) const TAKES_HOST_NAME = "this command takes a host name";

    // ---- logins that are refused without asking anybody

    /// PLAIN whose message has not its three parts.
    pub(crate) const NOT_PLAIN = "the PLAIN message has not the form of RFC 4616";
    /// PLAIN that asks for somebody else's mailbox.
    pub(crate) const OTHER_IDENTITY =
        "an authorisation identity other than the login name is not served: leave it empty in the mail client";
    /// The login name has no characters.
    pub(crate) const NAME_EMPTY = "the login name is empty: enter the account's address in the mail client";
    /// The login name comes in another encoding.
    pub(crate) const NAME_NOT_UTF8 = "the login name is not UTF-8: enter the account's address in the mail client";
    /// The login name would forge what the server reads.
    pub(crate) const NAME_HOLDS_CONTROLS =
        "the login name holds control characters: enter the account's address in the mail client";
    /// The password has no characters.
    pub(crate) const PASSWORD_EMPTY = "the password is empty: enter one in the mail client";
    /// The password comes in another encoding.
    pub(crate) const PASSWORD_NOT_UTF8 = "the password is not UTF-8: choose one of ASCII characters";

    // ---- logins that fail

    /// The user has been asked for consent and has not answered.
    pub(crate) fn nobody_approved(user = "user@example.com") =
        "{user}: nobody approved the login in time; log in again to be asked once more";
    /// The server has refused the token, and a fresh one would not help or has not helped.
    pub(crate) fn token_refused(user = "user@example.com", said = "AUTHENTICATE failed") =
        "{user}: the mail server refused the access token: {said}";
    /// The token, or the name that is sent with it, would forge what the server reads.
    pub(crate) fn unsendable(user = "user@example.com") =
        "{user}: the access token, or the identity to be sent with it, is empty or holds characters that cannot be sent";
    /// The server has closed while it was being told the token.
    pub(crate) const SERVER_CLOSED_DURING_LOGIN = "the mail server closed the connection during the login: try again";
    /// The server has refused the connection in words of its own.
    pub(crate) fn server_says(text = "Too many connections, try again later") = "the mail server says: {text}";

    // ---- the mail server cannot be used

    /// The server cannot be reached, or its TLS has failed: as the log says it.
    pub(crate) fn unreachable(why = "cannot connect to outlook.office365.com port 993: connection refused") =
        "the mail server cannot be used: {why}";
    /// The handshake behind STARTTLS has failed.
    pub(crate) fn server_tls_failed(why = "its certificate is for another name: check server_address") =
        "TLS with the mail server failed: {why}";
    /// The server has closed before the login.
    pub(crate) const SERVER_CLOSED = "the mail server closed the connection";
    /// The server owes an answer, or its greeting.
    pub(crate) const NO_ANSWER = "the mail server did not answer in time";
    /// What the server has said first is not this protocol.
    pub(crate) const GREETING_NOT_UNDERSTOOD =
        "the mail server's greeting cannot be understood: check its address and port";
    /// A later answer is not this protocol.
    pub(crate) const ANSWER_NOT_UNDERSTOOD = "the mail server's answer cannot be understood";
    /// The list of capabilities is none.
    pub(crate) const CAPABILITIES_NOT_UNDERSTOOD = "the mail server's capabilities cannot be understood";
    /// The answer to the token is neither yes nor no.
    pub(crate) const LOGIN_ANSWER_NOT_UNDERSTOOD = "the mail server's answer to the login cannot be understood";
    /// The answer to a command that the client has sent ahead, behind its login, is none.
    pub(crate) const ANSWER_BEHIND_NOT_UNDERSTOOD =
        "the mail server's answer to a command behind the login cannot be understood";
    /// STARTTLS (STLS) is configured, and the server has none.
    pub(crate) const STARTTLS_NOT_OFFERED = "the mail server does not offer STARTTLS, which the configuration demands";
    /// STARTTLS (STLS) is configured, and the server does not begin it.
    pub(crate) const STARTTLS_REFUSED = "the mail server refused STARTTLS, which the configuration demands";
    /// Plaintext between the server's yes to STARTTLS and TLS.
    pub(crate) const SERVER_DATA_BEFORE_TLS =
        "the mail server sent data between its answer to STARTTLS and TLS: somebody may be interfering with the connection";
    /// A server that knows the proxy by its address.
    pub(crate) const PREAUTH = "the mail server is authenticated as somebody else already (PREAUTH): use another port of it";
    /// A token was to leave over plaintext.
    pub(crate) const NOT_ENCRYPTED = "the connection to the mail server is not encrypted, so no token is sent over it";
    /// SMTP: without EHLO there is no AUTH.
    pub(crate) const EHLO_REFUSED = "the mail server refused EHLO, without which there is no login";
    /// An answer without a question, or under another tag.
    pub(crate) const NOT_ASKED = "the mail server answered what it was not asked";
    /// IMAP: the server wants more literals than the client's command has.
    pub(crate) const ASKED_FOR_MORE = "the mail server asked for more than the client's command holds";
    /// IMAP: a second challenge.
    pub(crate) const ASKS_AFTER_REFUSAL = "the mail server goes on asking after it has refused the login";
    /// IMAP: whoever says this is not the provider.
    pub(crate) const ACCEPTED_TOO_EARLY = "the mail server accepted the login before it got the credentials";
    /// `Limits::server_line`, of a line.
    pub(crate) const SERVER_LINE_TOO_LONG = "the mail server sent too long a line";
    /// `Limits::server_line`, of a literal.
    pub(crate) const SERVER_LITERAL_TOO_LONG = "the mail server sent too long a literal";
    /// Before login only CRLF ends a line.
    pub(crate) const SERVER_BARE_NEWLINE = "the mail server sent a line that does not end in CRLF";
    /// `Limits::capabilities`.
    pub(crate) const CAPABILITIES_TOO_LONG = "the mail server's capability list is too long";
    /// SMTP: `Limits::capabilities`, of a reply.
    pub(crate) const ANSWER_TOO_LONG = "the mail server's answer is too long";
    /// IMAP: `Limits::held`.
    pub(crate) const TOO_MUCH_BEFORE_ANSWER = "the mail server sent too much before its answer to the login";

    // ---- the client's session ends

    /// The handshake with the client has failed.
    pub(crate) fn client_tls_failed(why = "it does not accept the proxy's certificate") =
        "TLS with the client failed: {why}";
    /// Plaintext between STARTTLS (STLS) and TLS.
    pub(crate) const CLIENT_DATA_BEFORE_TLS =
        "the client sent data behind STARTTLS, before TLS: somebody may be interfering with the connection";
    /// `Limits::imap_line`, `Limits::line`.
    pub(crate) const CLIENT_LINE_TOO_LONG = "the client sent too long a line";
    /// `Limits::imap_literal`.
    pub(crate) const CLIENT_LITERAL_TOO_LONG = "the client sent too long a literal";
    /// Before login only CRLF ends a line.
    pub(crate) const CLIENT_BARE_NEWLINE = "the client sent a line that does not end in CRLF";
    /// `Limits::errors`.
    pub(crate) const TOO_MANY_ERRORS = "the client had too many failed logins or unusable commands";
    /// `Limits::before_login`.
    pub(crate) const NO_LOGIN = "the client took too long to log in";
    /// What was sent ahead, behind the login, is held for its end.
    pub(crate) const UNFINISHED_COMMAND_BEHIND = "the client did not finish a command behind its login in time";
    /// What was sent ahead, behind the login, is held for its end.
    pub(crate) const COMMAND_BEHIND_TOO_LONG = "the client sent too long a command behind its login";
    /// IMAP: a second login, sent ahead, with a literal.
    pub(crate) const LITERAL_BEHIND_TOO_LONG = "the client sent too long a literal behind its login";
    /// What was sent ahead, behind the login, is no command.
    pub(crate) const COMMAND_BEHIND_BROKEN = "the client sent a broken command behind its login";
    /// IMAP: a password might reach the server as the octets of a literal, or behind them.
    pub(crate) const LOGIN_IN_LITERAL = "the client sent a login in or behind a literal that nobody had asked for";

    // ---- the end of any session

    /// The client has closed, or has said QUIT or LOGOUT.
    pub(crate) const CLIENT_CLOSED = "the client closed the connection";
    /// Both sides have closed after the login.
    pub(crate) const FINISHED = "finished";
    /// `Limits::half_closed`.
    pub(crate) fn silent(side = "server") = "the {side} has been silent for too long since the other side ended";
    /// The proxy is ending.
    pub(crate) const SHUTTING_DOWN = "the proxy is shutting down";

    // ---- sessions with plugins

    /// The plugins' output has no bound.
    pub(crate) const PLUGINS_WITHOUT_END = "the plugins send too much at once, or answer each other without end";
    /// IMAP: COMPRESS, behind which no plugin could read the session.
    pub(crate) const NOT_COMPRESSED = "plugins read this session, so it is not compressed";
    /// IMAP: a plugin has kept a message from the server.
    pub(crate) const APPEND_COMPLETED = "APPEND completed";
    /// SMTP: the answer to DATA where a plugin waits for the message.
    pub(crate) const START_MAIL_INPUT = "Start mail input; end with <CRLF>.<CRLF>";
    /// SMTP: the answer to a piece that a plugin waits for the rest of.
    pub(crate) const PIECE_ACCEPTED = "Ok, go on";
}
