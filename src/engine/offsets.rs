//! What is settled of one partition in one assignment.
//!
//! The *watermark* is the offset below which everything is settled; it is what is committed. Beyond it, the tracker
//! knows each record that is still open. Records that nobody wants are never written down, gaps in the offsets cost
//! nothing, and an open record costs 16 bytes. What is settled beyond the watermark travels in the commit's metadata
//! ([`encoding`]), so that the next owner of the partition repeats only what was really open.

pub mod encoding;

use std::collections::VecDeque;

/// What a commit says: everything below `offset` is settled, and of the rest what `metadata` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The watermark.
    pub offset: i64,
    /// The settled offsets beyond it, encoded; empty if there are none.
    pub metadata: String,
}

/// How a record that was just read is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new here.
    Fresh,
    /// An earlier owner has settled it; it must not be delivered again.
    Settled,
}

/// The tracker of one partition.
#[derive(Debug)]
pub struct OffsetTracker {
    /// Records that are not settled, by rising offset; settled ones stay until all before them are.
    records: VecDeque<Tracked>,
    /// The offset after the last one that was read.
    next: i64,
    /// Below this, an earlier owner had settled everything that is not in `records`.
    inherited_until: i64,
    /// Records in `records` that are not settled and were read here.
    open: usize,
}

/// One record that was read, or that an earlier owner left open.
#[derive(Clone, Copy, Debug)]
struct Tracked {
    offset: i64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// An earlier owner left it open; it was not read here yet.
    Unread,
    /// So many of its deliveries are not settled.
    Open(u32),
    Settled,
}

impl OffsetTracker {
    /// Starts from what the group has committed.
    #[must_use]
    pub fn resume(offset: i64, metadata: &str) -> Self {
        let inherited = encoding::decode(metadata, offset).unwrap_or_default();
        let unread = |offset| Tracked { offset, state: State::Unread };
        Self {
            records: inherited.open.into_iter().map(unread).collect(),
            next: offset,
            inherited_until: inherited.until.max(offset),
            open: 0,
        }
    }

    /// A record was read, with an offset beyond all that were read before.
    ///
    /// An offset that was left open and is jumped over does not exist any more; it counts as settled.
    pub fn admit(&mut self, offset: i64) -> Admission {
        if offset < self.next {
            return Admission::Settled;
        }
        self.next = offset + 1;
        if offset >= self.inherited_until {
            self.settle_unread_below(offset);
            return Admission::Fresh;
        }
        self.settle_unread_below(offset);
        if self.find(offset).is_some() { Admission::Fresh } else { Admission::Settled }
    }

    /// The record just admitted has so many deliveries; with none it is settled at once.
    pub fn begin(&mut self, offset: i64, deliveries: u32) {
        let state = if deliveries == 0 { State::Settled } else { State::Open(deliveries) };
        match self.find(offset) {
            Some(place) => self.records[place].state = state,
            None if deliveries > 0 => self.records.push_back(Tracked { offset, state }),
            None => {}
        }
        if deliveries > 0 {
            self.open += 1;
        }
        self.forget_settled();
    }

    /// One delivery of a record is settled. Answers whether it was the record's last one.
    pub fn settle(&mut self, offset: i64) -> bool {
        let Some(place) = self.find(offset) else { return false };
        let State::Open(deliveries) = self.records[place].state else { return false };
        if deliveries > 1 {
            self.records[place].state = State::Open(deliveries - 1);
            return false;
        }
        self.records[place].state = State::Settled;
        self.open -= 1;
        self.forget_settled();
        true
    }

