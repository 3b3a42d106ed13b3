//! The spec of a SepulkiMigration, parsed into types that cannot be wrong. Pure.
//!
//! What the schema cannot check (bytes instead of characters, both or none of two sources) is a verdict, not an error.

use std::borrow::Cow;

use jiff::Timestamp;

use super::execution;
use crate::api::{
    AdoptMode, LedgerSpec, Looks, MigrationSource, OnDivergence, Reason, SCRATCH_FINALIZER,
    SepulkiMigration,
};
use crate::engine::run::{Execution, Timeouts};
use crate::engine::{LedgerName, LintPolicy, Order, Policies, SourceFile};
use crate::reconcile::{Block, looks};

/// Longest name that PostgreSQL keeps whole, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Desired {
    /// What tells this object from earlier ones of its name.
    pub uid: String,
    /// The version of the spec.
    pub generation: i64,
    /// Namespace of the object and of everything it refers to.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// When the object was made.
    pub created: Option<Timestamp>,
    /// Whether the object is on its way out.
    pub deleting: bool,
    /// Whether it has our finalizer, and so perhaps a branch on which files are tried.
    pub has_finalizer: bool,
    /// Whether nothing may be applied.
    pub suspend: bool,
    /// What annotations ask: to look now, and to try again what has failed.
    pub asked: Looks,
    /// The NeonDatabase to migrate.
    pub database_ref: String,
    /// The database inside the branch; none for the only one that the NeonDatabase lists.
    pub database: Option<String>,
    /// The last file to apply; none for all.
    pub target: Option<String>,
    /// What could not be taken literally, or why it cannot be carried out.
    pub rest: Result<Rest, Block>,
}

/// What had to be parsed.
#[derive(Clone, Debug)]
pub struct Rest {
    /// Where the files are.
    pub source: Source,
    /// The table that records what was applied.
    pub ledger: LedgerName,
    /// In which order the files run.
    pub order: Order,
    /// What is put up with.
    pub policies: Policies,
    /// Whether what the ledger claims has to be found true first.
    pub verify: bool,
    /// What follows from edited files; none as the environment says.
    pub on_divergence: Option<OnDivergence>,
    /// What pending files may do to others.
    pub lint: LintPolicy,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How to go about a run.
    pub execution: Execution,
}

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In ConfigMaps of the namespace.
    ConfigMaps {
        /// Their names.
        names: Vec<String>,
        /// What the digest of the files has to be before they are used.
        digest: Option<String>,
    },
    /// In the spec itself.
    Inline(Vec<SourceFile>),
}

impl Source {
    /// What the digest of the files has to be before they are used.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        match self {
            Self::ConfigMaps { digest, .. } => digest.as_deref(),
            Self::Inline(_) => None,
        }
    }
}

impl Desired {
    /// What is put up with in the history; the defaults where the spec cannot be carried out.
    pub(super) fn policies(&self) -> Cow<'_, Policies> {
        let rest = self.rest.as_ref();
        rest.map_or_else(|_| Cow::default(), |rest| Cow::Borrowed(&rest.policies))
    }

    /// What the object asks.
    #[must_use]
    pub fn of(object: &SepulkiMigration) -> Self {
        let meta = &object.metadata;
        let spec = &object.spec;
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            deleting: meta.deletion_timestamp.is_some(),
            has_finalizer: meta
                .finalizers
                .iter()
                .flatten()
                .any(|f| f == SCRATCH_FINALIZER),
            suspend: spec.suspend,
            asked: looks(meta.annotations.as_ref()),
            database_ref: spec.database_ref.name.0.clone(),
            database: spec.database.as_ref().map(|name| name.0.clone()),
            target: spec.target.as_ref().map(|target| target.version.0.clone()),
            rest: rest(object),
        }
    }
}

fn rest(object: &SepulkiMigration) -> Result<Rest, Block> {
    let spec = &object.spec;
    if let Some(name) = &spec.database
        && name.0.len() > MAX_NAME_BYTES
    {
        return Err(invalid(format!(
            "spec.database: {name} is longer than {MAX_NAME_BYTES} bytes"
        )));
    }
    Ok(Rest {
        source: source(&spec.source)?,
        ledger: ledger(spec.ledger.as_ref())?,
        order: execution::order(spec.order.as_ref()),
        policies: execution::policies(spec),
        verify: spec.adopt.as_ref().map(|adopt| adopt.mode) == Some(AdoptMode::Verify),
        on_divergence: spec.policies.as_ref().and_then(|asked| asked.on_divergence),
        lint: execution::lint(spec)?,
        timeouts: execution::timeouts(spec.execution.as_ref())?,
        execution: execution::execution(spec.execution.as_ref()),
    })
}

