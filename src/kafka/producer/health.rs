//! Whether the topics that the service writes to take its records, and whether a broker is connected at all: with
//! nothing to write, an outage would not show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// A refusal is forgotten when it did not come again for so long: what was refused may have gone to another instance
/// with its partition. Longer than librdkafka tries a record.
const FORGOTTEN: Duration = Duration::from_mins(3);

/// Librdkafka tells its connections so often.
pub(super) const LOOK_INTERVAL_MS: &str = "2000";
/// So many looks in a row without a connected broker are an outage; one is a link that was idle and is made anew.
const LOOKS_OF_AN_OUTAGE: u8 = 2;
/// What librdkafka calls a broker that serves requests.
const CONNECTED: [&str; 2] = ["UP", "UPDATE"];

/// Which topics refuse records. Each by itself: that dead letters are taken says nothing of a tier that is full.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Refusals>);

#[derive(Debug, Default)]
struct Refusals {
    /// Whether there is any; nothing else is asked for a record that was taken while all is well.
    any: AtomicBool,
    /// When a topic refused a record last.
    topics: Mutex<BTreeMap<String, Instant>>,
    looks_without_broker: AtomicU8,
}

/// The part of librdkafka's statistics that matters here.
#[derive(Deserialize)]
struct Statistics {
    brokers: BTreeMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    state: String,
}

impl Health {
    /// Whether records can be written, as far as is known.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.0.looks_without_broker.load(Ordering::Relaxed) < LOOKS_OF_AN_OUTAGE
            && self.is_good_at(Instant::now())
    }

    fn is_good_at(&self, now: Instant) -> bool {
        let topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.values().all(|last| now.saturating_duration_since(*last) >= FORGOTTEN)
    }

    /// What librdkafka tells of its brokers, as JSON.
    pub(super) fn note_statistics(&self, json: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(json) else { return };
        let is_connected = |broker: &Broker| CONNECTED.contains(&broker.state.as_str());
        let looks = &self.0.looks_without_broker;
        if statistics.brokers.values().any(is_connected) {
            looks.store(0, Ordering::Relaxed);
        } else {
            // The producer's own thread is the only writer.
            looks.store(looks.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        }
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

    fn looked(states: &[&[&str]]) -> bool {
        let health = Health::default();
        for brokers in states {
            let named = brokers.iter().enumerate();
            let brokers: BTreeMap<_, _> = named
                .map(|(number, state)| (number.to_string(), serde_json::json!({"state": state})))
                .collect();
            let json = serde_json::json!({"name": "p", "brokers": brokers, "topics": {}});
            health.note_statistics(json.to_string().as_bytes());
        }
        health.is_good()
    }

    #[test]
    fn an_outage_is_seen_at_the_second_look_and_ends_with_the_first_connection() {
        assert!(looked(&[]));
        assert!(looked(&[&["DOWN", "INIT"]]));
        assert!(!looked(&[&["DOWN", "INIT"], &["TRY_CONNECT", "DOWN"]]));
        assert!(!looked(&[&[], &[]]));
        assert!(looked(&[&["DOWN"], &["DOWN"], &["DOWN", "UP"]]));
        assert!(looked(&[&["DOWN"], &["UP"], &["DOWN"]]));
    }

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
