//! Neon's HTTP API over real PostgreSQL, for tests, demos and people without an account.
//!
//! [`Emulator::start`] opens two ports on loopback: the API, and a proxy for all endpoints. A
//! branch is a copy of its parent's data directory, an endpoint a real server process that is
//! woken on connect and suspended when idle. Several emulators may run in one process.
//!
//! Where things are, and who may call whom:
//!
//! | module | role |
//! |---|---|
//! | `emulator`, `config`, `folders` | starting and stopping; wires the rest |
//! | `api` | HTTP: routes, shapes, validation, one file per resource; changes state, schedules operations |
//! | `proxy` | PostgreSQL connections: TLS, SCRAM, routing, cancelling; asks `control` to wake |
//! | `control` | runs operations, suspends, expires; the only caller of `compute` and `postgres` besides |
//! | `compute` | one endpoint's server: wake, pin, suspend |
//! | `postgres` | servers, data directories and SQL; knows nothing of Neon |
//! | `state` | what is known, and its file |
//! | `limits` | what a project's plan allows |
//! | `faults` | misbehaviour on demand; met by calls in `api`, by operations in `control` |
//! | `rates`, `usage` | how often an account may call; how long its computes ran |
//! | `stats`, `calls`, `scram`, `names`, `secret` | counters, the log of calls and small values, open to all |
//!
//! It is for trusted use on one machine; the crate's README says what is faithful and what is not.

mod api;
mod calls;
mod compute;
mod config;
mod control;
mod emulator;
mod faults;
mod folders;
mod limits;
mod names;
mod postgres;
mod proxy;
mod rates;
mod scram;
mod secret;
mod state;
mod stats;
mod usage;

pub use calls::Call;
pub use config::EmulatorConfig;
pub use emulator::Emulator;
pub use faults::{Answer, Effect, Fault, Outcome};
pub use limits::{ConsumptionLimit, Limits, SuspendLimit};
pub use rates::RateLimit;
pub use stats::{ApiCalls, EndpointStats, Stats};
