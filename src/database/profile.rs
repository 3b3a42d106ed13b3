//! What stands in for a field that the spec leaves out, by environment. Pure.
//!
//! | | production | staging | development | preview |
//! |---|---|---|---|---|
//! | branch | the project's default branch, taken over | own | own | own |
//! | parent | – | the only production object | the only staging object | the NeonProject's base branch, or given |
//! | compute, CU | 0.5–4 | 0.25–1 | 0.25–1 | 0.25–1 |
//! | scale to zero | never | 300 s | 300 s | 300 s |
//! | protected | yes | no | no | no |
//! | deletion policy | Retain | Retain | Delete | Delete |
//! | lease | never | never | never | 72 h |
//! | max age | never | never | never | 14 d |
//! | rotation of application roles | 90 d, overlap 24 h | none | none | none |
//! | deleted outside | Stall | Stall | Recreate | Recreate |

use jiff::SignedDuration;

use super::compute::SuspendAfter;
use super::rotation::Rotation;
use crate::api::{DeletionPolicy, Environment, ExternalDeletionAction};

/// The defaults of an environment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Whether the project's default branch is taken over where the spec names no branch.
    pub takes_over_default: bool,
    /// The environment whose only object is the parent where the spec names none.
    pub parent: Option<Environment>,
    /// Smallest and largest compute size, in CU.
    pub compute_units: (f64, f64),
    /// Idle time before the compute is scaled to zero.
    pub suspend_after: SuspendAfter,
    /// Whether Neon refuses to delete or reset the branch.
    pub protected: bool,
    /// What becomes of the branch when the object goes.
    pub deletion_policy: DeletionPolicy,
    /// How long Neon keeps the branch after the operator was last heard of.
    pub lease: Option<SignedDuration>,
    /// How long the branch may live at all.
    pub max_age: Option<SignedDuration>,
    /// How often logins of application roles are replaced.
    pub rotation: Rotation,
    /// What to do where the branch was deleted outside.
    pub on_external_deletion: ExternalDeletionAction,
}

const SMALL: Profile = Profile {
    takes_over_default: false,
    parent: None,
    compute_units: (0.25, 1.0),
    suspend_after: SuspendAfter::Seconds(300),
    protected: false,
    deletion_policy: DeletionPolicy::Delete,
    lease: None,
    max_age: None,
    rotation: Rotation {
        every: None,
        overlap: SignedDuration::from_hours(24),
    },
    on_external_deletion: ExternalDeletionAction::Recreate,
};

/// The defaults of an environment.
#[must_use]
pub fn profile(environment: Environment) -> Profile {
    match environment {
        Environment::Production => Profile {
            takes_over_default: true,
            compute_units: (0.5, 4.0),
            suspend_after: SuspendAfter::Never,
            protected: true,
            deletion_policy: DeletionPolicy::Retain,
            rotation: Rotation {
                every: Some(SignedDuration::from_hours(90 * 24)),
                ..SMALL.rotation
            },
            on_external_deletion: ExternalDeletionAction::Stall,
            ..SMALL
        },
        Environment::Staging => Profile {
            parent: Some(Environment::Production),
            deletion_policy: DeletionPolicy::Retain,
            on_external_deletion: ExternalDeletionAction::Stall,
            ..SMALL
        },
        Environment::Development => Profile {
            parent: Some(Environment::Staging),
            ..SMALL
        },
        Environment::Preview => Profile {
            lease: Some(SignedDuration::from_hours(72)),
            max_age: Some(SignedDuration::from_hours(14 * 24)),
            ..SMALL
        },
    }
}
