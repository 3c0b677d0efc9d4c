//! What is wrong with the configuration, and why a port cannot be listened on: at the start, at a reload, and from
//! `emailproxy check`.

proxy_proto::texts! {
    // ---- values of options

    /// `allow_from` or `proxy_protocol` is empty; the option's name stands before it.
    pub const NO_NETWORK = "names no network: write some such as 192.0.2.0/24";
    /// A word of `allow_from` or `proxy_protocol` is something else; the option's name stands before it.
    pub fn not_a_network(text = "192.0.2.0/33") =
        "{text} is no network: write an address, or one with a prefix such as 192.0.2.0/24 or 2001:db8::/32";
    /// A network of `allow_from` or `proxy_protocol` has a longer address than its prefix.
    pub fn bits_beyond_prefix(text = "192.0.2.1/24", network = "192.0.2.0/24") =
        "{text} has bits beyond its prefix: write {network} if that network is meant";
    /// `outgoing_proxy` is no URL, or has a path; the option's name stands before it.
    pub const BAD_PROXY_URL = "is no URL of a proxy: write socks5://host:port or http://host:port, with user:password@ before the host where the proxy wants them";
    /// `outgoing_proxy` begins with another scheme.
    pub const BAD_PROXY_SCHEME = "must begin with socks5:// or http://";
    /// `outgoing_proxy` has a user or password that the proxy's protocol cannot carry.
    pub const BAD_PROXY_CREDENTIALS = "holds a user or password that cannot be sent: each may have 255 bytes without control characters; write special characters as %40 and the like";

    // ---- certificates

    /// A PEM file is not there, or not for this user.
    pub fn file_unreadable(path = "/etc/emailproxy/mail.pem", why = "Permission denied (os error 13)") =
        "{path}: cannot be read: {why}";
    /// A PEM file is damaged.
    pub fn not_pem(path = "/etc/emailproxy/mail.pem", why = KEY_IS_DAMAGED) = "{path}: not a valid PEM file: {why}";
    /// What is wrong with a PEM file that holds a private key; not what it holds.
    pub const KEY_IS_DAMAGED = "the private key is damaged";
    /// `local_certificate_path` or `server_ca_path` names a PEM file of something else.
    pub fn no_certificate_in(path = "/etc/emailproxy/mail.pem") =
        "{path}: holds no certificate: a PEM file with -----BEGIN CERTIFICATE----- is needed";
    /// `local_key_path` names a PEM file of something else.
    pub fn no_key_in(path = "/etc/emailproxy/mail.key") =
        "{path}: holds no private key: a PEM file with -----BEGIN PRIVATE KEY----- is needed";
    /// `local_key_path` names a key with a passphrase.
    pub fn key_is_encrypted(path = "/etc/emailproxy/mail.key") =
        "{path}: the private key is encrypted: save it without a passphrase (openssl pkey -in {path} -out NEW)";
    /// `local_certificate_path` and `local_key_path` are of different pairs.
    pub fn not_a_pair(key = "/etc/emailproxy/mail.key", certificate = "/etc/emailproxy/mail.pem") =
        "{key}: is not the key of the certificate in {certificate}: name a pair in local_certificate_path and local_key_path";
    /// rustls wants neither certificate nor key.
    pub fn pair_unusable(
        certificate = "/etc/emailproxy/mail.pem",
        key = "/etc/emailproxy/mail.key",
        why = "unexpected error: failed to parse private key as RSA, ECDSA, or EdDSA",
    ) = "{certificate} and {key}: cannot be used: {why}";
    /// There is nobody to trust towards servers.
    pub fn no_roots(why = "unexpected error: No CA certificates were loaded from the system") =
        "no trusted certificates: {why}: install the system's CA certificates (ca-certificates), or name a PEM file in SSL_CERT_FILE";
    /// rustls cannot begin.
    pub fn tls_cannot_be_set_up(why = "failed to get random bytes") = "TLS cannot be set up: {why}";

    // ---- listening

    /// A section wants TLS on the client's side, and names no certificate.
    pub fn needs_certificate(section = "IMAP-1993") =
        "[{section}]: TLS towards the client needs a certificate and a key: set local_certificate_path and local_key_path";
    /// Two sections want the same port of the same address.
    pub fn port_is_taken(section = "IMAP-1994", address = "::", port = 1993, other = "IMAP-1993") =
        "[{section}]: {address} port {port} is taken by [{other}]: give each its own port";
    /// `local_address` is a name without addresses.
    pub fn address_unresolved(
        section = "IMAP-1993",
        address = "mail.exmaple.com",
        why = "failed to lookup address information: Name or service not known",
    ) = "[{section}]: the address {address} to listen on cannot be resolved ({why}): check its spelling, or use an IP address";
    /// The system gives no listening socket.
    pub fn cannot_listen(section = "IMAP-1993", address = "::", port = 1993, why = PORT_IN_USE) =
        "[{section}]: cannot listen on {address} port {port}: {why}";
    /// Why it gives none: the port is somebody else's.
    pub const PORT_IN_USE = "the port is in use, by another program or another copy of this one: stop that one, or choose another port";
    /// Why it gives none: the port is below 1024.
    pub const PORT_NEEDS_PRIVILEGES = "permission denied: ports below 1024 need privileges: choose a port from 1024 on, or grant them (on Linux: CAP_NET_BIND_SERVICE)";
    /// Why it gives none: `local_address` is another machine's.
    pub const ADDRESS_IS_FOREIGN = "this machine has no such address: use ::, 127.0.0.1 or one of its own addresses";
    /// A socket that listens cannot be watched, or there is no thread for it.
    pub fn cannot_accept_at(section = "IMAP-1993", why = "too many open files") =
        "[{section}]: clients of one of its addresses cannot be accepted: {why}: raise the limit on open files or threads, then restart";
    /// A reload has failed, and what was closed for it cannot be opened again; the reason names the section.
    pub fn not_opened_again(why = "[IMAP-1993]: cannot listen on :: port 1993: too many open files") =
        "{why}; it was closed for the new configuration, and is not served before the next reload";
    /// At a reload a name in `local_address` cannot be resolved any more.
    pub fn not_followed(
        section = "IMAP-1993",
        address = "mail.example.com",
        why = "failed to lookup address information: Temporary failure in name resolution",
    ) = "[{section}]: {address} cannot be resolved now ({why}): it stays where it was";
    /// At a reload a name in `local_address` has other addresses, of which this machine gives none.
    pub fn nowhere_to_follow(section = "IMAP-1993", address = "mail.example.com") =
        "[{section}]: none of the addresses of {address} can be bound now: it stays where it was";
}
