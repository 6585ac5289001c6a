//! What an instance's consumers do: poll, fan out, commit.

use std::time::Duration;

use super::broker::{Content, REJECTED};
use super::instance::Membership;
use super::scenario::{MAX_CONNECTIONS, PROJECTS, PROPS};
use super::{Happening, World};
use crate::engine::connection::ConnectionKey;
use crate::engine::delivery::{DeadLetterReason, Delivery, History};
use crate::engine::dispatcher::{Input, Rejected};
use crate::engine::event::{Origin, Partition, Position, Record};
use crate::engine::intake::Commit;
use crate::engine::table::Question;
use crate::engine::time::Timestamp;

/// A run of an instance that takes more turns than this without the time moving is a busy loop.
const MAX_TURNS: usize = 20_000;
/// The service's own.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

impl World {
    /// Lets an instance do all that it can do now.
    pub(super) fn pump(&mut self, i: usize) {
        for turn in 0.. {
            assert!(turn < MAX_TURNS, "instance {i} is in a busy loop");
            let has_read = self.poll(i);
            let has_acted = self.act(i);
            if !has_read && !has_acted && !self.hand_over(i) {
                break;
            }
        }
        self.sleep(i);
    }

    pub(super) fn wake(&mut self, i: usize) {
        let is_wanted = self.instances[i].wake_at == Some(self.now);
        if is_wanted && self.instances[i].membership != Membership::Gone {
            self.instances[i].wake_at = None;
            self.pump(i);
        }
    }

    pub(super) fn wake_owner(&mut self, partition: Partition) {
        let place = self.broker.place(partition);
        for i in 0..self.instances.len() {
            let instance = &self.instances[i];
            if instance.membership != Membership::Gone && instance.readings[place].is_some() {
                self.pump(i);
            }
        }
    }

    pub(super) fn read_table(&mut self, i: usize) {
        if self.instances[i].membership == Membership::Gone {
            return;
        }
        let table = self.table.clone();
        self.instances[i].tell_all(|| Input::Table(table.clone()), self.now);
        self.instances[i].table = table;
        self.pump(i);
    }

    /// When the instance must be asked again; that is never now.
    fn sleep(&mut self, i: usize) {
        let instance = &mut self.instances[i];
        let timeouts = instance.dispatchers.iter().filter_map(|dispatcher| {
            let timeout = dispatcher.next_timeout();
            assert!(timeout.is_none_or(|at| at > self.now), "instance {i} has a timeout now");
            timeout
        });
        let dues = [instance.events.next_due(), instance.retries.next_due()];
        let dues = dues.into_iter().flatten().filter(|&due| due > self.now);
        let Some(next) = timeouts.chain(dues).min() else { return };
        if instance.wake_at.is_none_or(|at| at > next) {
            instance.wake_at = Some(next);
            self.at(next, Happening::Wake(i));
        }
    }

    /// Reads at most one record of each partition; answers whether there was one.
    fn poll(&mut self, i: usize) -> bool {
        let mut has_read = false;
        for place in 0..self.broker.partitions.len() {
            let Some(reading) = self.instances[i].readings[place] else { continue };
            if reading.is_stopped || reading.place >= self.broker.logs[place].entries.len() {
                continue;
            }
            let partition = self.broker.partitions[place];
            if self.instances[i].intake(partition.source).may_poll(partition, self.now) {
                has_read |= self.read(i, place);
            }
        }
        has_read
    }

    /// Reads one record; answers whether it was taken up.
    fn read(&mut self, i: usize, place: usize) -> bool {
        let partition = self.broker.partitions[place];
        let instance = &mut self.instances[i];
        let reading = instance.readings[place].as_mut().expect("it is assigned");
        let entry = &self.broker.logs[place].entries[reading.place];
        let offset = entry.offset;
        if let Content::Parked { slot, .. } = &entry.content
            && slot.due > self.now
        {
            instance.intake(partition.source).hold(partition, slot.due);
            return false;
        }
        reading.place += 1;
        let intake = instance.intake(partition.source);
        intake.release_hold(partition);
        match intake.admit(partition, offset) {
            Some(position) => self.take_up(i, position),
            None => {
                let entry = self.broker.log(partition).at(offset);
                assert!(entry.is_committed, "{partition:?} {offset} is skipped and was open");
                self.commit_soon(i);
            }
        }
        true
    }

    fn take_up(&mut self, i: usize, position: Position) {
        let is_owner = self.group.is_owner(i, position.partition);
        let entry = self.broker.log(position.partition).at(position.offset);
        let is_over = entry.is_committed && is_owner;
        assert!(!is_over, "{position:?} was committed as settled and is read again");
        match &entry.content {
            Content::Malformed => self.reject(i, position),
            Content::Event { project, event } => {
                let (project, event) = (*project, event.clone());
                let recorded_at = event.record.origin.timestamp;
                let question = Question {
                    project: PROJECTS[project],
                    event: event.event,
                    channel: event.channel,
                    recorded_at,
                };
                let mut keys = Vec::new();
                self.instances[i].table.fan_out(&question, |key| keys.push(key.clone()));
                let deliveries = keys.into_iter().map(|connection| Delivery {
                    event: event.clone(),
                    connection,
                    position,
                    read_at: self.now,
                    due: recorded_at,
                    repeated: false,
                    history: History::default(),
                    waited_for: None,
                });
                self.hand_out(i, position, deliveries.collect());
            }
            Content::Parked { delivery, slot, reason } => {
                let delivery = Delivery {
                    position,
                    read_at: self.now,
                    due: slot.due,
                    repeated: false,
                    waited_for: Some(*reason),
                    ..(**delivery).clone()
                };
                self.hand_out(i, position, vec![delivery]);
            }
        }
        self.commit_soon(i);
    }

