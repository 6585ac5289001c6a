//! What every Kafka client of this program is told: one configuration for each role.
//!
//! Decides the librdkafka properties and gives the reason of each; [`KafkaConfig::faults`] says what
//! cannot work before a client is made. It never opens a connection. The consumer, the producer, the
//! connections reader and the topics' administration ask for their [`ClientConfig`] here; the
//! configuration's report asks for the faults.

mod faults;
mod properties;

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use serde::Deserialize;

pub use self::faults::KafkaConfigFault;
use self::properties::Side;
pub use self::properties::is_secret;

/// The section `[kafka]` of the configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to ask first, as `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The consumer group of the events; the retry tiers are read by this name with `.retry` added.
    pub group_id: String,
    /// A name that stays with this instance over restarts (static membership); empty for none.
    pub group_instance_id: String,
    /// Any librdkafka property. It stands above our own, except where correctness depends on ours.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            group_id: "barnabas".to_owned(),
            group_instance_id: String::new(),
            properties: BTreeMap::new(),
        }
    }
}

/// Without the values of secret properties.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(key, value): (&String, &String)| {
            let value = if is_secret(key) { "[redacted]".to_owned() } else { value.clone() };
            (key.clone(), value)
        };
        let properties: BTreeMap<_, _> = self.properties.iter().map(shown).collect();
        f.debug_struct("KafkaConfig")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("group_id", &self.group_id)
            .field("group_instance_id", &self.group_instance_id)
            .field("properties", &properties)
            .finish()
    }
}

/// What a member of a consumer group reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The events topic.
    Events,
    /// The retry tiers, in a group of their own: a retry storm cannot starve fresh events.
    Retries,
}

/// Waits between attempts to reach a broker never grow beyond this: a broker's restart takes seconds, and
/// librdkafka's own ten would be felt as a stall after each one.
const RECONNECT_MAX_MILLIS: &str = "2000";

/// The name of the events consumer's strategy; the eager ones stop the whole group at every change.
const COOPERATIVE_STICKY: &str = "cooperative-sticky";

impl KafkaConfig {
    /// The name of one of the two groups.
    #[must_use]
    pub fn group(&self, group: Group) -> String {
        match group {
            Group::Events => self.group_id.clone(),
            Group::Retries => format!("{}.retry", self.group_id),
        }
    }

    /// For a member of one of the two groups.
    #[must_use]
    pub fn consumer(&self, group: Group) -> ClientConfig {
        let mut config = self.reader();
        // A partition that has room again is in the next fetch, and so waits for the one under way: at most so long, if
        // nothing comes for the others. Readers of whole topics never stop one, and leave it at half a second.
        config.set("fetch.wait.max.ms", "100");
        match group {
            Group::Events => {
                config.set("group.id", self.group(group));
                // Back-pressure leaves prefetched records where they are. Partitions have queues of their own, so both
                // count for each partition: a hundred of them hold 100 MiB at most.
                config.set("queued.max.messages.kbytes", "1024");
                config.set("queued.min.messages", "1000");
            }
            Group::Retries => {
                config.set("group.id", self.group(group));
                // Each tier's partition is held at its head for up to hours: little must lie behind it.
                config.set("queued.max.messages.kbytes", "128");
                config.set("queued.min.messages", "50");
                config.set("max.partition.fetch.bytes", "131072");
            }
        }
        if !self.group_instance_id.is_empty() {
            config.set("group.instance.id", &self.group_instance_id);
        }
        if !self.speaks_consumer_protocol() {
            // A rebalance takes from a member only what moves; the rest is delivered on.
            config.set("partition.assignment.strategy", COOPERATIVE_STICKY);
        }
        self.overlay(&mut config, Side::Consumer);
        config
    }

    /// For the reader of the compacted topics, which belongs to no group: it assigns itself every partition.
    #[must_use]
    pub fn table_reader(&self) -> ClientConfig {
        let mut config = self.reader();
        // librdkafka assigns nothing without a group's name. Nobody joins this group or commits to it.
        config.set("group.id", format!("{}.table", self.group_id));
        config.set("queued.max.messages.kbytes", "4096");
        self.overlay(&mut config, Side::Consumer);
        for group_only in ["group.protocol", "group.remote.assignor"] {
            config.remove(group_only);
        }
        config
    }

