//! The configuration: the sum of the modules' own sections, read from its layers.
//!
//! `config/default.toml` (compiled in) → the file of `--config` → `BARNABAS_<SECTION>__<KEY>`. Every
//! fault is found in one go: each setting is judged by itself (`known`, `tree`), what passes is
//! merged, and what the sections mean together is judged last (`check`). Never starts anything;
//! the commands call [`Config::load`], and hand each module its section.

mod check;
mod fault;
mod known;
mod layer;
pub mod log;
mod nearest;
mod schema;
mod shown;
mod tree;

use std::path::Path;

use serde::Deserialize;

use self::known::Known;
use self::layer::Setting;
use self::log::LogConfig;
use self::tree::Tree;
use crate::admin::server::AdminConfig;
use crate::driver::attempt_log::AttemptsConfig;
use crate::engine::address::EgressConfig;
use crate::engine::catalog::CatalogConfig;
use crate::engine::connection::DeliveryConfig;
use crate::engine::payload::PayloadConfig;
use crate::engine::retry::RetryConfig;
use crate::kafka::client::KafkaConfig;
use crate::kafka::connections::ConnectionsConfig;
use crate::kafka::topics::TopicsConfig;
use crate::secrets::SecretsConfig;
use crate::shutdown::ShutdownConfig;
use crate::telemetry::TelemetryConfig;
use crate::traces::TracesConfig;

pub use self::fault::{Fault, FaultReport};
pub use self::schema::schema;

/// The first layer, and the reference of all keys.
const DEFAULTS: &str = include_str!("../config/default.toml");

/// Everything that can be set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The broker and our clients.
    pub kafka: KafkaConfig,
    /// The topics' names and what is demanded of them.
    pub topics: TopicsConfig,
    /// Names of events and channels.
    pub catalog: CatalogConfig,
    /// What is passed on of an event.
    pub payload: PayloadConfig,
    /// How connection records are read.
    pub connections: ConnectionsConfig,
    /// When failed deliveries are tried again.
    pub retry: RetryConfig,
    /// Limits of connections and of an instance.
    pub delivery: DeliveryConfig,
    /// Where requests may go.
    pub egress: EgressConfig,
    /// Where metrics and health are served.
    pub telemetry: TelemetryConfig,
    /// Where spans go, and who is told.
    pub traces: TracesConfig,
    /// How long the end may take.
    pub shutdown: ShutdownConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// The keys that seal credentials.
    pub secrets: SecretsConfig,
    /// Which attempts are logged.
    pub attempts: AttemptsConfig,
    /// Where the admin API is served, and to whom.
    pub admin: AdminConfig,
    /// What the user should know although it is no fault.
    #[serde(skip)]
    warnings: Vec<String>,
}

impl Config {
    /// Reads all layers and checks what they say.
    ///
    /// # Errors
    /// Every fault, at once.
    pub fn load(file: Option<&Path>) -> Result<Self, FaultReport> {
        let mut faults = Vec::new();
        let from_file = match file.map(layer::from_file).transpose() {
            Ok(settings) => settings.unwrap_or_default(),
            Err(fault) => {
                faults.push(fault);
                Vec::new()
            }
        };
        let (from_environment, unreadable) = layer::from_environment(std::env::vars_os());
        faults.extend(unreadable);
        Self::of_layers([from_file, from_environment], faults)
    }

    /// What the user should know although it is no fault: settings without an effect yet, or such that nothing works.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Judges the layers' settings one by one, merges those that pass, and judges the whole.
    fn of_layers(layers: [Vec<Setting>; 2], mut faults: Vec<Fault>) -> Result<Self, FaultReport> {
        let alone = |error: ::config::ConfigError| {
            FaultReport::new(vec![Fault::new("config/default.toml", error.to_string())])
        };
        let defaults = layer::parse_toml(DEFAULTS).map_err(alone)?;
        let known = Known::new(&defaults);
        let mut tree = Tree::new(defaults);
        let mut given = Vec::new();
        for settings in layers {
            let (passed, refused) = judge(settings, &known, &tree);
            faults.extend(refused);
            tree.lay_over(&passed);
            given.extend(passed.into_iter().map(|(setting, _)| setting));
        }
        let mut config = tree.read().map_err(alone)?;
        let found = check::check(&config, &given);
        faults.extend(found.into_iter().map(|fault| with_origin(fault, &given, &known)));
        if !faults.is_empty() {
            return Err(FaultReport::new(faults));
        }
        config.warnings.extend(check::warning(&config));
        Ok(config)
    }
}

/// The settings of a layer that can be merged, and what is wrong with the others.
fn judge(
    settings: Vec<Setting>,
    known: &Known,
    tree: &Tree,
) -> (Vec<(Setting, ::config::Value)>, Vec<Fault>) {
    let mut passed = Vec::new();
    let mut faults = Vec::new();
    for setting in settings {
        let value = known.judge(&setting).and_then(|value| match tree.refusal(&setting, &value) {
            None => Ok(value),
            Some((what, mend)) => Err(known.fault(&setting, &what, mend)),
        });
        match value {
            Ok(value) => passed.push((setting, value)),
            Err(fault) => faults.push(fault),
        }
    }
    (passed, faults)
}

/// Adds the value and where it came from to a fault of the whole, if a user gave it.
fn with_origin(fault: Fault, given: &[Setting], known: &Known) -> Fault {
    let below = format!("{}.", fault.key);
    let exact = given.iter().rfind(|setting| setting.key() == fault.key);
    if let Some(setting) = exact {
        let found = known.fault(setting, "", "");
        return Fault { value: found.value, origin: found.origin, ..fault };
    }
    let origin = given.iter().rfind(|setting| setting.key().starts_with(&below));
    Fault { origin: origin.map(|setting| setting.origin.clone()), ..fault }
}

#[cfg(test)]
mod tests;
