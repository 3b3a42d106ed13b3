//! As much of OpenAPI as Neon's description uses, and one rule more: what is not described is
//! not there.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A description of an API.
pub(crate) struct Description {
    pub(crate) document: Value,
}

/// The properties that an object may have; `None` where it may have any.
type Known<'a> = Option<BTreeSet<&'a str>>;

impl Description {
    pub(crate) fn parse(yaml: &str) -> Self {
        Self {
            document: serde_saphyr::from_str(yaml).unwrap(),
        }
    }

    /// All routes with their methods.
    pub(crate) fn routes(&self) -> Vec<(String, BTreeSet<String>)> {
        let routes = self.document["paths"].as_object().unwrap().iter();
        routes
            .map(|(route, item)| {
                let methods = item.as_object().unwrap().keys().cloned().collect();
                (route.clone(), methods)
            })
            .collect()
    }

    /// The route of a path; one without parameters goes before one with.
    pub(crate) fn route(&self, path: &str) -> Option<String> {
        let path: Vec<&str> = path.split('?').next()?.split('/').collect();
        let fits = |route: &&String| {
            let parts: Vec<&str> = route.split('/').collect();
            parts.len() == path.len()
                && parts
                    .iter()
                    .zip(&path)
                    .all(|(part, is)| part.starts_with('{') || part == is)
        };
        let routes = self.document["paths"].as_object()?.keys();
        routes
            .filter(fits)
            .min_by_key(|route| route.matches('{').count())
            .cloned()
    }

    /// What is wrong with an answer.
    pub(crate) fn check(&self, method: &str, path: &str, status: u16, body: &Value) -> Vec<String> {
        let Some(route) = self.route(path) else {
            return vec![format!("{path} is not described")];
        };
        let responses = &self.document["paths"][&route][method]["responses"];
        let response = match (&responses[status.to_string()], &responses["default"]) {
            (Value::Null, default) if status >= 400 => default,
            (described, _) => described,
        };
        let response = self.resolve(response);
        if response.is_null() {
            return vec![format!("{method} {route} has no status {status}")];
        }
        let schema = &response["content"]["application/json"]["schema"];
        match (schema, body) {
            (Value::Null, Value::Null) => Vec::new(),
            (Value::Null, _) => vec!["a body that is not described".to_owned()],
            (_, Value::Null) => vec!["no body".to_owned()],
            (schema, body) => {
                let mut complaints = Vec::new();
                self.value(schema, body, "", &mut complaints);
                complaints
            }
        }
    }

    /// Follows a reference.
    pub(crate) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        while let Some(reference) = schema["$ref"].as_str() {
            schema = self.document.pointer(&reference[1..]).expect(reference);
        }
        schema
    }

    fn value(&self, schema: &Value, value: &Value, at: &str, complaints: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        for part in parts(schema, "allOf") {
            self.value_of_part(part, value, at, complaints);
        }
        self.shape(schema, value, at, complaints);
        if let (Some(object), Some(known)) = (value.as_object(), self.known(schema)) {
            let unknown = object.keys().filter(|key| !known.contains(key.as_str()));
            complaints.extend(unknown.map(|key| format!("{at}/{key} is not described")));
        }
    }

    /// One of several schemas that hold together: what it does not know another may.
    fn value_of_part(&self, schema: &Value, value: &Value, at: &str, complaints: &mut Vec<String>) {
        let schema = self.resolve(schema);
        for part in parts(schema, "allOf") {
            self.value_of_part(part, value, at, complaints);
        }
        self.shape(schema, value, at, complaints);
    }

    fn shape(&self, schema: &Value, value: &Value, at: &str, complaints: &mut Vec<String>) {
        let fits = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some(other) => panic!("type {other} is not understood"),
            None => true,
        };
        if !fits {
            complaints.push(format!("{at} is no {}: {value}", schema["type"]));
        }
        match value {
            Value::Object(object) => self.object(schema, object, at, complaints),
            Value::Array(items) if schema["items"].is_object() => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&schema["items"], item, &format!("{at}/{index}"), complaints);
                }
            }
            Value::String(text) => complaints
                .extend(wrong_text(schema, text).map(|what| format!("{at} {what}: {text:?}"))),
            Value::Number(number) => {
                let number = number.as_f64().unwrap();
                let below = schema["minimum"]
                    .as_f64()
                    .is_some_and(|least| number < least);
                let above = schema["maximum"].as_f64().is_some_and(|most| number > most);
                if below || above {
                    complaints.push(format!("{at} is out of bounds: {number}"));
                }
            }
            Value::Array(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn object(
        &self,
        schema: &Value,
        object: &Map<String, Value>,
        at: &str,
        complaints: &mut Vec<String>,
    ) {
        for key in schema["required"].as_array().into_iter().flatten() {
            let key = key.as_str().unwrap();
            if !object.contains_key(key) {
                complaints.push(format!("{at}/{key} is missing"));
            }
        }
        for (key, value) in object {
            let described = [&schema["properties"][key], &schema["additionalProperties"]];
            if let Some(described) = described.into_iter().find(|schema| schema.is_object()) {
                self.value(described, value, &format!("{at}/{key}"), complaints);
            }
        }
    }

    fn known<'a>(&'a self, schema: &'a Value) -> Known<'a> {
        let schema = self.resolve(schema);
        let open = &schema["additionalProperties"];
        let described = schema["properties"].as_object();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut parts = parts(schema, "allOf").peekable();
        // An object of which nothing is said is anything.
        if open.is_object() || *open == true || (described.is_none() && parts.peek().is_none()) {
            return None;
        }
        known.extend(described.into_iter().flatten().map(|(key, _)| key.as_str()));
        for part in parts {
            known.extend(self.known(part)?);
        }
        Some(known)
    }
}

pub(crate) fn parts<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    schema[key].as_array().into_iter().flatten()
}

/// What is wrong with a text.
fn wrong_text(schema: &Value, text: &str) -> Option<&'static str> {
    let length = u64::try_from(text.chars().count()).unwrap();
    if schema["enum"]
        .as_array()
        .is_some_and(|known| !known.iter().any(|one| one == text))
    {
        return Some("is none of the described values");
    }
    if schema["minLength"]
        .as_u64()
        .is_some_and(|least| length < least)
        || schema["maxLength"]
            .as_u64()
            .is_some_and(|most| length > most)
    {
        return Some("has a wrong length");
    }
    match schema["format"].as_str() {
        Some("date-time") if text.parse::<jiff::Timestamp>().is_err() => Some("is no date-time"),
        Some("uuid") if uuid::Uuid::try_parse(text).is_err() => Some("is no UUID"),
        _ => None,
    }
}
