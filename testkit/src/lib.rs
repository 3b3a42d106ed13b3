//! Real parts for tests and the demo: a Kubernetes control plane, PostgreSQL, and the whole local
//! environment of the operator.
//!
//! | module | gives |
//! |---|---|
//! | [`postgres`] | a throw-away PostgreSQL server and a fresh database per test |
//!
//! Nothing is downloaded at run time: what is missing is an error that names the ways to get it.
//! Everything that is started dies with the process that started it, however that one ends.

mod pki;
pub mod postgres;
mod process;
mod scratch;
