//! Gates: one cap of rate and concurrency for each host, over all connections that call it.
//!
//! ```text
//!   lanes of one host ──▶ line ──▶ gate (pace, window) ──▶ attempts
//! ```
//!
//! A gate stands only before a *crowded* host: one whose connections' own limits add up to more than the cap; all other
//! lanes pass without being looked at. Nobody talks to anybody for it: the group's cap is divided by partitions, as the
//! connections' own limits are, and an instance's part among its shards by what their connections may do. So a
//! connection that is alone at its host has the whole, and all together never exceed it.
//!
//! Lanes that find their gate closed stand in line, and only the first of them is given a turn when it opens: a crowd
//! costs nobody anything but itself. The dispatcher calls it; it knows nothing of deliveries.

mod pace;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;

use slab::Slab;

use self::pace::Pace;
use super::address::{EgressConfig, Host};
use super::rate::Share;
use super::scheduler::LaneId;
use super::table::ConnectionTable;
use super::time::Timestamp;

/// The most that all connections together may burden one host with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostCap {
    /// Attempts a second, over all instances.
    pub rate_per_second: NonZeroU32,
    /// Attempts under way at once, in one instance.
    pub max_in_flight: NonZeroU32,
}

impl From<&EgressConfig> for HostCap {
    fn from(config: &EgressConfig) -> Self {
        Self {
            rate_per_second: config.host_rate_per_second,
            max_in_flight: config.host_max_in_flight,
        }
    }
}

/// Whether a lane's host can be called now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It can.
    Free,
    /// Others are before it, or the host has its fill.
    Closed,
}

/// A gate's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateId(usize);

/// All gates of one shard.
#[derive(Debug)]
pub struct Gates {
    cap: HostCap,
    shard: usize,
    gates: Slab<Gate>,
    by_host: BTreeMap<Host, GateId>,
    /// Which gate each lane has, so that it is looked up once for each change of the table and not for each delivery.
    tickets: Vec<Ticket>,
    /// Rises with every change of the table and of the share.
    generation: u64,
}

/// What is known of one lane.
#[derive(Clone, Copy, Debug, Default)]
struct Ticket {
    generation: u64,
    gate: Option<GateId>,
    in_line: bool,
}

#[derive(Debug)]
struct Gate {
    host: Host,
    terms: GateTerms,
    pace: Pace,
    in_flight: u32,
    /// First come, first served. A lane that has nothing to do any more leaves when it is first.
    line: VecDeque<LaneId>,
    /// Lanes that have a ticket for it.
    lanes: usize,
}

/// A shard's part of the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GateTerms {
    /// Nanoseconds between two attempts; `None`: nothing may pass.
    period_nanos: Option<u64>,
    window: u32,
    share: Share,
}

impl GateTerms {
    /// Nothing is saved up when a share is given, so that no rebalance grants a second burst.
    fn fresh_pace(self) -> Pace {
        Pace::emptied(self.share.since, self.period_nanos.unwrap_or(0))
    }
}

impl Gates {
    /// None yet, for the shard of that number.
    #[must_use]
    pub const fn new(cap: HostCap, shard: usize) -> Self {
        Self {
            cap,
            shard,
            gates: Slab::new(),
            by_host: BTreeMap::new(),
            tickets: Vec::new(),
            generation: 1,
        }
    }

    /// The table or the share has changed. Every lane with something in its queue must have a turn now.
    pub const fn renew(&mut self) {
        self.generation += 1;
    }

    /// Whether a lane with this host may go now, as far as the host goes.
    pub fn passage(
        &mut self,
        lane: LaneId,
        host: &Host,
        (table, share): (&ConnectionTable, Share),
        now: Timestamp,
    ) -> Passage {
        if self.tickets.len() <= lane.0 {
            self.tickets.resize(lane.0 + 1, Ticket::default());
        }
        if self.tickets[lane.0].generation != self.generation {
            self.renew_ticket(lane, host, (table, share), now);
        }
        let Some(gate) = self.tickets[lane.0].gate else { return Passage::Free };
        let gate = &self.gates[gate.0];
        let is_first = gate.line.front().is_none_or(|&first| first == lane);
        if is_first && gate.opens_at().is_some_and(|at| at <= now) {
            Passage::Free
        } else {
            Passage::Closed
        }
    }

    /// A lane goes through its gate. To be told to [`Self::leave`] when the attempt ends.
    pub fn enter(&mut self, lane: LaneId, now: Timestamp) -> Option<GateId> {
        let id = self.tickets[lane.0].gate?;
        let gate = &mut self.gates[id.0];
        gate.in_flight += 1;
        if let Some(period_nanos) = gate.terms.period_nanos {
            gate.pace.take(period_nanos, now);
        }
        Some(id)
    }

    /// An attempt has ended. Answers who is to have a turn.
    pub fn leave(&mut self, id: GateId) -> Option<LaneId> {
        let gate = &mut self.gates[id.0];
        gate.in_flight -= 1;
        let first = gate.line.front().copied();
        self.remove_if_unused(id);
        first
    }

