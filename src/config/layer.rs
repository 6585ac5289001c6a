//! One layer of the configuration, read into settings: a TOML file or the environment.
//!
//! Reads and names; never judges a key or a value beyond its syntax. [`super::Config::load`] reads
//! the layers and has them judged by [`super::known`].

use std::ffi::OsString;
use std::path::Path;

use config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::fault::Fault;

/// How our variables begin.
const ENVIRONMENT_PREFIX: &str = "BARNABAS_";
/// Between the parts of a key in a variable's name. A variable without it is not a setting.
const ENVIRONMENT_SEPARATOR: &str = "__";

/// Where any key may stand, dots and all.
pub(super) const FREE_MAP: [&str; 2] = ["kafka", "properties"];

/// One value that a user gave.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) path: Vec<String>,
    pub(super) value: Given,
    /// The file or the variable.
    pub(super) origin: String,
}

/// A value as its layer has it.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// With the type that it was written with.
    Typed(Value),
    /// A variable's text, whose type the key decides.
    Text(String),
}

impl Setting {
    /// The key as people write it.
    pub(super) fn key(&self) -> String {
        self.path.join(".")
    }
}

/// Settings that may be merged: a tree for the `config` crate to lay over others.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    tree: Map<String, Value>,
}

impl Layer {
    /// A whole tree.
    pub(super) fn of(tree: Map<String, Value>) -> Self {
        Self { tree }
    }

    /// Puts a value at its place.
    pub(super) fn put(&mut self, path: &[String], value: Value) {
        put(&mut self.tree, path, value);
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.tree.clone())
    }
}

fn put(tree: &mut Map<String, Value>, path: &[String], value: Value) {
    let [first, rest @ ..] = path else { return };
    if rest.is_empty() {
        tree.insert(first.clone(), value);
        return;
    }
    let place = tree.entry(first.clone()).or_default();
    if !matches!(place.kind, ValueKind::Table(_)) {
        place.kind = ValueKind::Table(Map::new());
    }
    if let ValueKind::Table(inner) = &mut place.kind {
        put(inner, rest, value);
    }
}

/// The tree of a TOML text.
pub(super) fn parse_toml(text: &str) -> Result<Map<String, Value>, config::ConfigError> {
    File::from_str(text, FileFormat::Toml).collect()
}

/// Reads a file's settings.
pub(super) fn from_file(path: &Path) -> Result<Vec<Setting>, Fault> {
    let origin = path.display().to_string();
    let fault = |what: String, mend: &str| Fault {
        origin: Some(origin.clone()),
        ..Fault::new("", what).mend(mend)
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        fault(format!("the file cannot be read: {error}"), "check --config and BARNABAS_CONFIG")
    })?;
    from_toml(&text, &origin)
        .map_err(|error| fault(without_source(&error.to_string()), "mend the file's syntax"))
}

/// A text's settings, in the order of their keys.
pub(super) fn from_toml(text: &str, origin: &str) -> Result<Vec<Setting>, config::ConfigError> {
    let mut settings = Vec::new();
    flatten(&mut Vec::new(), &parse_toml(text)?, origin, &mut settings);
    settings.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(settings)
}

/// What the parser says, without the lines that it quotes: a secret may stand in them.
fn without_source(error: &str) -> String {
    let said = error.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains('|'));
    said.collect::<Vec<_>>().join(": ")
}

fn flatten(
    path: &mut Vec<String>,
    tree: &Map<String, Value>,
    origin: &str,
    settings: &mut Vec<Setting>,
) {
    for (key, value) in tree {
        path.push(key.clone());
        if let ValueKind::Table(inner) = &value.kind
            && !inner.is_empty()
        {
            flatten(path, inner, origin, settings);
        } else {
            let value = Given::Typed(value.clone());
            settings.push(Setting { path: with_free_key(path), value, origin: origin.to_owned() });
        }
        path.pop();
    }
}

/// Below the free map the rest of the path is one key: `security.protocol = …` needs no quotes.
fn with_free_key(path: &[String]) -> Vec<String> {
    let (head, rest) = path.split_at(path.len().min(FREE_MAP.len()));
    if head == FREE_MAP && !rest.is_empty() {
        return [head, &[rest.join(".")]].concat();
    }
    path.to_vec()
}

/// The settings of an environment, in the order of the variables' names.
pub(super) fn from_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> (Vec<Setting>, Vec<Fault>) {
    let mut settings = Vec::new();
    let mut faults = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(ENVIRONMENT_PREFIX)) else {
            continue;
        };
        let rest = &name[ENVIRONMENT_PREFIX.len()..];
        if !rest.contains(ENVIRONMENT_SEPARATOR) {
            continue;
        }
        let path = variable_path(rest);
        let origin = name.to_owned();
        match value.into_string() {
            Ok(text) => settings.push(Setting { path, value: Given::Text(text), origin }),
            Err(_) => faults.push(Fault {
                origin: Some(origin),
                ..Fault::new(path.join("."), "the variable is not UTF-8")
            }),
        }
    }
    settings.sort_by(|one, other| one.origin.cmp(&other.origin));
    (settings, faults)
}

/// The key that a variable stands for. Below the free map a `_` is a dot, because no librdkafka property has a `_`.
fn variable_path(name: &str) -> Vec<String> {
    let name = name.to_ascii_lowercase();
    let parts: Vec<_> = name.split(ENVIRONMENT_SEPARATOR).map(str::to_owned).collect();
    let (head, rest) = parts.split_at(parts.len().min(FREE_MAP.len()));
    if head == FREE_MAP && !rest.is_empty() {
        return [head, &[rest.join(".").replace('_', ".")]].concat();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|setting| setting.path.join("/")).collect()
    }

    fn environment(names: &[&str]) -> Vec<Setting> {
        let variables = names.iter().map(|name| (OsString::from(name), OsString::from("x")));
        from_environment(variables).0
    }

    #[test]
    fn only_variables_with_a_section_are_settings() {
        let names = ["BARNABAS_CONFIG", "BARNABAS_TEST_BOOTSTRAP", "PATH", "OTHER__KEY"];
        assert!(environment(&names).is_empty());
        let settings = environment(&["BARNABAS_DELIVERY__RATE_PER_SECOND"]);
        assert_eq!(keys(&settings), ["delivery/rate_per_second"]);
        assert_eq!(settings[0].origin, "BARNABAS_DELIVERY__RATE_PER_SECOND");
    }

    #[test]
    fn a_property_is_named_with_dots() {
        for name in [
            "BARNABAS_KAFKA__PROPERTIES__SASL_USERNAME",
            "BARNABAS_KAFKA__PROPERTIES__SASL__USERNAME",
        ] {
            assert_eq!(keys(&environment(&[name])), ["kafka/properties/sasl.username"]);
        }
        let file = "[kafka.properties]\nsasl.username = 'x'\n\"ssl.ca.location\" = 'y'\n";
        let settings = from_toml(file, "f").unwrap();
        assert_eq!(
            keys(&settings),
            ["kafka/properties/sasl.username", "kafka/properties/ssl.ca.location"]
        );
    }

    #[test]
    fn an_empty_table_is_a_setting_too() {
        assert_eq!(keys(&from_toml("[nonsense]\n", "f").unwrap()), ["nonsense"]);
    }

    #[test]
    fn the_text_of_a_broken_file_is_not_repeated() {
        let error = from_toml("[kafka.properties]\nsasl.password = 's3cret\n", "f").unwrap_err();
        let said = without_source(&error.to_string());
        assert!(said.contains("line 2") && !said.contains("s3cret"), "{said}");
    }
}
