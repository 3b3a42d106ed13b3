//! Kubernetes operator for hosted Neon.

pub mod admin;
pub mod api;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod engine;
pub mod neon;
pub mod postgres;
pub mod reconcile;
pub mod telemetry;
pub mod world;
