//! How many attempts of a connection succeeded and failed: by the minute over an hour, by ten minutes over a day.

use std::collections::VecDeque;

use serde::Serialize;

const MINUTE_MS: u64 = 60_000;
const TEN_MINUTES_MS: u64 = 600_000;
/// Minutes in an hour.
const MINUTES: u64 = 60;
/// Tens of minutes in a day.
const TENS: u64 = 144;
use utoipa::ToSchema;

/// How often attempts have succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Rates {
    /// Over the last hour.
    pub last_hour: Rate,
    /// Over the last day, as far back as the log was read.
    pub last_day: Rate,
    /// The last hour by the minute, the oldest first.
    pub by_minute: Vec<Point>,
    /// The last day by ten minutes, the oldest first.
    pub by_ten_minutes: Vec<Point>,
}

/// Successes and failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Rate {
    /// Attempts that were answered 2xx.
    pub succeeded: u64,
    /// Those that were not.
    pub failed: u64,
    /// The successes' part, 0–1; null without an attempt.
    pub success_rate: Option<f64>,
}

/// Successes and failures of a part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Point {
    /// When it began, in milliseconds since the epoch.
    pub from_ms: u64,
    /// Attempts that were answered 2xx.
    pub succeeded: u64,
    /// Those that were not.
    pub failed: u64,
}

/// What is counted of one connection.
#[derive(Debug)]
pub(super) struct Counts {
    minutes: Series,
    tens: Series,
}

impl Default for Counts {
    fn default() -> Self {
        Self { minutes: Series::new(MINUTE_MS, MINUTES), tens: Series::new(TEN_MINUTES_MS, TENS) }
    }
}

impl Counts {
    pub(super) fn add(&mut self, at_ms: u64, succeeded: u32, failed: u32) {
        self.minutes.add(at_ms, succeeded, failed);
        self.tens.add(at_ms, succeeded, failed);
    }

    /// Whether nothing was counted for a day.
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        self.tens.points(now_ms).iter().all(|point| point.succeeded + point.failed == 0)
    }

    pub(super) fn rates(&self, now_ms: u64) -> Rates {
        let (by_minute, by_ten_minutes) = (self.minutes.points(now_ms), self.tens.points(now_ms));
        Rates {
            last_hour: Rate::of(&by_minute),
            last_day: Rate::of(&by_ten_minutes),
            by_minute,
            by_ten_minutes,
        }
    }
}

impl Rate {
    fn of(points: &[Point]) -> Self {
        let succeeded: u64 = points.iter().map(|point| point.succeeded).sum();
        let failed: u64 = points.iter().map(|point| point.failed).sum();
        let all = succeeded + failed;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let success_rate = (all > 0).then(|| succeeded as f64 / all as f64);
        Self { succeeded, failed, success_rate }
    }
}

/// Counts by steps of equal length; steps without an attempt cost nothing.
#[derive(Debug)]
struct Series {
    step_ms: u64,
    steps: u64,
    /// Step, successes and failures; the steps rise.
    counts: VecDeque<(u64, u64, u64)>,
}

impl Series {
    const fn new(step_ms: u64, steps: u64) -> Self {
        Self { step_ms, steps, counts: VecDeque::new() }
    }

    fn add(&mut self, at_ms: u64, succeeded: u32, failed: u32) {
        let step = at_ms / self.step_ms;
        let place = self.counts.partition_point(|(other, ..)| *other < step);
        if self.counts.get(place).is_none_or(|(other, ..)| *other != step) {
            self.counts.insert(place, (step, 0, 0));
        }
        if let Some((_, all_succeeded, all_failed)) = self.counts.get_mut(place) {
            *all_succeeded += u64::from(succeeded);
            *all_failed += u64::from(failed);
        }
        let newest = self.counts.back().map_or(step, |(newest, ..)| *newest);
        while self.counts.pop_front_if(|(oldest, ..)| *oldest + self.steps <= newest).is_some() {}
    }

    /// Every step up to now.
    fn points(&self, now_ms: u64) -> Vec<Point> {
        let last = now_ms / self.step_ms;
        let first = (last + 1).saturating_sub(self.steps);
        let point = |step| {
            let found = self.counts.binary_search_by_key(&step, |(other, ..)| *other);
            let (_, succeeded, failed) =
                found.ok().and_then(|place| self.counts.get(place)).copied().unwrap_or_default();
            Point { from_ms: step * self.step_ms, succeeded, failed }
        };
        (first..=last).map(point).collect()
    }
}
