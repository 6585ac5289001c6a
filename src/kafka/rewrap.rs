//! Seals the secrets of the connections topic with the primary key, while the service runs and others write.
//!
//! Reads the topic to its end, writes the records whose secret another key has sealed, and reads it again until
//! nothing is left to write: what users wrote last is then the last record of its key. It changes no revision, so the
//! service takes a copy for what it has already. The command line calls it.

mod history;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use self::history::{History, Stored};
use super::client::KafkaConfig;
use super::compacted::CompactedTopic;
use super::record::connection::reseal::{Keeping, Resealer, Secrecy, revision};
use super::record::connection_key;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{
    BorrowedMessage, DeliveryResult, Header, Headers as _, Message as _, OwnedHeaders,
};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};

/// Names the offset of the record that a record was copied from.
const COPY_OF: &str = "barnabas-copy-of";
/// A broker that is there sends something, or says that there is nothing, within this time.
const SILENCE: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(100);
/// Longer than the producer tries by itself (`message.timeout.ms`, one minute), so that its own reason is told.
const FLUSH: Duration = Duration::from_secs(90);
/// Each round mends what others wrote during the one before it, a fraction of a second or, in a large topic, some:
/// whoever writes the same connection through all of them does not mean to stop.
const MAX_ROUNDS: usize = 100;

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is only looked what there is.
    DryRun,
    /// Records are written.
    Write,
}

/// Why the secrets were not all sealed anew. What was written is good; it may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// Librdkafka refused a client.
    #[error("the Kafka client cannot start: {0}")]
    Client(#[from] KafkaError),
    /// No broker answers, or none knows the topic.
    #[error(
        "no broker of {servers} answers for the topic {topic}: is it there, and the topic made?"
    )]
    Silent {
        /// Who was asked.
        servers: String,
        /// The topic.
        topic: String,
    },
    /// The broker did not take a record.
    #[error("writing to {topic} failed: {source}")]
    Write {
        /// The topic.
        topic: String,
        /// The broker's or the client's reason.
        source: KafkaError,
    },
    /// Others wrote the same connections again and again.
    #[error(
        "others keep writing to {topic}: after {MAX_ROUNDS} rounds there is still something to write"
    )]
    Contended {
        /// The topic.
        topic: String,
    },
}

/// What was found, and what was done.
#[derive(Debug, Default)]
pub struct Report {
    /// How the secrets were kept at the start: the number of connections each.
    pub before: BTreeMap<Keeping, u64>,
    /// How they are kept now.
    pub after: BTreeMap<Keeping, u64>,
    /// Records written, or to be written where it was only looked.
    pub written: u64,
    /// Connections whose secret cannot be opened or sealed.
    pub faults: Vec<Fault>,
}

/// A connection whose secret stays as it is.
#[derive(Debug)]
pub struct Fault {
    /// The connection's key.
    pub connection: String,
    /// Why; never a secret.
    pub fault: String,
}

/// Seals what another key than the primary has sealed.
///
/// # Errors
/// [`RewrapError`].
pub fn rewrap(
    kafka: &KafkaConfig,
    resealer: &Resealer<'_>,
    mode: Mode,
) -> Result<Report, RewrapError> {
    let mut report = Report::default();
    for round in 0..MAX_ROUNDS {
        let found = survey(&read(kafka, resealer.topic)?, resealer);
        if round == 0 {
            report.before.clone_from(&found.keepings);
        }
        report.after = found.keepings;
        report.faults = found.faults;
        if found.orders.is_empty() {
            return Ok(report);
        }
        if mode == Mode::DryRun {
            report.written = found.orders.len() as u64;
            return Ok(report);
        }
        report.written += write(&kafka.producer(), resealer.topic, &found.orders)?;
    }
    Err(RewrapError::Contended { topic: resealer.topic.to_owned() })
}

type Histories = BTreeMap<Vec<u8>, History>;

