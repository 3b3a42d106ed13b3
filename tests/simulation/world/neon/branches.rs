//! Branches: how they are made, changed, brought back and deleted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sepulki::neon::{Branch, BranchId, BranchState, ErrorKind, Moment, Result, UpdateBranch};

use super::super::postgres::Server;
use super::{OF_THEN, OPERATION, Project, SimBranch, error, refused};

impl Project {
    pub fn branches(&self, now: Timestamp) -> Vec<Branch> {
        self.branches.iter().map(|b| b.told(now)).collect()
    }

    /// Checks what Neon checks before it makes a branch, and makes it: a copy of its parent.
    pub fn create_branch(
        &mut self,
        name: &str,
        parent: &BranchId,
        annotations: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<BranchId> {
        let is_listed = self.branches.iter().any(|b| b.branch.name == name);
        if is_listed || self.keeps_name == Some(name) {
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
        if self
            .most_running
            .is_some_and(|most| self.branches.len() >= most)
        {
            let message = "exceeded the limit of concurrently active endpoints";
            return Err(error(ErrorKind::Limit, Some(402), message));
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

    pub(super) fn add_branch(
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

    /// Deletes a branch, unless Neon would not; false where there is none.
    pub fn delete_branch(&mut self, id: &BranchId) -> Result<bool> {
        let Ok(found) = self.find(id).map(|b| b.branch.clone()) else {
            return Ok(false);
        };
        if let Some(words) = self.keeps {
            return Err(refused(words));
        }
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
        if self.plan.keeps_leases && update.expires_at == Some(None) {
            return Err(refused("the expiration of this branch cannot be removed"));
        }
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

    pub(super) fn has_children(&self, id: &BranchId) -> bool {
        let mut branches = self.branches.iter();
        branches.any(|b| b.branch.parent_id.as_ref() == Some(id))
    }

    pub(super) fn parents(&self) -> BTreeSet<BranchId> {
        self.branches
            .iter()
            .filter_map(|b| b.branch.parent_id.clone())
            .collect()
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
}
