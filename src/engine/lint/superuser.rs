//! What PostgreSQL lets only a superuser do, which on Neon nobody is: the roles that it makes are members of `neon_superuser`,
//! which is none. Pure.
//!
//! Only whole statements: what a function or a DO block does cannot be told. A server of one's own may have a superuser to
//! run the files, so this is a warning.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser has a case for every statement of PostgreSQL"
)]

use std::ops::Range;

use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode, Stmt};

use super::{Found, Harm};

const SUPERUSER: &str = "needs-superuser";

pub(super) const NAMES: [&str; 1] = [SUPERUSER];

const SETTINGS: &str = "leave it out: settings of the whole server are the NeonDatabase's spec.compute.settings, those of one \
     database are set by ALTER DATABASE … SET";
const TABLESPACE: &str = "leave the tablespace out: Neon has no other one than pg_default";
const COPY_FROM: &str = "write COPY … FROM STDIN, and the data behind it, ended by a line \\.";
const COPY_TO: &str =
    "leave it out: nobody can reach files of the server; \\copy of psql writes one where it runs";
const EXTENSION: &str = "use an extension that brings it, by CREATE EXTENSION";
const DEFINED: &str = "use an enum, a composite type, a range or a domain, or an extension that brings the type, by CREATE EXTENSION";
const ATTRIBUTE: &str = "leave it out, and grant the role what it is to do";
const SESSION: &str = "use SET ROLE, or execution.role for all files";

/// Everything that is found.
pub(super) fn check(file: &ast::SourceFile) -> Vec<Found> {
    let mut found: Vec<Found> = file.stmts().filter_map(|stmt| statement(&stmt)).collect();
    found.extend(file.syntax().descendants().filter_map(|node| clause(&node)));
    found
}

/// A statement of which no form is open to others.
fn statement(stmt: &Stmt) -> Option<Found> {
    let (what, help) = match stmt {
        Stmt::AlterSystem(_) => ("ALTER SYSTEM", SETTINGS),
        Stmt::CreateTablespace(_) => ("CREATE TABLESPACE", TABLESPACE),
        Stmt::DropTablespace(_) => ("DROP TABLESPACE", TABLESPACE),
        Stmt::Copy(copy) => copies(copy)?,
        Stmt::Load(load) if !is_plugin(load) => ("LOAD", EXTENSION),
        Stmt::CreateAccessMethod(_) => ("CREATE ACCESS METHOD", EXTENSION),
        Stmt::CreateType(made) if is_base(made) => ("a base type", DEFINED),
        Stmt::CreateOperatorClass(_) => ("CREATE OPERATOR CLASS", EXTENSION),
        Stmt::CreateOperatorFamily(_) => ("CREATE OPERATOR FAMILY", EXTENSION),
        Stmt::CreateForeignDataWrapper(_) => ("CREATE FOREIGN DATA WRAPPER", EXTENSION),
        Stmt::CreateTextSearchParser(_) => ("CREATE TEXT SEARCH PARSER", EXTENSION),
        Stmt::CreateTextSearchTemplate(_) => ("CREATE TEXT SEARCH TEMPLATE", EXTENSION),
        // without a handler it is another way to say CREATE EXTENSION
        Stmt::CreateLanguage(made) if made.handler_clause().is_some() => {
            ("CREATE LANGUAGE", EXTENSION)
        }
        Stmt::SetSessionAuth(set) if is_another(set) => {
            ("SET SESSION AUTHORIZATION to another role", SESSION)
        }
        Stmt::CreateRole(made) => attribute(made.role_option_list(), &["superuser"])?,
        Stmt::CreateUser(made) => attribute(made.role_option_list(), &["superuser"])?,
        Stmt::CreateGroup(made) => attribute(made.role_option_list(), &["superuser"])?,
        Stmt::AlterRole(changed) => match changed.action()? {
            ast::AlterRoleAction::RoleOptionList(options) => either(options)?,
            _ => return None,
        },
        Stmt::AlterUser(changed) => match changed.action()? {
            ast::AlterUserAction::RoleOptionList(options) => either(options)?,
            _ => return None,
        },
        _ => return None,
    };
    Some(found(what, help, range(stmt.syntax())))
}

/// A part of statements that others may make without it.
fn clause(node: &SyntaxNode) -> Option<Found> {
    if let Some(tablespace) = ast::TablespaceRef::cast(node.clone()) {
        let clause = node.parent()?;
        let is_asked = ast::TablespaceClause::can_cast(clause.kind())
            || ast::SetTablespace::can_cast(clause.kind())
            || ast::ConstraintIndexTablespace::can_cast(clause.kind())
            || ast::DatabaseOptionTablespace::can_cast(clause.kind())
            || ast::ReindexOptionTablespace::can_cast(clause.kind());
        let name = tablespace.ident_token()?;
        let is_default = matches!(
            name.text().to_ascii_lowercase().as_str(),
            "pg_default" | "\"pg_default\""
        );
        return (is_asked && !is_default).then(|| {
            found(
                "another tablespace than pg_default",
                TABLESPACE,
                range(&clause),
            )
        });
    }
    let language = ast::LanguageFuncOption::cast(node.clone())?;
    let name = match (language.language_ref(), language.literal()) {
        (Some(name), _) => name.syntax().text().to_string(),
        (None, Some(name)) => name.syntax().text().to_string(),
        (None, None) => return None,
    };
    let name = name.trim_matches(['\'', '"']).to_ascii_lowercase();
    matches!(name.as_str(), "c" | "internal").then(|| {
        let what = "a function in a language that is not trusted";
        found(what, EXTENSION, range(node))
    })
}

