//! Follows several topics on one thread, from some time back and for as long as we run.
//!
//! A topic that is not there yet, or whose broker does not answer, is asked for again; the others go on meanwhile.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info};

use super::{
    LogConsumer, LogError, LogRecord, QUESTION, bounds, connect, list_of, partition_count,
};
use crate::clock::wall_clock;
use crate::shutdown::Shutdown;

/// A look at the wish to stop, with nothing to read.
const POLL: Duration = Duration::from_millis(50);
/// Before a topic that could not be taken up is asked for again.
const PAUSE: Duration = Duration::from_secs(2);
/// How often a topic is asked whether it has got more partitions.
const LOOK: Duration = Duration::from_secs(60);

/// One topic to be followed, and what is done with its records.
pub struct Followed {
    /// Its name.
    pub topic: String,
    /// It is read from so long ago.
    pub back: Duration,
    /// But at most about so many records of before the start.
    pub at_most: u64,
    /// Takes each record, on the reading thread.
    pub take: Box<dyn FnMut(LogRecord) + Send>,
    /// Set when all was read that there was at the start.
    pub caught_up: Arc<AtomicBool>,
}

impl fmt::Debug for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followed").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Everything that one thread follows.
#[derive(Debug)]
pub struct Follower {
    /// The reader's settings, without a group.
    pub config: ClientConfig,
    /// The topics.
    pub topics: Vec<Followed>,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Follows the topics on the calling thread until it is to stop.
///
/// # Errors
/// If librdkafka refuses the settings; what goes wrong later is tried again.
pub fn follow(follower: Follower) -> Result<(), LogError> {
    let Follower { config, topics, shutdown } = follower;
    let mut logs = Vec::new();
    for followed in topics {
        let consumer = connect(&config, &followed.topic)?;
        logs.push(Log {
            consumer,
            followed,
            partitions: 0,
            unread: BTreeSet::new(),
            next_look: Instant::now(),
        });
    }
    while !shutdown.is_asked() {
        let mut any = false;
        for log in &mut logs {
            log.look();
            any |= log.drain();
        }
        if !any {
            // Waiting on one of them is enough: the others have a turn soon.
            if let Some(log) = logs.first_mut() {
                log.read(POLL);
            }
        }
    }
    Ok(())
}

/// One topic under way.
struct Log {
    consumer: LogConsumer,
    followed: Followed,
    /// How many of its partitions are followed.
    partitions: i32,
    /// Those whose end was not reached yet.
    unread: BTreeSet<i32>,
    next_look: Instant,
}

/// Records of one topic in a row, before it is the next one's turn.
const TURN: usize = 1000;

impl Log {
    /// Takes up partitions that are not followed yet, if it is time to look.
    fn look(&mut self) {
        if Instant::now() < self.next_look {
            return;
        }
        let result = self.take_up();
        let pause = match result {
            Ok(()) => LOOK,
            Err(error) => {
                debug!(%error, "it is tried again");
                PAUSE
            }
        };
        self.next_look = Instant::now() + pause;
    }

    fn take_up(&mut self) -> Result<(), LogError> {
        let topic = &self.followed.topic;
        let count = partition_count(&self.consumer, topic)?;
        if count <= self.partitions {
            return Ok(());
        }
        let starts = self.starts(self.partitions..count)?;
        let list = list_of(topic, &starts)?;
        self.consumer
            .incremental_assign(&list)
            .map_err(|source| LogError::Client { topic: topic.clone(), source })?;
        info!(topic, partitions = count, "a log is followed");
        self.unread.extend(self.partitions..count);
        self.partitions = count;
        Ok(())
    }

    /// Where each partition is read from: the first record that is young enough, and not too many.
    fn starts(&self, partitions: std::ops::Range<i32>) -> Result<Vec<(i32, i64)>, LogError> {
        let topic = &self.followed.topic;
        let client = |source| LogError::Client { topic: topic.clone(), source };
        // Asked before the times: what is written meanwhile is then behind the end, and is read.
        let ends: Result<Vec<_>, _> =
            partitions.clone().map(|partition| bounds(&self.consumer, topic, partition)).collect();
        let ends = ends?;
        let since = wall_clock() - self.followed.back;
        let since_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let mut times = TopicPartitionList::new();
        for partition in partitions.clone() {
            let time = Offset::Offset(since_ms);
            times.add_partition_offset(topic, partition, time).map_err(client)?;
        }
        let young = self
            .consumer
            .offsets_for_times(times, QUESTION)
            .map_err(|source| LogError::Unreachable { topic: topic.clone(), source })?;
        let share = self.followed.at_most / u64::try_from(partitions.len()).unwrap_or(1).max(1);
        let share = i64::try_from(share).unwrap_or(i64::MAX);
        let mut starts = Vec::new();
        for (partition, (low, high)) in partitions.zip(ends) {
            let first = match young.find_partition(topic, partition).map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => offset,
                // Every record is older.
                Some(_) | None => high,
            };
            starts.push((partition, first.max(high.saturating_sub(share)).max(low)));
        }
        Ok(starts)
    }

    fn drain(&mut self) -> bool {
        let mut any = false;
        for _ in 0..TURN {
            if !self.read(Duration::ZERO) {
                break;
            }
            any = true;
        }
        any
    }

    /// Reads one record; answers whether there was one.
    fn read(&mut self, wait: Duration) -> bool {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                (self.followed.take)(LogRecord::of(&message));
                return true;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                self.unread.remove(&partition);
                if self.unread.is_empty() {
                    self.followed.caught_up.store(true, Ordering::Release);
                }
                return true;
            }
            Some(Err(error)) => debug!(%error, topic = self.followed.topic, "it is read again"),
            None => {}
        }
        false
    }
}
