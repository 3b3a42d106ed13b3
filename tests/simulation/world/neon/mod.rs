//! Neon in memory: projects, branches, endpoints, roles, databases and operations that take their time.
//!
//! Says no where Neon does: 401 and 404 by key, 409 on names, 423 while operations run, 422 on protected branches and
//! branches with children. A child is a copy of its parent, passwords included unless the parent is protected.

mod branches;
mod compute;
mod operations;
mod roles;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sepulki::neon::{
    AuthMethod, Branch, BranchId, BranchState, Endpoint, Error, ErrorKind, Identity, Limit,
    NewEndpoint, Operation, OperationId, ProjectId, ProjectOwner, ProjectSettings, Result,
    UpdateProject,
};

use super::faults::Fault;
use super::postgres::Server;

pub use compute::{Plan, SimEndpoint, UNKNOWN_SETTING, starts};
pub use operations::{Hang, OPERATION};
pub use roles::{NEON_SECRET, OF_THEN, is_allowed};

/// As far back as this plan keeps history.
const MOST_HISTORY: i64 = 7 * 86_400;

/// Neon itself.
#[derive(Clone, Default)]
pub struct Neon {
    /// Which key sees which projects.
    pub keys: BTreeMap<String, BTreeSet<ProjectId>>,
    pub projects: BTreeMap<ProjectId, Project>,
    /// Whether as many computes run as the plan allows, so that no other is woken.
    pub no_compute_to_spare: bool,
    /// The route that fails, though no other one does.
    pub out_of_order: Option<&'static str>,
    pub calls: Calls,
}

/// Calls so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub mutations: Vec<String>,
    /// Changes that Neon refused, and how.
    pub refused: Vec<(String, ErrorKind)>,
    /// Listings of branches and of endpoints, which all objects share.
    pub listings: usize,
    /// When each project was listed.
    pub listed: BTreeMap<ProjectId, Vec<Timestamp>>,
    /// Every other look.
    pub looks: usize,
    /// Looks by what was looked at.
    pub by_route: BTreeMap<&'static str, usize>,
    /// All of these and changes that were refused.
    pub attempts: usize,
}

/// A project.
#[derive(Clone, Default)]
pub struct Project {
    pub history_retention_seconds: i64,
    pub settings: ProjectSettings,
    pub plan: Plan,
    /// As many branches may exist; none for any number.
    pub most_branches: Option<usize>,
    /// A name that a branch has which it does not list.
    pub keeps_name: Option<&'static str>,
    /// The words with which it refuses to delete any branch.
    pub keeps: Option<&'static str>,
    /// As many branches may have a compute, because all of them run; none for any number.
    pub most_running: Option<usize>,
    /// As many branches may be protected; none for any number.
    pub most_protected: Option<usize>,
    /// Whether passwords are forgotten once they were told.
    pub stores_no_passwords: bool,
    /// Whether it takes on to make branches, and makes none.
    pub makes_none: bool,
    /// The beginning of the changes whose operations fail, and how.
    pub fails: Option<(String, Fault)>,
    pub branches: Vec<SimBranch>,
    /// Whether operations that are begun now do not come to an end, and whether the project is locked meanwhile.
    pub hangs: Option<Hang>,
    /// How operations end, and when.
    pub(super) operations: Vec<(Operation, Timestamp)>,
    /// Those that lock nobody out.
    pub(super) unlocking: BTreeSet<OperationId>,
    pub(super) ids: usize,
    /// What the next listings tell instead of what is.
    pub stale_branches: Option<Vec<Branch>>,
    pub(super) stale_endpoints: Option<Vec<Endpoint>>,
}

/// A branch with everything in it.
#[derive(Clone)]
pub struct SimBranch {
    pub branch: Branch,
    made: Timestamp,
    /// The state in which Neon has left it.
    pub given_up: Option<BranchState>,
    /// How often what was in it was lost by going back to the parent.
    pub resets: usize,
    pub endpoint: Option<SimEndpoint>,
    pub replicas: Vec<SimEndpoint>,
    /// Passwords of the roles that Neon made, as it tells them.
    pub roles: BTreeMap<String, String>,
    pub server: Server,
    /// Passwords that become valid when an operation is over.
    pending: Vec<(Timestamp, String, String)>,
}

impl Neon {
    /// The project that this key sees.
    pub fn project(&mut self, key: &str, project: &ProjectId) -> Result<&mut Project> {
        match self.keys.get(key) {
            None => Err(error(
                ErrorKind::Denied,
                Some(401),
                "authorization required",
            )),
            Some(seen) if seen.contains(project) => self
                .projects
                .get_mut(project)
                .ok_or_else(|| not_found("project")),
            Some(_) => Err(not_found("project")),
        }
    }

    /// Whether a route answers.
    pub fn is_in_order(&self, route: &str) -> Result<()> {
        if self.out_of_order == Some(route) {
            return Err(error(ErrorKind::Server, Some(503), "out of order"));
        }
        Ok(())
    }

    /// Whose this key is: all are of one account.
    pub fn identity(&self, key: &str) -> Result<Identity> {
        if !self.keys.contains_key(key) {
            return Err(error(
                ErrorKind::Denied,
                Some(401),
                "authorization required",
            ));
        }
        Ok(Identity {
            account_id: "somebody".to_owned(),
            auth_method: AuthMethod::UserKey,
        })
    }

    /// The branch one of whose endpoints has this host, direct or pooled.
    pub fn at_host(&mut self, host: &str) -> Option<&mut SimBranch> {
        self.projects
            .values_mut()
            .flat_map(|project| &mut project.branches)
            .find(|b| b.endpoint_at(host).is_some())
    }

