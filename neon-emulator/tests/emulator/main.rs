//! The emulator by itself, on real PostgreSQL, as its clients see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that is surprised fails"
)]

mod branches;
mod clients;
mod clones;
mod connections;
mod consumption;
mod contents;
mod faults;
mod history;
mod keys;
mod lifecycle;
mod limits;
mod npm;
mod openapi;
mod pooler;
mod processes;
mod refusals;
mod replicas;
mod resources;
mod schema;
mod shares_blocks;
mod snapshots;
mod support;
