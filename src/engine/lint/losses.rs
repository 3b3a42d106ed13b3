//! Rules about rows and values that get lost; what squawk says of dropped tables, columns and schemas is added to. Pure.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser has a case for every statement of PostgreSQL"
)]

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode, Stmt};

use super::{Found, Harm};

pub(super) const TRUNCATE: &str = "truncate-table";
pub(super) const DELETE: &str = "delete-without-where";
pub(super) const UPDATE: &str = "update-without-where";
pub(super) const OWNED: &str = "drop-owned";
const CASCADE: &str = "drop-type-cascade";

pub(super) const NAMES: [&str; 5] = [TRUNCATE, DELETE, UPDATE, OWNED, CASCADE];

/// Everything that our own rules find; for the bodies of DO see `bodies`.
pub(super) fn check(file: &ast::SourceFile) -> Vec<Found> {
    let whole = file.stmts().filter_map(|stmt| loss(&stmt));
    let parts = file.syntax().descendants();
    let parts = parts.filter_map(|node| with(&ast::WithTable::cast(node)?));
    whole.chain(parts).collect()
}

/// A `WITH` that changes every row of a table. Rows that it takes out of one table on their way into another are not lost.
fn with(table: &ast::WithTable) -> Option<Found> {
    let (rule, message, node) = match table.query()? {
        ast::WithQuery::Delete(delete) => {
            let all = delete.where_clause_or_current_of().is_none();
            let moves = delete.returning_clause().is_some() && inserts(table);
            let node = delete.syntax().clone();
            (all && !moves).then_some((DELETE, "every row of a table is deleted", node))
        }
        ast::WithQuery::Update(update) => {
            let all = update.where_clause_or_current_of().is_none();
            let message = "every row of a table gets a new value in place of what it had";
            all.then(|| (UPDATE, message, update.syntax().clone()))
        }
        _ => None,
    }?;
    Some(found(rule, message, &node))
}

/// Whether the statement around a `WITH` is an INSERT.
fn inserts(table: &ast::WithTable) -> bool {
    let around = table.syntax().ancestors().find_map(ast::WithClause::cast);
    let statement = around.and_then(|clause| clause.syntax().parent());
    statement.is_some_and(|statement| ast::Insert::can_cast(statement.kind()))
}

/// Whether a MERGE deletes all that its source lacks.
fn deletes_the_rest(merge: &ast::Merge) -> bool {
    merge.merge_when_clauses().any(|clause| match clause {
        ast::MergeWhenClause::MergeWhenNotMatchedSource(rest) => {
            let deletes = matches!(rest.merge_action(), Some(ast::MergeAction::MergeDelete(_)));
            deletes && rest.merge_condition().is_none()
        }
        _ => false,
    })
}

fn found(rule: &'static str, message: &str, node: &SyntaxNode) -> Found {
    let range = node.text_range();
    Found {
        rule,
        harm: Harm::Loses,
        range: range.start().into()..range.end().into(),
        message: message.to_owned(),
        help: None,
    }
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
    } else if let Stmt::Merge(merge) = stmt {
        let message = "every row that the source does not have is deleted";
        deletes_the_rest(merge).then_some((DELETE, message))
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
    Some(found(rule, message, stmt.syntax()))
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
            (
                "WITH gone AS (DELETE FROM t RETURNING 1) SELECT count(*) FROM gone;",
                vec![DELETE],
            ),
            ("WITH gone AS (DELETE FROM t WHERE a = 1) SELECT 1;", vec![]),
            (
                "WITH new AS (UPDATE t SET a = 1 RETURNING *) INSERT INTO u SELECT * FROM new;",
                vec![UPDATE],
            ),
            (
                "MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED BY SOURCE THEN DELETE;",
                vec![DELETE],
            ),
            (
                "MERGE INTO t USING u ON t.id = u.id WHEN NOT MATCHED BY SOURCE AND t.a = 1 THEN DELETE WHEN MATCHED THEN DELETE;",
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
