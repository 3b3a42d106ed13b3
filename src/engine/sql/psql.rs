//! Commands of psql that stand in SQL files. Pure.
//!
//! pg_dump writes `\restrict` and `\unrestrict`; people leave `\set ON_ERROR_STOP on` or `\echo`
//! behind. These change nothing about what a file does, since it ends at the first error anyway.
//! Everything else would, so it is named.

/// Why a command cannot be carried out.
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// Judges a command, from its backslash to the end of the line. `alone`: nothing but white space
/// is in front of it on the line, and no statement is unfinished.
pub(super) fn refuse(line: &str, alone: bool) -> Option<Refusal> {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or(line);
    let rest: Vec<&str> = words.collect();
    if alone && is_harmless(command, &rest) {
        return None;
    }
    let hint = match command {
        "\\i" | "\\ir" | "\\include" | "\\include_relative" => {
            "give the other file to the bundle as a migration of its own"
        }
        "\\c" | "\\connect" => "a migration is applied to one database; remove it",
        "\\copy" => "write COPY … FROM STDIN with the data behind it, ended by a line \\.",
        "\\gexec" => "write a DO block with EXECUTE",
        "\\if" | "\\elif" | "\\else" | "\\endif" => "write a DO block with IF",
        "\\." => "it ends the data of a COPY … FROM STDIN; there is none here",
        "\\set" | "\\gset" | "\\prompt" => "variables are not replaced; write the value itself",
        _ => "remove it: files are sent to the server as they are",
    };
    Some(Refusal {
        message: format!("{command} is a command of psql, not SQL"),
        hint,
    })
}

fn is_harmless(command: &str, rest: &[&str]) -> bool {
    match (command, rest) {
        (
            "\\restrict" | "\\unrestrict" | "\\echo" | "\\qecho" | "\\warn" | "\\timing" | "\\pset"
            | "\\x",
            _,
        ) => true,
        ("\\encoding", [encoding]) => {
            encoding.eq_ignore_ascii_case("utf8") || encoding.eq_ignore_ascii_case("utf-8")
        }
        ("\\set", [name, value @ ..]) => match *name {
            "ON_ERROR_STOP" => matches!(value, [] | ["on" | "ON" | "1" | "true"]),
            "ECHO" | "ECHO_HIDDEN" | "QUIET" | "SHOW_CONTEXT" | "VERBOSITY" => true,
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_nothing_is_passed_over() {
        for line in [
            "\\restrict kJ8x",
            "\\unrestrict kJ8x",
            "\\set ON_ERROR_STOP on",
            "\\set ON_ERROR_STOP",
            "\\echo 'creating tables'",
            "\\encoding UTF8",
            "\\timing on",
        ] {
            assert!(refuse(line, true).is_none(), "{line}");
            assert!(refuse(line, false).is_some(), "{line}");
        }
    }

    #[test]
    fn everything_else_is_named() {
        for (line, command) in [
            ("\\i other.sql", "\\i "),
            ("\\set ON_ERROR_STOP off", "\\set "),
            ("\\set schema app", "\\set "),
            ("\\encoding LATIN1", "\\encoding "),
            ("\\connect other", "\\connect "),
            ("\\.", "\\. "),
        ] {
            let refusal = refuse(line, true).unwrap();
            assert!(refusal.message.starts_with(command), "{}", refusal.message);
        }
    }
}
