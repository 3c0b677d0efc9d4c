//! Why the mail server cannot be used. Mail clients show it to their users, too.

proxy_proto::texts! {
    // ---- connection and TLS

    /// The name in `server_address` has no addresses.
    pub fn host_unresolved(
        host = "outlook.ofice365.com",
        why = "failed to lookup address information: name or service not known",
    ) = "the host name {host} cannot be resolved: {why}";
    /// No address of the server can be connected to; each with its reason where those differ.
    pub fn cannot_connect(host = "outlook.office365.com", port = 993, why = "connection refused") =
        "cannot connect to {host} port {port}: {why}";
    /// Why none can be: the system knows the name, but no address.
    pub const NO_ADDRESSES = "the name has no addresses";
    /// Packets are dropped, mostly by a firewall.
    pub fn slow_connect(host = "outlook.office365.com", port = 993, seconds = 20) =
        "{host} port {port} did not answer within {seconds} s";
    /// A handshake with the server has failed. Behind STARTTLS the session itself says so, and these reasons.
    pub fn tls_with_server_failed(host = "outlook.office365.com", why = NO_TLS_ON_PORT) =
        "TLS with {host} failed: {why}";
    /// Why TLS failed: `server_address` cannot stand in a certificate.
    pub fn bad_host_name(host = "mail_example com") = "{host} is no valid host name: check server_address";
    /// Why TLS failed: nobody whom we trust vouches for the server.
    pub const UNTRUSTED_AUTHORITY = "its certificate comes from an authority that is not trusted: name the authority's certificate in server_ca_path";
    /// Why TLS failed: the certificate is too old.
    pub const CERTIFICATE_EXPIRED = "its certificate has expired: check the server, and this machine's clock";
    /// Why TLS failed: the certificate is too new.
    pub const CERTIFICATE_NOT_YET_VALID = "its certificate is not valid yet: check this machine's clock";
    /// Why TLS failed: the certificate is somebody else's.
    pub const CERTIFICATE_FOR_ANOTHER = "its certificate is for another name: check server_address";
    /// Why TLS failed: something else about the certificate.
    pub fn certificate_refused(why = "Revoked") = "its certificate is refused: {why}";
    /// Why TLS failed: the server answers in plaintext.
    pub const NO_TLS_ON_PORT = "it does not speak TLS on this port: check server_port, or set server_starttls = True";
    /// Why TLS failed: the server hangs up.
    pub const SERVER_LEFT_HANDSHAKE = "it closed the connection: perhaps it does not speak TLS on this port";
    /// Why TLS failed: the server sends a message without an end.
    pub const HANDSHAKE_TOO_LONG = "a handshake message is too long";
    /// The connection to the server is open.
    pub const CONNECTED = "connected to the server";
    /// The server's connection was given up, and another one is wanted.
    pub const CONNECTING_ANEW = "connecting to the server anew";

    // ---- the outgoing proxy

    /// The proxy of `outgoing_proxy`, in sentences about it.
    pub fn outgoing_proxy(kind = "SOCKS5", host = "proxy.example.com", port = 1080) =
        "the {kind} proxy {host} port {port}";
    /// It cannot be reached, or breaks off.
    pub fn proxy_unusable(
        proxy = "the SOCKS5 proxy proxy.example.com port 1080",
        why = "connection refused",
    ) = "{proxy} (outgoing_proxy) cannot be used: {why}";
    /// It answers, but not with a connection.
    pub fn proxy_did_not_connect(
        proxy = "the SOCKS5 proxy proxy.example.com port 1080",
        host = "outlook.office365.com",
        port = 993,
        why = PROXY_WANTS_LOGIN,
    ) = "{proxy} did not connect to {host} port {port}: {why}";
    /// Why: it is no SOCKS5 proxy.
    pub const NOT_SOCKS5 = "it does not speak SOCKS5: check outgoing_proxy";
    /// Why: it is no HTTP proxy.
    pub const NOT_HTTP = "it does not speak HTTP/1.1: check outgoing_proxy";
    /// Why: its answer is damaged.
    pub const PROXY_ANSWER_UNREADABLE = "its answer cannot be understood";
    /// Why: its answer has no end.
    pub const PROXY_ANSWER_TOO_LONG = "its answer is too long";
    /// Why: SOCKS5 without user and password is refused.
    pub const PROXY_WANTS_LOGIN = "it wants a login: add user:password@ in outgoing_proxy";
    /// Why: HTTP 407, whether or not there were user and password.
    pub const PROXY_WANTS_OTHER_LOGIN = "it wants a login: add user:password@ in outgoing_proxy, or correct them";
    /// Why: SOCKS5 with methods that we do not have.
    pub const PROXY_WANTS_OTHER_METHOD = "it wants another login than by user and password, which is all that can be sent to it";
    /// Why: SOCKS5's user and password are wrong.
    pub const PROXY_REFUSES_LOGIN = "it does not accept user and password of outgoing_proxy: correct them";
    /// Why: it has agreed to a method of SOCKS5 that nobody spoke of.
    pub const PROXY_CHOSE_OTHER_METHOD = "it chose a method that was not offered";
    /// Why: SOCKS5's code 2.
    pub const PROXY_RULES = "its rules do not allow the connection";
    /// Why: SOCKS5's code 3.
    pub const PROXY_NO_NETWORK = "network unreachable";
    /// Why: SOCKS5's code 4.
    pub const PROXY_NO_HOST = "host unreachable";
    /// Why: SOCKS5's code 5.
    pub const PROXY_WAS_REFUSED = "connection refused";
    /// Why: SOCKS5's code 6.
    pub const PROXY_TIMED_OUT = "the connection took too long";
    /// Why: SOCKS5's codes 1, 7 and 8.
    pub const PROXY_FAILED = "general failure";
    /// Why: a code that SOCKS5 does not have.
    pub const PROXY_GAVE_NO_REASON = "it gave no reason";
    /// Why: HTTP 403 or 405.
    pub fn proxy_forbids(code = 403) = "its rules do not allow the connection ({code})";
    /// Why: HTTP 502 or 503.
    pub fn proxy_cannot_reach(code = 502) = "it cannot reach the server ({code})";
    /// Why: HTTP 504.
    pub fn proxy_timed_out(code = 504) = "the server did not answer it in time ({code})";
    /// Why: any other status.
    pub fn proxy_answered(code = 418) = "it answered {code}";
}
