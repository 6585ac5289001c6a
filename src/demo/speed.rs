//! How fast counters rise: the mean over the last few looks.
//!
//! Never looks at a clock. The demo shows it as events and deliveries a second.

use std::collections::VecDeque;
use std::time::Duration;

/// The mean is taken over this: steady enough to be read, fresh enough to show a wave.
const SPAN: Duration = Duration::from_secs(2);

/// The last looks at some counters.
#[derive(Debug, Default)]
pub(super) struct Speed {
    looks: VecDeque<(Duration, Vec<u64>)>,
}

impl Speed {
    /// Notes the counters at a time, and gives how much each has risen a second.
    pub(super) fn look(&mut self, now: Duration, counters: Vec<u64>) -> Vec<u64> {
        while self.looks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= SPAN) {
            self.looks.pop_front();
        }
        let none = vec![0; counters.len()];
        let (since, before) = self.looks.front().unwrap_or(&(now, none)).clone();
        let millis = u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX);
        let per_second = |(new, old): (&u64, &u64)| {
            (new.saturating_sub(*old) * 1000 + millis / 2).checked_div(millis).unwrap_or(0)
        };
        let speeds = counters.iter().zip(&before).map(per_second).collect();
        self.looks.push_back((now, counters));
        speeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mean_of_the_last_two_seconds() {
        let mut speed = Speed::default();
        let mut look = |millis, count| speed.look(Duration::from_millis(millis), vec![count, 7]);
        assert_eq!(look(0, 0), [0, 0]);
        assert_eq!(look(500, 50), [100, 0]);
        assert_eq!(look(1_000, 100), [100, 0]);
        assert_eq!(look(2_000, 100), [50, 0]);
        assert_eq!(look(4_000, 100), [0, 0]);
    }
}
