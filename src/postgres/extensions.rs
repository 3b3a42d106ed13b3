//! Extensions of a database, made as its owner.
//!
//! One that is installed is never moved to another schema, though some could be: statements and functions that name the old
//! one would fail. Where it is, is told. Its version changes only where one is asked for by name.

use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{Class, Error, ddl};

/// How many similar names an error suggests.
const MAX_SUGGESTIONS: usize = 3;

/// An extension that a database is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// The schema that a new one goes into, which is made where it does not exist. Default: the extension's own, or `public`.
    pub schema: Option<String>,
    /// The version to install, or to bring an installed one to. Default: the server's for a new one, any for an installed one.
    pub version: Option<String>,
}

/// An extension that a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The schema that its objects are in.
    pub schema: String,
}

/// A version of an extension that the server can install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// The extension.
    pub name: String,
    /// The version.
    pub version: String,
    /// Whether it is the one that the server installs where none is asked for.
    pub is_default: bool,
    /// The only schema that it can be in, where it leaves no choice.
    pub schema: Option<String>,
}

/// What has to be done about one extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Install it.
    Create {
        /// Its name.
        name: String,
        /// The schema to name; none for one that leaves no choice.
        schema: Option<String>,
        /// The version to name; none for the server's default.
        version: Option<String>,
    },
    /// Bring it to another version.
    Update {
        /// Its name.
        name: String,
        /// The version.
        version: String,
    },
}

/// Makes sure that every extension is installed, and in the version that is asked for; answers with what is there, in the
/// order asked.
///
/// # Errors
/// `Invalid` if the server has no extension of a name, with the available names that look similar; if it has not the version
/// that is asked for, or no way to it from the one that is installed; if the extension cannot be in the schema. `Denied` if
/// the owner may not create one of them. Nothing is changed then.
pub async fn ensure(
    connection: &mut PgConnection,
    wanted: &[Wanted],
) -> Result<Vec<Installed>, Error> {
    let mut transaction = ddl::begin(connection).await?;
    let result = install(&mut transaction, wanted).await;
    ddl::end(transaction, result).await
}

async fn install(
    connection: &mut PgConnection,
    wanted: &[Wanted],
) -> Result<Vec<Installed>, Error> {
    let available = available(connection).await?;
    let steps = steps(wanted, &available, &installed(connection).await?)?;
    for step in steps {
        match step {
            Step::Create {
                name,
                schema,
                version,
            } => create(connection, &name, schema, version).await?,
            Step::Update { name, version } => {
                let (name, version) = (quoted(&name), quoted(&version));
                let statement = format!("ALTER EXTENSION {name} UPDATE TO {version}");
                connection.execute(AssertSqlSafe(statement)).await?;
            }
        }
    }
    let there = installed(connection).await?;
    let found = |asked: &Wanted| there.iter().find(|one| one.name == asked.name).cloned();
    Ok(wanted.iter().filter_map(found).collect())
}

async fn available(connection: &mut PgConnection) -> Result<Vec<Available>, Error> {
    let query = "SELECT v.name::text, v.version, v.version = e.default_version, v.schema::text
         FROM pg_available_extension_versions v JOIN pg_available_extensions e ON e.name = v.name
         ORDER BY v.name, v.version";
    let rows: Vec<(String, String, bool, Option<String>)> =
        sqlx::query_as(query).fetch_all(connection).await?;
    let one = |(name, version, is_default, schema)| Available {
        name,
        version,
        is_default,
        schema,
    };
    Ok(rows.into_iter().map(one).collect())
}

async fn installed(connection: &mut PgConnection) -> Result<Vec<Installed>, Error> {
    let query = "SELECT e.extname::text, e.extversion, n.nspname::text
         FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace";
    let rows: Vec<(String, String, String)> = sqlx::query_as(query).fetch_all(connection).await?;
    let one = |(name, version, schema)| Installed {
        name,
        version,
        schema,
    };
    Ok(rows.into_iter().map(one).collect())
}

