//! How many attempts a backlogged lane really ends in a second, whatever the reason: an endpoint slower than its
//! window suggests, a busy machine. An estimate of when a delivery's turn comes must not be better than that.

use std::time::Duration;

use crate::engine::time::Timestamp;

/// It is measured over at least this.
const SPAN: Duration = Duration::from_secs(1);

/// The measured throughput of a lane; unknown while it keeps up.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    /// Since when the lane has been backlogged and is measured.
    since: Option<Timestamp>,
    ended: u32,
    per_second: Option<f64>,
}

impl Throughput {
    /// An attempt has ended, and others wait or do not.
    pub(super) fn observe(&mut self, is_backlogged: bool, now: Timestamp) {
        if !is_backlogged {
            *self = Self::default();
            return;
        }
        let since = *self.since.get_or_insert(now);
        self.ended += 1;
        let span = now.since(since);
        if span >= SPAN {
            self.per_second = Some(f64::from(self.ended) / span.as_secs_f64());
            self.since = Some(now);
            self.ended = 0;
        }
    }

    /// Attempts a second, if that was measured.
    pub(super) const fn per_second(&self) -> Option<f64> {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlogged_lane_is_measured_and_one_that_keeps_up_is_not() {
        let mut throughput = Throughput::default();
        let start = Timestamp::from_secs(1_000);
        for number in 0..=500 {
            throughput.observe(true, start + Duration::from_millis(10) * number);
        }
        let measured = throughput.per_second().unwrap();
        assert!((95.0..105.0).contains(&measured), "{measured}");
        throughput.observe(false, start + Duration::from_secs(6));
        assert_eq!(throughput.per_second(), None);
    }
}
