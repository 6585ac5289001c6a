//! Reads topics as logs: follows them for as long as we run, or reads a part of one on demand.
//!
//! It belongs to no group and commits nothing: every instance reads everything. [`follow`] starts a given time back,
//! at most a given number of records, and goes on with what comes; a [`Reader`] reads a part of one.
//! What a record means is its caller's business. The read models of the console use it.

mod follower;
mod span;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message};
use rdkafka::{ClientContext, TopicPartitionList};
use tracing::{debug, warn};

use super::record::RecordView;
use super::trouble::{Trouble, mend};
use crate::engine::time::Timestamp;

pub use self::follower::{Followed, Follower, follow};
pub use self::span::{Ends, Reader, Span};

/// How long one question to the broker may take.
const QUESTION: Duration = Duration::from_secs(5);

/// A record of a log, copied out.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// The partition's number.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When it was written, by its producer's or the broker's clock.
    pub timestamp: Timestamp,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a null.
    pub value: Option<Vec<u8>>,
    /// The headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl LogRecord {
    fn of(message: &impl Message) -> Self {
        let millis = message.timestamp().to_millis().and_then(|millis| u64::try_from(millis).ok());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: Timestamp::from_millis(millis.unwrap_or(0)),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers(message),
        }
    }

    /// The value of a header as text; the last one of its name, as ours stand behind the original ones.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(other, _)| other == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }
}

impl LogRecord {
    /// It as the decoders take it.
    #[must_use]
    pub fn view<'a>(&'a self, topic: &'a Arc<str>) -> RecordView<'a> {
        let headers = self.headers.iter();
        RecordView {
            topic,
            partition: self.partition,
            offset: self.offset,
            timestamp: self.timestamp,
            value: self.value.as_deref(),
            headers: headers.map(|(name, value)| (name.as_str(), value.as_deref())).collect(),
        }
    }
}

/// All headers. Rdkafka can only say by a panic that a header's name is not UTF-8; such a record is shown without any.
fn headers(message: &impl Message) -> Vec<(String, Option<Vec<u8>>)> {
    let Some(headers) = message.headers() else { return Vec::new() };
    let own = |header: rdkafka::message::Header<'_, &[u8]>| {
        (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
    };
    let read = || headers.iter().map(own).collect();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_default()
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Librdkafka refused the settings or the assignment.
    #[error("the topic {topic} cannot be read: {source}")]
    Client {
        /// Which.
        topic: String,
        /// What it says.
        source: KafkaError,
    },
    /// The broker did not say what there is.
    #[error("the topic {topic} cannot be looked at: {source}")]
    Unreachable {
        /// Which.
        topic: String,
        /// What it says.
        source: KafkaError,
    },
    /// The broker sent nothing for too long.
    #[error("the topic {topic} cannot be read: the broker does not answer")]
    Silent {
        /// Which.
        topic: String,
    },
    /// There is no such topic.
    #[error("the topic {topic} does not exist; run `barnabas topics create`")]
    Missing {
        /// Which.
        topic: String,
    },
}

type LogConsumer = BaseConsumer<LogContext>;

/// The end of a partition is news for the reader and not for the log. Trouble that passes is not worth a line; a right
/// that is missing is.
struct LogContext {
    topic: String,
    refused: Trouble,
}

impl ClientContext for LogContext {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                if let Some(unsaid) = self.refused.occurs(Instant::now()) {
                    let topic = &self.topic;
                    warn!(
                        topic,
                        unsaid,
                        mend = mend(&error),
                        "a log cannot be read: people see none of it"
                    );
                }
            }
            Some(_) | None => {
                debug!(%error, reason, "reading a log has trouble; it is tried again");
            }
        }
    }
}

impl ConsumerContext for LogContext {}

fn connect(config: &ClientConfig, topic: &str) -> Result<LogConsumer, LogError> {
    let mut config = config.clone();
    // The end of a partition is an event of its own: positions jump over transaction markers and compacted records.
    config.set("enable.partition.eof", "true");
    config
        .create_with_context(LogContext { topic: topic.to_owned(), refused: Trouble::default() })
        .map_err(|source| LogError::Client { topic: topic.to_owned(), source })
}

/// How many partitions a topic has.
fn partition_count(consumer: &LogConsumer, topic: &str) -> Result<i32, LogError> {
    let metadata = consumer
        .fetch_metadata(Some(topic), QUESTION)
        .map_err(|source| LogError::Unreachable { topic: topic.to_owned(), source })?;
    let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    match i32::try_from(found) {
        Ok(count) if count > 0 => Ok(count),
        Ok(_) | Err(_) => Err(LogError::Missing { topic: topic.to_owned() }),
    }
}

/// The first offset that is there and the one that comes next.
fn bounds(consumer: &LogConsumer, topic: &str, partition: i32) -> Result<(i64, i64), LogError> {
    consumer
        .fetch_watermarks(topic, partition, QUESTION)
        .map_err(|source| LogError::Unreachable { topic: topic.to_owned(), source })
}

fn list_of(topic: &str, offsets: &[(i32, i64)]) -> Result<TopicPartitionList, LogError> {
    let mut list = TopicPartitionList::new();
    for &(partition, offset) in offsets {
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset))
            .map_err(|source| LogError::Client { topic: topic.to_owned(), source })?;
    }
    Ok(list)
}
