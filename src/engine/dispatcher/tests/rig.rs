//! One dispatcher on a bench: told what happens, asked what it wants.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::connection::{Connection, ConnectionKey};
use crate::engine::delivery::{Delivery, WaitReason};
use crate::engine::dispatcher::{
    Action, Attempt, AttemptId, Destination, Dispatcher, Ending, Input, Publication, Subject, Terms,
};
use crate::engine::event::{Epoch, Partition, Position, Source};
use crate::engine::fixtures::{delivery, event};
use crate::engine::gate::HostCap;
use crate::engine::outcome::{AttemptResult, Fault};
use crate::engine::rate::Share;
use crate::engine::retry::RetryPolicy;
use crate::engine::table::{ConnectionTable, Entry};
use crate::engine::time::Timestamp;

/// When every example begins; the share was given long before, so that all buckets are full.
pub(super) const START: Timestamp = Timestamp::from_secs(1_000_000);
/// The partition that fresh deliveries are read from.
pub(super) const EVENTS: Partition = Partition { source: Source::Events, topic: 0, number: 0 };

/// A dispatcher with a clock and a table of its own.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) dispatcher: Dispatcher,
    pub(super) now: Timestamp,
    pub(super) table: ConnectionTable,
    next_offset: i64,
}

impl Rig {
    /// With tiers of 5 s, 30 s and 2 min, and these connections.
    pub(super) fn new(connections: impl IntoIterator<Item = Connection>) -> Self {
        Self::with_terms(connections, |_| ())
    }

    pub(super) fn with_terms(
        connections: impl IntoIterator<Item = Connection>,
        change: impl FnOnce(&mut Terms),
    ) -> Self {
        let mut terms = Terms {
            retry: policy(&[5, 30, 120]),
            max_in_flight: 10_000,
            max_held: 100_000,
            host_cap: HostCap { rate_per_second: NonZeroU32::MAX, max_in_flight: NonZeroU32::MAX },
            shard: 0,
            seed: 7,
        };
        change(&mut terms);
        let mut rig = Self {
            dispatcher: Dispatcher::new(terms, START),
            now: START,
            table: ConnectionTable::default(),
            next_offset: 0,
        };
        rig.tell(Input::Share(Share::whole(START - Duration::from_hours(1))));
        rig.change_table(|table| connections.into_iter().for_each(|one| put(table, one)));
        rig
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.dispatcher.handle(input, self.now);
    }

    pub(super) fn change_table(&mut self, change: impl FnOnce(&mut ConnectionTable)) {
        change(&mut self.table);
        self.tell(Input::Table(Arc::new(self.table.clone())));
    }

    /// A fresh delivery for a connection is read now.
    pub(super) fn deliver(&mut self, key: &str) {
        let delivery = self.fresh(key);
        self.tell(Input::Delivery(delivery));
    }

    /// A delivery as it would be read now.
    pub(super) fn fresh(&mut self, key: &str) -> Delivery {
        let position = Position { partition: EVENTS, epoch: Epoch(1), offset: self.next_offset };
        self.next_offset += 1;
        delivery(&event(&format!("e{}", position.offset), self.now), key, position, self.now)
    }

    /// A parked delivery is due and read now.
    pub(super) fn read_again(&mut self, parked: Delivery, reason: WaitReason) {
        let position = self.fresh("1/a").position;
        self.tell(Input::Delivery(Delivery {
            position,
            read_at: self.now,
            due: self.now,
            repeated: false,
            waited_for: Some(reason),
            ..parked
        }));
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Everything that is wanted now.
    pub(super) fn actions(&mut self) -> Vec<Action> {
        let now = self.now;
        std::iter::from_fn(|| self.dispatcher.poll_action(now)).collect()
    }

    /// The attempts that are wanted now, and nothing else.
    pub(super) fn attempts(&mut self) -> Vec<Attempt> {
        let attempt = |action| {
            let Action::Attempt(attempt) = action else { panic!("{action:?} is no attempt") };
            attempt
        };
        self.actions().into_iter().map(attempt).collect()
    }

    /// The one attempt that is wanted now.
    pub(super) fn attempt(&mut self) -> Attempt {
        let mut attempts = self.attempts();
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        attempts.remove(0)
    }

    pub(super) fn answer(&mut self, id: AttemptId, result: AttemptResult) {
        self.tell(Input::Answered(id, result));
    }

    /// Makes the one attempt that is wanted now.
    pub(super) fn make_attempt(&mut self, result: AttemptResult) -> u32 {
        let attempt = self.attempt();
        self.answer(attempt.id, result);
        attempt.number
    }

    /// The deliveries that are to be written now, and nothing else.
    pub(super) fn publications(&mut self) -> Vec<(Delivery, Destination)> {
        let publication = |action| {
            let Action::Publish(Publication { subject: Subject::Delivery(delivery), destination }) =
                action
            else {
                panic!("{action:?} writes no delivery")
            };
            (delivery, destination)
        };
        self.actions().into_iter().map(publication).collect()
    }

    /// The one delivery that is to be written now.
    pub(super) fn publication(&mut self) -> (Delivery, Destination) {
        let mut publications = self.publications();
        assert_eq!(publications.len(), 1, "{publications:?}");
        publications.remove(0)
    }

    /// The one delivery that is to wait in a tier now: for what, and how long.
    pub(super) fn parked(&mut self) -> (Delivery, WaitReason, Duration) {
        let (delivery, destination) = self.publication();
        let Destination::Tier(slot, reason) = destination else {
            panic!("{destination:?} is no tier")
        };
        (delivery, reason, slot.due.since(self.now))
    }

    /// How the deliveries ended that end now, and nothing else.
    pub(super) fn endings(&mut self) -> Vec<Ending> {
        let ending = |action| {
            let Action::Settle(_, ending) = action else { panic!("{action:?} settles nothing") };
            ending
        };
        self.actions().into_iter().map(ending).collect()
    }

    pub(super) fn lanes(&mut self) -> usize {
        self.dispatcher.snapshot().lanes.len()
    }
}

pub(super) fn policy(secs: &[u64]) -> RetryPolicy {
    let delays: Vec<_> = secs.iter().copied().map(Duration::from_secs).collect();
    RetryPolicy::new(&delays).unwrap()
}

pub(super) fn put(table: &mut ConnectionTable, connection: Connection) {
    table.put(&connection.key.clone(), Entry::Known(Arc::new(connection)));
}

pub(super) fn key(text: &str) -> ConnectionKey {
    ConnectionKey::parse(text).unwrap()
}

pub(super) const fn status(status: u16) -> AttemptResult {
    AttemptResult::Answered { status, retry_after: None }
}

pub(super) fn throttled(secs: u64) -> AttemptResult {
    AttemptResult::Answered { status: 429, retry_after: Some(secs.to_string()) }
}

/// No byte of an answer came.
pub(super) const fn silence(fault: Fault) -> AttemptResult {
    AttemptResult::Failed { fault, answer_begun: false }
}