    fn hand_out(&mut self, i: usize, position: Position, deliveries: Vec<Delivery>) {
        let wanted: Vec<_> =
            deliveries.iter().map(|delivery| index_of(&delivery.connection)).collect();
        self.note(|| format!("i{i} reads {position:?} for {wanted:?}"));
        let entry = self.broker.log(position.partition).at(position.offset);
        let expected = wanted.iter().fold(0, |mask, connection| mask | 1 << connection);
        let is_again = std::mem::replace(&mut entry.was_read, true);
        if self.group.is_owner(i, position.partition) {
            entry.expected = Some(expected);
            (entry.dropped, entry.settled) = (0, 0);
            if let Content::Event { event, .. } = &entry.content {
                self.ledger.expect(event.record.origin.offset as usize, expected);
            }
        }
        if is_again {
            let doubled = deliveries.iter().map(|delivery| {
                (delivery.event.record.origin.offset as usize, index_of(&delivery.connection))
            });
            doubled.for_each(|(event, connection)| self.ledger.excuse(event, connection));
        }
        let bytes = deliveries.first().map_or(0, |delivery| delivery.event.size_bytes() as u64);
        let instance = &mut self.instances[i];
        instance.intake(position.partition.source).begin(position, wanted.len() as u32, bytes);
        for delivery in deliveries {
            let shard = delivery.connection.shard(instance.dispatchers.len());
            instance.dispatchers[shard].handle(Input::Delivery(delivery), self.now);
        }
    }

    fn reject(&mut self, i: usize, position: Position) {
        let origin = Origin {
            topic: PROJECTS[0].into(),
            partition: position.partition.number,
            offset: position.offset,
            timestamp: Timestamp::EPOCH,
        };
        let value = bytes::Bytes::from_static(b"{]");
        let record = Record { value, headers: Vec::new(), origin };
        let reason = DeadLetterReason::MalformedEvent;
        if self.group.is_owner(i, position.partition) {
            let entry = self.broker.log(position.partition).at(position.offset);
            (entry.expected, entry.settled) = (Some(REJECTED), 0);
        }
        let instance = &mut self.instances[i];
        instance.events.begin(position, 1, record.value.len() as u64);
        instance.dispatchers[0]
            .handle(Input::Reject(Rejected { record, position, reason }), self.now);
    }

    /// The periodic commit comes a second after there was something to commit.
    pub(super) fn commit_soon(&mut self, i: usize) {
        if !std::mem::replace(&mut self.instances[i].commit_is_due, true) {
            self.at(self.now + COMMIT_INTERVAL, Happening::Commit(i));
        }
    }

    pub(super) fn commit(&mut self, i: usize) {
        if self.instances[i].membership == Membership::Gone {
            return;
        }
        self.instances[i].commit_is_due = false;
        let instance = &self.instances[i];
        for commit in instance.events.commits().into_iter().chain(instance.retries.commits()) {
            let is_written = self.write_commit(i, &commit);
            if is_written && !(self.is_rough() && self.chance(0.1)) {
                let delay = self.millis(1, 150);
                self.at(self.now + delay, Happening::CommitAcknowledged(i, commit));
            } else {
                self.commit_soon(i);
            }
        }
    }

    pub(super) fn commit_acknowledged(&mut self, i: usize, commit: Commit) {
        let intake = self.instances[i].intake(commit.partition.source);
        // Acknowledgements overtake each other; an old one takes back what a newer one has told.
        let is_old = intake.watermark(commit.partition) != Some(commit.progress.offset);
        let is_partial = !commit.progress.metadata.is_empty();
        intake.committed(commit);
        if is_old || is_partial {
            self.commit_soon(i);
        }
    }

    /// Hands a commit to the broker, which refuses it of one who owns the partition no more; answers whether it stands.
    pub(super) fn write_commit(&mut self, i: usize, commit: &Commit) -> bool {
        let partition = commit.partition;
        let instance = &mut self.instances[i];
        let reading = instance.readings[self.broker.place(partition)].as_mut();
        let reading = reading.expect("only what is owned is committed");
        assert!(commit.progress.offset >= reading.watermark, "the watermark went back: {commit:?}");
        reading.watermark = commit.progress.offset;
        let is_lost = instance.membership == Membership::Lost
            || !self.group.is_owner(i, partition)
            || self.is_rough() && self.chance(0.1);
        self.note(|| format!("i{i} commits {commit:?}, lost: {is_lost}"));
        if !is_lost {
            self.broker.commit(partition, commit.progress.clone());
        }
        !is_lost
    }
}

/// Which connection a key belongs to.
pub(super) fn index_of(key: &ConnectionKey) -> usize {
    (0..MAX_CONNECTIONS).find(|&n| PROPS.keys[n] == *key).expect("no other connections exist")
}
