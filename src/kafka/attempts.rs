//! Writes the attempt log: fire and forget.
//!
//! It has a producer of its own, so that it can never take the place of a retry or a dead letter in the queue. What
//! does not fit its queue, or is not written in time, is dropped and counted: nothing waits for it, and no delivery
//! depends on it. The driver's shards call it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext};
use tracing::debug;

use super::polled::PolledProducer;
use super::record::attempt::AttemptRecord;
use crate::metrics::Metrics;

/// The log's producer; cheap to clone.
#[derive(Clone)]
pub struct AttemptWriter {
    producer: Arc<PolledProducer<Count>>,
    topic: Arc<str>,
    metrics: Arc<Metrics>,
}

impl AttemptWriter {
    /// Connects in the background.
    ///
    /// # Errors
    /// If librdkafka refuses the configuration.
    pub fn new(
        config: &ClientConfig,
        topic: &str,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        let producer = PolledProducer::new(config, Count(Arc::clone(metrics)))?;
        Ok(Self { producer: Arc::new(producer), topic: topic.into(), metrics: Arc::clone(metrics) })
    }

    /// Hands a record to the queue, or drops it; never waits.
    pub fn write(&self, record: &AttemptRecord<'_>) {
        let encoded = record.encode();
        let key = encoded.key.unwrap_or_default();
        let record = BaseRecord::to(&self.topic).key(key.as_str()).payload(&encoded.value[..]);
        if let Err((error, _)) = self.producer.send(record) {
            debug!(%error, "an attempt is not logged");
            self.metrics.attempt_log_dropped_total.inc();
        }
    }

    /// Waits until everything queued is written or dropped, for at most that long.
    pub fn flush(&self, timeout: Duration) {
        if let Err(error) = self.producer.flush(timeout) {
            debug!(%error, "the last attempts are not logged");
        }
    }
}

impl fmt::Debug for AttemptWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptWriter").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Counts what was not written.
struct Count(Arc<Metrics>);

impl ClientContext for Count {
    fn error(&self, error: KafkaError, reason: &str) {
        // The producer of retries meets the same brokers and says so.
        debug!(%error, reason, "the attempt log has trouble");
    }
}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            debug!(%error, "an attempt is not logged");
            self.0.attempt_log_dropped_total.inc();
        }
    }
}
