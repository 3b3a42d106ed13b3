//! Squawk's rules, as far as they say more than the engine itself takes care of, and how bad it is what they find.
//!
//! Left out are matters of taste, and what the engine does by itself: timeouts, transactions, statements that run alone.

use squawk_linter::Rule as Squawk;

use super::Harm::{self, Breaks, Fails, Holds, Loses, Regretted};

/// A rule.
pub(super) struct Rule {
    pub(super) squawk: Squawk,
    pub(super) name: &'static str,
    pub(super) harm: Harm,
}

const fn rule(squawk: Squawk, name: &'static str, harm: Harm) -> Rule {
    Rule { squawk, name, harm }
}

pub(super) const RULES: &[Rule] = &[
    rule(Squawk::AddingRequiredField, "adding-required-field", Fails),
    rule(Squawk::BanTruncateCascade, "ban-truncate-cascade", Fails),
    rule(Squawk::IdentifierTooLong, "identifier-too-long", Fails),
    rule(
        Squawk::BanDuplicateColumnAssignments,
        "ban-duplicate-column-assignments",
        Fails,
    ),
    rule(Squawk::BanDropDatabase, "ban-drop-database", Loses),
    rule(Squawk::BanDropColumn, "ban-drop-column", Loses),
    rule(Squawk::BanDropTable, "ban-drop-table", Loses),
    rule(Squawk::BanDropSchema, "ban-drop-schema", Loses),
    rule(
        Squawk::RequireConcurrentIndexCreation,
        "require-concurrent-index-creation",
        Holds,
    ),
    rule(
        Squawk::RequireConcurrentIndexDeletion,
        "require-concurrent-index-deletion",
        Holds,
    ),
    rule(
        Squawk::RequireConcurrentReindex,
        "require-concurrent-reindex",
        Holds,
    ),
    rule(
        Squawk::RequireConcurrentPartitionDetach,
        "require-concurrent-partition-detach",
        Holds,
    ),
    rule(
        Squawk::ConstraintMissingNotValid,
        "constraint-missing-not-valid",
        Holds,
    ),
    rule(
        Squawk::AddingForeignKeyConstraint,
        "adding-foreign-key-constraint",
        Holds,
    ),
    rule(
        Squawk::AddingFieldWithDefault,
        "adding-field-with-default",
        Holds,
    ),
    rule(
        Squawk::AddingNotNullableField,
        "adding-not-nullable-field",
        Holds,
    ),
    rule(
        Squawk::AddingSerialPrimaryKeyField,
        "adding-serial-primary-key-field",
        Holds,
    ),
    rule(
        Squawk::DisallowedUniqueConstraint,
        "disallowed-unique-constraint",
        Holds,
    ),
    rule(Squawk::ChangingColumnType, "changing-column-type", Holds),
    rule(Squawk::RenamingColumn, "renaming-column", Breaks),
    rule(Squawk::RenamingTable, "renaming-table", Breaks),
    rule(Squawk::RenamingObject, "renaming-object", Breaks),
    rule(Squawk::BanDropView, "ban-drop-view", Breaks),
    rule(Squawk::BanDropType, "ban-drop-type", Breaks),
    rule(Squawk::BanDropExtension, "ban-drop-extension", Breaks),
    rule(Squawk::BanSetSchema, "ban-set-schema", Breaks),
    rule(Squawk::BanCharField, "ban-char-field", Regretted),
    rule(Squawk::PreferTimestampTz, "prefer-timestamp-tz", Regretted),
];
