//! Kubernetes operator for hosted Neon.

pub mod engine;
pub mod postgres;
