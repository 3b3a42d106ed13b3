//! Rules about rows and values that get lost; what squawk says of dropped tables, columns and schemas is added to. Pure.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser has a case for every statement of PostgreSQL"
)]

use squawk_syntax::ast::{self, AstNode, Stmt};

use super::{Found, Harm};

const TRUNCATE: &str = "truncate-table";
const DELETE: &str = "delete-without-where";
const UPDATE: &str = "update-without-where";
const OWNED: &str = "drop-owned";
const CASCADE: &str = "drop-type-cascade";

pub(super) const NAMES: [&str; 5] = [TRUNCATE, DELETE, UPDATE, OWNED, CASCADE];

/// Everything that our own rules find. Only whole statements: rows that a `WITH` takes out of one table are usually on
/// their way into another, and what a function or a DO block does cannot be told.
pub(super) fn check(file: &ast::SourceFile) -> Vec<Found> {
    file.stmts().filter_map(|stmt| loss(&stmt)).collect()
}

fn loss(stmt: &Stmt) -> Option<Found> {
    let (rule, message) = if let Stmt::Truncate(truncate) = stmt {
        // with CASCADE it is squawk's
        let alone = !is_cascade(truncate.drop_behavior().as_ref());
        alone.then_some((TRUNCATE, "every row of a table is deleted"))
    } else if let Stmt::Delete(delete) = stmt {
        let all = delete.where_clause_or_current_of().is_none();
        all.then_some((DELETE, "every row of a table is deleted"))
    } else if let Stmt::Update(update) = stmt {
        let all = update.where_clause_or_current_of().is_none();
        all.then_some((
            UPDATE,
            "every row of a table gets a new value in place of what it had",
        ))
    } else if let Stmt::DropOwned(_) = stmt {
        Some((OWNED, "tables that belong to a role are dropped"))
    } else {
        let behavior = match stmt {
            Stmt::DropType(drop) => drop.drop_behavior(),
            Stmt::DropDomain(drop) => drop.drop_behavior(),
            Stmt::DropExtension(drop) => drop.drop_behavior(),
            _ => None,
        };
        let message = "columns of this type are dropped with it";
        is_cascade(behavior.as_ref()).then_some((CASCADE, message))
    }?;
    let range = stmt.syntax().text_range();
    Some(Found {
        rule,
        harm: Harm::Loses,
        range: range.start().into()..range.end().into(),
        message: message.to_owned(),
        help: None,
    })
}

fn is_cascade(behavior: Option<&ast::DropBehavior>) -> bool {
    matches!(behavior, Some(ast::DropBehavior::Cascade(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Severity;
    use crate::engine::lint::tests::alone;

    /// The rules because of which a file waits for a person.
    fn errors(sql: &str) -> Vec<&'static str> {
        let all = alone(sql).into_iter();
        let all = all.filter(|lint| lint.severity == Severity::Error);
        all.map(|lint| lint.rule).collect()
    }

    #[test]
    fn what_loses_data_waits_for_a_person() {
        for (sql, expected) in [
            ("DROP TABLE t;", vec!["ban-drop-table"]),
            ("DROP TABLE IF EXISTS t, u;", vec!["ban-drop-table"]),
            ("ALTER TABLE t DROP COLUMN a;", vec!["ban-drop-column"]),
            ("DROP SCHEMA s CASCADE;", vec!["ban-drop-schema"]),
            ("DROP DATABASE d;", vec!["ban-drop-database"]),
            ("TRUNCATE t;", vec![TRUNCATE]),
            ("TRUNCATE TABLE ONLY t, u RESTRICT;", vec![TRUNCATE]),
            ("TRUNCATE t CASCADE;", vec!["ban-truncate-cascade"]),
            ("DELETE FROM t;", vec![DELETE]),
            ("DELETE FROM t USING u;", vec![DELETE]),
            ("DELETE FROM t WHERE id = 1;", vec![]),
            ("UPDATE t SET a = 1;", vec![UPDATE]),
            // the condition is not that of the update
            (
                "UPDATE t SET a = (SELECT b FROM u WHERE u.id = t.id);",
                vec![UPDATE],
            ),
            ("UPDATE t SET a = 1 WHERE a IS NULL;", vec![]),
            (
                "WITH gone AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM gone;",
                vec![],
            ),
            ("DROP OWNED BY somebody;", vec![OWNED]),
            ("DROP TYPE mood CASCADE;", vec![CASCADE]),
            ("DROP DOMAIN d CASCADE;", vec![CASCADE]),
            ("DROP EXTENSION citext CASCADE;", vec![CASCADE]),
            ("DROP TYPE mood;", vec![]),
            ("DROP VIEW v CASCADE;", vec![]),
            ("DROP INDEX i;", vec![]),
        ] {
            assert_eq!(errors(sql), expected, "{sql}");
        }
    }
}
