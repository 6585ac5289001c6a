//! Records that the broker deleted before this group had read them: its retention has passed what is committed.
//!
//! Nobody can bring them back; they are counted, told, and the reading goes on at what is there. It shows where the
//! offsets of a partition jump; the broker is then asked where its log begins, with the next statistics, so that a slow
//! one keeps nobody waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use tracing::error;

use super::Reader;
use crate::engine::event::Partition;

/// A jump over fewer offsets is markers of transactions; the broker deletes whole segments.
const WIDE: i64 = 100;
/// How long the broker may take to say where a log begins.
const MOMENT: Duration = Duration::from_secs(1);

/// Offsets that were passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jump {
    /// The offset that should have been next.
    due: i64,
    /// The offset that was.
    read: i64,
}

/// Where the offsets of partitions have jumped.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    /// Partitions that have jumped since they were taken over. The first time, even a short jump may be the end of what
    /// was deleted while nobody read.
    known: BTreeSet<Partition>,
    to_look_at: BTreeMap<Partition, Jump>,
}

impl Jumps {
    /// A record was read, but not the one that was due.
    pub(super) fn note(&mut self, partition: Partition, due: i64, read: i64) {
        let is_first = self.known.insert(partition);
        if read - due >= if is_first { 1 } else { WIDE } {
            self.to_look_at.entry(partition).or_insert(Jump { due, read });
        }
    }

    /// One that has not been looked at.
    fn next(&self) -> Option<(Partition, Jump)> {
        self.to_look_at.first_key_value().map(|(&partition, &jump)| (partition, jump))
    }

    fn looked_at(&mut self, partition: Partition) {
        self.to_look_at.remove(&partition);
    }

    /// The partition is given up.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.known.remove(&partition);
        self.to_look_at.remove(&partition);
    }
}

impl Reader {
    /// Finds out which jumps passed over records that were deleted. One that the broker says nothing about stays for the
    /// next time.
    pub(super) fn look_at_jumps(&mut self) {
        while let Some((partition, Jump { due, read })) = self.desk.jumps().next() {
            let topic = &self.topics[usize::from(partition.topic)];
            let log = self.consumer.fetch_watermarks(topic, partition.number, MOMENT);
            let Ok((beginning, _)) = log else { return };
            self.desk.jumps().looked_at(partition);
            let Ok(records @ 1..) = u64::try_from(beginning.min(read) - due) else { continue };
            self.metrics.kafka_records_expired_total.with_label_values(&[topic]).inc_by(records);
            error!(
                topic,
                partition = partition.number,
                records,
                due,
                "records were deleted before they were read"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Source;

    const PARTITION: Partition = Partition { source: Source::Events, topic: 0, number: 3 };

    #[test]
    fn any_first_jump_is_looked_at_and_then_only_wide_ones() {
        let mut jumps = Jumps::default();
        jumps.note(PARTITION, 10, 12);
        assert_eq!(jumps.next(), Some((PARTITION, Jump { due: 10, read: 12 })));
        jumps.looked_at(PARTITION);
        jumps.note(PARTITION, 13, 15);
        assert_eq!(jumps.next(), None, "a marker");
        jumps.note(PARTITION, 16, 9_000);
        jumps.note(PARTITION, 9_001, 20_000);
        assert_eq!(jumps.next(), Some((PARTITION, Jump { due: 16, read: 9_000 })));
        jumps.forget(PARTITION);
        assert_eq!(jumps.next(), None);
        jumps.note(PARTITION, 0, 1);
        assert!(jumps.next().is_some(), "taken over anew");
    }
}
