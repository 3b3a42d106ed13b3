//! Whether a file changes the settings that sessions begin with: those of a database or a role. Pure.
//!
//! They do not reach sessions that have begun. Who runs each file by itself, in a session of its own, has them from the next
//! file on.

use super::{
    Script,
    nested::{begins_with_any, parts},
};

/// Whether one of its statements does, or one in a body.
pub(crate) fn changes_defaults(script: &Script) -> bool {
    let mut texts = script.statements.iter().filter_map(|statement| {
        let text = script.text.get(statement.range.clone())?;
        begins_with_any(text, &["ALTER", "DO"]).then_some(text)
    });
    texts.any(|text| {
        let mut parts = parts(text).into_iter();
        parts.any(|part| match part.words().as_slice() {
            ["ALTER", "DATABASE" | "ROLE" | "USER", rest @ ..] => {
                rest.contains(&"SET") || rest.contains(&"RESET")
            }
            _ => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::bundle::script_of;

    #[test]
    fn only_settings_of_databases_and_roles_count() {
        for (text, expected) in [
            ("ALTER DATABASE d SET search_path = a;", true),
            ("-- c\nalter role r in database d reset all;", true),
            ("ALTER USER u SET work_mem TO '1MB';", true),
            (
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET a.b = 1', current_database()); END $$;",
                true,
            ),
            ("ALTER ROLE r CREATEDB;", false),
            ("ALTER DATABASE d OWNER TO r;", false),
            ("ALTER TABLE t ALTER a SET NOT NULL;", false),
            ("SET search_path = a;", false),
        ] {
            assert_eq!(changes_defaults(&script_of(text)), expected, "{text}");
        }
    }
}
