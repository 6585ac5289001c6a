//! How fast this instance goes: its counters, looked at every few seconds and kept for an hour.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::clock::wall_clock;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use utoipa::ToSchema;

/// The counters are looked at so often.
const STEP: Duration = Duration::from_secs(10);
/// An hour of it.
pub(in crate::admin) const STEPS: usize = 360;

/// What happened in a second of a step, on average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct ThroughputPoint {
    /// The end of the step, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Event records read.
    pub events_per_second: f64,
    /// Deliveries answered 2xx.
    pub delivered_per_second: f64,
    /// Deliveries put into a tier after a failed attempt.
    pub retried_per_second: f64,
    /// Deliveries put into a tier without an attempt.
    pub parked_per_second: f64,
    /// Deliveries given up.
    pub dead_lettered_per_second: f64,
}

/// The counters at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_ms: u64,
    /// Events, and deliveries by outcome, as in [`ThroughputPoint`].
    counts: [u64; 5],
}

/// The last hour; cheap to clone.
#[derive(Clone, Debug)]
pub struct Throughput {
    samples: Arc<Mutex<VecDeque<Sample>>>,
    metrics: Arc<Metrics>,
}

impl Throughput {
    pub(in crate::admin) fn new(metrics: Arc<Metrics>) -> Self {
        Self { samples: Arc::default(), metrics }
    }

    /// Looks at the counters until it is to stop.
    pub(in crate::admin) async fn run(self, shutdown: Shutdown) {
        let mut step = tokio::time::interval(STEP);
        loop {
            tokio::select! {
                () = shutdown.asked() => return,
                _ = step.tick() => self.push(self.sample()),
            }
        }
    }

    /// The steps of the last hour, the oldest first.
    #[must_use]
    pub fn points(&self) -> Vec<ThroughputPoint> {
        self.points_until(self.sample())
    }

    /// Up to a look that is made now; it counts once it is more than a moment after the last one.
    fn points_until(&self, now: Sample) -> Vec<ThroughputPoint> {
        let mut samples: Vec<_> =
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        if samples.last().is_some_and(|last| now.at_ms >= last.at_ms + 1000) {
            samples.push(now);
        }
        samples.windows(2).filter_map(|pair| point(pair[0], pair[1])).collect()
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(sample);
        if samples.len() > STEPS + 1 {
            samples.pop_front();
        }
    }

    fn sample(&self) -> Sample {
        let deliveries =
            |outcome| self.metrics.deliveries_total.with_label_values(&[outcome]).get();
        Sample {
            at_ms: wall_clock().as_millis(),
            counts: [
                self.metrics.events_consumed_total.get(),
                deliveries("delivered"),
                deliveries("retried"),
                deliveries("parked"),
                deliveries("dead_lettered"),
            ],
        }
    }
}

/// What happened between two looks; `None` if the system's clock was set back between them.
fn point(before: Sample, after: Sample) -> Option<ThroughputPoint> {
    let millis = after.at_ms.checked_sub(before.at_ms).filter(|millis| *millis > 0)?;
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate =
        |which: usize| (after.counts[which] - before.counts[which]) as f64 * 1000.0 / millis as f64;
    Some(ThroughputPoint {
        at_ms: after.at_ms,
        events_per_second: rate(0),
        delivered_per_second: rate(1),
        retried_per_second: rate(2),
        parked_per_second: rate(3),
        dead_lettered_per_second: rate(4),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_the_difference_of_two_looks_by_the_second() {
        let before = Sample { at_ms: 10_000, counts: [100, 50, 5, 0, 1] };
        let after = Sample { at_ms: 20_000, counts: [300, 150, 5, 10, 1] };
        let point = point(before, after).unwrap();
        assert_eq!(point.at_ms, 20_000);
        let rates = [point.events_per_second, point.delivered_per_second, point.parked_per_second];
        assert_eq!(rates, [20.0, 10.0, 1.0]);
        assert!(super::point(after, before).is_none());
    }

    #[test]
    fn an_hour_is_kept() {
        let throughput = Throughput::new(Arc::new(Metrics::new().unwrap()));
        for step in 0..1000 {
            throughput.push(Sample { at_ms: step * 10_000, counts: [step; 5] });
        }
        let points = throughput.points_until(Sample { at_ms: 9_990_500, counts: [1000; 5] });
        assert_eq!(points.len(), STEPS, "a moment is no step");
        assert_eq!(points[0].at_ms, (1000 - 360) * 10_000);
        let points = throughput.points_until(Sample { at_ms: 9_995_000, counts: [1004; 5] });
        assert_eq!(points.last().map(|last| last.events_per_second), Some(1.0));
    }
}
