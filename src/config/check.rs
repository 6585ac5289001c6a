//! What the sections mean, judged when every single setting is known to be well-formed.
//!
//! Asks each module for the faults of its own section and finds what does not go together. Looks whether named files
//! are there, reads the keyring, and nothing else of the world. [`super::Config::load`] calls [`check`].

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::Config;
use super::fault::Fault;
use super::layer::Setting;
use crate::engine::catalog::{Catalog, CatalogError};
use crate::engine::retry::{RetryConfigError, RetryPolicy, parse_delay};
use crate::kafka::connections::PlaintextSecrets;
use crate::secrets::Keyring;

/// What every payload has already: asked for once more, it would stand twice in a body.
const DOCUMENTED_PROPERTIES: [&str; 9] = [
    "message_type",
    "campaign_id",
    "profile_id",
    "device_id",
    "trigger_id",
    "user_id",
    "email",
    "error_message",
    "external_message_id",
];

/// The longest name of a further property.
const MAX_PROPERTY_BYTES: usize = 64;

/// Every fault of the whole; `given` are the settings that did not come from the defaults.
pub(super) fn check(config: &Config, given: &[Setting]) -> Vec<Fault> {
    let mut faults = Vec::new();
    catalog(config, &mut faults);
    retry(config, given, &mut faults);
    kafka(config, &mut faults);
    payload(config, &mut faults);
    egress(config, &mut faults);
    files(config, &mut faults);
    if let Some(what) = config.admin.fault() {
        let mend =
            "set admin.tokens_file (see `barnabas tokens new --help`), or listen on 127.0.0.1";
        faults.push(Fault::new("admin.listen", what).mend(mend));
    }
    keyring(config, &mut faults);
    if let Some((what, mend)) = config.shutdown.fault() {
        faults.push(Fault::new("shutdown.kill_after_seconds", what).mend(mend));
    }
    for fault in config.telemetry.faults() {
        let mend = "write keys such as \"4172/crm\"";
        faults.push(Fault::new("telemetry.connections", fault).mend(mend));
    }
    if let Some((what, mend)) = config.traces.fault() {
        faults.push(Fault::new("traces.endpoint", what).mend(mend));
    }
    if let Err(error) = config.log.filter() {
        let mend = "write a level, such as info or info,barnabas::kafka=debug";
        faults.push(Fault::new("log.level", error).mend(mend));
    }
    faults
}

fn catalog(config: &Config, faults: &mut Vec<Fault>) {
    for (list, names) in
        [("events", &config.catalog.events), ("channels", &config.catalog.channels)]
    {
        for (name, _) in names.iter().filter(|(_, details)| details.label.trim().is_empty()) {
            let fault = Fault::new(format!("catalog.{list}.{name}.label"), "the name has no label");
            faults.push(fault.mend("write what people read, such as \"Message open\""));
        }
    }
    let Err(found) = Catalog::new(&config.catalog) else { return };
    for error in found {
        let (list, mend) = match &error {
            CatalogError::TooMany { list, .. } => (list, "remove names that nothing uses"),
            CatalogError::Empty(list) => (list, "add the names that events have"),
            CatalogError::Doubled { list, .. } => (list, "keep one of them"),
            CatalogError::BadName { list, .. } => (list, "choose another name"),
        };
        faults.push(Fault::new(format!("catalog.{list}"), error.to_string()).mend(mend));
    }
}

fn retry(config: &Config, given: &[Setting], faults: &mut Vec<Fault>) {
    let is_given = given.iter().any(|setting| setting.key() == "retry.schedule");
    if !config.retry.preset.is_empty() {
        if is_given {
            let what = "retry.preset is given too, and only one schedule can hold";
            faults.push(Fault::new("retry.schedule", what).mend("remove one of the two"));
        }
        return;
    }
    let bad: Vec<_> =
        config.retry.schedule.iter().filter_map(|text| parse_delay(text).err()).collect();
    let empty = config.retry.schedule.is_empty().then_some(RetryConfigError::Empty);
    let own = |error: RetryConfigError| Fault::new("retry.schedule", error.to_string());
    faults.extend(bad.into_iter().chain(empty).map(own));
}

