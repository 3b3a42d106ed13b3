//! Where a thing is: schema, name, and what of it. Pure: read from the key that the server gave it, such as
//! `table column public.a.b` or `trigger t on public.a`.

use crate::engine::sql::words::Words;

/// Things of one class have their names among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Tables, views, indexes, sequences and types: `ALTER TABLE` renames most of them.
    Relation,
    Routine,
    Schema,
    Extension,
    Operator,
    Collation,
    TextSearch,
    Statistics,
}

/// Where a thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) class: Class,
    /// Schema and name; one of them where it is in no schema.
    pub(crate) path: Vec<String>,
    /// The column, constraint, trigger … of what `path` names.
    pub(crate) part: Option<String>,
}

/// How the server's names of kinds begin, those of parts first, since they begin with that of the whole.
const KINDS: &[(&str, Class, Part)] = &[
    ("table column", Class::Relation, Part::Last),
    ("view column", Class::Relation, Part::Last),
    ("materialized view column", Class::Relation, Part::Last),
    ("foreign table column", Class::Relation, Part::Last),
    ("composite type column", Class::Relation, Part::Last),
    ("table constraint", Class::Relation, Part::First),
    ("domain constraint", Class::Relation, Part::First),
    ("trigger", Class::Relation, Part::First),
    ("rule", Class::Relation, Part::First),
    ("policy", Class::Relation, Part::First),
    ("table", Class::Relation, Part::None),
    ("view", Class::Relation, Part::None),
    ("materialized view", Class::Relation, Part::None),
    ("foreign table", Class::Relation, Part::None),
    ("composite type", Class::Relation, Part::None),
    ("index", Class::Relation, Part::None),
    ("sequence", Class::Relation, Part::None),
    ("type", Class::Relation, Part::None),
    ("function", Class::Routine, Part::None),
    ("procedure", Class::Routine, Part::None),
    ("aggregate", Class::Routine, Part::None),
    ("schema", Class::Schema, Part::None),
    ("extension", Class::Extension, Part::None),
    ("operator", Class::Operator, Part::None),
    ("collation", Class::Collation, Part::None),
    ("text search configuration", Class::TextSearch, Part::None),
    ("statistics object", Class::Statistics, Part::None),
];

/// Where the server writes the name of a part.
#[derive(Debug, Clone, Copy)]
enum Part {
    None,
    /// `public.a.b`
    Last,
    /// `b on public.a`
    First,
}

/// The kind in front of a key.
pub(crate) fn kind(key: &str) -> Option<&'static str> {
    find(key).map(|(kind, ..)| kind)
}

fn find(key: &str) -> Option<(&'static str, Class, Part, &str)> {
    KINDS.iter().find_map(|(kind, class, part)| {
        let name = key.strip_prefix(kind)?.strip_prefix(' ')?;
        Some((*kind, *class, *part, name))
    })
}

impl Place {
    /// Reads a key; none where it is of no kind that is known.
    pub(crate) fn of(key: &str) -> Option<Self> {
        let (_, class, part, name) = find(key)?;
        let mut words = Words::new(name);
        let mut path = words.path()?;
        let part = match part {
            Part::None => None,
            Part::Last => path.pop(),
            Part::First => {
                let part = path.pop();
                path = words.word("ON").then(|| words.path()).flatten()?;
                part
            }
        };
        Some(Self { class, path, part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_server_writes_them() {
        let path = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect();
        for (key, class, names, part) in [
            (
                "table public.a",
                Class::Relation,
                &["public", "a"][..],
                None,
            ),
            (
                "table column public.a.b",
                Class::Relation,
                &["public", "a"],
                Some("b"),
            ),
            (
                "table constraint \"c d\" on public.\"A \"\"x\"",
                Class::Relation,
                &["public", "A \"x"],
                Some("c d"),
            ),
            (
                "function public.f(integer,public.a)",
                Class::Routine,
                &["public", "f"],
                None,
            ),
            ("schema other", Class::Schema, &["other"], None),
            ("materialized view s.v", Class::Relation, &["s", "v"], None),
        ] {
            let expected = Place {
                class,
                path: path(names),
                part: part.map(str::to_owned),
            };
            assert_eq!(Place::of(key), Some(expected), "{key}");
        }
        assert_eq!(Place::of("moon"), None);
    }
}
