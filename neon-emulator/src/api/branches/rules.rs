//! What a branch may be called, and when it may expire or be deleted. Pure.

use jiff::Timestamp;

use crate::{
    api::{error::ApiError, validate},
    state::model::{Branch, Project},
};

pub(crate) fn free_name(
    project: &Project,
    name: &str,
    own_id: Option<&str>,
) -> Result<(), ApiError> {
    validate::title(name)?;
    match project.named(name) {
        Some(taken) if Some(taken.id.as_str()) != own_id => Err(ApiError::conflict(format!(
            "branch with name {name:?} already exists"
        ))),
        _ => Ok(()),
    }
}

/// Whether the plan allows one more branch.
pub(crate) fn room_for_another(project: &Project) -> Result<(), ApiError> {
    if project.branches.len() < project.limits.branches {
        return Ok(());
    }
    Err(ApiError::limit(
        "BRANCHES_LIMIT_EXCEEDED",
        "branches limit exceeded",
    ))
}

/// Whether the plan allows one more branch without a parent.
pub(crate) fn room_for_root(project: &Project) -> Result<(), ApiError> {
    let roots = project
        .branches
        .values()
        .filter(|branch| branch.parent_id.is_none());
    if roots.count() < project.limits.root_branches {
        return Ok(());
    }
    Err(ApiError::limit(
        "ROOT_BRANCHES_LIMIT_EXCEEDED",
        "root branches limit exceeded",
    ))
}

/// Whether the plan allows one more protected branch.
pub(super) fn room_for_protection(project: &Project) -> Result<(), ApiError> {
    let protected = project.branches.values().filter(|branch| branch.protected);
    if protected.count() < project.limits.protected_branches {
        return Ok(());
    }
    Err(ApiError::limit(
        "BRANCHES_PROTECTED_LIMIT_EXCEEDED",
        "protected branches limit exceeded",
    ))
}

pub(super) fn set_expiry(
    project: &Project,
    branch: &mut Branch,
    at: Option<&str>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let at = at
        .map(|text| validate::expiry(text, &project.limits, now))
        .transpose()?;
    branch.expires_at = at;
    branch.ttl_interval_seconds = at.map(|at| at.duration_since(now).as_secs());
    Ok(())
}

pub(super) fn may_expire(project: &Project, branch: &Branch) -> Result<(), ApiError> {
    let obstacle = match branch {
        Branch {
            expires_at: None, ..
        } => return Ok(()),
        Branch { default: true, .. } => "default branch",
        Branch {
            protected: true, ..
        } => "protected branch",
        _ if project.children(&branch.id).next().is_some() => "branch that has children",
        _ => return Ok(()),
    };
    Err(ApiError::unprocessable(format!(
        "cannot set expiration on {obstacle}"
    )))
}

pub(super) fn deletable(project: &Project, branch: &Branch) -> Result<(), ApiError> {
    if branch.default {
        return Err(ApiError::unprocessable("cannot delete default branch"));
    }
    if branch.protected {
        return Err(ApiError::unprocessable("cannot delete protected branch"));
    }
    let children: Vec<&str> = project
        .children(&branch.id)
        .map(|child| child.id.as_str())
        .collect();
    if !children.is_empty() {
        return Err(ApiError::unprocessable(format!(
            "cannot delete branch that has children: {}",
            children.join(", ")
        )));
    }
    Ok(())
}
