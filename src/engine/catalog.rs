//! The names of events and channels, as data.
//!
//! An operator can add names and aliases; nothing else in the code knows a name, except that
//! [`FAILURE_EVENT`] alone carries an error message. A name is worked with as its [`NameIndex`].

use std::collections::BTreeMap;

use serde::Deserialize;

/// How many names each of the two lists may hold: a set of names is one 64-bit word.
pub const MAX_NAMES: usize = 64;

/// The event whose payload carries `error_message`.
pub const FAILURE_EVENT: &str = "message_failure";

/// The section `[catalog]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogConfig {
    /// Event names, each with its label for people and its aliases.
    pub events: BTreeMap<String, NameConfig>,
    /// Channel names (`properties.message_type`), likewise.
    pub channels: BTreeMap<String, NameConfig>,
}

/// One name of the catalog.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameConfig {
    /// What people read in the console, such as "Message open".
    pub label: String,
    /// Other names for the same thing in events; what is delivered carries the name itself.
    #[serde(default)]
    pub aliases: Vec<String>,
}

impl Default for CatalogConfig {
    fn default() -> Self {
        let name = |label: &str, aliases: &[&str]| NameConfig {
            label: label.to_owned(),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        };
        let events = [
            ("message_send", name("Message send", &[])),
            ("message_delivery", name("Message delivery", &[])),
            ("message_open", name("Message open", &[])),
            ("message_click", name("Message click", &[])),
            (FAILURE_EVENT, name("Message failure", &["message_fail"])),
            ("message_unsubscribe", name("Message unsubscribe", &[])),
        ];
        let channels = [
            ("mobile_push", name("Mobile push", &[])),
            ("web_push", name("Web push", &[])),
            ("in_app", name("In-app", &[])),
            ("on_site", name("On-site", &[])),
            ("inbox", name("Inbox", &[])),
            ("email", name("Email", &[])),
            ("sms", name("SMS", &[])),
            ("webhook", name("Webhook", &[])),
        ];
        let own = |(key, value): (&str, NameConfig)| (key.to_owned(), value);
        Self {
            events: events.into_iter().map(own).collect(),
            channels: channels.into_iter().map(own).collect(),
        }
    }
}

/// Why a catalog cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Too many names.
    #[error("{list} has {count} names; at most {MAX_NAMES} are possible")]
    TooMany {
        /// `events` or `channels`.
        list: &'static str,
        /// How many it has.
        count: usize,
    },
    /// No name at all.
    #[error("{0} is empty: nothing could ever be delivered")]
    Empty(&'static str),
    /// A name or alias that stands twice.
    #[error("{list}: the name `{name}` stands twice")]
    Doubled {
        /// `events` or `channels`.
        list: &'static str,
        /// The name.
        name: String,
    },
    /// A name with other characters than allowed.
    #[error("{list}: `{name}` is not a name (1-64 of a-z, 0-9 and _)")]
    BadName {
        /// `events` or `channels`.
        list: &'static str,
        /// The name.
        name: String,
    },
}

/// The place of a name in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameIndex(u8);

/// A set of names of one list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameSet(u64);

impl NameSet {
    /// Every name there can be.
    pub const ALL: Self = Self(u64::MAX);

    /// Whether the name is in it.
    #[must_use]
    pub const fn contains(self, name: NameIndex) -> bool {
        self.0 >> name.0 & 1 == 1
    }

    /// Whether no name is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<NameIndex> for NameSet {
    fn from_iter<I: IntoIterator<Item = NameIndex>>(names: I) -> Self {
        Self(names.into_iter().fold(0, |bits, name| bits | 1 << name.0))
    }
}

/// One list of names with their aliases.
#[derive(Clone, Debug)]
pub struct Names {
    /// In the order of their index.
    names: Vec<Name>,
    /// Names and aliases, sorted, for the look-up of every event.
    index: Vec<(Box<str>, NameIndex)>,
}

/// One name.
#[derive(Clone, Debug)]
pub struct Name {
    /// What is delivered.
    pub name: Box<str>,
    /// What people read.
    pub label: Box<str>,
}

