//! The attempts of all instances: lists of the last ones, one in full, live, and how often they succeed.
//!
//! It reads the attempt log from a day back and keeps, in bounded memory, what lists show; what was sent and came back
//! is read from the topic when somebody looks at one. The log's reader fills it; health and the API ask it.

mod index;
mod rates;

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use serde::Serialize;
use tokio::sync::broadcast;
use utoipa::ToSchema;

use self::index::Index;
use super::place::{Page, Place};
use crate::driver::attempt_log::AttemptsLogged;
use crate::engine::connection::ConnectionKey;
use crate::engine::time::Timestamp;
use crate::kafka::log::{Followed, LogError, LogRecord, Reader};
use crate::kafka::record::attempt::{
    AttemptLine, AttemptOutcome, AttemptRecord, decode, decode_line,
};

pub use self::rates::{Point, Rate, Rates};

/// From so long ago attempts are read at the start.
const BACK: Duration = Duration::from_hours(24);
/// But not more than this: some seconds of reading.
const AT_MOST: u64 = 500_000;
/// Attempts that a live follower may be behind; then it misses some, and is told.
const LIVE: usize = 256;
/// How long the broker may take for one attempt in full.
const PATIENCE: Duration = Duration::from_secs(10);

/// One attempt in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttemptSummary {
    /// Names it.
    #[schema(value_type = String)]
    pub id: Place,
    /// What is known of it.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub line: AttemptLine,
}

/// One attempt in full.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttemptDetail {
    /// Names it.
    #[schema(value_type = String)]
    pub id: Place,
    /// What was sent, what came back, and what became of the delivery.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub record: AttemptRecord<'static>,
}

/// Which attempts are asked for. The default asks for the newest of all.
#[derive(Clone, Debug, Default)]
pub struct AttemptQuery {
    /// Of this project alone.
    pub project_id: Option<String>,
    /// Of this connection alone.
    pub connection: Option<ConnectionKey>,
    /// With such an outcome.
    pub outcome: Option<OutcomeFilter>,
    /// Begun then or later, in milliseconds since the epoch.
    pub from_ms: Option<u64>,
    /// Begun before then, in milliseconds since the epoch.
    pub to_ms: Option<u64>,
    /// Where the page begins: a page's `next_cursor`.
    pub cursor: Option<Place>,
    /// How many at most, 1–500.
    pub limit: usize,
}

/// A kind of outcome: `failed`, or the name of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// All but `delivered`.
    Failed,
    /// This one.
    Is(AttemptOutcome),
}

/// A text that names no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no outcome; write failed, delivered, status, dns, connect, tls, timeout, reset, protocol, denied, \
     our_fault or panic"
)]
pub struct BadOutcome(String);

impl FromStr for OutcomeFilter {
    type Err = BadOutcome;

    fn from_str(text: &str) -> Result<Self, BadOutcome> {
        if text == "failed" {
            return Ok(Self::Failed);
        }
        let class: Result<_, serde_json::Error> = serde_json::from_value(text.into());
        match class {
            Ok(AttemptOutcome::Unknown) | Err(_) => {
                Err(BadOutcome(text.chars().take(64).collect()))
            }
            Ok(class) => Ok(Self::Is(class)),
        }
    }
}

impl OutcomeFilter {
    fn takes(self, outcome: AttemptOutcome) -> bool {
        match self {
            Self::Failed => outcome != AttemptOutcome::Delivered,
            Self::Is(wanted) => outcome == wanted,
        }
    }
}

/// A page of attempts, and how far back the index goes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttemptPage {
    /// The newest first.
    #[serde(flatten)]
    #[schema(value_type = Page<AttemptSummary>)]
    pub page: Page<Arc<AttemptSummary>>,
    /// Whether all that there was at the start has been read; if not, more will come.
    pub is_caught_up: bool,
    /// Which attempts are logged at all: `all`, `failures` or `off`.
    pub logged: &'static str,
}

