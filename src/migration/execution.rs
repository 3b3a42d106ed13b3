//! What a spec says about running files, in the engine's types. Pure.

use std::time::Duration;

use super::desired::invalid;
use crate::api::{
    ChecksumMismatch, ExecutionSpec, FailOnLint, MissingFile, OnAmbiguous, OrderMode, OrderSpec,
    OutOfOrder, SepulkiMigrationSpec,
};
use crate::clock::wait_span;
use crate::engine::run::{self, Execution, Timeouts};
use crate::engine::{DECIDED, LintPolicy, Order, Policies, Severity, rule_names};
use crate::reconcile::Block;

/// In which order the files run.
pub(super) fn order(spec: Option<&OrderSpec>) -> Order {
    match spec.map(|order| (order.mode, &order.files)) {
        None => Order::Unambiguous,
        Some((OrderMode::Lexicographic, _)) => Order::Lexicographic,
        Some((OrderMode::Numeric, _)) => Order::Numeric,
        Some((OrderMode::Explicit, files)) => {
            let files = files.iter().flatten();
            Order::Explicit(files.map(|file| file.0.clone()).collect())
        }
    }
}

/// What is put up with.
pub(super) fn policies(spec: &SepulkiMigrationSpec) -> Policies {
    let asked = spec.policies.clone().unwrap_or_default();
    let aliases = spec.adopt.iter().flat_map(|adopt| &adopt.aliases);
    let accepted = asked.accept.into_iter();
    let ignored = asked.ignore_lint.into_iter();
    Policies {
        ignore: ignored
            .filter(|ignored| DECIDED.contains(&ignored.rule.as_str()))
            .filter_map(|ignored| Some((ignored.rule, ignored.version?.0)))
            .collect(),
        allow_out_of_order: asked.out_of_order == OutOfOrder::Allow,
        fail_on_missing_file: asked.missing_file == MissingFile::Fail,
        warn_on_checksum_mismatch: asked.checksum_mismatch == ChecksumMismatch::Warn,
        accept: accepted
            .map(|file| (file.version.0, file.sha256.0))
            .collect(),
        aliases: aliases
            .map(|(row, file)| (row.clone(), file.0.clone()))
            .collect(),
        baseline: spec
            .adopt
            .as_ref()
            .and_then(|adopt| adopt.baseline.as_ref())
            .map(|file| file.0.clone()),
    }
}