fn source(spec: &MigrationSource) -> Result<Source, Block> {
    match (&spec.config_maps, &spec.inline) {
        (Some(maps), None) => Ok(Source::ConfigMaps {
            names: maps.refs.iter().map(|r| r.name.0.clone()).collect(),
            digest: maps.digest.as_ref().map(|digest| digest.0.clone()),
        }),
        (None, Some(files)) => {
            let file = |f: &crate::api::InlineFile| SourceFile {
                name: f.name.0.clone(),
                bytes: f.sql.clone().into_bytes(),
            };
            Ok(Source::Inline(files.iter().map(file).collect()))
        }
        (Some(_), Some(_)) | (None, None) => Err(invalid(
            "spec.source: exactly one of configMaps and inline must be set",
        )),
    }
}

/// The ledger that a spec means.
pub fn ledger(spec: Option<&LedgerSpec>) -> Result<LedgerName, Block> {
    let spec = spec.cloned().unwrap_or_default();
    LedgerName::new(spec.schema.0, spec.table.0)
        .map_err(|why| invalid(format!("spec.ledger: {why}")))
}

/// A spec that cannot be carried out as it stands.
pub fn invalid(message: impl Into<String>) -> Block {
    Block {
        reason: Reason::InvalidSpec,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(spec: &Value) -> Desired {
        let object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "SepulkiMigration",
            "metadata": {"name": "m", "namespace": "team", "uid": "u", "generation": 3},
            "spec": spec,
        });
        Desired::of(&serde_json::from_value(object).unwrap())
    }

    fn inline() -> Value {
        json!({"inline": [{"name": "001_a.sql", "sql": "SELECT 1"}]})
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let desired = parse(&json!({"databaseRef": {"name": "staging"}, "source": inline()}));
        assert_eq!(
            (desired.generation, desired.name.as_str()),
            (3, "m"),
            "{desired:?}"
        );
        assert_eq!(desired.database_ref, "staging");
        assert!(desired.database.is_none() && desired.target.is_none());
        assert!(!desired.suspend && !desired.deleting);
        let rest = desired.rest.unwrap();
        assert_eq!(rest.ledger.to_string(), "public.schema_migrations");
        let Source::Inline(files) = &rest.source else {
            panic!("{rest:?}");
        };
        assert_eq!(files[0].bytes, b"SELECT 1");
        assert_eq!(rest.source.digest(), None);
    }

    #[test]
    fn config_maps_keep_their_order_and_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let maps =
            json!({"configMaps": {"refs": [{"name": "b"}, {"name": "a"}], "digest": digest}});
        let desired = parse(&json!({
            "databaseRef": {"name": "staging"}, "database": "app", "source": maps,
            "target": {"version": "002_b.sql"}, "ledger": {"schema": "ops"}, "suspend": true,
        }));
        assert_eq!(desired.database.as_deref(), Some("app"));
        assert_eq!(desired.target.as_deref(), Some("002_b.sql"));
        assert!(desired.suspend);
        let rest = desired.rest.unwrap();
        assert_eq!(rest.ledger.to_string(), "ops.schema_migrations");
        assert_eq!(rest.source.digest(), Some(digest.as_str()));
        let Source::ConfigMaps { names, .. } = rest.source else {
            panic!("{:?}", rest.source);
        };
        assert_eq!(names, ["b", "a"]);
    }

    #[test]
    fn what_cannot_be_carried_out_names_its_field() {
        let umlauts = "ä".repeat(32);
        for (spec, field) in [
            (
                json!({"databaseRef": {"name": "d"}, "source": {}}),
                "spec.source",
            ),
            (
                json!({"databaseRef": {"name": "d"}, "source": inline(), "database": umlauts}),
                "spec.database",
            ),
            (
                json!({"databaseRef": {"name": "d"}, "source": inline(), "ledger": {"table": umlauts}}),
                "spec.ledger",
            ),
            (
                json!({"databaseRef": {"name": "d"}, "source": inline(),
                       "policies": {"ignoreLint": [{"rule": "no-such", "reason": "r"}]}}),
                "spec.policies.ignoreLint[0].rule",
            ),
        ] {
            let block = parse(&spec).rest.unwrap_err();
            assert_eq!(block.reason, Reason::InvalidSpec);
            assert!(block.message.starts_with(field), "{}", block.message);
        }
    }
}
