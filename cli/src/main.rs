//! The emailproxy command; see the crate's documentation.

use std::process::ExitCode;

fn main() -> ExitCode {
    emailproxy::run()
}
