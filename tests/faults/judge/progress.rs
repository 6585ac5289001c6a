//! What a commit says of a partition.

use std::collections::BTreeSet;

use barnabas::engine::offsets::encoding::decode;

/// Everything below `offset` is settled, and what is listed beyond it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) offset: i64,
    settled: BTreeSet<i64>,
}

impl Progress {
    /// Reads a commit as the next owner of the partition would.
    pub(super) fn read(offset: i64, metadata: &str) -> Self {
        let inherited = decode(metadata, offset).unwrap_or_default();
        let open: BTreeSet<i64> = inherited.open.into_iter().collect();
        let settled = (offset..inherited.until).filter(|at| !open.contains(at)).collect();
        Self { offset, settled }
    }

    pub(super) fn has(&self, offset: i64) -> bool {
        offset < self.offset || self.settled.contains(&offset)
    }

    /// What this one calls settled and the other does not.
    pub(super) fn beyond(&self, other: &Self) -> Vec<i64> {
        let below = other.offset..self.offset;
        let all = below.chain(self.settled.iter().copied());
        all.filter(|at| !other.has(*at)).collect()
    }

    /// Calls settled what either does.
    pub(super) fn join(&mut self, other: &Self) {
        self.offset = self.offset.max(other.offset);
        self.settled.extend(&other.settled);
        self.settled = self.settled.split_off(&self.offset);
    }
}
