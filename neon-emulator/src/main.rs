//! The `neon-emulator` binary.
fn main() {}
