//! Whether a server would start with other settings than it has: asked of the server itself, which changes nothing by that.
//!
//! A setting that sessions may change the server judges. What only takes effect at a start or a reload it judges nowhere
//! but there, so that is compared with the bounds that it tells. Whatever cannot be judged counts as taken.

use std::collections::BTreeMap;

use sqlx::{Connection, PgConnection};

use super::settings::set;
use super::{Class, Error};

/// Those of these settings that the server would not take, and why.
///
/// # Errors
/// Where the server cannot be asked.
pub async fn refused(
    connection: &mut PgConnection,
    settings: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut refused = BTreeMap::new();
    for (name, value) in settings {
        if let Some(why) = objection(connection, name, value).await? {
            refused.insert(name.clone(), why);
        }
    }
    Ok(refused)
}

async fn objection(
    connection: &mut PgConnection,
    name: &str,
    value: &str,
) -> Result<Option<String>, Error> {
    // an extension that is not loaded yet may define it
    if name.contains('.') {
        return Ok(None);
    }
    let Some(known) = look_up(connection, name).await? else {
        return objection_to_name(connection, name).await;
    };
    match known.context.as_str() {
        "internal" => Ok(Some(format!("parameter \"{name}\" cannot be changed"))),
        "user" => objection_of_server(connection, name, value).await,
        _ => Ok(known.objection(value)),
    }
}

/// A setting as the server describes it.
#[derive(Debug, Default)]
struct Known {
    name: String,
    context: String,
    vartype: String,
    min_val: Option<String>,
    max_val: Option<String>,
    enumvals: Option<Vec<String>>,
    unit: Option<String>,
}

/// The columns of [`Known`], in their order.
type Row = (
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<Vec<String>>,
    Option<String>,
);

async fn look_up(connection: &mut PgConnection, name: &str) -> Result<Option<Known>, Error> {
    let found = sqlx::query_as(
        "SELECT name, context, vartype, min_val, max_val, enumvals, unit FROM pg_catalog.pg_settings
         WHERE lower(name) = lower($1)",
    );
    let found: Option<Row> = found.bind(name).fetch_optional(connection).await?;
    let known = |(name, context, vartype, min_val, max_val, enumvals, unit)| Known {
        name,
        context,
        vartype,
        min_val,
        max_val,
        enumvals,
        unit,
    };
    Ok(found.map(known))
}

/// Some settings are listed to nobody but superusers; their names are known nevertheless.
async fn objection_to_name(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Option<String>, Error> {
    let shown = sqlx::query("SELECT pg_catalog.current_setting($1)")
        .bind(name)
        .execute(connection)
        .await;
    said(shown.map(drop).map_err(Error::from), &["42704"])
}

/// What the server says of a value of a setting that a role may have for its sessions.
async fn objection_of_server(
    connection: &mut PgConnection,
    name: &str,
    value: &str,
) -> Result<Option<String>, Error> {
    let mut attempt = connection.begin().await?;
    let result = set(&mut attempt, "CURRENT_USER", name, value).await;
    attempt.rollback().await?;
    // invalid_parameter_value, feature_not_supported
    said(result, &["22023", "0A000"])
}

/// The server's words, where they are of one of these kinds; others are no objection, unless the session is lost.
fn said(result: Result<(), Error>, objections: &[&str]) -> Result<Option<String>, Error> {
    let Err(error) = result else {
        return Ok(None);
    };
    match &error.server {
        Some(server) if objections.contains(&server.sqlstate.as_str()) => {
            let hint = server.hint.as_ref().map(|hint| format!("; {hint}"));
            Ok(Some(format!(
                "{}{}",
                server.message,
                hint.unwrap_or_default()
            )))
        }
        Some(_) if matches!(error.class, Class::Invalid | Class::Denied) => Ok(None),
        Some(_) | None => Err(error),
    }
}

/// Values of enumerations that the server takes and does not list, as those of versions before.
const UNLISTED: [&str; 3] = ["archive", "hot_standby", "debug"];

impl Known {
    /// What is wrong with a value, as far as what the server tells of the setting shows it.
    fn objection(&self, value: &str) -> Option<String> {
        let name = &self.name;
        let invalid = || format!("invalid value for parameter \"{name}\": \"{value}\"");
        match self.vartype.as_str() {
            "bool" => (!is_boolean(value))
                .then(|| format!("parameter \"{name}\" requires a Boolean value")),
            "enum" => {
                let listed = self.enumvals.as_deref().unwrap_or_default();
                let is = |known: &str| known.eq_ignore_ascii_case(value);
                let is_known = listed.iter().any(|known| is(known)) || UNLISTED.into_iter().any(is);
                // many were booleans once
                (!is_known && !is_boolean(value))
                    .then(|| format!("{}; Available values: {}.", invalid(), listed.join(", ")))
            }
            "integer" | "real" => match number(value, self.unit.as_deref()) {
                Some(number) => self.is_outside(number).then(|| self.outside(value)),
                None => Some(invalid()),
            },
            _ => None,
        }
    }

    fn is_outside(&self, number: f64) -> bool {
        let number = if self.vartype == "integer" {
            number.round()
        } else {
            number
        };
        let bound = |bound: &Option<String>| bound.as_ref().and_then(|text| text.parse().ok());
        let (least, most): (Option<f64>, Option<f64>) =
            (bound(&self.min_val), bound(&self.max_val));
        least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most)
    }

    fn outside(&self, value: &str) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (least, most) = (text(&self.min_val), text(&self.max_val));
        let unit = self
            .unit
            .as_ref()
            .map(|unit| format!(", in units of {unit}"));
        format!(
            "{value} is outside the valid range for parameter \"{}\" ({least} .. {most}{})",
            self.name,
            unit.unwrap_or_default()
        )
    }
}

