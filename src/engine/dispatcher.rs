//! The dispatcher: inputs in, actions out. One for each delivery shard.
//!
//! It owns the lanes, the attempts under way and the deliveries in them. It decides and does nothing: the driver
//! makes the attempts, writes the records and settles the positions. It never asks for the time, never throws dice
//! that were not seeded, and never fails on an input; the same inputs give the same actions.

mod attempts;
mod dice;
mod handover;
mod protocol;
mod turn;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

pub use self::protocol::{
    Action, Attempt, AttemptId, Destination, Ending, Input, NextStep, Publication, Rejected,
    Subject, Terms,
};

use self::attempts::{Attempts, UnderWay};
use self::dice::Dice;
use super::connection::{Connection, ConnectionKey};
use super::delivery::{DeadLetterReason, Delivery, WaitReason};
use super::event::{Epoch, Partition};
use super::gate::Gates;
use super::intake::Settlement;
use super::lane::{FRONTIER_BUDGET, Lane};
use super::outcome::{AttemptResult, Outcome};
use super::rate::Share;
use super::retry::{QUICK_RETRY, Verdict};
use super::scheduler::{LaneId, Scheduler};
use super::snapshot::Snapshot;
use super::table::ConnectionTable;
use super::time::Timestamp;

/// The state of one shard.
#[derive(Debug)]
pub struct Dispatcher {
    terms: Terms,
    now: Timestamp,
    table: Arc<ConnectionTable>,
    share: Share,
    /// Each by itself: those that are forgotten give their memory back.
    lanes: Slab<Box<Lane>>,
    by_connection: BTreeMap<ConnectionKey, LaneId>,
    scheduler: Scheduler,
    gates: Gates,
    attempts: Attempts,
    held: usize,
    /// Of those held: written, and not yet acknowledged.
    publishing: usize,
    actions: VecDeque<Action>,
    /// Partitions that were given up, with the last epoch that was.
    released: BTreeMap<Partition, Epoch>,
    dice: Dice,
}

impl Dispatcher {
    /// An empty one, with no share of the limits and no connections.
    #[must_use]
    pub fn new(terms: Terms, now: Timestamp) -> Self {
        Self {
            dice: Dice::new(terms.seed),
            gates: Gates::new(terms.host_cap, terms.shard),
            terms,
            now,
            table: Arc::default(),
            share: Share::none(now),
            lanes: Slab::new(),
            by_connection: BTreeMap::new(),
            scheduler: Scheduler::default(),
            attempts: Attempts::default(),
            held: 0,
            publishing: 0,
            actions: VecDeque::new(),
            released: BTreeMap::new(),
        }
    }

    /// Takes an input in. Time never goes back: an earlier `now` counts as the last one.
    pub fn handle(&mut self, input: Input, now: Timestamp) {
        self.now = self.now.max(now);
        match input {
            Input::Delivery(delivery) => self.take(delivery),
            Input::Reject(rejected) => {
                self.held += 1;
                let destination = Destination::DeadLetters(rejected.reason);
                self.publish(Subject::Rejected(rejected), destination);
            }
            Input::Answered(id, result) => {
                self.end_attempt(id, &result);
            }
            Input::Published(publication) => self.end_publication(&publication),
            Input::Table(table) => {
                self.table = table;
                self.wake_all();
            }
            Input::Share(share) => {
                self.share = share;
                self.wake_all();
            }
            Input::Release(epochs) => self.release(&epochs),
            Input::Abandon(epochs) => self.abandon(&epochs),
            Input::CutOff(epochs) => self.cut_off(&epochs),
        }
    }

    /// As [`Input::Answered`], and tells what becomes of the delivery; `None` for an attempt that was cut off before.
    pub fn answer(
        &mut self,
        id: AttemptId,
        result: &AttemptResult,
        now: Timestamp,
    ) -> Option<NextStep> {
        self.now = self.now.max(now);
        self.end_attempt(id, result)
    }

