//! The last attempts of every connection, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::rates::{Counts, Rates};
use super::{AttemptQuery, AttemptSummary};
use crate::admin::place::{Page, Place};
use crate::engine::connection::ConnectionKey;
use crate::kafka::record::attempt::AttemptOutcome;

/// Attempts of one connection that are kept: what somebody would page through.
pub(super) const KEPT_OF_ONE: usize = 200;
/// Attempts that are kept in all, at about half a KiB each: 50 MiB.
pub(super) const KEPT: usize = 100_000;
/// A connection without an attempt for a day is forgotten; it is looked for at every so many attempts.
const SWEEP: u32 = 10_000;

/// Attempts by their place, and by their connection.
#[derive(Debug, Default)]
pub(super) struct Index {
    all: BTreeMap<Place, Arc<AttemptSummary>>,
    connections: BTreeMap<ConnectionKey, OfOne>,
    since_sweep: u32,
}

#[derive(Debug, Default)]
struct OfOne {
    places: BTreeSet<Place>,
    counts: Counts,
}

impl Index {
    pub(super) fn put(&mut self, summary: Arc<AttemptSummary>) {
        let line = &summary.line;
        let key = ConnectionKey::parse(&format!("{}/{}", line.project_id, line.connection_id));
        let Some(key) = key else { return };
        // Read again after a fault of the reader: it is counted once.
        if self.all.contains_key(&summary.id) {
            return;
        }
        let of_one = self.connections.entry(key).or_default();
        match line.outcome {
            AttemptOutcome::OurFault => {}
            AttemptOutcome::Delivered => of_one.counts.add(line.at_ms, line.stands_for, 0),
            AttemptOutcome::Status
            | AttemptOutcome::Dns
            | AttemptOutcome::Connect
            | AttemptOutcome::Tls
            | AttemptOutcome::Timeout
            | AttemptOutcome::Reset
            | AttemptOutcome::Protocol
            | AttemptOutcome::Denied
            | AttemptOutcome::Panic
            | AttemptOutcome::Unknown => of_one.counts.add(line.at_ms, 0, line.stands_for),
        }
        of_one.places.insert(summary.id);
        let surplus = (of_one.places.len() > KEPT_OF_ONE).then(|| of_one.places.pop_first());
        let newest_ms = line.at_ms;
        self.all.insert(summary.id, summary);
        if let Some(oldest) = surplus.flatten() {
            self.all.remove(&oldest);
        }
        if self.all.len() > KEPT
            && let Some((place, oldest)) = self.all.pop_first()
        {
            self.forget(place, &oldest);
        }
        self.sweep(newest_ms);
    }

    fn forget(&mut self, place: Place, summary: &AttemptSummary) {
        let line = &summary.line;
        let key = ConnectionKey::parse(&format!("{}/{}", line.project_id, line.connection_id));
        if let Some(of_one) = key.and_then(|key| self.connections.get_mut(&key)) {
            of_one.places.remove(&place);
        }
    }

    fn sweep(&mut self, now_ms: u64) {
        self.since_sweep += 1;
        if self.since_sweep < SWEEP {
            return;
        }
        self.since_sweep = 0;
        self.connections
            .retain(|_, of_one| !of_one.places.is_empty() || !of_one.counts.is_over(now_ms));
    }

    pub(super) fn page(&self, query: &AttemptQuery) -> Page<Arc<AttemptSummary>> {
        let end = query.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let wanted = |place: &Place, line: &super::AttemptLine| {
            query.to_ms.is_none_or(|to| place.at_ms < to)
                && query.outcome.is_none_or(|outcome| outcome.takes(line.outcome))
                && query.project_id.as_deref().is_none_or(|project| project == &*line.project_id)
        };
        let is_young = |place: &Place| query.from_ms.is_none_or(|from| place.at_ms >= from);
        let found = |summary: &Arc<AttemptSummary>| {
            wanted(&summary.id, &summary.line).then(|| (summary.id, Arc::clone(summary)))
        };
        let Some(key) = &query.connection else {
            let all = self.all.range((Bound::Unbounded, end)).rev();
            let young = all.take_while(|(place, _)| is_young(place));
            return Page::of(young.filter_map(|(_, summary)| found(summary)), query.limit);
        };
        let places = self.connections.get(key).into_iter();
        let places = places.flat_map(|of_one| of_one.places.range((Bound::Unbounded, end)).rev());
        let young = places.take_while(|place| is_young(place));
        let summaries = young.filter_map(|place| self.all.get(place));
        Page::of(summaries.filter_map(found), query.limit)
    }

    pub(super) fn rates(&self, connection: &ConnectionKey, now_ms: u64) -> Option<Rates> {
        Some(self.connections.get(connection)?.counts.rates(now_ms))
    }
}
