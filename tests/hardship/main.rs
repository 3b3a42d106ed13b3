//! What goes wrong in practice: bad files, bad specs, a wrong key, names that are taken, objects that cannot be read, a
//! Neon that fails, an operator that is killed. Each is told precisely, changes nothing, disturbs nobody, and is over once
//! it is corrected.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod crash;
mod credentials;
mod faults;
mod files;
mod immutable;
mod ledger;
mod manifests;
mod misbehaviour;
mod neon;
mod operations;
mod scene;
mod seed;
mod specs;
mod undecodable;
mod undisturbed;
mod waiting;

/// The built operator.
const OPERATOR: &str = env!("CARGO_BIN_EXE_sepulki");
