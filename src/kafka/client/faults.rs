//! What cannot work in the section `[kafka]`, found before any client is made.
//!
//! Judges names and values and asks librdkafka's own parser; never connects. The configuration's
//! report prints what [`faults`] finds.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::properties::{canonical, is_secret};
use super::{COOPERATIVE_STICKY, KafkaConfig};

/// One fault of the section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {mend}")]
pub struct KafkaConfigFault {
    /// The key inside the section, such as `group_id` or `properties.acks`.
    pub key: String,
    /// What is wrong and why it matters.
    pub what: String,
    /// What to do.
    pub mend: String,
}

/// What the broker decides where `group.protocol` is `consumer`.
const NOT_WITH_CONSUMER_PROTOCOL: [&str; 3] =
    ["partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"];

/// The mechanism that librdkafka takes where none is named.
const DEFAULT_MECHANISM: &str = "GSSAPI";

/// Every fault of the section.
pub(super) fn faults(config: &KafkaConfig) -> Vec<KafkaConfigFault> {
    let mut faults = plain_faults(config);
    for (key, value) in &config.properties {
        let refused = refusal(config, key, value);
        let fault = refused.or_else(|| unknown(key, value)).map(|(what, mend)| KafkaConfigFault {
            key: format!("properties.{key}"),
            what,
            mend,
        });
        faults.extend(fault);
    }
    faults.extend(doubled(&config.properties));
    faults.extend(unserved(config, &builtin_features()));
    faults
}

fn plain_faults(config: &KafkaConfig) -> Vec<KafkaConfigFault> {
    let mut faults = Vec::new();
    if config.bootstrap_servers.split(',').any(|server| server.trim().is_empty()) {
        faults.push(KafkaConfigFault {
            key: "bootstrap_servers".to_owned(),
            what: "a broker's name is empty".to_owned(),
            mend: "write host:port, several separated by commas".to_owned(),
        });
    }
    if config.group_id.trim().is_empty() {
        faults.push(KafkaConfigFault {
            key: "group_id".to_owned(),
            what: "the group has no name, so no progress could be kept".to_owned(),
            mend: "name the consumer group, such as barnabas".to_owned(),
        });
    }
    faults
}

/// Why a property may not be set to this, with what to do instead.
fn refusal(config: &KafkaConfig, key: &str, value: &str) -> Option<(String, String)> {
    let value = value.trim().to_ascii_lowercase();
    let remove = format!("remove kafka.properties.\"{key}\"");
    let (what, mend) = match canonical(key) {
        "bootstrap.servers" => ("it has a key of its own", "set kafka.bootstrap_servers"),
        "group.id" => ("it has a key of its own", "set kafka.group_id"),
        "group.instance.id" => ("it has a key of its own", "set kafka.group_instance_id"),
        "enable.auto.commit" | "enable.auto.offset.store" if value != "false" => {
            ("an offset would be committed before its deliveries are settled", &*remove)
        }
        "enable.idempotence" if value != "true" => {
            ("a repeat inside the producer would double or reorder a retry", &*remove)
        }
        "acks" if value != "all" && value != "-1" => {
            ("a retry would count as safe before every replica has it", &*remove)
        }
        "transactional.id" => ("deliveries over HTTP cannot be part of a transaction", &*remove),
        "auto.offset.reset" if matches!(&*value, "latest" | "largest" | "end") => {
            ("events that wait would be skipped where no offset is committed", &*remove)
        }
        name if config.speaks_consumer_protocol() && NOT_WITH_CONSUMER_PROTOCOL.contains(&name) => {
            ("the broker decides it where group.protocol is consumer", &*remove)
        }
        "partition.assignment.strategy" if value != COOPERATIVE_STICKY => {
            ("any other strategy stops every member at each rebalance", &*remove)
        }
        _ => return None,
    };
    Some((what.to_owned(), mend.to_owned()))
}

/// What librdkafka's parser says of a property.
fn unknown(key: &str, value: &str) -> Option<(String, String)> {
    let Err(error) = ClientConfig::new().set(key, value).create_native_config() else {
        return None;
    };
    let text = if is_secret(key) {
        // librdkafka's text repeats the value.
        "librdkafka refuses the name or the value".to_owned()
    } else if let KafkaError::ClientConfig(_, text, _, _) = error {
        format!("librdkafka says: {text}")
    } else {
        error.to_string()
    };
    Some((text, "see librdkafka's CONFIGURATION.md for names and values".to_owned()))
}

/// Two names of one property, of which only one could win.
fn doubled(properties: &BTreeMap<String, String>) -> Vec<KafkaConfigFault> {
    let has_both = |key: &&String| {
        let name = canonical(key);
        name != key.as_str() && properties.contains_key(name)
    };
    let fault = |key: &String| KafkaConfigFault {
        key: format!("properties.{key}"),
        what: format!("it is another name of {}, which is set too", canonical(key)),
        mend: "keep one of them".to_owned(),
    };
    properties.keys().filter(has_both).map(fault).collect()
}

/// What this build of librdkafka can do.
fn builtin_features() -> String {
    let native = ClientConfig::new().create_native_config();
    native.and_then(|native| native.get("builtin.features")).unwrap_or_default()
}

