//! What `--version` tells of the build.

/// The version, and below it the facts that a report of a problem needs. `build.rs` has found them out.
pub(crate) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("EMAILPROXY_BUILD_COMMIT"),
    "\ntarget: ",
    env!("EMAILPROXY_BUILD_TARGET"),
    "\ncompiler: ",
    env!("EMAILPROXY_BUILD_RUSTC"),
    "\nfeatures: ",
    env!("EMAILPROXY_BUILD_FEATURES"),
    "\nruntimes: smol, std",
    "\nTLS: rustls ",
    env!("EMAILPROXY_BUILD_RUSTLS"),
    " with aws-lc-rs ",
    env!("EMAILPROXY_BUILD_AWS_LC"),
);