async fn create(
    connection: &mut PgConnection,
    name: &str,
    schema: Option<String>,
    version: Option<String>,
) -> Result<(), Error> {
    let mut statement = format!("CREATE EXTENSION IF NOT EXISTS {}", quoted(name));
    if let Some(schema) = schema {
        make_schema(connection, &schema).await?;
        statement = format!("{statement} SCHEMA {}", quoted(&schema));
    }
    if let Some(version) = version {
        statement = format!("{statement} VERSION {}", quoted(&version));
    }
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

/// Asked first: `IF NOT EXISTS` takes the right to make schemas also where there is nothing to make.
async fn make_schema(connection: &mut PgConnection, schema: &str) -> Result<(), Error> {
    let exists = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)");
    let exists: bool = exists.bind(schema).fetch_one(&mut *connection).await?;
    if !exists {
        let statement = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema));
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

fn quoted(name: &str) -> String {
    ddl::quote_identifier(name)
}

/// What has to be done. Pure.
///
/// # Errors
/// As for [`ensure`].
pub fn steps(
    wanted: &[Wanted],
    available: &[Available],
    installed: &[Installed],
) -> Result<Vec<Step>, Error> {
    let step = |wanted| step(wanted, available, installed);
    wanted
        .iter()
        .filter_map(|one| step(one).transpose())
        .collect()
}

fn step(
    wanted: &Wanted,
    available: &[Available],
    installed: &[Installed],
) -> Result<Option<Step>, Error> {
    let Wanted {
        name,
        schema,
        version,
    } = wanted;
    let there = installed.iter().find(|there| there.name == *name);
    if there.is_some_and(|there| version.as_ref().is_none_or(|asked| *asked == there.version)) {
        return Ok(None);
    }
    let versions: Vec<&Available> = available.iter().filter(|one| one.name == *name).collect();
    if versions.is_empty() {
        return Err(unknown(name, available.iter().map(|one| one.name.as_str())));
    }
    let chosen = versions.iter().find(|one| match version {
        Some(asked) => one.version == *asked,
        None => one.is_default,
    });
    if let (Some(asked), None) = (version, chosen) {
        let has: Vec<&str> = versions.iter().map(|one| one.version.as_str()).collect();
        let has = has.join(", ");
        return Err(invalid(format!(
            "the server has no version {asked} of the extension {name}; it has: {has}"
        )));
    }
    if let (Some(_), Some(version)) = (there, version) {
        let (name, version) = (name.clone(), version.clone());
        return Ok(Some(Step::Update { name, version }));
    }
    let fixed = chosen.and_then(|chosen| chosen.schema.as_ref());
    if let (Some(fixed), Some(asked)) = (fixed, schema)
        && fixed != asked
    {
        return Err(invalid(format!(
            "the extension {name} can only be in the schema {fixed}, not in {asked}"
        )));
    }
    let public = || "public".to_owned();
    Ok(Some(Step::Create {
        name: name.clone(),
        // a fixed schema of its own must not be named
        schema: fixed
            .is_none()
            .then(|| schema.clone().unwrap_or_else(public)),
        version: version.clone(),
    }))
}

fn invalid(message: String) -> Error {
    Error::new(Class::Invalid, message)
}

fn unknown<'a>(name: &str, available: impl Iterator<Item = &'a str>) -> Error {
    let similar = similar(name, available);
    let hint = if similar.is_empty() {
        "`SELECT name FROM pg_available_extensions` lists what there is".to_owned()
    } else {
        format!("similar names it has: {}", similar.join(", "))
    };
    invalid(format!("the server has no extension {name:?}; {hint}"))
}

/// The available names that a person may have meant, the likeliest first.
fn similar<'a>(name: &str, available: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = normalised(name);
    let mut found: Vec<(usize, &str)> = available
        .filter_map(|candidate| {
            let other = normalised(candidate);
            let edits = distance(&wanted, &other);
            // Within a third of the length, or one contains the other (`pgvector` and `vector`).
            let contained = wanted.len() > 3
                && other.len() > 3
                && (wanted.contains(&other) || other.contains(&wanted));
            (contained || edits * 3 <= wanted.chars().count().max(3)).then_some((edits, candidate))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .take(MAX_SUGGESTIONS)
        .map(|(_, candidate)| candidate)
        .collect()
}

/// Without what people mistake: case, and the characters between words.
fn normalised(name: &str) -> String {
    name.chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// How many characters have to be changed, added or removed (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (line, a) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut previous = line + 1;
        let mut next = vec![previous];
        for (b, above) in right.chars().zip(row.iter().skip(1)) {
            previous = (diagonal + usize::from(a != b))
                .min(previous + 1)
                .min(above + 1);
            diagonal = *above;
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
