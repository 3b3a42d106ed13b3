//! Neon in memory: projects, branches, endpoints, roles, databases and operations that take their time.
//!
//! Says no where Neon does: 401 and 404 by key, 409 on names, 423 while operations run, 422 on protected branches and
//! branches with children. A child is a copy of its parent, passwords included unless the parent is protected.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sepulki::neon::{
    AuthMethod, Branch, BranchId, BranchState, Endpoint, EndpointId, EndpointSettings,
    EndpointState, EndpointType, Error, ErrorKind, Identity, Moment, NewEndpoint, Operation,
    OperationId, OperationStatus, ProjectId, ProjectOwner, ProjectSettings, Result, UpdateBranch,
    UpdateEndpoint, UpdateProject,
};

use super::faults::Fault;
use super::postgres::{PgRole, Server};

/// How long an operation takes.
pub const OPERATION: SignedDuration = SignedDuration::from_millis(400);

/// As far back as this plan keeps history.
const MOST_HISTORY: i64 = 7 * 86_400;

/// A part of every password that Neon makes up.
pub const NEON_SECRET: &str = "npg-secret";

/// What passwords of a past end with.
pub const OF_THEN: &str = "-then";

/// Neon itself.
#[derive(Clone, Default)]
pub struct Neon {
    /// Which key sees which projects.
    pub keys: BTreeMap<String, BTreeSet<ProjectId>>,
    pub projects: BTreeMap<ProjectId, Project>,
    /// Whether as many computes run as the plan allows, so that no other is woken.
    pub no_compute_to_spare: bool,
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
    pub(super) stale_branches: Option<Vec<Branch>>,
    pub(super) stale_endpoints: Option<Vec<Endpoint>>,
}

/// What an operation that does not come to an end means for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// No change of the project.
    Locks,
    /// Nothing.
    LetsOthers,
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

/// What the plan makes of a compute.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The largest compute; none for any.
    pub max_cu: Option<f64>,
    /// Whether a suspend time of one's own is refused.
    pub fixed_suspend: bool,
    /// Whether no branch may expire.
    pub no_leases: bool,
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
    made: Timestamp,
}