/// Everything that the topic holds, read to its end.
fn read(kafka: &KafkaConfig, name: &str) -> Result<Histories, RewrapError> {
    let silent =
        || RewrapError::Silent { servers: kafka.bootstrap_servers.clone(), topic: name.to_owned() };
    let mut topic = CompactedTopic::new(&kafka.table_reader(), name)?;
    let started = Instant::now();
    while !topic.assign()? {
        if started.elapsed() >= SILENCE {
            return Err(silent());
        }
        thread::sleep(POLL);
    }
    let mut histories = Histories::new();
    let mut heard = Instant::now();
    while !topic.is_read() {
        let Some(record) = topic.poll(POLL) else {
            if heard.elapsed() >= SILENCE {
                return Err(silent());
            }
            continue;
        };
        heard = Instant::now();
        let stored = stored(&record);
        match histories.get_mut(record.key().unwrap_or_default()) {
            Some(history) => history.take(stored),
            None => {
                let key = record.key().unwrap_or_default().to_vec();
                histories.insert(key, History::new(stored));
            }
        }
    }
    Ok(histories)
}

fn stored(record: &BorrowedMessage<'_>) -> Stored {
    let mut headers = OwnedHeaders::new();
    let mut copy_of = None;
    for header in record.headers().into_iter().flat_map(|headers| headers.iter()) {
        if header.key == COPY_OF {
            let text = header.value.and_then(|value| std::str::from_utf8(value).ok());
            copy_of = text.and_then(|text| text.parse().ok());
        } else {
            headers = headers.insert(header);
        }
    }
    let value = record.payload();
    Stored {
        partition: record.partition(),
        offset: record.offset(),
        value: value.map(<[u8]>::to_vec),
        headers,
        revision: value.and_then(revision),
        copy_of,
    }
}

/// What has to be written, and how the secrets are kept.
#[derive(Default)]
struct Survey {
    orders: Vec<Order>,
    keepings: BTreeMap<Keeping, u64>,
    faults: Vec<Fault>,
}

/// A record to be written.
struct Order {
    key: Vec<u8>,
    partition: i32,
    value: Option<Vec<u8>>,
    headers: OwnedHeaders,
}

fn survey(histories: &Histories, resealer: &Resealer<'_>) -> Survey {
    let mut survey = Survey::default();
    for (key, history) in histories {
        let truth = history.truth();
        let secrecy = match (connection_key(key), &truth.value) {
            (Some(connection), Some(value)) => Some(resealer.look(&connection, value)),
            // A deletion, or a record that no connection has: there is no secret of ours in it.
            (None, _) | (_, None) => None,
        };
        let resealed = secrecy.and_then(|secrecy| survey.note(key, secrecy));
        if resealed.is_some() || !history.ends_with_truth() {
            let copy_of = truth.root().to_string();
            let header = Header { key: COPY_OF, value: Some(&copy_of) };
            survey.orders.push(Order {
                key: key.clone(),
                partition: truth.partition,
                value: resealed.or_else(|| truth.value.clone()),
                headers: truth.headers.clone().insert(header),
            });
        }
    }
    survey
}

impl Survey {
    /// Counts a connection; its new record, where it needs one.
    fn note(&mut self, key: &[u8], secrecy: Secrecy) -> Option<Vec<u8>> {
        *self.keepings.entry(secrecy.keeping).or_default() += 1;
        if let Some(fault) = secrecy.fault {
            let connection = String::from_utf8_lossy(key).escape_debug().to_string();
            self.faults.push(Fault { connection, fault });
        }
        secrecy.resealed
    }
}

/// Writes the records to the partitions where their keys lie, whoever chose those; their number.
fn write(config: &ClientConfig, topic: &str, orders: &[Order]) -> Result<u64, RewrapError> {
    let failed = |source| RewrapError::Write { topic: topic.to_owned(), source };
    let refusal = Arc::default();
    let producer: BaseProducer<Acknowledge> =
        config.create_with_context(Acknowledge(Arc::clone(&refusal)))?;
    for order in orders {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic)
            .key(&order.key[..])
            .partition(order.partition)
            .headers(order.headers.clone());
        record.payload = order.value.as_deref();
        while let Err((error, unsent)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(failed(error));
            }
            producer.poll(POLL);
            record = unsent;
        }
    }
    producer.flush(FLUSH).map_err(failed)?;
    match refusal.get() {
        Some(error) => Err(failed(error.clone())),
        None => Ok(orders.len() as u64),
    }
}

/// Keeps the first reason for which the broker did not take a record: those that follow would tell the same.
struct Acknowledge(Arc<OnceLock<KafkaError>>);

impl ClientContext for Acknowledge {}

impl ProducerContext for Acknowledge {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let _ = self.0.set(error.clone());
        }
    }
}
