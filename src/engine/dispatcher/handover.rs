//! Giving partitions up: what is queued of them is parked or forgotten, and what is under way is waited for or not.
//!
//! The dispatcher calls it when a consumer says so.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Dispatcher;
use super::attempts::UnderWay;
use super::protocol::Ending;
use crate::engine::delivery::{Delivery, WaitReason};
use crate::engine::event::{Epoch, Partition, Position};
use crate::engine::scheduler::LaneId;

impl Dispatcher {
    pub(super) fn release(&mut self, epochs: &[(Partition, Epoch)]) {
        for (id, delivery) in self.drain(epochs) {
            self.park(id, delivery, Duration::ZERO, WaitReason::Draining);
        }
    }

    pub(super) fn abandon(&mut self, epochs: &[(Partition, Epoch)]) {
        for (_, delivery) in self.drain(epochs) {
            self.settle(&delivery, Ending::Abandoned);
        }
    }

    /// Takes what is queued of these partitions out of the lanes; what comes of them later is parked.
    fn drain(&mut self, epochs: &[(Partition, Epoch)]) -> Vec<(LaneId, Delivery)> {
        self.released.extend(epochs.iter().copied());
        let mut drained = Vec::new();
        for &id in self.by_connection.values() {
            let of_them = |delivery: &Delivery| is_among(&self.released, delivery.position);
            let deliveries = self.lanes[id.0].drain(of_them);
            drained.extend(deliveries.into_iter().map(|delivery| (id, delivery)));
        }
        drained
    }

    pub(super) fn cut_off(&mut self, epochs: &[(Partition, Epoch)]) {
        let cut: BTreeMap<_, _> = epochs.iter().copied().collect();
        let attempts = self.attempts.take(|attempt| is_among(&cut, attempt.delivery.position));
        for UnderWay { lane, delivery, gate, .. } in attempts {
            self.lanes[lane.0].abandon_attempt();
            self.scheduler.ready(lane);
            self.leave(gate);
            self.park(lane, delivery, Duration::ZERO, WaitReason::Draining);
        }
    }

    pub(super) fn is_released(&self, delivery: &Delivery) -> bool {
        is_among(&self.released, delivery.position)
    }
}

fn is_among(epochs: &BTreeMap<Partition, Epoch>, position: Position) -> bool {
    epochs.get(&position.partition).is_some_and(|&last| position.epoch <= last)
}
