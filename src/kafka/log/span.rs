//! Reads parts of a topic on demand: one record, a run of them, or the last ones.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;

use super::{LogConsumer, LogError, LogRecord, bounds, connect, list_of, partition_count};

/// A look at the time, with nothing to read.
const POLL: Duration = Duration::from_millis(50);

/// A run of records of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The partition's number.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// Behind the last offset.
    pub to: i64,
}

/// A partition's first offset that is there, and the one that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The partition's number.
    pub partition: i32,
    /// The first offset.
    pub low: i64,
    /// The offset that the next record gets.
    pub high: i64,
}

/// A reader of one topic. All calls block, each with an end; never call them on a runtime's worker.
pub struct Reader {
    consumer: LogConsumer,
    topic: String,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Reader {
    /// Connects in the background.
    ///
    /// # Errors
    /// If librdkafka refuses the settings.
    pub fn open(config: &ClientConfig, topic: &str) -> Result<Self, LogError> {
        Ok(Self { consumer: connect(config, topic)?, topic: topic.to_owned() })
    }

    /// What there is of each partition.
    ///
    /// # Errors
    /// If the broker does not say.
    pub fn ends(&self) -> Result<Vec<Ends>, LogError> {
        (0..partition_count(&self.consumer, &self.topic)?)
            .map(|partition| {
                let (low, high) = bounds(&self.consumer, &self.topic, partition)?;
                Ok(Ends { partition, low, high })
            })
            .collect()
    }

    /// Reads these spans, one of a partition, together and hands each record to `each`, until it breaks.
    ///
    /// # Errors
    /// If librdkafka refuses the assignment, or nothing came for as long as `patience`.
    pub fn read(
        &self,
        spans: &[Span],
        patience: Duration,
        mut each: impl FnMut(LogRecord) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let mut open: Vec<Span> = spans.iter().copied().filter(|s| s.from < s.to).collect();
        let starts: Vec<_> = open.iter().map(|span| (span.partition, span.from)).collect();
        let client = |source| LogError::Client { topic: self.topic.clone(), source };
        self.consumer.assign(&list_of(&self.topic, &starts)?).map_err(client)?;
        let mut heard_at = Instant::now();
        while !open.is_empty() {
            if heard_at.elapsed() >= patience {
                return Err(LogError::Silent { topic: self.topic.clone() });
            }
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(place) = open.iter().position(|span| span.partition == partition)
                    else {
                        continue;
                    };
                    let span = open[place];
                    if offset + 1 >= span.to {
                        open.swap_remove(place);
                    }
                    if (span.from..span.to).contains(&offset)
                        && each(LogRecord::of(&message)).is_break()
                    {
                        return Ok(());
                    }
                    heard_at = Instant::now();
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.retain(|span| span.partition != partition);
                }
                Some(Err(error)) => tracing::debug!(%error, topic = self.topic, "it is read again"),
                None => {}
            }
        }
        Ok(())
    }

    /// The record at one place; `None` if it is not there, or no longer.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn record(
        &self,
        partition: i32,
        offset: i64,
        patience: Duration,
    ) -> Result<Option<LogRecord>, LogError> {
        let mut found = None;
        let span = Span { partition, from: offset, to: offset + 1 };
        self.read(&[span], patience, |record| {
            found = Some(record);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}
