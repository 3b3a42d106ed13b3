//! Roles that Neon makes, and their passwords.

use jiff::Timestamp;
use sepulki::neon::{BranchId, ErrorKind, Result};

use super::super::postgres::PgRole;
use super::{OPERATION, Project, error};

/// A part of every password that Neon makes up.
pub const NEON_SECRET: &str = "npg-secret";

/// What passwords of a past end with.
pub const OF_THEN: &str = "-then";

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

impl Project {
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

    pub(super) fn add_role(&mut self, branch: &BranchId, name: &str, now: Timestamp) {
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

    pub(super) fn password(&mut self) -> String {
        format!("{}-{NEON_SECRET}", self.next("pw"))
    }
}
