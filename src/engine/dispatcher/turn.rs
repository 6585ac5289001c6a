//! A lane's turn: what surrounds it, what it decides, and who is next at its host's gate.
//!
//! The dispatcher calls it for each lane whose turn the scheduler says it is.

use super::Dispatcher;
use super::protocol::Ending;
use crate::engine::gate::{GateId, Passage};
use crate::engine::lane::{IDLE_TIME, Step, Surroundings};
use crate::engine::scheduler::LaneId;
use crate::engine::table::Lookup;

/// With fewer free slots than this, a lane of the usual window may have to wait for a slot: then it waits for us and
/// not for its endpoint.
const FEW_SLOTS: usize = 128;

impl Dispatcher {
    /// Gives a lane its turn.
    pub(super) fn serve(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(id.0) else { return };
        let connection = self.table.get(lane.key());
        let passage = self.passage(id, &connection);
        let lane = &mut self.lanes[id.0];
        let around = Surroundings {
            now: self.now,
            connection: &connection,
            retry: &self.terms.retry,
            share: self.share,
            free_slots: self.terms.max_in_flight.saturating_sub(self.attempts.len()),
            passage,
        };
        let slots_are_short = around.free_slots < FEW_SLOTS.min(self.terms.max_in_flight / 2);
        match lane.step(&around) {
            Step::Attempt(delivery, connection) => {
                self.scheduler.ready(id);
                self.attempt(id, delivery, connection);
            }
            Step::Park(delivery, wait, reason) => {
                self.scheduler.ready(id);
                self.park(id, delivery, wait, reason);
            }
            Step::DeadLetter(delivery, reason) => {
                self.scheduler.ready(id);
                self.give_up(id, delivery, reason);
            }
            Step::Drop(delivery, reason) => {
                self.scheduler.ready(id);
                lane.totals.dropped += 1;
                self.settle(&delivery, Ending::Dropped(reason));
            }
            Step::StandInLine(at) => {
                let opens_at = self.gates.stand_in_line(id).map_or(at, |opens_at| opens_at.min(at));
                lane.held_until = opens_at;
                self.scheduler.wait(id, opens_at);
            }
            Step::Wait(at) => {
                if !slots_are_short {
                    lane.held_until = at;
                }
                self.scheduler.wait(id, at);
                let next = self.gates.step_aside(id);
                self.wake(next);
            }
            Step::Idle if lane.is_forgettable(&connection, self.now) => {
                self.by_connection.remove(lane.key());
                self.lanes.remove(id.0);
                let next = self.gates.forget(id);
                self.wake(next);
            }
            Step::Idle => {
                self.scheduler.wait(id, self.now + IDLE_TIME);
                let next = self.gates.step_aside(id);
                self.wake(next);
            }
        }
    }

    /// What the gate of a lane's host says.
    fn passage(&mut self, id: LaneId, connection: &Lookup) -> Passage {
        match connection {
            Lookup::Active(connection) => {
                let said = (&*self.table, self.share);
                self.gates.passage(id, connection.endpoint.host(), said, self.now)
            }
            Lookup::Inactive | Lookup::Unreadable(_) | Lookup::Missing => Passage::Free,
        }
    }

    /// The gate of a lane's host has opened.
    pub(super) fn wake(&mut self, lane: Option<LaneId>) {
        if let Some(lane) = lane {
            self.scheduler.ready(lane);
        }
    }

    /// An attempt to a crowded host has ended.
    pub(super) fn leave(&mut self, gate: Option<GateId>) {
        if let Some(gate) = gate {
            let first = self.gates.leave(gate);
            self.wake(first);
        }
    }
}