    pub fn branch(&self, id: &str) -> Option<&SimBranch> {
        self.projects
            .values()
            .flat_map(|project| &project.branches)
            .find(|b| b.branch.id.as_str() == id)
    }

    /// What time brings: operations that end, passwords that become valid, branches that expire.
    pub fn tick(&mut self, now: Timestamp) {
        for project in self.projects.values_mut() {
            project.tick(now);
        }
    }
}

impl Project {
    /// What Neon tells of it.
    pub fn view(&self, id: &ProjectId) -> sepulki::neon::Project {
        sepulki::neon::Project {
            id: id.clone(),
            name: String::new(),
            store_passwords: Some(!self.stores_no_passwords),
            history_retention_seconds: Some(self.history_retention_seconds),
            settings: Some(self.settings.clone()),
            owner: Some(ProjectOwner {
                branches_limit: Some(5000),
                subscription_type: Some("launch".to_owned()),
            }),
        }
    }

    /// Settings, all or none: a week of history is the most, and quotas are whole hours.
    pub fn set(&mut self, update: &UpdateProject) -> Result<()> {
        let seconds = update.history_retention_seconds;
        if seconds.is_some_and(|seconds| seconds > MOST_HISTORY) {
            return Err(error(
                ErrorKind::Rejected,
                Some(400),
                "requested history retention seconds exceeds allowed maximum",
            ));
        }
        self.history_retention_seconds = seconds.unwrap_or(self.history_retention_seconds);
        let settings = &update.settings;
        if let Some(mut quota) = settings.quota.clone() {
            if let Some(seconds) = &mut quota.active_time_seconds {
                *seconds -= *seconds % 3600;
            }
            self.settings.quota = Some(quota);
        }
        if settings.allowed_ips.is_some() {
            self.settings.allowed_ips.clone_from(&settings.allowed_ips);
        }
        Ok(())
    }

    /// A project with its default branch, which has one role and one database, as Neon makes them. Ids in it are
    /// numbered from `ids` on: no two projects share one.
    pub fn new(ids: usize, now: Timestamp) -> Self {
        let mut project = Self {
            ids,
            history_retention_seconds: 86_400,
            ..Self::default()
        };
        let id = project.add_branch("main", None, BTreeMap::new(), now);
        project.endpoint(&id, &NewEndpoint::default(), now).unwrap();
        project.operations.clear();
        if let Some(main) = project.branches.first_mut() {
            main.made = now;
            main.branch.default = true;
        }
        project.add_role(&id, "neondb_owner", now);
        project
            .find(&id)
            .unwrap()
            .server
            .add_database("neondb", "neondb_owner");
        project.tick(now + OPERATION * 2);
        project.operations.clear();
        project
    }

    fn next(&mut self, prefix: &str) -> String {
        self.ids += 1;
        format!("{prefix}-{}", self.ids)
    }

    pub fn find(&mut self, id: &BranchId) -> Result<&mut SimBranch> {
        self.branches
            .iter_mut()
            .find(|b| b.branch.id == *id)
            .ok_or_else(|| not_found("branch"))
    }

    fn tick(&mut self, now: Timestamp) {
        let has_pending = |b: &&mut SimBranch| !b.pending.is_empty();
        for branch in self.branches.iter_mut().filter(has_pending) {
            let (due, pending) = branch.pending.drain(..).partition(|(at, ..)| *at <= now);
            branch.pending = pending;
            let due: Vec<(Timestamp, String, String)> = due;
            for (_, role, password) in due {
                branch
                    .server
                    .roles
                    .entry(role)
                    .and_modify(|r| r.password = Some(password));
            }
        }
        let expired = |b: &SimBranch| b.branch.expires_at.is_some_and(|at| at <= now);
        if self.branches.iter().any(expired) {
            let parents: BTreeSet<BranchId> = self.parents();
            self.branches
                .retain(|b| !expired(b) || parents.contains(&b.branch.id));
        }
    }
}

impl SimBranch {
    /// Whether the endpoint of this host answers.
    pub fn is_up(&self, host: &str, now: Timestamp) -> bool {
        let there = !self.told(now).is_unusable();
        let up = |e: &SimEndpoint| e.made <= now && starts(&e.endpoint);
        there && self.endpoint_at(host).is_some_and(up)
    }

    /// Its endpoint of this host, direct or pooled, be it a read replica.
    fn endpoint_at(&self, host: &str) -> Option<&SimEndpoint> {
        let host = host.replacen("-pooler.", ".", 1);
        let mut all = self.endpoint.iter().chain(&self.replicas);
        all.find(|e| e.endpoint.host == host)
    }

    /// The branch as Neon tells it.
    pub fn told(&self, now: Timestamp) -> Branch {
        Branch {
            current_state: match &self.given_up {
                _ if self.made > now => BranchState::Init,
                Some(state) => state.clone(),
                None => BranchState::Ready,
            },
            pending_state: (self.made > now).then_some(BranchState::Ready),
            ..self.branch.clone()
        }
    }
}

pub fn error(kind: ErrorKind, status: Option<u16>, message: &str) -> Error {
    Error {
        kind,
        status,
        message: message.to_owned(),
        limit: (kind == ErrorKind::Limit).then(|| Limit::of("", message)),
        request_id: None,
        retry_after: None,
    }
}

pub fn not_found(what: &str) -> Error {
    error(ErrorKind::NotFound, Some(404), &format!("{what} not found"))
}

fn refused(message: &str) -> Error {
    error(ErrorKind::Rejected, Some(422), message)
}
