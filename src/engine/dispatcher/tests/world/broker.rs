//! The broker of a simulated world: logs with gaps in their offsets, and what each group has committed.

use std::sync::Arc;

use crate::engine::delivery::{Delivery, WaitReason};
use crate::engine::event::{Event, Partition, Source};
use crate::engine::offsets::Progress;
use crate::engine::offsets::encoding;
use crate::engine::retry::Slot;

/// Stands for the one delivery of a record that is no event, in a mask of connections.
pub(super) const REJECTED: u16 = 1 << 15;

/// What a record holds.
#[derive(Debug)]
pub(super) enum Content {
    Event { project: usize, event: Arc<Event> },
    Malformed,
    Parked { delivery: Box<Delivery>, slot: Slot, reason: WaitReason },
}

/// One record, and the truth about it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) content: Content,
    pub(super) was_read: bool,
    /// Who wanted it, as a mask; `None` before it was read in the current assignment.
    pub(super) expected: Option<u16>,
    /// For whom it ended: answered 2xx, or written elsewhere and acknowledged.
    pub(super) done: u16,
    /// How many more were dropped since it was read last.
    pub(super) dropped: u32,
    /// How many of its deliveries were settled in the current assignment.
    pub(super) settled: u32,
    /// It was settled when the group committed; nobody may read it again.
    pub(super) is_committed: bool,
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    next: i64,
}

impl Log {
    /// `gap` is how many offsets a transaction's markers take up before it.
    pub(super) fn append(&mut self, content: Content, gap: i64) -> i64 {
        let offset = self.next + gap;
        self.next = offset + 1;
        self.entries.push(Entry {
            offset,
            content,
            was_read: false,
            expected: None,
            done: 0,
            dropped: 0,
            settled: 0,
            is_committed: false,
        });
        offset
    }

    pub(super) const fn end(&self) -> i64 {
        self.next
    }

    pub(super) fn place(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.offset < offset)
    }

    pub(super) fn at(&mut self, offset: i64) -> &mut Entry {
        let place = self.place(offset);
        let entry = &mut self.entries[place];
        assert_eq!(entry.offset, offset, "a position was read somewhere");
        entry
    }
}

/// All partitions of both groups, each at its place.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) partitions: Vec<Partition>,
    pub(super) logs: Vec<Log>,
    pub(super) committed: Vec<Progress>,
    event_partitions: usize,
    tier_partitions: usize,
}

impl Broker {
    pub(super) fn new(event_partitions: i32, tiers: u16, tier_partitions: u32) -> Self {
        let events = (0..event_partitions).map(|number| (Source::Events, 0, number));
        let tiers = (0..tiers)
            .flat_map(|tier| (0..tier_partitions as i32).map(move |n| (Source::Retries, tier, n)));
        let partitions: Vec<_> = events
            .chain(tiers)
            .map(|(source, topic, number)| Partition { source, topic, number })
            .collect();
        Self {
            logs: partitions.iter().map(|_| Log::default()).collect(),
            committed: vec![Progress::default(); partitions.len()],
            partitions,
            event_partitions: event_partitions as usize,
            tier_partitions: tier_partitions as usize,
        }
    }

    /// Where a partition stands; a map would be asked for it too often.
    pub(super) const fn place(&self, partition: Partition) -> usize {
        let number = partition.number as usize;
        match partition.source {
            Source::Events => number,
            Source::Retries => {
                self.event_partitions + partition.topic as usize * self.tier_partitions + number
            }
        }
    }

    pub(super) fn log(&mut self, partition: Partition) -> &mut Log {
        let place = self.place(partition);
        &mut self.logs[place]
    }

    /// Takes a commit in. Nothing that it covers may be open: that is what "never lost" means.
    pub(super) fn commit(&mut self, partition: Partition, progress: Progress) {
        let inherited = encoding::decode(&progress.metadata, progress.offset).unwrap_or_default();
        let until = inherited.until.max(progress.offset);
        let place = self.place(partition);
        let before = self.committed[place].offset;
        assert!(progress.offset >= before, "{partition:?} went back from {before}: {progress:?}");
        let first = self.logs[place].place(before);
        for entry in &mut self.logs[place].entries[first..] {
            let is_covered =
                entry.offset < until && inherited.open.binary_search(&entry.offset).is_err();
            let is_safe = entry
                .expected
                .is_some_and(|expected| (expected & !entry.done).count_ones() <= entry.dropped);
            assert!(
                is_safe || !is_covered,
                "{partition:?} is committed at {progress:?}, and it is open: {entry:?}",
            );
            let expected = entry.expected.map(u16::count_ones);
            entry.is_committed |= expected == Some(entry.settled);
        }
        self.committed[place] = progress;
    }
}
