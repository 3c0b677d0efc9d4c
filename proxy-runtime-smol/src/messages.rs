//! What a person may read of this runtime alone; the others' texts are those of `proxy_runtime`.

proxy_proto::texts! {
    /// The plugins of each session have a thread; why a client is not served when there are too many of them.
    pub(crate) fn too_many_with_plugins(most = 4000) =
        "there are {most} sessions with plugins already";
    /// Why a host name has no addresses: the thread that asked the system for them has ended without an answer.
    pub(crate) const LOOKUP_GIVEN_UP = "the look-up was given up";
}
