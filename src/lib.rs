//! Kubernetes operator for hosted Neon.

pub mod api;
pub mod neon;
pub mod reconcile;
