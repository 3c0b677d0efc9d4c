//! What is wrong with the option `plugins`, whose section and name stand before it.

proxy_proto::texts! {
    // ---- the list

    /// There is nothing in it.
    pub(crate) const EMPTY_LIST = "the list is empty: name a script in an indented line, or remove the option";
    /// Its first line is one of parameters.
    pub(crate) fn parameter_first(line = "max_time=5000") =
        "the list begins with the parameter {line}: a plugin's file must stand before it";
    /// A word stands behind a plugin's name.
    pub(crate) fn no_parameter(word = "quietly", plugin = "echo.lua") =
        "{word} behind {plugin} is no parameter: write key=value, or put it in a line of its own if it is a plugin";
    /// A parameter has two values.
    pub(crate) fn parameter_twice(plugin = "echo.lua", key = "level") =
        "{plugin} has the parameter {key} twice: remove one of them";
    /// A quote ends in the middle of a word.
    pub(crate) fn no_blank_behind_quote(line = "replace.lua pattern=\"a\"b") =
        "there must be a blank behind the closing quote in {line}";
    /// A quote has no end.
    pub(crate) fn quote_not_closed(line = "replace.lua pattern=\"a") = "a quote is not closed in {line}";
    /// The list is the dictionary of the Python tool, and one that can be understood.
    pub(crate) fn is_dictionary_of(list = "replace.lua what=\"a\" / echo.lua") =
        "this is the Python tool's dictionary, whose plugins are Python scripts; plugins are Lua scripts here (docs/plugins.md), listed in indented lines; the equivalent is: plugins = {list}";
    /// The list is such a dictionary, or begins like one.
    pub(crate) const IS_DICTIONARY = "this is the Python tool's dictionary, whose plugins are Python scripts; plugins are Lua scripts here (docs/plugins.md), listed in indented lines, each of the form: name.lua key=value";

    // ---- parameters of the proxy's own

    /// `max_message` or `max_memory` is no size, or out of bounds.
    pub(crate) fn bad_size(plugin = "echo.lua", key = "max_message", value = "1T") =
        "{plugin}: {key}={value} must be a size from 64K to 1024M";
    /// `max_time` is no number, or out of bounds.
    pub(crate) fn bad_time(plugin = "echo.lua", value = "soon") =
        "{plugin}: max_time={value} must be milliseconds, from 1 to 600000";

    // ---- scripts

    /// The file's name has another ending.
    pub(crate) fn not_lua(plugin = "hide.py") =
        "{plugin} is no Lua script: write the name of a file that ends in .lua, or `deflate` (docs/plugins.md)";
    /// None of the folders has it.
    pub(crate) fn no_script(plugin = "hide.lua", folders = "/etc/emailproxy or /usr/share/emailproxy/plugins") =
        "there is no {plugin} in {folders}";
    /// The system does not let it be read.
    pub(crate) fn script_unreadable(path = "/etc/emailproxy/hide.lua", why = "Permission denied (os error 13)") =
        "{path} cannot be read: {why}";
    /// It is a folder, or the like.
    pub(crate) fn no_file(path = "/etc/emailproxy/hide.lua") = "{path} is no file";
    /// It is longer than scripts may be.
    pub(crate) fn script_too_long(path = "/etc/emailproxy/hide.lua") =
        "{path} is too long for a script: 1 MiB is the most";
    /// It mixes both levels.
    pub(crate) fn both_levels(raw = "from_client", framed = "on_command") =
        "it defines both {raw} and {framed}: bytes and whole commands exclude each other";

    // ---- `deflate`

    /// It stands in a section of another protocol.
    pub(crate) fn no_compression(plugin = "deflate", protocol = "POP") =
        "{plugin} is for IMAP: {protocol} has no compression";
    /// Something stands behind it.
    pub(crate) fn not_last(plugin = "deflate") =
        "{plugin} must be the last of the list, next to the server: what stands behind it would see compressed bytes only";
    /// It has a parameter.
    pub(crate) fn unknown_parameter(plugin = "deflate", key = "level") = "{plugin} has no parameter {key}";
}
