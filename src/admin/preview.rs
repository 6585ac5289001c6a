//! What a filter would have matched: the last events of a project, looked at before a connection is saved.
//!
//! It reads the end of the events topic, bounded in records and in time, and keeps nothing of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use serde::Serialize;

use super::read_models::blocking;
use crate::engine::catalog::{Catalog, NameIndex, NameSet, Names};
use crate::engine::connection::Filter;
use crate::engine::payload::PayloadConfig;
use crate::kafka::log::{Ends, LogError, LogRecord, Reader, Span};
use crate::kafka::record::event::{Decoded, decode};
use utoipa::ToSchema;

/// Events of the project that are looked at.
const EVENTS: usize = 1000;
/// Records that are read for them, in steps: a busy project is found at once, a quiet one not at any price.
const RECORDS: [u64; 3] = [2_000, 10_000, 50_000];
/// How long the reading may take; what was found by then is told.
const TIME: Duration = Duration::from_secs(3);
/// How long the broker may be silent.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is to be previewed.
#[derive(Clone, Debug)]
pub struct PreviewQuery {
    /// Whose events.
    pub project_id: String,
    /// The event names or aliases of the filter.
    pub events: Vec<String>,
    /// The channel names or aliases of the filter.
    pub channels: Vec<String>,
}

/// What a filter would have matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PreviewReport {
    /// How many of the events that were looked at.
    pub matched: u64,
    /// How many events of the project were looked at: the last ones, at most 1000.
    pub examined: u64,
    /// When the oldest of them was recorded, in milliseconds since the epoch.
    pub oldest_ms: Option<u64>,
    /// When the newest of them was recorded, in milliseconds since the epoch.
    pub newest_ms: Option<u64>,
    /// What they were, the most frequent first.
    pub kinds: Vec<PreviewKind>,
    /// How many records of all projects were read for that.
    pub read_records: u64,
}

/// Events of one name on one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PreviewKind {
    /// What happened.
    pub event: String,
    /// On which channel.
    pub channel: String,
    /// How often.
    pub count: u64,
    /// Whether the filter lets them through.
    pub is_matched: bool,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// A name that the catalog does not have.
    #[error("{list}: the catalog has no `{name}`")]
    UnknownName {
        /// `events` or `channels`.
        list: &'static str,
        /// The name.
        name: String,
    },
    /// The events topic cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The way to previews; cheap to clone.
#[derive(Clone, Debug)]
pub struct Preview {
    pub(super) reader: ClientConfig,
    pub(super) topic: Arc<str>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) payload: Arc<PayloadConfig>,
}

impl Preview {
    /// Reads the last events of the project and asks the filter of each.
    ///
    /// # Errors
    /// [`PreviewError`].
    pub async fn look(&self, query: &PreviewQuery) -> Result<PreviewReport, PreviewError> {
        let filter = Filter {
            events: names("events", &query.events, &self.catalog.events)?,
            channels: names("channels", &query.channels, &self.catalog.channels)?,
        };
        let (preview, project) = (self.clone(), query.project_id.clone());
        let sample = blocking(move || preview.sample(&project)).await?;
        Ok(self.report(sample, filter))
    }

