//! Puts dead letters back into delivery: into the first tier, with the same `webhook-id` and all attempts anew.
//!
//! Each is done only when the broker has acknowledged its record in the tier; until then, and after, it stands in the
//! dead letters: nothing can be lost. What would become a dead letter again at once is refused, with the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::rounds::read_chosen;
use super::run::Run;
use super::{DeadLetters, LetterQuery, LetterSummary};
use crate::admin::place::Place;
use crate::engine::table::Lookup;
use crate::engine::time::Timestamp;
use crate::kafka::log::{LogError, Reader};

/// Records read ahead.
const READ_AHEAD: usize = 64;

/// What is to be put back.
#[derive(Clone, Debug)]
pub struct RedriveOrder {
    /// Of this project alone, whatever is selected.
    pub project_id: Option<String>,
    /// Which of them.
    pub selection: Selection,
    /// How many a second.
    pub rate_per_second: NonZeroU32,
    /// Also those that this instance has put back before.
    pub again: bool,
}

/// Which dead letters.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These.
    Ids(Vec<Place>),
    /// Everything that a query is about, on all of its pages.
    Matching(LetterQuery),
}

/// What has become of an order so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct RedriveReport {
    /// How many were selected.
    pub matched: u64,
    /// How many of them can be put back, as far as the index and the connections tell.
    pub redrivable: u64,
    /// How many are in a tier, acknowledged.
    pub redriven: u64,
    /// How many were not put back, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// How many the broker did not take; they can be tried again.
    pub failed: u64,
    /// Whether it has ended, and nobody and nothing stopped it before.
    pub is_done: bool,
}

/// Why a dead letter is not put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is none of that id in that project, or no longer.
    NotFound,
    /// It is no delivery, but a record that is no event.
    NoConnection,
    /// Its connection was deleted.
    ConnectionDeleted,
    /// Its connection is inactive: activate it first.
    ConnectionInactive,
    /// Its connection's record cannot be read: mend it first.
    ConnectionUnreadable,
    /// It is older than its connection wants.
    Expired,
    /// It was put back before.
    AlreadyRedriven,
    /// Its value is no event any more: the catalog or a limit was changed.
    NoEvent,
}

/// What is to be put back, as far as can be told without reading it.
struct Plan {
    chosen: BTreeSet<Place>,
    report: RedriveReport,
}

impl DeadLetters {
    /// What [`Self::redrive`] would do: nothing is read or written.
    #[must_use]
    pub fn dry_run(&self, order: &RedriveOrder) -> RedriveReport {
        RedriveReport { is_done: true, ..self.plan(order).report }
    }

    /// Puts dead letters back, and tells `progress` how far it is. `stop` ends it in order, before all is done: what was
    /// handed to the broker is waited for. Dropping the future ends it, too, but may leave some put back and not marked.
    ///
    /// # Errors
    /// If the topic cannot be read; what was done by then stays done, and `progress` has it.
    pub async fn redrive(
        &self,
        order: &RedriveOrder,
        progress: &watch::Sender<RedriveReport>,
        stop: &CancellationToken,
    ) -> Result<RedriveReport, LogError> {
        let Plan { chosen, report } = self.plan(order);
        progress.send_replace(report.clone());
        let (records, mut read) = mpsc::channel(READ_AHEAD);
        let (config, topic) = (self.parts.reader.clone(), Arc::clone(&self.parts.topic));
        let count = chosen.len() as u64;
        let reading = crate::admin::read_models::blocking(move || {
            let reader = Reader::open(&config, &topic)?;
            // It ends early when nobody takes them any more.
            read_chosen(&reader, &chosen, |record| records.blocking_send(record).is_ok())
        });
        let mut run = Run::new(self, order, report, progress);
        let putting = async {
            let mut seen = 0_u64;
            while let Some(Some(record)) = stop.run_until_cancelled(read.recv()).await {
                seen += 1;
                run.put_back(&record).await;
            }
            read.close();
            run.settle_all().await;
            seen
        };
        let (result, seen) = tokio::join!(reading, putting);
        let is_stopped = stop.is_cancelled() && seen < count;
        if result.is_ok() && !is_stopped {
            // What was not read is gone from the topic.
            run.refuse(Refusal::NotFound, count - seen);
            run.report.is_done = true;
        }
        progress.send_replace(run.report.clone());
        result.map(|()| run.report)
    }

    fn plan(&self, order: &RedriveOrder) -> Plan {
        let mut plan = Plan { chosen: BTreeSet::new(), report: RedriveReport::default() };
        let index = self.index();
        match &order.selection {
            Selection::Ids(ids) => {
                let unique: BTreeSet<_> = ids.iter().copied().collect();
                for id in unique {
                    self.choose(index.get(id), order, &mut plan);
                }
            }
            Selection::Matching(query) => {
                index
                    .matching(query)
                    .for_each(|letter| self.choose(Some(letter), order, &mut plan));
            }
        }
        plan.report.redrivable = plan.chosen.len() as u64;
        plan
    }

    fn choose(&self, letter: Option<&LetterSummary>, order: &RedriveOrder, plan: &mut Plan) {
        plan.report.matched += 1;
        let project = order.project_id.as_deref();
        let in_project = |letter: &&LetterSummary| {
            project.is_none_or(|project| letter.project_id.as_deref() == Some(project))
        };
        let refusal = match letter.filter(in_project) {
            None => Refusal::NotFound,
            Some(letter) => match self.refusal(letter, order) {
                Some(refusal) => refusal,
                None => {
                    plan.chosen.insert(letter.id);
                    return;
                }
            },
        };
        *plan.report.refused.entry(refusal).or_default() += 1;
    }

    /// Why it would come to nothing, as its connection is now.
    fn refusal(&self, letter: &LetterSummary, order: &RedriveOrder) -> Option<Refusal> {
        if letter.redriven_at_ms.is_some() && !order.again {
            return Some(Refusal::AlreadyRedriven);
        }
        let Some(key) = letter.connection() else { return Some(Refusal::NoConnection) };
        match self.parts.table.borrow().get(&key) {
            Lookup::Missing => Some(Refusal::ConnectionDeleted),
            Lookup::Inactive => Some(Refusal::ConnectionInactive),
            Lookup::Unreadable(_) => Some(Refusal::ConnectionUnreadable),
            Lookup::Active(connection) => {
                let recorded_at = Timestamp::from_millis(letter.origin_timestamp_ms.unwrap_or(0));
                let age = self.parts.clock.now().since(recorded_at);
                let is_over = connection.limits.max_age.is_some_and(|max_age| age > max_age);
                is_over.then_some(Refusal::Expired)
            }
        }
    }
}
