//! What the libraries say of a script's mistake: it may catch them, and else they end its session. Where Lua's own library has
//! the same function, these are its own texts.

proxy_proto::texts! {
    // ---- limits

    /// Time or memory is used up, and the script has tried to go on.
    pub(crate) const LIMIT_WAS_HIT = "a limit was hit";
    /// Lua's own text.
    pub(crate) const NO_MEMORY = "not enough memory";
    /// `proxy.send_to_client` and `proxy.send_to_server`.
    pub(crate) const TOO_MUCH_SENT = "too much is sent at once";
    /// A function that calls the script is called by the script, and so on.
    pub(crate) fn nested_too_deep(most = 16) = "functions that call back are nested more than {most} times";

    // ---- what Lua's libraries have, and these do not

    /// `setmetatable`.
    pub(crate) const NO_FINALIZERS = "__gc is not available";
    /// `table`.
    pub(crate) fn no_metatable(function = "sort") = "table.{function} is not available for tables with a metatable";
    /// `table.move`.
    pub(crate) const TOO_MANY_TO_MOVE = "too many elements to move";

    // ---- arguments

    /// A value cannot be made a string.
    pub(crate) fn bad_argument(index = 1, function = "find") = "bad argument #{index} to '{function}'";
    /// A number is not a whole one.
    pub(crate) fn no_integer(index = 3, function = "find") =
        "bad argument #{index} to '{function}' (number has no integer representation)";
    /// A value is another one than is wanted.
    pub(crate) fn wrong_type(index = 1, function = "find", wanted = "string", got = "nil") =
        "bad argument #{index} to '{function}' ({wanted} expected, got {got})";
    /// What `wrong_type` got where an argument is missing.
    pub(crate) const NO_VALUE = "no value";

    // ---- patterns

    /// Parentheses and classes are within each other too often.
    pub(crate) const TOO_COMPLEX = "pattern too complex";
    /// Parentheses.
    pub(crate) const TOO_MANY_CAPTURES = "too many captures";
    /// Parentheses.
    pub(crate) const UNFINISHED_CAPTURE = "unfinished capture";
    /// Parentheses.
    pub(crate) const INVALID_CAPTURE = "invalid pattern capture";
    /// `%1` and its like.
    pub(crate) fn no_capture(number = 2) = "invalid capture index %{number}";
    /// `%f`.
    pub(crate) const NO_FRONTIER = "missing '[' after '%f' in pattern";
    /// `%b`.
    pub(crate) const NO_BALANCE = "malformed pattern (missing arguments to '%b')";
    /// `%`.
    pub(crate) const NO_CLASS = "malformed pattern (ends with '%')";
    /// `[`.
    pub(crate) const NO_BRACKET = "malformed pattern (missing ']')";
    /// `string.gsub` with a text.
    pub(crate) const BAD_REPLACEMENT = "invalid use of '%' in replacement string";
    /// `string.gsub` and `regex.gsub` with a function or a table.
    pub(crate) fn bad_replacement_value(kind = "table") = "invalid replacement value (a {kind})";

    // ---- `regex` and `mime`

    /// A pattern is no text.
    pub(crate) const EXPRESSION_NOT_UTF_8 = "the regular expression is not UTF-8";
    /// A pattern has a mistake.
    pub(crate) fn bad_expression(why = "unclosed group") = "bad regular expression: {why}";
    /// `regex.gsub` with something else.
    pub(crate) fn bad_replacement(kind = "table") =
        "the replacement is of type {kind}: a string or a function is wanted";
    /// `mime.edit_text`, whose function returns something else.
    pub(crate) fn bad_edit(kind = "table") =
        "mime.edit_text: the function returned a value of type {kind}: a string or nothing is wanted";
}
