//! A connection's rate limit, and this instance's share of it.
//!
//! The limit holds for the whole group without anybody talking to anybody: each instance takes the share of the limit
//! that equals its share of the assigned partitions. A bucket starts empty at the moment its share was given, so that
//! neither a rebalance nor a restart grants a second burst. The token bucket is governor's (GCRA), on a clock that is
//! told the time.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::time::Timestamp;

/// This instance's part of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Partitions assigned to this instance, of events and retry tiers together.
    pub owned: u32,
    /// Partitions that there are.
    pub total: u32,
    /// Since when.
    pub since: Timestamp,
}

impl Share {
    /// The whole limit: an instance alone.
    #[must_use]
    pub const fn whole(since: Timestamp) -> Self {
        Self { owned: 1, total: 1, since }
    }

    /// Nothing: no attempt may start.
    #[must_use]
    pub const fn none(since: Timestamp) -> Self {
        Self { owned: 0, total: 1, since }
    }

    /// The time between two attempts at a limit of `rate_per_second` for the group; `None` for an empty share.
    fn period(self, rate_per_second: NonZeroU32) -> Option<Duration> {
        let parts = u64::from(self.owned) * u64::from(rate_per_second.get());
        let nanos = u64::from(self.total) * 1_000_000_000;
        (parts > 0).then(|| Duration::from_nanos(nanos.div_ceil(parts)))
    }

    /// The part of a burst, rounded down, but never less than the one that any progress needs.
    fn burst(self, burst: NonZeroU32) -> NonZeroU32 {
        let part = u64::from(burst.get()) * u64::from(self.owned) / u64::from(self.total.max(1));
        u32::try_from(part).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }
}

/// What a bucket was made for; a change of any of it makes a new bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateTerms {
    /// The connection's limit for the group.
    pub rate_per_second: NonZeroU32,
    /// The connection's burst for the group.
    pub burst: NonZeroU32,
    /// This instance's part.
    pub share: Share,
    /// Whether the endpoint asked us to slow down: half the rate, and no burst.
    pub halved: bool,
}

impl RateTerms {
    fn period(self) -> Option<Duration> {
        let period = self.share.period(self.rate_per_second)?;
        Some(if self.halved { period * 2 } else { period })
    }
}

/// A token bucket.
#[derive(Debug)]
pub struct RateLimit {
    terms: RateTerms,
    /// `None` while the share is empty.
    bucket: Option<Bucket>,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, ToldClock, NoOpMiddleware<Duration>>;

impl RateLimit {
    /// A bucket that was empty at `empty_at` and has filled since.
    #[must_use]
    pub fn new(terms: RateTerms, empty_at: Timestamp) -> Self {
        let bucket = terms.period().and_then(Quota::with_period).map(|quota| {
            let burst = if terms.halved { NonZeroU32::MIN } else { terms.share.burst(terms.burst) };
            let bucket =
                RateLimiter::direct_with_clock(quota.allow_burst(burst), ToldClock::at(empty_at));
            let emptied = bucket.check_n(burst);
            debug_assert!(matches!(emptied, Ok(Ok(()))), "a full bucket has its burst");
            bucket
        });
        Self { terms, bucket }
    }

    /// What it was made for.
    #[must_use]
    pub const fn terms(&self) -> RateTerms {
        self.terms
    }

    /// Attempts a second that it allows in the long run.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.terms.period().map_or(0.0, |period| 1.0 / period.as_secs_f64())
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When the next token will be there; never, if the share is empty.
    pub fn take(&self, now: Timestamp) -> Result<(), Option<Timestamp>> {
        let Some(bucket) = &self.bucket else { return Err(None) };
        let told = bucket.clock().tell(now);
        bucket.check().map_err(|not_until| Some(now + not_until.wait_time_from(told)))
    }
}

/// A clock that says what it was told.
#[derive(Debug)]
struct ToldClock(Cell<Duration>);

impl ToldClock {
    const fn at(time: Timestamp) -> Self {
        Self(Cell::new(Duration::from_nanos(time.as_nanos())))
    }

    fn tell(&self, now: Timestamp) -> Duration {
        let now = Duration::from_nanos(now.as_nanos());
        self.0.set(now);
        now
    }
}

impl Clock for ToldClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(rate: u32, burst: u32, share: Share) -> RateTerms {
        RateTerms {
            rate_per_second: NonZeroU32::new(rate).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
            share,
            halved: false,
        }
    }

    /// How many tokens a greedy taker gets in a time.
    fn taken(limit: &RateLimit, from: Timestamp, time: Duration) -> u32 {
        let end = from + time;
        let (mut now, mut count) = (from, 0);
        while now <= end {
            match limit.take(now) {
                Ok(()) => count += 1,
                Err(Some(next)) => {
                    assert!(next > now);
                    now = next;
                }
                Err(None) => return count,
            }
        }
        count
    }

    #[test]
    fn a_bucket_starts_empty_and_fills_to_its_burst() {
        let start = Timestamp::from_secs(1_000);
        let limit = RateLimit::new(terms(10, 5, Share::whole(start)), start);
        assert_eq!(limit.take(start), Err(Some(start + Duration::from_millis(100))));
        let later = start + Duration::from_secs(60);
        assert_eq!(taken(&limit, later, Duration::ZERO), 5);
    }

    #[test]
    fn an_empty_share_gives_nothing() {
        let start = Timestamp::from_secs(1_000);
        let limit = RateLimit::new(terms(10, 5, Share::none(start)), start);
        assert_eq!(limit.take(start + Duration::from_secs(3600)), Err(None));
    }

    #[test]
    fn a_slowed_bucket_gives_half() {
        let start = Timestamp::from_secs(1_000);
        let halved = RateTerms { halved: true, ..terms(10, 50, Share::whole(start)) };
        let limit = RateLimit::new(halved, start);
        assert_eq!(taken(&limit, start, Duration::from_secs(10)), 50);
    }

    proptest! {
        #[test]
        fn the_sum_over_instances_never_exceeds_the_limit(
            rate in 1_u32..2_000,
            burst in 1_u32..2_000,
            parts in prop::collection::vec(0_u32..9, 1..6),
            idle_secs in 0_u64..100,
        ) {
            let total: u32 = parts.iter().sum();
            prop_assume!(total > 0);
            let start = Timestamp::from_secs(1_000);
            let from = start + Duration::from_secs(idle_secs);
            let sum: u32 = parts.iter().map(|&owned| {
                let share = Share { owned, total, since: start };
                taken(&RateLimit::new(terms(rate, burst, share), start), from, Duration::from_secs(5))
            }).sum();
            // Each instance may have one token more than its part of a burst that does not divide.
            let spare = u32::try_from(parts.len()).unwrap();
            prop_assert!(sum <= rate * 5 + burst + spare, "{sum} of {rate}/s, burst {burst}");
        }
    }
}
