//! A connection's failures since its last success, and when they are enough to deactivate it.
//!
//! It lives as long as its instance: the days are counted anew after a restart.

use std::time::Duration;

use super::outcome::Outcome;
use super::time::Timestamp;

/// Refusals by the egress guard in a row that deactivate a connection.
const DENIALS: u32 = 3;
/// Failing for so long deactivates.
const FAILING_TIME: Duration = Duration::from_hours(5 * 24);
/// Fewer failures than this are not enough, however long ago the last success is.
const FAILURES: u32 = 20;
/// The first and the last of the failures must lie so far apart.
const SPREAD: Duration = Duration::from_hours(12);

/// Why the service deactivates a connection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeactivationReason {
    /// The endpoint answered 410.
    Gone,
    /// It failed for days.
    Failing,
    /// The egress guard refused it again and again.
    EgressDenied,
}

impl DeactivationReason {
    /// Every reason, for metrics.
    pub const ALL: [Self; 3] = [Self::Gone, Self::Failing, Self::EgressDenied];

    /// The name in the states topic and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::EgressDenied => "egress_denied",
        }
    }
}

/// Failures since the last success.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streak {
    failures: u32,
    denials: u32,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl Streak {
    /// Takes an outcome in.
    pub fn observe(&mut self, outcome: Outcome, now: Timestamp) {
        match outcome {
            Outcome::Delivered => *self = Self::default(),
            Outcome::OurFault | Outcome::Panicked => {}
            Outcome::Denied => {
                self.denials += 1;
                self.count(now);
            }
            Outcome::Gone
            | Outcome::Throttled { .. }
            | Outcome::Rejected
            | Outcome::Refused
            | Outcome::Unanswered { .. } => {
                self.denials = 0;
                self.count(now);
            }
        }
    }

    /// Whether the last outcome was a success, or there was none.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.failures == 0
    }

    /// Whether the connection is to be deactivated, after `last` was taken in.
    #[must_use]
    pub fn verdict(&self, last: Outcome) -> Option<DeactivationReason> {
        if last == Outcome::Gone {
            return Some(DeactivationReason::Gone);
        }
        if self.denials >= DENIALS {
            return Some(DeactivationReason::EgressDenied);
        }
        let lasted = self.last_at.since(self.first_at);
        let is_failing = self.failures >= FAILURES && lasted >= FAILING_TIME.max(SPREAD);
        is_failing.then_some(DeactivationReason::Failing)
    }

    fn count(&mut self, now: Timestamp) {
        if self.failures == 0 {
            self.first_at = now;
        }
        self.failures += 1;
        self.last_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_after(outcomes: &[(Outcome, u64)]) -> Option<DeactivationReason> {
        let mut streak = Streak::default();
        let mut verdict = None;
        for &(outcome, hour) in outcomes {
            streak.observe(outcome, Timestamp::from_secs(hour * 3600));
            verdict = streak.verdict(outcome);
        }
        verdict
    }

    #[test]
    fn five_days_of_failures_deactivate_and_a_success_begins_anew() {
        let failing: Vec<_> = (0..=24).map(|n| (Outcome::Refused, n * 5)).collect();
        assert_eq!(verdict_after(&failing), Some(DeactivationReason::Failing));
        assert_eq!(verdict_after(&failing[..24]), None);
        let mut recovered = failing;
        recovered[10].0 = Outcome::Delivered;
        assert_eq!(verdict_after(&recovered), None);
    }

    #[test]
    fn few_failures_over_a_long_time_do_not() {
        let rare: Vec<_> = (0..19).map(|n| (Outcome::Refused, n * 24)).collect();
        assert_eq!(verdict_after(&rare), None);
    }

    #[test]
    fn gone_once_and_denied_three_times_in_a_row_do() {
        assert_eq!(verdict_after(&[(Outcome::Gone, 0)]), Some(DeactivationReason::Gone));
        let denied = [(Outcome::Denied, 0); 3];
        assert_eq!(verdict_after(&denied), Some(DeactivationReason::EgressDenied));
        let broken = [
            (Outcome::Denied, 0),
            (Outcome::Denied, 0),
            (Outcome::Refused, 0),
            (Outcome::Denied, 0),
        ];
        assert_eq!(verdict_after(&broken), None);
    }
}
