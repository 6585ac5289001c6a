//! The connections that have series of their own, by the operator's choice.
//!
//! Nothing is counted for them in a delivery's path: the lanes keep totals anyway, and what was added to them since the
//! last look is added to the counters. A lane that was forgotten meanwhile starts at 0 again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::engine::connection::ConnectionKey;
use crate::engine::snapshot::{LaneSnapshot, LaneState, Snapshot, Totals};
use crate::metrics::Metrics;

/// The listed connections, with their lanes' totals when they were last looked at.
#[derive(Debug)]
pub(super) struct Watched(Mutex<BTreeMap<ConnectionKey, Totals>>);

impl Watched {
    /// From their keys; what is no key was refused with the configuration.
    pub(super) fn new(keys: &[String]) -> Self {
        let keys = keys.iter().filter_map(|key| ConnectionKey::parse(key));
        Self(Mutex::new(keys.map(|key| (key, Totals::default())).collect()))
    }

    /// Shows them as they are in that snapshot.
    pub(super) fn show(&self, metrics: &Metrics, snapshot: &Snapshot) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.is_empty() {
            return;
        }
        let is_watched = |lane: &&LaneSnapshot| watched.contains_key(&lane.connection);
        let lanes: BTreeMap<_, _> = snapshot
            .lanes
            .iter()
            .filter(is_watched)
            .map(|lane| (lane.connection.clone(), lane))
            .collect();
        for (key, last) in watched.iter_mut() {
            let lane = lanes.get(key).copied();
            let totals = lane.map(|lane| lane.totals).unwrap_or_default();
            count(metrics, key, *last, totals);
            *last = totals;
            show_lane(metrics, key, lane);
        }
    }
}

fn count(metrics: &Metrics, key: &ConnectionKey, last: Totals, now: Totals) {
    for (outcome, last, now) in [
        ("delivered", last.delivered, now.delivered),
        ("retried", last.retried, now.retried),
        ("parked", last.parked, now.parked),
        ("dead_lettered", last.dead_lettered, now.dead_lettered),
        ("dropped", last.dropped, now.dropped),
    ] {
        let counter =
            metrics.connection_deliveries_total.with_label_values(&[key.as_str(), outcome]);
        // Less than before: the lane is a new one.
        counter.inc_by(now.checked_sub(last).unwrap_or(now));
    }
}

fn show_lane(metrics: &Metrics, key: &ConnectionKey, lane: Option<&LaneSnapshot>) {
    let label = [key.as_str()];
    let queued = lane.map_or(0, |lane| i64::try_from(lane.queued).unwrap_or(i64::MAX));
    metrics.connection_queued_deliveries.with_label_values(&label).set(queued);
    let in_flight = lane.map_or(0, |lane| i64::from(lane.in_flight));
    metrics.connection_in_flight.with_label_values(&label).set(in_flight);
    let is_open = lane.is_some_and(|lane| lane.state == LaneState::BreakerOpen);
    metrics.connection_breaker_open.with_label_values(&label).set(i64::from(is_open));
}