    /// Below this, everything is settled.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        self.records.front().map_or(self.next, |record| record.offset.min(self.next))
    }

    /// The offset after the last one that was read.
    #[must_use]
    pub const fn next_offset(&self) -> i64 {
        self.next
    }

    /// How many records that were read here are not settled.
    #[must_use]
    pub const fn open_records(&self) -> usize {
        self.open
    }

    /// How many offsets lie between the watermark and the last one read.
    #[must_use]
    pub fn window(&self) -> u64 {
        u64::try_from(self.next - self.watermark()).unwrap_or(0)
    }

    /// What to commit now.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let offset = self.watermark();
        let open = self
            .records
            .iter()
            .filter(|record| record.state != State::Settled)
            .map(|record| record.offset);
        let until = self.next.max(self.inherited_until);
        Progress { offset, metadata: encoding::encode(offset, until, open) }
    }

    fn find(&self, offset: i64) -> Option<usize> {
        self.records.binary_search_by_key(&offset, |record| record.offset).ok()
    }

    fn settle_unread_below(&mut self, offset: i64) {
        let mut place = self.records.partition_point(|record| record.offset < offset);
        while place > 0 && self.records[place - 1].state == State::Unread {
            self.records[place - 1].state = State::Settled;
            place -= 1;
        }
        self.forget_settled();
    }

    fn forget_settled(&mut self) {
        while self.records.front().is_some_and(|record| record.state == State::Settled) {
            self.records.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn watermark_waits_for_the_slowest_delivery() {
        let mut tracker = OffsetTracker::resume(10, "");
        for (offset, deliveries) in [(10, 1), (11, 0), (12, 2), (20, 1)] {
            assert_eq!(tracker.admit(offset), Admission::Fresh);
            tracker.begin(offset, deliveries);
        }
        tracker.settle(20);
        assert_eq!(tracker.watermark(), 10);
        assert!(tracker.settle(10));
        assert_eq!(tracker.watermark(), 12);
        assert!(!tracker.settle(12));
        assert_eq!(tracker.watermark(), 12);
        assert!(tracker.settle(12));
        assert_eq!((tracker.watermark(), tracker.open_records()), (21, 0));
    }

    #[test]
    fn the_next_owner_repeats_only_what_was_open() {
        let mut tracker = OffsetTracker::resume(0, "");
        for offset in 0..100 {
            tracker.admit(offset);
            tracker.begin(offset, 1);
        }
        for offset in (0..100).filter(|offset| offset % 7 != 3) {
            tracker.settle(offset);
        }
        let progress = tracker.progress();
        assert_eq!(progress.offset, 3);
        let mut next = OffsetTracker::resume(progress.offset, &progress.metadata);
        for offset in 3..103 {
            let expected = offset >= 100 || offset % 7 == 3;
            assert_eq!(next.admit(offset) == Admission::Fresh, expected, "{offset}");
            if expected {
                next.begin(offset, 1);
            }
        }
    }

    #[test]
    fn an_open_offset_that_exists_no_more_does_not_hold_the_watermark() {
        let mut tracker = OffsetTracker::resume(0, "");
        for offset in 0..10 {
            tracker.admit(offset);
            tracker.begin(offset, 1);
        }
        tracker.settle(5);
        let progress = tracker.progress();
        let mut next = OffsetTracker::resume(progress.offset, &progress.metadata);
        assert_eq!(next.watermark(), 0);
        assert_eq!(next.admit(8), Admission::Fresh);
        next.begin(8, 0);
        assert_eq!(next.watermark(), 9);
    }

    #[test]
    fn progress_before_everything_inherited_was_read_again_forgets_nothing() {
        let mut tracker = OffsetTracker::resume(0, "");
        for offset in 0..10 {
            tracker.admit(offset);
            tracker.begin(offset, 1);
        }
        for offset in [1, 2, 8] {
            tracker.settle(offset);
        }
        let first = tracker.progress();
        let mut second = OffsetTracker::resume(first.offset, &first.metadata);
        assert_eq!(second.admit(0), Admission::Fresh);
        second.begin(0, 1);
        second.settle(0);
        let progress = second.progress();
        assert_eq!(progress.offset, 1, "what was read is settled");
        let mut third = OffsetTracker::resume(progress.offset, &progress.metadata);
        let fresh: Vec<_> = (1..11).filter(|&o| third.admit(o) == Admission::Fresh).collect();
        assert_eq!(fresh, [3, 4, 5, 6, 7, 9, 10]);
    }

    proptest! {
        /// Against a model that is a plain map: whatever is read and settled, and however often the partition
        /// changes hands, nothing open is below the watermark, and nothing settled and remembered is fresh again.
        #[test]
        fn tracker_agrees_with_a_map(
            gaps in prop::collection::vec((0_i64..3, 0_u32..3), 1..120),
            settles in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
            hand_overs in 1_usize..4,
        ) {
            let mut log = BTreeMap::new();
            let mut offset = 0;
            for (gap, deliveries) in gaps {
                offset += gap;
                log.insert(offset, deliveries);
                offset += 1;
            }
            let mut settles = settles.into_iter();
            let mut open = log.clone();
            open.retain(|_, deliveries| *deliveries > 0);
            let mut progress = Progress::default();
            for _ in 0..hand_overs {
                let mut tracker = OffsetTracker::resume(progress.offset, &progress.metadata);
                for (&offset, &deliveries) in log.range(progress.offset..) {
                    match tracker.admit(offset) {
                        Admission::Fresh => tracker.begin(offset, deliveries),
                        Admission::Settled => prop_assert!(!open.contains_key(&offset)),
                    }
                    if let Some(left) = open.get_mut(&offset) {
                        *left = deliveries;
                    }
                }
                for index in settles.by_ref().take(60) {
                    let keys: Vec<i64> = open.keys().copied().collect();
                    if keys.is_empty() { break }
                    let chosen = keys[index.index(keys.len())];
                    let left = open.get_mut(&chosen).unwrap();
                    *left -= 1;
                    let last = *left == 0;
                    if last { open.remove(&chosen); }
                    prop_assert_eq!(tracker.settle(chosen), last);
                }
                let first_open = open.keys().next().copied();
                prop_assert_eq!(tracker.open_records(), open.len());
                progress = tracker.progress();
                prop_assert_eq!(progress.offset, first_open.unwrap_or(tracker.next));
            }
        }
    }
}
