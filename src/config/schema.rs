//! The JSON Schema of a configuration file, made from `config/default.toml` and the rules of [`super::known`].
//!
//! Restates what [`super::Config::load`] judges by, for editors; decides nothing. `barnabas schema config` prints it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::DEFAULTS;
use super::known::{CHOICES, RANGES};
use super::layer::{self, FREE_MAP};

/// The lists of names that an operator may add to.
const CATALOG: [&str; 2] = ["catalog.events", "catalog.channels"];

/// The schema, draft 2020-12.
///
/// # Panics
/// Never: the defaults are compiled in, and a test reads them.
#[must_use]
pub fn schema() -> Value {
    let defaults = layer::parse_toml(DEFAULTS).expect("the defaults are TOML");
    let values = defaults.into_iter().map(|(name, value)| (name, plain(value))).collect();
    let mut schema = object("", &values, &notes(DEFAULTS));
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!("urn:barnabas:schema:config:1");
    schema["title"] = json!("Configuration of Barnabas");
    schema["description"] = json!("What a file of --config may hold. Every key may be left out.");
    schema
}

fn object(path: &str, values: &Map<String, Value>, notes: &BTreeMap<String, String>) -> Value {
    let mut properties = Map::new();
    for (name, value) in values {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let mut schema = match value.as_object() {
            Some(inner) if key == FREE_MAP.join(".") => free_map(inner),
            Some(inner) if CATALOG.contains(&key.as_str()) => names(inner),
            Some(inner) => object(&key, inner, notes),
            None => leaf(&key, value),
        };
        if let Some(note) = notes.get(&key) {
            schema["description"] = json!(note);
        }
        properties.insert(name.clone(), schema);
    }
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn free_map(defaults: &Map<String, Value>) -> Value {
    let any = json!({"type": ["string", "integer", "number", "boolean"]});
    json!({"type": "object", "additionalProperties": any, "default": defaults})
}

fn names(defaults: &Map<String, Value>) -> Value {
    let aliases = json!({"type": "array", "items": {"type": "string"}});
    let name = json!({"type": "object", "additionalProperties": false,
        "properties": {"label": {"type": "string"}, "aliases": aliases}});
    json!({"type": "object", "additionalProperties": name, "default": defaults})
}

fn leaf(key: &str, default: &Value) -> Value {
    let mut schema = match default {
        Value::Number(_) => json!({"type": "integer"}),
        Value::Array(elements) => {
            let kind = if elements.iter().any(Value::is_number) { "integer" } else { "string" };
            json!({"type": "array", "items": {"type": kind}})
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Object(_) => {
            json!({"type": "string"})
        }
    };
    if let Some((_, least, most)) = RANGES.iter().find(|(name, ..)| *name == key) {
        schema["minimum"] = json!(least);
        schema["maximum"] = json!(most);
    }
    if let Some((_, choices)) = CHOICES.iter().find(|(name, _)| *name == key) {
        schema["enum"] = json!(choices);
    }
    schema["default"] = default.clone();
    schema
}

/// The comment above each key and section.
fn notes(toml: &str) -> BTreeMap<String, String> {
    let mut notes = BTreeMap::new();
    let mut section = String::new();
    let mut note: Vec<&str> = Vec::new();
    for line in toml.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            note.push(comment.trim());
            continue;
        }
        let key = if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            Some(section.clone())
        } else {
            line.split_once('=').map(|(name, _)| format!("{section}.{}", name.trim()))
        };
        let said = std::mem::take(&mut note).join(" ");
        if let Some(key) = key.filter(|_| !said.is_empty()) {
            notes.insert(key, said);
        }
    }
    notes
}

/// A value of the `config` crate as JSON.
fn plain(value: config::Value) -> Value {
    use config::ValueKind;
    match value.kind {
        ValueKind::String(text) => json!(text),
        ValueKind::I64(number) => json!(number),
        ValueKind::Boolean(is_set) => json!(is_set),
        ValueKind::Array(elements) => elements.into_iter().map(plain).collect(),
        ValueKind::Table(inner) => {
            Value::Object(inner.into_iter().map(|(name, value)| (name, plain(value))).collect())
        }
        ValueKind::Nil
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of a schema that hold a value.
    fn leaves<'a>(path: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let key = format!("{path}/{name}");
            if inner["properties"].is_object() {
                leaves(&key, inner, found);
            } else {
                found.push((key, inner));
            }
        }
    }

    #[test]
    fn every_key_is_explained_and_has_its_default() {
        let schema = schema();
        let mut found = Vec::new();
        leaves("", &schema, &mut found);
        assert!(found.len() > 30, "{found:?}");
        for (key, inner) in found {
            assert!(!inner["default"].is_null(), "{key} has a default");
            let is_list_of_names = key.starts_with("/catalog/");
            assert!(is_list_of_names || inner["description"].is_string(), "{key} is explained");
        }
        let burst = &schema["properties"]["delivery"]["properties"]["burst"];
        let expected = json!({"type": "integer", "minimum": 1, "maximum": 10_000, "default": 50,
            "description": "How many attempts may come at once after a pause. 1-10000."});
        assert_eq!(*burst, expected);
    }
}
