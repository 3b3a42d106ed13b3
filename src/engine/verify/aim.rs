//! What a statement drops, renames, moves, changes or adds, by the very thing. Pure.
//!
//! Such a statement is refused on the copy where its work is done, or where one of the things that it is about is as it
//! wants it: then the others are not as an earlier file has left them either, and what that file makes anew proves nothing.
//! Only `ALTER` and `DROP` can be the reason, and only for what they name themselves: a column of the same name in another
//! table is another column.

use super::{
    catalog::{Change, Kind},
    place::{Class, Place},
};
use crate::engine::sql::words::Words;

/// What a statement does to a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aim {
    /// The schema is in it where the statement names it.
    place: Place,
    effect: Effect,
    /// The name that it has afterwards.
    pub(crate) to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It is no more at this place.
    Gone,
    /// It is otherwise.
    Changed,
    /// It is there.
    Added,
}

/// The things that a statement is about.
pub(crate) fn aims(text: &str) -> Vec<Aim> {
    let mut words = Words::new(text);
    let mut aims = Vec::new();
    if words.word("DROP") {
        dropped(&mut words, &mut aims);
    } else if words.word("ALTER") {
        altered(&mut words, &mut aims);
    }
    aims
}

impl Aim {
    fn new(class: Class, path: Vec<String>, part: Option<String>, effect: Effect) -> Self {
        let place = Place { class, path, part };
        Self {
            place,
            effect,
            to: None,
        }
    }

    /// Whether the statement can be why a thing that an earlier one has made, changed or dropped is not so.
    pub(crate) fn explains(&self, change: &Change) -> bool {
        let fits = match self.effect {
            Effect::Gone => change.kind != Kind::Dropped,
            Effect::Changed => change.kind == Kind::Changed,
            Effect::Added => change.kind == Kind::Dropped,
        };
        let places = [Some(change.key.as_str()), change.of.as_deref()];
        let mut places = places.into_iter().flatten().filter_map(Place::of);
        fits && places.next().is_some_and(|own| self.is_at(&own))
            || fits
                && self.effect == Effect::Gone
                && places.next().is_some_and(|table| self.is_at(&table))
    }

    /// Whether the statement is about the thing of this key at all.
    pub(crate) fn is_about(&self, key: &str) -> bool {
        Place::of(key).is_some_and(|place| self.is_at(&place))
    }

    /// Whether it is about what is at a place, or about the whole that it is in.
    fn is_at(&self, other: &Place) -> bool {
        let Place { class, path, part } = &self.place;
        let takes_parts = self.effect == Effect::Gone;
        if *class == Class::Schema && takes_parts {
            return other.path.first() == path.first() && other.class != Class::Extension;
        }
        let is_part = match (part, &other.part) {
            (None, None) => true,
            (None, Some(_)) => takes_parts,
            (Some(part), other) => other.as_ref() == Some(part),
        };
        *class == other.class && other.path.ends_with(path) && is_part
    }

    /// Where a thing is once this statement has given it another name.
    pub(crate) fn renamed(&self, key: &str) -> Option<Place> {
        let mut place = Place::of(key)?;
        let to = self.to.clone()?;
        if self.place.part.is_some() {
            place.part = Some(to);
        } else {
            *place.path.last_mut()? = to;
        }
        Some(place)
    }
}

/// How things of a kind are named.
enum Named {
    /// `name`, with schema or without.
    ByPath(Class),
    /// `name ON table`
    OnTable,
}

/// Takes the words for a kind of thing; none for kinds that the catalog is not read for.
fn kind(words: &mut Words<'_>) -> Option<Named> {
    if words.one_of(&["TRIGGER", "RULE", "POLICY"]).is_some() {
        return Some(Named::OnTable);
    }
    if words.words(&["TEXT", "SEARCH", "CONFIGURATION"]) {
        return Some(Named::ByPath(Class::TextSearch));
    }
    // those in front are a part of the kind's name
    words.one_of(&["MATERIALIZED", "FOREIGN"]);
    let relations = ["TABLE", "VIEW", "INDEX", "SEQUENCE", "TYPE", "DOMAIN"];
    let class = if words.one_of(&relations).is_some() {
        Class::Relation
    } else if words
        .one_of(&["FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE"])
        .is_some()
    {
        Class::Routine
    } else {
        match words.one_of(&["SCHEMA", "EXTENSION", "OPERATOR", "COLLATION", "STATISTICS"])? {
            "SCHEMA" => Class::Schema,
            "EXTENSION" => Class::Extension,
            "COLLATION" => Class::Collation,
            "STATISTICS" => Class::Statistics,
            _ => return None,
        }
    };
    Some(Named::ByPath(class))
}

