//! Sessions with PostgreSQL: connecting, telling errors apart, advisory locks. Knows neither
//! Kubernetes nor Neon. Used by the engine and by the kinds.

mod connect;
mod ddl;
mod error;
pub mod extensions;
pub mod grants;
pub mod isolation;
pub mod lock;
pub mod managers;
mod privileges;
pub mod proof;
pub mod retire;
pub mod roles;
pub mod server_settings;
mod settings;

pub use connect::{Options, Target, Tls, connect};
pub use error::{Class, Error, RoleSetting, ServerError, UNTRUSTED};