    /// What is to be done next; `None` until the next input or the next [`Self::next_timeout`].
    pub fn poll_action(&mut self, now: Timestamp) -> Option<Action> {
        self.now = self.now.max(now);
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            let lane = self.scheduler.next(self.now)?;
            self.serve(lane);
        }
    }

    /// When [`Self::poll_action`] is to be asked again, if nothing happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.scheduler.next_time()
    }

    /// Deliveries that are not settled.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// A copy of its state, for people.
    pub fn snapshot(&mut self) -> Snapshot {
        let now = self.now;
        let mut under_way = self.attempts.oldest_by_lane();
        let lanes = self.lanes.iter_mut();
        let lanes: Vec<_> =
            lanes.map(|(id, lane)| lane.snapshot(now, under_way.remove(&LaneId(id)))).collect();
        let queued = lanes.iter().map(|lane| lane.queued).sum();
        Snapshot { lanes, in_flight: self.attempts.len(), queued }
    }

    fn take(&mut self, delivery: Delivery) {
        self.held += 1;
        let id = self.lane_of(&delivery.connection);
        if self.is_released(&delivery) {
            self.park(id, delivery, Duration::ZERO, WaitReason::Draining);
            return;
        }
        let connection = self.table.get(&delivery.connection);
        let in_lanes = self.held.saturating_sub(self.publishing);
        let room = self.terms.max_held.saturating_sub(in_lanes);
        match self.lanes[id.0].take(delivery, room, &connection, self.now) {
            None => self.scheduler.ready(id),
            Some((delivery, wait)) => {
                self.park(id, delivery, wait, WaitReason::RateLimit);
            }
        }
    }

    fn lane_of(&mut self, key: &ConnectionKey) -> LaneId {
        if let Some(&id) = self.by_connection.get(key) {
            return id;
        }
        let id = LaneId(self.lanes.insert(Box::new(Lane::new(key.clone(), self.now))));
        self.by_connection.insert(key.clone(), id);
        // Also a lane that never gets anything into its queue has its turn, and is forgotten.
        self.scheduler.ready(id);
        id
    }

    fn attempt(&mut self, lane: LaneId, delivery: Delivery, connection: Arc<Connection>) {
        let (event, number) = (Arc::clone(&delivery.event), delivery.history.attempts + 1);
        // What its own limits held back was not due before they allowed it, and may have been woken earlier.
        let held_until = self.lanes[lane.0].held_until.min(self.now);
        let delay = self.now.since(delivery.due.max(held_until));
        let gate = self.gates.enter(lane, self.now);
        let next = self.gates.step_aside(lane);
        self.wake(next);
        let id = self.attempts.begin(UnderWay {
            lane,
            delivery,
            revision: connection.revision,
            started_at: self.now,
            gate,
        });
        let attempt = Attempt { id, event, connection, number, delay };
        self.actions.push_back(Action::Attempt(attempt));
    }

    fn end_attempt(&mut self, id: AttemptId, result: &AttemptResult) -> Option<NextStep> {
        // An attempt that was cut off is not known any more; its delivery is in a tier.
        let UnderWay { lane: lane_id, delivery, revision, started_at, gate } =
            self.attempts.end(id)?;
        let outcome = Outcome::of(result, self.now);
        let lane = &mut self.lanes[lane_id.0];
        lane.end_attempt(outcome, self.now, self.dice.throw());
        lane.held_until = lane.held_until.min(self.now);
        self.scheduler.ready(lane_id);
        if let Some(reason) = lane.streak.verdict(outcome)
            && lane.deactivate(revision)
        {
            let key = delivery.connection.clone();
            self.actions.push_back(Action::Deactivate { key, revision, reason });
        }
        self.leave(gate);
        let mut delivery = delivery;
        if outcome != Outcome::OurFault {
            delivery.history.note(result, outcome, started_at);
            delivery.history.revision = Some(revision);
        }
        Some(self.conclude(lane_id, delivery, outcome))
    }

    /// Carries out the verdict over an attempt.
    fn conclude(&mut self, id: LaneId, mut delivery: Delivery, outcome: Outcome) -> NextStep {
        let repeat_at = self.now + QUICK_RETRY;
        let in_time =
            repeat_at < delivery.read_at + FRONTIER_BUDGET && !self.is_released(&delivery);
        if outcome == Outcome::OurFault {
            if in_time {
                delivery.due = repeat_at;
                return self.repeat(id, delivery, repeat_at);
            }
            return self.park(id, delivery, QUICK_RETRY, WaitReason::OurFault);
        }
        if in_time && delivery.is_worth_a_repeat(outcome) && !self.lanes[id.0].is_open(self.now) {
            delivery.repeated = true;
            delivery.due = repeat_at;
            return self.repeat(id, delivery, repeat_at);
        }
        delivery.history.attempts += 1;
        let dice = self.dice.throw();
        match self.terms.retry.after_attempt(outcome, &delivery.history, self.now, dice) {
            Verdict::Delivered => {
                let age = self.now.since(delivery.event.record.origin.timestamp);
                self.lanes[id.0].totals.delivered += 1;
                self.settle(&delivery, Ending::Delivered(age));
                NextStep::Delivered
            }
            Verdict::Wait(slot) => {
                self.lanes[id.0].totals.retried += 1;
                let destination = Destination::Tier(slot, WaitReason::Retry);
                self.publish(Subject::Delivery(delivery), destination);
                NextStep::Wait(slot, WaitReason::Retry)
            }
            Verdict::DeadLetter(reason) => {
                self.give_up(id, delivery, reason);
                NextStep::DeadLetter(reason)
            }
        }
    }

    fn repeat(&mut self, id: LaneId, delivery: Delivery, at: Timestamp) -> NextStep {
        self.lanes[id.0].repeat(delivery, at);
        NextStep::Repeat(at)
    }

    /// Puts a delivery into a tier for a wait, without charging an attempt.
    fn park(
        &mut self,
        id: LaneId,
        mut delivery: Delivery,
        wait: Duration,
        reason: WaitReason,
    ) -> NextStep {
        let (retry, dice) = (&self.terms.retry, self.dice.throw());
        let slot = match reason {
            WaitReason::BreakerOpen | WaitReason::ConnectionUnreadable => {
                let waited = delivery.history.first_attempt_at;
                let waited = waited.map_or(Duration::ZERO, |first| self.now.since(first));
                retry.after_refusal(wait, waited, self.now, dice)
            }
            WaitReason::Retry
            | WaitReason::RateLimit
            | WaitReason::RetryAfter
            | WaitReason::Draining
            | WaitReason::OurFault => retry.nearest(wait, self.now, dice),
        };
        // What was never matched against a readable record stays so, whatever hinders it now.
        let unmatched = WaitReason::ConnectionUnreadable;
        let reason = if delivery.waited_for == Some(unmatched) { unmatched } else { reason };
        let lane = &mut self.lanes[id.0];
        lane.totals.parked += 1;
        if reason == WaitReason::RateLimit {
            lane.count_parked(slot.due, self.now);
            // Waiting for the connection's own limit does not count against its horizon, here and in the tier.
            let waited = slot.due.since(delivery.read_at);
            delivery.history.first_attempt_at =
                delivery.history.first_attempt_at.map(|first| first + waited);
        }
        self.publish(Subject::Delivery(delivery), Destination::Tier(slot, reason));
        NextStep::Wait(slot, reason)
    }

    fn give_up(&mut self, id: LaneId, delivery: Delivery, reason: DeadLetterReason) {
        self.lanes[id.0].totals.dead_lettered += 1;
        self.publish(Subject::Delivery(delivery), Destination::DeadLetters(reason));
    }

    fn publish(&mut self, subject: Subject, destination: Destination) {
        self.publishing += 1;
        self.actions.push_back(Action::Publish(Publication { subject, destination }));
    }

    fn end_publication(&mut self, publication: &Publication) {
        self.publishing = self.publishing.saturating_sub(1);
        let ending = match publication.destination {
            Destination::Tier(_, WaitReason::Retry) => Ending::Retried,
            Destination::Tier(..) => Ending::Parked,
            Destination::DeadLetters(reason) => Ending::DeadLettered(reason),
        };
        match &publication.subject {
            Subject::Delivery(delivery) => self.settle(delivery, ending),
            Subject::Rejected(rejected) => {
                let bytes = rejected.record.value.len() as u64;
                self.settle_position(Settlement { position: rejected.position, bytes }, ending);
            }
        }
    }

    fn settle(&mut self, delivery: &Delivery, ending: Ending) {
        let bytes = delivery.event.size_bytes() as u64;
        self.settle_position(Settlement { position: delivery.position, bytes }, ending);
    }

    fn settle_position(&mut self, settlement: Settlement, ending: Ending) {
        self.held = self.held.saturating_sub(1);
        self.actions.push_back(Action::Settle(settlement, ending));
    }

    fn wake_all(&mut self) {
        self.gates.renew();
        for &id in self.by_connection.values() {
            if !self.lanes[id.0].is_empty() {
                self.scheduler.ready(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
