//! Whether this user may read what the service reads.
//!
//! A user who may not read a topic may still see it, and what is in it would wait for ever without a word. No request
//! asks for the right itself, so the end of one partition of each topic is fetched: nothing is read, joined or
//! committed. [`super::Topics::examine`] asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::TopicsError;
use crate::kafka::client::KafkaConfig;

/// A healthy cluster answers in a tenth of a second; what has no answer by then shows itself when the service runs.
const PATIENCE: Duration = Duration::from_secs(5);
/// One look at one topic's answer.
const LOOK: Duration = Duration::from_millis(10);

/// Notes that the broker has refused something.
#[derive(Default)]
struct Refusals(AtomicBool);

impl ClientContext for Refusals {
    fn error(&self, error: KafkaError, _: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl ConsumerContext for Refusals {}

/// Those of the topics that this user may not read; each must be there.
pub(super) fn unreadable<'a>(
    kafka: &KafkaConfig,
    topics: &BTreeSet<&'a str>,
) -> Result<Vec<&'a str>, TopicsError> {
    let mut config = kafka.table_reader();
    // The end of a partition is the proof that it may be read.
    config.set("enable.partition.eof", "true");
    let consumer: Arc<BaseConsumer<Refusals>> =
        Arc::new(config.create_with_context(Refusals::default()).map_err(TopicsError::Client)?);
    let mut list = TopicPartitionList::new();
    for topic in topics {
        list.add_partition_offset(topic, 0, Offset::End).map_err(TopicsError::Client)?;
    }
    let mut unanswered: Vec<_> = topics
        .iter()
        .filter_map(|&topic| Some((topic, consumer.split_partition_queue(topic, 0)?)))
        .collect();
    consumer.assign(&list).map_err(TopicsError::Client)?;
    let end = Instant::now() + PATIENCE;
    let mut refused = Vec::new();
    while !unanswered.is_empty() && Instant::now() < end {
        // Serves the client's own events; that a partition has ended comes by its queue.
        let _ = consumer.poll(Duration::ZERO);
        unanswered.retain(|(topic, queue)| match answer(&consumer, queue) {
            None => true,
            Some(is_readable) => {
                if !is_readable {
                    refused.push(*topic);
                }
                false
            }
        });
    }
    // Its queues must be gone before the consumer is.
    drop(unanswered);
    Ok(refused)
}

/// Whether the topic may be read; `None` while the broker has not said.
fn answer(consumer: &BaseConsumer<Refusals>, queue: &PartitionQueue<Refusals>) -> Option<bool> {
    let refused = &consumer.context().0;
    refused.store(false, Ordering::Relaxed);
    match queue.poll(LOOK) {
        Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => Some(true),
        Some(Err(_)) | None => refused.load(Ordering::Relaxed).then_some(false),
    }
}