    fn sample(&self, project: &str) -> Result<Sample, LogError> {
        let reader = Reader::open(&self.reader, &self.topic)?;
        let mut ends = reader.ends()?;
        let mut sample = Sample::default();
        let end_at = Instant::now() + TIME;
        for records in RECORDS {
            let spans = take_back(&mut ends, records);
            let read = reader.read(&spans, PATIENCE, |record| {
                self.take(&record, project, &mut sample);
                if Instant::now() < end_at {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            match read {
                Ok(()) => {}
                // What came before the silence is still worth telling.
                Err(LogError::Silent { .. }) if sample.read_records > 0 => break,
                Err(error) => return Err(error),
            }
            if sample.seen.len() >= EVENTS || Instant::now() >= end_at {
                break;
            }
        }
        Ok(sample)
    }

    fn take(&self, record: &LogRecord, project: &str, sample: &mut Sample) {
        sample.read_records += 1;
        let value = record.value.as_deref();
        if let Decoded::Event(fields) = decode(value, &self.catalog, self.payload.max_event_bytes)
            && fields.project == project
        {
            sample.seen.push((record.timestamp.as_millis(), fields.event, fields.channel));
        }
    }

    fn report(&self, mut sample: Sample, filter: Filter) -> PreviewReport {
        sample.seen.sort_unstable_by(|a, b| b.cmp(a));
        sample.seen.truncate(EVENTS);
        let mut counts: BTreeMap<(NameIndex, NameIndex), u64> = BTreeMap::new();
        for &(_, event, channel) in &sample.seen {
            *counts.entry((event, channel)).or_default() += 1;
        }
        let kind = |(&(event, channel), &count): (&(NameIndex, NameIndex), &u64)| PreviewKind {
            event: self.catalog.events.name(event).to_owned(),
            channel: self.catalog.channels.name(channel).to_owned(),
            count,
            is_matched: filter.matches(event, channel),
        };
        let mut kinds: Vec<_> = counts.iter().map(kind).collect();
        kinds.sort_by_key(|kind| Reverse(kind.count));
        PreviewReport {
            matched: kinds.iter().filter(|kind| kind.is_matched).map(|kind| kind.count).sum(),
            examined: sample.seen.len() as u64,
            oldest_ms: sample.seen.last().map(|(at_ms, ..)| *at_ms),
            newest_ms: sample.seen.first().map(|(at_ms, ..)| *at_ms),
            kinds,
            read_records: sample.read_records,
        }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Sample {
    /// The project's events: when each was recorded, and what it was.
    seen: Vec<(u64, NameIndex, NameIndex)>,
    read_records: u64,
}

/// The last records before the ends, as evenly as the partitions allow; the ends move back by them.
fn take_back(ends: &mut [Ends], records: u64) -> Vec<Span> {
    let share = records.div_ceil((ends.len() as u64).max(1));
    let share = i64::try_from(share).unwrap_or(i64::MAX);
    let span = |ends: &mut Ends| {
        let from = ends.high.saturating_sub(share).max(ends.low);
        let span = Span { partition: ends.partition, from, to: ends.high };
        ends.high = from;
        span
    };
    ends.iter_mut().map(span).collect()
}

fn names(list: &'static str, wanted: &[String], names: &Names) -> Result<NameSet, PreviewError> {
    let find = |name: &String| {
        names.find(name).ok_or_else(|| PreviewError::UnknownName {
            list,
            name: name.chars().take(64).collect(),
        })
    };
    wanted.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::catalog;
    use crate::engine::time::Timestamp;

    const EVENT: &str = include_str!("../../tests/fixtures/v1/event.json");

    fn preview() -> Preview {
        Preview {
            reader: ClientConfig::new(),
            topic: "events".into(),
            catalog: Arc::new(catalog()),
            payload: Arc::default(),
        }
    }

    fn record(at_ms: u64, event: &str, project: &str) -> LogRecord {
        let value = EVENT.replace("message_open", event).replace("\"4172\"", project);
        LogRecord {
            partition: 0,
            offset: 0,
            timestamp: Timestamp::from_millis(at_ms),
            key: None,
            value: Some(value.into_bytes()),
            headers: Vec::new(),
        }
    }

    fn filter(preview: &Preview, events: &[&str]) -> Filter {
        let own: Vec<_> = events.iter().map(ToString::to_string).collect();
        let channels = NameSet::ALL;
        Filter { events: names("events", &own, &preview.catalog.events).unwrap(), channels }
    }

    #[test]
    fn the_last_thousand_events_of_the_project_are_asked() {
        let preview = preview();
        let mut sample = Sample::default();
        for at_ms in 0..1500 {
            let event = if at_ms % 5 == 0 { "message_click" } else { "message_open" };
            preview.take(&record(at_ms, event, "4172"), "4172", &mut sample);
            preview.take(&record(at_ms, "message_open", "\"77\""), "4172", &mut sample);
        }
        let filter = filter(&preview, &["message_click", "message_fail"]);
        let report = preview.report(sample, filter);
        assert_eq!((report.matched, report.examined, report.read_records), (200, 1000, 3000));
        assert_eq!((report.oldest_ms, report.newest_ms), (Some(500), Some(1499)));
        let kinds: Vec<_> =
            report.kinds.iter().map(|kind| (&*kind.event, kind.count, kind.is_matched)).collect();
        assert_eq!(kinds, [("message_open", 800, false), ("message_click", 200, true)]);
    }

    #[test]
    fn each_step_reads_what_stands_before_the_last_one() {
        let ends = |partition, low, high| Ends { partition, low, high };
        let span = |partition, from, to| Span { partition, from, to };
        let mut all = [ends(0, 0, 5000), ends(1, 40, 100)];
        assert_eq!(take_back(&mut all, 100), [span(0, 4950, 5000), span(1, 50, 100)]);
        assert_eq!(take_back(&mut all, 100), [span(0, 4900, 4950), span(1, 40, 50)]);
        assert_eq!(take_back(&mut all, 100), [span(0, 4850, 4900), span(1, 40, 40)]);
    }

    #[test]
    fn an_unknown_name_is_named() {
        let preview = preview();
        let error = names("events", &["message_teleport".to_owned()], &preview.catalog.events);
        assert_eq!(error.unwrap_err().to_string(), "events: the catalog has no `message_teleport`");
    }
}
