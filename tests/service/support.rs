//! What every test needs: a broker, a stage of its own on it, the service, and the topics to look into.

pub mod api;
pub mod browser;
pub mod chromium;
pub mod console;
pub mod kafka;
pub mod keys;
pub mod log;
pub mod service;
pub mod stage;

use std::time::{Duration, Instant};

/// How long a fact may take on a busy machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a fact by looking at it again and again.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits for a fact for at most that long.
pub fn within<T>(time: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + time;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not within {time:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