    /// For the one producer: retries, dead letters and states.
    #[must_use]
    pub fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        // Only what every in-sync replica has is acknowledged, and an acknowledgement is what settles a delivery.
        config.set("acks", "all");
        // librdkafka's own repeats neither double nor reorder a record.
        config.set("enable.idempotence", "true");
        // Events are JSON of much the same shape: the best ratio for 0.5 microseconds more a record.
        config.set("compression.type", "zstd");
        // Long enough to fill batches, far below the shortest tier. A flood that is parked costs this process a tenth less
        // than at 5 ms, and the broker another; beyond 25 ms hardly anything is gained.
        config.set("linger.ms", "25");
        // Memory while the broker is away; when it is full the producer waits and intake stops.
        config.set("queue.buffering.max.messages", "50000");
        config.set("queue.buffering.max.kbytes", "65536");
        // Then the outcome is unknown and the offset waits; a restarted broker is back long before.
        config.set("message.timeout.ms", "60000");
        // An event above librdkafka's own limit (1 MB) must still reach a tier or the dead letters.
        config.set("message.max.bytes", "8388608");
        self.overlay(&mut config, Side::Producer);
        config
    }

    /// For the one instance at a time that changes connections. Whoever comes next with the same id fences it.
    #[must_use]
    pub fn editor(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.client();
        // The default of Apache Kafka's own clients: records of one connection stand in one partition, whoever wrote them.
        config.set("partitioner", "murmur2_random");
        self.overlay(&mut config, Side::Producer);
        config.set("transactional.id", transactional_id);
        // Until then a crash between two records keeps readers from what comes after them.
        config.set("transaction.timeout.ms", "10000");
        // Somebody waits for the answer.
        config.set("message.timeout.ms", "4000");
        config.set("linger.ms", "0");
        config
    }

    /// For the attempt log: small, unhurried, and by itself, so that it never takes the room of a retry.
    #[must_use]
    pub fn log_producer(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("compression.type", "zstd");
        // Nobody waits for these: large batches are the cheapest.
        config.set("linger.ms", "100");
        // What a burst may take of memory; beyond it attempts go unlogged.
        config.set("queue.buffering.max.messages", "20000");
        config.set("queue.buffering.max.kbytes", "16384");
        config.set("message.timeout.ms", "30000");
        self.overlay(&mut config, Side::Producer);
        config
    }

    /// For looking at topics and making them.
    #[must_use]
    pub fn admin(&self) -> ClientConfig {
        let mut config = self.client();
        self.overlay(&mut config, Side::Admin);
        config
    }

    /// Everything that cannot work, at once.
    #[must_use]
    pub fn faults(&self) -> Vec<KafkaConfigFault> {
        faults::faults(self)
    }

    /// Whether the group protocol of KIP-848 was asked for, under which the broker decides what the
    /// classic protocol leaves to the members.
    fn speaks_consumer_protocol(&self) -> bool {
        let protocol = self.properties.get("group.protocol");
        protocol.is_some_and(|name| name.eq_ignore_ascii_case("consumer"))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config.set("client.id", "barnabas");
        config.set("reconnect.backoff.max.ms", RECONNECT_MAX_MILLIS);
        // A load balancer that forgets an idle connection is noticed before it is needed.
        config.set("socket.keepalive.enable", "true");
        config
    }

    /// What every reader has in common.
    fn reader(&self) -> ClientConfig {
        let mut config = self.client();
        // An offset is committed when its deliveries are settled, never because it was read.
        config.set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false");
        // Without a committed offset nothing was delivered yet; `latest` would skip what waits.
        config.set("auto.offset.reset", "earliest");
        // An aborted transaction's events did not happen.
        config.set("isolation.level", "read_committed");
        // 0.1 microseconds a record against delivering what a broken disk or network made of it.
        config.set("check.crcs", "true");
        // A queue that was full is filled again at once; librdkafka would wait a second.
        config.set("fetch.queue.backoff.ms", "10");
        config
    }

    /// Puts the user's properties above ours, each under the one name that we use for it.
    fn overlay(&self, config: &mut ClientConfig, side: Side) {
        for (key, value) in &self.properties {
            if side.knows(key) {
                config.set(properties::canonical(key), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> KafkaConfig {
        let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        KafkaConfig { properties: properties.iter().map(own).collect(), ..KafkaConfig::default() }
    }

    #[test]
    fn librdkafka_accepts_every_role() {
        let kafka = config(&[]);
        let roles = [
            kafka.consumer(Group::Events),
            kafka.consumer(Group::Retries),
            kafka.table_reader(),
            kafka.producer(),
            kafka.editor("barnabas.editor"),
            kafka.log_producer(),
            kafka.admin(),
        ];
        for role in roles {
            let built = role.create_native_config().map(|_| ());
            assert!(built.is_ok(), "{built:?}");
        }
    }

    #[test]
    fn nothing_is_committed_that_was_only_read() {
        let consumer = config(&[]).consumer(Group::Events);
        assert_eq!(consumer.get("enable.auto.commit"), Some("false"));
        assert_eq!(consumer.get("enable.auto.offset.store"), Some("false"));
        assert_eq!(consumer.get("auto.offset.reset"), Some("earliest"));
    }

    #[test]
    fn the_tiers_have_a_group_of_their_own() {
        let kafka = config(&[]);
        assert_eq!(kafka.consumer(Group::Events).get("group.id"), Some("barnabas"));
        assert_eq!(kafka.consumer(Group::Retries).get("group.id"), Some("barnabas.retry"));
    }

    #[test]
    fn a_property_overrides_ours_under_any_of_its_names() {
        let producer = config(&[("queue.buffering.max.ms", "50")]).producer();
        assert_eq!(producer.get("linger.ms"), Some("50"));
        assert_eq!(producer.get("queue.buffering.max.ms"), None);
    }

    #[test]
    fn a_property_reaches_only_the_clients_that_know_it() {
        let kafka = config(&[("linger.ms", "50"), ("fetch.min.bytes", "9"), ("client.rack", "a")]);
        let consumer = kafka.consumer(Group::Events);
        assert_eq!((consumer.get("linger.ms"), consumer.get("fetch.min.bytes")), (None, Some("9")));
        let producer = kafka.producer();
        assert_eq!(
            (producer.get("linger.ms"), producer.get("fetch.min.bytes")),
            (Some("50"), None)
        );
        assert_eq!(kafka.admin().get("client.rack"), Some("a"));
    }

    #[test]
    fn the_consumer_protocol_forbids_a_strategy() {
        let classic = config(&[]).consumer(Group::Events);
        assert_eq!(classic.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        let kafka = config(&[("group.protocol", "consumer")]);
        let consumer = kafka.consumer(Group::Events);
        assert_eq!(consumer.get("partition.assignment.strategy"), None);
        assert_eq!(consumer.get("group.protocol"), Some("consumer"));
        assert_eq!(kafka.table_reader().get("group.protocol"), None);
    }

    #[test]
    fn passwords_are_never_shown() {
        let kafka = config(&[("sasl.password", "s3cret"), ("ssl.key.pem", "s3cret")]);
        assert!(!format!("{kafka:?}").contains("s3cret"));
    }
}
