//! What is not delivered at once, as a stranger reads it: the records of the tiers and of the dead letters.
//!
//! A consumer of the demo's own, in no group, follows the topics from their beginning and counts by connection and
//! reason. When the service has stopped, [`Waiting`] says which records of the tiers its group has left for its next
//! start. Neither asks the engine.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::tally::DeadLetters;
use crate::engine::delivery::WaitReason;
use crate::engine::offsets::{Admission, OffsetTracker};
use crate::kafka::record::delivery::{CONNECTION, REASON};

/// One question to the broker, which is in this process.
const QUESTION: Duration = Duration::from_secs(5);

/// How long the last records may take to be read.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A wait for one record, where there must be one.
const POLL: Duration = Duration::from_millis(50);

/// A topic and how many partitions it has.
pub(super) type Topic = (String, i32);

/// What the topics hold of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    /// Put into a tier after a failed attempt.
    pub(super) retried: u64,
    /// Put into a tier without one.
    pub(super) parked: u64,
    /// Given up.
    pub(super) dead: DeadLetters,
}

/// The follower of the topics.
pub(super) struct Leftovers {
    consumer: BaseConsumer,
    dead_letters: String,
    /// By the connection's id; the empty one is for what was no event.
    fates: BTreeMap<String, Fate>,
}

impl Leftovers {
    /// Follows these topics from their beginning.
    pub(super) fn follow(
        config: &ClientConfig,
        tiers: &[Topic],
        dead_letters: &Topic,
    ) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in tiers.iter().chain([dead_letters]) {
            list.add_partition_range(topic, 0, partitions - 1);
        }
        list.set_all_offsets(Offset::Beginning)?;
        consumer.assign(&list)?;
        Ok(Self { consumer, dead_letters: dead_letters.0.clone(), fates: BTreeMap::new() })
    }

    /// Takes in what has come, without waiting.
    pub(super) fn take_in(&mut self) -> Result<(), KafkaError> {
        while let Some(record) = self.consumer.poll(Duration::ZERO) {
            count(&mut self.fates, &self.dead_letters, &record?);
        }
        Ok(())
    }

    /// Takes in everything that is there now, when nobody writes any more.
    pub(super) fn take_in_all(&mut self) -> Result<(), KafkaError> {
        let started = Instant::now();
        while !self.is_at_end()? && started.elapsed() < END_LIMIT {
            if let Some(record) = self.consumer.poll(POLL) {
                count(&mut self.fates, &self.dead_letters, &record?);
            }
            self.take_in()?;
        }
        Ok(())
    }

    /// What was found of a connection.
    pub(super) fn fate(&self, connection: &str) -> Fate {
        self.fates.get(connection).cloned().unwrap_or_default()
    }

    fn is_at_end(&self) -> Result<bool, KafkaError> {
        for place in self.consumer.position()?.elements() {
            let (_, end) =
                self.consumer.fetch_watermarks(place.topic(), place.partition(), QUESTION)?;
            if offset(place.offset()) < end {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl fmt::Debug for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leftovers").field("fates", &self.fates).finish_non_exhaustive()
    }
}

fn count(fates: &mut BTreeMap<String, Fate>, dead_letters: &str, record: &BorrowedMessage<'_>) {
    let fate = fates.entry(header(record, CONNECTION).to_owned()).or_default();
    let reason = header(record, REASON);
    if record.topic() == dead_letters {
        fate.dead.count(reason);
    } else if reason == WaitReason::Retry.as_str() {
        fate.retried += 1;
    } else {
        fate.parked += 1;
    }
}

/// The last header of a name; empty where there is none.
fn header<'a>(record: &'a BorrowedMessage<'_>, name: &str) -> &'a str {
    let Some(headers) = record.headers() else { return "" };
    let last = headers.iter().filter(|header| header.key == name).last();
    last.and_then(|header| std::str::from_utf8(header.value?).ok()).unwrap_or_default()
}

/// A position; nothing was read where there is none.
const fn offset(offset: Offset) -> i64 {
    match offset {
        Offset::Offset(offset) => offset,
        Offset::Beginning
        | Offset::End
        | Offset::Stored
        | Offset::Invalid
        | Offset::OffsetTail(_) => 0,
    }
}

/// What the group of the tiers has not settled, when it has stopped.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<String, u64>);

impl Waiting {
    /// Reads the group's commits and the records that they leave open.
    pub(super) fn of_group(config: &ClientConfig, tiers: &[Topic]) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer = config.create()?;
        let mut list = TopicPartitionList::new();
        for (topic, partitions) in tiers {
            list.add_partition_range(topic, 0, partitions - 1);
        }
        let mut open = TopicPartitionList::new();
        let mut parts = BTreeMap::new();
        for part in consumer.committed_offsets(list, QUESTION)?.elements() {
            let watermark = offset(part.offset());
            let (_, end) = consumer.fetch_watermarks(part.topic(), part.partition(), QUESTION)?;
            if watermark < end {
                open.add_partition_offset(
                    part.topic(),
                    part.partition(),
                    Offset::Offset(watermark),
                )?;
                let tracker = OffsetTracker::resume(watermark, part.metadata());
                parts.insert((part.topic().to_owned(), part.partition()), Part { tracker, end });
            }
        }
        consumer.assign(&open)?;
        let mut waiting = Self::default();
        let started = Instant::now();
        while !parts.is_empty() && started.elapsed() < END_LIMIT {
            if let Some(record) = consumer.poll(POLL) {
                waiting.count(&record?, &mut parts);
            }
        }
        Ok(waiting)
    }

    /// How many records wait for a connection.
    pub(super) fn of(&self, connection: &str) -> u64 {
        self.0.get(connection).copied().unwrap_or_default()
    }

    fn count(&mut self, record: &BorrowedMessage<'_>, parts: &mut BTreeMap<(String, i32), Part>) {
        let key = (record.topic().to_owned(), record.partition());
        let Some(part) = parts.get_mut(&key) else { return };
        match part.tracker.admit(record.offset()) {
            Admission::Fresh => {
                *self.0.entry(header(record, CONNECTION).to_owned()).or_default() += 1;
            }
            Admission::Settled => {}
        }
        if record.offset() + 1 >= part.end {
            parts.remove(&key);
        }
    }
}

/// A partition that is not read to its end.
struct Part {
    /// As the service would resume it.
    tracker: OffsetTracker,
    end: i64,
}