fn dropped(words: &mut Words<'_>, aims: &mut Vec<Aim>) {
    let Some(kind) = kind(words) else {
        return;
    };
    words.word("CONCURRENTLY");
    words.words(&["IF", "EXISTS"]);
    match kind {
        Named::OnTable => aims.extend(on_table(words, Effect::Gone)),
        Named::ByPath(class) => {
            while let Some(path) = words.path() {
                aims.push(Aim::new(class, path, None, Effect::Gone));
                words.group();
                if !words.comma() {
                    break;
                }
            }
        }
    }
}

/// `name ON table`
fn on_table(words: &mut Words<'_>, effect: Effect) -> Option<Aim> {
    let name = words.name()?;
    let path = words.word("ON").then(|| words.path()).flatten()?;
    Some(Aim::new(Class::Relation, path, Some(name), effect))
}

fn altered(words: &mut Words<'_>, aims: &mut Vec<Aim>) {
    let Some(kind) = kind(words) else {
        return;
    };
    words.words(&["IF", "EXISTS"]);
    words.word("ONLY");
    match kind {
        Named::OnTable => {
            let aim = on_table(words, Effect::Changed);
            let is_renamed = words.word("RENAME");
            aims.extend(aim.map(|aim| Aim {
                effect: if is_renamed { Effect::Gone } else { aim.effect },
                ..aim
            }));
        }
        Named::ByPath(class) => {
            let Some(path) = words.path() else {
                return;
            };
            words.group();
            loop {
                action(words, class, &path, aims);
                if !words.behind_comma() {
                    break;
                }
            }
        }
    }
}

