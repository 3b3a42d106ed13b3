//! Who may call: organizations, API keys, and what each kind of key reaches. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::model::{Project, State};
use crate::secret::Secret;

/// The one user, who is a member of every organization.
pub(crate) const USER_ID: &str = "emulator";

/// The id of the key that the emulator is started with.
const FIRST_KEY: i64 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) created_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ApiKey {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) token: Secret,
    pub(crate) scope: Scope,
    pub(crate) created_at: Timestamp,
}

/// What a key is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Scope {
    /// The user's own: all that they may see.
    Personal,
    /// An organization's: all of it, and nothing else.
    Organization { org_id: String },
    /// An organization's too, for one of its projects.
    Project { org_id: String, project_id: String },
}

impl Scope {
    /// The organization whose key it is.
    pub(crate) fn organization(&self) -> Option<&str> {
        match self {
            Self::Personal => None,
            Self::Organization { org_id } | Self::Project { org_id, .. } => Some(org_id),
        }
    }

    /// Whose calls are counted together.
    pub(crate) fn account(&self) -> &str {
        self.organization().unwrap_or(USER_ID)
    }

    /// Whether a project is there for this key.
    pub(crate) fn reaches(&self, project: &Project) -> bool {
        match self {
            Self::Personal => true,
            Self::Organization { org_id } => project.org_id.as_ref() == Some(org_id),
            Self::Project { project_id, .. } => project.id == *project_id,
        }
    }
}

impl State {
    /// Takes in what the emulator is started with. Its key is the user's, and replaces that of an earlier start.
    pub(crate) fn enrol(&mut self, token: Secret, organizations: &[String], now: Timestamp) {
        self.keys.retain(|key| key.id != FIRST_KEY);
        let first = ApiKey {
            id: FIRST_KEY,
            name: "emulator".to_owned(),
            token,
            scope: Scope::Personal,
            created_at: now,
        };
        self.keys.insert(0, first);
        let known: BTreeMap<_, _> = organizations
            .iter()
            .filter(|id| !self.organizations.contains_key(*id))
            .map(|id| {
                let organization = Organization {
                    id: id.clone(),
                    created_at: now,
                };
                (id.clone(), organization)
            })
            .collect();
        self.organizations.extend(known);
    }

    /// The key that a client has presented.
    pub(crate) fn key(&self, token: &str) -> Option<&ApiKey> {
        self.keys.iter().find(|key| key.token.expose() == token)
    }

    /// Adds a key.
    pub(crate) fn issue(
        &mut self,
        name: String,
        token: Secret,
        scope: Scope,
        now: Timestamp,
    ) -> ApiKey {
        let last = self.keys.iter().map(|key| key.id).max();
        let key = ApiKey {
            id: last.map_or(FIRST_KEY, |last| last.saturating_add(1)),
            name,
            token,
            scope,
            created_at: now,
        };
        self.keys.push(key.clone());
        key
    }
}
