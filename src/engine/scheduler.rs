//! Whose turn it is: lanes that can do something now, in turn, and the times at which others can.
//!
//! A lane stands in at most one of the two. It knows nothing of what lanes do.

use std::collections::{BTreeSet, VecDeque};

use super::time::Timestamp;

/// A lane's place in the dispatcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId(pub usize);

/// The turns.
#[derive(Debug, Default)]
pub struct Scheduler {
    ready: VecDeque<LaneId>,
    waiting: BTreeSet<(Timestamp, LaneId)>,
    /// Where each lane stands, so that nothing is searched for.
    standings: Vec<Standing>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Idle,
    Ready,
    Waiting(Timestamp),
}

impl Scheduler {
    /// A lane can do something now.
    pub fn ready(&mut self, lane: LaneId) {
        if self.stand(lane, Standing::Ready) != Standing::Ready {
            self.ready.push_back(lane);
        }
    }

    /// A lane can do something at that time.
    pub fn wait(&mut self, lane: LaneId, at: Timestamp) {
        if self.standings.get(lane.0) != Some(&Standing::Ready) {
            self.stand(lane, Standing::Waiting(at));
            self.waiting.insert((at, lane));
        }
    }

    /// The next lane whose turn it is.
    pub fn next(&mut self, now: Timestamp) -> Option<LaneId> {
        while let Some(&(at, lane)) = self.waiting.first()
            && at <= now
        {
            self.ready(lane);
        }
        let lane = self.ready.pop_front()?;
        self.stand(lane, Standing::Idle);
        Some(lane)
    }

    /// When the next lane can do something; with one that can do something now, that is no later than now.
    #[must_use]
    pub fn next_time(&self) -> Option<Timestamp> {
        if self.ready.is_empty() {
            self.waiting.first().map(|&(at, _)| at)
        } else {
            Some(Timestamp::EPOCH)
        }
    }

    /// Moves a lane and answers where it stood.
    fn stand(&mut self, lane: LaneId, standing: Standing) -> Standing {
        if self.standings.len() <= lane.0 {
            self.standings.resize(lane.0 + 1, Standing::Idle);
        }
        let before = std::mem::replace(&mut self.standings[lane.0], standing);
        if let Standing::Waiting(at) = before {
            self.waiting.remove(&(at, lane));
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_take_turns_and_times_are_kept() {
        let mut scheduler = Scheduler::default();
        scheduler.ready(LaneId(0));
        scheduler.ready(LaneId(1));
        scheduler.ready(LaneId(0));
        scheduler.wait(LaneId(2), Timestamp::from_secs(5));
        let turns: Vec<_> =
            std::iter::from_fn(|| scheduler.next(Timestamp::from_secs(4))).collect();
        assert_eq!(turns, [LaneId(0), LaneId(1)]);
        assert_eq!(scheduler.next_time(), Some(Timestamp::from_secs(5)));
        assert_eq!(scheduler.next(Timestamp::from_secs(5)), Some(LaneId(2)));
        assert_eq!(scheduler.next_time(), None);
    }

    #[test]
    fn a_waiting_lane_that_becomes_ready_waits_no_more() {
        let mut scheduler = Scheduler::default();
        scheduler.wait(LaneId(7), Timestamp::from_secs(5));
        scheduler.ready(LaneId(7));
        scheduler.wait(LaneId(7), Timestamp::from_secs(6));
        assert_eq!(scheduler.next(Timestamp::EPOCH), Some(LaneId(7)));
        assert_eq!(scheduler.next(Timestamp::from_secs(9)), None);
    }
}
