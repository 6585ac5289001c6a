//! What a consumer does with a record: hold it, skip it, or hand its deliveries to the shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::message::{BorrowedMessage, Message, OwnedMessage};

use super::expiry::Jumps;
use super::feed::{Feed, Read, recorded_at};
use super::outlet::Outlet;
use crate::engine::event::Partition;
use crate::engine::intake::{Commit, Intake, Settlement};
use crate::engine::time::Timestamp;
use crate::failpoint;
use crate::metrics::Metrics;

/// The reading side of a consumer, without its connection to Kafka.
pub(super) struct Desk {
    intake: Intake,
    feed: Feed,
    outlet: Outlet,
    /// Records of tiers that are not due; each is the head of its partition, which rests.
    heads: BTreeMap<Partition, OwnedMessage>,
    jumps: Jumps,
    stale_settlements: u64,
    metrics: Arc<Metrics>,
}

impl Desk {
    pub(super) fn new(intake: Intake, feed: Feed, outlet: Outlet, metrics: &Arc<Metrics>) -> Self {
        Self {
            intake,
            feed,
            outlet,
            heads: BTreeMap::new(),
            jumps: Jumps::default(),
            stale_settlements: 0,
            metrics: Arc::clone(metrics),
        }
    }

    pub(super) const fn intake(&self) -> &Intake {
        &self.intake
    }

    pub(super) const fn intake_mut(&mut self) -> &mut Intake {
        &mut self.intake
    }

    pub(super) const fn outlet(&mut self) -> &mut Outlet {
        &mut self.outlet
    }

    /// From when on a record is wanted: when it was written, or when its delivery is due.
    pub(super) fn wanted_at(&self, record: &BorrowedMessage<'_>) -> Timestamp {
        self.feed.due(record).unwrap_or_else(|| recorded_at(record))
    }

    /// Whether anything that was read of a partition is not settled.
    pub(super) fn has_open(&self, partition: Partition) -> bool {
        self.heads.contains_key(&partition) || self.intake.open_records(&[partition]) > 0
    }

    pub(super) fn may_poll(&self, partition: Partition, now: Timestamp) -> bool {
        !self.heads.contains_key(&partition) && self.intake.may_poll(partition, now)
    }

    /// Takes a record that was just read; one that is not due is kept until it is.
    pub(super) fn take(
        &mut self,
        partition: Partition,
        record: &BorrowedMessage<'_>,
        now: Timestamp,
    ) {
        failpoint::kill("after-poll");
        if let Some(due) = self.intake.next_offset(partition)
            && due != record.offset()
        {
            self.jumps.note(partition, due, record.offset());
        }
        match self.feed.due(record) {
            Some(due) if due > now => {
                self.intake.hold(partition, due);
                self.heads.insert(partition, record.detach());
            }
            Some(_) | None => self.accept(partition, record, now),
        }
    }

    /// Takes the held record of a partition up if its time has come and there is room.
    pub(super) fn take_due_head(&mut self, partition: Partition, now: Timestamp) -> bool {
        if !self.intake.may_poll(partition, now) {
            return false;
        }
        let Some(head) = self.heads.remove(&partition) else { return false };
        self.intake.release_hold(partition);
        self.accept(partition, &head, now);
        true
    }

    fn accept(&mut self, partition: Partition, record: &impl Message, now: Timestamp) {
        // What an earlier owner has settled is not delivered again.
        let Some(position) = self.intake.admit(partition, record.offset()) else { return };
        let reading = self.feed.read(&Read { record, position, now }, &mut self.outlet);
        self.intake.begin(position, reading.deliveries, reading.bytes_each);
    }

    pub(super) fn settle(&mut self, settlement: Settlement) {
        self.intake.settle(settlement);
        let stale = self.intake.stale_settlements();
        self.metrics.possible_duplicates_total.inc_by(stale - self.stale_settlements);
        self.stale_settlements = stale;
    }

    pub(super) fn committed(&mut self, commit: Commit) {
        self.intake.committed(commit);
    }

    pub(super) const fn jumps(&mut self) -> &mut Jumps {
        &mut self.jumps
    }

    /// Sends what was read on to the shards.
    pub(super) fn flush(&mut self) {
        self.outlet.flush();
    }

    /// What was held of a partition stays in its log.
    pub(super) fn drop_head(&mut self, partition: Partition) {
        self.jumps.forget(partition);
        self.heads.remove(&partition);
    }
}
