//! The pace of a gate: GCRA with a period that may change at any time.
//!
//! A connection's bucket is governor's, and is made anew when its terms change. A gate's terms change with every
//! connection of its host, whoever owns it: made anew each time, it would never open.

use std::time::Duration;

use crate::engine::time::Timestamp;

/// What a pause may save up. Short, because the connections' own buckets are the ones that allow bursts.
pub(super) const SAVED_TIME: Duration = Duration::from_millis(100);

/// When the next attempt may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When it would go if nothing could be saved up.
    next: Timestamp,
}

impl Pace {
    /// Nothing was saved up at that time.
    pub(super) fn emptied(at: Timestamp, period_nanos: u64) -> Self {
        Self { next: at + SAVED_TIME + Duration::from_nanos(period_nanos) }
    }

    /// When the next attempt may go.
    pub(super) fn next(self) -> Timestamp {
        self.next - SAVED_TIME
    }

    /// The period has changed: what was waited for under the old one is not waited for longer than under the new one.
    pub(super) fn hasten(&mut self, period_nanos: u64, now: Timestamp) {
        self.next = self.next.min(Self::emptied(now, period_nanos).next);
    }

    /// An attempt goes, at or after [`Self::next`].
    pub(super) fn take(&mut self, period_nanos: u64, now: Timestamp) {
        self.next = self.next.max(now) + Duration::from_nanos(period_nanos);
    }
}
