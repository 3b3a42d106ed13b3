//! What a project's plan allows. The figures of Neon's plans, of which the largest is the default.

use serde::{Deserialize, Serialize};

/// A project's limits. New projects get those of [`crate::EmulatorConfig::limits`]; they can be
/// changed for each through `/_emulator/projects/{project_id}/limits`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Branches of any kind.
    pub branches: usize,
    /// Branches without a parent.
    pub root_branches: usize,
    /// Branches that are protected.
    pub protected_branches: usize,
    /// Snapshots that somebody asked for; those of a schedule are not counted.
    pub snapshots: usize,
    /// Whether snapshots may be taken by a schedule.
    pub backup_schedules: bool,
    /// Which histories of consumption there are. Of the account, hence that of new projects counts.
    pub consumption: ConsumptionLimit,
    /// Computes that run at the same time, that of the default branch not counted.
    pub active_computes: usize,
    /// The largest compute, in CU. (Above 16 CU a size is fixed in any plan.)
    pub max_cu: f64,
    /// What `suspend_timeout_seconds` may be.
    pub suspend: SuspendLimit,
    /// The farthest that `expires_at` may lie in the future, in seconds.
    pub longest_ttl_seconds: i64,
    /// The largest `history_retention_seconds`.
    pub longest_history_seconds: i64,
}

/// What a plan lets one choose of a compute's patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspendLimit {
    /// Nothing: five minutes.
    Fixed,
    /// Five minutes or never.
    OnOff,
    /// A minute to a week, or never.
    Free,
}

/// Which histories of consumption a plan has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumptionLimit {
    /// None.
    None,
    /// That of the plans that are paid by usage.
    Usage,
    /// That of older plans too.
    All,
}

impl Limits {
    /// Neon's plan Free.
    #[must_use]
    pub fn free() -> Self {
        Self {
            branches: 10,
            root_branches: 3,
            protected_branches: 0,
            snapshots: 1,
            backup_schedules: false,
            consumption: ConsumptionLimit::None,
            max_cu: 2.0,
            suspend: SuspendLimit::Fixed,
            longest_history_seconds: 6 * 3600,
            ..Self::default()
        }
    }

    /// Neon's plan Launch.
    #[must_use]
    pub fn launch() -> Self {
        Self {
            root_branches: 5,
            consumption: ConsumptionLimit::Usage,
            protected_branches: 2,
            max_cu: 16.0,
            suspend: SuspendLimit::OnOff,
            longest_history_seconds: 7 * 86_400,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    /// Neon's plan Scale.
    fn default() -> Self {
        Self {
            branches: 5000,
            root_branches: 25,
            protected_branches: 5,
            snapshots: 100,
            backup_schedules: true,
            consumption: ConsumptionLimit::All,
            active_computes: 20,
            max_cu: 56.0,
            suspend: SuspendLimit::Free,
            longest_ttl_seconds: 30 * 86_400,
            longest_history_seconds: 30 * 86_400,
        }
    }
}
