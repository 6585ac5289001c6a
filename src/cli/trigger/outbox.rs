//! The producer of `trigger`: hands records to Kafka and counts what the broker has acknowledged.
//!
//! Never drops: where the queue is full it waits, and a record that was not acknowledged makes the command fail.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::sample::Sample;
use crate::cli::CliError;
use crate::kafka::client::KafkaConfig;

/// A broker that is there answers in milliseconds; a name that does not resolve takes a few seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long a full queue is left alone: time for some batches to go out.
const QUEUE_REST: Duration = Duration::from_millis(5);

/// Longer than the producer tries by itself (`message.timeout.ms`, one minute), so that its own reason is told.
const CLOSE_LIMIT: Duration = Duration::from_secs(90);

/// An open connection to the events topic.
pub(super) struct Outbox {
    producer: ThreadedProducer<Acknowledgements>,
    tally: Acknowledgements,
    topic: String,
    /// Handed to the producer.
    put: u64,
}

impl Outbox {
    /// Connects and looks for the topic, so that a wrong address or name is told at once.
    pub(super) fn open(kafka: &KafkaConfig, topic: &str) -> Result<Self, CliError> {
        let tally = Acknowledgements::default();
        let producer = ThreadedProducer::from_config_and_context(&kafka.producer(), tally.clone())
            .map_err(|error| CliError::Failed(format!("making a producer failed: {error}")))?;
        // All topics are asked for: a broker may create a single one just because it was named.
        let metadata = producer.client().fetch_metadata(None, ANSWER_LIMIT).map_err(|error| {
            let servers = &kafka.bootstrap_servers;
            CliError::Unreachable(format!("no broker of {servers} answered: {error}"))
        })?;
        if !metadata.topics().iter().any(|found| found.name() == topic) {
            return Err(CliError::NotFound(format!("the topic {topic} does not exist")));
        }
        Ok(Self { producer, tally, topic: topic.to_owned(), put: 0 })
    }

    /// Puts a record into the queue, and waits while that is full.
    pub(super) fn put(&mut self, sample: &Sample) -> Result<(), CliError> {
        self.tally.failure(&self.topic)?;
        let mut record: BaseRecord<'_, str, [u8]> =
            BaseRecord::to(&self.topic).payload(&sample.value);
        if let Some(key) = &sample.key {
            record = record.key(key);
        }
        while let Err((error, unsent)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(refusal(&self.topic, &error));
            }
            self.tally.failure(&self.topic)?;
            thread::sleep(QUEUE_REST);
            record = unsent;
        }
        self.put += 1;
        Ok(())
    }

    /// How many records the broker has.
    pub(super) fn acknowledged(&self) -> u64 {
        self.tally.lock().acknowledged
    }

    /// Waits for the last acknowledgement; the number of all.
    pub(super) fn close(self) -> Result<u64, CliError> {
        let flushed = self.producer.flush(CLOSE_LIMIT);
        self.tally.failure(&self.topic)?;
        let acknowledged = self.acknowledged();
        if flushed.is_err() || acknowledged < self.put {
            let open = self.put - acknowledged;
            return Err(CliError::Unreachable(format!(
                "{open} of {} events were not acknowledged by {} within {CLOSE_LIMIT:?}",
                self.put, self.topic
            )));
        }
        Ok(acknowledged)
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("topic", &self.topic).field("put", &self.put).finish()
    }
}

/// Counts the broker's answers, on the producer's own thread.
#[derive(Clone, Default)]
struct Acknowledgements(Arc<Mutex<Tally>>);

#[derive(Default)]
struct Tally {
    acknowledged: u64,
    /// Why the first record that failed did.
    failure: Option<KafkaError>,
}

impl Acknowledgements {
    /// Fails as soon as one record has: those that follow would tell the same.
    fn failure(&self, topic: &str) -> Result<(), CliError> {
        self.lock().failure.as_ref().map_or(Ok(()), |error| Err(refusal(topic, error)))
    }

    /// A number and a reason are good even if a thread panicked while it held them.
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut tally = self.lock();
        match result {
            Ok(_) => tally.acknowledged += 1,
            Err((error, _)) => {
                tally.failure.get_or_insert_with(|| error.clone());
            }
        }
    }
}

/// What it means that a record was not written.
fn refusal(topic: &str, error: &KafkaError) -> CliError {
    let text = format!("writing to {topic} failed: {error}");
    let silent = [
        RDKafkaErrorCode::MessageTimedOut,
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::AllBrokersDown,
    ];
    if error.rdkafka_error_code().is_some_and(|code| silent.contains(&code)) {
        return CliError::Unreachable(text);
    }
    CliError::Failed(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::broker::Broker;

    fn kafka(bootstrap: &str, properties: &[(&str, &str)]) -> KafkaConfig {
        let own = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        KafkaConfig {
            bootstrap_servers: bootstrap.to_owned(),
            properties: properties.iter().map(own).collect(),
            ..KafkaConfig::default()
        }
    }

    fn sample() -> Sample {
        Sample { key: Some("4172:1".into()), value: "{}".into() }
    }

    #[test]
    fn a_topic_that_does_not_exist_is_not_made() {
        let broker = Broker::start(&[("other", 1)]).unwrap();
        for _ in 0..2 {
            let error = Outbox::open(&kafka(broker.bootstrap(), &[]), "events").unwrap_err();
            assert_eq!(error.exit_code(), 4, "{error}");
        }
    }

    #[test]
    fn a_full_queue_is_waited_for() {
        let broker = Broker::start(&[("events", 1)]).unwrap();
        let kafka = kafka(broker.bootstrap(), &[("queue.buffering.max.messages", "10")]);
        let mut outbox = Outbox::open(&kafka, "events").unwrap();
        for _ in 0..100 {
            outbox.put(&sample()).unwrap();
        }
        assert_eq!(outbox.close().unwrap(), 100);
    }

    #[test]
    fn a_broker_that_stops_to_answer_is_unreachable() {
        let broker = Broker::start(&[("events", 1)]).unwrap();
        let kafka = kafka(broker.bootstrap(), &[("message.timeout.ms", "300")]);
        let mut outbox = Outbox::open(&kafka, "events").unwrap();
        broker.go_down().unwrap();
        outbox.put(&sample()).unwrap();
        let error = outbox.close().unwrap_err();
        assert_eq!(error.exit_code(), 5, "{error}");
    }
}
