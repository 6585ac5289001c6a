//! What one consumer may read, and what it may commit.
//!
//! It owns the assignment: an [`OffsetTracker`] for each partition under an [`Epoch`], the memory budget in
//! deliveries and bytes, and the times until which tier partitions are held. It never polls and never commits; the
//! consumer's thread asks it and does so.

use std::collections::BTreeMap;

use super::event::{Epoch, Partition, Position};
use super::offsets::{Admission, OffsetTracker, Progress};
use super::time::Timestamp;

/// How many offsets of a partition may lie between its watermark and the last one read. The metadata can describe a
/// window of this size in all but hostile patterns.
const MAX_WINDOW: u64 = 100_000;

/// What a consumer may hold in memory.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Deliveries that are not settled.
    pub deliveries: u64,
    /// Bytes of their events.
    pub bytes: u64,
}

/// A delivery has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Where its record was read.
    pub position: Position,
    /// What it took of the budget.
    pub bytes: u64,
}

/// Where the reading of a partition begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// At what the group has committed.
    Committed(Progress),
    /// Nothing is committed: at this offset. It is committed at once, so that it shows later what was deleted unread.
    At(i64),
}

impl Start {
    /// The first offset that is not known to be settled.
    #[must_use]
    pub const fn offset(&self) -> i64 {
        match self {
            Self::Committed(progress) => progress.offset,
            Self::At(offset) => *offset,
        }
    }
}

/// What is to be committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub partition: Partition,
    /// The assignment that it holds for.
    pub epoch: Epoch,
    /// The watermark and what is settled beyond it.
    pub progress: Progress,
}

/// The state of one consumer.
#[derive(Debug)]
pub struct Intake {
    assigned: BTreeMap<Partition, Assigned>,
    budget: Budget,
    open_deliveries: u64,
    open_bytes: u64,
    last_epoch: u32,
    stale_settlements: u64,
}

#[derive(Debug)]
struct Assigned {
    epoch: Epoch,
    tracker: OffsetTracker,
    /// What the broker has acknowledged.
    committed: Option<Progress>,
    /// A tier's head is not due before.
    held_until: Option<Timestamp>,
}

impl Intake {
    /// Nothing assigned.
    #[must_use]
    pub const fn new(budget: Budget) -> Self {
        Self {
            assigned: BTreeMap::new(),
            budget,
            open_deliveries: 0,
            open_bytes: 0,
            last_epoch: 0,
            stale_settlements: 0,
        }
    }

    /// A partition was assigned.
    pub fn assign(&mut self, partition: Partition, start: Start) -> Epoch {
        self.last_epoch += 1;
        let epoch = Epoch(self.last_epoch);
        let (tracker, committed) = match start {
            Start::Committed(progress) => {
                (OffsetTracker::resume(progress.offset, &progress.metadata), Some(progress))
            }
            Start::At(offset) => (OffsetTracker::resume(offset, ""), None),
        };
        let assigned = Assigned { epoch, tracker, committed, held_until: None };
        self.assigned.insert(partition, assigned);
        epoch
    }

    /// A partition was taken away. What is still open of it ends as stale.
    pub fn forget(&mut self, partition: Partition) {
        self.assigned.remove(&partition);
    }

    /// The assigned partitions with their epochs.
    pub fn assignment(&self) -> impl Iterator<Item = (Partition, Epoch)> {
        self.assigned.iter().map(|(&partition, assigned)| (partition, assigned.epoch))
    }

