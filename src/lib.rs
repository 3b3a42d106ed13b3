//! Kubernetes operator for hosted Neon: one loop owns an environment's branch and its schema.
//!
//! ```text
//!  spec ──parse──▶ Desired ┐
//!                          ├─▶ decide(&Desired, &Observed, now) ─▶ Act(action) ─▶ act ─┐
//!  world ─observe▶ Observed┘      pure and total                   Wait, Settled, …    │
//!              ▲                                                        │              │
//!              └──────────────── observe again ◀────────────────────────┼──────────────┘
//!                                                                       ▼
//!                           status = project(&Desired, &Observed, &verdict)   pure ─▶ write iff changed
//! ```
//!
//! # Where things are
//!
//! | module | what | imports of ours |
//! |---|---|---|
//! | [`api`] | the kinds: types, schema, vocabulary of conditions | nothing |
//! | [`reconcile`] | the loop, its errors, admission, branch locks; knows no kind | `api` |
//! | [`project`] | NeonProject: `desired observe plan act status` | `api reconcile engine neon postgres cluster world` |
//! | [`database`] | NeonDatabase: the same files with the same roles | the same, never another kind |
//! | [`migration`] | SepulkiMigration: the same again | the same, never another kind |
//! | [`world`] | the ports through which the kinds see and change the world, and the live ones | `api reconcile engine neon postgres cluster` |
//! | [`engine`] | the migration engine: bundle, order, SQL, plan, run; knows neither Kubernetes nor Neon | `postgres` |
//! | [`neon`] | Neon's API: client, pacing, shared listing; knows no Kubernetes | nothing |
//! | [`postgres`] | sessions, TLS, roles and grants; knows neither | nothing |
//! | [`cluster`] | Kubernetes plumbing: clients, watches, writes, lease | nothing |
//! | [`runtime`] | starts and stops everything | all |
//! | [`cli`] | the command line | all |
//! | [`telemetry`] [`clock`] [`config`] [`admin`] | logs and metrics, time, settings, probes | each other |
//!
//! `telemetry`, `clock` and `config` are open to all but `api`. Inside of a kind `desired`, `plan`, `status` and
//! everything they use are pure: no client, no session, no clock. `tests/architecture.rs` holds the tree to this table.
//!
//! # Who decides what
//!
//! * What decides to create a branch: [`database::plan`]. What creates it: `database::act::on_neon`.
//! * What says who may use a Neon project: [`database::rules`]. What makes its settings: [`project::settings`].
//! * What writes the Secret: `database::act::secrets`; what it holds: [`database::credentials`].
//! * What splits SQL: `engine::sql`. What retries a 423: `neon::pacing`.

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
pub mod project;
pub mod reconcile;
pub mod runtime;
pub mod telemetry;
pub mod world;
