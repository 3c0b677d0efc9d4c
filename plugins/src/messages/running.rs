//! Why a plugin ends a session, and what else the log says of plugins in the course of one.

proxy_proto::texts! {
    // ---- scripts

    /// A script has failed, and its session ends; or it has when it was tried, and its section is not served.
    pub(crate) fn failed(plugin = "hide.lua", why = "hide.lua:5: attempt to index a nil value (local 'x')") =
        "the plugin {plugin} failed: {why}";
    /// Why: one call took too long. A script's place stands before it.
    pub(crate) fn slow_call(milliseconds = 1000) =
        "it took more than {milliseconds} ms of processor time for one call (max_time)";
    /// Why: all calls together took too long. A script's place stands before it.
    pub(crate) fn slow_session(seconds = 60) =
        "it took {seconds} s of processor time, too much for what has passed";
    /// Why: the session's scripts have used their memory up.
    pub(crate) fn out_of_memory(megabytes = 64) =
        "not enough memory: a session's scripts may have {megabytes} MiB (max_memory)";
    /// Why: a hook's name is another value's.
    pub(crate) fn not_a_function(name = "on_command", kind = "table") = "{name} must be a function, and is of type {kind}";
    /// Why: `from_client` or `from_server` has returned something that cannot be sent.
    pub(crate) fn wrong_bytes(hook = "from_client", kind = "integer") =
        "{hook} returned a value of type {kind}: a string, false or nothing is wanted";
    /// Why: a hook has returned something that cannot be sent.
    pub(crate) fn wrong_text(hook = "on_command", kind = "integer") =
        "{hook} returned a value of type {kind}: see docs/plugins.md for what it may return";
    /// Why: a hook's second value is something that cannot be sent.
    pub(crate) fn wrong_answer(hook = "on_command", kind = "table") =
        "{hook} returned an answer of type {kind}: see docs/plugins.md for what it may return";
    /// Why: a hook's second value is more than a line.
    pub(crate) fn long_answer(hook = "on_command") =
        "{hook} returned an answer of several lines: see docs/plugins.md for what it may return";
    /// Why: a hook has dropped what the mail program has been promised.
    pub(crate) fn cannot_drop(hook = "on_header") =
        "{hook} returned false, and this cannot be dropped: see docs/plugins.md for what it may return";
    /// No state can be made for a session's scripts.
    pub(crate) fn no_lua(why = "not enough memory") = "Lua cannot be started: {why}";

    // ---- what scripts write, and what they do not see

    /// A line that a script has written.
    pub(crate) fn script_says(plugin = "hello.lua", text = "the mail program says UID FETCH") = "{plugin}: {text}";
    /// It has written a thousand of them.
    pub(crate) fn script_is_muted(plugin = "hello.lua") = "{plugin}: logs too much: no more of it in this session";
    /// A message, or a part of one, is longer than it may be.
    pub(crate) fn passes_unseen(plugin = "hide.lua", what = "message", command = "FETCH") =
        "{plugin}: a {what} ({command}) is too long and passes unseen (max_message)";
    /// The twentieth of them.
    pub(crate) fn more_passes_unseen(plugin = "hide.lua") =
        "{plugin}: much is too long and passes unseen: no more is said of it in this session";

    // ---- `deflate`

    /// From here on the server is spoken to in compressed data.
    pub(crate) const COMPRESSED = "the connection with the server is compressed";
    /// The session goes on without.
    pub(crate) fn stays_uncompressed(plugin = "deflate", why = NOT_OFFERED) =
        "{plugin}: the connection with the server stays uncompressed: {why}";
    /// Why: the server has not named it.
    pub(crate) const NOT_OFFERED = "it does not offer COMPRESS=DEFLATE";
    /// Why: the server has named it, and refuses it.
    pub(crate) const REFUSED = "it refused COMPRESS";
    /// Why: what the server has answered cannot be looked at.
    pub(crate) const LONG_LINE = "its answer has too long a line";
    /// The session ends.
    pub(crate) fn cannot_compress(plugin = "deflate", why = "deflate compression error") =
        "{plugin}: compressing failed: {why}";
    /// The session ends.
    pub(crate) fn cannot_decompress(plugin = "deflate", why = "deflate decompression error") =
        "{plugin}: what the server sent cannot be decompressed: {why}";
    /// The session ends.
    pub(crate) fn grows_too_much(plugin = "deflate", octets = 16777216, of = 4096) =
        "{plugin}: the server sent more than {octets} octets in one piece of {of}";
    /// The session ends.
    pub(crate) fn goes_on_behind_end(plugin = "deflate") =
        "{plugin}: the server sent something behind the end of its compressed data";
}