/// One of the things that an `ALTER` does.
fn action(words: &mut Words<'_>, class: Class, path: &[String], aims: &mut Vec<Aim>) {
    const PARTS: [&str; 3] = ["COLUMN", "CONSTRAINT", "ATTRIBUTE"];
    let mut aim = |part: Option<String>, effect: Effect, to: Option<String>| {
        let aim = Aim::new(class, path.to_vec(), part, effect);
        aims.push(Aim { to, ..aim });
    };
    let verbs = [
        "RENAME", "DROP", "ADD", "ALTER", "VALIDATE", "ENABLE", "DISABLE", "SET",
    ];
    match words.one_of(&verbs) {
        Some("RENAME") if words.word("TO") => {
            let to = words.name();
            aim(None, Effect::Gone, to);
        }
        Some("RENAME") if words.word("VALUE") => aim(None, Effect::Changed, None),
        Some("RENAME") => {
            words.one_of(&PARTS);
            let from = words.name();
            let to = words.word("TO").then(|| words.name()).flatten();
            if from.is_some() {
                aim(from, Effect::Gone, to.clone());
                aim(to, Effect::Added, None);
            }
        }
        Some("DROP") => {
            words.one_of(&PARTS);
            words.words(&["IF", "EXISTS"]);
            if let Some(part) = words.name() {
                aim(Some(part), Effect::Gone, None);
            }
        }
        Some("ADD") => {
            words.one_of(&PARTS);
            words.words(&["IF", "NOT", "EXISTS"]);
            if let Some(part) = words.name() {
                aim(Some(part), Effect::Added, None);
            }
        }
        Some("ALTER" | "VALIDATE") => {
            words.one_of(&PARTS);
            if let Some(part) = words.name() {
                aim(Some(part), Effect::Changed, None);
            }
        }
        Some("ENABLE" | "DISABLE") => {
            words.one_of(&["REPLICA", "ALWAYS"]);
            let is_part = words.one_of(&["TRIGGER", "RULE"]).is_some();
            let part = is_part.then(|| words.name()).flatten();
            aim(part, Effect::Changed, None);
        }
        Some("SET") if words.word("SCHEMA") => aim(None, Effect::Gone, None),
        Some(_) | None => aim(None, Effect::Changed, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The change by which something is made, or another one.
    fn change(key: &str, of: Option<&str>, kind: Kind) -> Change {
        Change {
            key: key.to_owned(),
            name: String::new(),
            of: of.map(str::to_owned),
            kind,
        }
    }

    #[test]
    fn a_statement_explains_what_it_names_and_nothing_else() {
        let table = Some("table public.users");
        let email = change("table column public.users.email", table, Kind::Made);
        let whole = change("table public.users", None, Kind::Made);
        let key = change("index public.users_pkey", table, Kind::Made);
        for (sql, explained) in [
            ("CREATE TABLE contacts (email text)", [false; 3]),
            ("CREATE TABLE users (email text)", [false; 3]),
            (
                "ALTER TABLE contacts RENAME COLUMN email TO mail",
                [false; 3],
            ),
            ("ALTER TABLE contacts DROP COLUMN email", [false; 3]),
            ("ALTER TABLE other.users DROP COLUMN email", [false; 3]),
            ("ALTER TABLE users ADD COLUMN email text", [false; 3]),
            (
                "ALTER TABLE users ADD c int CHECK (c > 0), ADD d text",
                [false; 3],
            ),
            ("ALTER TABLE users ALTER email SET NOT NULL", [false; 3]),
            ("COMMENT ON COLUMN users.email IS 'x'", [false; 3]),
            (
                "ALTER TABLE users RENAME email TO mail",
                [true, false, false],
            ),
            (
                "ALTER TABLE public.\"users\" ADD c numeric(1, 2), DROP COLUMN IF EXISTS email",
                [true, false, false],
            ),
            (
                "ALTER TABLE IF EXISTS ONLY users RENAME TO people",
                [true; 3],
            ),
            ("alter table Users set schema other", [true; 3]),
            ("DROP TABLE IF EXISTS a, users CASCADE", [true; 3]),
            ("DROP SCHEMA public", [true; 3]),
            ("ALTER SCHEMA public RENAME TO old", [true; 3]),
            ("DROP INDEX CONCURRENTLY users_pkey", [false, false, true]),
            ("DROP INDEX email", [false; 3]),
            ("DROP FUNCTION users(int)", [false; 3]),
        ] {
            let aims = aims(sql);
            let found = [&email, &whole, &key].map(|c| aims.iter().any(|aim| aim.explains(c)));
            assert_eq!(found, explained, "{sql}: {aims:?}");
        }
    }

    #[test]
    fn how_it_is_and_whether_it_is_there_are_explained_apart() {
        let column = "table column public.a.b";
        let of = Some("table public.a");
        for (sql, kinds) in [
            (
                "ALTER TABLE a ALTER COLUMN b SET DEFAULT 2",
                [false, true, false],
            ),
            ("ALTER TABLE a DROP b", [true, true, false]),
            (
                "ALTER TABLE a ADD COLUMN IF NOT EXISTS b int",
                [false, false, true],
            ),
            ("ALTER TABLE a RENAME c TO b", [false, false, true]),
        ] {
            let aims = aims(sql);
            let found = [Kind::Made, Kind::Changed, Kind::Dropped].map(|kind| {
                let change = change(column, of, kind);
                aims.iter().any(|aim| aim.explains(&change))
            });
            assert_eq!(found, kinds, "{sql}");
        }
        let trigger = change("trigger t on public.a", of, Kind::Changed);
        for sql in [
            "ALTER TABLE a DISABLE TRIGGER t",
            "DROP TRIGGER t ON a",
            "ALTER TRIGGER t ON a RENAME TO u",
        ] {
            assert!(aims(sql).iter().any(|aim| aim.explains(&trigger)), "{sql}");
        }
    }
}
