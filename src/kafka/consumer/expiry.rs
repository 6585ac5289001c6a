//! Records that the broker deleted before this group had read them: its retention has passed what is committed.
//!
//! Nobody can bring them back; they are counted, told, and the reading goes on at what is there. It shows where the
//! offsets of a partition jump. Whether its log begins behind the jump comes with librdkafka's next statistics, for the
//! broker tells that with all that is fetched: nobody has to be asked, and the reading waits for nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use tracing::{error, warn};

use super::Reader;
use super::lag::Extent;
use crate::engine::event::Partition;

/// A jump over fewer offsets is markers of transactions; the broker deletes whole segments.
const WIDE: i64 = 100;
/// So many jumps of a partition are kept until they are explained; more in five seconds are more than markers and
/// deletions.
const KEPT: usize = 16;
/// How long the broker may take to say where a log begins.
const MOMENT: Duration = Duration::from_secs(1);

/// Offsets that were passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Jump {
    /// The offset that should have been next.
    due: i64,
    /// The offset that was.
    read: i64,
}

impl Jump {
    /// How many of the offsets were deleted.
    fn deleted(self, beginning: i64) -> u64 {
        u64::try_from(beginning.min(self.read) - self.due).unwrap_or(0)
    }
}

/// Where the offsets of partitions have jumped.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    /// Partitions that have jumped since they were taken over. The first time, even a short jump may be the end of what
    /// was deleted while nobody read.
    known: BTreeSet<Partition>,
    /// Jumps of which it is not known yet what they passed over.
    open: BTreeMap<Partition, Vec<Jump>>,
}

impl Jumps {
    /// A record was read, but not the one that was due.
    pub(super) fn note(&mut self, partition: Partition, due: i64, read: i64) {
        let is_first = self.known.insert(partition);
        if read - due >= if is_first { 1 } else { WIDE } {
            let open = self.open.entry(partition).or_default();
            if open.len() < KEPT {
                open.push(Jump { due, read });
            }
        }
    }

    /// Takes the jumps of a partition that this extent of its log explains: it was told after they were fetched.
    fn explain(&mut self, partition: Partition, extent: Extent) -> Vec<Jump> {
        let Some(open) = self.open.get_mut(&partition) else { return Vec::new() };
        open.extract_if(.., |jump| extent.beginning >= 0 && extent.fetched > jump.read).collect()
    }

    /// Takes all that are open of a partition.
    fn take(&mut self, partition: Partition) -> Vec<Jump> {
        self.open.remove(&partition).unwrap_or_default()
    }

    /// The partition is given up.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.known.remove(&partition);
        self.open.remove(&partition);
    }
}

impl Reader {
    /// Counts and tells what was deleted before it was read, now that it is known where the partition begins.
    pub(super) fn count_deleted(&mut self, topic: &str, partition: Partition, extent: Extent) {
        for jump in self.desk.jumps().explain(partition, extent) {
            self.tell_deleted(topic, partition, jump, extent.beginning);
        }
    }

    /// Asks what was deleted of partitions that are given up: with their last commit, nobody sees the jump again.
    pub(super) fn ask_for_deleted(&mut self, partitions: &[Partition]) {
        for &partition in partitions {
            let jumps = self.desk.jumps().take(partition);
            if jumps.is_empty() {
                continue;
            }
            let topic = &self.topics[usize::from(partition.topic)];
            match self.consumer.fetch_watermarks(topic, partition.number, MOMENT) {
                Ok((beginning, _)) => {
                    for jump in jumps {
                        self.tell_deleted(topic, partition, jump, beginning);
                    }
                }
                Err(error) => {
                    warn!(%error, topic, partition = partition.number, ?jumps, "records may have been deleted before they were read");
                }
            }
        }
    }

    fn tell_deleted(&self, topic: &str, partition: Partition, jump: Jump, beginning: i64) {
        let records = jump.deleted(beginning);
        if records == 0 {
            return;
        }
        self.metrics.kafka_records_expired_total.with_label_values(&[topic]).inc_by(records);
        error!(
            topic,
            partition = partition.number,
            records,
            due = jump.due,
            "records were deleted before they were read"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Source;

    const PARTITION: Partition = Partition { source: Source::Events, topic: 0, number: 3 };

    const fn extent(beginning: i64, fetched: i64) -> Extent {
        Extent { beginning, end: fetched, fetched, is_read: true }
    }

    #[test]
    fn any_first_jump_is_kept_and_then_only_wide_ones() {
        let mut jumps = Jumps::default();
        jumps.note(PARTITION, 10, 12);
        let first = jumps.explain(PARTITION, extent(0, 13));
        assert_eq!(first, [Jump { due: 10, read: 12 }]);
        jumps.note(PARTITION, 13, 15);
        assert_eq!(jumps.explain(PARTITION, extent(0, 16)), [], "a marker");
        jumps.note(PARTITION, 16, 9_000);
        jumps.note(PARTITION, 9_001, 20_000);
        let wide = jumps.explain(PARTITION, extent(20_000, 20_001));
        assert_eq!(wide, [Jump { due: 16, read: 9_000 }, Jump { due: 9_001, read: 20_000 }]);
        assert_eq!(jumps.explain(PARTITION, extent(20_000, 20_001)), [], "told once");
    }

    #[test]
    fn what_was_told_before_the_jump_explains_nothing() {
        let mut jumps = Jumps::default();
        jumps.note(PARTITION, 10, 500);
        assert_eq!(jumps.explain(PARTITION, extent(0, 10)), []);
        assert_eq!(jumps.explain(PARTITION, extent(-1, 501)), [], "the last fetch failed");
        assert_eq!(jumps.explain(PARTITION, extent(500, 501)).len(), 1);
    }

    #[test]
    fn a_partition_that_is_taken_over_anew_has_jumped_nowhere() {
        let mut jumps = Jumps::default();
        jumps.note(PARTITION, 10, 12);
        jumps.forget(PARTITION);
        assert_eq!(jumps.explain(PARTITION, extent(0, 13)), []);
        jumps.note(PARTITION, 0, 1);
        assert_eq!(
            jumps.take(PARTITION),
            [Jump { due: 0, read: 1 }],
            "not explained when it is given up"
        );
        assert_eq!(jumps.explain(PARTITION, extent(1, 2)), []);
    }

    #[test]
    fn only_what_lies_below_the_beginning_was_deleted() {
        let jump = Jump { due: 10, read: 500 };
        let deleted = [0, 10, 11, 500, 900].map(|beginning| jump.deleted(beginning));
        assert_eq!(deleted, [0, 0, 1, 490, 490]);
    }
}