/// Security settings that this build cannot serve. `features` is librdkafka's list.
fn unserved(config: &KafkaConfig, features: &str) -> Vec<KafkaConfigFault> {
    let has = |feature: &str| features.split(',').any(|name| name.trim() == feature);
    let property = |name: &str| {
        config
            .properties
            .iter()
            .find(|(key, _)| canonical(key) == name)
            .map(|(_, value)| value.as_str())
    };
    let protocol = property("security.protocol").unwrap_or("plaintext").to_ascii_lowercase();
    let mut faults = Vec::new();
    let mut unserved = |key: &str, what: String, mend: &str| {
        let key = format!("properties.{key}");
        faults.push(KafkaConfigFault { key, what, mend: mend.to_owned() });
    };
    if protocol.ends_with("ssl") && !has("ssl") {
        let what = format!("this build cannot serve {protocol}: it has no TLS");
        unserved("security.protocol", what, "build it with rdkafka's feature ssl-vendored");
    }
    if !protocol.starts_with("sasl") {
        return faults;
    }
    let mechanism = property("sasl.mechanisms").unwrap_or(DEFAULT_MECHANISM).to_ascii_uppercase();
    let needs = match mechanism.as_str() {
        "GSSAPI" => "sasl_gssapi",
        "PLAIN" => "sasl_plain",
        "OAUTHBEARER" => "sasl_oauthbearer",
        scram if scram.starts_with("SCRAM-") => "sasl_scram",
        // An unknown name is librdkafka's to refuse.
        _ => "sasl",
    };
    if !has(needs) {
        let what = format!("this build cannot serve {mechanism} (no {needs} in {features})");
        let mend = match needs {
            "sasl_gssapi" => {
                "build it with --features kerberos, or set sasl.mechanism to PLAIN or SCRAM-SHA-512"
            }
            _ => "set sasl.mechanism to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        };
        unserved("sasl.mechanism", what, mend);
    } else if mechanism == "OAUTHBEARER"
        && property("enable.sasl.oauthbearer.unsecure.jwt") != Some("true")
    {
        let what = "this version fetches no OAuth tokens".to_owned();
        unserved("sasl.mechanism", what, "set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> KafkaConfig {
        let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        KafkaConfig { properties: properties.iter().map(own).collect(), ..KafkaConfig::default() }
    }

    fn keys(config: &KafkaConfig) -> Vec<String> {
        faults(config).into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(faults(&config(&[])), []);
    }

    #[test]
    fn what_correctness_depends_on_cannot_be_changed() {
        for (key, value) in [
            ("enable.auto.commit", "true"),
            ("auto.commit.enable", "true"),
            ("enable.auto.offset.store", "true"),
            ("enable.idempotence", "false"),
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("auto.offset.reset", "latest"),
            ("partition.assignment.strategy", "range"),
            ("transactional.id", "x"),
            ("bootstrap.servers", "x:1"),
            ("group.id", "x"),
        ] {
            assert_eq!(keys(&config(&[(key, value)])), [format!("properties.{key}")], "{value}");
        }
        let same =
            [("enable.auto.commit", "false"), ("acks", "-1"), ("enable.idempotence", "true")];
        assert_eq!(faults(&config(&same)), []);
    }

    #[test]
    fn every_unknown_property_and_value_is_told() {
        let config =
            config(&[("linger.msec", "5"), ("isolation.level", "some"), ("linger.ms", "5")]);
        assert_eq!(keys(&config), ["properties.isolation.level", "properties.linger.msec"]);
    }

    #[test]
    fn a_secret_never_stands_in_a_fault() {
        let config = config(&[("sasl.password.x", "s3cret")]);
        assert_eq!(faults(&config).len(), 1);
        assert!(!format!("{:?}", faults(&config)).contains("s3cret"));
    }

    #[test]
    fn the_consumer_protocol_forbids_what_the_broker_decides() {
        let config = config(&[("group.protocol", "consumer"), ("session.timeout.ms", "9000")]);
        assert_eq!(keys(&config), ["properties.session.timeout.ms"]);
    }

    #[test]
    fn two_names_of_one_property_are_a_fault() {
        let config = config(&[("linger.ms", "5"), ("queue.buffering.max.ms", "6")]);
        assert_eq!(keys(&config), ["properties.queue.buffering.max.ms"]);
    }

    #[test]
    fn security_settings_are_held_against_the_build() {
        let kerberos = config(&[("security.protocol", "SASL_SSL")]);
        let bare = unserved(&kerberos, "gzip,snappy");
        assert_eq!(bare.len(), 2, "{bare:?}");
        assert!(bare[1].what.contains("GSSAPI"), "the default of librdkafka: {bare:?}");
        let scram =
            config(&[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "SCRAM-SHA-512")]);
        assert_eq!(unserved(&scram, "ssl,sasl,sasl_scram"), []);
        assert_eq!(unserved(&config(&[]), ""), []);
    }

    #[test]
    fn this_build_serves_tls_with_plain_and_scram() {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let config =
                config(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", mechanism)]);
            assert_eq!(faults(&config), [], "{mechanism}");
        }
    }
}