pub fn error(kind: ErrorKind, status: Option<u16>, message: &str) -> Error {
    Error {
        kind,
        status,
        message: message.to_owned(),
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

/// Whether a role or database may have this name.
pub fn is_allowed(kind: &str, name: &str) -> Result<()> {
    let reserved = ["cloud_admin", "neon_superuser", "public", "postgres"];
    let message = if name.len() > 63 {
        format!("{kind} name must have between 1 and 63 bytes")
    } else if name.starts_with("pg_") || reserved.contains(&name) {
        format!("{kind} name {name:?} is reserved")
    } else {
        return Ok(());
    };
    Err(error(ErrorKind::Rejected, Some(400), &message))
}

impl SimBranch {
    /// Whether its endpoint answers.
    pub fn is_up(&self, now: Timestamp) -> bool {
        let there = self.made <= now && self.given_up.is_none();
        let up = |e: &SimEndpoint| e.made <= now && starts(&e.endpoint);
        there && self.endpoint.as_ref().is_some_and(up)
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

/// A setting that PostgreSQL does not know: Neon takes it, and the compute does not start with it.
pub const UNKNOWN_SETTING: &str = "no_such_setting";

/// Whether the compute of an endpoint would start.
pub fn starts(endpoint: &Endpoint) -> bool {
    !endpoint.pg_settings().contains_key(UNKNOWN_SETTING)
}

impl SimEndpoint {
    /// The endpoint as Neon tells it.
    fn told(&self, now: Timestamp) -> Endpoint {
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

    /// The branch whose endpoint has this host, direct or pooled.
    pub fn at_host(&mut self, host: &str) -> Option<&mut SimBranch> {
        let host = host.replacen("-pooler.", ".", 1);
        self.projects
            .values_mut()
            .flat_map(|project| &mut project.branches)
            .find(|b| b.endpoint.as_ref().is_some_and(|e| e.endpoint.host == host))
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

    fn password(&mut self) -> String {
        format!("{}-{NEON_SECRET}", self.next("pw"))
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

    fn has_children(&self, id: &BranchId) -> bool {
        let mut branches = self.branches.iter();
        branches.any(|b| b.branch.parent_id.as_ref() == Some(id))
    }

    fn parents(&self) -> BTreeSet<BranchId> {
        self.branches
            .iter()
            .filter_map(|b| b.branch.parent_id.clone())
            .collect()
    }

    /// Whether operations run.
    pub fn is_busy(&self, now: Timestamp) -> bool {
        let mut running = self.operations.iter().filter(|(_, over)| *over > now);
        running.any(|(operation, _)| !self.unlocking.contains(&operation.id))
    }

    /// Mutations are refused while operations run.
    pub fn unlocked(&self, now: Timestamp) -> Result<()> {
        if self.is_busy(now) {
            return Err(error(
                ErrorKind::Locked,
                Some(423),
                "project already has running conflicting operations, scheduling of new ones is prohibited",
            ));
        }
        Ok(())
    }

    /// How many operations there have been.
    pub fn operations_so_far(&self) -> usize {
        self.operations.len()
    }

    /// Work that takes its time.
    pub fn operation(&mut self, action: &str, now: Timestamp) -> Vec<Operation> {
        let operation = Operation {
            id: OperationId::from(self.next("op")),
            action: action.to_owned(),
            status: OperationStatus::Running,
            error: None,
            total_duration_ms: None,
        };
        let end = Operation {
            status: OperationStatus::Finished,
            ..operation.clone()
        };
        let over = match self.hangs {
            Some(hang) => {
                if hang == Hang::LetsOthers {
                    self.unlocking.insert(operation.id.clone());
                }
                Timestamp::MAX
            }
            None => now + OPERATION,
        };
        self.operations.push((end, over));
        vec![operation]
    }

    /// What hung comes to its end.
    pub fn goes_on(&mut self, now: Timestamp) {
        self.hangs = None;
        for (_, over) in &mut self.operations {
            *over = (*over).min(now);
        }
    }

    /// Neon is busy with this project until then.
    pub fn busy_until(&mut self, over: Timestamp) {
        let operation = Operation {
            id: OperationId::from(self.next("op")),
            action: "check_availability".to_owned(),
            status: OperationStatus::Finished,
            error: None,
            total_duration_ms: None,
        };
        self.operations.push((operation, over));
    }

    pub fn ask_operation(&self, id: &OperationId, now: Timestamp) -> Result<Operation> {
        let (operation, over) = self
            .operations
            .iter()
            .find(|(o, _)| o.id == *id)
            .ok_or_else(|| not_found("operation"))?;
        if *over <= now {
            return Ok(operation.clone());
        }
        Ok(Operation {
            status: OperationStatus::Running,
            error: None,
            ..operation.clone()
        })
    }

    /// Neon keeps operations for some months only.
    pub fn forget_operations(&mut self) {
        self.operations.clear();
    }

    pub fn branches(&self, now: Timestamp) -> Vec<Branch> {
        self.branches.iter().map(|b| b.told(now)).collect()
    }

    pub fn endpoints(&self, now: Timestamp) -> Vec<Endpoint> {
        let all = self.branches.iter();
        let all = all.flat_map(|b| b.endpoint.iter().chain(&b.replicas));
        all.map(|e| e.told(now)).collect()
    }

    /// Checks what Neon checks before it makes a branch, and makes it: a copy of its parent.
    pub fn create_branch(
        &mut self,
        name: &str,
        parent: &BranchId,
        annotations: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<BranchId> {
        if self.branches.iter().any(|b| b.branch.name == name) {
            let message = "branch with the provided name already exists";
            return Err(error(ErrorKind::Conflict, Some(409), message));
        }
        if self
            .most_branches
            .is_some_and(|most| self.branches.len() >= most)
        {
            return Err(error(
                ErrorKind::Limit,
                Some(422),
                "branches limit exceeded",
            ));
        }
        let copied = self.find(parent)?.clone();
        if copied.branch.expires_at.is_some() {
            return Err(refused("cannot create a child of a branch with expiration"));
        }
        let id = self.add_branch(name, Some(parent), annotations, now);
        let fresh: BTreeMap<String, String> = copied
            .roles
            .iter()
            .map(|(role, password)| {
                let password = if copied.branch.protected {
                    self.password()
                } else {
                    password.clone()
                };
                (role.clone(), password)
            })
            .collect();
        let child = self.find(&id)?;
        child.server = copied.server.clone();
        // sessions are not copied
        for database in child.server.databases.values_mut() {
            database.locked = false;
        }
        for (role, password) in &fresh {
            let known = child.server.roles.get_mut(role);
            known
                .expect("a role of Neon's is one of the server's")
                .password = Some(password.clone());
        }
        child.roles = fresh;
        Ok(id)
    }

    /// Whether this moment of the past is kept.
    pub fn has_past(&self, at: Option<&Moment>, now: Timestamp) -> Result<()> {
        let outside = match at {
            Some(Moment::Time(time)) => {
                let age = now.duration_since(*time).as_secs();
                age < 0 || age > self.history_retention_seconds
            }
            Some(Moment::Lsn(lsn)) => lsn.starts_with("F/"),
            None => false,
        };
        if outside {
            let message = "outside of the history retention window of the project";
            return Err(error(ErrorKind::Rejected, Some(400), message));
        }
        Ok(())
    }

    /// Neon's roles of a branch have passwords that their parent has no longer.
    pub fn with_passwords_of_then(&mut self, id: &BranchId) {
        let branch = self.find(id).unwrap();
        for (role, password) in &mut branch.roles {
            *password = format!("{password}{OF_THEN}");
            let known = branch.server.roles.get_mut(role).unwrap();
            known.password = Some(password.clone());
        }
    }

    fn add_branch(
        &mut self,
        name: &str,
        parent: Option<&BranchId>,
        annotations: BTreeMap<String, String>,
        now: Timestamp,
    ) -> BranchId {
        let id = BranchId::from(self.next("br"));
        let branch = Branch {
            id: id.clone(),
            name: name.to_owned(),
            parent_id: parent.cloned(),
            current_state: BranchState::Ready,
            pending_state: None,
            default: false,
            protected: false,
            created_at: now,
            last_reset_at: None,
            expires_at: None,
            annotations,
        };
        self.branches.push(SimBranch {
            branch,
            made: now + OPERATION,
            given_up: None,
            resets: 0,
            endpoint: None,
            replicas: Vec::new(),
            roles: BTreeMap::new(),
            server: Server::default(),
            pending: Vec::new(),
        });
        id
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

    fn endpoint(&mut self, branch: &BranchId, compute: &NewEndpoint, now: Timestamp) -> Result<()> {
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

    fn new_endpoint(
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

    /// The endpoint of a branch as it is told.
    pub fn told(&self, branch: &BranchId, now: Timestamp) -> Option<Endpoint> {
        let mut endpoints = self.branches.iter().filter_map(|b| b.endpoint.as_ref());
        let found = endpoints.find(|e| e.endpoint.branch_id == *branch);
        found.map(|e| e.told(now))
    }

    /// Deletes a branch, unless Neon would not; false where there is none.
    pub fn delete_branch(&mut self, id: &BranchId) -> Result<bool> {
        let Ok(found) = self.find(id).map(|b| b.branch.clone()) else {
            return Ok(false);
        };
        if found.default {
            return Err(refused("cannot delete the default branch"));
        }
        if found.protected {
            return Err(error(
                ErrorKind::Protected,
                Some(422),
                "cannot delete protected branch",
            ));
        }
        if self.has_children(id) {
            let message = "cannot delete branch that has children";
            return Err(error(ErrorKind::HasChildren, Some(422), message));
        }
        self.branches.retain(|b| b.branch.id != *id);
        Ok(true)
    }

    /// What Neon allows of names, and of protection and expiry together.
    pub fn set_branch(
        &mut self,
        id: &BranchId,
        update: &UpdateBranch,
        now: Timestamp,
    ) -> Result<()> {
        let has_children = self.has_children(id);
        let mut others = self.branches.iter().filter(|b| b.branch.id != *id);
        if others.any(|b| Some(&b.branch.name) == update.name.as_ref()) {
            let message = "branch with the provided name already exists";
            return Err(error(ErrorKind::Conflict, Some(409), message));
        }
        let others = self.branches.iter().filter(|b| b.branch.id != *id);
        let others = others.filter(|b| b.branch.protected).count();
        let full = self.most_protected.is_some_and(|most| others >= most);
        let no_leases = self.plan.no_leases;
        let branch = &mut self.find(id)?.branch;
        if full && update.protected == Some(true) && !branch.protected {
            let message = "protected branches limit exceeded";
            return Err(error(ErrorKind::Limit, Some(422), message));
        }
        let protected = update.protected.unwrap_or(branch.protected);
        let expires = update.expires_at.unwrap_or(branch.expires_at);
        if let Some(at) = expires {
            if no_leases {
                return Err(refused("branch expiration is not part of your plan"));
            }
            if at.duration_since(now) > SignedDuration::from_hours(24 * 30) || at <= now {
                let message = "expires_at must be at most 30 days in the future";
                return Err(error(ErrorKind::Rejected, Some(400), message));
            }
            if protected || branch.default || has_children {
                return Err(refused("this branch cannot have an expiration"));
            }
        }
        if let Some(name) = &update.name {
            branch.name.clone_from(name);
        }
        branch.protected = protected;
        branch.expires_at = expires;
        Ok(())
    }

    /// Makes a role of Neon's; its password is valid when the operation is over.
    pub fn create_role(&mut self, branch: &BranchId, name: &str, now: Timestamp) -> Result<()> {
        is_allowed("role", name)?;
        if self.find(branch)?.server.roles.contains_key(name) {
            let message = format!("role with name \"{name}\" already exists");
            return Err(error(ErrorKind::Conflict, Some(409), &message));
        }
        self.add_role(branch, name, now);
        Ok(())
    }

    fn add_role(&mut self, branch: &BranchId, name: &str, now: Timestamp) {
        let role = PgRole {
            login: true,
            api: true,
            ..PgRole::default()
        };
        let found = self.find(branch).unwrap();
        found.server.roles.insert(name.to_owned(), role);
        self.give_password(branch, name, now);
    }

    /// A new password: told at once, valid when the operation is over, and the old one until then.
    pub fn give_password(&mut self, branch: &BranchId, role: &str, now: Timestamp) {
        let password = self.password();
        let found = self.find(branch).unwrap();
        found.roles.insert(role.to_owned(), password.clone());
        found
            .pending
            .push((now + OPERATION, role.to_owned(), password));
    }

    /// Whether Neon would bring a branch back to the state of this one.
    pub fn may_be_reset(&mut self, id: &BranchId, source: &BranchId) -> Result<()> {
        let has_children = self.has_children(id);
        let branch = &self.find(id)?.branch;
        if branch.protected {
            let message = "cannot reset protected branch";
            return Err(error(ErrorKind::Protected, Some(422), message));
        }
        if has_children {
            let message = "Branch has children, preserve_under_name is required";
            return Err(error(ErrorKind::HasChildren, Some(422), message));
        }
        assert_eq!(branch.parent_id.as_ref(), Some(source), "not the parent");
        Ok(())
    }

    /// Somebody brings a branch back to this state of its past; what it was until now becomes its parent.
    pub fn restore(&mut self, id: &BranchId, past: &SimBranch, now: Timestamp) {
        let present = self.find(id).unwrap().clone();
        let (name, parent) = (
            format!("{}_before", present.branch.name),
            present.branch.parent_id,
        );
        let before = self.add_branch(&name, parent.as_ref(), BTreeMap::new(), now);
        self.find(&before).unwrap().server = present.server;
        let branch = self.find(id).unwrap();
        branch.server = past.server.clone();
        branch.roles = past.roles.clone();
        branch.pending.clear();
        branch.branch.parent_id = Some(before);
        branch.branch.last_reset_at = Some(now);
    }

    /// Somebody restores a snapshot of a branch in its place: computes, name and annotations are the new one's then, and the
    /// old one is kept under another name.
    pub fn restore_snapshot_in_place(&mut self, id: &BranchId, now: Timestamp) -> BranchId {
        let old = self.find(id).unwrap().clone();
        let new = self.add_branch("restored", None, old.branch.annotations.clone(), now);
        let before = self.find(id).unwrap();
        let (mut endpoint, mut replicas) =
            (before.endpoint.take(), std::mem::take(&mut before.replicas));
        before.branch.name = format!("{} (old)", old.branch.name);
        before.branch.default = false;
        before.branch.protected = false;
        for moved in endpoint.iter_mut().chain(&mut replicas) {
            moved.endpoint.branch_id = new.clone();
        }
        let restored = self.find(&new).unwrap();
        restored.branch.name = old.branch.name;
        restored.branch.default = old.branch.default;
        restored.branch.protected = old.branch.protected;
        restored.branch.expires_at = old.branch.expires_at;
        restored.made = now;
        restored.endpoint = endpoint;
        restored.replicas = replicas;
        restored.roles = old.roles;
        restored.server = old.server;
        new
    }

    /// Back to the state of the parent.
    pub fn reset_to_parent(&mut self, id: &BranchId, now: Timestamp) {
        let parent = self.find(id).unwrap().branch.parent_id.clone();
        let parent = self.find(&parent.unwrap()).unwrap().clone();
        let branch = self.find(id).unwrap();
        branch.server = parent.server;
        branch.roles = parent.roles;
        branch.pending.clear();
        branch.resets += usize::from(branch.given_up.take().is_none());
        branch.branch.last_reset_at = Some(now);
    }
}
