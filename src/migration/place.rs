//! Where the files go: what a migration needs to know of its NeonDatabase, and who else wants the same ledger. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::desired::{self, Desired, invalid};
use crate::api::{
    AppliedTo, BranchOrigin, ConditionType, Environment, NeonDatabase, NeonProject, Reason,
    SepulkiMigration,
};
use crate::engine::{LedgerName, Protection};
use crate::reconcile::{Block, Conditions as _};
use crate::world::Source;

/// What has to be true of a NeonDatabase before anything is applied to it.
const NEEDED: [ConditionType; 3] = [
    ConditionType::BranchReady,
    ConditionType::ComputeReady,
    ConditionType::DatabasesReady,
];

/// A NeonDatabase as far as a migration is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// The version of its spec.
    pub generation: i64,
    /// Which environment it is.
    pub environment: Environment,
    /// Why its branch cannot be brought back to a parent's state, in words; none where it can.
    pub not_resettable: Option<&'static str>,
    /// What it says to be waiting for or at work on; nothing where it is at rest.
    pub reconciling: Option<String>,
    /// The Neon project and where its key is; none where its NeonProject is not there.
    pub source: Option<Source>,
    /// The databases that its spec lists or that it has inherited.
    pub listed: Vec<String>,
    /// The branch it has claimed.
    pub branch: Option<Branch>,
    /// What the database is to say of itself.
    pub protection: Protection,
    /// The compute that serves the branch.
    pub endpoint: Option<Endpoint>,
    /// Owners of the databases that were brought about.
    pub owners: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub going: bool,
    /// Why nothing may be applied yet, in words; none where it is ready for the present version of its spec.
    pub unready: Option<String>,
}

/// The branch of a NeonDatabase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Identity on Neon.
    pub id: String,
    /// Changes when the branch is reset, restored or made anew.
    pub incarnation: String,
    /// How it came to this incarnation.
    pub origin: BranchOrigin,
    /// When it was made.
    pub created: Timestamp,
    /// Whether Neon deletes it some day unless somebody puts that off: no branch can be forked from it then.
    pub expires: bool,
}

/// The read-write compute of a branch, as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Identity on Neon.
    pub id: String,
    /// Host of the direct connection.
    pub host: String,
}

/// One database in one incarnation of a branch: where a ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The branch.
    pub branch: Branch,
    /// The database.
    pub database: String,
}

impl Database {
    /// What an object says of itself, and what its NeonProject says.
    #[must_use]
    pub fn of(object: &NeonDatabase, projects: &[Arc<NeonProject>]) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let owners = status.databases.iter();
        let listed = object.spec.databases.iter().map(|d| d.name.0.clone());
        // one that lists none may have inherited some
        let inherited = status.databases.iter().map(|d| d.name.clone());
        Self {
            name: object.metadata.name.clone().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            environment: object.spec.environment,
            not_resettable: not_resettable(object),
            reconciling: object
                .condition(ConditionType::Reconciling)
                .filter(|condition| condition.status == "True")
                .map(|condition| condition.message.clone()),
            source: Source::of(object, projects),
            listed: if object.spec.databases.is_empty() {
                inherited.collect()
            } else {
                listed.collect()
            },
            going: object.metadata.deletion_timestamp.is_some(),
            unready: unready(object),
            protection: Protection {
                environment: object.spec.environment.as_str().to_owned(),
                is_protected: status.branch.as_ref().is_some_and(|b| b.protected),
            },
            owners: owners.map(|d| (d.name.clone(), d.owner.clone())).collect(),
            endpoint: status.endpoint.map(|endpoint| Endpoint {
                id: endpoint.id,
                host: endpoint.host,
            }),
            branch: status.branch.map(|branch| Branch {
                id: branch.id,
                incarnation: branch.incarnation,
                origin: branch.origin,
                created: branch.created_time.0,
                expires: branch.expiry_time.is_some(),
            }),
        }
    }

    /// The database that is meant: as the spec says, otherwise the one that was resolved earlier, otherwise the only
    /// one that is listed. A database that is listed later does not move the migrations.
    pub fn choose(
        &self,
        asked: Option<&str>,
        recorded: Option<&AppliedTo>,
    ) -> Result<String, Block> {
        let resolved = asked.or(recorded.map(|to| to.database.as_str()));
        match (resolved, self.listed.as_slice()) {
            (Some(name), _) => Ok(name.to_owned()),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(invalid(format!(
                "spec.database: NeonDatabase {} lists no database; add one to its spec.databases",
                self.name
            ))),
            (None, many) => Err(invalid(format!(
                "spec.database: NeonDatabase {} lists more than one database, name one of {}",
                self.name,
                many.join(", ")
            ))),
        }
    }

    /// The ledger's place, where the branch is known and the database can be told.
    #[must_use]
    pub fn place(&self, asked: Option<&str>, recorded: Option<&AppliedTo>) -> Option<Place> {
        Some(Place {
            branch: self.branch.clone()?,
            database: self.choose(asked, recorded).ok()?,
        })
    }
}

