//! Turns records into what the dispatchers take: fresh events are matched, tier records are taken up again.
//!
//! An event that nobody wants is settled here and never copied.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::{Headers as _, Message};
use tokio::sync::watch;
use tracing::warn;

use super::outlet::Outlet;
use crate::clock::wall_clock;
use crate::engine::catalog::Catalog;
use crate::engine::delivery::{DeadLetterReason, Delivery, History};
use crate::engine::dispatcher::{Input, Rejected};
use crate::engine::event::{Event, EventFields, Position};
use crate::engine::payload::PayloadConfig;
use crate::engine::table::{ConnectionTable, Question};
use crate::engine::time::Timestamp;
use crate::kafka::record::event::{Decoded, SkipReason};
use crate::kafka::record::{RecordView, delivery, event};
use crate::metrics::{Labelled, Metrics};
use crate::traces::Tracer;

/// An unknown name is logged at most so often, whatever its number.
const NAME_LOG_PAUSE: Duration = Duration::from_secs(60);

/// What a record became.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// Inputs that will each be settled.
    pub(super) deliveries: u32,
    /// What each takes of the budget.
    pub(super) bytes_each: u64,
}

/// A record that was just read.
#[derive(Debug)]
pub(super) struct Read<'a, M> {
    /// The record, still in the client's memory.
    pub(super) record: &'a M,
    /// Where it stands.
    pub(super) position: Position,
    /// The time.
    pub(super) now: Timestamp,
}

/// A consumer's way with records.
#[derive(Debug)]
pub enum Feed {
    /// Of fresh events.
    Events(EventFeed),
    /// Of tier records.
    Retries(RetryFeed),
}

impl Feed {
    /// When a record may be taken up; `None` for at once.
    pub(super) fn due(&self, record: &impl Message) -> Option<Timestamp> {
        match self {
            Self::Events(_) => None,
            Self::Retries(_) => due(record),
        }
    }

    pub(super) fn read(&mut self, read: &Read<'_, impl Message>, outlet: &mut Outlet) -> Reading {
        match self {
            Self::Events(feed) => feed.read(read, outlet),
            Self::Retries(feed) => feed.read(read, outlet),
        }
    }
}

/// Matches fresh events with the connections.
#[derive(Debug)]
pub struct EventFeed {
    /// The topic's name, shared with every event.
    pub topic: Arc<str>,
    /// Which names there are.
    pub catalog: Arc<Catalog>,
    /// What a body holds.
    pub payload: Arc<PayloadConfig>,
    /// The newest connections.
    pub table: watch::Receiver<Arc<ConnectionTable>>,
    /// Where spans are handed in; `None` where nobody asked for any.
    pub tracer: Option<Tracer>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Counts what is skipped.
    pub skipped: Labelled,
    /// When an unknown name was logged last.
    pub name_logged_at: Timestamp,
}

impl EventFeed {
    fn read(&mut self, read: &Read<'_, impl Message>, outlet: &mut Outlet) -> Reading {
        let &Read { record, position, now } = read;
        self.metrics.events_consumed_total.inc();
        match event::decode(record.payload(), &self.catalog, self.payload.max_event_bytes) {
            Decoded::Event(fields) => self.fan_out(&fields, read, outlet),
            Decoded::Skip(reason) => {
                self.skip(&reason, now);
                Reading::default()
            }
            Decoded::Malformed(reason, fault) => {
                warn!(
                    offset = position.offset,
                    partition = position.partition.number,
                    fault,
                    "not an event"
                );
                let view = view(record, &self.topic);
                refuse(Rejected { record: view.to_record(), position, reason }, outlet)
            }
        }
    }

    fn fan_out(
        &self,
        fields: &EventFields<'_>,
        read: &Read<'_, impl Message>,
        outlet: &mut Outlet,
    ) -> Reading {
        let &Read { record, position, now } = read;
        let question = Question {
            project: &fields.project,
            event: fields.event,
            channel: fields.channel,
            recorded_at: recorded_at(record),
        };
        let traced = self.tracer.as_ref().map(|tracer| (tracer, wall_clock()));
        let mut shared: Option<Arc<Event>> = None;
        let mut deliveries = 0;
        self.table.borrow().fan_out(&question, |connection| {
            let event = shared.get_or_insert_with(|| self.event(fields, record));
            deliveries += 1;
            let delivery = Delivery {
                event: Arc::clone(event),
                connection: connection.clone(),
                position,
                read_at: now,
                due: question.recorded_at,
                repeated: false,
                history: History::default(),
                waited_for: None,
            };
            outlet.push(connection, Input::Delivery(delivery));
        });
        if deliveries == 0 {
            self.metrics.events_unmatched_total.inc();
        }
        if let (Some((tracer, read_at)), Some(event)) = (traced, &shared) {
            tracer.event_read(event, read_at, wall_clock(), deliveries);
        }
        let bytes_each = shared.map_or(0, |event| event.size_bytes() as u64);
        Reading { deliveries, bytes_each }
    }

