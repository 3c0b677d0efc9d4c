//! `emailproxy check`: what the configuration needs of the machine, what servers and providers say, and what the Python tool would
//! have done.

proxy_proto::texts! {
    /// `notify_command` has a program that is not there.
    pub(crate) fn no_such_program(option = "notify_command", program = "notify-sned") =
        "`{option}`: there is no program {program} that could be run: write its full path; it is run without a shell";

    /// `local_certificate_path` names one that is over.
    pub(crate) fn certificate_over(path = "/etc/emailproxy.crt", date = "2026-01-31") =
        "the certificate in {path} ended on {date}: mail programs will refuse it, replace it";

    /// `local_certificate_path` names one that will be over soon.
    pub(crate) fn certificate_ends(path = "/etc/emailproxy.crt", date = "2026-01-31", days = 3) =
        "the certificate in {path} ends on {date}, in {days} days: renew it";

    /// The folder for saved tokens is missing.
    pub(crate) fn no_folder_for_tokens(file = "/var/lib/emailproxy/tokens", folder = "/var/lib/emailproxy") =
        "tokens cannot be saved in {file}: the folder {folder} does not exist";

    /// The folder for saved tokens is read-only; also told at the start.
    pub(crate) fn folder_not_writable(
        file = "/etc/emailproxy.config", folder = "/etc", why = "permission denied", cure = WRITABLE_OR_ELSEWHERE,
    ) = "tokens cannot be saved in {file}: the folder {folder} cannot be written ({why}): {cure}";

    /// The file for saved tokens is read-only; also told at the start.
    pub(crate) fn tokens_not_writable(file = "/etc/emailproxy.config", why = "permission denied", cure = WRITABLE) =
        "tokens are saved in {file}, which cannot be written ({why}): {cure}";

    /// The cure, with `--cache-store`.
    pub(crate) const WRITABLE = "make it writable for the proxy";

    /// The cure without.
    pub(crate) const WRITABLE_OR_ELSEWHERE = "make it writable for the proxy, or keep tokens elsewhere with --cache-store";

    /// Shown while it takes its time.
    pub(crate) fn connecting(done = 2, total = 7, seconds = 3) =
        "connecting: {done} of {total} done, {seconds} s";

    /// A server or a provider does not answer.
    pub(crate) const SILENT = "no answer in time";

    /// A provider's address is the sample's.
    pub(crate) const PLACEHOLDER = "a placeholder of the sample stands in it: fill it in";

    /// A server's certificate will be over soon.
    pub(crate) fn its_certificate_ends(days = 3) =
        "its certificate ends in {days} days: logins will fail from then on unless it is renewed";

    /// A server's mechanisms are others.
    pub(crate) const TAKES_NO_TOKENS =
        "it offers neither XOAUTH2 nor OAUTHBEARER: it may not take tokens at all; check server_address and server_port";

    /// A provider answers by HTTP 5xx.
    pub(crate) const PROVIDER_IN_TROUBLE = "the provider itself is in trouble there: try again later";

    /// A provider has no such page.
    pub(crate) const NO_SUCH_PAGE = "there seems to be no page at that address: check its spelling";

    /// A provider's answer is none of OAuth's.
    pub(crate) const NOT_OAUTH =
        "that is not how OAuth refuses an empty request: this may be another address than the provider's documents name";

    /// A provider's address, with one of the three above.
    pub(crate) fn answers_but(status = 404, warning = NO_SUCH_PAGE) =
        "warning: it answers HTTP {status}; {warning}";

    /// A provider's address is right.
    pub(crate) fn answers(status = 200) =
        "ok, it answers (HTTP {status})";

    /// A token endpoint is right.
    pub(crate) fn refuses_as_it_should(status = 400, code = "invalid_request") =
        "ok, it answers (HTTP {status}, {code}: nothing was asked for)";

    /// In the last line.
    pub(crate) fn in_order(answering = 6, total = 7) =
        "{answering} of {total} connections in order";

    /// In the last line.
    pub(crate) fn taken_otherwise(lines = "2 lines") =
        "{lines} that the Python tool takes otherwise";

    /// The file begins with three octets that mean nothing.
    pub(crate) const BYTE_ORDER_MARK = "the file begins with a byte-order mark: the Python tool refuses it";

    /// An option of ours.
    pub(crate) const UNKNOWN_OPTION = "the Python tool does not know this option";

    /// The same, with one of the nine below.
    pub(crate) fn unknown_option(instead = SERVES_EVERYBODY) =
        "the Python tool does not know this option: {instead}";

    /// `allow_from`.
    pub(crate) const SERVES_EVERYBODY = "it serves everybody who can reach the port";

    /// `proxy_protocol`.
    pub(crate) const READS_COMMANDS = "it takes the header for commands";

    /// `server_ca_path`.
    pub(crate) const TRUSTS_SYSTEM = "it trusts the system's authorities alone";

    /// `sasl_user` and its kin.
    pub(crate) const SENDS_HEADING = "it sends the heading";

    /// `sasl_mechanism`.
    pub(crate) const ONLY_XOAUTH2 = "it always uses XOAUTH2";

    /// `token_format`.
    pub(crate) const OWN_FORM = "it always uses its own form";

    /// `max_sessions` and its kin.
    pub(crate) const NO_LIMIT = "it has no limit";

    /// `outgoing_proxy`.
    pub(crate) const CONNECTS_DIRECTLY = "it connects directly";

    /// `plugins`.
    pub(crate) const PYTHON_PLUGINS = "its plugins are Python scripts, which have to be rewritten";

    /// `server_starttls` of IMAP and POP.
    pub(crate) const STARTTLS_USED =
        "STARTTLS is used: the Python tool ignores this line and speaks TLS from the first byte";

    /// `local_starttls` of IMAP and POP.
    pub(crate) const STARTTLS_OFFERED = "STARTTLS is offered: the Python tool ignores this line";

    /// `local_starttls` of SMTP.
    pub(crate) const STARTTLS_DEMANDED =
        "logins before STARTTLS are refused: the Python tool serves them; `optional` does so too";

    /// `local_starttls = optional`.
    pub(crate) const ONLY_TRUE_OR_FALSE = "the Python tool takes only True or False";

    /// `delete_account_token_on_password_error`.
    pub(crate) const REPLACED_LATER =
        "another password's approval replaces the saved tokens once it has succeeded: the Python tool deletes them at once";

    /// `use_pkce` is not there.
    pub(crate) const PKCE_USED = "PKCE is used: the Python tool does so only with `use_pkce = True`";

    /// Saved tokens.
    pub(crate) const SAVED_BY_PYTHON = "saved by the Python tool: the first login rewrites it in a form that the Python tool cannot \
        read; `token_format = fernet` in [emailproxy] keeps the old one";
}
