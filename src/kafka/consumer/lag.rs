//! How far a consumer is behind the log: in records, in seconds, and what it holds.
//!
//! The age of the oldest record that is not settled is known from marks: the first record of each round of reading is
//! noted with the time from which it was wanted, at most one a second of that time. So the age is right to about a
//! second and costs nothing for each record. The consumer's thread asks whenever librdkafka tells the extents of the
//! partitions, and shows what it finds as metrics.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Reader;
use crate::engine::event::{Partition, Source};
use crate::engine::time::Timestamp;

/// Marks are no closer than this.
const MARK_STEP: Duration = Duration::from_secs(1);

/// From where to where the log of a partition reaches, as the broker told it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The first offset that is there; negative if the broker has not told it.
    pub(super) beginning: i64,
    /// The offset of the next record to be written.
    pub(super) end: i64,
    /// The offset after the last one that was fetched.
    pub(super) fetched: i64,
    /// Whether everything below was fetched and read: what lies between is markers of transactions.
    pub(super) is_read: bool,
}

/// The ages of the oldest open records.
#[derive(Debug, Default)]
pub(super) struct Lag {
    partitions: BTreeMap<Partition, Course>,
}

/// The course of one partition.
#[derive(Debug)]
struct Course {
    /// Offsets with the times from which they were wanted; both rise.
    marks: VecDeque<(i64, Timestamp)>,
    /// When it was seen last with nothing open; at first, when it was seen first.
    level_at: Timestamp,
}

impl Lag {
    /// A record was read that was wanted from that time on.
    pub(super) fn note(&mut self, partition: Partition, offset: i64, wanted_at: Timestamp) {
        let course = self
            .partitions
            .entry(partition)
            .or_insert_with(|| Course { marks: VecDeque::new(), level_at: wanted_at });
        let is_close = course
            .marks
            .back()
            .is_some_and(|&(_, last)| last <= wanted_at && wanted_at < last + MARK_STEP);
        if !is_close {
            course.marks.push_back((offset, wanted_at));
        }
    }

    /// The partition is another member's.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.partitions.remove(&partition);
    }

    /// Nothing of the partition is open.
    fn level(&mut self, partition: Partition, now: Timestamp) {
        self.partitions.insert(partition, Course { marks: VecDeque::new(), level_at: now });
    }

    /// The age of the oldest open record of a partition of which everything below `watermark` is settled.
    fn age(&mut self, partition: Partition, watermark: i64, now: Timestamp) -> Duration {
        let new = || Course { marks: VecDeque::new(), level_at: now };
        let course = self.partitions.entry(partition).or_insert_with(new);
        while course.marks.get(1).is_some_and(|&(offset, _)| offset <= watermark) {
            course.marks.pop_front();
        }
        let wanted_at = course.marks.front().map_or(course.level_at, |&(_, wanted_at)| wanted_at);
        now.since(wanted_at)
    }
}

impl Reader {
    /// Shows the lag, and tells what was deleted, if librdkafka has told the partitions' extents anew.
    pub(super) fn show_lag(&mut self, now: Timestamp) {
        let extents = self.context.take_extents();
        if extents.is_empty() {
            return;
        }
        self.show_holdings();
        let mut oldest: BTreeMap<String, Duration> = BTreeMap::new();
        for ((topic, number), extent) in extents {
            let Some(partition) = self.partition(&topic, number) else { continue };
            let Some(watermark) = self.desk.intake().watermark(partition) else { continue };
            self.count_deleted(&topic, partition, extent);
            let is_level = extent.is_read && !self.desk.has_open(partition);
            let records = if is_level { 0 } else { (extent.end - watermark).max(0) };
            let labels = [topic.as_str(), &number.to_string()];
            self.metrics.kafka_lag_records.with_label_values(&labels).set(records);
            let age = if records == 0 {
                self.lag.level(partition, now);
                Duration::ZERO
            } else {
                self.lag.age(partition, watermark, now)
            };
            let topic_age = oldest.entry(topic).or_default();
            *topic_age = age.max(*topic_age);
        }
        for (topic, age) in oldest {
            let secs = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            self.metrics.kafka_lag_seconds.with_label_values(&[&topic]).set(secs);
        }
        if self.source == Source::Retries {
            self.show_next_dues();
        }
    }

