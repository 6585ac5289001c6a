//! Writes retries, dead letters and automatic deactivations.
//!
//! Only the broker's acknowledgement counts: it hands the [`Ticket`] back, and what is not acknowledged comes back as
//! unwritten and is written again by the shard that it belongs to. A time-out means unknown, and unknown is not done.

mod health;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext};
use tokio::sync::mpsc;
use tracing::warn;

pub use self::health::Health;

use super::polled::PolledProducer;
use super::record::{Encoded, delivery, state};
use super::topics::TopicNames;
use super::trouble::{Trouble, mend};
use crate::engine::connection::ConnectionKey;
use crate::engine::dispatcher::{Destination, Publication};
use crate::engine::streak::DeactivationReason;
use crate::engine::time::Timestamp;
use crate::failpoint;
use crate::metrics::Metrics;

/// What is to be written, and who waits for it.
#[derive(Debug)]
pub struct Ticket {
    /// What it is.
    pub order: Order,
    /// Where its acknowledgement goes.
    pub reply: mpsc::Sender<Receipt>,
}

/// A record to be written.
#[derive(Debug)]
pub enum Order {
    /// A delivery or a record that is no event, for a tier or the dead letters.
    Publication(Publication),
    /// A note that a revision of a connection gets nothing more.
    Deactivation {
        /// The connection.
        key: ConnectionKey,
        /// Its revision.
        revision: u64,
        /// Why.
        reason: DeactivationReason,
        /// When it was decided.
        at: Timestamp,
    },
}

/// What became of a record.
#[derive(Debug)]
pub enum Receipt {
    /// The broker has it.
    Written(Order),
    /// It may not have it; it is to be written again.
    Unwritten(Order),
}

/// The idempotent producer; cheap to clone.
#[derive(Clone)]
pub struct Producer {
    inner: Arc<PolledProducer<Acknowledge>>,
    topics: Arc<TopicNames>,
    health: Health,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("health", &self.health).finish_non_exhaustive()
    }
}

impl Producer {
    /// Connects in the background.
    ///
    /// # Errors
    /// If librdkafka refuses the configuration.
    pub fn new(
        config: &ClientConfig,
        topics: Arc<TopicNames>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KafkaError> {
        let health = Health::default();
        let mut config = config.clone();
        config.set("statistics.interval.ms", health::LOOK_INTERVAL_MS);
        let context = Acknowledge {
            health: health.clone(),
            metrics,
            connection: Trouble::default(),
            writing: Trouble::default(),
        };
        let inner = Arc::new(PolledProducer::new(&config, context)?);
        Ok(Self { inner, topics, health })
    }

    /// Hands a record to the producer's queue, never waiting. The reply comes with the acknowledgement.
    ///
    /// # Errors
    /// The ticket, if the queue is full or the producer is broken; it is to be handed in again.
    pub fn write(&self, ticket: Ticket) -> Result<(), Box<Ticket>> {
        let addressed = match &ticket.order {
            Order::Publication(publication) => self.address(publication),
            Order::Deactivation { key, revision, reason, at } => Addressed {
                topic: &self.topics.states,
                partition: None,
                record: state::encode(key, *revision, *reason, *at),
            },
        };
        let mut headers = OwnedHeaders::new_with_capacity(addressed.record.headers.len());
        for (key, value) in &addressed.record.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let mut record = BaseRecord::with_opaque_to(addressed.topic, Box::new(ticket))
            .payload(&addressed.record.value[..])
            .headers(headers);
        if let Some(key) = &addressed.record.key {
            record = record.key(key.as_str());
        }
        if let Some(partition) = addressed.partition {
            record = record.partition(partition);
        }
        self.inner.send(record).map_err(|(error, record)| {
            self.health.refused(addressed.topic, Instant::now());
            warn!(topic = addressed.topic, %error, "a record cannot be queued; it is tried again");
            record.delivery_opaque
        })
    }

    /// Whether records can be written.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// What has broken the producer for good: an idempotent one that lost its place. Only a restart helps.
    #[must_use]
    pub fn fatal_error(&self) -> Option<String> {
        let (code, reason) = self.inner.client().fatal_error()?;
        Some(format!("{code}: {reason}"))
    }

    /// Waits until everything queued is written or refused.
    ///
    /// # Errors
    /// If that takes longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.inner.flush(timeout)
    }

    fn address(&self, publication: &Publication) -> Addressed<'_> {
        let (topic, partition) = match publication.destination {
            Destination::Tier(slot, _) => {
                (&self.topics.retry[usize::from(slot.tier.0)], Some(slot.partition))
            }
            Destination::DeadLetters(_) => (&self.topics.dead_letters, None),
        };
        Addressed { topic, partition, record: delivery::encode(publication) }
    }
}

/// A record and where it goes.
struct Addressed<'a> {
    topic: &'a str,
    /// `None` leaves it to the key.
    partition: Option<i32>,
    record: Encoded,
}

/// Passes acknowledgements on, on the producer's own thread.
struct Acknowledge {
    health: Health,
    metrics: Arc<Metrics>,
    connection: Trouble,
    writing: Trouble,
}

impl ClientContext for Acknowledge {
    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(unsaid) = self.connection.occurs(Instant::now()) {
            warn!(%error, reason, unsaid, "the producer has trouble; it is tried again");
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.health.note_statistics(statistics);
    }
}

impl ProducerContext for Acknowledge {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        failpoint::kill("before-acknowledgement");
        let Ticket { order, reply } = *ticket;
        let receipt = match result {
            Ok(record) => {
                self.health.taken(record.topic());
                Receipt::Written(order)
            }
            Err(_) if failpoint::is_planted("swallow-error") => Receipt::Written(order),
            Err((error, record)) => {
                let now = Instant::now();
                self.health.refused(record.topic(), now);
                self.metrics.produce_failures_total.inc();
                if let Some(unsaid) = self.writing.occurs(now) {
                    let (topic, mend) = (record.topic(), mend(error));
                    warn!(topic, %error, mend, unsaid, "a record was not written; it is tried again");
                }
                Receipt::Unwritten(order)
            }
        };
        // A shard that is gone needs no receipt: its deliveries are open and are repeated.
        let _ = reply.blocking_send(receipt);
    }
}
