//! The attempts under way, each with the delivery that it is for: whatever becomes of the attempt, the delivery is here.

use std::collections::BTreeMap;

use slab::Slab;

use super::protocol::AttemptId;
use crate::engine::delivery::Delivery;
use crate::engine::gate::GateId;
use crate::engine::scheduler::LaneId;
use crate::engine::time::Timestamp;

/// An attempt that has not ended.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) lane: LaneId,
    pub(super) delivery: Delivery,
    /// The connection's revision that it was started with.
    pub(super) revision: u64,
    pub(super) started_at: Timestamp,
    /// The gate of a crowded host that it went through.
    pub(super) gate: Option<GateId>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    under_way: Slab<(u64, UnderWay)>,
    next_serial: u64,
}

impl Attempts {
    pub(super) fn begin(&mut self, attempt: UnderWay) -> AttemptId {
        let serial = self.next_serial;
        self.next_serial += 1;
        AttemptId { slot: self.under_way.insert((serial, attempt)), serial }
    }

    /// Takes an attempt out; `None` if it was taken out before.
    pub(super) fn end(&mut self, id: AttemptId) -> Option<UnderWay> {
        let (serial, _) = self.under_way.get(id.slot)?;
        (*serial == id.serial).then(|| self.under_way.remove(id.slot).1)
    }

    /// Takes out what `of` picks.
    pub(super) fn take(&mut self, of: impl Fn(&UnderWay) -> bool) -> Vec<UnderWay> {
        let picked: Vec<_> = self
            .under_way
            .iter()
            .filter(|(_, (_, attempt))| of(attempt))
            .map(|(slot, _)| slot)
            .collect();
        picked.into_iter().map(|slot| self.under_way.remove(slot).1).collect()
    }

    /// When the oldest event under way was recorded, for each lane that has one.
    pub(super) fn oldest_by_lane(&self) -> BTreeMap<LaneId, Timestamp> {
        let mut oldest = BTreeMap::new();
        for (_, (_, attempt)) in &self.under_way {
            let recorded_at = attempt.delivery.event.record.origin.timestamp;
            let first = oldest.entry(attempt.lane).or_insert(recorded_at);
            *first = recorded_at.min(*first);
        }
        oldest
    }

    #[cfg(test)]
    pub(super) fn delivery(&self, id: AttemptId) -> &Delivery {
        &self.under_way[id.slot].1.delivery
    }

    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }
}
