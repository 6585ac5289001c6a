//! The process's clock: where [`Timestamp`]s come from.
//!
//! One reading of the wall clock at the start, and the monotonic clock's progress since. So no timer, no due time and
//! no horizon moves when somebody sets the system's clock. Handed to every thread; nothing in the engine sees it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::time::Timestamp;

/// A clock that never steps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_at: Timestamp,
}

impl Clock {
    /// Starts from the wall clock.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now(), started_at: wall_clock() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }

    /// The monotonic instant of a time, for the runtime's timers.
    #[must_use]
    pub fn instant(&self, time: Timestamp) -> Instant {
        self.started + time.since(self.started_at)
    }

    /// How long until a time; zero if it is past.
    #[must_use]
    pub fn until(&self, time: Timestamp) -> Duration {
        time.since(self.now())
    }
}

/// What the system's clock says right now, for what a receiver reads.
#[must_use]
pub fn wall_clock() -> Timestamp {
    Timestamp::EPOCH + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
