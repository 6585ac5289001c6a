//! What an instance's dispatchers want done: attempts, records, settlements. Every action is checked before it is
//! carried out.

use super::broker::{Content, REJECTED};
use super::consuming::index_of;
use super::instance::{Membership, Try};
use super::scenario::{MAX_CONNECTIONS, PROPS, host_of};
use super::{Happening, World};
use crate::engine::dispatcher::{
    Action, Attempt, AttemptId, Destination, Ending, Input, Publication, Subject,
};
use crate::engine::event::{Partition, Position, Source};
use crate::engine::intake::Settlement;
use crate::engine::lane::DropReason;
use crate::engine::outcome::AttemptResult;
use crate::engine::table::Lookup;

/// More actions than this without the time moving are a busy loop.
const MAX_ACTIONS: usize = 20_000;

impl World {
    /// Carries out what the dispatchers of an instance want now; answers whether it was anything.
    pub(super) fn act(&mut self, i: usize) -> bool {
        let mut actions = 0;
        for shard in 0..self.scenario.shards {
            while let Some(action) = self.instances[i].dispatchers[shard].poll_action(self.now) {
                self.carry_out(i, shard, action);
                actions += 1;
                assert!(actions < MAX_ACTIONS, "i{i} never stops acting");
            }
        }
        actions > 0
    }

    fn carry_out(&mut self, i: usize, shard: usize, action: Action) {
        self.note(|| format!("i{i} {}", describe(&action)));
        match action {
            Action::Attempt(attempt) => self.attempt(i, shard, &attempt),
            Action::Publish(publication) => {
                self.mark([2, i as u64, shard as u64, place_of(&publication.subject) as u64]);
                let delay =
                    if self.chance(0.04) { self.millis(500, 8_000) } else { self.millis(1, 60) };
                self.at(self.now + delay, Happening::Append(i, shard, publication));
            }
            Action::Settle(settlement, ending) => self.settle(i, shard, settlement, ending),
            Action::Deactivate { key, revision, reason } => {
                self.mark([4, i as u64, index_of(&key) as u64, revision]);
                let delay = self.millis(5, 300);
                let connection = index_of(&key);
                self.at(self.now + delay, Happening::Deactivate(connection, revision, reason));
                self.instances[i].deactivated.push((key, revision));
            }
        }
    }

    fn attempt(&mut self, i: usize, shard: usize, attempt: &Attempt) {
        let one = self.check_attempt(i, shard, attempt);
        self.mark([1, i as u64, one.event as u64, one.connection as u64]);
        self.instances[i].tries.push(one);
        let timeout = attempt.connection.limits.timeout;
        let (delay, result) = self.receivers[one.connection].answer(timeout, &mut self.dice);
        self.at(self.now + delay, Happening::Answer(i, shard, attempt.id, result));
    }

    fn check_attempt(&mut self, i: usize, shard: usize, attempt: &Attempt) -> Try {
        let instance = &self.instances[i];
        let (key, revision) = (&attempt.connection.key, attempt.connection.revision);
        let connection = index_of(key);
        let event = attempt.event.record.origin.offset as usize;
        let delivery = &instance.dispatchers[shard].attempts.delivery(attempt.id);
        let what = format_args!("e{event} for c{connection}").to_string();
        assert!(delivery.due <= self.now, "{what} is attempted before {}", delivery.due);
        assert!(!instance.is_given_up(delivery.position), "{what} was given up");
        let Lookup::Active(current) = instance.table.get(key) else {
            panic!("{what} is attempted for a connection that is not active")
        };
        assert_eq!(current.revision, revision, "{what} is attempted with an old revision");
        let is_deactivated = instance.deactivated.contains(&(key.clone(), revision));
        assert!(!is_deactivated, "{what} is attempted for a deactivated revision");
        let filter = self.scenario.roles[connection].filter;
        let is_wanted = filter.matches(attempt.event.event, attempt.event.channel);
        assert!(is_wanted, "{what} is attempted and not wanted");
        let window = attempt.connection.limits.max_in_flight.get() as usize;
        let in_flight = instance.in_flight(connection);
        assert!(in_flight < window, "{what} is attempted beside {in_flight} others");
        if !self.group.had_zombie {
            self.ledger.attempt(connection, self.group.peak, self.now);
        }
        let position = delivery.position;
        let host = self.check_host(i, connection, revision);
        Try { shard, id: attempt.id, position, event, connection, host, is_cut: false }
    }

