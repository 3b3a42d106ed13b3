//! Computes, and what the plan makes of them.

use jiff::Timestamp;
use sepulki::neon::{
    BranchId, Endpoint, EndpointId, EndpointSettings, EndpointState, EndpointType, ErrorKind,
    NewEndpoint, Result, UpdateEndpoint,
};

use super::{OPERATION, Project, error, not_found, refused};

/// A setting that PostgreSQL does not know: Neon takes it, and the compute does not start with it.
pub const UNKNOWN_SETTING: &str = "no_such_setting";

/// What the plan makes of a compute.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The largest compute; none for any.
    pub max_cu: Option<f64>,
    /// Whether a suspend time of one's own is refused.
    pub fixed_suspend: bool,
    /// Whether no branch may expire.
    pub no_leases: bool,
    /// Whether a lease that a branch has is not ended.
    pub keeps_leases: bool,
    /// As many read replicas may a branch have; none for any number.
    pub max_replicas: Option<usize>,
    /// The suspend time that is stored whatever is asked.
    pub stores_suspend: Option<i64>,
}

impl Plan {
    /// Gives an endpoint what is asked, all or nothing.
    pub fn give(&self, endpoint: &mut Endpoint, asked: &UpdateEndpoint) -> Result<()> {
        let units = asked.compute_units;
        if units.is_some_and(|(_, max)| self.max_cu.is_some_and(|most| max > most)) {
            return Err(refused(
                "autoscaling_limit_max_cu exceeds the maximum of your plan",
            ));
        }
        let seconds = asked.suspend_timeout_seconds;
        if self.fixed_suspend && seconds.is_some_and(|seconds| ![0, 300].contains(&seconds)) {
            return Err(refused(
                "suspend interval changing is not allowed for your account",
            ));
        }
        let settings = asked.pg_settings.as_ref();
        if let Some(name) = settings.and_then(|all| all.keys().find(|name| name.contains('-'))) {
            return Err(refused(&format!("{name} is not the name of a setting")));
        }
        if let Some((min, max)) = units {
            endpoint.autoscaling_limit_min_cu = min;
            endpoint.autoscaling_limit_max_cu = max;
        }
        let seconds = seconds.map(|seconds| self.stores_suspend.unwrap_or(seconds));
        endpoint.suspend_timeout_seconds = seconds.unwrap_or(endpoint.suspend_timeout_seconds);
        if let Some(settings) = settings {
            let text = |(name, value): (&String, &String)| (name.clone(), value.clone().into());
            endpoint.settings = Some(EndpointSettings {
                pg_settings: Some(settings.iter().map(text).collect()),
            });
        }
        Ok(())
    }
}

#[derive(Clone)]
pub struct SimEndpoint {
    pub endpoint: Endpoint,
    pub(super) made: Timestamp,
}

/// Whether the compute of an endpoint would start.
pub fn starts(endpoint: &Endpoint) -> bool {
    !endpoint.pg_settings().contains_key(UNKNOWN_SETTING)
}

impl SimEndpoint {
    /// The endpoint as Neon tells it.
    pub(super) fn told(&self, now: Timestamp) -> Endpoint {
        Endpoint {
            current_state: if self.made > now {
                EndpointState::Init
            } else {
                self.endpoint.current_state.clone()
            },
            pending_state: (self.made > now).then_some(EndpointState::Active),
            ..self.endpoint.clone()
        }
    }
}

impl Project {
    pub fn endpoints(&self, now: Timestamp) -> Vec<Endpoint> {
        let all = self.branches.iter();
        let all = all.flat_map(|b| b.endpoint.iter().chain(&b.replicas));
        all.map(|e| e.told(now)).collect()
    }

    /// The endpoint of a branch as it is told.
    pub fn told(&self, branch: &BranchId, now: Timestamp) -> Option<Endpoint> {
        let mut endpoints = self.branches.iter().filter_map(|b| b.endpoint.as_ref());
        let found = endpoints.find(|e| e.endpoint.branch_id == *branch);
        found.map(|e| e.told(now))
    }

    pub fn create_endpoint(
        &mut self,
        branch: &BranchId,
        compute: &NewEndpoint,
        now: Timestamp,
    ) -> Result<()> {
        if self.find(branch)?.endpoint.is_some() {
            let message = "read_write endpoint already exists";
            return Err(error(ErrorKind::Conflict, Some(409), message));
        }
        self.endpoint(branch, compute, now)
    }

    pub(super) fn endpoint(
        &mut self,
        branch: &BranchId,
        compute: &NewEndpoint,
        now: Timestamp,
    ) -> Result<()> {
        let made = self.new_endpoint(branch, compute, None, now)?;
        self.find(branch)?.endpoint = Some(made);
        Ok(())
    }

    /// Neon lets two have one name.
    pub fn create_replica(
        &mut self,
        branch: &BranchId,
        compute: &NewEndpoint,
        name: &str,
        now: Timestamp,
    ) -> Result<Endpoint> {
        let replicas = self.find(branch)?.replicas.len();
        if self.plan.max_replicas.is_some_and(|most| replicas >= most) {
            return Err(error(
                ErrorKind::Limit,
                Some(422),
                "read_only endpoints limit exceeded",
            ));
        }
        let made = self.new_endpoint(branch, compute, Some(name), now)?;
        self.find(branch)?.replicas.push(made.clone());
        Ok(made.endpoint)
    }

    /// False where there is none.
    pub fn delete_replica(&mut self, id: &EndpointId) -> bool {
        let mut deleted = false;
        for branch in &mut self.branches {
            let before = branch.replicas.len();
            branch.replicas.retain(|one| one.endpoint.id != *id);
            deleted |= branch.replicas.len() < before;
        }
        deleted
    }

    /// The endpoint with this id.
    pub fn endpoint_with(&mut self, id: &EndpointId) -> Result<&mut Endpoint> {
        let all = self.branches.iter_mut();
        let mut all = all.flat_map(|b| b.endpoint.iter_mut().chain(&mut b.replicas));
        let found = all.find(|e| e.endpoint.id == *id);
        found
            .map(|found| &mut found.endpoint)
            .ok_or_else(|| not_found("endpoint"))
    }

    pub(super) fn new_endpoint(
        &mut self,
        branch: &BranchId,
        compute: &NewEndpoint,
        replica: Option<&str>,
        now: Timestamp,
    ) -> Result<SimEndpoint> {
        let id = self.next("ep");
        let mut endpoint = Endpoint {
            id: id.as_str().into(),
            branch_id: branch.clone(),
            host: format!("{id}.local.localhost"),
            endpoint_type: match replica {
                Some(_) => EndpointType::ReadOnly,
                None => EndpointType::ReadWrite,
            },
            current_state: EndpointState::Idle,
            pending_state: None,
            autoscaling_limit_min_cu: 0.25,
            autoscaling_limit_max_cu: 0.25,
            suspend_timeout_seconds: 0,
            settings: None,
            name: replica.map(str::to_owned),
        };
        let asked = UpdateEndpoint {
            compute_units: compute.compute_units,
            suspend_timeout_seconds: compute.suspend_timeout_seconds,
            pg_settings: Some(compute.pg_settings.clone()),
        };
        self.plan.give(&mut endpoint, &asked)?;
        let made = now + OPERATION;
        Ok(SimEndpoint { endpoint, made })
    }
}
