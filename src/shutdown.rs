//! When to stop, and how long that may take.
//!
//! The first SIGTERM or SIGINT asks everything to end in order; a second one ends the process at once. The token is
//! handed to whoever must know; there is no global.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code of a process that was told twice: 128 + SIGTERM.
const EXIT_TOLD_TWICE: i32 = 143;

/// After the grace, how much longer a stop in order may take, in seconds: 30 for what Kafka takes for the tiers' records,
/// the last commits and the leave (the app gives up then), and a margin.
pub const AFTER_THE_GRACE_SECS: u32 = 35;

/// The section `[shutdown]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// Seconds that attempts under way have to end after a SIGTERM; what is queued is parked at once.
    pub grace_seconds: u32,
    /// Seconds after which whatever runs the process kills it; 0 where that is not known.
    pub kill_after_seconds: u32,
}

impl ShutdownConfig {
    /// What is wrong if a stop in order may be cut off, and how to mend it.
    #[must_use]
    pub fn fault(&self) -> Option<(String, String)> {
        let needed = self.grace_seconds.saturating_add(AFTER_THE_GRACE_SECS);
        if self.kill_after_seconds == 0 || self.kill_after_seconds >= needed {
            return None;
        }
        let grace = self.grace_seconds;
        let what =
            format!("a stop in order may take {needed} s with shutdown.grace_seconds = {grace}");
        let mend = match self.kill_after_seconds.checked_sub(AFTER_THE_GRACE_SECS) {
            Some(fitting) => format!(
                "let it be killed after {needed} s and say so here, or write shutdown.grace_seconds = {fitting}"
            ),
            None => format!("let it be killed after {needed} s and say so here"),
        };
        Some((what, mend))
    }
}

impl Default for ShutdownConfig {
    /// Longer than an attempt may take by default, shorter than the 30 s after which Kubernetes kills.
    fn default() -> Self {
        Self { grace_seconds: 25, kill_after_seconds: 0 }
    }
}

/// The wish to stop, for tasks and threads.
#[derive(Clone, Debug)]
pub struct Shutdown {
    token: CancellationToken,
    asked: Arc<AtomicBool>,
    grace: Duration,
}

impl Shutdown {
    /// Nobody wants to stop yet.
    #[must_use]
    pub fn new(config: &ShutdownConfig) -> Self {
        Self {
            token: CancellationToken::new(),
            asked: Arc::default(),
            grace: Duration::from_secs(u64::from(config.grace_seconds)),
        }
    }

    /// Asks everything to end.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Whether everything is to end; for threads, which look at it again and again.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Waits until everything is to end; for tasks.
    pub async fn asked(&self) {
        self.token.cancelled().await;
    }

    /// How long attempts under way have.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        self.grace
    }

    /// Turns signals into the wish to stop, and a second one into the end.
    ///
    /// # Errors
    /// If the signals cannot be listened to.
    pub async fn listen_to_signals(self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut wait = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = wait().await;
        tracing::info!(signal = name, grace_seconds = self.grace.as_secs(), "stopping in order");
        self.ask();
        let name = wait().await;
        tracing::warn!(signal = name, "told twice: stopping at once");
        std::process::exit(EXIT_TOLD_TWICE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_in_order_must_fit_before_the_kill() {
        let fault = |grace_seconds, kill_after_seconds| {
            ShutdownConfig { grace_seconds, kill_after_seconds }.fault()
        };
        assert_eq!(fault(25, 60), None);
        assert_eq!(fault(600, 0), None, "it is not known when it is killed");
        let (what, mend) = fault(25, 59).unwrap();
        assert!(what.contains("60 s"), "{what}");
        assert!(mend.ends_with("shutdown.grace_seconds = 24"), "{mend}");
        let (_, mend) = fault(0, 30).unwrap();
        assert!(mend.starts_with("let it be killed after 35 s"), "{mend}");
        assert!(fault(u32::MAX, 1).is_some());
    }
}