    /// The host's cap holds over all connections, shards and instances, once everybody knows who is there.
    fn check_host(&mut self, i: usize, connection: usize, revision: u64) -> Option<usize> {
        let host = host_of(&self.scenario.roles[connection], revision);
        if !self.ledger.knows_hosts(self.now) {
            return None;
        }
        let cap = self.scenario.host_cap;
        // Each shard may have one where its part would be none.
        let most = cap.max_in_flight.get() as usize + self.scenario.shards - 1;
        let in_flight = self.instances[i].in_flight_to(host);
        assert!(in_flight < most, "i{i} calls host {host} beside {in_flight} others");
        if !self.group.had_zombie {
            let name = PROPS.endpoints[host].host();
            let asked = self.table.burdens(name, 0).1.rate_per_second;
            let is_crowded = asked > cap.rate_per_second.get().into();
            let passers = if is_crowded { self.scenario.shards } else { MAX_CONNECTIONS };
            // Where there is no gate, the connections' bursts may come at once: no more than the cap for a second.
            let saved_secs = if is_crowded { 0.1 } else { 1.0 };
            self.ledger.attempt_to_host(host, saved_secs, self.group.peak * passers, self.now);
        }
        Some(host)
    }

    pub(super) fn answer(&mut self, i: usize, shard: usize, id: AttemptId, result: AttemptResult) {
        let instance = &mut self.instances[i];
        let place = instance.tries.iter().position(|one| one.shard == shard && one.id == id);
        let one = instance.tries.swap_remove(place.expect("an attempt is answered once"));
        let has_arrived = matches!(result, AttemptResult::Answered { status: 200..=299, .. });
        if has_arrived {
            self.ledger.arrive(one.event, one.connection);
        }
        if instance.membership == Membership::Gone {
            return;
        }
        let held = instance.dispatchers[shard].held();
        instance.dispatchers[shard].handle(Input::Answered(id, result), self.now);
        if one.is_cut {
            let still = instance.dispatchers[shard].held();
            assert_eq!(held, still, "an answer after the cut-off is ignored");
        } else if has_arrived {
            self.end(one.position, 1 << one.connection);
        }
        self.pump(i);
    }

    pub(super) fn append(&mut self, i: usize, shard: usize, publication: Publication) {
        let is_gone = self.instances[i].membership == Membership::Gone;
        if is_gone && self.chance(0.5) {
            return;
        }
        match (&publication.subject, publication.destination) {
            (Subject::Rejected(_), _) => {}
            (Subject::Delivery(delivery), Destination::DeadLetters(_)) => {
                let event = delivery.event.record.origin.offset as usize;
                self.ledger.end(event, index_of(&delivery.connection));
            }
            (Subject::Delivery(delivery), Destination::Tier(slot, reason)) => {
                let delivery = Box::new(delivery.clone());
                let partition = Partition {
                    source: Source::Retries,
                    topic: slot.tier.0,
                    number: slot.partition,
                };
                let gap = i64::from(self.chance(0.1));
                let content = Content::Parked { delivery, slot, reason };
                self.broker.log(partition).append(content, gap);
                self.wake_owner(partition);
            }
        }
        let delay = if self.chance(0.02) { self.millis(500, 4_000) } else { self.millis(1, 60) };
        self.at(self.now + delay, Happening::Acknowledge(i, shard, publication));
    }

