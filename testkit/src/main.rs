//! The `testkit` binary.
fn main() {}
