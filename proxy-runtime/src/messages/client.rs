//! What goes wrong with a mail client before its session has begun, with the balancer in front of it, and with its TLS.

proxy_proto::texts! {
    // ---- a client comes

    /// Descriptors or memory have run out.
    pub fn cannot_accept(why = "too many open files") =
        "cannot accept a client: {why}: trying again; a higher limit on open files may help";
    /// A client is not served; its address and how many there were stand beside it.
    pub fn client_turned_away(why = TOO_MANY_SESSIONS) = "client turned away: {why}";
    /// Why a client is not served: `allow_from`.
    pub const NOT_ALLOWED = "its network is not among those that are served (allow_from)";
    /// Why a client is not served: the limit on all sessions.
    pub const TOO_MANY_SESSIONS = "there are as many sessions as allowed (max_sessions)";
    /// Why a client is not served: the limit on the sessions of a listener, which only embedders set.
    pub const TOO_MANY_OF_LISTENER = "its listener has as many sessions as allowed";
    /// Why a client is not served: the limit on its address's sessions.
    pub const TOO_MANY_OF_ADDRESS = "its address has as many sessions as allowed (max_sessions_per_address)";
    /// Why a client is not served: no thread, no descriptor.
    pub const NO_RESOURCES = "the system has no resources left for it";
    /// Why a client is not served: the system gives no thread for it.
    pub fn no_thread(why = "resource temporarily unavailable") =
        "its thread cannot be started ({why}): a higher limit on threads may help";
    /// A client is here, but there is no descriptor for what serves it.
    pub fn cannot_be_served(why = "too many open files") =
        "cannot be served: {why}: a higher limit on open files may help";
    /// A session begins.
    pub const OPENED = "opened";

    // ---- balancers

    /// A connection of a balancer is not served; its address stands beside it.
    pub fn balancer_turned_away(why = NO_HEADER) = "turned away: {why}";
    /// Why it is not served: `proxy_protocol` does not name its network.
    pub const NO_BALANCER = "it is none of the balancers of this listener (proxy_protocol)";
    /// Why it is not served: it begins with something else.
    pub const NO_HEADER = "it sent no PROXY protocol header: turn that on in the balancer, or take it off this listener's proxy_protocol";
    /// Why it is not served: nothing came.
    pub const SLOW_HEADER = "it sent no PROXY protocol header in time: turn that on in the balancer, or take it off this listener's proxy_protocol";
    /// Why it is not served: it has closed the connection.
    pub const INCOMPLETE_HEADER = "it left before its PROXY protocol header was complete";
    /// Why it is not served: more than the protocol allows.
    pub const LONG_HEADER = "its PROXY protocol header is too long";
    /// Why it is not served: a damaged header.
    pub const BAD_HEADER = "its PROXY protocol header cannot be understood";
    /// Whom a balancer's connection stands for.
    pub fn client_is(address = "192.0.2.7:50312") = "the client is {address}";

    // ---- TLS with a client

    /// The client speaks TLS where the proxy has no certificate.
    pub const TLS_WITHOUT_CERTIFICATE = "the client speaks TLS to a plaintext port: turn SSL/TLS off in the mail client, or set local_certificate_path and local_key_path";
    /// The client speaks TLS where STARTTLS is offered.
    pub const TLS_BEFORE_STARTTLS = "the client speaks TLS to a plaintext port: choose STARTTLS instead of SSL/TLS in the mail client";
    /// A handshake with a client has failed.
    pub fn tls_with_client_failed(why = CLIENT_IS_SILENT) = "TLS with the client failed: {why}";
    /// Why: the client sends nothing to a TLS port.
    pub const CLIENT_IS_SILENT = "it sent nothing: probably it waits for a plaintext greeting: turn on SSL/TLS in the mail client";
    /// Why: the client speaks first, and no TLS.
    pub const CLIENT_IS_PLAIN = "it speaks plaintext to a TLS port: turn on SSL/TLS in the mail client";
    /// Why: the client has closed the connection without a word.
    pub const CLIENT_LEFT = "it left before TLS was established";
    /// Why: the client has closed the connection within the handshake.
    pub const CLIENT_LEFT_HANDSHAKE = "it left during the handshake: perhaps it does not accept the proxy's certificate";
    /// Why: the client has said so.
    pub fn certificate_not_accepted(alert = "UnknownCA") =
        "it does not accept the proxy's certificate ({alert}): trust it in the mail client, or replace it";
    /// Why TLS failed, on either side: somebody has begun and does not go on.
    pub const SLOW_HANDSHAKE = "it took too long";
    /// Why: a listener with STARTTLS that has no certificate, which a check has let pass.
    pub const NO_CERTIFICATE = "there is no certificate for this listener";
    /// Why STARTTLS on either side comes to nothing: the connection is gone.
    pub const NOTHING_TO_UPGRADE = "there is no plaintext connection to upgrade";
    /// A handshake behind STARTTLS has succeeded.
    pub fn tls_established(side = "server") = "TLS with the {side} is established";
}
