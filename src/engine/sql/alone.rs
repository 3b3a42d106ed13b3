//! Statements that run alone, because PostgreSQL refuses them inside a transaction. Pure.
//!
//! Their effect and the note that they ran cannot be one transaction. So it matters what an
//! interrupted one leaves behind, and whether that can be seen afterwards.

use super::{classify::catalog_name, occurs};

/// A statement that runs alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alone {
    /// What it is, for messages.
    pub(crate) what: &'static str,
    /// How to tell what became of it.
    pub(crate) kind: Kind,
}

/// How to tell whether an interrupted statement was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `CREATE INDEX CONCURRENTLY`: leaves an invalid index.
    BuildIndex {
        table: Name,
        /// None where PostgreSQL chooses the name.
        index: Option<String>,
    },
    /// `REINDEX CONCURRENTLY`: leaves invalid indexes called `…_ccnew` or `…_ccold`.
    RebuildIndex,
    /// `DROP INDEX CONCURRENTLY`: the index is still there, possibly invalid.
    DropIndex { index: Name, if_exists: bool },
    /// `DETACH PARTITION CONCURRENTLY`: leaves a detachment that is pending.
    Detach { table: Name, partition: Name },
    /// Makes or removes something that either is there or is not.
    Object {
        of: Object,
        name: String,
        does: Does,
    },
    /// The same again does no harm.
    Repeatable,
    /// Nobody can know.
    Unknowable,
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    Create,
    Drop,
    DropIfExists,
}

/// What is looked up by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Database,
    Tablespace,
}

/// A possibly qualified name, its parts as the catalog holds them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) Vec<String>);

impl Kind {
    /// Whether it works beside others and waits for them without being in their way: a lock
    /// timeout would only turn that waiting into an invalid index.
    pub(crate) fn is_concurrent(&self) -> bool {
        match self {
            Self::BuildIndex { .. }
            | Self::RebuildIndex
            | Self::DropIndex { .. }
            | Self::Detach { .. } => true,
            Self::Object { .. } | Self::Repeatable | Self::Unknowable => false,
        }
    }
}

/// Recognises a statement by its words, key words in upper case.
pub(crate) fn recognise(words: &[&str]) -> Option<Alone> {
    let alone = |what, kind| Some(Alone { what, kind });
    match words {
        ["VACUUM", ..] => alone("VACUUM", Kind::Repeatable),
        ["REPACK", ..] => alone("REPACK", Kind::Repeatable),
        ["CREATE", "DATABASE", name, ..] => {
            object("CREATE DATABASE", Object::Database, name, Does::Create)
        }
        ["DROP", "DATABASE", rest @ ..] => object(
            "DROP DATABASE",
            Object::Database,
            target(rest)?,
            drops(rest),
        ),
        ["CREATE", "TABLESPACE", name, ..] => {
            object("CREATE TABLESPACE", Object::Tablespace, name, Does::Create)
        }
        ["DROP", "TABLESPACE", rest @ ..] => object(
            "DROP TABLESPACE",
            Object::Tablespace,
            target(rest)?,
            drops(rest),
        ),
        ["ALTER", "SYSTEM", ..] => alone("ALTER SYSTEM", Kind::Repeatable),
        ["ALTER", "DATABASE", ..] if occurs(words, &["SET", "TABLESPACE"]) => {
            alone("ALTER DATABASE … SET TABLESPACE", Kind::Repeatable)
        }
        ["CREATE", "INDEX", "CONCURRENTLY", rest @ ..]
        | ["CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", rest @ ..] => {
            alone("CREATE INDEX CONCURRENTLY", build_index(rest))
        }
        ["DROP", "INDEX", "CONCURRENTLY", rest @ ..] => {
            let index = name(without_if_exists(rest));
            let kind = index.map_or(Kind::Unknowable, |(index, _)| Kind::DropIndex {
                index,
                if_exists: has_if_exists(rest),
            });
            alone("DROP INDEX CONCURRENTLY", kind)
        }
        ["REINDEX", rest @ ..] => reindex(rest),
        ["ALTER", "TABLE", rest @ .., "CONCURRENTLY"] if occurs(rest, &["DETACH", "PARTITION"]) => {
            alone("DETACH PARTITION … CONCURRENTLY", detach(rest))
        }
        ["CLUSTER"] | ["CLUSTER", "VERBOSE"] | ["CLUSTER", "(", .., ")"] => {
            alone("CLUSTER without a table", Kind::Repeatable)
        }
        ["COMMIT", "PREPARED", ..] => alone("COMMIT PREPARED", Kind::Unknowable),
        ["ROLLBACK", "PREPARED", ..] => alone("ROLLBACK PREPARED", Kind::Unknowable),
        _ => subscription(words),
    }
}

