//! Read replicas of a branch: which are asked for, which of its endpoints they are, and what is left to be done. Pure.
//!
//! A replica of ours bears its name behind a prefix, so that it is found again after an answer that was lost, and one that
//! somebody else has made is not taken for ours. Neon does not keep two from having one name: the recorded one is kept then.

use super::action::Action;
use super::compute::{self, SuspendAfter};
use crate::api::{ComputeValues, NeonDatabaseStatus, ReadReplicaStatus};
use crate::neon::{Endpoint, NewEndpoint, UpdateEndpoint};

/// What the names of our replicas begin with on Neon.
const OURS: &str = "sepulki-";

/// A read replica that is asked for: what is not set is left to Neon.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// Its name.
    pub name: String,
    /// Smallest and largest size, in CU.
    pub units: Option<(f64, f64)>,
    /// Idle time before it is scaled to zero.
    pub suspend_after: Option<SuspendAfter>,
}

impl Replica {
    /// Its name on Neon.
    #[must_use]
    pub fn endpoint_name(&self) -> String {
        format!("{OURS}{}", self.name)
    }

    /// What is asked of its compute.
    #[must_use]
    pub fn asked(&self) -> ComputeValues {
        ComputeValues {
            min_cu: self.units.map(|(min, _)| min),
            max_cu: self.units.map(|(_, max)| max),
            suspend_after: self.suspend_after.map(SuspendAfter::text),
            ..ComputeValues::default()
        }
    }

    /// Body of an endpoint to be made.
    #[must_use]
    pub fn new_endpoint(&self) -> NewEndpoint {
        NewEndpoint {
            compute_units: self.units,
            suspend_timeout_seconds: self.suspend_after.map(SuspendAfter::seconds),
            ..NewEndpoint::default()
        }
    }

    /// Body of a change.
    #[must_use]
    pub fn update(&self) -> UpdateEndpoint {
        UpdateEndpoint {
            compute_units: self.units,
            suspend_timeout_seconds: self.suspend_after.map(SuspendAfter::seconds),
            pg_settings: None,
        }
    }

    /// Which of the branch's replicas it is.
    #[must_use]
    pub fn among<'a>(
        &self,
        listed: &'a [Endpoint],
        recorded: &[ReadReplicaStatus],
    ) -> Option<&'a Endpoint> {
        let name = self.endpoint_name();
        let recorded = self.recorded(recorded).map(|known| &known.endpoint.id);
        listed
            .iter()
            .filter(|endpoint| endpoint.name.as_ref() == Some(&name))
            .min_by_key(|endpoint| {
                let id = endpoint.id.as_str();
                (recorded.is_none_or(|known| known != id), id)
            })
    }

    fn recorded<'a>(&self, recorded: &'a [ReadReplicaStatus]) -> Option<&'a ReadReplicaStatus> {
        recorded.iter().find(|known| known.name == self.name)
    }

    /// What is left to be done about it.
    fn next(&self, listed: &[Endpoint], recorded: &[ReadReplicaStatus]) -> Option<Action> {
        let Some(endpoint) = self.among(listed, recorded) else {
            return Some(Action::CreateReplica(self.name.clone()));
        };
        let recorded = self.recorded(recorded).map(|known| &known.endpoint);
        let Some(recorded) = recorded.filter(|known| known.id == endpoint.id.as_str()) else {
            return Some(Action::RecordReplica(self.name.clone()));
        };
        compute::is_explicitly_due(&self.asked(), Some(recorded), endpoint)
            .then(|| Action::ResizeReplica(self.name.clone()))
    }
}

/// What is left to be done about replicas that are asked for.
pub fn changes<'a>(
    wanted: &'a [Replica],
    listed: &'a [Endpoint],
    recorded: &'a [ReadReplicaStatus],
) -> impl Iterator<Item = Action> + 'a {
    let next = |replica: &Replica| replica.next(listed, recorded);
    wanted.iter().filter_map(next)
}

/// A replica of ours that nobody asks for. On a branch that was taken over somebody may have made one that is named like ours:
/// there the record alone says that it is.
#[must_use]
pub fn left_over<'a>(
    wanted: &[Replica],
    listed: &'a [Endpoint],
    recorded: &[ReadReplicaStatus],
    taken_over: bool,
) -> Option<&'a Endpoint> {
    let kept = |endpoint: &Endpoint| {
        let mut kept = wanted.iter().filter_map(|one| one.among(listed, recorded));
        kept.any(|one| one.id == endpoint.id)
    };
    let is_recorded = |endpoint: &Endpoint| {
        let mut recorded = recorded.iter().map(|known| known.endpoint.id.as_str());
        recorded.any(|id| id == endpoint.id.as_str())
    };
    listed.iter().find(|endpoint| {
        let is_named = endpoint
            .name
            .as_deref()
            .is_some_and(|name| name.starts_with(OURS));
        is_named && !kept(endpoint) && (!taken_over || is_recorded(endpoint))
    })
}

/// What Neon has instead of what was asked of replicas, in words.
pub fn otherwise(status: &NeonDatabaseStatus) -> impl Iterator<Item = String> + '_ {
    status.read_replicas.iter().filter_map(|replica| {
        let told = compute::otherwise(&replica.endpoint)?;
        Some(format!("read replica {}: {told}", replica.name))
    })
}

/// In words: those that did not start when they were last to. The next connection starts them, where they can.
pub fn unstarted(status: &NeonDatabaseStatus) -> impl Iterator<Item = String> + '_ {
    status.read_replicas.iter().filter_map(|replica| {
        let words = replica.endpoint.failure.as_ref()?;
        Some(format!(
            "read replica {} did not start: {words}",
            replica.name
        ))
    })
}

/// The record after a look at the branch's replicas: those that are asked for or still there.
pub fn look_at(record: &mut Vec<ReadReplicaStatus>, wanted: &[Replica], listed: &[Endpoint]) {
    let before = std::mem::take(record);
    for known in before {
        let replica = wanted.iter().find(|replica| replica.name == known.name);
        let id = known.endpoint.id.clone();
        let endpoint = listed.iter().find(|endpoint| endpoint.id.as_str() == id);
        match (endpoint, replica) {
            (Some(endpoint), _) => record.push(ReadReplicaStatus {
                name: known.name,
                endpoint: compute::looked_at(
                    endpoint,
                    Some(known.endpoint),
                    replica.map(Replica::asked),
                ),
            }),
            (None, Some(_)) => record.push(known),
            (None, None) => {}
        }
    }
}

/// Puts this replica on record.
pub fn record(record: &mut Vec<ReadReplicaStatus>, replica: ReadReplicaStatus) {
    record.retain(|known| known.name != replica.name);
    record.push(replica);
}

#[cfg(test)]
mod tests;