impl Place {
    /// Whether a record speaks of this place.
    #[must_use]
    pub fn is(&self, recorded: &AppliedTo) -> bool {
        self.is_named(
            &recorded.branch_id,
            &recorded.incarnation,
            &recorded.database,
        )
    }

    /// Whether these are its branch, incarnation and database.
    #[must_use]
    pub fn is_named(&self, branch: &str, incarnation: &str, database: &str) -> bool {
        branch == self.branch.id
            && incarnation == self.branch.incarnation
            && database == self.database
    }
}

/// Everything a failed run depended on: when any of it changes, the run is tried again.
#[must_use]
pub fn attempt(desired: &Desired, database: &Database, place: &Place, digest: &str) -> String {
    let tried = (
        desired.generation,
        digest,
        &place.branch.id,
        &place.branch.incarnation,
        &place.database,
        database.generation,
    );
    let sum = Sha256::digest(format!("{tried:?}").as_bytes());
    format!("sha256:{}", hex::encode(sum))
}

/// Why the branch of a NeonDatabase cannot be brought back to a parent's state.
fn not_resettable(object: &NeonDatabase) -> Option<&'static str> {
    let branch = object.status.as_ref()?.branch.as_ref()?;
    if object.spec.suspend {
        Some("its NeonDatabase is suspended")
    } else if !object.spec.environment.is_disposable() {
        Some("only branches of development and previews are reset")
    } else if branch.taken_over {
        Some("it was taken over")
    } else if branch.parent_id.is_none() {
        Some("it has no parent")
    } else if branch.protected {
        Some("it is protected")
    } else if hangs_elsewhere(object) {
        Some("its parent is another one than was asked for")
    } else {
        None
    }
}

/// Whether its branch hangs on another parent, as one does that was restored.
fn hangs_elsewhere(object: &NeonDatabase) -> bool {
    object
        .condition(ConditionType::BranchReady)
        .is_some_and(|condition| condition.reason == Reason::ParentChanged.as_str())
}

/// Why nothing may be applied to a NeonDatabase yet.
///
/// Its conditions have to speak of the present version of its spec: one that is just being changed may be about to get
/// the very extension that the next file needs.
fn unready(object: &NeonDatabase) -> Option<String> {
    if object.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    let Some(status) = &object.status else {
        return Some("nothing is known of it yet".to_owned());
    };
    for type_ in NEEDED {
        let Some(condition) = object.condition(type_) else {
            return Some(format!("{type_} is not known yet"));
        };
        if condition.observed_generation != object.metadata.generation {
            return Some("the last change of its spec was not looked at yet".to_owned());
        }
        if condition.status != "True" {
            return Some(match condition.message.as_str() {
                "" => format!("{type_} is {} ({})", condition.status, condition.reason),
                text => format!(
                    "{type_} is {} ({}: {text})",
                    condition.status, condition.reason
                ),
            });
        }
    }
    let lacks = |what: &str| Some(format!("it has no {what} yet"));
    match (&status.branch, &status.endpoint) {
        (None, _) => lacks("branch"),
        (Some(_), None) => lacks("endpoint"),
        (Some(_), Some(_)) => None,
    }
}

/// The oldest other object that applies migrations to the same ledger, where it is older than this one.
#[must_use]
pub fn rival<'a>(
    own: &SepulkiMigration,
    others: impl IntoIterator<Item = &'a SepulkiMigration>,
    database: Option<&Database>,
) -> Option<String> {
    let claim = claim(own, database);
    others
        .into_iter()
        .filter(|other| other.metadata.deletion_timestamp.is_none())
        .filter(|other| age(other) < age(own) && self::claim(other, database) == claim)
        .min_by_key(|other| age(other))
        .and_then(|other| other.metadata.name.clone())
}

/// The ledger that an object writes. Where a default cannot be resolved two objects that leave it out mean the same.
fn claim<'a>(
    object: &'a SepulkiMigration,
    database: Option<&Database>,
) -> (Option<&'a str>, &'a str, Option<String>, Option<LedgerName>) {
    let spec = &object.spec;
    let asked = spec.database.as_ref().map(|name| name.0.as_str());
    let recorded = object.status.as_ref().and_then(|s| s.applied_to.as_ref());
    let resolved = database.and_then(|d| d.choose(asked, recorded).ok());
    (
        object.metadata.namespace.as_deref(),
        &spec.database_ref.name.0,
        resolved.or(asked.map(str::to_owned)),
        desired::ledger(spec.ledger.as_ref()).ok(),
    )
}

/// Who was there first. Kubernetes tells the time of creation in whole seconds: of two objects of the same second the one
/// that has found its ledger already goes first, then the uid decides.
fn age(object: &SepulkiMigration) -> (Option<Timestamp>, bool, Option<&str>) {
    let created = object.metadata.creation_timestamp.as_ref();
    let status = object.status.as_ref();
    let idle = status.is_none_or(|status| status.applied_to.is_none());
    (
        created.map(|time| time.0),
        idle,
        object.metadata.uid.as_deref(),
    )
}
