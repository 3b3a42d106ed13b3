//! The operator as a whole, for tests: a real API server with `deploy/base`, the Neon emulator on real
//! PostgreSQL, and the built program under the rights it ships with.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use testkit::operator::Platform;
//! let platform = Platform::shared().await?;          // one per test binary
//! let tenant = platform.tenant().await?;             // a namespace, a Neon project, the Secret with its key
//! let operator = tenant.operator("target/debug/sepulki").start().await?; // for this namespace only
//! tenant.apply("apiVersion: sepulki.dev/v1alpha1 …").await?;
//! tenant.database("production").ready().await?;
//! let mut session = tenant.published("production").await?.direct().await?; // sqlx, verify-full
//! operator.kill();
//! # Ok(()) }
//! ```
//!
//! | module | gives |
//! |---|---|
//! | [`platform`] | the parts that tests share |
//! | [`tenant`] | what one test has to itself |
//! | [`process`] | the running operator: log, metrics, ways to end it |
//! | [`object`] | objects of the operator's kinds: wait for a state, or tell what they say instead |
//! | [`published`] | a published Secret and sessions through it |
//! | [`neon`] | the emulator's API and counters |
//!
//! Every wait has a deadline ([`DEADLINE`]); a wait that fails tells what was waited for, what the object says
//! of itself and how the operator's log ends.

pub mod neon;
pub mod object;
pub mod platform;
pub mod process;
pub mod published;
pub mod tenant;

use std::time::{Duration, Instant};

pub use neon::Neon;
pub use object::{Handle, Object};
pub use platform::Platform;
pub use process::Operator;
pub use published::Published;
pub use tenant::Tenant;

/// How long anything that has to happen may take. Generous: the machine may be busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// How often a wait looks.
const POLL: Duration = Duration::from_millis(100);

/// Calls `probe` until it gives a value.
///
/// # Errors
/// Whatever `probe` fails with, at once; and after [`DEADLINE`], naming `what` was waited for.
pub async fn eventually<T>(
    what: &str,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            anyhow::bail!("{what}: not within {DEADLINE:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}
