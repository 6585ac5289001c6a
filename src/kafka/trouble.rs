//! Trouble with Kafka is said at once and then now and then: while a broker is away, librdkafka tells it ten times a
//! second, and a failed record each.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// After it was said, it is not said again for so long.
const PAUSE: Duration = Duration::from_secs(10);

/// One kind of trouble of one client.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// How often it came since then.
    unsaid: u64,
}

impl Trouble {
    /// It has come. If it is to be said now: how often it came since it was said last.
    pub(super) fn occurs(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            said.unsaid += 1;
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.unsaid))
    }
}

/// What to do about an error: most pass by themselves, a right that is missing does not.
pub(super) fn mend(error: &KafkaError) -> &'static str {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            "this user lacks a right on the topic: see Least privilege in deploy/README.md"
        }
        Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
            "this user lacks a right on the group: see Least privilege in deploy/README.md"
        }
        Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => {
            "this user lacks a right on the transactional id: see Least privilege in deploy/README.md"
        }
        Some(RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            "this user lacks a right on the cluster: see Least privilege in deploy/README.md"
        }
        Some(_) | None => "none: it is tried again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_with_the_number_of_times_that_it_was_not() {
        let trouble = Trouble::default();
        let start = Instant::now();
        let said: Vec<_> = (0..25)
            .filter_map(|second| trouble.occurs(start + Duration::from_secs(second)))
            .collect();
        assert_eq!(said, [0, 9, 9]);
    }
}
