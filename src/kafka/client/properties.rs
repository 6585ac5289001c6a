//! What is known of librdkafka's properties: other names, which client has them, which are secret.
//!
//! Only names; no value is judged here. [`super::KafkaConfig`] and its faults ask.

/// Properties with two names, the other one first. Both in one configuration would race: librdkafka
/// takes the one that is set last.
const ALIASES: [(&str, &str); 10] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.codec", "compression.type"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("message.send.max.retries", "retries"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("sasl.mechanism", "sasl.mechanisms"),
    ("auto.commit.enable", "enable.auto.commit"),
];

/// How the names of properties begin that only consumers have.
const CONSUMER_ONLY: [&str; 17] = [
    "auto.commit.",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.",
    "coordinator.query.",
    "enable.auto.",
    "enable.partition.eof",
    "fetch.",
    "group.",
    "heartbeat.",
    "isolation.level",
    "max.partition.fetch.",
    "max.poll.",
    "offset.store.",
    "partition.assignment.",
    "queued.",
    "session.timeout.",
];

/// How the names of properties begin that only producers have.
const PRODUCER_ONLY: [&str; 19] = [
    "acks",
    "batch.",
    "compression.",
    "delivery.",
    "enable.gapless.",
    "enable.idempotence",
    "linger.",
    "message.send.",
    "message.timeout.",
    "partitioner",
    "produce.offset.",
    "queue.buffering.",
    "queuing.strategy",
    "request.required.acks",
    "request.timeout.",
    "retries",
    "retry.backoff.",
    "sticky.partitioning.",
    "transaction",
];

/// What stands in the name of a property whose value is a secret.
const SECRET_PARTS: [&str; 5] =
    ["password", "secret", "passphrase", "key.pem", "oauthbearer.config"];

/// Which properties a client has. One that it does not have would only be warned about at every start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Those of every client and the consumers' own.
    Consumer,
    /// Those of every client and the producers' own.
    Producer,
    /// Those of every client.
    Admin,
}

impl Side {
    /// Whether a client of this side has the property.
    pub(super) fn knows(self, key: &str) -> bool {
        let is_one_of = |begins: &[&str]| begins.iter().any(|begin| key.starts_with(begin));
        match self {
            Self::Consumer => !is_one_of(&PRODUCER_ONLY),
            Self::Producer => !is_one_of(&CONSUMER_ONLY),
            Self::Admin => !is_one_of(&PRODUCER_ONLY) && !is_one_of(&CONSUMER_ONLY),
        }
    }
}

/// The one name that we use for a property.
pub(super) fn canonical(key: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == key);
    alias.map_or(key, |(_, canonical)| canonical)
}

/// Whether the value of a property must never be shown.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_PARTS.iter().any(|part| key.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for key in [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["sasl.username", "ssl.key.location", "linger.ms"] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn common_properties_reach_every_client() {
        for key in ["security.protocol", "sasl.username", "debug", "client.rack", "ssl.ca.location"]
        {
            for side in [Side::Consumer, Side::Producer, Side::Admin] {
                assert!(side.knows(key), "{key} {side:?}");
            }
        }
    }
}
