//! All that is known of one connection: by its users' records, and by the service itself.
//!
//! Decides which of them is in force. [`super::ConnectionTable`] holds a row for each connection; the admin API shows it.

use std::sync::Arc;

use super::{Deactivation, Entry, Lookup};
use crate::engine::connection::{Connection, Refusal, Status};

/// What is known of one connection.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// `None` while no readable record is known.
    known: Option<Arc<Connection>>,
    /// The newest record, if it cannot be read.
    refusal: Option<Arc<Refusal>>,
    deactivation: Option<Deactivation>,
    partition: Option<i32>,
}

impl Row {
    /// The newest record that could be read: what is in force.
    #[must_use]
    pub const fn known(&self) -> Option<&Arc<Connection>> {
        self.known.as_ref()
    }

    /// Why the newest record is not in force.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Arc<Refusal>> {
        self.refusal.as_ref()
    }

    /// Why the service itself keeps it from delivering.
    #[must_use]
    pub fn deactivation(&self) -> Option<&Deactivation> {
        let revision = self.known.as_ref()?.revision;
        self.deactivation.as_ref().filter(|note| note.revision == revision)
    }

    /// The partition of the connections topic in which its newest record stands.
    #[must_use]
    pub const fn partition(&self) -> Option<i32> {
        self.partition
    }

    /// The highest revision that anything says of it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let known = self.known.as_ref().map(|connection| connection.revision);
        let refused = self.refusal.as_ref().and_then(|refusal| refusal.revision);
        known.max(refused).unwrap_or(0)
    }

    /// Whether there is any record of it: the service's own note alone makes no connection.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.known.is_some() || self.refusal.is_some()
    }

    /// What an attempt may do.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        match (&self.known, &self.refusal) {
            (None, None) => Lookup::Missing,
            (None, Some(refusal)) => Lookup::Unreadable(refusal.filter),
            (Some(_), _) if self.deactivation().is_some() => Lookup::Inactive,
            (Some(connection), _) => match connection.status {
                Status::Active => Lookup::Active(Arc::clone(connection)),
                Status::Inactive => Lookup::Inactive,
            },
        }
    }

    pub(super) fn put(&mut self, entry: Entry) {
        match entry {
            Entry::Known(new) => {
                let is_older = self.known.as_ref().is_some_and(|old| new.revision < old.revision);
                if !is_older {
                    *self = Self { known: Some(new), refusal: None, ..std::mem::take(self) };
                }
            }
            Entry::Unreadable(refusal) => self.refusal = Some(refusal),
        }
    }

    pub(super) fn note(&mut self, deactivation: Option<Deactivation>) {
        self.deactivation = deactivation;
    }

    pub(super) fn locate(&mut self, partition: i32) {
        if self.is_there() {
            self.partition = Some(partition);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        !self.is_there() && self.deactivation.is_none()
    }
}
