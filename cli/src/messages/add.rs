//! `emailproxy add`: questions, what is missing, and what comes next.

proxy_proto::texts! {
    /// `--protocols` has something else.
    pub(crate) const THE_PROTOCOLS = "the protocols are imap, pop and smtp";

    /// Asked without an address.
    pub(crate) const ASK_ADDRESS = "Mail address";

    /// The same where nobody is there to be asked.
    pub(crate) const WHICH_ACCOUNT = "which account? Name its mail address: emailproxy add you@example.com";

    /// The address is none.
    pub(crate) fn bad_account_address(address = "user@@example.com", why = "it has two @") =
        "{address} cannot be an account's address: {why}";

    /// The account is in the file.
    pub(crate) fn account_is_there(account = "user@example.com", line = 12) =
        "the account {account} is there already, in line {line}: edit it there, or remove its section first";

    /// The file is no configuration.
    pub(crate) fn configuration_unreadable(why = "line 3: a section's heading has no closing bracket") =
        "the configuration cannot be read: {why}";

    /// `--preset` names none.
    pub(crate) fn no_preset(name = "gmial", names = "gmail, outlook, office365") =
        "there is no preset {name}: they are {names}";

    /// Asked about a domain that is not known.
    pub(crate) fn ask_look_up(domain = "example.com") =
        "The provider of {domain} is not known. Look its servers up at autoconfig.{domain}, {domain} and autoconfig.thunderbird.net?";

    /// The same where nobody is there to be asked.
    pub(crate) fn provider_unknown(domain = "example.com") =
        "the provider of {domain} is not known: name it with --preset, or its servers with --imap-server and --smtp-server; --yes \
         looks them up (autoconfig)";

    /// It takes its time.
    pub(crate) fn asking(url = "https://autoconfig.example.com/mail/config-v1.1.xml", seconds = 10) =
        "Asking {url} (at most {seconds} seconds) …";

    /// Nothing was found.
    pub(crate) fn no_autoconfig(troubles = "https://autoconfig.example.com/mail/config-v1.1.xml: HTTP 404") =
        "no autoconfig document could be had ({troubles}): name the servers with --imap-server and --smtp-server, and the provider \
         with --preset or --permission-url, --token-url and --scope";

    /// Why: a page that says it is none.
    pub(crate) fn http_status(status = 404) =
        "HTTP {status}";

    /// Why: no XML.
    pub(crate) fn no_document(why = "the root node was opened but never closed") =
        "no autoconfig document ({why})";

    /// Why: XML of another kind.
    pub(crate) const NO_CLIENT_CONFIG = "its root is no clientConfig";

    /// Why: nothing of use in it.
    pub(crate) const NO_SERVER_WITH_TLS = "the autoconfig document names no server with TLS";

    /// Asked about a server.
    pub(crate) fn ask_server(protocol = "IMAP", example = "imap.example.com:993") =
        "{protocol} server and port, such as {example} (empty for none)";

    /// A server that is none.
    pub(crate) fn write_host_and_port(example = "imap.example.com:993") =
        "write a host name and a port, such as {example}";

    /// An option's value is none.
    pub(crate) fn bad_argument(option = "--imap-server", value = "imap.example.com", why = "write a host name and a port") =
        "{option} {value}: {why}";

    /// No server at all.
    pub(crate) const NO_SERVER_NAMED = "no server was named: nothing is set up";

    /// A protocol without a server.
    pub(crate) fn no_server_known(protocol = "POP", domain = "example.com", option = "--pop-server") =
        "no {protocol} server is known for {domain}: name it with {option} HOST:PORT, or leave it out with --protocols";

    /// `--device` with a provider that has none.
    pub(crate) fn no_device_codes(provider = "Gmail") =
        "{provider} has no device codes for mail: leave --device out";

    /// `--tenant` with another provider.
    pub(crate) const TENANT_OF_OTHERS = "--tenant is for Microsoft's accounts: outlook and office365";

    /// Told before it is asked for them.
    pub(crate) const ADDRESSES_UNKNOWN = "The provider's OAuth addresses are not known. Its documents name them; many providers have \
        them at https://PROVIDER/.well-known/openid-configuration";

    /// Asked for `permission_url` with `--device`.
    pub(crate) const ASK_DEVICE_URL = "Where device codes are issued (device_authorization_endpoint)";

    /// Asked for `permission_url`.
    pub(crate) const ASK_PERMISSION_URL = "Where its users approve (authorization_endpoint)";

    /// Asked for `token_url`.
    pub(crate) const ASK_TOKEN_URL = "Where it issues tokens (token_endpoint)";

    /// Asked for `oauth2_scope`.
    pub(crate) const ASK_SCOPE = "The scope for mail, such as https://mail.example.com/ offline_access";

    /// What was typed or named is none.
    pub(crate) const NO_URL = "this is no URL; it begins with https://";

    /// The same where nobody is there to be asked.
    pub(crate) fn addresses_missing(option = "--token-url") =
        "the provider's addresses are not known: name them with --permission-url, --token-url and --scope ({option} is \
         missing), or name a --preset";

    /// Told before it is asked for it.
    pub(crate) fn client_id_wanted(how = REGISTER) =
        "a client id is needed: {how}";

    /// The same where nobody is there to be asked.
    pub(crate) fn client_id_missing(how = REGISTER) =
        "a client id is needed: {how}; then name it with --client-id";

    /// How to get one from a provider that is not known.
    pub(crate) const REGISTER = "register an application at the provider";

    /// Asked for it.
    pub(crate) const ASK_CLIENT_ID = "Client id";

    /// Asked for a secret that there may be.
    pub(crate) const ASK_CLIENT_SECRET_IF_ANY = "Client secret (empty if it has none)";

    /// Asked for a secret.
    pub(crate) const ASK_CLIENT_SECRET = "Client secret";

    /// The same where nobody is there to be asked.
    pub(crate) const CLIENT_SECRET_MISSING =
        "this provider's clients have a secret: give it with --client-secret-stdin in the first line of standard input";

    /// `--client-secret-stdin` without one.
    pub(crate) const NO_SECRET_ON_INPUT = "--client-secret-stdin: standard input has no secret in its first line";

    /// The terminal has gone.
    pub(crate) fn terminal_gone(why = "input/output error") =
        "the terminal cannot be used: {why}";

    /// A port that was named is taken.
    pub(crate) fn port_of_another(port = 1993) =
        "port {port} is another server's in this configuration: choose another one";

    /// No port is left.
    pub(crate) fn no_free_port(first = 6993) =
        "no local port from {first} on is free: name one with --imap-port, --pop-port or --smtp-port";

    /// What would be written is no account, for a reason that is not known.
    pub(crate) const ACCOUNT_UNUSABLE = "the account could not be used";

    /// An answer cannot stand in a configuration.
    pub(crate) fn cannot_be_written(why = "a value has a line break in it") =
        "this cannot be written: {why}";

    /// Told above the new sections.
    pub(crate) fn will_be_added(file = "emailproxy.config") =
        "This will be added to {file}:";

    /// Asked below the new sections.
    pub(crate) const ASK_WRITE = "Write it?";

    /// The answer was no.
    pub(crate) const NOTHING_WRITTEN = "nothing was written";

    /// The answer was yes.
    pub(crate) fn is_set_up(account = "user@example.com", file = "emailproxy.config") =
        "{account} is set up in {file}";

    /// What the mail program has to be told.
    pub(crate) const SETTINGS = "Settings for the mail program:";

    /// A server of it.
    pub(crate) fn settings_of_server(protocol = "IMAP", direction = "incoming", host = "127.0.0.1", port = 1993, security = "none") =
        "{protocol} ({direction}): host {host}, port {port}, connection security {security}, authentication \"normal password\"";

    /// The same for one that was there before.
    pub(crate) fn settings_of_old_server(
        settings = "IMAP (incoming): host 127.0.0.1, port 1993, connection security none", section = "IMAP-1993",
    ) = "{settings} (the server [{section}] that was there)";

    /// The user name of it.
    pub(crate) fn settings_user_name(account = "user@example.com") =
        "user name: {account}";

    /// The password of it.
    pub(crate) const SETTINGS_PASSWORD = "password: one of your own choice, the same for each of these; it encrypts what is saved, and \
        the provider never sees it";

    /// Next: `emailproxy check --connect`.
    pub(crate) const NEXT_CHECK = "looks whether servers and provider answer";

    /// Next: `emailproxy authorise ACCOUNT`.
    pub(crate) const NEXT_AUTHORISE = "gets your approval (or let the mail program look for mail)";

    /// Next: `emailproxy`.
    pub(crate) const NEXT_SERVE = "serves; a proxy that runs already takes the change over by SIGHUP";
}
