//! Kubernetes operator for hosted Neon.

pub mod api;
pub mod engine;
pub mod neon;
pub mod postgres;
