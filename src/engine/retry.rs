//! The retry schedule: what is done after an attempt, and which tier a delivery waits in.
//!
//! A [`Tier`] is one delay with one topic. Records of one tier partition must fall due in the order in which they
//! were written, because a reader holds the head until its time; so the jitter is a property of the partition: the
//! writer throws the dice for a partition, and each partition adds its own part of the 20 %.

use std::time::Duration;

use serde::Deserialize;

use super::delivery::{DeadLetterReason, History};
use super::outcome::Outcome;
use super::time::Timestamp;

/// The wait before the one retry in memory.
pub const QUICK_RETRY: Duration = Duration::from_secs(1);
/// A refused body is retried so often: deploys cause short bursts of refusals.
const REJECTED_RETRIES: u32 = 4;
/// A delay grows by at most this share.
const JITTER: f64 = 0.2;
/// What deliveries spend between the waits, in queues and attempts, does not cost a short schedule its last retry.
const HORIZON_SLACK: Duration = Duration::from_secs(10);
/// The schedule that the Standard Webhooks specification recommends.
const STANDARD_WEBHOOKS: [&str; 9] = ["5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h"];
/// The longest delay that makes sense: a tier's topic keeps its records a week longer than its delay.
const LONGEST_DELAY: Duration = Duration::from_hours(7 * 24);

/// The section `[retry]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// The delays before each retry, such as `5s`, `2m` or `6h` (also `ms`); each is a tier with a topic of its own.
    pub schedule: Vec<String>,
    /// Empty, or `standard-webhooks` for that specification's schedule instead of `schedule`.
    pub preset: String,
}

impl Default for RetryConfig {
    fn default() -> Self {
        let schedule = ["5s", "30s", "2m", "10m", "30m", "2h", "6h", "15h"];
        Self { schedule: schedule.map(str::to_owned).to_vec(), preset: String::new() }
    }
}

/// Why a retry configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetryConfigError {
    /// A delay that is none.
    #[error("`{0}` is not a delay: write a whole number and ms, s, m, h or d, such as 30s")]
    Delay(String),
    /// A delay out of range.
    #[error("the delay `{0}` is out of range: 1ms to 7d")]
    Range(String),
    /// No delay at all.
    #[error("the schedule is empty: a failed delivery could not be retried")]
    Empty,
    /// An unknown preset.
    #[error("`{0}` is not a preset: leave it empty or write standard-webhooks")]
    Preset(String),
}

/// A delay tier, by its place among the tiers from the shortest to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(pub u16);

/// A place in a tier and the time at which it falls due there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The tier.
    pub tier: Tier,
    /// The partition of the tier's topic.
    pub partition: i32,
    /// When the delivery may be taken up again.
    pub due: Timestamp,
}

/// What is done with a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Delivered,
    /// It waits in a tier.
    Wait(Slot),
    /// It is given up.
    DeadLetter(DeadLetterReason),
}

/// The schedule, checked.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// The delay before each retry, as a tier.
    schedule: Vec<Tier>,
    /// Each tier's delay, rising.
    delays: Vec<Duration>,
    /// How many partitions each tier's topic has.
    partitions: u32,
    /// From the first failed attempt, a delivery has this long.
    horizon: Duration,
}

impl TryFrom<&RetryConfig> for RetryPolicy {
    type Error = RetryConfigError;

    fn try_from(config: &RetryConfig) -> Result<Self, RetryConfigError> {
        let schedule: Result<Vec<_>, _> = match config.preset.as_str() {
            "" => config.schedule.iter().map(|text| parse_delay(text)).collect(),
            "standard-webhooks" => STANDARD_WEBHOOKS.iter().map(|text| parse_delay(text)).collect(),
            other => Err(RetryConfigError::Preset(other.to_owned())),
        };
        Self::new(&schedule?)
    }
}

impl RetryPolicy {
    /// From the delays before each retry.
    ///
    /// # Errors
    /// [`RetryConfigError::Empty`] without a delay.
    pub fn new(schedule: &[Duration]) -> Result<Self, RetryConfigError> {
        if schedule.is_empty() {
            return Err(RetryConfigError::Empty);
        }
        let mut delays = schedule.to_vec();
        delays.sort_unstable();
        delays.dedup();
        let tier_of = |delay: &Duration| {
            let place = delays.binary_search(delay).expect("every delay is a tier");
            Tier(u16::try_from(place).unwrap_or(u16::MAX))
        };
        let total: Duration = schedule.iter().sum();
        Ok(Self {
            schedule: schedule.iter().map(tier_of).collect(),
            horizon: total.mul_f64(1.0 + JITTER) + HORIZON_SLACK,
            delays,
            partitions: 1,
        })
    }

