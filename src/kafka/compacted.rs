//! A compacted topic, read from its beginning by a consumer without a group.
//!
//! Says when every partition was read to its end; what the records mean is its readers' business: the connections'
//! table and the rewrap.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tracing::warn;

use super::trouble::{Trouble, mend};

/// How long one question to the broker may take.
const QUESTION: Duration = Duration::from_secs(5);

/// The topic and how far it was read.
pub(super) struct CompactedTopic {
    consumer: BaseConsumer<TopicContext>,
    name: String,
    /// Partitions whose end was not reached yet; `None` before they are known.
    unread: Option<BTreeSet<i32>>,
}

/// The end of a partition is news for the reader and not for the log.
#[derive(Default)]
struct TopicContext(Trouble);

impl ClientContext for TopicContext {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            self.warn(&error, reason);
        }
    }
}

impl ConsumerContext for TopicContext {}

impl TopicContext {
    /// Says what went wrong, unless that was said just now.
    fn warn(&self, error: &KafkaError, reason: &str) {
        if let Some(unsaid) = self.0.occurs(Instant::now()) {
            let mend = mend(error);
            warn!(%error, reason, mend, unsaid, "reading the connections has trouble; it is tried again");
        }
    }
}

impl CompactedTopic {
    /// Connects in the background.
    pub(super) fn new(config: &ClientConfig, name: &str) -> Result<Self, KafkaError> {
        let mut config = config.clone();
        // The end of a partition is an event of its own: positions jump over transaction markers and compacted records.
        config.set("enable.partition.eof", "true");
        let consumer = config.create_with_context(TopicContext::default())?;
        Ok(Self { consumer, name: name.to_owned(), unread: None })
    }

    /// Asks the broker for the partitions and starts at the beginning of each. Answers whether there are any.
    pub(super) fn assign(&mut self) -> Result<bool, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.name), QUESTION).ok();
        let count = metadata
            .and_then(|metadata| Some(metadata.topics().first()?.partitions().len()))
            .and_then(|count| i32::try_from(count).ok())
            .filter(|&count| count > 0);
        let Some(count) = count else { return Ok(false) };
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.name, 0, count - 1);
        list.set_all_offsets(Offset::Beginning)?;
        self.consumer.assign(&list)?;
        self.unread = Some((0..count).collect());
        Ok(true)
    }

    /// Whether every partition's end was reached.
    pub(super) fn is_read(&self) -> bool {
        self.unread.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// The next record, if one comes in time.
    pub(super) fn poll(&mut self, timeout: Duration) -> Option<BorrowedMessage<'_>> {
        match self.consumer.poll(timeout)? {
            Ok(record) => Some(record),
            Err(KafkaError::PartitionEOF(partition)) => {
                if let Some(unread) = &mut self.unread {
                    unread.remove(&partition);
                }
                None
            }
            Err(error) => {
                self.consumer.context().warn(&error, "reading");
                None
            }
        }
    }
}
