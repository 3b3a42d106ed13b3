//! The operator in a simulated world: everything of it but its ports is real, and everything around it is in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "tests fail by panicking; their modules are nobody else's"
)]

mod asked;
mod awake;
mod bad_input;
mod burst;
mod compute;
mod convergence;
mod corrected;
mod database;
mod deletion;
mod given;
mod held_back;
mod heritage;
mod hung;
mod idle;
mod invariants;
mod lease;
mod logins;
mod matrix;
mod migration;
mod outside;
mod past;
mod project;
mod rebuilt;
mod refused;
mod replicas;
mod restart;
mod roles;
mod room;
mod rotation;
mod scene;
mod secrets;
mod settings;
mod shut_out;
mod stories;
mod together;
mod told;
mod verify;
mod world;
