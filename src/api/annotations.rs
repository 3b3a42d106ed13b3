//! Annotations that people and tools set on objects. What was taken up of them is latched in `status.handled`, so that
//! each acts once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Look now: a new value reads the API key, Neon and the Secrets anew and goes over what is inside of the branch.
pub const RECONCILE: &str = "sepulki.dev/reconcile";

/// Leave `Stalled` and try again: a new value also asks Neon anew for what it once refused.
pub const RETRY: &str = "sepulki.dev/retry";

/// Live longer than `spec.branch.maxAge`, until this time (RFC 3339).
pub const EXTEND: &str = "sepulki.dev/extend";

/// Back to the parent's state, of a development or preview: the branch's id, an `@` and the time of asking.
pub const RESET: &str = "sepulki.dev/reset";

/// On an object that is being deleted, and set since: let it go and leave the branch of this id.
pub const ABANDON: &str = "sepulki.dev/abandon";

/// Longest value that is told apart from others; what is longer is cut off.
pub const LONGEST_ANNOTATION: usize = 128;

/// The annotations' values that were taken up. An annotation with the same value does nothing any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    /// Of `sepulki.dev/reconcile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reconcile: Option<String>,
    /// Of `sepulki.dev/retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub retry: Option<String>,
    /// Of `sepulki.dev/extend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub extend: Option<String>,
    /// Until when the branch may live by the last `sepulki.dev/extend` that means something. It goes on holding when the
    /// annotation is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_time: Option<Time>,
    /// Of `sepulki.dev/reset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reset: Option<String>,
    /// Of `sepulki.dev/abandon`, where it was there while the object was not being deleted: it means nothing until it was
    /// taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub abandon: Option<String>,
    /// Which of them was taken up last and means nothing, and why. An event tells it, too, but may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub ignored: Option<String>,
}

/// The values of the two annotations that every kind understands, as they are on an object or as they were taken up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Looks {
    /// Of `sepulki.dev/reconcile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reconcile: Option<String>,
    /// Of `sepulki.dev/retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub retry: Option<String>,
}
