//! The ports to the real systems: thin, each call one step of `cluster`, `postgres` or `engine`.

mod contents;
mod kubernetes;
mod migrations;

pub use contents::LiveContents;
pub use kubernetes::{Kubernetes, Watches};
pub use migrations::LiveMigrations;
