//! The `sepulki` command line.
fn main() {}
