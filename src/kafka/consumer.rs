//! A group's consumer: one thread that polls, matches, hands on, and commits.
//!
//! It always polls, so that slow endpoints can never cost it its membership; back-pressure stops partitions, each of
//! which has a queue of its own that is simply not read (ADR 1). There are two of them: one for fresh events and one
//! for the retry tiers, with a group each, so that a storm of retries cannot starve fresh events. What may be read
//! and what may be committed is decided by the engine's [`Intake`].

mod committer;
mod context;
mod desk;
mod expiry;
mod feed;
mod lag;
mod membership;
mod outlet;
mod rebalance;
mod settlements;
mod waker;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use tracing::{error, info, warn};

pub use self::feed::{EventFeed, Feed, RetryFeed};
pub use self::outlet::{GroupShare, Outlet};
pub use self::settlements::{SettlementQueue, Settlements};

use self::committer::Committer;
use self::context::{GroupConsumer, GroupContext, Rebalance};
use self::desk::Desk;
use self::lag::Lag;
use self::membership::{connect, join};
use self::waker::Waker;
use crate::clock::Clock;
use crate::engine::event::{Partition, Source};
use crate::engine::intake::{Budget, Intake};
use crate::engine::time::Timestamp;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// Settled offsets are committed so often: what a crash repeats beyond what was in flight is what this time settled.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Records of one partition in a row, before it is the next one's turn.
const TURN: usize = 128;
/// With nothing to do, the thread looks after its group so often.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);
/// With no room for more, it looks so often whether there is: in that time the shards end a small part of what it holds.
const SLEEP_WITHOUT_ROOM: Duration = Duration::from_millis(5);
/// Librdkafka tells how far the partitions reach so often: for the lag, and for what was deleted.
const STATISTICS_INTERVAL_MS: &str = "5000";

/// What a consumer is built from.
#[derive(Debug)]
pub struct Parts {
    /// The group's settings.
    pub config: ClientConfig,
    /// Which consumer it is.
    pub source: Source,
    /// Its topics, by their place in [`Partition::topic`].
    pub topics: Vec<String>,
    /// Turns records into inputs.
    pub feed: Feed,
    /// What it may hold in memory.
    pub budget: Budget,
    /// The way to the shards.
    pub outlet: Outlet,
    /// The way back.
    pub settlements: SettlementQueue,
    /// This instance's part of the group.
    pub share: GroupShare,
    /// Set once the group has given it an assignment, be it an empty one.
    pub assigned: Arc<AtomicBool>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Why a consumer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// Librdkafka refused the settings or the subscription.
    #[error("the consumer of {topics} cannot start: {source}")]
    Start {
        /// What it should read.
        topics: String,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// The committing thread did not start.
    #[error("the committing thread cannot start: {0}")]
    Thread(#[from] std::io::Error),
    /// The group does not want this member any more.
    #[error(
        "the group has put this member out: {0}; has another instance the same kafka.group_instance_id?"
    )]
    Fatal(KafkaError),
}

/// The polling thread's state. Fields are dropped in this order: everything that holds the consumer goes before it,
/// or its end would wait for ever.
struct Reader {
    queues: BTreeMap<Partition, PartitionQueue<GroupContext>>,
    committer: Committer,
    consumer: Arc<GroupConsumer>,
    context: GroupContext,
    desk: Desk,
    lag: Lag,
    source: Source,
    topics: Vec<String>,
    settlements: SettlementQueue,
    waker: Waker,
    share: GroupShare,
    assigned: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    clock: Clock,
    shutdown: Shutdown,
    /// It has a name that stays with it over restarts.
    is_static: bool,
    config: ClientConfig,
    /// When the group has put it out, if it has.
    put_out_at: Option<Timestamp>,
    next_commit: Timestamp,
    /// With which partition the last round of reading began.
    first_read: Partition,
}

/// Runs a consumer on the calling thread until it is to stop.
///
/// # Errors
/// [`ConsumerError`]; the process cannot do its work without it.
pub fn run(parts: Parts) -> Result<(), ConsumerError> {
    let mut reader = Reader::start(parts)?;
    while !reader.shutdown.is_asked() {
        match reader.turn() {
            Ok(true) => {}
            Ok(false) => reader.sleep(),
            Err(ConsumerError::Fatal(error)) => reader.begin_anew(error)?,
            Err(error) => return Err(error),
        }
    }
    reader.stop();
    Ok(())
}

impl Reader {
    fn start(mut parts: Parts) -> Result<Self, ConsumerError> {
        let waker = Waker::of_this_thread();
        parts.config.set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
        for kind in ["assigned", "revoked", "lost"] {
            parts.metrics.kafka_rebalances_total.with_label_values(&[kind]);
        }
        for topic in &parts.topics {
            parts.metrics.kafka_records_expired_total.with_label_values(&[topic]);
        }
        let context = GroupContext::default();
        let start_error = |source| ConsumerError::Start { topics: parts.topics.join(", "), source };
        let consumer = connect(&parts.config, &context, &waker);
        let consumer = Arc::new(consumer.map_err(start_error)?);
        join(&consumer, &parts.topics)?;
        let committer = Committer::start(&consumer, parts.topics.clone(), waker.clone())?;
        Ok(Self {
            queues: BTreeMap::new(),
            committer,
            consumer,
            context,
            lag: Lag::default(),
            desk: Desk::new(Intake::new(parts.budget), parts.feed, parts.outlet, &parts.metrics),
            source: parts.source,
            topics: parts.topics,
            settlements: parts.settlements,
            waker,
            share: parts.share,
            assigned: parts.assigned,
            metrics: parts.metrics,
            next_commit: parts.clock.now() + COMMIT_INTERVAL,
            first_read: Partition { source: parts.source, topic: 0, number: 0 },
            clock: parts.clock,
            shutdown: parts.shutdown,
            is_static: parts.config.get("group.instance.id").is_some(),
            config: parts.config,
            put_out_at: None,
        })
    }