/// Which findings about pending files are put up with.
pub(super) fn lint(spec: &SepulkiMigrationSpec) -> Result<LintPolicy, Block> {
    let asked = spec.policies.clone().unwrap_or_default();
    let known = rule_names();
    let mut ignore = Vec::new();
    for (index, ignored) in asked.ignore_lint.into_iter().enumerate() {
        if DECIDED.contains(&ignored.rule.as_str()) {
            if ignored.version.is_none() {
                return Err(invalid(format!(
                    "spec.policies.ignoreLint[{index}]: {} is decided file by file: name the file (version)",
                    ignored.rule
                )));
            }
            continue;
        }
        if !known.contains(&ignored.rule.as_str()) {
            return Err(invalid(format!(
                "spec.policies.ignoreLint[{index}].rule: {} is no rule; there are {}",
                ignored.rule,
                known
                    .iter()
                    .chain(&DECIDED)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        }
        ignore.push((ignored.rule, ignored.version.map(|version| version.0)));
    }
    Ok(LintPolicy {
        fail_on: match asked.fail_on_lint {
            FailOnLint::Error => Some(Severity::Error),
            FailOnLint::Warning => Some(Severity::Warning),
            FailOnLint::Never => None,
        },
        ignore,
    })
}

/// How long to wait for what.
pub(super) fn timeouts(spec: Option<&ExecutionSpec>) -> Result<Timeouts, Block> {
    let mut timeouts = Timeouts::default();
    let Some(spec) = spec else {
        return Ok(timeouts);
    };
    let length = |field: &str, text: Option<&str>| -> Result<Option<Duration>, Block> {
        text.map(|text| duration(field, text)).transpose()
    };
    let text = |span: &Option<crate::api::TimeSpan>| span.as_ref().map(|span| span.0.clone());
    if let Some(lock) = length("lockTimeout", text(&spec.lock_timeout).as_deref())? {
        timeouts.lock = lock;
    }
    if let Some(most) = length("maxBlocked", text(&spec.max_blocked).as_deref())? {
        timeouts.max_blocked = most;
    }
    if let Some(deadline) = length("deadline", text(&spec.deadline).as_deref())? {
        timeouts.deadline = deadline;
    }
    let statement = spec.statement_timeout.as_ref().map(|span| span.0.as_str());
    timeouts.statement = length(
        "statementTimeout",
        statement.filter(|text| *text != "never"),
    )?;
    if let Some(retries) = spec.retries {
        timeouts.retries = u32::try_from(retries).unwrap_or_default();
    }
    Ok(timeouts)
}

/// How to go about a run.
pub(super) fn execution(spec: Option<&ExecutionSpec>) -> Execution {
    let Some(spec) = spec else {
        return Execution::default();
    };
    Execution {
        role: spec.role.as_ref().map(|role| role.0.clone()),
        on_ambiguous: match spec.on_ambiguous {
            OnAmbiguous::Stop => run::OnAmbiguous::Stop,
            OnAmbiguous::Rerun => run::OnAmbiguous::Rerun,
            OnAmbiguous::Skip => run::OnAmbiguous::Skip,
        },
        analyze: spec.analyze,
    }
}

fn duration(field: &str, text: &str) -> Result<Duration, Block> {
    let parsed = wait_span(text).filter(|length| *length <= Timeouts::LONGEST);
    parsed.ok_or_else(|| {
        invalid(format!(
            "spec.execution.{field}: {text} is not a length of time of at most 24 days, such as 90s, 5m or 72h"
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::SepulkiMigration;
    use crate::migration::Desired;

    fn desired(more: Value) -> Desired {
        let mut spec = json!({
            "databaseRef": {"name": "d"},
            "source": {"inline": [{"name": "001_a.sql", "sql": ""}]},
        });
        let Value::Object(more) = more else {
            panic!("{more}")
        };
        spec.as_object_mut().unwrap().extend(more);
        let object: SepulkiMigration = serde_json::from_value(json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "SepulkiMigration",
            "metadata": {"name": "m"}, "spec": spec,
        }))
        .unwrap();
        Desired::of(&object)
    }

    #[test]
    fn everything_that_is_said_reaches_the_engine() {
        let sum = "a".repeat(64);
        let rest = desired(json!({
            "order": {"mode": "Explicit", "files": ["001_a.sql"]},
            "policies": {
                "outOfOrder": "Allow", "missingFile": "Fail", "checksumMismatch": "Warn",
                "accept": [{"version": "001_a.sql", "sha256": sum}],
                "ignoreLint": [
                    {"rule": "Renamed", "version": "002_b.sql", "reason": "the same once more"},
                    {"rule": "ban-drop-table", "version": "002_b.sql", "reason": "unused"},
                ],
            },
            "adopt": {"mode": "Baseline", "baseline": "002_b.sql", "aliases": {"001_a": "001_a.sql"}},
            "execution": {
                "role": "r", "lockTimeout": "3s", "maxBlocked": "7s", "statementTimeout": "2m",
                "deadline": "1h", "retries": 0, "analyze": false, "onAmbiguous": "Skip",
            },
        }))
        .rest
        .unwrap();
        assert_eq!(rest.order, Order::Explicit(vec!["001_a.sql".into()]));
        assert_eq!(
            rest.policies,
            Policies {
                ignore: [("Renamed".to_owned(), "002_b.sql".to_owned())].into(),
                allow_out_of_order: true,
                fail_on_missing_file: true,
                warn_on_checksum_mismatch: true,
                accept: [("001_a.sql".to_owned(), sum)].into(),
                aliases: [("001_a".to_owned(), "001_a.sql".to_owned())].into(),
                baseline: Some("002_b.sql".into()),
            }
        );
        let timeouts = rest.timeouts;
        assert_eq!(timeouts.lock, Duration::from_secs(3));
        assert_eq!(timeouts.max_blocked, Duration::from_secs(7));
        assert_eq!(timeouts.statement, Some(Duration::from_mins(2)));
        assert_eq!(timeouts.deadline, Duration::from_hours(1));
        assert_eq!(timeouts.retries, 0);
        assert_eq!(rest.execution.role.as_deref(), Some("r"));
        assert_eq!(rest.execution.on_ambiguous, run::OnAmbiguous::Skip);
        assert!(!rest.execution.analyze);
    }

    #[test]
    fn what_is_left_out_has_its_default_and_nonsense_names_its_field() {
        let rest = desired(json!({})).rest.unwrap();
        assert_eq!(
            (rest.order, rest.policies),
            (Order::default(), Policies::default())
        );
        assert_eq!(rest.timeouts, Timeouts::default());
        assert_eq!(rest.execution, Execution::default());
        let some = desired(json!({"execution": {"retries": 1}})).rest.unwrap();
        assert_eq!(some.execution, Execution::default());
        let never = desired(json!({"execution": {"statementTimeout": "never"}}));
        assert_eq!(never.rest.unwrap().timeouts.statement, None);
        let block = desired(json!({"execution": {"deadline": "999999d"}}))
            .rest
            .unwrap_err();
        assert!(
            block.message.starts_with("spec.execution.deadline"),
            "{}",
            block.message
        );
    }
}
