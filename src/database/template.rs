//! What a spec adds to a connection Secret: labels, annotations, and entries with variables in them. Pure.

use std::collections::BTreeMap;

use super::desired::invalid;
use crate::api::SecretTemplate;
use crate::reconcile::Block;

/// Every variable that a template may use.
pub const VARIABLES: [&str; 13] = [
    "url",
    "direct_url",
    "host",
    "direct_host",
    "port",
    "database",
    "database_escaped",
    "user",
    "user_escaped",
    "password",
    "password_escaped",
    "sslmode",
    "role",
];

/// The longest key of a Secret.
const LONGEST_KEY: usize = 253;

/// The longest name of a label or annotation, without its prefix, and the longest value of a label.
const LONGEST_NAME: usize = 63;

/// A template that can be filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Entries, with variables.
    pub data: BTreeMap<String, String>,
}

impl Template {
    /// Checks what a spec asks for; `field` says where it stands, `taken` are keys that every Secret has.
    pub fn of(asked: &SecretTemplate, field: &str, taken: &[&str]) -> Result<Self, Block> {
        let metadata = asked.metadata.clone().unwrap_or_default();
        for (name, value) in &metadata.labels {
            let field = format!("{field}.metadata.labels.{name}");
            check_name(name, &field)?;
            if !value.is_empty() && !is_word(value) {
                return Err(invalid(format!(
                    "{field}: a label's value is of at most {LONGEST_NAME} letters, digits, dots, dashes and \
                     underscores, and begins and ends with a letter or digit"
                )));
            }
        }
        for name in metadata.annotations.keys() {
            check_name(name, &format!("{field}.metadata.annotations.{name}"))?;
        }
        for (key, text) in &asked.data {
            let field = format!("{field}.data.{key}");
            check_key(key, &field, taken)?;
            // any value does for finding out whether there is one
            let known = |variable: &str| VARIABLES.contains(&variable).then(String::new);
            fill(text, known).map_err(|wrong| invalid(format!("{field}: {wrong}")))?;
        }
        Ok(Self {
            labels: metadata.labels,
            annotations: metadata.annotations,
            data: asked.data.clone(),
        })
    }
}

/// The text with every variable replaced, or what is wrong with it.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('(') {
            let (name, after) = after
                .split_once(')')
                .ok_or_else(|| format!("$({after} has no end; a dollar sign is written $$"))?;
            let value = value(name).ok_or_else(|| {
                let all = VARIABLES.join(", ");
                format!("there is no variable $({name}); there are {all}")
            })?;
            filled.push_str(&value);
            rest = after;
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn check_key(key: &str, field: &str, taken: &[&str]) -> Result<(), Block> {
    if taken.contains(&key) {
        return Err(invalid(format!(
            "{field}: every connection Secret has this key already; choose another one"
        )));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if key.is_empty() || key.len() > LONGEST_KEY || !key.chars().all(plain) {
        return Err(invalid(format!(
            "{field}: a key is of at most {LONGEST_KEY} letters, digits, dots, dashes and underscores"
        )));
    }
    Ok(())
}

/// The name of a label or annotation, as Kubernetes has it.
fn check_name(name: &str, field: &str) -> Result<(), Block> {
    let (prefix, own) = name
        .split_once('/')
        .map_or((None, name), |(p, own)| (Some(p), own));
    if prefix == Some("sepulki.dev") {
        return Err(invalid(format!(
            "{field}: what begins with sepulki.dev/ is the operator's"
        )));
    }
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let domain = |prefix: &str| {
        !prefix.is_empty()
            && prefix.len() <= LONGEST_KEY
            && prefix.chars().all(lower)
            && prefix.split('.').all(is_word)
    };
    if is_word(own) && prefix.is_none_or(domain) {
        return Ok(());
    }
    Err(invalid(format!(
        "{field}: this is no name of a label or annotation, such as team or example.com/team"
    )))
}

/// Letters, digits, dots, dashes and underscores, the first and the last a letter or digit.
fn is_word(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= LONGEST_NAME
        && text.chars().all(plain)
        && ends(text.chars().next())
        && ends(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(asked: Value) -> Result<Template, String> {
        let asked = serde_json::from_value(asked).unwrap();
        Template::of(&asked, "t", &["PGHOST"]).map_err(|block| block.message)
    }

    #[test]
    fn variables_are_filled_in_and_dollars_stay() {
        let value = |name: &str| (name == "port").then(|| "5432".to_owned());
        let rows = [
            ("", Ok("")),
            ("plain", Ok("plain")),
            ("$(port)", Ok("5432")),
            ("a$(port)b$(port)", Ok("a5432b5432")),
            ("$$(port)", Ok("$(port)")),
            ("$$$(port)", Ok("$5432")),
            ("5$ $", Ok("5$ $")),
            ("$port", Ok("$port")),
            ("$(port", Err("$(port has no end")),
            ("$()", Err("there is no variable $()")),
            ("$(Port)", Err("there is no variable $(Port)")),
        ];
        for (text, expected) in rows {
            match (fill(text, value), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_published_is_told_with_its_field() {
        let label = |name: &str, value: &str| json!({"metadata": {"labels": {name: value}}});
        let long = "x".repeat(64);
        let rows = [
            (
                json!({"data": {"URL": "$(urls)"}}),
                "t.data.URL: there is no variable $(urls); there are url, direct_url,",
            ),
            (
                json!({"data": {"PGHOST": "x"}}),
                "t.data.PGHOST: every connection Secret has this key already",
            ),
            (
                json!({"data": {"a b": "x"}}),
                "t.data.a b: a key is of at most",
            ),
            (json!({"data": {"": "x"}}), "t.data.: a key is of at most"),
            (
                label("team", "a b"),
                "t.metadata.labels.team: a label's value",
            ),
            (
                label("team", &long),
                "t.metadata.labels.team: a label's value",
            ),
            (
                label("-team", "a"),
                "t.metadata.labels.-team: this is no name",
            ),
            (
                label("Example.com/team", "a"),
                "t.metadata.labels.Example.com/team: this is no name",
            ),
            (
                label("/team", "a"),
                "t.metadata.labels./team: this is no name",
            ),
            (
                label("a/b/c", "a"),
                "t.metadata.labels.a/b/c: this is no name",
            ),
            (
                json!({"metadata": {"annotations": {"sepulki.dev/form": "x"}}}),
                "t.metadata.annotations.sepulki.dev/form: what begins with sepulki.dev/ is the operator's",
            ),
        ];
        for (asked, expected) in rows {
            let message = checked(asked).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn what_kubernetes_takes_is_taken() {
        let asked = json!({
            "metadata": {
                "labels": {"team": "robots", "example.com/Tier_1": "", "a": "A.b-c_9"},
                "annotations": {"example.com/note": "any text: $(url)"},
            },
            "data": {"DATABASE_URL_DIRECT": "$(direct_url)", "tls.crt": "x"},
        });
        let template = checked(asked).unwrap();
        assert_eq!(template.labels.len(), 3);
        assert_eq!(template.annotations["example.com/note"], "any text: $(url)");
        assert_eq!(template.data["DATABASE_URL_DIRECT"], "$(direct_url)");
        assert_eq!(checked(json!({})), Ok(Template::default()));
    }
}
