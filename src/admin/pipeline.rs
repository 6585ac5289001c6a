//! The pipeline as a whole: how far behind the group is, what waits in the tiers, who is in the group, and how fast
//! this instance goes.
//!
//! Lag, tiers and members are the group's, asked of Kafka; throughput and lanes are this instance's.

mod throughput;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use serde::Serialize;
use tokio::sync::{Mutex, watch};
use utoipa::ToSchema;

use super::read_models::blocking;
use crate::clock::Clock;
use crate::driver::Watcher;
use crate::engine::snapshot::{LaneState, Snapshot};
use crate::engine::table::ConnectionTable;
use crate::engine::time::Timestamp;
use crate::kafka::group::{GroupError, GroupView, Membership, Progress};
use crate::kafka::log::{LogError, LogRecord, Reader, Span};
use crate::kafka::record::delivery;
use crate::kafka::topics::TopicNames;

pub(super) use self::throughput::STEPS;
pub use self::throughput::{Throughput, ThroughputPoint};

/// An answer of Kafka's is shown for so long: a page that is looked at by many asks it once.
const FRESH: Duration = Duration::from_secs(5);
/// How long the broker may be silent while the oldest records are looked at.
const PATIENCE: Duration = Duration::from_secs(2);

/// The whole pipeline.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PipelineReport {
    /// When this was looked at, in milliseconds since the epoch.
    pub at_ms: u64,
    /// What Kafka says; null while it does not answer.
    #[schema(value_type = Option<GroupReport>)]
    pub group: Option<Arc<GroupReport>>,
    /// Why Kafka's part is missing.
    pub group_error: Option<String>,
    /// Attempts of this instance under way.
    pub in_flight: usize,
    /// Deliveries in this instance's queues.
    pub queued: usize,
    /// This instance's lanes, by state.
    pub lanes: BTreeMap<&'static str, usize>,
    /// How fast this instance went, over the last hour, the oldest first.
    pub throughput: Vec<ThroughputPoint>,
    /// The connections.
    pub table: TableReport,
}

/// What Kafka says of the group.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GroupReport {
    /// When it was asked, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The events.
    pub events: EventsReport,
    /// The retry tiers, from the shortest to the longest delay.
    pub tiers: Vec<TierReport>,
    /// The group that reads the tiers.
    pub retries_group: MembershipReport,
}

/// The events topic and its group.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventsReport {
    /// The topic.
    pub topic: String,
    /// The group that reads it.
    pub group: MembershipReport,
    /// Records that are not settled.
    pub lag_records: u64,
    /// The age of the oldest of them, in seconds; 0 without any.
    pub lag_seconds: Option<u64>,
    /// Each partition.
    pub partitions: Vec<PartitionReport>,
}

/// One partition of the events topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartitionReport {
    /// Its number.
    pub partition: i32,
    /// What the group has committed; null if nothing yet.
    pub committed_offset: Option<i64>,
    /// The offset that the next record gets.
    pub end_offset: i64,
    /// Records that are not settled.
    pub lag_records: u64,
    /// The age of the oldest of them, in seconds; 0 without any, null where the broker did not say.
    pub lag_seconds: Option<u64>,
}

/// One retry tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TierReport {
    /// Its delay, such as `5s`.
    pub tier: String,
    /// Deliveries that wait in it.
    pub waiting: u64,
    /// When the first of them is due, in milliseconds since the epoch; null without any.
    pub oldest_due_ms: Option<u64>,
    /// How long that has been over, in seconds.
    pub overdue_seconds: u64,
}

/// A group's members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MembershipReport {
    /// The group.
    pub group: String,
    /// As the broker calls it, such as `Stable`; empty where it does not say.
    pub state: String,
    /// Its members.
    pub members: Vec<MemberReport>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberReport {
    /// The name that the broker gave it.
    pub member_id: String,
    /// What it calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// How many partitions it has.
    pub partitions: u32,
}

/// The connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TableReport {
    /// Whether they were read to their end.
    pub is_ready: bool,
    /// Delivered to.
    pub active: usize,
    /// Stopped by a user or by the service.
    pub inactive: usize,
    /// Not readable.
    pub unreadable: usize,
}

/// What the pipeline is looked at with.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// A client's settings without a group.
    pub(super) reader: ClientConfig,
    pub(super) names: Arc<TopicNames>,
    /// The tiers' delays as text, in the order of their topics.
    pub(super) tiers: Arc<[String]>,
    pub(super) events_group: String,
    pub(super) retries_group: String,
    pub(super) table: watch::Receiver<Arc<ConnectionTable>>,
    pub(super) table_ready: watch::Receiver<bool>,
    pub(super) watcher: Watcher,
    pub(super) clock: Clock,
}

/// The way to the pipeline; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pipeline {
    parts: Parts,
    throughput: Throughput,
    /// The last answer of Kafka's. Whoever asks meanwhile waits for the one question that is under way.
    last: Arc<Mutex<Option<Answered>>>,
}

/// An answer of Kafka's, and when it came.
type Answered = (Instant, Arc<GroupReport>);

