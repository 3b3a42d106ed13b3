//! The Kubernetes plumbing against a real API server, on a kind that only this test knows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod access;
mod events;
mod finalizers;
mod forwarder;
mod lease;
mod secrets;
mod status;
mod watches;
mod widget;