fn subscription(words: &[&str]) -> Option<Alone> {
    let alone = |what, kind| Some(Alone { what, kind });
    match words {
        ["CREATE", "SUBSCRIPTION", ..] if !off(words, "CONNECT") && !off(words, "CREATE_SLOT") => {
            alone("CREATE SUBSCRIPTION", Kind::Unknowable)
        }
        ["ALTER", "SUBSCRIPTION", _, "REFRESH", ..] => {
            alone("ALTER SUBSCRIPTION … REFRESH", Kind::Repeatable)
        }
        [
            "ALTER",
            "SUBSCRIPTION",
            _,
            verb @ ("SET" | "ADD" | "DROP"),
            "PUBLICATION",
            ..,
        ] if !off(words, "REFRESH") => {
            let kind = if *verb == "SET" {
                Kind::Repeatable
            } else {
                Kind::Unknowable
            };
            alone("ALTER SUBSCRIPTION … PUBLICATION with refresh", kind)
        }
        _ => None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "reads as its neighbours")]
fn object(what: &'static str, of: Object, name: &str, does: Does) -> Option<Alone> {
    let name = catalog_name(name);
    let kind = Kind::Object { of, name, does };
    Some(Alone { what, kind })
}

fn target<'a>(words: &[&'a str]) -> Option<&'a str> {
    without_if_exists(words).first().copied()
}

fn has_if_exists(words: &[&str]) -> bool {
    words.starts_with(&["IF", "EXISTS"])
}

fn drops(words: &[&str]) -> Does {
    if has_if_exists(words) {
        Does::DropIfExists
    } else {
        Does::Drop
    }
}

fn without_if_exists<'a, 'b>(words: &'b [&'a str]) -> &'b [&'a str] {
    words.strip_prefix(&["IF", "EXISTS"]).unwrap_or(words)
}

/// What follows `CREATE INDEX CONCURRENTLY`: `[[IF NOT EXISTS] name] ON [ONLY] table`.
fn build_index(words: &[&str]) -> Kind {
    let words = words
        .strip_prefix(&["IF", "NOT", "EXISTS"])
        .unwrap_or(words);
    let (index, table) = match words {
        ["ON", table @ ..] => (None, table),
        [index, "ON", table @ ..] => (Some(catalog_name(index)), table),
        _ => return Kind::Unknowable,
    };
    let table = table.strip_prefix(&["ONLY"]).unwrap_or(table);
    name(table).map_or(Kind::Unknowable, |(table, _)| Kind::BuildIndex {
        table,
        index,
    })
}

/// What follows `ALTER TABLE`: `[IF EXISTS] [ONLY] table [*] DETACH PARTITION partition`.
fn detach(words: &[&str]) -> Kind {
    let words = without_if_exists(words);
    let words = words.strip_prefix(&["ONLY"]).unwrap_or(words);
    let Some((table, rest)) = name(words) else {
        return Kind::Unknowable;
    };
    let rest = rest.strip_prefix(&["*"]).unwrap_or(rest);
    match rest {
        ["DETACH", "PARTITION", partition @ ..] => {
            name(partition).map_or(Kind::Unknowable, |(partition, _)| Kind::Detach {
                table,
                partition,
            })
        }
        _ => Kind::Unknowable,
    }
}

