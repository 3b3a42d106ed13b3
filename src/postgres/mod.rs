//! Sessions with PostgreSQL: connecting, telling errors apart, advisory locks. Knows neither
//! Kubernetes nor Neon. Used by the engine and by the kinds.

mod connect;
mod error;
pub mod lock;

pub use connect::{Options, Target, Tls, connect};
pub use error::{Class, Error, ServerError};
