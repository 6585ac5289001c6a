//! Records that the broker deleted before this group had read them: its retention has passed what is committed.
//!
//! Nobody can bring them back; they are counted, told, and the reading goes on at what is there. It is looked for where
//! a partition is taken over, and where the offsets jump while it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use tracing::error;

use super::Reader;
use crate::engine::event::Partition;

/// A jump over fewer offsets is markers of transactions; the broker deletes whole segments.
const JUMP: i64 = 100;
/// How long the broker may take to say where a log begins.
const MOMENT: Duration = Duration::from_secs(1);

/// Where the offsets of partitions have jumped.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    /// Partitions of which anything was read; what was missing before was found when they were taken over.
    begun: BTreeSet<Partition>,
    /// The offset that should have been next.
    due: BTreeMap<Partition, i64>,
}

impl Jumps {
    /// A record was read where another one may have been due.
    pub(super) fn note(&mut self, partition: Partition, due: i64, read: i64) {
        if !self.begun.insert(partition) && read - due >= JUMP {
            self.due.entry(partition).or_insert(due);
        }
    }

    /// The jumps since this was asked last: the offsets that were due.
    pub(super) fn take(&mut self) -> BTreeMap<Partition, i64> {
        std::mem::take(&mut self.due)
    }

    /// The partition is given up.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.begun.remove(&partition);
        self.due.remove(&partition);
    }
}

impl Reader {
    /// Looks whether what is next for the group is still there. Answers whether the broker did: one that is slow is not
    /// to be asked again now, for nothing is read meanwhile.
    pub(super) fn look_for_expired(&self, partition: Partition, next: i64) -> bool {
        let topic = &self.topics[usize::from(partition.topic)];
        let Ok((low, _)) = self.consumer.fetch_watermarks(topic, partition.number, MOMENT) else {
            return false;
        };
        let Ok(records @ 1..) = u64::try_from(low - next) else { return true };
        self.metrics.kafka_records_expired_total.with_label_values(&[topic]).inc_by(records);
        error!(
            topic,
            partition = partition.number,
            records,
            next,
            "records were deleted before they were read"
        );
        true
    }

    /// Looks where offsets have jumped since the last time.
    pub(super) fn look_at_jumps(&mut self) {
        for (partition, due) in self.desk.take_jumps() {
            if !self.look_for_expired(partition, due) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Source;

    const PARTITION: Partition = Partition { source: Source::Events, topic: 0, number: 3 };

    #[test]
    fn only_a_wide_jump_within_what_is_read_is_looked_at() {
        let mut jumps = Jumps::default();
        jumps.note(PARTITION, 10, 5_000);
        assert!(
            jumps.take().is_empty(),
            "the first: it was looked at when the partition was taken over"
        );
        jumps.note(PARTITION, 5_001, 5_003);
        assert!(jumps.take().is_empty(), "a marker");
        jumps.note(PARTITION, 5_004, 9_000);
        jumps.note(PARTITION, 9_001, 20_000);
        assert_eq!(jumps.take(), BTreeMap::from([(PARTITION, 5_004)]));
        jumps.forget(PARTITION);
        jumps.note(PARTITION, 0, 5_000);
        assert!(jumps.take().is_empty());
    }
}