fn found(what: &str, help: &str, range: Range<usize>) -> Found {
    Found {
        rule: SUPERUSER,
        harm: Harm::Refused,
        range,
        message: format!("{what} takes a superuser, and no role is one on Neon"),
        help: Some(help.to_owned()),
    }
}

fn range(node: &SyntaxNode) -> Range<usize> {
    let range = node.text_range();
    range.start().into()..range.end().into()
}

/// What a COPY reads or writes that is the server's: a file, or a program.
fn copies(copy: &ast::Copy) -> Option<(&'static str, &'static str)> {
    match copy.copy_direction()? {
        ast::CopyDirection::CopyFrom(from) => match from.copy_source() {
            Some(ast::CopySource::CopyStdin(_) | ast::CopySource::CopyStdout(_)) => None,
            Some(ast::CopySource::CopyProgram(from)) if from.program_token().is_some() => {
                Some(("COPY … FROM PROGRAM", COPY_FROM))
            }
            Some(ast::CopySource::CopyProgram(_)) | None => {
                Some(("COPY from a file of the server", COPY_FROM))
            }
        },
        ast::CopyDirection::CopyTo(to) => match to.copy_target() {
            Some(ast::CopyTarget::CopyStdout(_)) => None,
            Some(ast::CopyTarget::CopyProgram(to)) if to.program_token().is_some() => {
                Some(("COPY … TO PROGRAM", COPY_TO))
            }
            Some(ast::CopyTarget::CopyProgram(_)) | None => {
                Some(("COPY to a file of the server", COPY_TO))
            }
        },
    }
}

/// Libraries that everybody may load.
fn is_plugin(load: &ast::Load) -> bool {
    let library = load.literal().map(|name| name.syntax().text().to_string());
    library.is_some_and(|name| name.starts_with("'$libdir/plugins/"))
}

/// With functions that read and write it, or announced to get them.
fn is_base(made: &ast::CreateType) -> bool {
    matches!(made.kind(), Some(ast::CreateTypeKind::BaseType(_)) | None)
}

fn is_another(set: &ast::SetSessionAuth) -> bool {
    let target = set.set_session_auth_target();
    target.is_some_and(|to| !matches!(to, ast::SetSessionAuthTarget::SetSessionAuthDefault(_)))
}

/// Of a role that is there, either one is a change of the attribute.
fn either(options: ast::RoleOptionList) -> Option<(&'static str, &'static str)> {
    attribute(Some(options), &["superuser", "nosuperuser"])
}

