//! The dead letters of all instances: lists, one in full, back into delivery, or out as lines of JSON.
//!
//! It follows the dead-letter topic and keeps, in bounded memory, what its headers say; values are read from the topic
//! when they are needed. A dead letter stays in its topic until the topic's time is over: a redrive copies it into a
//! tier, and this instance remembers that it did.

mod export;
mod index;
mod letter;
mod redrive;
mod rounds;
mod run;
mod under_way;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use self::index::Index;
use self::under_way::Redrives;
use super::place::{Page, Place};
use crate::clock::Clock;
use crate::engine::catalog::Catalog;
use crate::engine::connection::ConnectionKey;
use crate::engine::payload::PayloadConfig;
use crate::engine::retry::RetryPolicy;
use crate::engine::table::ConnectionTable;
use crate::kafka::log::{Followed, LogError, LogRecord, Reader};
use crate::kafka::producer::Producer;
use crate::metrics::Metrics;

pub use self::letter::{Letter, LetterSummary};
pub use self::redrive::{RedriveOrder, RedriveReport, Refusal, Selection};
pub use self::under_way::{BeginError, RedriveState, UnderWay};

/// Dead letters are kept 30 days by default; as far back the topic is read.
const BACK: Duration = Duration::from_hours(31 * 24);
/// How long the broker may take for one dead letter, or for the next of many.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose dead letters.
#[derive(Clone, Debug, Default)]
pub enum Scope {
    /// All.
    #[default]
    All,
    /// A project's.
    Project(String),
    /// Those of no project: records that are no events.
    Rejected,
}

impl Scope {
    fn covers(&self, project_id: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Project(project) => project_id == Some(project),
            Self::Rejected => project_id.is_none(),
        }
    }
}

/// Which dead letters are asked for. The default asks for the newest of all.
#[derive(Clone, Debug, Default)]
pub struct LetterQuery {
    /// Whose.
    pub scope: Scope,
    /// Of this connection alone.
    pub connection: Option<ConnectionKey>,
    /// Given up for this reason.
    pub reason: Option<String>,
    /// Given up then or later, in milliseconds since the epoch.
    pub from_ms: Option<u64>,
    /// Given up before then, in milliseconds since the epoch.
    pub to_ms: Option<u64>,
    /// Where the page begins: a page's `next_cursor`.
    pub cursor: Option<Place>,
    /// How many at most, 1–500.
    pub limit: usize,
}

/// A page of dead letters, and what the index knows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LetterPage {
    /// The newest first.
    #[serde(flatten)]
    pub page: Page<LetterSummary>,
    /// How many there are on all pages together.
    pub matched: u64,
    /// Whether all that there was at the start has been read; if not, more will come.
    pub is_caught_up: bool,
    /// Whether older ones stand in the topic that the index has no room for.
    pub is_cut: bool,
}

/// What dead letters are read from and put back by.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// A client's settings without a group.
    pub(super) reader: ClientConfig,
    /// The dead-letter topic.
    pub(super) topic: Arc<str>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) payload: Arc<PayloadConfig>,
    pub(super) table: watch::Receiver<Arc<ConnectionTable>>,
    pub(super) producer: Producer,
    pub(super) retry: RetryPolicy,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

/// The dead letters; cheap to clone.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    index: Arc<Mutex<Index>>,
    redrives: Redrives,
    caught_up: Arc<AtomicBool>,
    parts: Parts,
}

impl DeadLetters {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            index: Arc::default(),
            redrives: Redrives::default(),
            caught_up: Arc::default(),
            parts,
        }
    }

    /// What has to be followed to fill it.
    pub(super) fn followed(&self) -> Followed {
        let letters = self.clone();
        Followed {
            topic: self.parts.topic.to_string(),
            back: BACK,
            at_most: index::KEPT as u64,
            take: Box::new(move |record| letters.take(&record)),
            caught_up: Arc::clone(&self.caught_up),
        }
    }

    /// A page of them.
    #[must_use]
    pub fn page(&self, query: &LetterQuery) -> LetterPage {
        let index = self.index();
        LetterPage {
            page: index.page(query),
            matched: index.matching(query).count() as u64,
            is_caught_up: self.caught_up.load(Ordering::Acquire),
            is_cut: index.is_cut(),
        }
    }

    /// One in full; `None` if there is none of that id in that scope, or no longer.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub async fn show(&self, scope: &Scope, id: Place) -> Result<Option<Letter>, LogError> {
        let (config, topic) = (self.parts.reader.clone(), Arc::clone(&self.parts.topic));
        let read = move || Reader::open(&config, &topic)?.record(id.partition, id.offset, PATIENCE);
        let record = super::read_models::blocking(read).await?;
        // An id of another time names another record of a topic that was made anew.
        let record = record.filter(|record| record.timestamp.as_millis() == id.at_ms);
        let redriven_at_ms = self.index().get(id).and_then(|letter| letter.redriven_at_ms);
        let letter = record.map(|record| {
            let mut letter = Letter::of(&record);
            letter.summary.redriven_at_ms = redriven_at_ms;
            letter
        });
        Ok(letter.filter(|letter| scope.covers(letter.summary.project_id.as_deref())))
    }

    /// Takes a record of the topic in.
    fn take(&self, record: &LogRecord) {
        self.index().put(LetterSummary::of(record));
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
