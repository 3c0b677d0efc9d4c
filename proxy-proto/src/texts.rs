//! How a room defines what a person may read of it: all in one place, and each text with an example, so that a test can
//! render every one of them.

/// Defines texts: constants, and functions that put values into a text; and `every()`, which renders each of them with the
/// examples that stand beside its parameters.
///
/// A parameter takes whatever implements [`Display`](std::fmt::Display). One invocation holds up to a hundred texts or so
/// (the compiler's recursion limit): a room with more of them has several, each in a module of its own.
///
/// ```
/// mod texts {
///     proxy_proto::texts! {
///         /// All sessions that the configuration allows are there.
///         pub const FULL = "there are as many sessions as allowed (max_sessions)";
///         /// The listener's address cannot be bound.
///         pub fn cannot_listen(section = "IMAP-1993", port = 1993, why = FULL) =
///             "[{section}]: cannot listen on port {port}: {why}";
///     }
/// }
///
/// assert_eq!(texts::cannot_listen("POP-1995", 1995, "in use"), "[POP-1995]: cannot listen on port 1995: in use");
/// assert_eq!(texts::every()[0], ("FULL", texts::FULL.to_owned()));
/// assert_eq!(texts::every()[1].0, "cannot_listen");
/// ```
#[macro_export]
macro_rules! texts {
    (@rest [$($every:tt)*]) => {
        /// Each text by its name, rendered with its examples.
        #[allow(dead_code, unreachable_pub, reason = "tests render them, of whatever module")]
        pub fn every() -> Vec<(&'static str, String)> {
            vec![$($every)*]
        }
    };
    (@rest [$($every:tt)*]
        $(#[$about:meta])* $visible:vis const $name:ident = $text:expr; $($rest:tt)*
    ) => {
        $(#[$about])*
        $visible const $name: &str = $text;
        $crate::texts!(@rest [$($every)* (stringify!($name), String::from($name)),] $($rest)*);
    };
    (@rest [$($every:tt)*]
        $(#[$about:meta])* $visible:vis fn $name:ident($($value:ident = $example:expr),+ $(,)?) = $text:expr; $($rest:tt)*
    ) => {
        $(#[$about])*
        $visible fn $name($($value: impl ::std::fmt::Display),+) -> String {
            format!($text)
        }
        $crate::texts!(@rest [$($every)* (stringify!($name), $name($($example),+)),] $($rest)*);
    };
    ($($texts:tt)*) => {
        $crate::texts!(@rest [] $($texts)*);
    };
}
