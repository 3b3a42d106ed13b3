//! Application roles as a spec asks for them. Pure.

use std::collections::BTreeMap;

use super::{database, duration, invalid};
use crate::api::{Access, NeonDatabaseSpec, PasswordSecretRef, RoleSpec, RotationSpec};
use crate::database::profile::Profile;
use crate::database::rotation::Rotation;
use crate::postgres::roles::Shape;
use crate::reconcile::Block;

/// The schema that roles work in where the spec names none.
const DEFAULT_SCHEMA: &str = "public";

/// What makes a login what it is, and is not for the spec to say.
const OURS: [&str; 2] = ["role", "session_authorization"];

/// An application role to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Name of the group.
    pub name: String,
    /// What it may do.
    pub access: Access,
    /// Databases it may enter.
    pub databases: Vec<String>,
    /// Schemas it works in.
    pub schemas: Vec<String>,
    /// How many sessions each of its logins may have; none for no limit.
    pub connection_limit: Option<i32>,
    /// Settings that its sessions begin with.
    pub settings: BTreeMap<String, String>,
    /// How often its login is replaced.
    pub rotation: Rotation,
    /// Where its password is, where it is not generated.
    pub password: Option<PasswordSecretRef>,
}

impl Role {
    /// What of it is brought about inside of the branch with everything else there, in words that differ where that does.
    pub(super) fn inside(&self) -> String {
        let Self {
            name,
            access,
            databases,
            schemas,
            connection_limit,
            settings,
            rotation: _,
            password: _,
        } = self;
        format!("{name:?} {access:?} {databases:?} {schemas:?} {connection_limit:?} {settings:?}")
    }

    /// What the sessions of its logins are like.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            connection_limit: self.connection_limit,
            settings: self.settings.clone(),
        }
    }
}

/// The roles, with every default filled in.
pub(super) fn roles(spec: &NeonDatabaseSpec, profile: &Profile) -> Result<Vec<Role>, Block> {
    let roles = spec.roles.iter().enumerate();
    roles
        .map(|(i, asked)| role(spec, profile, i, asked))
        .collect()
}

fn role(
    spec: &NeonDatabaseSpec,
    profile: &Profile,
    i: usize,
    asked: &RoleSpec,
) -> Result<Role, Block> {
    let field = format!("spec.roles[{i}]");
    let name = &asked.name.0;
    check_name(spec, &field, name)?;
    for schema in &asked.schemas {
        if schema.0.starts_with("pg_") || schema.0 == "information_schema" {
            return Err(invalid(format!(
                "{field}.schemas: {schema} belongs to PostgreSQL"
            )));
        }
    }
    for setting in asked.settings.keys() {
        if OURS.contains(&setting.to_lowercase().as_str()) {
            return Err(invalid(format!(
                "{field}.settings.{setting}: sessions become the role by it, so it cannot be set"
            )));
        }
        if setting.is_empty() || setting.len() > 63 {
            return Err(invalid(format!(
                "{field}.settings: a name is of 1 to 63 bytes, unlike {setting:?}"
            )));
        }
    }
    let texts = |names: &[crate::api::PgName]| names.iter().map(|n| n.0.clone()).collect();
    let listed: Vec<String> = texts(&asked.databases);
    let schemas: Vec<String> = texts(&asked.schemas);
    Ok(Role {
        name: name.clone(),
        access: asked.access,
        databases: if listed.is_empty() {
            spec.databases.iter().map(|d| d.name.0.clone()).collect()
        } else {
            listed
        },
        schemas: if schemas.is_empty() {
            vec![DEFAULT_SCHEMA.to_owned()]
        } else {
            schemas
        },
        connection_limit: asked.connection_limit,
        settings: asked.settings.clone(),
        rotation: rotation(asked, profile, &format!("{field}.rotation"))?,
        password: asked.password_secret_ref.clone(),
    })
}

fn rotation(role: &RoleSpec, profile: &Profile, field: &str) -> Result<Rotation, Block> {
    let given = role.password_secret_ref.is_some();
    match &role.rotation {
        Some(_) if given => Err(invalid(format!(
            "{field}: the password comes from passwordSecretRef and is replaced there"
        ))),
        Some(asked) => asked_rotation(asked, profile, field),
        None => Ok(Rotation {
            every: profile.rotation.every.filter(|_| !given),
            ..profile.rotation
        }),
    }
}

fn asked_rotation(asked: &RotationSpec, profile: &Profile, field: &str) -> Result<Rotation, Block> {
    let every = match asked.every.as_str() {
        "never" => None,
        text => Some(duration(&format!("{field}.every"), text)?),
    };
    let usual = profile.rotation.overlap;
    let overlap = if let Some(text) = &asked.overlap {
        duration(&format!("{field}.overlap"), text.as_str())?
    } else {
        every.map_or(usual, |every| usual.min(every / 2))
    };
    if every.is_some_and(|every| overlap >= every) {
        return Err(invalid(format!(
            "{field}.overlap: must be less than every, so that no more than two logins work at a time"
        )));
    }
    Ok(Rotation { every, overlap })
}

fn check_name(spec: &NeonDatabaseSpec, field: &str, name: &str) -> Result<(), Block> {
    if name.len() > 58 {
        return Err(invalid(format!(
            "{field}.name: longer than 58 bytes, which leaves no room for logins"
        )));
    }
    if name.starts_with("pg_") || ["neon_superuser", "cloud_admin", "public"].contains(&name) {
        return Err(invalid(format!("{field}.name: {name} is reserved")));
    }
    let owner = spec
        .databases
        .iter()
        .find(|d| database(d).owner_if_new() == *name);
    match owner {
        Some(database) => {
            let database = &database.name;
            Err(invalid(format!(
                "{field}.name: {name} owns the database {database}; an application role cannot be an owner"
            )))
        }
        None => Ok(()),
    }
}
