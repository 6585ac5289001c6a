//! The keys that exist and what each takes, as `config/default.toml` shows them.
//!
//! Judges one setting at a time: an unknown key, a wrong type, a number out of range, a word that is
//! none of the choices. Never looks at two settings together; that is [`super::check`]'s.
//! [`super::Config::load`] asks for every setting of every layer.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

use super::fault::Fault;
use super::layer::{FREE_MAP, Given, Setting};
use super::nearest::nearest;
use super::shown::{self, shown};

/// The whole numbers, with the least and the most that each may be.
pub(super) const RANGES: [(&str, i64, i64); 17] = [
    ("attempts.success_every", 1, 100_000),
    ("delivery.burst", 1, 10_000),
    ("delivery.max_in_flight", 1, 500),
    ("delivery.max_in_flight_total", 1, 100_000),
    ("delivery.max_open_bytes", 1 << 20, 64 << 30),
    ("delivery.max_open_deliveries", 100, 10_000_000),
    ("delivery.rate_per_second", 1, 10_000),
    ("delivery.shards", 0, 256),
    ("delivery.timeout_seconds", 1, 30),
    ("egress.host_max_in_flight", 1, 100_000),
    ("egress.host_rate_per_second", 1, 1_000_000),
    // Below what the producer may send: kafka::client's message.max.bytes.
    ("payload.max_event_bytes", 1_024, 8_000_000),
    ("shutdown.grace_seconds", 0, 3_600),
    ("shutdown.kill_after_seconds", 0, 7_200),
    ("topics.min_events_retention_hours", 0, 100_000),
    // -1 is the broker's default; 0 is refused with the section's other faults.
    ("topics.replication_factor", -1, 32_767),
    ("traces.sample_every", 0, 1_000_000),
];

/// The words that a key may have.
pub(super) const CHOICES: [(&str, &[&str]); 5] = [
    ("attempts.log", &["all", "failures", "off"]),
    ("connections.plaintext_secrets", &["accept", "reject"]),
    ("log.format", &["auto", "text", "json"]),
    ("retry.preset", &["", "standard-webhooks"]),
    ("traces.traceparent", &["off", "send"]),
];

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    List,
    /// Any librdkafka property: whatever stands on one line.
    Property,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "a text in quotes",
            Self::Integer => "a whole number",
            Self::List => "a list",
            Self::Property => "a text, a number, true or false",
        }
    }
}

/// Every key with what it takes.
#[derive(Clone, Debug)]
pub(super) struct Known {
    keys: BTreeMap<String, Kind>,
}

impl Known {
    /// From the tree of the defaults.
    pub(super) fn new(defaults: &Map<String, Value>) -> Self {
        let mut keys = BTreeMap::new();
        collect("", defaults, &mut keys);
        Self { keys }
    }

    /// The value to merge, or what is wrong with the setting.
    pub(super) fn judge(&self, setting: &Setting) -> Result<Value, Fault> {
        let kind = self.kind(setting)?;
        let value = self.typed(setting, kind)?;
        let key = setting.key();
        if let Some(&(_, least, most)) = RANGES.iter().find(|(name, ..)| *name == key) {
            let number = value.clone().into_int().unwrap_or(i64::MIN);
            if !(least..=most).contains(&number) {
                return Err(self.fault(
                    setting,
                    "out of range",
                    &format!("write {least} to {most}"),
                ));
            }
        }
        if let Some((_, choices)) = CHOICES.iter().find(|(name, _)| *name == key) {
            let word = value.clone().into_string().unwrap_or_default();
            if !choices.contains(&word.as_str()) {
                let all: Vec<_> = choices.iter().map(|word| format!("\"{word}\"")).collect();
                let mend = format!("write {}", all.join(" or "));
                return Err(self.fault(setting, "none of the choices", &mend));
            }
        }
        Ok(value)
    }

    /// A fault of this setting.
    pub(super) fn fault(&self, setting: &Setting, what: &str, mend: &str) -> Fault {
        Fault {
            value: Some(self.value_shown(setting)),
            origin: Some(setting.origin.clone()),
            ..Fault::new(setting.key(), what).mend(mend)
        }
    }

    /// The value for people; never that of a secret, nor of an unknown key that looks like one.
    fn value_shown(&self, setting: &Setting) -> String {
        let key = setting.key();
        let is_plain = self.keys.contains_key(&key);
        if !is_plain && shown::is_secret(&key) {
            return shown::REDACTED.to_owned();
        }
        match &setting.value {
            Given::Typed(value) => shown(value),
            Given::Text(text) => shown(&Value::from(text.as_str())),
        }
    }

