//! How a connection is: how often its attempts succeed, what its lane does, and why it waits.
//!
//! The rates are those of all instances; the lane is this instance's, which serves its share of the partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::attempts::{AttemptSummary, Attempts, Rates};
use crate::clock::Clock;
use crate::driver::Watcher;
use crate::engine::connection::ConnectionKey;
use crate::engine::delivery::WaitReason;
use crate::engine::snapshot::LaneSnapshot;
use crate::engine::time::Timestamp;
use utoipa::ToSchema;

/// How one connection is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// Its project.
    pub project_id: String,
    /// Its id.
    pub connection_id: String,
    /// When this was looked at, in milliseconds since the epoch.
    pub at_ms: u64,
    /// How often attempts succeeded; null where the log has none of it, or does not log successes.
    pub rates: Option<Rates>,
    /// The last attempt that failed and is known.
    #[schema(value_type = Option<AttemptSummary>)]
    pub last_failure: Option<Arc<AttemptSummary>>,
    /// What this instance does for it; null where it has had nothing to do for a while.
    pub lane: Option<LaneHealth>,
}

/// A lane of this instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LaneHealth {
    /// `idle`, `busy`, `backlogged`, `paused`, `breaker_open` or `probing`.
    pub state: &'static str,
    /// What keeps the next delivery from going: `rate_limit`, `breaker_open` or `retry_after`.
    pub waits_for: Option<&'static str>,
    /// Until when, in milliseconds since the epoch, where that is known.
    pub waits_until_ms: Option<u64>,
    /// Deliveries in its queue.
    pub queued: usize,
    /// Attempts under way.
    pub in_flight: u32,
    /// Deliveries that this instance has parked for the rate limit and that are not due yet.
    pub parked: u64,
    /// How old the oldest event is that is queued or under way here, in seconds.
    pub oldest_undelivered_seconds: Option<u64>,
    /// Delivered since the lane was made.
    pub delivered: u64,
    /// Put into a tier after a failed attempt since then.
    pub retried: u64,
    /// Put into a tier without an attempt since then.
    pub parked_total: u64,
    /// Given up since then.
    pub dead_lettered: u64,
    /// Dropped with a counted reason since then.
    pub dropped: u64,
}

/// The way to connections' health; cheap to clone.
#[derive(Clone, Debug)]
pub struct Healths {
    pub(super) attempts: Attempts,
    pub(super) watcher: Watcher,
    pub(super) clock: Clock,
}

impl Healths {
    /// How these connections are, in their order, with one look at the lanes.
    pub async fn of(&self, connections: &[ConnectionKey]) -> Vec<Health> {
        let lanes = self.watcher.snapshot().await.lanes;
        let lanes: BTreeMap<_, _> =
            lanes.into_iter().map(|lane| (lane.connection.clone(), lane)).collect();
        let now = self.clock.now();
        let health = |key: &ConnectionKey| Health {
            project_id: key.project().to_owned(),
            connection_id: key.connection().to_owned(),
            at_ms: now.as_millis(),
            rates: self.attempts.rates(key, now),
            last_failure: self.attempts.last_failure(key),
            lane: lanes.get(key).map(|lane| LaneHealth::of(lane, now)),
        };
        connections.iter().map(health).collect()
    }
}

impl LaneHealth {
    fn of(lane: &LaneSnapshot, now: Timestamp) -> Self {
        Self {
            state: lane.state.as_str(),
            waits_for: lane.waits_for.map(WaitReason::as_str),
            waits_until_ms: lane.until.map(Timestamp::as_millis),
            queued: lane.queued,
            in_flight: lane.in_flight,
            parked: lane.parked,
            oldest_undelivered_seconds: lane.oldest.map(|oldest| now.since(oldest).as_secs()),
            delivered: lane.totals.delivered,
            retried: lane.totals.retried,
            parked_total: lane.totals.parked,
            dead_lettered: lane.totals.dead_lettered,
            dropped: lane.totals.dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::snapshot::{LaneState, Totals};

    #[test]
    fn a_lane_says_why_it_waits_until_when_and_how_old_its_oldest_is() {
        let now = Timestamp::from_secs(1_000);
        let lane = LaneSnapshot {
            connection: ConnectionKey::parse("1/a").unwrap(),
            state: LaneState::Paused,
            waits_for: Some(WaitReason::RetryAfter),
            until: Some(Timestamp::from_secs(1_060)),
            queued: 3,
            in_flight: 1,
            parked: 7,
            oldest: Some(Timestamp::from_secs(910)),
            totals: Totals { delivered: 5, parked: 9, ..Totals::default() },
        };
        let shown = serde_json::to_value(LaneHealth::of(&lane, now)).unwrap();
        assert_eq!(shown["state"], "paused");
        assert_eq!(shown["waits_for"], "retry_after");
        assert_eq!(shown["waits_until_ms"], 1_060_000);
        assert_eq!(shown["oldest_undelivered_seconds"], 90);
        assert_eq!((&shown["parked"], &shown["parked_total"]), (&7.into(), &9.into()));
    }
}
