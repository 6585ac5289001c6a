//! How fast the campaign goes: in waves, as campaigns do, with a given mean.
//!
//! Says how many events are due by a time; never looks at a clock. The demo asks it at every tick.

use std::time::Duration;

/// Long enough to be seen in the table, short enough to be seen twice in a short run.
const PERIOD: Duration = Duration::from_secs(8);
const HALF: Duration = Duration::from_secs(4);

/// In fifths of the mean: the first half of a period is fast and the second slow, so that a connection with a limit
/// just above its mean falls behind and catches up.
const FAST: u32 = 8;
const SLOW: u32 = 2;
const FIFTHS: u32 = 5;

/// A stream's pace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waves {
    /// The mean.
    pub(super) per_second: u32,
}

impl Waves {
    /// How many events are due so long after the start.
    pub(super) fn due(self, elapsed: Duration) -> u64 {
        let nanos = steady_time(elapsed).as_nanos() * u128::from(self.per_second);
        u64::try_from(nanos / Duration::from_secs(1).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The time in which a steady stream would have come as far.
fn steady_time(elapsed: Duration) -> Duration {
    let periods = u32::try_from(elapsed.as_secs() / PERIOD.as_secs()).unwrap_or(u32::MAX);
    let before = PERIOD * periods;
    let within = elapsed.saturating_sub(before);
    if within < HALF {
        return before + within * FAST / FIFTHS;
    }
    before + HALF * FAST / FIFTHS + (within - HALF) * SLOW / FIFTHS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_after(millis: u64) -> u64 {
        Waves { per_second: 100 }.due(Duration::from_millis(millis))
    }

    #[test]
    fn a_wave_is_fast_and_then_slow() {
        assert_eq!(due_after(0), 0);
        assert_eq!(due_after(1_000), 160);
        assert_eq!(due_after(4_000), 640);
        assert_eq!(due_after(5_000), 680);
    }

    #[test]
    fn the_mean_is_kept_over_whole_periods() {
        assert_eq!(due_after(8_000), 800);
        assert_eq!(due_after(80_000), 8_000);
        assert_eq!(due_after(81_000), 8_160);
    }
}
