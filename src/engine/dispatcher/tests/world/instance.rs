//! One instance of the service: two intakes, its dispatchers, and what the world knows of its attempts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scenario::Scenario;
use crate::engine::connection::ConnectionKey;
use crate::engine::dispatcher::{AttemptId, Dispatcher, Input, Terms};
use crate::engine::event::{Epoch, Partition, Position, Source};
use crate::engine::intake::{Budget, Intake};
use crate::engine::rate::Share;
use crate::engine::retry::RetryPolicy;
use crate::engine::table::ConnectionTable;
use crate::engine::time::Timestamp;

/// Where an instance stands in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    Joined,
    /// It gives everything up and then ends.
    Leaving,
    /// The group has given it up, and it does not know yet.
    Lost,
    /// It ended, or crashed with all its memory.
    Gone,
}

/// An attempt under way, as the network sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try {
    pub(super) shard: usize,
    pub(super) id: AttemptId,
    pub(super) position: Position,
    pub(super) event: usize,
    pub(super) connection: usize,
    /// Where it goes, if it began when all instances knew who else goes there.
    pub(super) host: Option<usize>,
    /// The engine waits for it no longer.
    pub(super) is_cut: bool,
}

/// Partitions that are being given up.
#[derive(Debug)]
pub(super) struct HandOver {
    pub(super) epochs: Vec<(Partition, Epoch)>,
    pub(super) is_cut: bool,
    pub(super) cut_at: Timestamp,
}

/// One assigned partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The place of the next record in the log.
    pub(super) place: usize,
    /// It is being given up and not polled any more.
    pub(super) is_stopped: bool,
    /// The watermark when it was looked at last.
    pub(super) watermark: i64,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) membership: Membership,
    pub(super) events: Intake,
    pub(super) retries: Intake,
    pub(super) dispatchers: Vec<Dispatcher>,
    pub(super) table: Arc<ConnectionTable>,
    /// What it reads of each partition, at the partition's place.
    pub(super) readings: Vec<Option<Reading>>,
    pub(super) tries: Vec<Try>,
    pub(super) hand_overs: Vec<HandOver>,
    /// Epochs that were given up or lost: nothing of them may be attempted any more.
    pub(super) given_up: BTreeMap<Partition, Epoch>,
    /// Revisions that its dispatchers have deactivated.
    pub(super) deactivated: Vec<(ConnectionKey, u64)>,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) commit_is_due: bool,
}

impl Instance {
    pub(super) fn new(
        scenario: &Scenario,
        retry: &RetryPolicy,
        table: &Arc<ConnectionTable>,
        partitions: usize,
        (seed, now): (u64, Timestamp),
    ) -> Self {
        let budget = Budget { deliveries: scenario.budget, bytes: 1 << 20 };
        let dispatchers = (0..scenario.shards).map(|shard| {
            let terms = Terms {
                retry: retry.clone(),
                max_in_flight: scenario.max_in_flight,
                max_held: scenario.max_held,
                host_cap: scenario.host_cap,
                shard,
                seed: seed.wrapping_add(shard as u64),
            };
            let mut dispatcher = Dispatcher::new(terms, now);
            dispatcher.handle(Input::Table(Arc::clone(table)), now);
            dispatcher
        });
        Self {
            membership: Membership::Joined,
            events: Intake::new(budget),
            retries: Intake::new(budget),
            dispatchers: dispatchers.collect(),
            table: Arc::clone(table),
            readings: vec![None; partitions],
            tries: Vec::new(),
            hand_overs: Vec::new(),
            given_up: BTreeMap::new(),
            deactivated: Vec::new(),
            wake_at: None,
            commit_is_due: false,
        }
    }

    pub(super) const fn intake(&mut self, source: Source) -> &mut Intake {
        match source {
            Source::Events => &mut self.events,
            Source::Retries => &mut self.retries,
        }
    }

    /// Tells every shard.
    pub(super) fn tell_all(&mut self, input: impl Fn() -> Input, now: Timestamp) {
        for dispatcher in &mut self.dispatchers {
            dispatcher.handle(input(), now);
        }
    }

    /// How many partitions it reads.
    pub(super) fn owned(&self) -> usize {
        self.readings.iter().flatten().count()
    }

    pub(super) fn tell_share(&mut self, now: Timestamp) {
        let (owned, total) = (self.owned() as u32, self.readings.len() as u32);
        let share = Share { owned, total, since: now };
        self.tell_all(|| Input::Share(share), now);
    }

    /// The epochs of these partitions, which are assigned.
    pub(super) fn epochs(&self, partitions: &[Partition]) -> Vec<(Partition, Epoch)> {
        self.events
            .assignment()
            .chain(self.retries.assignment())
            .filter(|(partition, _)| partitions.contains(partition))
            .collect()
    }

    pub(super) fn is_given_up(&self, position: Position) -> bool {
        self.given_up.get(&position.partition).is_some_and(|&last| position.epoch <= last)
    }

    pub(super) fn has_commits(&self) -> bool {
        !self.events.commits().is_empty() || !self.retries.commits().is_empty()
    }

    /// Records of these partitions that are not settled.
    pub(super) fn open_records(&self, epochs: &[(Partition, Epoch)]) -> usize {
        let partitions: Vec<_> = epochs.iter().map(|&(partition, _)| partition).collect();
        self.events.open_records(&partitions) + self.retries.open_records(&partitions)
    }

    /// Attempts to a host that the engine waits for, and that began when the host's crowd was known to all.
    pub(super) fn in_flight_to(&self, host: usize) -> usize {
        self.tries.iter().filter(|one| one.host == Some(host) && !one.is_cut).count()
    }

    /// Attempts of a connection that the engine waits for.
    pub(super) fn in_flight(&self, connection: usize) -> usize {
        self.tries.iter().filter(|one| one.connection == connection && !one.is_cut).count()
    }
}