    /// Tells how many partitions the tiers' topics have.
    #[must_use]
    pub fn with_partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions.max(1);
        self
    }

    /// Each tier's delay, from the shortest to the longest.
    #[must_use]
    pub fn delays(&self) -> &[Duration] {
        &self.delays
    }

    /// What is done after an attempt whose outcome is `outcome`; `history` has it counted already.
    ///
    /// A repeat from memory and our own faults are decided by the caller, who alone knows the lane.
    #[must_use]
    pub fn after_attempt(
        &self,
        outcome: Outcome,
        history: &History,
        now: Timestamp,
        dice: f64,
    ) -> Verdict {
        let given_up = match outcome {
            Outcome::Gone => return Verdict::DeadLetter(DeadLetterReason::Gone),
            Outcome::Denied => return Verdict::DeadLetter(DeadLetterReason::EgressDenied),
            Outcome::Panicked => return Verdict::DeadLetter(DeadLetterReason::Panic),
            Outcome::Delivered => return Verdict::Delivered,
            Outcome::Rejected if history.attempts > REJECTED_RETRIES => {
                Some(DeadLetterReason::Rejected)
            }
            Outcome::Rejected => self.is_spent(history, now).then_some(DeadLetterReason::Rejected),
            Outcome::Throttled { .. }
            | Outcome::Refused
            | Outcome::Unanswered { .. }
            | Outcome::OurFault => {
                self.is_spent(history, now).then_some(DeadLetterReason::Exhausted)
            }
        };
        if let Some(reason) = given_up {
            return Verdict::DeadLetter(reason);
        }
        let retry = usize::try_from(history.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let tier = self.schedule.get(retry).copied().unwrap_or(Tier(0));
        Verdict::Wait(self.slot(tier, now, dice))
    }

    /// Whether no retry is left, by number or by time.
    #[must_use]
    pub fn is_spent(&self, history: &History, now: Timestamp) -> bool {
        let attempts = usize::try_from(history.attempts).unwrap_or(usize::MAX);
        attempts > self.schedule.len() || self.is_past_horizon(history, now)
    }

    /// Whether the time for a delivery to succeed is over.
    #[must_use]
    pub fn is_past_horizon(&self, history: &History, now: Timestamp) -> bool {
        history.first_attempt_at.is_some_and(|first| now.since(first) > self.horizon)
    }

    /// A place in the tier nearest to a wait.
    #[must_use]
    pub fn nearest(&self, wait: Duration, now: Timestamp, dice: f64) -> Slot {
        self.slot(self.tier_nearest(wait), now, dice)
    }

    /// A place for what was turned away: not back before `wait` is over, for it would be turned away again, nor much
    /// sooner than in half the time that it has `waited` already, so that a long outage costs few records.
    #[must_use]
    pub fn after_refusal(
        &self,
        wait: Duration,
        waited: Duration,
        now: Timestamp,
        dice: f64,
    ) -> Slot {
        self.slot(self.tier_covering(wait).max(self.tier_nearest(waited / 2)), now, dice)
    }

    fn tier_nearest(&self, wait: Duration) -> Tier {
        let above = self.tier_covering(wait);
        let Some(below) = above.0.checked_sub(1).map(Tier) else { return above };
        let distance = |tier: Tier| self.delays[usize::from(tier.0)].abs_diff(wait);
        if distance(below) < distance(above) { below } else { above }
    }

    /// The shortest tier that is not shorter than a wait, or the longest.
    fn tier_covering(&self, wait: Duration) -> Tier {
        let place = self.delays.partition_point(|&delay| delay < wait).min(self.delays.len() - 1);
        Tier(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// A place in a tier: the dice choose the partition, and the partition has its part of the jitter.
    fn slot(&self, tier: Tier, now: Timestamp, dice: f64) -> Slot {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 <= dice < 1"
        )]
        let partition = ((dice * f64::from(self.partitions)) as u32).min(self.partitions - 1);
        let jitter = JITTER * f64::from(partition) / f64::from(self.partitions);
        let delay = self.delays[usize::from(tier.0)].mul_f64(1.0 + jitter);
        Slot { tier, partition: i32::try_from(partition).unwrap_or(0), due: now + delay }
    }
}

