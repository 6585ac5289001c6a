//! Records that the broker deleted before this group had read them: its retention has passed what is committed.
//!
//! Nobody can bring them back; they are counted, told, and the reading goes on at what is there. It shows where the
//! offsets of a partition jump; the broker is then asked where its log begins. Nothing is read meanwhile, so one that is
//! slow to answer is left alone for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use tracing::error;

use super::Reader;
use crate::engine::event::Partition;
use crate::engine::time::Timestamp;

/// A jump over fewer offsets is markers of transactions; the broker deletes whole segments.
const WIDE: i64 = 100;
/// How long the broker may take to say where a log begins.
const MOMENT: Duration = Duration::from_secs(1);
/// How long it is left alone when it did not.
const PAUSE: Duration = Duration::from_secs(5);

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
    not_before: Timestamp,
}

impl Jumps {
    /// A record was read, but not the one that was due.
    pub(super) fn note(&mut self, partition: Partition, due: i64, read: i64) {
        let is_first = self.known.insert(partition);
        if read - due >= if is_first { 1 } else { WIDE } {
            self.to_look_at.entry(partition).or_insert(Jump { due, read });
        }
    }

    /// One that is to be looked at now.
    fn next(&self, now: Timestamp) -> Option<(Partition, Jump)> {
        let (&partition, &jump) = self.to_look_at.first_key_value()?;
        (now >= self.not_before).then_some((partition, jump))
    }

    const fn leave_alone(&mut self, until: Timestamp) {
        self.not_before = until;
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
    /// Finds out which jumps passed over records that were deleted.
    pub(super) fn look_at_jumps(&mut self) {
        while let Some((partition, Jump { due, read })) = self.desk.jumps().next(self.clock.now()) {
            let topic = &self.topics[usize::from(partition.topic)];
            let log = self.consumer.fetch_watermarks(topic, partition.number, MOMENT);
            let Ok((beginning, _)) = log else {
                let until = self.clock.now() + PAUSE;
                return self.desk.jumps().leave_alone(until);
            };
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
        let (mut jumps, now) = (Jumps::default(), Timestamp::from_secs(100));
        jumps.note(PARTITION, 10, 12);
        assert_eq!(jumps.next(now), Some((PARTITION, Jump { due: 10, read: 12 })));
        jumps.looked_at(PARTITION);
        jumps.note(PARTITION, 13, 15);
        assert_eq!(jumps.next(now), None, "a marker");
        jumps.note(PARTITION, 16, 9_000);
        jumps.note(PARTITION, 9_001, 20_000);
        jumps.leave_alone(now + PAUSE);
        assert_eq!(jumps.next(now), None, "the broker does not answer");
        let later = now + PAUSE;
        assert_eq!(jumps.next(later), Some((PARTITION, Jump { due: 16, read: 9_000 })));
        jumps.forget(PARTITION);
        assert_eq!(jumps.next(later), None);
        jumps.note(PARTITION, 0, 1);
        assert!(jumps.next(later).is_some(), "taken over anew");
    }
}
