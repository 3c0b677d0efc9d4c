//! Serving: from the start over reloads to the end.

proxy_proto::texts! {
    /// `--log-file` cannot be opened.
    pub(crate) fn cannot_log(path = "/var/log/emailproxy.log", why = "permission denied") =
        "cannot write the log file {path}: {why}; choose another with --log-file";

    /// A second start of the log, by whoever embeds the command.
    pub(crate) const LOGGING_ALREADY = "logging has been started before in this process";

    /// Signals cannot be caught.
    pub(crate) fn cannot_catch_signals(why = "operation not permitted") =
        "cannot catch signals: {why}";

    /// A signal that came was lost.
    pub(crate) fn signal_lost(why = "resource temporarily unavailable") =
        "a signal could not be read: {why}";

    /// How many files may be open, which bounds the sessions.
    pub(crate) fn open_files(limit = 1024) =
        "up to {limit} open files";

    /// The same without a limit.
    pub(crate) const ANY_OPEN_FILES = "any number of open files";

    /// The limit stays as it is.
    pub(crate) fn open_files_limited(why = "operation not permitted") =
        "the limit on open files cannot be raised ({why}): it may allow few sessions";

    /// A socket of the service manager's is none to listen on.
    pub(crate) fn bad_socket(number = 1, why = "not a TCP socket") =
        "socket {number} that the service manager handed over cannot be used: {why}: ListenStream= must name a TCP address";

    /// A socket of the service manager's belongs to no server.
    pub(crate) fn unused_socket(name = NO_SOCKET_NAME, address = "0.0.0.0:993") =
        "the service manager handed over a socket ({name}, {address}) that no server takes: give it a server's heading as \
         FileDescriptorName, or a server's port; clients that connect there wait in vain";

    /// In place of such a socket's name.
    pub(crate) const NO_SOCKET_NAME = "without a name";

    /// The configuration file is missing.
    pub(crate) fn no_configuration(path = "/etc/emailproxy.config") =
        "{path}: there is no such file; set an account up with `emailproxy add you@example.com`, or copy the sample there; name another \
         file with --config-file, or have a look first with `emailproxy demo`";

    /// The secret of `--cache-store aws:` cannot be opened.
    pub(crate) fn bad_cache_store(why = "no region is known") =
        "--cache-store: {why}";

    /// `--cache-store aws:` in a build without that.
    pub(crate) fn no_aws(id = "emailproxy-tokens") =
        "--cache-store aws:{id}: this build cannot keep tokens in AWS Secrets Manager; give the path of a file instead";

    /// `plugins` in a build without them.
    pub(crate) const NO_PLUGINS = "this build of the proxy has no plugins; install one that has, or remove the option";

    /// A server cannot be served, the others are.
    pub(crate) fn left_out(problem = "/etc/emailproxy.config:3: [IMAP-1993] `allow_from`: 192.0.2.0/33 is not a network") =
        "{problem}; this server is left out";

    /// The configuration has no server that can be served.
    pub(crate) fn no_server_left(path = "/etc/emailproxy.config") =
        "{path}: there is no server left to serve; add a section such as [IMAP-1993] with server_address and server_port, \
         or mend the ones named above";

    /// The sessions' runtime has no thread to begin with, or the like.
    pub(crate) fn cannot_begin(why = "resource temporarily unavailable") =
        "cannot begin to serve: {why}";

    /// A server is served from now on.
    pub(crate) fn serves(
        section = "IMAP-1993", protocol = "IMAP", addresses = "[::]:1993", local = PLAINTEXT,
        host = "outlook.office365.com", port = 993, upstream = "TLS",
    ) = "[{section}] serves {protocol} at {addresses} ({local}) for {host}:{port} ({upstream})";

    /// In it: the client's side is not encrypted.
    pub(crate) const PLAINTEXT = "plaintext";

    /// In it: clients have to ask for TLS.
    pub(crate) const STARTTLS_REQUIRED = "STARTTLS required";

    /// In it: clients may ask for TLS.
    pub(crate) const STARTTLS_OPTIONAL = "STARTTLS optional";

    /// In it: the mail server is reached through `outgoing_proxy`.
    pub(crate) fn through(security = "TLS", proxy = "socks5://127.0.0.1:1080") =
        "{security}, through {proxy}";

    /// All is read.
    pub(crate) fn configured(accounts = "2 accounts", tokens = "/etc/emailproxy.config") =
        "{accounts} configured; tokens are kept in {tokens}";

    /// Where tokens are kept, if not in a file.
    pub(crate) fn in_aws(id = "emailproxy-tokens") =
        "AWS Secrets Manager, {id}";

    /// For `systemctl status`.
    pub(crate) fn serving(servers = "3 servers", accounts = "1 account") =
        "serving {servers} for {accounts}";

    /// The service manager does not hear us.
    pub(crate) fn service_manager_unreachable(why = "no such file or directory") =
        "the service manager at NOTIFY_SOCKET cannot be told how the service is: {why}";

    /// The mail server has refused a login, and what it said is known to have a cure.
    pub(crate) fn not_let_in(
        protocol = "SMTP", user = "user@example.com",
        advice = "SMTP AUTH is switched off for the mailbox: its administrator can allow it",
    ) = "the {protocol} server did not let {user} in: {advice}";

    /// For `systemctl status`, during SIGHUP.
    pub(crate) const READING_AGAIN = "reading the configuration again";

    /// After SIGHUP.
    pub(crate) const READ_AGAIN = "the configuration was read again";

    /// After SIGHUP with a configuration that cannot be used; what is wrong with it stands before.
    pub(crate) const NOT_TAKEN_OVER = "the configuration was not taken over: what was running goes on as it was";

    /// The same for `systemctl status`.
    pub(crate) fn reload_refused(status = "serving 3 servers for 1 account") =
        "the last reload was refused (see the log); {status}";

    /// After SIGHUP with a console that cannot be had.
    pub(crate) fn console_stays(problem = "the console cannot listen on localhost:80 (permission denied)") =
        "{problem}; the console stays as it was";

    /// After SIGUSR1, or a button of the console.
    pub(crate) const DEBUG_ON = "debug logging is on";

    /// The same once more.
    pub(crate) const DEBUG_OFF = "debug logging is off";

    /// After SIGTERM or SIGINT.
    pub(crate) const ENDING = "ending: sessions get time to end; a second signal ends at once";

    /// The same for `systemctl status`.
    pub(crate) const SESSIONS_END = "sessions get time to end";

    /// Some sessions have not used that time.
    pub(crate) fn cut_off(sessions = "1 session") =
        "{sessions} did not end in time: cut off";

    /// After the second signal.
    pub(crate) const ENDED_AT_ONCE = "ended at once";

    /// After the first one.
    pub(crate) const ENDED = "ended";

    /// `emailproxy man` for a command that is not there.
    pub(crate) fn no_command(name = "chekc", commands = "authorise, check, demo") =
        "there is no command {name}: the commands are {commands}";

    /// Completions or a manual page cannot be printed.
    pub(crate) fn cannot_print(why = "no space left on device") =
        "standard output cannot be written: {why}";
}

/// How debug logging is from now on.
#[allow(
    dead_code,
    reason = "tests that take these files in need the texts alone"
)]
pub(crate) fn debug(on: bool) -> &'static str {
    match on {
        true => DEBUG_ON,
        false => DEBUG_OFF,
    }
}