    fn kind(&self, setting: &Setting) -> Result<Kind, Fault> {
        let path: Vec<_> = setting.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            [section, map, _] if [*section, *map] == FREE_MAP => return Ok(Kind::Property),
            ["catalog", "events" | "channels", _, "label"] => return Ok(Kind::Text),
            ["catalog", "events" | "channels", _, "aliases"] => return Ok(Kind::List),
            _ => {}
        }
        let key = setting.key();
        if let Some(kind) = self.keys.get(&key) {
            return Ok(*kind);
        }
        Err(self.unknown(setting, &key))
    }

    fn unknown(&self, setting: &Setting, key: &str) -> Fault {
        let below = format!("{key}.");
        let is_section = key == FREE_MAP.join(".")
            || key.starts_with("catalog.")
            || self.keys.keys().any(|known| known.starts_with(&below));
        if is_section {
            return self.fault(setting, "it is a section, not a value", "write keys below it");
        }
        if let Some((leaf, kind)) =
            self.keys.iter().find(|(leaf, _)| key.starts_with(&format!("{leaf}.")))
        {
            let mend = format!("{leaf} takes {}", kind.name());
            return self.fault(setting, "unknown key", &mend);
        }
        let keys: Vec<_> = self.keys.keys().map(String::as_str).collect();
        let mend = match nearest(key, &keys) {
            Some(near) => format!("did you mean {near}?"),
            None => self.section_meant(key),
        };
        self.fault(setting, "unknown key", &mend)
    }

    fn section_meant(&self, key: &str) -> String {
        let given = section(key);
        let sections: Vec<_> = self.keys.keys().map(|key| section(key)).collect();
        match nearest(given, &sections) {
            Some(near) if near != given => format!("did you mean the section [{near}]?"),
            Some(_) | None => "see config/default.toml for every key".to_owned(),
        }
    }

    fn typed(&self, setting: &Setting, kind: Kind) -> Result<Value, Fault> {
        let wrong = || self.fault(setting, "wrong type", &format!("it takes {}", kind.name()));
        match &setting.value {
            Given::Typed(value) if has_kind(value, kind) => Ok(value.clone()),
            Given::Typed(_) => Err(wrong()),
            Given::Text(text) => from_text(text, kind).ok_or_else(wrong),
        }
    }

    #[cfg(test)]
    fn integers(&self) -> Vec<&str> {
        let is_integer = |(_, kind): &(&String, &Kind)| **kind == Kind::Integer;
        self.keys.iter().filter(is_integer).map(|(key, _)| key.as_str()).collect()
    }
}

fn section(key: &str) -> &str {
    key.split_once('.').map_or(key, |(section, _)| section)
}

fn collect(above: &str, tree: &Map<String, Value>, keys: &mut BTreeMap<String, Kind>) {
    for (name, value) in tree {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let kind = match &value.kind {
            ValueKind::Table(inner) => {
                collect(&key, inner, keys);
                continue;
            }
            ValueKind::Array(_) => Kind::List,
            ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
                Kind::Integer
            }
            ValueKind::String(_) | ValueKind::Nil | ValueKind::Boolean(_) | ValueKind::Float(_) => {
                Kind::Text
            }
        };
        keys.insert(key, kind);
    }
}

fn has_kind(value: &Value, kind: Kind) -> bool {
    match (&value.kind, kind) {
        (ValueKind::String(_), Kind::Text | Kind::Property)
        | (ValueKind::I64(_), Kind::Integer | Kind::Property)
        | (ValueKind::Boolean(_) | ValueKind::Float(_), Kind::Property) => true,
        (ValueKind::Array(elements), Kind::List) => elements
            .iter()
            .all(|element| matches!(element.kind, ValueKind::String(_) | ValueKind::I64(_))),
        _ => false,
    }
}

/// A variable's text as what its key takes.
fn from_text(text: &str, kind: Kind) -> Option<Value> {
    match kind {
        Kind::Text | Kind::Property => Some(Value::from(text)),
        Kind::Integer => Some(Value::from(text.trim().parse::<i64>().ok()?)),
        Kind::List => {
            let elements = text.split(',').map(str::trim).filter(|element| !element.is_empty());
            Some(Value::from(elements.map(str::to_owned).collect::<Vec<_>>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layer;
    use super::*;

    fn known() -> Known {
        Known::new(&layer::parse_toml(super::super::DEFAULTS).unwrap())
    }

    fn fault(toml: &str) -> String {
        let settings = layer::from_toml(toml, "f.toml").unwrap();
        known().judge(&settings[0]).unwrap_err().to_string()
    }

    #[test]
    fn every_number_has_a_range_and_every_rule_a_key() {
        let known = known();
        assert_eq!(known.integers(), RANGES.map(|(key, ..)| key));
        assert!(CHOICES.iter().all(|(key, _)| known.keys.contains_key(*key)));
    }

    #[test]
    fn a_fault_names_key_value_origin_and_what_to_do() {
        for (toml, line) in [
            ("retri.x = 5", "retri.x = 5 (f.toml): unknown key; did you mean the section [retry]?"),
            ("delivery.burst = 0", "delivery.burst = 0 (f.toml): out of range; write 1 to 10000"),
            (
                "delivery.burts = 5",
                "delivery.burts = 5 (f.toml): unknown key; did you mean delivery.burst?",
            ),
            (
                "delivery.burst = '5'",
                "delivery.burst = \"5\" (f.toml): wrong type; it takes a whole number",
            ),
            (
                "delivery.burst.x = 5",
                "delivery.burst.x = 5 (f.toml): unknown key; delivery.burst takes a whole number",
            ),
            (
                "delivery = 5",
                "delivery = 5 (f.toml): it is a section, not a value; write keys below it",
            ),
            (
                "log.format = 'xml'",
                "log.format = \"xml\" (f.toml): none of the choices; write \"auto\" or \"text\" or \"json\"",
            ),
            (
                "retry.schedule = '5s'",
                "retry.schedule = \"5s\" (f.toml): wrong type; it takes a list",
            ),
        ] {
            assert_eq!(fault(toml), line);
        }
    }

    #[test]
    fn a_secret_is_not_shown_even_below_a_misspelt_key() {
        for toml in [
            "kafka.properties.sasl.password = ['s3cret']",
            "kafka.propertys.sasl.password = 's3cret'",
        ] {
            let line = fault(toml);
            assert!(line.contains("[redacted]") && !line.contains("s3cret"), "{line}");
        }
    }

    #[test]
    fn a_variable_becomes_what_its_key_takes() {
        assert_eq!(from_text("5", Kind::Integer).unwrap().kind, ValueKind::I64(5));
        assert!(from_text("five", Kind::Integer).is_none());
        let list = from_text("a, b,", Kind::List).unwrap().into_array().unwrap();
        assert_eq!(list.len(), 2);
        assert!(from_text("", Kind::List).unwrap().into_array().unwrap().is_empty());
    }
}
