//! The API server's audit log: who wrote what, and who read Secrets.
//!
//! The server appends an entry after it has answered, so what a test has just done may appear a
//! moment later: wait for the entry, or for a write of one's own made afterwards.

use std::{fs, io, path::PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// The file that the API server writes.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

/// One request. Bodies are not recorded.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Who asked.
    pub user: AuditUser,
    /// The program that asked, as it calls itself.
    #[serde(default)]
    pub user_agent: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// What was meant; absent for paths that are no resource.
    #[serde(default)]
    pub object_ref: AuditObject,
    /// What was answered; absent while a watch lasts.
    #[serde(default)]
    pub response_status: AuditResponse,
}

/// The user of a request, `system:serviceaccount:<namespace>:<name>` for a ServiceAccount.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditUser {
    /// The user's name.
    pub username: String,
}

/// The object of a request; empty where a request has none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditObject {
    /// The plural name, such as `secrets`.
    pub resource: String,
    /// Such as `status`.
    pub subresource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty for lists, and for creations under a generated name.
    pub name: String,
}

/// The answer to a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AuditResponse {
    /// The HTTP status; 0 where there is none yet.
    pub code: u16,
}

impl AuditEntry {
    /// Whether it would change something: true for refused writes too.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// All entries so far, oldest first.
    pub fn entries(&self) -> anyhow::Result<Vec<AuditEntry>> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            result => result.with_context(|| format!("read {}", self.path.display()))?,
        };
        // The last line may be half written.
        let (complete, _) = text.rsplit_once('\n').unwrap_or_default();
        complete
            .lines()
            .map(|line| serde_json::from_str(line).context("read an audit entry"))
            .collect()
    }

    /// The entries of one user, oldest first.
    pub fn entries_of(&self, username: &str) -> anyhow::Result<Vec<AuditEntry>> {
        let mut entries = self.entries()?;
        entries.retain(|entry| entry.user.username == username);
        Ok(entries)
    }
}
