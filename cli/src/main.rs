//! The emailproxy command.
fn main() {}
