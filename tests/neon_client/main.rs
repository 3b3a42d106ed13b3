//! The Neon client on the wire: what it sends, what it makes of each answer, and what it repeats.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod answers;
mod failures;
mod stub;
