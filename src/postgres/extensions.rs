//! Extensions of a database, made as its owner.

use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{Class, Error, ddl};

/// How many similar names an error suggests.
const MAX_SUGGESTIONS: usize = 3;

/// Makes sure that every named extension is installed; answers with name and installed version, in
/// the order asked. Extensions that leave the choice of schema go into `public`.
///
/// # Errors
/// `Invalid` if the server has no extension of a name, with the available names that look
/// similar; nothing is installed then. `Denied` if the owner may not create one of them.
pub async fn ensure(
    connection: &mut PgConnection,
    names: &[String],
) -> Result<Vec<(String, String)>, Error> {
    let mut transaction = ddl::begin(connection).await?;
    let result = install(&mut transaction, names).await;
    ddl::end(transaction, result).await
}

async fn install(
    connection: &mut PgConnection,
    names: &[String],
) -> Result<Vec<(String, String)>, Error> {
    let available: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT e.name::text, v.schema::text FROM pg_available_extensions e
         LEFT JOIN pg_available_extension_versions v
           ON v.name = e.name AND v.version = e.default_version",
    )
    .fetch_all(&mut *connection)
    .await?;
    let installed: Vec<(String, String)> =
        sqlx::query_as("SELECT extname::text, extversion FROM pg_extension")
            .fetch_all(&mut *connection)
            .await?;
    let version_of = |name: &str| installed.iter().find(|(found, _)| found == name);
    let mut missing = Vec::new();
    for name in names {
        if version_of(name).is_some() {
            continue;
        }
        match available.iter().find(|(found, _)| found == name) {
            Some((_, schema)) => missing.push((name, schema)),
            None => {
                return Err(unknown(
                    name,
                    available.iter().map(|(name, _)| name.as_str()),
                ));
            }
        }
    }
    for (name, schema) in missing {
        // A fixed schema of its own must not be named.
        let schema = if schema.is_none() {
            "SCHEMA public"
        } else {
            ""
        };
        let statement = format!(
            "CREATE EXTENSION IF NOT EXISTS {} {schema}",
            ddl::quote_identifier(name)
        );
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    let versions = sqlx::query_as(
        "SELECT e.extname::text, e.extversion
         FROM unnest($1::text[]) WITH ORDINALITY asked (name, position)
         JOIN pg_extension e ON e.extname = asked.name ORDER BY asked.position",
    )
    .bind(names)
    .fetch_all(connection)
    .await?;
    Ok(versions)
}

fn unknown<'a>(name: &str, available: impl Iterator<Item = &'a str>) -> Error {
    let similar = similar(name, available);
    let hint = if similar.is_empty() {
        "`SELECT name FROM pg_available_extensions` lists what there is".to_owned()
    } else {
        format!("similar names it has: {}", similar.join(", "))
    };
    Error::new(
        Class::Invalid,
        format!("the server has no extension {name:?}; {hint}"),
    )
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
