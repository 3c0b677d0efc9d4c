//! What a person may read of this runtime alone; the others' texts are those of `proxy_runtime`.

proxy_proto::texts! {
    /// Neither thread nor descriptor can be had to connect to the server; mail clients show it, too.
    pub(crate) fn short_of_resources(why = "resource temporarily unavailable") = "the proxy is short of resources: {why}";

    // ---- what `emailproxy check --connect` says of a server

    /// Its first line is a refusal.
    pub(crate) fn refuses_connections(line = "421 4.3.2 Service not available") = "it refuses connections: {line}";
    /// It closes the connection and says nothing.
    pub(crate) const NO_GREETING = "it closed the connection without a greeting";
    /// The connection breaks.
    pub(crate) fn connection_lost(why = "connection reset by peer") = "the connection is lost: {why}";
    /// It says nothing more.
    pub(crate) fn slow_dialogue(seconds = 10) = "it did not go on with the dialogue within {seconds} s";
}
