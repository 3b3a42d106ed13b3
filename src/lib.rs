//! Kubernetes operator for hosted Neon.

pub mod api;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod neon;
pub mod reconcile;
pub mod telemetry;
pub mod world;
