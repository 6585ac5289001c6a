//! The breaker of one connection: spares an endpoint that is down, and us the attempts.
//!
//! ```text
//!            too many failures                       time is over
//!   Closed ───────────────────▶ Open { until } ───────────────────▶ Probing
//!     ▲                          ▲                                   │   │
//!     │                          └──────── the probe fails ──────────┘   │
//!     └──────────────────────────── the probe succeeds ──────────────────┘
//! ```
//!
//! It only counts what it is told; the lane asks it before each attempt.

use std::time::Duration;

use super::outcome::{Fault, Outcome};
use super::time::Timestamp;

/// Failures are counted over this time.
const WINDOW: Duration = Duration::from_secs(60);
/// The window moves in steps of a sixth, so that a count costs six pairs and no list.
const STEPS: usize = 6;
const STEP: Duration = Duration::from_secs(10);
/// Fewer attempts than this say nothing.
const MIN_ATTEMPTS: u32 = 20;
/// Of a hundred attempts in the window, so many failures open it.
const FAILURE_PERCENT: u32 = 70;
/// So many connect failures in a row open it, however few attempts there were.
const CONNECT_FAILURES: u32 = 10;
/// How long it stays open first; doubled at each failed probe.
const FIRST_OPEN: Duration = Duration::from_secs(30);
/// The longest that it stays open.
const LONGEST_OPEN: Duration = Duration::from_mins(10);
/// An open time varies by this share either way, so that endpoints are not probed in step.
const JITTER: f64 = 0.2;

/// What an attempt tells the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The endpoint works.
    Success,
    /// The endpoint fails.
    Failure,
    /// No connection came about.
    ConnectFailure,
    /// Says nothing about the endpoint's health, such as 429 or our own fault.
    Neutral,
}

impl Sign {
    /// What an outcome tells the breaker: refusals of one body and requests to slow down say nothing of its health.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered => Self::Success,
            Outcome::Refused => Self::Failure,
            Outcome::Unanswered { fault: Fault::Connect | Fault::Dns | Fault::Tls, .. } => {
                Self::ConnectFailure
            }
            Outcome::Unanswered {
                fault: Fault::Timeout | Fault::Reset | Fault::Protocol, ..
            } => Self::Failure,
            Outcome::Gone
            | Outcome::Throttled { .. }
            | Outcome::Rejected
            | Outcome::Denied
            | Outcome::OurFault
            | Outcome::Panicked => Self::Neutral,
        }
    }
}

/// Where the breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Attempts go.
    Closed,
    /// No attempt goes before that time.
    Open {
        /// When a probe may go.
        until: Timestamp,
    },
    /// One attempt at a time goes, and decides.
    Probing,
}

