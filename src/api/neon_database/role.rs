//! Application roles of a NeonDatabase. Types only.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::api::names::{Lease, ObjectName, PgName, RoleName, SecretKey, TimeSpan};

/// An application role: a group that holds the rights, and logins that belong to it. One that leaves the list loses its
/// logins and its Secrets; the group stays, because it may own something.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleSpec {
    /// Name of the group, which is what `current_user` says; logins are called `<name>_g<n>`.
    pub name: RoleName,
    /// What it may do: ReadOnly (read rows), ReadWrite (read, insert, update and delete rows) or Admin (all rights on data,
    /// truncation included). None may change tables or write the ledger of migrations.
    pub access: Access,
    /// Databases it may enter. Default: all that are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub databases: Vec<PgName>,
    /// Schemas whose present and future objects the access is about. Default: `public`. One that does not exist is told
    /// in the status, and gets its rights once a migration has made it. From one that leaves the list the rights are
    /// taken again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub schemas: Vec<PgName>,
    /// How many sessions each of its logins may have. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub connection_limit: Option<i32>,
    /// Settings that each of its sessions begins with, as by `ALTER ROLE … SET`, such as `statement_timeout: 30s`.
    /// Lists are written as in postgresql.conf: `search_path: app, public`. Sessions that are open keep the old ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "settings")]
    pub settings: BTreeMap<String, String>,
    /// How often its login is replaced by another one, with another password. Default: every 90d with an overlap of 24h
    /// for production, never for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationSpec>,
    /// A Secret of this namespace that holds the password, instead of a generated one. A change of it is taken over within
    /// ten minutes, for the same login: sessions stay, new ones need the new password. Neon wants one that takes 60 bits
    /// to guess. Not together with `rotation`. Children that inherit their roles get generated passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<PasswordSecretRef>,
}

/// An entry of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordSecretRef {
    /// Name of the Secret. One that does not exist yet is waited for.
    pub name: ObjectName,
    /// Key in its data.
    pub key: SecretKey,
}

/// How often a login is replaced. The Secrets change to the new one, and the old one works until the overlap ends:
/// applications have to read their Secret anew within it. `current_user` stays the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationSpec {
    /// `never` or a length of time, counted from the moment the login was published.
    pub every: Lease,
    /// How long the one before still works; less than `every`. Both logins count on their own for `connectionLimit`.
    /// Default: 24h, or half of `every` where that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<TimeSpan>,
}

/// Schema of settings of PostgreSQL by name.
pub(super) fn settings(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 1024},
    })
}

/// What an application role may do. No access includes changing tables or writing the ledger of migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Access {
    /// Read rows.
    ReadOnly,
    /// Read, insert, update and delete rows.
    ReadWrite,
    /// All rights on data, truncation included; no change of tables.
    Admin,
}

/// An application role as it was last brought about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// Name of the group.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The login that applications use, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub login: Option<String>,
    /// The login that it has replaced and that still works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub previous_login: Option<String>,
    /// When the login was published. None while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_time: Option<Time>,
    /// Rights that were asked for and could not be given, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 512)))]
    pub not_granted: Vec<String>,
}
