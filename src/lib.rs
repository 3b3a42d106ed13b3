//! Kubernetes operator for hosted Neon.