    /// One round: settle, rebalance, read, hand on, commit. Answers whether anything was read or settled.
    fn turn(&mut self) -> Result<bool, ConsumerError> {
        let settled = self.take_settlements();
        self.serve_group()?;
        let read = self.read();
        self.desk.flush();
        self.commit();
        Ok(settled || read)
    }

    fn take_settlements(&mut self) -> bool {
        let mut any = false;
        while let Ok(batch) = self.settlements.try_recv() {
            any = true;
            batch.into_iter().for_each(|settlement| self.desk.settle(settlement));
        }
        any
    }

    /// Lets librdkafka tell what is new in the group, and carries rebalances out.
    fn serve_group(&mut self) -> Result<(), ConsumerError> {
        let polled = self
            .consumer
            .poll(Duration::ZERO)
            .map(|polled| polled.map(|message| (message.topic().to_owned(), message.partition())));
        match polled {
            Some(Ok((topic, number))) => self.read_anew(&topic, number),
            Some(Err(error)) => self.heed(error)?,
            None => {}
        }
        while let Some(rebalance) = self.context.take_rebalance() {
            match rebalance {
                Rebalance::Assign(list) => self.assign(&list),
                Rebalance::Revoke(list) => self.revoke(&list),
                Rebalance::Lost(list) => self.lose(&list),
            }
        }
        if self.context.is_member() {
            self.assigned.store(true, Ordering::Release);
        }
        self.show_lag(self.clock.now());
        Ok(())
    }

    fn heed(&self, error: KafkaError) -> Result<(), ConsumerError> {
        let is_fatal = matches!(
            error,
            KafkaError::MessageConsumptionFatal(_)
                | KafkaError::MessageConsumption(RDKafkaErrorCode::FencedInstanceId)
        );
        if is_fatal {
            return Err(ConsumerError::Fatal(error));
        }
        self.context.warn(&error, "reading");
        Ok(())
    }

    /// Reads from each partition that may be read, in turn. Each round begins with another one, so that a budget that is
    /// used up early is not always used up by the same.
    fn read(&mut self) -> bool {
        let now = self.clock.now();
        let mut any = false;
        let others = self.queues.range((Bound::Excluded(self.first_read), Bound::Unbounded));
        let in_turn = others.chain(self.queues.range(..=self.first_read));
        let mut first = None;
        for (&partition, queue) in in_turn {
            first.get_or_insert(partition);
            any |= self.desk.take_due_head(partition, now);
            for number in 0..TURN {
                if !self.desk.may_poll(partition, now) {
                    break;
                }
                match queue.poll(Duration::ZERO) {
                    Some(Ok(message)) => {
                        if number == 0 {
                            self.lag.note(
                                partition,
                                message.offset(),
                                self.desk.wanted_at(&message),
                            );
                        }
                        self.desk.take(partition, &message, now);
                    }
                    Some(Err(error)) => warn!(%error, ?partition, "reading a partition failed"),
                    None => break,
                }
                any = true;
            }
        }
        self.first_read = first.unwrap_or(self.first_read);
        any
    }

    /// Starts a commit when it is time and takes the last one's result.
    fn commit(&mut self) {
        self.take_commit_result(Duration::ZERO);
        let now = self.clock.now();
        if now < self.next_commit || self.committer.is_busy() {
            return;
        }
        self.next_commit = now + COMMIT_INTERVAL;
        let commits = self.desk.intake().commits();
        if !commits.is_empty() {
            self.committer.commit(commits);
        }
    }

    /// Takes the result of the commit under way, if there is one within that time. Answers whether it was taken in.
    fn take_commit_result(&mut self, timeout: Duration) -> bool {
        let Some(result) = self.committer.result(timeout) else { return false };
        match result.result {
            Ok(()) => {
                result.commits.into_iter().for_each(|commit| self.desk.committed(commit));
                true
            }
            Err(error) => {
                self.metrics.commit_failures_total.inc();
                warn!(%error, source = ?self.source, "a commit failed; it is repeated");
                false
            }
        }
    }

    fn sleep(&self) {
        let intake = self.desk.intake();
        let wait = if intake.has_room() {
            let until = intake.next_due().map_or(self.next_commit, |due| due.min(self.next_commit));
            until.since(self.clock.now()).clamp(Duration::from_millis(1), LONGEST_SLEEP)
        } else {
            SLEEP_WITHOUT_ROOM
        };
        thread::park_timeout(wait);
    }

    /// Gives everything up in order and leaves the group.
    fn stop(&mut self) {
        let partitions: Vec<_> = self.desk.intake().assignment().map(|(p, _)| p).collect();
        info!(source = ?self.source, partitions = partitions.len(), "the consumer stops");
        self.give_up(&partitions, self.shutdown.grace());
        self.leave(!partitions.is_empty());
    }

    fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        let place = self.topics.iter().position(|name| name == topic)?;
        Some(Partition { source: self.source, topic: u16::try_from(place).ok()?, number })
    }

    fn note_assignment(&self) {
        let owned = u32::try_from(self.desk.intake().assignment().count()).unwrap_or(u32::MAX);
        self.assigned.store(true, Ordering::Release);
        info!(source = ?self.source, partitions = owned, "the assignment has changed");
    }

    fn fail(&self, error: &KafkaError, what: &'static str) {
        error!(%error, source = ?self.source, what, "the assignment cannot be changed");
    }
}
