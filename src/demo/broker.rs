//! An embedded Kafka for the demo and for tests: librdkafka's mock cluster, in this process, in memory.
//!
//! Makes its topics at the start and forgets everything at the end. It is no Kafka to rely on: no admin API, no
//! compaction, no TLS, and each partition keeps its last 5 MiB of batches (or 100,000 of them) and silently drops what
//! is older, read or not. So: many partitions, compression, and modest rates. What needs more is tested on a real one.

use std::fmt;
use std::thread;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// What every client of an embedded broker must set, to be merged into `kafka.properties`.
pub const CLIENT_PROPERTIES: [(&str, &str); 3] = [
    // The mock does not wake a waiting fetch when a record arrives: the wait is the latency.
    ("fetch.wait.max.ms", "10"),
    // A fetch returns one batch of each partition, so batches must not be single records.
    ("linger.ms", "5"),
    // It goes down and comes up in an instant when a test says so; the default would wait up to 10 s.
    ("reconnect.backoff.max.ms", "200"),
];

/// One broker is the whole cluster: replicas would only be kept apart on paper.
const BROKERS: i32 = 1;

/// The broker's number; the mock counts from 1.
const BROKER_ID: i32 = 1;

/// After it has answered a request like "make a topic", the mock empties the pipe that wakes it, and with it the wake-up
/// for a request that came too soon: that one then waits for the mock's next look, up to a second later.
const REQUEST_REST: Duration = Duration::from_millis(2);

/// Why an embedded broker cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The cluster itself.
    #[error("starting the embedded broker failed: {0}")]
    Start(#[source] KafkaError),
    /// One of its topics.
    #[error("creating the topic {topic} with {partitions} partitions failed: {source}")]
    Topic {
        /// Its name.
        topic: String,
        /// How many were asked for.
        partitions: i32,
        /// Why not.
        source: KafkaError,
    },
    /// It would not stop or go on.
    #[error("the embedded broker could not be taken {direction}: {source}")]
    Power {
        /// `down` or `up`.
        direction: &'static str,
        /// Why not.
        source: KafkaError,
    },
}

/// A running embedded broker. All clients of one must use its [`bootstrap`](Self::bootstrap); two never share a topic.
///
/// It stays on the thread that started it. Drop its clients first: what they still wait for would never come.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
    bootstrap: String,
}

impl Broker {
    /// Starts it with these topics and their numbers of partitions; takes some milliseconds.
    ///
    /// # Errors
    /// [`BrokerError`] where librdkafka refuses, for example a topic without partitions.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, BrokerError> {
        let cluster = MockCluster::new(BROKERS).map_err(BrokerError::Start)?;
        let bootstrap = cluster.bootstrap_servers();
        let broker = Self { cluster, bootstrap };
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions)?;
        }
        Ok(broker)
    }

    /// Adds a topic.
    ///
    /// # Errors
    /// [`BrokerError::Topic`] where it exists or the numbers are impossible.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), BrokerError> {
        let failed = |source| BrokerError::Topic { topic: topic.to_owned(), partitions, source };
        thread::sleep(REQUEST_REST);
        self.cluster.create_topic(topic, partitions, BROKERS).map_err(failed)
    }

    /// For `kafka.bootstrap_servers`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Cuts all connections and takes no new ones; what was written is kept.
    ///
    /// # Errors
    /// [`BrokerError::Power`] where librdkafka refuses.
    pub fn go_down(&self) -> Result<(), BrokerError> {
        let failed = |source| BrokerError::Power { direction: "down", source };
        self.cluster.broker_down(BROKER_ID).map_err(failed)
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// [`BrokerError::Power`] where librdkafka refuses.
    pub fn come_up(&self) -> Result<(), BrokerError> {
        let failed = |source| BrokerError::Power { direction: "up", source };
        self.cluster.broker_up(BROKER_ID).map_err(failed)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Message;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

    use super::*;

    /// Far more than anything here takes, so that it is reached only when something is wrong.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn client(broker: &Broker) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap()).set("group.id", "test");
        for (key, value) in CLIENT_PROPERTIES {
            config.set(key, value);
        }
        config
    }

    fn produce(broker: &Broker, key: &str) -> BaseProducer {
        let producer: BaseProducer = client(broker).create().unwrap();
        producer.send(BaseRecord::to("events").key(key).payload("value")).unwrap();
        producer
    }

    fn first_key(broker: &Broker) -> Vec<u8> {
        let consumer: BaseConsumer = client(broker).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("events", 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let record = consumer.poll(PATIENCE).unwrap().unwrap();
        record.key().unwrap().to_vec()
    }

    #[test]
    fn it_has_the_topics_that_were_asked_for() {
        let broker = Broker::start(&[("events", 6), ("barnabas.retry.5s", 12)]).unwrap();
        let consumer: BaseConsumer = client(&broker).create().unwrap();
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        let mut found: Vec<_> = metadata
            .topics()
            .iter()
            .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
            .collect();
        found.sort();
        assert_eq!(found, [("barnabas.retry.5s".to_owned(), 12), ("events".to_owned(), 6)]);
    }

    #[test]
    fn what_one_client_writes_another_reads() {
        let broker = Broker::start(&[("events", 1)]).unwrap();
        produce(&broker, "4172:1").flush(PATIENCE).unwrap();
        assert_eq!(first_key(&broker), b"4172:1");
    }

    #[test]
    fn what_waits_while_it_is_down_is_written_when_it_is_up() {
        let broker = Broker::start(&[("events", 1)]).unwrap();
        broker.go_down().unwrap();
        let producer = produce(&broker, "4172:1");
        assert!(producer.flush(Duration::from_millis(100)).is_err());
        broker.come_up().unwrap();
        producer.flush(PATIENCE).unwrap();
        assert_eq!(first_key(&broker), b"4172:1");
    }

    #[test]
    fn a_topic_that_exists_is_refused() {
        let broker = Broker::start(&[("events", 1)]).unwrap();
        let error = broker.create_topic("events", 1).unwrap_err().to_string();
        assert!(error.contains("events"), "{error}");
    }
}
