//! `/metrics`: what each family of numbers is.

proxy_proto::texts! {
    /// `emailproxy_build_info`.
    pub(crate) const METRIC_BUILD = "always 1; the label says which version runs";

    /// `process_start_time_seconds`.
    pub(crate) const METRIC_START = "when the proxy began to serve, in seconds since 1970";

    /// `emailproxy_accounts`.
    pub(crate) const METRIC_ACCOUNTS = "accounts by whether tokens of theirs are saved";

    /// `emailproxy_consents_waiting`.
    pub(crate) const METRIC_CONSENTS_WAITING = "users who are being asked for permission now";

    /// `emailproxy_sessions`.
    pub(crate) const METRIC_SESSIONS = "sessions that are open now";

    /// `emailproxy_sessions_total`.
    pub(crate) const METRIC_SESSIONS_BEGUN = "sessions begun";

    /// `emailproxy_clients_turned_away_total`.
    pub(crate) const METRIC_TURNED_AWAY = "clients that were turned away before a session began, by reason";

    /// `emailproxy_logins_total`.
    pub(crate) const METRIC_LOGINS = "logins by what became of them";

    /// `emailproxy_tls_handshakes_total`.
    pub(crate) const METRIC_HANDSHAKES = "TLS handshakes with mail programs (client) and mail servers (server)";

    /// `emailproxy_upstream_connects_total`.
    pub(crate) const METRIC_CONNECTS = "connections to the mail server";

    /// `emailproxy_relayed_bytes_total`.
    pub(crate) const METRIC_RELAYED = "plaintext relayed after logins, in bytes, by whom it was for";

    /// `emailproxy_session_defects_total`.
    pub(crate) const METRIC_DEFECTS = "sessions that a defect of the proxy ended: please report them";

    /// `emailproxy_token_requests_total`.
    pub(crate) const METRIC_TOKEN_REQUESTS = "requests to the providers' token endpoints, by what became of them";

    /// `emailproxy_token_request_duration_seconds`.
    pub(crate) const METRIC_TOKEN_TIMES = "how long requests to the providers' token endpoints took";

    /// `emailproxy_consents_total`.
    pub(crate) const METRIC_CONSENTS = "users who were asked for permission, by what became of it";

    /// `emailproxy_store_errors_total`.
    pub(crate) const METRIC_STORE_ERRORS = "failures to read or write saved tokens; retries count";
}
