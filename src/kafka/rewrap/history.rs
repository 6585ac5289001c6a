//! What the records of one connection mean together, in the order of their offsets.
//!
//! A rewrap writes a copy of a record while others may write, too. Compaction keeps the last record of a key, and that
//! must be what users wrote last. So every copy names what it is a copy of, and a copy that came too late is told apart
//! from a change:
//!
//! ```text
//! offset 10  revision 7              the truth
//! offset 11  revision 8              a user's change, now the truth
//! offset 12  revision 7, copy of 10  too late: 11 has to be written once more
//! offset 13  revision 8, copy of 11  the truth, and last
//! ```
//!
//! The log alone says so: a rewrap that was killed is mended by the next one.

use rdkafka::message::OwnedHeaders;

/// A record as it lies in its partition.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// `None` is a deletion.
    pub(super) value: Option<Vec<u8>>,
    /// Its headers without ours.
    pub(super) headers: OwnedHeaders,
    /// The revision that it names.
    pub(super) revision: Option<u64>,
    /// The offset of the record that it was copied from.
    pub(super) copy_of: Option<i64>,
}

impl Stored {
    /// The offset at which this was first written, by a user.
    pub(super) fn root(&self) -> i64 {
        self.copy_of.unwrap_or(self.offset)
    }
}

/// The records of one connection.
#[derive(Debug)]
pub(super) struct History {
    truth: Stored,
    last_offset: i64,
}

impl History {
    pub(super) const fn new(first: Stored) -> Self {
        Self { last_offset: first.offset, truth: first }
    }

    /// Takes the next record of the partition.
    pub(super) fn take(&mut self, next: Stored) {
        self.last_offset = next.offset;
        let replaces = match next.copy_of {
            Some(root) => root == self.truth.root(),
            None => !self.is_older(&next),
        };
        if replaces {
            self.truth = next;
        }
    }

    /// What users wrote last.
    pub(super) const fn truth(&self) -> &Stored {
        &self.truth
    }

    /// Whether compaction would keep it.
    pub(super) const fn ends_with_truth(&self) -> bool {
        self.last_offset == self.truth.offset
    }

    /// Whether a record names a lower revision than the truth does; what names none counts as new.
    fn is_older(&self, next: &Stored) -> bool {
        next.revision.zip(self.truth.revision).is_some_and(|(next, truth)| next < truth)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(offset: i64, revision: Option<u64>, copy_of: Option<i64>) -> Stored {
        let value = revision.map(|revision| revision.to_string().into_bytes());
        Stored { partition: 0, offset, value, headers: OwnedHeaders::new(), revision, copy_of }
    }

    /// The offset of the truth, and whether it is last.
    fn after(records: &[(Option<u64>, Option<i64>)]) -> (i64, bool) {
        let mut records = records
            .iter()
            .zip(10..)
            .map(|(&(revision, copy_of), offset)| stored(offset, revision, copy_of));
        let mut history = History::new(records.next().unwrap());
        records.for_each(|record| history.take(record));
        (history.truth().offset, history.ends_with_truth())
    }

    #[test]
    fn a_copy_is_the_truth_unless_somebody_wrote_in_between() {
        assert_eq!(after(&[(Some(7), None)]), (10, true));
        assert_eq!(after(&[(Some(7), None), (Some(7), Some(10))]), (11, true));
        assert_eq!(after(&[(Some(7), None), (Some(8), None), (Some(7), Some(10))]), (11, false));
        assert_eq!(after(&[(Some(7), None), (None, None), (Some(7), Some(10))]), (11, false));
        let mended = [(Some(7), None), (Some(8), None), (Some(7), Some(10)), (Some(8), Some(11))];
        assert_eq!(after(&mended), (13, true));
        let deleted = [(Some(7), None), (None, None), (Some(7), Some(10)), (None, Some(11))];
        assert_eq!(after(&deleted), (13, true));
    }

    #[test]
    fn two_rewraps_at_once_are_one() {
        let copies = [(Some(7), None), (Some(7), Some(10)), (Some(7), Some(10))];
        assert_eq!(after(&copies), (12, true));
    }

    #[test]
    fn a_lower_revision_is_not_the_truth_unless_the_connection_was_deleted() {
        assert_eq!(after(&[(Some(8), None), (Some(7), None)]), (10, false));
        assert_eq!(after(&[(Some(8), None), (None, None), (Some(1), None)]), (12, true));
        assert_eq!(after(&[(Some(8), None), (Some(8), None)]), (11, true));
    }

    #[test]
    fn a_copy_whose_original_was_compacted_away_is_the_truth() {
        assert_eq!(after(&[(Some(7), Some(3)), (Some(7), Some(3))]), (11, true));
    }

    proptest! {
        #[test]
        fn copies_at_any_time_never_hide_what_users_wrote(
            writes in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..30),
        ) {
            let mut users = vec![stored(0, Some(0), None)];
            let mut history = History::new(users[0].clone());
            for ((is_copy, which), offset) in writes.into_iter().zip(1..) {
                let next = if is_copy {
                    let original = which.get(&users);
                    stored(offset, original.revision, Some(original.offset))
                } else {
                    let next = stored(offset, Some(users.len() as u64), None);
                    users.push(next.clone());
                    next
                };
                history.take(next);
            }
            let newest = users.last().unwrap();
            prop_assert_eq!(history.truth().root(), newest.offset);
            prop_assert_eq!(history.truth().revision, newest.revision);
            let truth = history.truth().clone();
            history.take(Stored { offset: 1_000, copy_of: Some(truth.root()), ..truth });
            prop_assert!(history.ends_with_truth());
        }
    }
}