impl Names {
    fn new(
        list: &'static str,
        config: &BTreeMap<String, NameConfig>,
        faults: &mut Vec<CatalogError>,
    ) -> Self {
        if config.is_empty() {
            faults.push(CatalogError::Empty(list));
        }
        if config.len() > MAX_NAMES {
            faults.push(CatalogError::TooMany { list, count: config.len() });
        }
        let mut names = Vec::with_capacity(config.len());
        let mut index: Vec<(Box<str>, NameIndex)> = Vec::new();
        for (place, (name, details)) in (0..64_u8).zip(config) {
            for key in std::iter::once(name).chain(&details.aliases) {
                if !is_name(key) {
                    faults.push(CatalogError::BadName { list, name: key.clone() });
                }
                index.push((key.as_str().into(), NameIndex(place)));
            }
            names.push(Name { name: name.as_str().into(), label: details.label.as_str().into() });
        }
        index.sort();
        for pair in index.windows(2) {
            if pair[0].0 == pair[1].0 {
                faults.push(CatalogError::Doubled { list, name: pair[0].0.to_string() });
            }
        }
        Self { names, index }
    }

    /// The index of a name or an alias.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<NameIndex> {
        let place = self.index.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        Some(self.index[place].1)
    }

    /// The name itself, for what is delivered.
    #[must_use]
    pub fn name(&self, index: NameIndex) -> &str {
        &self.names[usize::from(index.0)].name
    }

    /// All names in order.
    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.names.iter()
    }

    /// What people read in place of these names.
    #[must_use]
    pub fn labels(&self, names: &[String]) -> Vec<String> {
        let is_named = |name: &&Name| names.iter().any(|wanted| **wanted == *name.name);
        self.names.iter().filter(is_named).map(|name| name.label.to_string()).collect()
    }

    /// How people call a name; one that is not here as it is.
    #[must_use]
    pub fn label_of<'a>(&'a self, name: &'a str) -> &'a str {
        self.names.iter().find(|known| *known.name == *name).map_or(name, |known| &known.label)
    }

    /// The names of a set, in order.
    pub fn of(&self, set: NameSet) -> impl Iterator<Item = &str> {
        (0..64_u8)
            .zip(&self.names)
            .filter(move |(place, _)| set.contains(NameIndex(*place)))
            .map(|(_, name)| &*name.name)
    }
}

/// Both lists.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Event names.
    pub events: Names,
    /// Channel names.
    pub channels: Names,
}

impl Catalog {
    /// Checks a configuration and reports all of its faults.
    ///
    /// # Errors
    /// Every [`CatalogError`] that was found.
    pub fn new(config: &CatalogConfig) -> Result<Self, Vec<CatalogError>> {
        let mut faults = Vec::new();
        let events = Names::new("events", &config.events, &mut faults);
        let channels = Names::new("channels", &config.channels, &mut faults);
        if faults.is_empty() { Ok(Self { events, channels }) } else { Err(faults) }
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_the_name_itself() {
        let catalog = Catalog::new(&CatalogConfig::default()).unwrap();
        let index = catalog.events.find("message_fail").unwrap();
        assert_eq!(catalog.events.name(index), "message_failure");
        assert_eq!(catalog.events.find("message_fai"), None);
    }

    #[test]
    fn every_fault_is_reported() {
        let mut config = CatalogConfig::default();
        let doubled = NameConfig { label: "x".into(), aliases: vec!["message_open".into()] };
        config.events.insert("other".into(), doubled);
        config.events.insert("Bad Name".into(), NameConfig { label: "x".into(), aliases: vec![] });
        config.channels.clear();
        let faults = Catalog::new(&config).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let catalog = Catalog::new(&CatalogConfig::default()).unwrap();
        let set: NameSet =
            ["sms", "email"].iter().filter_map(|name| catalog.channels.find(name)).collect();
        assert_eq!(catalog.channels.of(set).collect::<Vec<_>>(), ["email", "sms"]);
    }
}