/// Reads a delay such as `200ms`, `5s`, `2m`, `6h` or `1d`.
///
/// # Errors
/// [`RetryConfigError::Delay`] or [`RetryConfigError::Range`].
pub fn parse_delay(text: &str) -> Result<Duration, RetryConfigError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let bad = || RetryConfigError::Delay(text.to_owned());
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit_millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    let delay = Duration::from_millis(number.saturating_mul(unit_millis));
    let in_range = !delay.is_zero() && delay <= LONGEST_DELAY;
    if in_range { Ok(delay) } else { Err(RetryConfigError::Range(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn policy() -> RetryPolicy {
        RetryPolicy::try_from(&RetryConfig::default()).unwrap()
    }

    fn history(attempts: u32) -> History {
        History { attempts, first_attempt_at: Some(NOW), ..History::default() }
    }

    #[test]
    fn nine_attempts_over_about_a_day() {
        let waits: Vec<_> = (1..=9)
            .map(|attempts| policy().after_attempt(Outcome::Refused, &history(attempts), NOW, 0.0))
            .map(|verdict| match verdict {
                Verdict::Wait(slot) => Some(slot.due.since(NOW).as_secs()),
                Verdict::Delivered | Verdict::DeadLetter(_) => None,
            })
            .collect();
        let hours = |n: u64| Some(n * 3600);
        assert_eq!(
            waits,
            [
                Some(5),
                Some(30),
                Some(120),
                Some(600),
                Some(1800),
                hours(2),
                hours(6),
                hours(15),
                None
            ]
        );
        assert_eq!(
            policy().after_attempt(Outcome::Refused, &history(9), NOW, 0.0),
            Verdict::DeadLetter(DeadLetterReason::Exhausted)
        );
    }

    #[test]
    fn a_refused_body_is_retried_four_times() {
        let verdict =
            |attempts| policy().after_attempt(Outcome::Rejected, &history(attempts), NOW, 0.0);
        for attempts in 1..=4 {
            assert!(matches!(verdict(attempts), Verdict::Wait(..)), "{attempts}");
        }
        assert_eq!(verdict(5), Verdict::DeadLetter(DeadLetterReason::Rejected));
    }

    #[test]
    fn the_horizon_ends_it_however_few_attempts_there_were() {
        let first = History { first_attempt_at: Some(NOW), attempts: 1, ..History::default() };
        let day = NOW + Duration::from_hours(30);
        assert_eq!(
            policy().after_attempt(Outcome::Refused, &first, day, 0.0),
            Verdict::DeadLetter(DeadLetterReason::Exhausted)
        );
    }

    #[test]
    fn the_nearest_tier_is_chosen() {
        let place = |secs| policy().nearest(Duration::from_secs(secs), NOW, 0.0).tier.0;
        assert_eq!([0, 5, 17, 18, 70, 80, 3600 * 100].map(place), [0, 0, 0, 1, 1, 2, 7]);
    }

    #[test]
    fn what_was_turned_away_comes_back_when_it_has_a_chance() {
        let place = |wait, waited| {
            let [wait, waited] = [wait, waited].map(Duration::from_secs);
            policy().after_refusal(wait, waited, NOW, 0.0).tier.0
        };
        assert_eq!([0, 5, 6, 30, 31, 3600 * 100].map(|wait| place(wait, 0)), [0, 0, 1, 1, 2, 7]);
        assert_eq!([34, 36, 240, 1200, 3600 * 4].map(|waited| place(5, waited)), [0, 1, 2, 3, 5]);
    }

    #[test]
    fn presets_and_faults() {
        let config = |schedule: &[&str], preset: &str| RetryConfig {
            schedule: schedule.iter().map(|&text| text.to_owned()).collect(),
            preset: preset.to_owned(),
        };
        let preset = RetryPolicy::try_from(&config(&["5s"], "standard-webhooks")).unwrap();
        assert_eq!(preset.delays().len(), 9);
        for (schedule, preset) in [
            (&[][..], ""),
            (&["5"][..], ""),
            (&["s"][..], ""),
            (&["0s"][..], ""),
            (&["8d"][..], ""),
            (&["5s"][..], "x"),
        ] {
            assert!(RetryPolicy::try_from(&config(schedule, preset)).is_err(), "{schedule:?}");
        }
    }

    proptest! {
        #[test]
        fn due_times_of_a_tier_partition_are_in_the_order_of_writing(
            partitions in 1_u32..20, throws in prop::collection::vec((0.0..1.0_f64, 0_u64..5_000), 2..50),
        ) {
            let policy = policy().with_partitions(partitions);
            let mut now = NOW;
            let mut last_due = [Timestamp::EPOCH; 20];
            for (dice, millis) in throws {
                now = now + Duration::from_millis(millis);
                let slot = policy.slot(Tier(3), now, dice);
                let delay = slot.due.since(now);
                let last = &mut last_due[usize::try_from(slot.partition).unwrap()];
                prop_assert!(slot.due >= *last);
                prop_assert!(delay >= Duration::from_mins(10) && delay <= Duration::from_mins(12));
                *last = slot.due;
            }
        }
    }
}
