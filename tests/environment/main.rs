//! Whole environments: the operator on a real API server, the Neon emulator and real PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod adoption;
mod at_rest;
mod conditions;
mod credentials;
mod deletion;
mod divergence;
mod fields;
mod leader;
mod roles;
mod rotation;
mod shop;
mod undisturbed;

use testkit::operator::{Operator, Tenant};

/// The built operator.
const OPERATOR: &str = env!("CARGO_BIN_EXE_sepulki");

/// Starts the operator for a tenant, looking at Neon every two seconds.
async fn start(tenant: &Tenant<'_>) -> anyhow::Result<Operator> {
    tenant
        .operator(OPERATOR)
        .flag("--snapshot-interval=2s")
        .start()
        .await
}