/// Why Kafka's part is missing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Pipeline {
    pub(super) fn new(parts: Parts, throughput: Throughput) -> Self {
        Self { parts, throughput, last: Arc::default() }
    }

    /// Looks at everything.
    pub async fn report(&self) -> PipelineReport {
        let (group, group_error) = match self.group().await {
            Ok(group) => (Some(group), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let Snapshot { lanes, in_flight, queued } = self.parts.watcher.snapshot().await;
        let count = |state| lanes.iter().filter(|lane| lane.state == state).count();
        let census = self.parts.table.borrow().census();
        PipelineReport {
            at_ms: self.parts.clock.now().as_millis(),
            group,
            group_error,
            in_flight,
            queued,
            lanes: LaneState::ALL.map(|state| (state.as_str(), count(state))).into(),
            throughput: self.throughput.points(),
            table: TableReport {
                is_ready: *self.parts.table_ready.borrow(),
                active: census.active,
                inactive: census.inactive,
                unreadable: census.unreadable,
            },
        }
    }

    async fn group(&self) -> Result<Arc<GroupReport>, LookError> {
        let mut last = self.last.lock().await;
        if let Some((at, report)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(report));
        }
        let parts = self.parts.clone();
        let report = Arc::new(blocking(move || parts.look()).await?);
        *last = Some((Instant::now(), Arc::clone(&report)));
        Ok(report)
    }
}

impl Parts {
    fn look(&self) -> Result<GroupReport, LookError> {
        let now = self.clock.now();
        let events = GroupView::open(&self.reader, &self.events_group)?;
        let retries = GroupView::open(&self.reader, &self.retries_group)?;
        let tiers = self.names.retry.iter().zip(self.tiers.iter());
        let tiers: Result<_, LookError> =
            tiers.map(|(topic, tier)| self.tier(&retries, topic, tier, now)).collect();
        Ok(GroupReport {
            at_ms: now.as_millis(),
            events: self.events(&events, now)?,
            tiers: tiers?,
            retries_group: members(&self.retries_group, retries.membership()?),
        })
    }

    fn events(&self, view: &GroupView, now: Timestamp) -> Result<EventsReport, LookError> {
        let topic = &self.names.events;
        let progress = view.progress(topic)?;
        let oldest = self.oldest(topic, &progress, |record| Some(record.timestamp))?;
        let partition = |progress: &Progress| {
            let age = |at: &Timestamp| now.since(*at).as_secs();
            let lag_seconds = match progress.lag() {
                0 => Some(0),
                _ => oldest.get(&progress.partition).map(age),
            };
            PartitionReport {
                partition: progress.partition,
                committed_offset: progress.committed,
                end_offset: progress.high,
                lag_records: progress.lag(),
                lag_seconds,
            }
        };
        let partitions: Vec<_> = progress.iter().map(partition).collect();
        Ok(EventsReport {
            topic: topic.clone(),
            group: members(&self.events_group, view.membership()?),
            lag_records: partitions.iter().map(|partition| partition.lag_records).sum(),
            lag_seconds: partitions.iter().filter_map(|partition| partition.lag_seconds).max(),
            partitions,
        })
    }

    fn tier(
        &self,
        view: &GroupView,
        topic: &str,
        tier: &str,
        now: Timestamp,
    ) -> Result<TierReport, LookError> {
        let progress = view.progress(topic)?;
        let due = |record: &LogRecord| {
            record.header(delivery::DUE)?.parse().ok().map(Timestamp::from_millis)
        };
        let oldest_due = self.oldest(topic, &progress, due)?.into_values().min();
        Ok(TierReport {
            tier: tier.to_owned(),
            waiting: progress.iter().map(Progress::lag).sum(),
            oldest_due_ms: oldest_due.map(Timestamp::as_millis),
            overdue_seconds: oldest_due.map_or(0, |due| now.since(due).as_secs()),
        })
    }

    /// The time of the first record of each partition that is not settled, by what `time` reads of it.
    fn oldest(
        &self,
        topic: &str,
        progress: &[Progress],
        time: impl Fn(&LogRecord) -> Option<Timestamp>,
    ) -> Result<BTreeMap<i32, Timestamp>, LookError> {
        let behind = progress.iter().filter(|progress| progress.lag() > 0);
        let span = |progress: &Progress| Span {
            partition: progress.partition,
            from: progress.next(),
            to: progress.high,
        };
        let spans: Vec<_> = behind.map(span).collect();
        let mut first = BTreeMap::new();
        let mut oldest = BTreeMap::new();
        if spans.is_empty() {
            return Ok(oldest);
        }
        let read = Reader::open(&self.reader, topic)?.read(&spans, PATIENCE, |record| {
            if first.insert(record.partition, ()).is_none()
                && let Some(at) = time(&record)
            {
                oldest.insert(record.partition, at);
            }
            if first.len() < spans.len() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        match read {
            // What is known is still worth telling.
            Ok(()) | Err(LogError::Silent { .. }) => Ok(oldest),
            Err(error) => Err(error.into()),
        }
    }
}

fn members(group: &str, membership: Membership) -> MembershipReport {
    let member = |member: crate::kafka::group::Member| MemberReport {
        member_id: member.id,
        client_id: member.client_id,
        host: member.host,
        partitions: member.partitions,
    };
    MembershipReport {
        group: group.to_owned(),
        state: membership.state,
        members: membership.members.into_iter().map(member).collect(),
    }
}
