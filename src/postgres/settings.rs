//! What the sessions of a role begin with: `ALTER ROLE … SET`, and how many there may be.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{Error, RoleSetting, ddl::quote_identifier, roles::Shape};

/// Settings whose value is a list of names. PostgreSQL quotes each element by itself, so they have to come apart.
const LISTS: [&str; 4] = [
    "search_path",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
];

/// Gives the login this shape and no other setting. What is set on it for one database only is left alone.
pub(super) async fn give(
    connection: &mut PgConnection,
    login: &str,
    group: &str,
    shape: &Shape,
) -> Result<(), Error> {
    let limit = shape.connection_limit.unwrap_or(-1);
    let login = quote_identifier(login);
    let statements =
        format!("ALTER ROLE {login} CONNECTION LIMIT {limit}; ALTER ROLE {login} RESET ALL");
    connection.execute(AssertSqlSafe(statements)).await?;
    set(connection, &login, "role", group).await?;
    set_all(connection, &login, group, &shape.settings).await
}

/// Whether the server takes these settings. Changes nothing.
///
/// # Errors
/// Those of the server about the first that it does not take.
pub(super) async fn try_on(
    connection: &mut PgConnection,
    group: &str,
    settings: &BTreeMap<String, String>,
) -> Result<(), Error> {
    if settings.is_empty() {
        return Ok(());
    }
    let mut attempt = connection.begin().await?;
    let result = set_all(&mut attempt, &quote_identifier(group), group, settings).await;
    attempt.rollback().await?;
    result
}

async fn set_all(
    connection: &mut PgConnection,
    role: &str,
    group: &str,
    settings: &BTreeMap<String, String>,
) -> Result<(), Error> {
    for (name, value) in settings {
        let setting = || RoleSetting {
            group: group.to_owned(),
            name: name.clone(),
        };
        set(connection, role, name, value)
            .await
            .map_err(|mut error| {
                error.setting = error.server.is_some().then(|| Box::new(setting()));
                error
            })?;
    }
    Ok(())
}

/// The server quotes the value, as it alone knows how it reads one.
pub(super) async fn set(
    connection: &mut PgConnection,
    role: &str,
    name: &str,
    value: &str,
) -> Result<(), Error> {
    let value: String = sqlx::query_scalar(
        "SELECT string_agg(quote_literal(v), ', ' ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY u (v, n)",
    )
    .bind(elements(name, value))
    .fetch_one(&mut *connection)
    .await?;
    let name = quote_identifier(name);
    let statement = format!("ALTER ROLE {role} SET {name} = {value}");
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

/// What the value consists of: one element, or those of a list of names as PostgreSQL reads it. Pure.
fn elements(name: &str, value: &str) -> Vec<String> {
    if !LISTS.contains(&name.to_lowercase().as_str()) {
        return vec![value.to_owned()];
    }
    let mut elements = Vec::new();
    let mut element = String::new();
    let (mut quoted, mut was_quoted) = (false, false);
    let finished = |element: &mut String, was_quoted: &mut bool| {
        let text = std::mem::take(element);
        if std::mem::take(was_quoted) {
            text
        } else {
            text.trim().to_lowercase()
        }
    };
    for character in value.chars() {
        match character {
            // two of them inside of quotes are one: the quotes end and begin again
            '"' => {
                if !quoted && was_quoted {
                    element.push('"');
                } else if !quoted {
                    element.clear();
                }
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => elements.push(finished(&mut element, &mut was_quoted)),
            space if space.is_whitespace() && was_quoted && !quoted => {}
            other => element.push(other),
        }
    }
    elements.push(finished(&mut element, &mut was_quoted));
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_names_come_apart_and_nothing_else_does() {
        let rows: [(&str, &str, &[&str]); 9] = [
            ("statement_timeout", "30s", &["30s"]),
            ("app.tags", "a, b", &["a, b"]),
            ("search_path", "app", &["app"]),
            ("search_path", "app, public", &["app", "public"]),
            (
                "Search_Path",
                "App,\"Odd, One\" , x",
                &["app", "Odd, One", "x"],
            ),
            ("search_path", "\"$user\", public", &["$user", "public"]),
            ("search_path", "\"say \"\"hi\"\"\"", &["say \"hi\""]),
            ("search_path", "", &[""]),
            ("temp_tablespaces", "a,b", &["a", "b"]),
        ];
        for (name, value, expected) in rows {
            assert_eq!(elements(name, value), expected, "{name} = {value}");
        }
    }
}