    /// Takes the series of a partition away that is not ours any more; its next owner shows them.
    pub(super) fn forget_lag(&mut self, partition: Partition) {
        self.lag.forget(partition);
        let topic = &self.topics[usize::from(partition.topic)];
        // It has no series if no statistics came while it was ours.
        let labels = [topic.as_str(), &partition.number.to_string()];
        let _ = self.metrics.kafka_lag_records.remove_label_values(&labels);
        if !self.desk.intake().assignment().any(|(other, _)| other.topic == partition.topic) {
            let _ = self.metrics.kafka_lag_seconds.remove_label_values(&[topic]);
            let _ = self.metrics.kafka_next_due_timestamp_seconds.remove_label_values(&[topic]);
        }
    }

    fn show_holdings(&self) {
        let (intake, label) = (self.desk.intake(), [self.source.as_str()]);
        let as_gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let owned = intake.assignment().count() as u64;
        self.metrics.kafka_assigned_partitions.with_label_values(&label).set(as_gauge(owned));
        let (deliveries, bytes) = (intake.open_deliveries(), intake.open_bytes());
        self.metrics.open_deliveries.with_label_values(&label).set(as_gauge(deliveries));
        self.metrics.open_bytes.with_label_values(&label).set(as_gauge(bytes));
    }

    fn show_next_dues(&self) {
        let mut first: BTreeMap<u16, Timestamp> = BTreeMap::new();
        for (partition, due) in self.desk.intake().held() {
            let earliest = first.entry(partition.topic).or_insert(due);
            *earliest = due.min(*earliest);
        }
        for (partition, _) in self.desk.intake().assignment() {
            let topic = &self.topics[usize::from(partition.topic)];
            let secs = first.get(&partition.topic).map_or(0, |due| due.as_nanos() / 1_000_000_000);
            let gauge = self.metrics.kafka_next_due_timestamp_seconds.with_label_values(&[topic]);
            gauge.set(i64::try_from(secs).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITION: Partition = Partition { source: Source::Events, topic: 0, number: 3 };
    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn before(secs: u64) -> Timestamp {
        NOW - Duration::from_secs(secs)
    }

    #[test]
    fn the_age_is_that_of_the_oldest_open_record_and_not_of_the_last_read() {
        let mut lag = Lag::default();
        for (offset, age) in [(10, 300), (20, 200), (30, 1)] {
            lag.note(PARTITION, offset, before(age));
        }
        assert_eq!(lag.age(PARTITION, 10, NOW).as_secs(), 300);
        assert_eq!(lag.age(PARTITION, 25, NOW).as_secs(), 200);
        assert_eq!(lag.age(PARTITION, 31, NOW).as_secs(), 1);
    }

    #[test]
    fn a_record_that_comes_after_a_quiet_hour_is_not_an_hour_old() {
        let mut lag = Lag::default();
        lag.note(PARTITION, 10, before(3_600));
        lag.level(PARTITION, before(5));
        assert_eq!(lag.age(PARTITION, 11, NOW).as_secs(), 5, "written since, and not read yet");
    }

    #[test]
    fn what_is_not_due_yet_is_not_late() {
        let mut lag = Lag::default();
        lag.note(PARTITION, 10, NOW + Duration::from_hours(15));
        assert_eq!(lag.age(PARTITION, 10, NOW), Duration::ZERO);
    }

    #[test]
    fn a_fast_topic_costs_a_mark_a_second() {
        let mut lag = Lag::default();
        for millis in 0..10_000_u64 {
            let at = NOW + Duration::from_millis(millis);
            lag.note(PARTITION, i64::try_from(millis).unwrap(), at);
        }
        assert_eq!(lag.partitions[&PARTITION].marks.len(), 10);
    }
}
