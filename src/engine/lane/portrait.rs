//! A lane as people see it: what it is doing, what it waits for, how old its oldest event is.
//!
//! Copies and decides nothing; the dispatcher asks for it when somebody looks.

use super::Lane;
use crate::engine::breaker::BreakerState;
use crate::engine::delivery::WaitReason;
use crate::engine::snapshot::{LaneSnapshot, LaneState};
use crate::engine::time::Timestamp;

impl Lane {
    /// Its state; `oldest_under_way` is when the oldest event of its attempts was recorded.
    #[must_use]
    pub fn snapshot(
        &mut self,
        now: Timestamp,
        oldest_under_way: Option<Timestamp>,
    ) -> LaneSnapshot {
        let breaker = self.breaker.state(now);
        let parked = self.parked.count(now);
        let (waits_for, until) = self.hindrance(breaker, parked, now).unzip();
        LaneSnapshot {
            connection: self.key.clone(),
            state: self.state(breaker, now),
            waits_for,
            until: until.flatten(),
            queued: self.queue.len(),
            in_flight: self.in_flight,
            parked,
            oldest: [self.queue.oldest(), oldest_under_way].into_iter().flatten().min(),
            totals: self.totals,
        }
    }

    fn state(&self, breaker: BreakerState, now: Timestamp) -> LaneState {
        match breaker {
            BreakerState::Open { .. } => LaneState::BreakerOpen,
            BreakerState::Probing => LaneState::Probing,
            BreakerState::Closed if self.paused_until > now => LaneState::Paused,
            BreakerState::Closed if self.is_empty() && self.in_flight == 0 => LaneState::Idle,
            BreakerState::Closed if self.is_empty() => LaneState::Busy,
            BreakerState::Closed => LaneState::Backlogged,
        }
    }

    /// What keeps the next delivery from going now, and until when where that is known.
    fn hindrance(
        &self,
        breaker: BreakerState,
        parked: u64,
        now: Timestamp,
    ) -> Option<(WaitReason, Option<Timestamp>)> {
        match breaker {
            BreakerState::Open { until } => Some((WaitReason::BreakerOpen, Some(until))),
            BreakerState::Probing => Some((WaitReason::BreakerOpen, None)),
            BreakerState::Closed if self.paused_until > now => {
                Some((WaitReason::RetryAfter, Some(self.paused_until)))
            }
            BreakerState::Closed if !self.is_empty() || parked > 0 => {
                Some((WaitReason::RateLimit, None))
            }
            BreakerState::Closed => None,
        }
    }
}
