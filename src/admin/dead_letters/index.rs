//! What the dead letters' headers say, in bounded memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{LetterQuery, LetterSummary};
use crate::admin::place::{Page, Place};

/// Dead letters that are kept, at some 400 bytes each: 40 MiB.
pub(super) const KEPT: usize = 100_000;

/// The newest dead letters by their place.
#[derive(Debug, Default)]
pub(super) struct Index {
    letters: BTreeMap<Place, LetterSummary>,
    is_cut: bool,
}

impl Index {
    pub(super) fn put(&mut self, letter: LetterSummary) {
        // Read again after a fault of the reader: what is known of it stays.
        self.letters.entry(letter.id).or_insert(letter);
        if self.letters.len() > KEPT {
            self.letters.pop_first();
            self.is_cut = true;
        }
    }

    pub(super) fn get(&self, id: Place) -> Option<&LetterSummary> {
        self.letters.get(&id)
    }

    pub(super) fn note_redriven(&mut self, id: Place, at_ms: u64) {
        if let Some(letter) = self.letters.get_mut(&id) {
            letter.redriven_at_ms = Some(at_ms);
        }
    }

    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) fn page(&self, query: &LetterQuery) -> Page<LetterSummary> {
        let before = |place: Place| query.cursor.is_none_or(|cursor| place < cursor);
        let found = self.matching(query).rev().filter(|letter| before(letter.id));
        Page::of(found.map(|letter| (letter.id, letter.clone())), query.limit)
    }

    /// Everything that a query is about on all of its pages, the oldest first.
    pub(super) fn matching<'a>(
        &'a self,
        query: &'a LetterQuery,
    ) -> impl DoubleEndedIterator<Item = &'a LetterSummary> {
        let place = |at_ms| Place { at_ms, partition: 0, offset: 0 };
        let (from_ms, to_ms) = (query.from_ms.unwrap_or(0), query.to_ms.unwrap_or(u64::MAX));
        let times = (Bound::Included(place(from_ms.min(to_ms))), Bound::Excluded(place(to_ms)));
        let same = |wanted: Option<&str>, found: Option<&str>| {
            wanted.is_none_or(|wanted| found == Some(wanted))
        };
        self.letters.range(times).map(|(_, letter)| letter).filter(move |letter| {
            let project = letter.project_id.as_deref();
            let connection = query.connection.as_ref();
            query.scope.covers(project)
                && same(query.reason.as_deref(), Some(&*letter.reason))
                && same(connection.map(|key| key.project()), project)
                && same(connection.map(|key| key.connection()), letter.connection_id.as_deref())
        })
    }
}
