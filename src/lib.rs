//! Kubernetes operator for hosted Neon.

pub mod neon;