    /// A lane that found its gate closed stands in line. Answers when the gate opens by itself, if the lane is first.
    pub fn stand_in_line(&mut self, lane: LaneId) -> Option<Timestamp> {
        let ticket = &mut self.tickets[lane.0];
        let gate = &mut self.gates[ticket.gate?.0];
        if !ticket.in_line {
            ticket.in_line = true;
            gate.line.push_back(lane);
        }
        if gate.line.front() == Some(&lane) { gate.opens_at() } else { None }
    }

    /// A lane needs its gate no longer, or not yet: if it is the first in line, the next one is. Answers who is to have
    /// a turn.
    pub fn step_aside(&mut self, lane: LaneId) -> Option<LaneId> {
        let ticket = self.tickets.get_mut(lane.0)?;
        let gate = &mut self.gates[ticket.gate?.0];
        if !ticket.in_line || gate.line.front() != Some(&lane) {
            return None;
        }
        ticket.in_line = false;
        gate.line.pop_front();
        gate.line.front().copied()
    }

    /// A lane is no more. Answers who is to have a turn.
    pub fn forget(&mut self, lane: LaneId) -> Option<LaneId> {
        let ticket = std::mem::take(self.tickets.get_mut(lane.0)?);
        self.give_back(lane, ticket)
    }

    fn renew_ticket(
        &mut self,
        lane: LaneId,
        host: &Host,
        (table, share): (&ConnectionTable, Share),
        now: Timestamp,
    ) {
        let terms = self.terms(host, table, share);
        let gate = terms.map(|terms| self.open(host, terms, now));
        let before = self.tickets[lane.0];
        let in_line = before.in_line && gate == before.gate;
        self.tickets[lane.0] = Ticket { generation: self.generation, gate, in_line };
        if gate == before.gate {
            return;
        }
        if let Some(gate) = gate {
            self.gates[gate.0].lanes += 1;
        }
        // Whoever is first now has a turn anyway: everybody has.
        self.give_back(lane, before);
    }

    /// This shard's part of the cap; `None` for a host that is not crowded.
    fn terms(&self, host: &Host, table: &ConnectionTable, share: Share) -> Option<GateTerms> {
        let (own, all) = table.burdens(host, self.shard);
        let rate = u64::from(self.cap.rate_per_second.get());
        let window = u64::from(self.cap.max_in_flight.get());
        if all.rate_per_second <= rate && all.in_flight <= window {
            return None;
        }
        let period_nanos = if all.rate_per_second <= rate {
            Some(0)
        } else {
            let parts =
                u128::from(rate) * u128::from(share.owned) * u128::from(own.rate_per_second);
            let nanos = 1_000_000_000 * u128::from(share.total) * u128::from(all.rate_per_second);
            (parts > 0).then(|| u64::try_from(nanos.div_ceil(parts)).unwrap_or(u64::MAX))
        };
        let window = if all.in_flight <= window {
            u32::MAX
        } else {
            // One at least, or nothing would ever go.
            u32::try_from(window * own.in_flight / all.in_flight).unwrap_or(u32::MAX).max(1)
        };
        Some(GateTerms { period_nanos, window, share })
    }

    fn open(&mut self, host: &Host, terms: GateTerms, now: Timestamp) -> GateId {
        if let Some(&id) = self.by_host.get(host) {
            let gate = &mut self.gates[id.0];
            if gate.terms != terms {
                if gate.terms.share != terms.share {
                    gate.pace = terms.fresh_pace();
                }
                gate.terms = terms;
                gate.pace.hasten(terms.period_nanos.unwrap_or(u64::MAX), now);
            }
            return id;
        }
        let gate = Gate {
            host: host.clone(),
            terms,
            pace: terms.fresh_pace(),
            in_flight: 0,
            line: VecDeque::new(),
            lanes: 0,
        };
        let id = GateId(self.gates.insert(gate));
        self.by_host.insert(host.clone(), id);
        id
    }

    fn give_back(&mut self, lane: LaneId, ticket: Ticket) -> Option<LaneId> {
        let id = ticket.gate?;
        let gate = &mut self.gates[id.0];
        if ticket.in_line {
            gate.line.retain(|&other| other != lane);
        }
        gate.lanes -= 1;
        let first = gate.line.front().copied();
        self.remove_if_unused(id);
        first
    }

    fn remove_if_unused(&mut self, id: GateId) {
        if self.gates[id.0].lanes == 0 && self.gates[id.0].in_flight == 0 {
            let gate = self.gates.remove(id.0);
            self.by_host.remove(&gate.host);
        }
    }
}

impl Gate {
    /// When it opens by itself; not before an attempt ends if the window is full, and never if nothing may pass.
    fn opens_at(&self) -> Option<Timestamp> {
        self.terms.period_nanos.filter(|_| self.in_flight < self.terms.window)?;
        Some(self.pace.next())
    }
}

#[cfg(test)]
mod tests;
