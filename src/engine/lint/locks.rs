//! Rules about locks that last as long as a table is large, or as the file runs, beside squawk's. Pure.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser has a case for every statement of PostgreSQL"
)]

use squawk_syntax::ast::{self, AlterTableAction, AstNode, Stmt};

use super::{Found, Harm};

const VACUUM_FULL: &str = "vacuum-full";
const CLUSTER: &str = "cluster-table";
const LOCK: &str = "lock-table";
const REFRESH: &str = "refresh-without-concurrently";
const LOGGED: &str = "set-logged-or-unlogged";

pub(super) const NAMES: [&str; 5] = [VACUUM_FULL, CLUSTER, LOCK, REFRESH, LOGGED];

/// Everything that our own rules find.
pub(super) fn check(file: &ast::SourceFile) -> Vec<Found> {
    file.stmts().filter_map(|stmt| holds(&stmt)).collect()
}

fn holds(stmt: &Stmt) -> Option<Found> {
    let (rule, message, help) = match stmt {
        Stmt::Vacuum(vacuum) if is_full(vacuum) => (
            VACUUM_FULL,
            "a table is written anew, and nobody reads it meanwhile",
            "VACUUM without FULL holds nobody up; most of the time it is enough",
        ),
        Stmt::Cluster(_) => (
            CLUSTER,
            "a table is written anew, and nobody reads it meanwhile",
            "do it when nobody needs the table",
        ),
        Stmt::Lock(lock) if keeps_out(lock) => (
            LOCK,
            "a table is locked until the end of the transaction, and whoever writes it waits",
            "leave it out if the statements behind it take the locks that they need; otherwise keep what follows short",
        ),
        Stmt::Refresh(refresh) if fills(refresh) => (
            REFRESH,
            "a materialized view is filled anew, and nobody reads it meanwhile",
            "use REFRESH MATERIALIZED VIEW CONCURRENTLY, which takes a unique index",
        ),
        Stmt::AlterTable(alter) if alter.actions().any(|action| sets_logged(&action)) => (
            LOGGED,
            "a table is written anew, and nobody reads it meanwhile",
            "do it when nobody needs the table",
        ),
        _ => return None,
    };
    let range = stmt.syntax().text_range();
    Some(Found {
        rule,
        harm: Harm::Holds,
        range: range.start().into()..range.end().into(),
        message: message.to_owned(),
        help: Some(help.to_owned()),
    })
}

/// `VACUUM FULL`, `VACUUM (FULL)`, not `VACUUM (FULL off)`.
fn is_full(vacuum: &ast::Vacuum) -> bool {
    let options = vacuum.vacuum_option_list();
    let mut options = options
        .iter()
        .flat_map(ast::VacuumOptionList::vacuum_options);
    let asks = |option: ast::VacuumOption| {
        let text = option.syntax().text().to_string().to_ascii_lowercase();
        let mut words = text.split_whitespace();
        let is_full = words.next() == Some("full");
        is_full && !matches!(words.next(), Some("off" | "false" | "0" | "no"))
    };
    vacuum.full_token().is_some() || options.any(asks)
}

/// Without a mode it is the strongest.
fn keeps_out(lock: &ast::Lock) -> bool {
    let mode = lock
        .lock_mode_clause()
        .and_then(|clause| clause.lock_mode());
    !matches!(
        mode,
        Some(
            ast::LockMode::AccessShare(_)
                | ast::LockMode::RowShare(_)
                | ast::LockMode::RowExclusive(_)
                | ast::LockMode::ShareUpdateExclusive(_)
        )
    )
}

fn fills(refresh: &ast::Refresh) -> bool {
    let is_emptied = matches!(refresh.data_option(), Some(ast::DataOption::WithNoData(_)));
    refresh.concurrently_token().is_none() && !is_emptied
}

fn sets_logged(action: &AlterTableAction) -> bool {
    matches!(
        action,
        AlterTableAction::SetLogged(_) | AlterTableAction::SetUnlogged(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Severity;
    use crate::engine::lint::tests::alone;

    #[test]
    fn what_holds_others_up_is_told() {
        for (sql, expected) in [
            ("VACUUM FULL t;", vec![VACUUM_FULL]),
            ("VACUUM (FULL, VERBOSE) t;", vec![VACUUM_FULL]),
            ("VACUUM (FULL off) t;", vec![]),
            ("VACUUM ANALYZE t;", vec![]),
            ("CLUSTER t USING i;", vec![CLUSTER]),
            ("LOCK TABLE t;", vec![LOCK]),
            ("LOCK t IN SHARE MODE;", vec![LOCK]),
            ("LOCK TABLE t IN ROW EXCLUSIVE MODE;", vec![]),
            ("REFRESH MATERIALIZED VIEW m;", vec![REFRESH]),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY m;", vec![]),
            ("REFRESH MATERIALIZED VIEW m WITH NO DATA;", vec![]),
            ("ALTER TABLE t SET UNLOGGED;", vec![LOGGED]),
            ("ALTER TABLE t SET LOGGED;", vec![LOGGED]),
            // nobody uses it yet
            ("CREATE TABLE t (); LOCK TABLE t;", vec![]),
            ("CREATE TABLE t (); ALTER TABLE t SET UNLOGGED;", vec![]),
            (
                "CREATE MATERIALIZED VIEW m AS SELECT 1; REFRESH MATERIALIZED VIEW m;",
                vec![],
            ),
        ] {
            let all = alone(sql);
            let told = all.iter().filter(|lint| NAMES.contains(&lint.rule));
            let told: Vec<_> = told.map(|lint| (lint.rule, lint.severity)).collect();
            let expected: Vec<_> = expected
                .into_iter()
                .map(|rule| (rule, Severity::Warning))
                .collect();
            assert_eq!(told, expected, "{sql}");
        }
    }
}