fn attribute(
    options: Option<ast::RoleOptionList>,
    refused: &[&str],
) -> Option<(&'static str, &'static str)> {
    let is_refused = |option: ast::RoleOption| {
        let text = option.syntax().text().to_string().to_ascii_lowercase();
        refused.contains(&text.as_str())
    };
    let mut options = options?.role_options();
    options
        .any(is_refused)
        .then_some(("the attribute SUPERUSER", ATTRIBUTE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Severity;
    use crate::engine::lint::tests::alone;

    /// What is marked as taking a superuser.
    fn marked(sql: &str) -> Vec<String> {
        let all = alone(sql).into_iter().filter(|lint| lint.rule == SUPERUSER);
        all.map(|lint| {
            assert_eq!(lint.severity, Severity::Warning);
            assert!(lint.diagnostic.hint.is_some());
            let snippet = lint.diagnostic.snippet.unwrap();
            let shown = snippet.text.chars().skip(snippet.caret);
            shown.take(snippet.width).collect()
        })
        .collect()
    }

    #[test]
    fn what_takes_a_superuser_is_told() {
        for whole in [
            "ALTER SYSTEM SET work_mem = '1GB'",
            "ALTER SYSTEM RESET ALL",
            "CREATE TABLESPACE fast LOCATION '/fast'",
            "DROP TABLESPACE IF EXISTS fast",
            "COPY t FROM '/tmp/stdin'",
            "COPY t (a, b) FROM PROGRAM 'cat' WITH (FORMAT csv)",
            "COPY t TO '/tmp/stdout'",
            "COPY (SELECT 1) TO PROGRAM 'cat'",
            "LOAD 'auto_explain'",
            "CREATE ACCESS METHOD heaper TYPE TABLE HANDLER heap_tableam_handler",
            "CREATE TYPE box (INPUT = box_in, OUTPUT = box_out)",
            "CREATE TYPE box",
            "CREATE OPERATOR CLASS o FOR TYPE int USING btree AS OPERATOR 1 <",
            "CREATE OPERATOR FAMILY o USING btree",
            "CREATE FOREIGN DATA WRAPPER w",
            "CREATE TEXT SEARCH PARSER p (START = a, GETTOKEN = b, END = c, LEXTYPES = d)",
            "CREATE TEXT SEARCH TEMPLATE s (LEXIZE = a)",
            "CREATE LANGUAGE l HANDLER h",
            "CREATE OR REPLACE TRUSTED PROCEDURAL LANGUAGE l HANDLER h",
            "CREATE ROLE a WITH LOGIN SUPERUSER",
            "CREATE USER a superuser",
            "ALTER ROLE a SUPERUSER",
            "ALTER USER a WITH NOSUPERUSER",
            "SET SESSION AUTHORIZATION somebody",
            "SET LOCAL SESSION AUTHORIZATION 'somebody'",
        ] {
            assert_eq!(marked(whole), [whole], "{whole}");
        }
    }

    #[test]
    fn only_the_part_that_takes_a_superuser_is_marked() {
        for (sql, part) in [
            ("CREATE TABLE t (a int) TABLESPACE fast;", "TABLESPACE fast"),
            (
                "CREATE TABLE t (a int PRIMARY KEY USING INDEX TABLESPACE fast);",
                "USING INDEX TABLESPACE fast",
            ),
            (
                "CREATE INDEX i ON t (a) TABLESPACE fast;",
                "TABLESPACE fast",
            ),
            (
                "CREATE MATERIALIZED VIEW m TABLESPACE fast AS SELECT 1;",
                "TABLESPACE fast",
            ),
            ("ALTER TABLE t SET TABLESPACE fast;", "SET TABLESPACE fast"),
            ("ALTER INDEX i SET TABLESPACE fast;", "SET TABLESPACE fast"),
            ("CREATE DATABASE d TABLESPACE = fast;", "TABLESPACE = fast"),
            (
                "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'lib', 'f';",
                "LANGUAGE c",
            ),
            (
                "CREATE FUNCTION f() RETURNS int AS 'int4in' LANGUAGE 'internal' STRICT;",
                "LANGUAGE 'internal'",
            ),
        ] {
            assert_eq!(marked(sql), [part], "{sql}");
        }
    }

    #[test]
    fn a_file_of_the_server_is_no_program() {
        for (sql, expected) in [
            ("COPY t TO '/tmp/t';", "COPY to a file of the server"),
            ("COPY t TO PROGRAM 'cat';", "COPY … TO PROGRAM"),
            ("COPY t FROM '/tmp/t';", "COPY from a file of the server"),
            ("COPY t FROM PROGRAM 'cat';", "COPY … FROM PROGRAM"),
        ] {
            let all = alone(sql);
            let lint = all.iter().find(|lint| lint.rule == SUPERUSER).unwrap();
            assert!(lint.diagnostic.message.starts_with(expected), "{sql}");
        }
    }

    #[test]
    fn what_others_may_do_is_not_told() {
        for sql in [
            include_str!("../../../migrations/001_initial_schema.sql"),
            include_str!("../../../migrations/002_add_performance_indexes.sql"),
            include_str!("../../../migrations/003_add_telemetry_tables.sql"),
            "CREATE TABLE t (a int) TABLESPACE pg_default;",
            "ALTER TABLE t SET TABLESPACE \"pg_default\";",
            "ALTER TABLE ALL IN TABLESPACE fast SET TABLESPACE pg_default;",
            "CREATE DATABASE d TABLESPACE pg_default;",
            "CREATE TABLE t AS SELECT tablespace FROM pg_tables;",
            "COMMENT ON COLUMN t.tablespace IS 'ALTER SYSTEM';",
            "COPY t FROM STDIN;\n1\n\\.\n",
            "COPY t (a) FROM STDIN WITH (FORMAT csv);\n1\n\\.\n",
            "LOAD '$libdir/plugins/mine';",
            "CREATE TYPE mood AS ENUM ('fine');",
            "CREATE TYPE pair AS (a int, b int);",
            "CREATE TYPE span AS RANGE (SUBTYPE = int);",
            "CREATE TEXT SEARCH CONFIGURATION c (COPY = english);",
            "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple);",
            "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;",
            "CREATE LANGUAGE plpgsql;",
            "CREATE OR REPLACE PROCEDURAL LANGUAGE plpgsql;",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;",
            "CREATE ROLE a NOSUPERUSER LOGIN;",
            "ALTER ROLE a SET search_path = superuser;",
            "ALTER ROLE a RENAME TO superuser;",
            "CREATE ROLE superuser;",
            "SET SESSION AUTHORIZATION DEFAULT;",
            "RESET SESSION AUTHORIZATION;",
            "SET ROLE somebody;",
            "CREATE OPERATOR + (FUNCTION = f, LEFTARG = int, RIGHTARG = int);",
        ] {
            assert_eq!(marked(sql), Vec::<String>::new(), "{sql}");
        }
    }
}
