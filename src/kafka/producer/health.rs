//! Whether the topics that the service writes to take its records.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A refusal is forgotten when it did not come again for so long: what was refused may have gone to another instance
/// with its partition. Longer than librdkafka tries a record.
const FORGOTTEN: Duration = Duration::from_mins(3);

/// Which topics refuse records. Each by itself: that dead letters are taken says nothing of a tier that is full.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Refusals>);

#[derive(Debug, Default)]
struct Refusals {
    /// Whether there is any; nothing else is asked for a record that was taken while all is well.
    any: AtomicBool,
    /// When a topic refused a record last.
    topics: Mutex<BTreeMap<String, Instant>>,
}

impl Health {
    /// Whether records can be written, as far as is known.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_good_at(Instant::now())
    }

    fn is_good_at(&self, now: Instant) -> bool {
        let topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.values().all(|last| now.saturating_duration_since(*last) >= FORGOTTEN)
    }

    /// A topic has taken a record.
    pub(super) fn taken(&self, topic: &str) {
        if !self.0.any.load(Ordering::Acquire) {
            return;
        }
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.remove(topic);
        self.0.any.store(!topics.is_empty(), Ordering::Release);
    }

    /// A topic has refused a record, or nothing is known of it any more.
    pub(super) fn refused(&self, topic: &str, now: Instant) {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.insert(topic.to_owned(), now);
        self.0.any.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_refuses_is_not_made_good_by_another_that_takes() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(health.is_good_at(now));
        health.refused("retry.5s", now);
        health.taken("dead-letters");
        assert!(!health.is_good_at(now));
        health.taken("retry.5s");
        assert!(health.is_good_at(now));
    }

    #[test]
    fn a_refusal_that_does_not_come_again_is_forgotten() {
        let (health, now) = (Health::default(), Instant::now());
        health.refused("retry.5s", now);
        assert!(!health.is_good_at(now + FORGOTTEN - Duration::from_secs(1)));
        assert!(health.is_good_at(now + FORGOTTEN));
    }
}
