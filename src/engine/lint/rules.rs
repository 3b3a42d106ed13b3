//! Squawk's rules, as far as they say more than the engine itself takes care of, and how bad it is what they find.
//!
//! Left out are matters of taste, and what the engine does by itself: timeouts, transactions, statements that run alone.

use squawk_linter::Rule as Squawk;

use super::Severity::{self, Error, Warning};

/// A rule.
pub(super) struct Rule {
    pub(super) squawk: Squawk,
    pub(super) name: &'static str,
    pub(super) severity: Severity,
}

const fn rule(squawk: Squawk, name: &'static str, severity: Severity) -> Rule {
    Rule {
        squawk,
        name,
        severity,
    }
}

pub(super) const RULES: &[Rule] = &[
    // fail where a table has rows, or do something else than is written
    rule(Squawk::AddingRequiredField, "adding-required-field", Error),
    rule(Squawk::BanTruncateCascade, "ban-truncate-cascade", Error),
    rule(Squawk::BanDropDatabase, "ban-drop-database", Error),
    rule(Squawk::IdentifierTooLong, "identifier-too-long", Error),
    rule(
        Squawk::BanDuplicateColumnAssignments,
        "ban-duplicate-column-assignments",
        Error,
    ),
    // hold others up for as long as a table is large
    rule(
        Squawk::RequireConcurrentIndexCreation,
        "require-concurrent-index-creation",
        Warning,
    ),
    rule(
        Squawk::RequireConcurrentIndexDeletion,
        "require-concurrent-index-deletion",
        Warning,
    ),
    rule(
        Squawk::RequireConcurrentReindex,
        "require-concurrent-reindex",
        Warning,
    ),
    rule(
        Squawk::RequireConcurrentPartitionDetach,
        "require-concurrent-partition-detach",
        Warning,
    ),
    rule(
        Squawk::ConstraintMissingNotValid,
        "constraint-missing-not-valid",
        Warning,
    ),
    rule(
        Squawk::AddingForeignKeyConstraint,
        "adding-foreign-key-constraint",
        Warning,
    ),
    rule(
        Squawk::AddingFieldWithDefault,
        "adding-field-with-default",
        Warning,
    ),
    rule(
        Squawk::AddingNotNullableField,
        "adding-not-nullable-field",
        Warning,
    ),
    rule(
        Squawk::AddingSerialPrimaryKeyField,
        "adding-serial-primary-key-field",
        Warning,
    ),
    rule(
        Squawk::DisallowedUniqueConstraint,
        "disallowed-unique-constraint",
        Warning,
    ),
    rule(Squawk::ChangingColumnType, "changing-column-type", Warning),
    // an application of yesterday no longer works
    rule(Squawk::RenamingColumn, "renaming-column", Warning),
    rule(Squawk::RenamingTable, "renaming-table", Warning),
    rule(Squawk::RenamingObject, "renaming-object", Warning),
    rule(Squawk::BanDropColumn, "ban-drop-column", Warning),
    rule(Squawk::BanDropTable, "ban-drop-table", Warning),
    rule(Squawk::BanDropSchema, "ban-drop-schema", Warning),
    rule(Squawk::BanDropView, "ban-drop-view", Warning),
    rule(Squawk::BanDropType, "ban-drop-type", Warning),
    rule(Squawk::BanDropExtension, "ban-drop-extension", Warning),
    rule(Squawk::BanSetSchema, "ban-set-schema", Warning),
    // will be regretted
    rule(Squawk::BanCharField, "ban-char-field", Warning),
    rule(Squawk::PreferTimestampTz, "prefer-timestamp-tz", Warning),
];
