//! Kubernetes operator for hosted Neon.

pub mod admin;
pub mod api;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod database;
pub mod engine;
pub mod migration;
pub mod neon;
pub mod postgres;
pub mod reconcile;
pub mod runtime;
pub mod telemetry;
pub mod world;