    /// Whether there is room for more.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.open_deliveries < self.budget.deliveries && self.open_bytes < self.budget.bytes
    }

    /// Whether that partition may be polled.
    #[must_use]
    pub fn may_poll(&self, partition: Partition, now: Timestamp) -> bool {
        let Some(assigned) = self.assigned.get(&partition) else { return false };
        let is_due = assigned.held_until.is_none_or(|until| until <= now);
        is_due && self.has_room() && assigned.tracker.window() < MAX_WINDOW
    }

    /// A tier's head is not due yet: the partition rests until then.
    pub fn hold(&mut self, partition: Partition, until: Timestamp) {
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.held_until = Some(until);
        }
    }

    /// The head of a held partition is taken up.
    pub fn release_hold(&mut self, partition: Partition) {
        if let Some(assigned) = self.assigned.get_mut(&partition) {
            assigned.held_until = None;
        }
    }

    /// The partitions whose heads are not due, with the times until which they rest.
    pub fn held(&self) -> impl Iterator<Item = (Partition, Timestamp)> {
        let held = |(&partition, assigned): (&Partition, &Assigned)| {
            assigned.held_until.map(|until| (partition, until))
        };
        self.assigned.iter().filter_map(held)
    }

    /// When the first held partition falls due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.assigned.values().filter_map(|assigned| assigned.held_until).min()
    }

    /// A record was read; `None` if it is not to be delivered here (again).
    pub fn admit(&mut self, partition: Partition, offset: i64) -> Option<Position> {
        let assigned = self.assigned.get_mut(&partition)?;
        match assigned.tracker.admit(offset) {
            Admission::Settled => None,
            Admission::Fresh => Some(Position { partition, epoch: assigned.epoch, offset }),
        }
    }

    /// The record just admitted has so many deliveries of so many bytes each.
    pub fn begin(&mut self, position: Position, deliveries: u32, bytes_each: u64) {
        let Some(assigned) = self.current(position) else { return };
        assigned.tracker.begin(position.offset, deliveries);
        self.open_deliveries += u64::from(deliveries);
        self.open_bytes += u64::from(deliveries) * bytes_each;
    }

    /// A delivery has ended. One of an earlier assignment only frees its memory.
    pub fn settle(&mut self, settlement: Settlement) {
        self.open_deliveries = self.open_deliveries.saturating_sub(1);
        self.open_bytes = self.open_bytes.saturating_sub(settlement.bytes);
        match self.current(settlement.position) {
            Some(assigned) => {
                assigned.tracker.settle(settlement.position.offset);
            }
            None => self.stale_settlements += 1,
        }
    }

    /// The offset after the last one that was read of a partition.
    #[must_use]
    pub fn next_offset(&self, partition: Partition) -> Option<i64> {
        self.assigned.get(&partition).map(|assigned| assigned.tracker.next_offset())
    }

    /// How many records of these partitions are open.
    #[must_use]
    pub fn open_records(&self, partitions: &[Partition]) -> usize {
        partitions
            .iter()
            .filter_map(|partition| self.assigned.get(partition))
            .map(|assigned| assigned.tracker.open_records())
            .sum()
    }

    /// How many deliveries are open, in all partitions.
    #[must_use]
    pub const fn open_deliveries(&self) -> u64 {
        self.open_deliveries
    }

    /// The bytes of their events.
    #[must_use]
    pub const fn open_bytes(&self) -> u64 {
        self.open_bytes
    }

    /// How many deliveries ended after their partition was gone.
    #[must_use]
    pub const fn stale_settlements(&self) -> u64 {
        self.stale_settlements
    }

    /// Below this, everything of a partition is settled.
    #[must_use]
    pub fn watermark(&self, partition: Partition) -> Option<i64> {
        self.assigned.get(&partition).map(|assigned| assigned.tracker.watermark())
    }

    /// What has changed since the last acknowledged commit.
    #[must_use]
    pub fn commits(&self) -> Vec<Commit> {
        self.assigned
            .iter()
            .map(|(&partition, assigned)| Commit {
                partition,
                epoch: assigned.epoch,
                progress: assigned.tracker.progress(),
            })
            .filter(|commit| {
                self.assigned[&commit.partition].committed.as_ref() != Some(&commit.progress)
            })
            .collect()
    }

    /// The broker has acknowledged a commit.
    pub fn committed(&mut self, commit: Commit) {
        if let Some(assigned) = self.assigned.get_mut(&commit.partition)
            && assigned.epoch == commit.epoch
        {
            assigned.committed = Some(commit.progress);
        }
    }

    fn current(&mut self, position: Position) -> Option<&mut Assigned> {
        self.assigned
            .get_mut(&position.partition)
            .filter(|assigned| assigned.epoch == position.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Source;

    const PARTITION: Partition = Partition { source: Source::Events, topic: 0, number: 3 };
    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn start() -> Start {
        Start::Committed(Progress { offset: 5, metadata: String::new() })
    }

    fn intake() -> Intake {
        let mut intake = Intake::new(Budget { deliveries: 3, bytes: 1_000 });
        intake.assign(PARTITION, start());
        intake
    }

    fn read(intake: &mut Intake, offset: i64, deliveries: u32) -> Position {
        let position = intake.admit(PARTITION, offset).unwrap();
        intake.begin(position, deliveries, 100);
        position
    }

    #[test]
    fn a_full_budget_stops_the_polling_until_something_is_settled() {
        let mut intake = intake();
        let position = read(&mut intake, 5, 3);
        assert!(!intake.may_poll(PARTITION, NOW));
        intake.settle(Settlement { position, bytes: 100 });
        assert!(intake.may_poll(PARTITION, NOW));
    }

    #[test]
    fn a_completion_of_an_old_epoch_frees_memory_and_moves_nothing() {
        let mut intake = intake();
        let position = read(&mut intake, 5, 1);
        intake.forget(PARTITION);
        intake.assign(PARTITION, start());
        let again = read(&mut intake, 5, 1);
        intake.settle(Settlement { position, bytes: 100 });
        assert_eq!(intake.watermark(PARTITION), Some(5));
        assert_eq!((intake.open_deliveries(), intake.stale_settlements()), (1, 1));
        intake.settle(Settlement { position: again, bytes: 100 });
        assert_eq!(intake.watermark(PARTITION), Some(6));
    }

    #[test]
    fn only_what_has_changed_is_committed() {
        let mut intake = intake();
        assert_eq!(intake.commits(), []);
        let position = read(&mut intake, 5, 1);
        assert_eq!(intake.commits(), []);
        intake.settle(Settlement { position, bytes: 100 });
        let commits = intake.commits();
        assert_eq!(commits[0].progress.offset, 6);
        assert_eq!(intake.commits(), commits, "until it is acknowledged");
        intake.committed(commits[0].clone());
        assert_eq!(intake.commits(), []);
    }

    #[test]
    fn where_a_partition_begins_is_committed_before_anything_is_read() {
        let mut intake = intake();
        intake.assign(PARTITION, Start::At(7));
        let commits = intake.commits();
        assert_eq!(commits[0].progress, Progress { offset: 7, metadata: String::new() });
        intake.committed(commits[0].clone());
        assert_eq!(intake.commits(), []);
    }

    #[test]
    fn a_held_partition_rests_until_it_is_due() {
        let mut intake = intake();
        let due = Timestamp::from_secs(2_000);
        intake.hold(PARTITION, due);
        assert!(!intake.may_poll(PARTITION, NOW));
        assert_eq!(intake.next_due(), Some(due));
        assert!(intake.may_poll(PARTITION, due));
        intake.release_hold(PARTITION);
        assert!(intake.may_poll(PARTITION, NOW));
    }
}