/// `REINDEX [(options)] {INDEX | TABLE | …} [CONCURRENTLY] name`
fn reindex(words: &[&str]) -> Option<Alone> {
    let (options, target) = match words {
        ["(", rest @ ..] => rest
            .iter()
            .position(|word| *word == ")")
            .and_then(|end| rest.split_at_checked(end))
            .unwrap_or((&[], rest)),
        _ => (&[][..], words),
    };
    let target = target.strip_prefix(&[")"]).unwrap_or(target);
    let concurrently = Alone {
        what: "REINDEX CONCURRENTLY",
        kind: Kind::RebuildIndex,
    };
    match target {
        [_, "CONCURRENTLY", ..] => Some(concurrently),
        _ if occurs(options, &["CONCURRENTLY"]) && !off(options, "CONCURRENTLY") => {
            Some(concurrently)
        }
        ["SCHEMA" | "DATABASE" | "SYSTEM", ..] => Some(Alone {
            what: "REINDEX of a schema, database or system",
            kind: Kind::Repeatable,
        }),
        _ => None,
    }
}

/// The name at the start of `words`, and what follows it.
fn name<'a, 'b>(words: &'b [&'a str]) -> Option<(Name, &'b [&'a str])> {
    let mut parts = Vec::new();
    let mut rest = words;
    loop {
        let (part, after) = rest.split_first()?;
        // a name with escapes of its own is left to the server
        if part.to_ascii_uppercase().starts_with("U&\"") {
            return None;
        }
        parts.push(catalog_name(part));
        match after {
            [".", more @ ..] => rest = more,
            _ => return Some((Name(parts), after)),
        }
    }
}

/// Whether an option is switched off: `option false`, `option = off`. What a quoted value says is
/// left to the server.
fn off(words: &[&str], option: &str) -> bool {
    let mut rest = words.iter().skip_while(|word| **word != option).skip(1);
    let value = rest.find(|word| **word != "=");
    matches!(value, Some(&("FALSE" | "OFF" | "0" | "'")))
}

#[cfg(test)]
mod tests {
    use super::super::{
        classify::{Class, classify},
        lex::tokens,
    };
    use super::*;

    fn kind(text: &str) -> Kind {
        let class = classify(text, &tokens(text));
        let Class::Autocommit(alone) = class else {
            panic!("{text}: {class:?}");
        };
        alone.kind
    }

    fn named(parts: &[&str]) -> Name {
        Name(parts.iter().map(|part| (*part).to_owned()).collect())
    }

    #[test]
    fn what_has_to_be_looked_up_is_found_in_the_statement() {
        let build = |table: &[&str], index: Option<&str>| Kind::BuildIndex {
            table: named(table),
            index: index.map(str::to_owned),
        };
        for (text, expected) in [
            (
                "CREATE INDEX CONCURRENTLY Orders_Idx ON Shop.\"Orders\" (a);",
                build(&["shop", "Orders"], Some("orders_idx")),
            ),
            (
                "create unique index concurrently if not exists \"I \"\"x\" on only t using gin (b);",
                build(&["t"], Some("I \"x")),
            ),
            (
                "CREATE INDEX CONCURRENTLY ON t (a, b);",
                build(&["t"], None),
            ),
            (
                "DROP INDEX CONCURRENTLY IF EXISTS s.i CASCADE;",
                Kind::DropIndex {
                    index: named(&["s", "i"]),
                    if_exists: true,
                },
            ),
            (
                "ALTER TABLE IF EXISTS ONLY a.p DETACH PARTITION a.p1 CONCURRENTLY;",
                Kind::Detach {
                    table: named(&["a", "p"]),
                    partition: named(&["a", "p1"]),
                },
            ),
            ("REINDEX INDEX CONCURRENTLY i;", Kind::RebuildIndex),
            (
                "DROP DATABASE IF EXISTS \"D\";",
                Kind::Object {
                    of: Object::Database,
                    name: "D".into(),
                    does: Does::DropIfExists,
                },
            ),
            ("VACUUM t;", Kind::Repeatable),
            ("COMMIT PREPARED 'x';", Kind::Unknowable),
            (
                "CREATE INDEX CONCURRENTLY i ON U&\"d\\0061ta\" (a);",
                Kind::Unknowable,
            ),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
