//! Kubernetes operator for hosted Neon.

pub mod admin;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod neon;
pub mod telemetry;
