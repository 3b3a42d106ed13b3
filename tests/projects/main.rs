//! One operator for many namespaces: a NeonProject for all of them, or each with a key of its own. It is that of a whole
//! cluster, on a real API server, the Neon emulator and real PostgreSQL, under the rights it ships with.
//!
//! In a binary of its own, because such an operator looks after everything that is in its cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod keys;
mod story;

use tokio::sync::{Mutex, MutexGuard};

/// The built operator.
const OPERATOR: &str = env!("CARGO_BIN_EXE_sepulki");

/// Waits until no other test has the cluster. Each leaves it empty.
async fn alone() -> MutexGuard<'static, ()> {
    static CLUSTER: Mutex<()> = Mutex::const_new(());
    CLUSTER.lock().await
}