/// The breaker of one connection.
#[derive(Debug)]
pub struct Breaker {
    state: BreakerState,
    /// Attempts and failures of each step, the current one first.
    counts: [(u32, u32); STEPS],
    /// When the current step began.
    step_began: Timestamp,
    connect_failures: u32,
    /// Openings since the last success: each doubles the time.
    openings: u32,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            state: BreakerState::Closed,
            counts: [(0, 0); STEPS],
            step_began: now,
            connect_failures: 0,
            openings: 0,
        }
    }

    /// Where it stands at that time; an open time that is over has become probing.
    pub fn state(&mut self, now: Timestamp) -> BreakerState {
        if let BreakerState::Open { until } = self.state
            && now >= until
        {
            self.state = BreakerState::Probing;
        }
        self.state
    }

    /// Whether it is as good as new: nothing is lost if it is forgotten.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.state == BreakerState::Closed
            && self.openings == 0
            && self.connect_failures == 0
            && now.since(self.step_began) >= WINDOW
    }

    /// Takes a sign in. `dice` is from 0 up to 1.
    pub fn observe(&mut self, sign: Sign, now: Timestamp, dice: f64) {
        match sign {
            Sign::Neutral => {}
            Sign::Success => self.observe_success(now),
            Sign::Failure => self.observe_failure(now, 0, dice),
            Sign::ConnectFailure => self.observe_failure(now, self.connect_failures + 1, dice),
        }
    }

    fn observe_success(&mut self, now: Timestamp) {
        self.connect_failures = 0;
        if self.state(now) == BreakerState::Probing {
            *self = Self::new(now);
            return;
        }
        self.count(now, 0);
    }

    fn observe_failure(&mut self, now: Timestamp, connect_failures: u32, dice: f64) {
        self.connect_failures = connect_failures;
        self.count(now, 1);
        match self.state(now) {
            BreakerState::Open { .. } => {}
            BreakerState::Probing => self.open(now, dice),
            BreakerState::Closed => {
                if self.connect_failures >= CONNECT_FAILURES || self.is_failing() {
                    self.open(now, dice);
                }
            }
        }
    }

    fn open(&mut self, now: Timestamp, dice: f64) {
        let doubled = FIRST_OPEN * 2_u32.saturating_pow(self.openings.min(10));
        let time = doubled.min(LONGEST_OPEN).mul_f64(1.0 - JITTER + 2.0 * JITTER * dice);
        self.state = BreakerState::Open { until: now + time };
        self.counts = [(0, 0); STEPS];
        self.connect_failures = 0;
        self.openings += 1;
    }

    fn is_failing(&self) -> bool {
        let (attempts, failures) =
            self.counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        attempts >= MIN_ATTEMPTS && failures * 100 >= attempts * FAILURE_PERCENT
    }

    fn count(&mut self, now: Timestamp, failures: u32) {
        let steps = now.since(self.step_began).as_secs() / STEP.as_secs();
        if steps > 0 {
            let steps = usize::try_from(steps).unwrap_or(STEPS).min(STEPS);
            self.counts.rotate_right(steps);
            self.counts[..steps].fill((0, 0));
            self.step_began = now;
        }
        self.counts[0].0 += 1;
        self.counts[0].1 += failures;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000);

    fn after(secs: u64) -> Timestamp {
        START + Duration::from_secs(secs)
    }

    fn is_open(breaker: &mut Breaker, now: Timestamp) -> bool {
        matches!(breaker.state(now), BreakerState::Open { .. })
    }

    #[test]
    fn seven_failures_of_ten_over_twenty_attempts_open_it() {
        let mut breaker = Breaker::new(START);
        for number in 0..20 {
            assert!(!is_open(&mut breaker, START));
            let sign = if number % 10 < 3 { Sign::Success } else { Sign::Failure };
            breaker.observe(sign, START, 0.5);
        }
        assert_eq!(breaker.state(START), BreakerState::Open { until: after(30) });
    }

    #[test]
    fn failures_that_are_a_minute_old_do_not_count() {
        let mut breaker = Breaker::new(START);
        for number in 0..200 {
            breaker.observe(Sign::Failure, after(number * 6), 0.5);
        }
        assert_eq!(breaker.state(after(1200)), BreakerState::Closed);
    }

    #[test]
    fn ten_connect_failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(START);
        for _ in 0..9 {
            breaker.observe(Sign::ConnectFailure, START, 0.5);
        }
        breaker.observe(Sign::Success, START, 0.5);
        for _ in 0..10 {
            assert!(!is_open(&mut breaker, START));
            breaker.observe(Sign::ConnectFailure, START, 0.5);
        }
        assert!(is_open(&mut breaker, START));
    }

    #[test]
    fn a_failed_probe_doubles_the_time_up_to_ten_minutes_and_a_good_one_ends_it() {
        let mut breaker = Breaker::new(START);
        for _ in 0..10 {
            breaker.observe(Sign::ConnectFailure, START, 0.5);
        }
        let mut now = START;
        for secs in [30, 60, 120, 240, 480, 600, 600] {
            assert_eq!(
                breaker.state(now),
                BreakerState::Open { until: now + Duration::from_secs(secs) }
            );
            now = now + Duration::from_secs(secs);
            assert_eq!(breaker.state(now), BreakerState::Probing);
            breaker.observe(Sign::Failure, now, 0.5);
        }
        now = now + Duration::from_secs(600);
        breaker.observe(Sign::Success, now, 0.5);
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }

    #[test]
    fn neutral_signs_change_nothing() {
        let mut breaker = Breaker::new(START);
        for _ in 0..100 {
            breaker.observe(Sign::Neutral, START, 0.5);
        }
        assert_eq!(breaker.state(START), BreakerState::Closed);
        assert!(breaker.is_fresh(after(60)));
    }
}