    fn event(&self, fields: &EventFields<'_>, record: &impl Message) -> Arc<Event> {
        let record = view(record, &self.topic).to_record();
        let id = event::event_id(fields, &record.origin);
        Arc::new(event::to_event(fields, id, record, &self.catalog, &self.payload))
    }

    fn skip(&mut self, reason: &SkipReason, now: Timestamp) {
        self.skipped.inc(reason.as_str());
        let name = match reason {
            SkipReason::NullValue | SkipReason::MultiStage => return,
            SkipReason::UnknownEvent(name) | SkipReason::UnknownChannel(name) => name,
        };
        if now.since(self.name_logged_at) >= NAME_LOG_PAUSE {
            self.name_logged_at = now;
            warn!(reason = reason.as_str(), name, "skipped: the catalog does not have the name");
        }
    }
}

/// Takes deliveries up again from the tiers.
#[derive(Debug)]
pub struct RetryFeed {
    /// The tiers' topics, by their place in the position.
    pub topics: Vec<Arc<str>>,
    /// Which names there are.
    pub catalog: Arc<Catalog>,
    /// What a body holds.
    pub payload: Arc<PayloadConfig>,
}

impl RetryFeed {
    fn read(&self, read: &Read<'_, impl Message>, outlet: &mut Outlet) -> Reading {
        let &Read { record, position, now } = read;
        let view = view(record, &self.topics[usize::from(position.partition.topic)]);
        match delivery::decode(&view, position, now, &self.catalog, &self.payload) {
            Ok(delivery) => {
                let bytes_each = delivery.event.size_bytes() as u64;
                outlet.push(&delivery.connection.clone(), Input::Delivery(delivery));
                Reading { deliveries: 1, bytes_each }
            }
            Err(error) => {
                warn!(%error, offset = position.offset, "a tier's record cannot be taken up again");
                refuse(delivery::reject(&view, position, &error), outlet)
            }
        }
    }
}

/// Hands a record that is no event to some shard, for the dead letters.
fn refuse(rejected: Rejected, outlet: &mut Outlet) -> Reading {
    debug_assert!(matches!(
        rejected.reason,
        DeadLetterReason::MalformedEvent | DeadLetterReason::TooLarge
    ));
    let bytes_each = rejected.record.value.len() as u64;
    let shard = usize::try_from(rejected.position.partition.number).unwrap_or(0);
    outlet.push_to(shard, Input::Reject(rejected));
    Reading { deliveries: 1, bytes_each }
}

fn view<'a>(record: &'a impl Message, topic: &'a Arc<str>) -> RecordView<'a> {
    RecordView {
        topic,
        partition: record.partition(),
        offset: record.offset(),
        timestamp: recorded_at(record),
        value: record.payload(),
        headers: headers(record),
    }
}

/// All headers. Rdkafka can only say by a panic that a header's name is not UTF-8; such a record goes on without any.
fn headers(record: &impl Message) -> Vec<(&str, Option<&[u8]>)> {
    let Some(headers) = record.headers() else { return Vec::new() };
    let read = || headers.iter().map(|header| (header.key, header.value)).collect();
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_default()
}

/// When a record was written.
pub(super) fn recorded_at(record: &impl Message) -> Timestamp {
    let millis = record.timestamp().to_millis().and_then(|millis| u64::try_from(millis).ok());
    Timestamp::from_millis(millis.unwrap_or(0))
}

fn due(record: &impl Message) -> Option<Timestamp> {
    let (_, value) = headers(record).into_iter().find(|(name, _)| *name == delivery::DUE)?;
    let millis = std::str::from_utf8(value?).ok()?.parse().ok()?;
    Some(Timestamp::from_millis(millis))
}
