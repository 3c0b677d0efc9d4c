//! Problems of the configuration: the file, its names, `[emailproxy]`, and servers. They are shown behind file, line and section.

proxy_proto::texts! {
    /// The file is not there.
    pub(crate) fn no_configuration(path = "/etc/emailproxy.config", why = "No such file or directory (os error 2)") =
        "{path} cannot be read ({why}): set an account up with `emailproxy add`, or name another file with --config-file";
    /// Everybody on this machine may read the file.
    pub(crate) fn open_to_others(path = "/etc/emailproxy.config", mode = "644") =
        "others on this machine can read {path} (mode {mode}), where secrets stand: chmod o-rwx it";
    /// No server, or none that can be served.
    pub(crate) const NO_SERVER =
        "there is no server to serve: add a section such as [IMAP-1993], or mend the ones named above";
    /// Nobody could log in.
    pub(crate) const NO_ACCOUNT = "there is no account: add a section such as [you@example.com]";

    /// A section that is nearly `[emailproxy]`.
    pub(crate) fn section_meant(near = "emailproxy") = "unknown section, ignored: did you mean [{near}]?";
    /// A section of which nobody knows what it is.
    pub(crate) const UNKNOWN_SECTION =
        "unknown section, ignored: servers are headed as [IMAP-1993], accounts as [you@example.com]";
    /// An option whose name is nearly that of another.
    pub(crate) fn option_meant(option = "oauth_scope", nearest = "oauth2_scope") =
        "unknown option `{option}`, ignored: did you mean `{nearest}`?";
    /// An option of which nobody knows what it is.
    pub(crate) fn unknown_option(option = "colour") = "unknown option `{option}`, ignored";
    /// The same, where its name may be a part of a secret that was pasted.
    pub(crate) const UNKNOWN_LINE =
        "unknown option, ignored: if this line goes on with the value above it, indent it";
    /// A value of the sample that somebody forgot.
    pub(crate) fn placeholder(option = "client_id") =
        "`{option}` still holds the sample's placeholder: put your own value there";

    /// An option without which the section cannot be used.
    pub(crate) fn missing(option = "server_address") = "`{option}` is missing";
    /// Neither yes nor no.
    pub(crate) fn not_boolean(option = "server_starttls") = "`{option}` must be True or False";
    /// Not a number, or too small a one.
    pub(crate) fn not_a_number_from(option = "max_sessions", least = 1) =
        "`{option}` must be a number, {least} or more";
    /// Not a number, or one out of its range.
    pub(crate) fn not_a_number_between(option = "server_port", least = 1, most = 65535) =
        "`{option}` must be a number, from {least} to {most}";
    /// Neither of the two forms in which tokens are saved.
    pub(crate) const TOKEN_FORMAT = "`token_format` must be aes-gcm or fernet";

    /// `[IMAP-x]`.
    pub(crate) fn not_a_port(protocol = "IMAP", example = 1993) =
        "the local port must be a number from 1 to 65535, as in [{protocol}-{example}]: the server is left out";
    /// `[imap 1993]`.
    pub(crate) fn misspelt_heading(protocol = "IMAP", port = 1993) =
        "not a server's heading: write it as [{protocol}-{port}]";
    /// Two servers want one port.
    pub(crate) fn port_taken(port = 1993, first = "IMAP-1993", line = 3) =
        "port {port} is that of [{first}] in line {line} already: the server is left out, give it another port";
    /// The mail server's name cannot be one.
    pub(crate) const SERVER_ADDRESS = "`server_address` must be a host name or an address";
    /// Nor the address to listen on.
    pub(crate) const LOCAL_ADDRESS = "`local_address` must be an address or a host name";
    /// Plaintext where TLS is usual, or the other way round.
    pub(crate) fn unusual_starttls(port = 587, usual = "True") =
        "port {port} usually wants `server_starttls = {usual}`: check it if the server does not answer";
    /// Passwords can be listened to.
    pub(crate) fn passwords_in_the_clear(listener = "local_address = ::, allow_from = 10.0.0.0/8") =
        "other machines can reach this port ({listener}) and passwords cross the network unencrypted: set \
         `local_address = 127.0.0.1`, or `local_certificate_path` and `local_key_path`";
    /// A certificate without its key.
    pub(crate) const NO_LOCAL_KEY =
        "`local_key_path` is missing beside `local_certificate_path`: the server is left out rather than served without TLS";
    /// A key without its certificate.
    pub(crate) const NO_LOCAL_CERTIFICATE =
        "`local_certificate_path` is missing beside `local_key_path`: the server is left out rather than served without TLS";
    /// None of the three values.
    pub(crate) const LOCAL_STARTTLS = "`local_starttls` must be True, False or optional";
    /// STARTTLS is to be offered, with what?
    pub(crate) const STARTTLS_WITHOUT_CERTIFICATE =
        "`local_starttls` needs `local_certificate_path` and `local_key_path`";
}
