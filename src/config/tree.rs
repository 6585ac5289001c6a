//! The merged tree of all layers, and its reading into [`Config`].
//!
//! Merges with the `config` crate and says whether one value fits the type of its place. Judges no
//! meaning. [`Config::load`] fills it layer by layer.

use config::{Map, Source, Value, ValueKind};
use serde::Deserialize;

use super::Config;
use super::layer::{Layer, Setting};

/// What a value of such a key is written like, where its type is narrower than text.
const HINTS: [(&str, &str); 4] = [
    ("admin.listen", "write an address and a port, such as 127.0.0.1:8080, or nothing"),
    ("egress.allow", "write networks, such as 10.20.0.0/16 or 192.0.2.7/32"),
    ("egress.ports", "write ports from 1 to 65535, such as [443, 8443]"),
    ("telemetry.listen", "write an address and a port, such as 127.0.0.1:9464"),
];

/// The end of the keys whose empty text means that they are not set.
const OPTIONAL_END: &str = "_file";

/// Layers laid over each other.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// The lowest, against which each setting is tried alone.
    defaults: Layer,
    above: Vec<Layer>,
}

impl Tree {
    /// With the defaults alone.
    pub(super) fn new(defaults: Map<String, Value>) -> Self {
        Self { defaults: Layer::of(defaults), above: Vec::new() }
    }

    /// Adds a layer above the others.
    pub(super) fn lay_over(&mut self, settings: &[(Setting, Value)]) {
        let mut layer = Layer::default();
        for (setting, value) in settings {
            layer.put(&setting.path, value.clone());
        }
        self.above.push(layer);
    }

    /// Why a value does not fit its place, with what to do.
    pub(super) fn refusal(
        &self,
        setting: &Setting,
        value: &Value,
    ) -> Option<(String, &'static str)> {
        let mut alone = Layer::default();
        alone.put(&setting.path, value.clone());
        let error = read(&self.defaults, &[alone]).err()?;
        let key = setting.key();
        let hint = HINTS.iter().find(|(hinted, _)| *hinted == key);
        let mend = hint.map_or("see config/default.toml", |(_, hint)| hint);
        Some((innermost(error), mend))
    }

    /// The configuration that it makes.
    pub(super) fn read(&self) -> Result<Config, config::ConfigError> {
        read(&self.defaults, &self.above)
    }
}

fn read(defaults: &Layer, above: &[Layer]) -> Result<Config, config::ConfigError> {
    let mut builder = config::Config::builder().add_source(defaults.clone());
    for layer in above {
        builder = builder.add_source(layer.clone());
    }
    let mut merged = builder.build()?.collect()?;
    leave_out_unset(&mut merged);
    label_names(&mut merged);
    Config::deserialize(Value::from(merged))
}

/// TOML has no null: an optional path that is empty is not there.
fn leave_out_unset(tree: &mut Map<String, Value>) {
    tree.retain(|key, value| {
        if let ValueKind::Table(inner) = &mut value.kind {
            leave_out_unset(inner);
        }
        let is_empty = matches!(&value.kind, ValueKind::String(text) if text.is_empty());
        !(is_empty && key.ends_with(OPTIONAL_END))
    });
}

/// Gives an empty label to every name that has none, so that [`super::check`] can tell it among the other faults.
fn label_names(tree: &mut Map<String, Value>) {
    let Some(catalog) = tree.get_mut("catalog").and_then(table) else { return };
    for list in catalog.values_mut().filter_map(table) {
        for name in list.values_mut().filter_map(table) {
            name.entry("label".to_owned()).or_insert_with(|| Value::from(""));
        }
    }
}

fn table(value: &mut Value) -> Option<&mut Map<String, Value>> {
    if let ValueKind::Table(inner) = &mut value.kind { Some(inner) } else { None }
}

/// The reason alone; key and origin stand in the fault already.
fn innermost(error: config::ConfigError) -> String {
    if let config::ConfigError::At { error, .. } = error {
        return innermost(*error);
    }
    if let config::ConfigError::Type { unexpected, expected, .. } = error {
        return format!("{unexpected} where {expected} is expected");
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULTS, layer};
    use super::*;

    fn refusal(toml: &str) -> Option<String> {
        let setting = layer::from_toml(toml, "f").unwrap().remove(0);
        let layer::Given::Typed(value) = setting.value.clone() else { return None };
        let tree = Tree::new(layer::parse_toml(DEFAULTS).unwrap());
        tree.refusal(&setting, &value).map(|(what, mend)| format!("{what}; {mend}"))
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_an_example() {
        for (toml, part) in [
            ("egress.allow = ['10.0.0.0/33']", "10.20.0.0/16"),
            ("egress.ports = [70000]", "65535"),
            ("telemetry.listen = 'localhost'", "127.0.0.1:9464"),
        ] {
            let said = refusal(toml).unwrap();
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(refusal("egress.allow = ['10.0.0.0/8']"), None);
        assert_eq!(refusal("kafka.properties.linger.ms = 5"), None);
    }

    #[test]
    fn an_empty_file_name_is_none() {
        let tree = Tree::new(layer::parse_toml(DEFAULTS).unwrap());
        assert_eq!(tree.read().unwrap().egress.ca_file, None);
    }
}