fn kafka(config: &Config, faults: &mut Vec<Fault>) {
    for fault in config.kafka.faults() {
        faults.push(Fault::new(format!("kafka.{}", fault.key), fault.what).mend(fault.mend));
    }
    let policy = RetryPolicy::try_from(&config.retry);
    let tiers = policy.as_ref().map_or(&[][..], RetryPolicy::delays);
    for fault in config.topics.faults(tiers) {
        faults.push(Fault::new(format!("topics.{}", fault.key()), fault.to_string()));
    }
}

fn payload(config: &Config, faults: &mut Vec<Fault>) {
    let mut seen = BTreeSet::new();
    for name in &config.payload.extra_properties {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let what =
            if name.is_empty() || name.len() > MAX_PROPERTY_BYTES || !name.bytes().all(is_plain) {
                "is no plain name (1-64 of letters, digits, _, - and .)"
            } else if DOCUMENTED_PROPERTIES.contains(&name.as_str()) {
                "is passed on already"
            } else if !seen.insert(name) {
                "stands twice"
            } else {
                continue;
            };
        let fault = Fault::new("payload.extra_properties", format!("{name:?} {what}"));
        faults.push(fault.mend("remove it"));
    }
    let least = u64::from(config.payload.max_event_bytes);
    if config.delivery.max_open_bytes < least {
        let what = "an event of payload.max_event_bytes would never fit";
        faults.push(
            Fault::new("delivery.max_open_bytes", what).mend(format!("write at least {least}")),
        );
    }
}

fn egress(config: &Config, faults: &mut Vec<Fault>) {
    for host in &config.egress.allow_hosts {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if host.is_empty() || !host.bytes().all(is_plain) {
            let fault = Fault::new("egress.allow_hosts", format!("{host:?} is no host name"));
            faults.push(fault.mend("write the name alone, without scheme, port or wildcard"));
        }
    }
    if config.egress.ports.is_empty() {
        let fault = Fault::new("egress.ports", "without a port nothing can be called");
        faults.push(fault.mend("write ports, such as [443]"));
    }
    if config.egress.ports.contains(&0) {
        let fault = Fault::new("egress.ports", "0 is no port");
        faults.push(fault.mend("write ports from 1 to 65535"));
    }
}

fn files(config: &Config, faults: &mut Vec<Fault>) {
    let named = [
        ("egress.ca_file", config.egress.ca_file.as_deref()),
        ("admin.tokens_file", config.admin.tokens_file.as_deref()),
    ];
    for (key, path) in named {
        if let Some(Err(error)) = path.map(readable) {
            let fault = Fault::new(key, format!("the file cannot be read: {error}"));
            faults.push(fault.mend("name a file that this user may read, or leave it empty"));
        }
    }
}

fn keyring(config: &Config, faults: &mut Vec<Fault>) {
    let Some(path) = &config.secrets.keyring_file else { return };
    let Err(error) = Keyring::read(path) else { return };
    let mend = format!(
        "name a keyring of this user, make one with `barnabas keyring new --file {}`, or leave it empty",
        path.display()
    );
    faults.push(Fault::new("secrets.keyring_file", error.to_string()).mend(mend));
}

/// What goes together and yet lets nothing work.
pub(super) fn warning(config: &Config) -> Option<String> {
    let is_shut = config.connections.plaintext_secrets == PlaintextSecrets::Reject
        && config.secrets.keyring_file.is_none();
    is_shut.then(|| {
        "connections.plaintext_secrets is reject and secrets.keyring_file is not set: no connection can be read"
            .to_owned()
    })
}

fn readable(path: &Path) -> std::io::Result<()> {
    if File::open(path)?.metadata()?.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    Ok(())
}