/// The attempts; cheap to clone.
#[derive(Clone, Debug)]
pub struct Attempts {
    index: Arc<Mutex<Index>>,
    live: broadcast::Sender<Arc<AttemptSummary>>,
    caught_up: Arc<AtomicBool>,
    reader: ClientConfig,
    topic: Arc<str>,
    logged: AttemptsLogged,
}

impl Attempts {
    /// An empty one that reads this topic; `reader` is a client's settings without a group.
    pub(super) fn new(reader: ClientConfig, topic: &str, logged: AttemptsLogged) -> Self {
        Self {
            index: Arc::default(),
            live: broadcast::Sender::new(LIVE),
            caught_up: Arc::default(),
            reader,
            topic: topic.into(),
            logged,
        }
    }

    /// What has to be followed to fill it.
    pub(super) fn followed(&self) -> Followed {
        let attempts = self.clone();
        Followed {
            topic: self.topic.to_string(),
            back: BACK,
            at_most: AT_MOST,
            take: Box::new(move |record| attempts.take(&record)),
            caught_up: Arc::clone(&self.caught_up),
        }
    }

    /// A page of them.
    #[must_use]
    pub fn page(&self, query: &AttemptQuery) -> AttemptPage {
        AttemptPage {
            page: self.index().page(query),
            is_caught_up: self.caught_up.load(Ordering::Acquire),
            logged: self.logged(),
        }
    }

    /// One of that connection in full; `None` if it has none of that id, or no longer.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub async fn detail(
        &self,
        connection: &ConnectionKey,
        id: Place,
    ) -> Result<Option<AttemptDetail>, LogError> {
        let (config, topic) = (self.reader.clone(), Arc::clone(&self.topic));
        let read = move || Reader::open(&config, &topic)?.record(id.partition, id.offset, PATIENCE);
        let record = super::read_models::blocking(read).await?;
        let record = record.and_then(|record| decode(record.value.as_deref()));
        // An id of another time names another record of a topic that was made anew.
        let record = record.filter(|record| {
            record.at_ms == id.at_ms
                && record.project_id == connection.project()
                && record.connection_id == connection.connection()
        });
        Ok(record.map(|record| AttemptDetail { id, record }))
    }

    /// Every attempt from now on.
    #[must_use]
    pub fn live(&self) -> broadcast::Receiver<Arc<AttemptSummary>> {
        self.live.subscribe()
    }

    /// How often a connection's attempts have succeeded; `None` where that is not logged, or none is known.
    #[must_use]
    pub fn rates(&self, connection: &ConnectionKey, now: Timestamp) -> Option<Rates> {
        match self.logged {
            AttemptsLogged::All => self.index().rates(connection, now.as_millis()),
            AttemptsLogged::Failures | AttemptsLogged::Off => None,
        }
    }

    /// The last failed attempt of a connection that is known.
    #[must_use]
    pub fn last_failure(&self, connection: &ConnectionKey) -> Option<Arc<AttemptSummary>> {
        let query = AttemptQuery {
            connection: Some(connection.clone()),
            outcome: Some(OutcomeFilter::Failed),
            limit: 1,
            ..AttemptQuery::default()
        };
        self.index().page(&query).items.pop()
    }

    const fn logged(&self) -> &'static str {
        match self.logged {
            AttemptsLogged::All => "all",
            AttemptsLogged::Failures => "failures",
            AttemptsLogged::Off => "off",
        }
    }

    /// Takes a record of the log in; what cannot be read is passed over.
    fn take(&self, record: &LogRecord) {
        let Some(line) = decode_line(record.value.as_deref()) else { return };
        let id = Place { at_ms: line.at_ms, partition: record.partition, offset: record.offset };
        let summary = Arc::new(AttemptSummary { id, line });
        self.index().put(Arc::clone(&summary));
        if self.caught_up.load(Ordering::Acquire) {
            // Nobody may be listening.
            let _ = self.live.send(summary);
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
