//! What the client tells about its calls. Pure.
//!
//! The port through which metrics are counted without this module knowing of them.

use std::time::Duration;

/// One attempt of one call, whether it was answered or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// HTTP method.
    pub method: &'static str,
    /// Template of the path, such as `/projects/{project}/branches`; from a closed list, so it fits a metric's label.
    pub route: &'static str,
    /// HTTP status, or none where no answer came.
    pub status: Option<u16>,
    /// How long the account's budget held it back.
    pub budget_wait: Duration,
    /// How long the call itself took.
    pub duration: Duration,
}

/// Hears of every attempt. Must not block.
pub trait CallObserver: Send + Sync {
    /// An attempt has ended.
    fn call(&self, call: &Call);
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl CallObserver for Unobserved {
    fn call(&self, _: &Call) {}
}
