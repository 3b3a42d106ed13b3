//! A NeonProject for many namespaces: the operator of a whole cluster, on a real API server, the Neon emulator and real
//! PostgreSQL, under the rights it ships with.
//!
//! In a binary of its own, because such an operator looks after everything that is in its cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod story;

/// The built operator.
const OPERATOR: &str = env!("CARGO_BIN_EXE_sepulki");