/// As PostgreSQL reads one: any beginning of a word that means only one of the two.
fn is_boolean(value: &str) -> bool {
    let value = value.trim().to_lowercase();
    let begins = |word: &str| !value.is_empty() && word.starts_with(&value);
    ["true", "false", "yes", "no"].into_iter().any(begins)
        || ["on", "of", "off", "1", "0"].contains(&value.as_str())
}

/// A number in the unit of its setting; none where it is not a number, or of a unit that does not fit.
fn number(value: &str, unit: Option<&str>) -> Option<f64> {
    let value = value.trim();
    let is_of_number = |c: char| c.is_ascii_digit() || ".+-eE".contains(c);
    let end = value.find(|c| !is_of_number(c)).unwrap_or(value.len());
    let (number, of) = value.split_at(end);
    if number == "0" && of.starts_with(['x', 'X']) {
        let digits = of.get(1..)?;
        // what it means is left to the server
        return i64::from_str_radix(digits, 16).ok().map(|_| 0.0);
    }
    let number: f64 = number.parse().ok()?;
    let of = of.trim();
    if of.is_empty() {
        return Some(number);
    }
    let (of, in_) = (measure(of)?, measure(unit?)?);
    (of.kind == in_.kind).then_some(number * of.size / in_.size)
}

/// A unit, in the smallest one of its kind.
struct Measure {
    kind: Kind,
    size: f64,
}

#[derive(PartialEq)]
enum Kind {
    Memory,
    Time,
}

/// The unit of this name; that of a setting may be a multiple, such as `8kB`.
fn measure(unit: &str) -> Option<Measure> {
    let end = unit.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
    let (times, name) = unit.split_at(end);
    let times = if times.is_empty() {
        1.0
    } else {
        times.parse().ok()?
    };
    let (kind, size) = match name {
        "B" => (Kind::Memory, 1.0),
        "kB" => (Kind::Memory, 1024.0),
        "MB" => (Kind::Memory, 1_048_576.0),
        "GB" => (Kind::Memory, 1_073_741_824.0),
        "TB" => (Kind::Memory, 1_099_511_627_776.0),
        "us" => (Kind::Time, 1.0),
        "ms" => (Kind::Time, 1_000.0),
        "s" => (Kind::Time, 1_000_000.0),
        "min" => (Kind::Time, 60_000_000.0),
        "h" => (Kind::Time, 3_600_000_000.0),
        "d" => (Kind::Time, 86_400_000_000.0),
        _ => return None,
    };
    Some(Measure {
        kind,
        size: size * times,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(vartype: &str, bounds: (&str, &str), unit: &str) -> Known {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Known {
            name: "it".into(),
            vartype: vartype.into(),
            min_val: some(bounds.0),
            max_val: some(bounds.1),
            enumvals: Some(vec!["minimal".into(), "replica".into(), "logical".into()]),
            unit: some(unit),
            ..Known::default()
        }
    }

    #[test]
    fn values_are_compared_with_what_the_server_tells_of_the_setting() {
        let buffers = known("integer", ("16", "1073741823"), "8kB");
        let minutes = known("integer", ("30", "86400"), "s");
        let factor = known("real", ("0", "1"), "");
        let workers = known("integer", ("-1", "262143"), "");
        let level = known("enum", ("", ""), "");
        let flag = known("bool", ("", ""), "");
        let text = known("string", ("", ""), "");
        for (known, value, refused) in [
            (&buffers, "128MB", ""),
            (&buffers, "128kB", ""),
            (&buffers, "16", ""),
            (&buffers, " 1.5GB ", ""),
            (
                &buffers,
                "64 kB",
                "outside the valid range for parameter \"it\" (16 .. 1073741823, in units of 8kB)",
            ),
            (&buffers, "100TB", "outside"),
            (
                &buffers,
                "lots",
                "invalid value for parameter \"it\": \"lots\"",
            ),
            (&buffers, "128mb", "invalid"),
            (&buffers, "5min", "invalid"),
            (&buffers, "", "invalid"),
            (&minutes, "5min", ""),
            (&minutes, "1d", ""),
            (&minutes, "2d", "outside"),
            (&minutes, "100ms", "outside"),
            (&factor, "0.5", ""),
            (&factor, "1.5", "outside"),
            (&factor, "0.5s", "invalid"),
            (&workers, "-1", ""),
            (&workers, "-2", "outside"),
            (&workers, "0x10", ""),
            (&workers, "0xyz", "invalid"),
            (&workers, "1e3", ""),
            (&workers, "1-2", "invalid"),
            (&level, "Logical", ""),
            (&level, "hot_standby", ""),
            (
                &level,
                "none",
                "Available values: minimal, replica, logical.",
            ),
            (&flag, "ON", ""),
            (&flag, "of", ""),
            (&flag, "t", ""),
            (&flag, "o", "requires a Boolean value"),
            (&flag, "2", "requires"),
            (&flag, "", "requires"),
            (&text, "anything", ""),
        ] {
            let said = known.objection(value).unwrap_or_default();
            assert_eq!(said.is_empty(), refused.is_empty(), "{value}: {said}");
            assert!(said.contains(refused), "{value}: {said}");
        }
    }
}