    pub(super) fn acknowledge(&mut self, i: usize, shard: usize, publication: Publication) {
        if self.instances[i].membership == Membership::Gone {
            return;
        }
        match &publication.subject {
            Subject::Rejected(rejected) => self.end(rejected.position, REJECTED),
            Subject::Delivery(delivery) => {
                self.end(delivery.position, 1 << index_of(&delivery.connection));
            }
        }
        self.instances[i].dispatchers[shard].handle(Input::Published(publication), self.now);
        self.pump(i);
    }

    fn settle(&mut self, i: usize, shard: usize, settlement: Settlement, ending: Ending) {
        let position = settlement.position;
        self.mark([3, i as u64, shard as u64, position.offset as u64]);
        let is_given_up = self.instances[i].is_given_up(position);
        match ending {
            Ending::Dropped(reason) => self.drop_one(i, shard, position, reason),
            Ending::Abandoned => assert!(is_given_up, "{position:?} is abandoned and was not lost"),
            Ending::Delivered(_) | Ending::Retried | Ending::Parked | Ending::DeadLettered(_) => {}
        }
        let current = (position.partition, position.epoch);
        let is_current = self.instances[i].epochs(&[position.partition]).contains(&current);
        if is_current && self.group.is_owner(i, position.partition) {
            self.broker.log(position.partition).at(position.offset).settled += 1;
        }
        self.instances[i].intake(position.partition.source).settle(settlement);
        self.commit_soon(i);
    }

    /// A delivery may be dropped only if one that was expected is wanted no more.
    fn drop_one(&mut self, i: usize, shard: usize, position: Position, reason: DropReason) {
        if self.instances[i].is_given_up(position) || !self.group.is_owner(i, position.partition) {
            return;
        }
        let instance = &self.instances[i];
        let entry = self.broker.log(position.partition).at(position.offset);
        let is_unwanted = |connection: &usize| match instance.table.get(&PROPS.keys[*connection]) {
            Lookup::Missing => reason == DropReason::ConnectionDeleted,
            Lookup::Active(_) => reason == DropReason::NoMatch,
            Lookup::Inactive | Lookup::Unreadable(_) => false,
        };
        let expected = entry.expected.expect("it was read");
        let unwanted: Vec<_> = (0..MAX_CONNECTIONS)
            .filter(|&connection| expected >> connection & 1 == 1)
            .filter(|&connection| PROPS.keys[connection].shard(self.scenario.shards) == shard)
            .filter(is_unwanted)
            .collect();
        assert!(!unwanted.is_empty(), "{position:?} is dropped as {reason:?}: {entry:?}");
        entry.dropped += 1;
        match &entry.content {
            Content::Event { event, .. } => {
                self.ledger.drop_one(event.record.origin.offset as usize);
            }
            Content::Parked { delivery, .. } => {
                self.ledger.end(delivery.event.record.origin.offset as usize, unwanted[0]);
            }
            Content::Malformed => panic!("a record that is no event is dropped"),
        }
    }

    /// A delivery is safe: it has arrived, or it is written down elsewhere.
    fn end(&mut self, position: Position, connection: u16) {
        self.broker.log(position.partition).at(position.offset).done |= connection;
    }
}

fn place_of(subject: &Subject) -> i64 {
    match subject {
        Subject::Delivery(delivery) => delivery.position.offset,
        Subject::Rejected(rejected) => rejected.position.offset,
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::Attempt(attempt) => {
            format!(
                "attempts {} for {} ({})",
                attempt.event.id, attempt.connection.key, attempt.number
            )
        }
        Action::Publish(Publication { subject: Subject::Delivery(delivery), destination }) => {
            let (event, history) = (&delivery.event.id, &delivery.history);
            format!("publishes {event} for {} to {destination:?}: {history:?}", delivery.connection)
        }
        Action::Publish(Publication { subject: Subject::Rejected(_), .. }) => "rejects".to_owned(),
        Action::Settle(settlement, ending) => {
            format!("settles {:?}: {ending:?}", settlement.position)
        }
        Action::Deactivate { key, revision, reason } => {
            format!("deactivates {key} {revision}: {reason:?}")
        }
    }
}
