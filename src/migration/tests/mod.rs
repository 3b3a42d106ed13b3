//! Tests of the whole kind: the decision table, properties of decisions and status, and the loop in a small world.

mod adoption;
mod divergence;
mod document;
mod held;
mod loops;
mod properties;
mod status;
mod table;
mod world;

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::desired::Desired;
use super::observe::{Ledger, Observed};
use super::place::{Branch, Database};
use super::source::{Files, Listing};
use crate::api::{Looks, NeonDatabase, SepulkiMigration};
use crate::engine::{self, Bundle, LedgerName, LedgerRow, LedgerState, SourceFile};
use crate::reconcile::Fact;

/// When everything happens that has no reason to happen at another time.
fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn file(name: &str, sql: &str) -> SourceFile {
    SourceFile {
        name: name.into(),
        bytes: sql.into(),
    }
}

fn three_files() -> Vec<SourceFile> {
    vec![
        file("001_a.sql", "CREATE TABLE a (id int);"),
        file("002_b.sql", "CREATE TABLE b (id int);"),
        file("003_c.sql", "CREATE TABLE c (id int);"),
    ]
}

/// The object `team/m`, with this laid over its spec.
fn object(spec: &Value) -> SepulkiMigration {
    let mut whole = json!({
        "databaseRef": {"name": "staging"},
        "source": {"configMaps": {"refs": [{"name": "files"}]}},
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let object = json!({
        "apiVersion": "sepulki.dev/v1alpha1", "kind": "SepulkiMigration", "spec": whole,
        "metadata": {
            "name": "m", "namespace": "team", "uid": "uid-m", "generation": 1, "resourceVersion": "1",
            "creationTimestamp": "2026-12-01T00:00:00Z",
        },
    });
    serde_json::from_value(object).unwrap()
}

fn desired(spec: &Value) -> Desired {
    Desired::of(&object(spec))
}

/// The NeonDatabase `team/staging`, ready.
fn neon_database() -> NeonDatabase {
    let ready = |type_: &str| {
        json!({"type": type_, "status": "True", "reason": "Succeeded", "message": "", "observedGeneration": 1,
               "lastTransitionTime": "2026-12-01T00:00:00Z"})
    };
    let object = json!({
        "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonDatabase",
        "metadata": {"name": "staging", "namespace": "team", "uid": "uid-d", "generation": 1},
        "spec": {"projectId": "p-1", "environment": "staging", "databases": [{"name": "app"}]},
        "status": {
            "observedGeneration": 1,
            "conditions": [ready("BranchReady"), ready("ComputeReady"), ready("DatabasesReady")],
            "branch": {"id": "br-1", "name": "staging/team/staging", "incarnation": "i-1", "credentials": "Own",
                       "createdTime": "2026-12-01T00:00:00Z"},
            "endpoint": {"id": "ep-1", "host": "ep-1.example", "minCU": 0.25, "maxCU": 1.0, "suspendAfter": "5m"},
            "databases": [{"name": "app", "owner": "app_owner"}],
        },
    });
    serde_json::from_value(object).unwrap()
}

fn database() -> Database {
    static DATABASE: OnceLock<Database> = OnceLock::new();
    DATABASE
        .get_or_init(|| Database::of(&neon_database(), &[]))
        .clone()
}

fn branch(incarnation: &str) -> Branch {
    Branch {
        incarnation: incarnation.into(),
        ..database().branch.unwrap()
    }
}

/// Rows for these files of the set, each applied a second after the one before.
fn ledger(files: &[SourceFile], applied: &[&str]) -> LedgerState {
    let row = |(i, version): (i64, &&str)| LedgerRow {
        version: (*version).to_owned(),
        checksum: files
            .iter()
            .find(|file| file.name == **version)
            .map(|file| checksum(&file.bytes)),
        applied_at: Timestamp::from_second(now().as_second() - 100 + i).ok(),
        meaning: None,
    };
    LedgerState {
        name: LedgerName::default(),
        exists: !applied.is_empty(),
        rows: (0..).zip(applied).map(row).collect(),
        unrecorded: Vec::new(),
        unfinished: Vec::new(),
    }
}

fn checksum(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(bytes))
}

/// What is known when the ledger of a ready database was just read.
fn observed(files: Vec<SourceFile>, ledger: LedgerState, target: Option<&str>) -> Observed {
    let listing = Listing::of(&files);
    let bundle = Bundle::compile(files).map(Arc::new);
    let ledger = match &bundle {
        Ok(bundle) => {
            let plan = engine::plan(bundle, &ledger, target);
            Ledger::Read(ledger, plan)
        }
        Err(_) => Ledger::Unread,
    };
    Observed {
        rival: None,
        database: Fact::Known(database()),
        files: Files::Listed(listing),
        bundle: Some(bundle),
        unmet: None,
        branch_free: true,
        ledger,
        lints: Vec::new(),
        applied_to: None,
        applied: None,
        adoption: None,
        scratch: None,
        failures: Vec::new(),
        held: None,
        reset_request: None,
        last_error: None,
        handled: Looks::default(),
    }
}
