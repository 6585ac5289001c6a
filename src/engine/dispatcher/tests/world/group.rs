//! The group: who owns which partition, and how partitions change hands.

use std::collections::BTreeMap;
use std::time::Duration;

use super::instance::{HandOver, Instance, Membership, Reading};
use super::scenario::below;
use super::{Happening, Turn, World};
use crate::engine::dispatcher::Input;
use crate::engine::event::{Partition, Source};
use crate::engine::intake::Start;
use crate::engine::offsets::Progress;
use crate::engine::rate::Share;

/// How long a revoked partition is waited for.
const HAND_OVER_TIME: Duration = Duration::from_secs(5);
/// More instances are not needed to meet each other.
const MAX_INSTANCES: usize = 3;

/// Who has a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Held(usize),
    Releasing(usize),
}

#[derive(Debug)]
pub(super) struct Group {
    owners: BTreeMap<Partition, Owner>,
    /// How many instances there were at once.
    pub(super) peak: usize,
    /// An instance went on after the group had given it up: for that time the rate is beyond anybody's control.
    pub(super) had_zombie: bool,
    is_unbalanced: bool,
}

impl Group {
    pub(super) fn new(partitions: impl Iterator<Item = Partition>) -> Self {
        Self {
            owners: partitions.map(|partition| (partition, Owner::Nobody)).collect(),
            peak: 0,
            had_zombie: false,
            is_unbalanced: false,
        }
    }

    pub(super) fn is_owner(&self, i: usize, partition: Partition) -> bool {
        matches!(self.owners[&partition], Owner::Held(owner) | Owner::Releasing(owner) if owner == i)
    }

    fn held_by(&self, i: usize) -> Vec<Partition> {
        let held = self.owners.iter().filter(|(_, owner)| **owner == Owner::Held(i));
        held.map(|(&partition, _)| partition).collect()
    }
}

impl World {
    pub(super) fn join(&mut self) {
        let seed = (self.dice.throw() * 1e15) as u64;
        let mut instance = Instance::new(
            &self.scenario,
            &self.retry,
            &self.table,
            self.broker.logs.len(),
            (seed, self.now),
        );
        instance.tell_all(|| Input::Share(Share::none(self.now)), self.now);
        self.instances.push(instance);
        let alive = self.instances.iter().filter(|one| one.membership != Membership::Gone).count();
        self.group.peak = self.group.peak.max(alive);
        self.balance_soon();
    }

    pub(super) fn turn(&mut self, turn: Turn) {
        let joined = self.joined();
        if joined.is_empty() {
            return;
        }
        let chosen = joined[below(&mut self.dice, joined.len())];
        let is_alone = joined.len() == 1;
        self.note(|| format!("{turn:?} of i{chosen} of {joined:?}"));
        match turn {
            Turn::Join if joined.len() < MAX_INSTANCES => self.join(),
            Turn::Join => {}
            Turn::Move => {
                let held = self.group.held_by(chosen);
                if !held.is_empty() {
                    let one = held[below(&mut self.dice, held.len())];
                    self.release(chosen, &[one]);
                }
            }
            Turn::Leave => {
                self.instances[chosen].membership = Membership::Leaving;
                self.release(chosen, &self.group.held_by(chosen));
            }
            Turn::Crash => {
                self.instances[chosen].membership = Membership::Gone;
                let session = self.millis(1_000, 5_000);
                self.at(self.now + session, Happening::Expire(chosen));
            }
            Turn::Lose => {
                self.instances[chosen].membership = Membership::Lost;
                self.group.had_zombie = true;
                let session = self.millis(1_000, 5_000);
                let ignorance = self.millis(0, 3_000);
                self.at(self.now + session, Happening::Expire(chosen));
                self.at(self.now + session + ignorance, Happening::Learn(chosen));
            }
        }
        if is_alone && matches!(turn, Turn::Leave | Turn::Crash) {
            self.join();
        }
    }

    /// Gives partitions out, and takes some from who has too many.
    pub(super) fn balance(&mut self) {
        self.group.is_unbalanced = false;
        let joined = self.joined();
        if joined.is_empty() {
            return;
        }
        let mut loads: Vec<_> = joined.iter().map(|&i| (self.group.held_by(i).len(), i)).collect();
        let free = self.group.owners.iter().filter(|(_, owner)| **owner == Owner::Nobody);
        let free: Vec<_> = free.map(|(&partition, _)| partition).collect();
        for partition in free {
            loads.sort_unstable();
            loads[0].0 += 1;
            self.assign(loads[0].1, partition);
        }
        loads.sort_unstable();
        let (fewest, most) = (loads[0].0, loads[loads.len() - 1]);
        for &i in &joined {
            self.instances[i].tell_share(self.now);
            self.pump(i);
        }
        if most.0 > fewest + 1 {
            let held = self.group.held_by(most.1);
            let surplus = ((most.0 - fewest) / 2).min(held.len());
            self.release(most.1, &held[..surplus]);
        }
    }

    /// The time of what has been waited for is over.
    pub(super) fn cut_off(&mut self, i: usize) {
        let instance = &mut self.instances[i];
        if instance.membership == Membership::Gone {
            return;
        }
        let late = instance.hand_overs.iter_mut().filter(|one| one.cut_at <= self.now);
        let mut epochs = Vec::new();
        for hand_over in late.filter(|one| !one.is_cut) {
            hand_over.is_cut = true;
            epochs.extend(hand_over.epochs.iter().copied());
        }
        for one in instance.tries.iter_mut().filter(|one| {
            epochs.contains(&(one.position.partition, one.position.epoch)) && !one.is_cut
        }) {
            one.is_cut = true;
            self.ledger.excuse(one.event, one.connection);
        }
        instance.tell_all(|| Input::CutOff(epochs.as_slice().into()), self.now);
        self.pump(i);
    }

    pub(super) fn expire(&mut self, i: usize) {
        for owner in self.group.owners.values_mut() {
            if matches!(*owner, Owner::Held(one) | Owner::Releasing(one) if one == i) {
                *owner = Owner::Nobody;
            }
        }
        self.balance_soon();
    }

    pub(super) fn learn(&mut self, i: usize) {
        let instance = &mut self.instances[i];
        if instance.membership == Membership::Gone {
            return;
        }
        let epochs = instance.epochs(&self.broker.partitions);
        instance.given_up.extend(epochs.iter().copied());
        epochs.iter().for_each(|&(one, _)| instance.intake(one.source).forget(one));
        instance.readings.fill(None);
        instance.hand_overs.clear();
        instance.membership = Membership::Joined;
        instance.tell_all(|| Input::Abandon(epochs.as_slice().into()), self.now);
        instance.tell_share(self.now);
        self.pump(i);
        self.balance_soon();
    }

    /// Ends the hand-overs that can end; answers whether there were any.
    pub(super) fn hand_over(&mut self, i: usize) -> bool {
        let is_rough = self.is_rough();
        let instance = &mut self.instances[i];
        let is_over =
            |one: &HandOver| instance.open_records(&one.epochs) == 0 || one.is_cut && is_rough;
        let places = 0..instance.hand_overs.len();
        let over: Vec<_> = places.filter(|&place| is_over(&instance.hand_overs[place])).collect();
        for &place in over.iter().rev() {
            let hand_over = self.instances[i].hand_overs.remove(place);
            for (partition, _) in hand_over.epochs {
                self.give(i, partition);
            }
            self.instances[i].tell_share(self.now);
            self.balance_soon();
        }
        let instance = &mut self.instances[i];
        if instance.membership == Membership::Leaving && instance.owned() == 0 {
            instance.membership = Membership::Gone;
        }
        !over.is_empty()
    }

    /// The last commit of a partition, and the end of its assignment.
    fn give(&mut self, i: usize, partition: Partition) {
        let commits = self.instances[i].intake(partition.source).commits();
        for commit in commits.into_iter().filter(|commit| commit.partition == partition) {
            self.write_commit(i, &commit);
        }
        self.instances[i].intake(partition.source).forget(partition);
        self.instances[i].readings[self.broker.place(partition)] = None;
        if self.group.owners[&partition] == Owner::Releasing(i) {
            self.group.owners.insert(partition, Owner::Nobody);
        }
    }

    fn assign(&mut self, i: usize, partition: Partition) {
        let index = self.broker.place(partition);
        let progress = self.broker.committed[index].clone();
        self.note(|| format!("i{i} gets {partition:?} at {progress:?}"));
        let log = &mut self.broker.logs[index];
        for entry in log.entries.iter_mut().filter(|entry| !entry.is_committed) {
            (entry.expected, entry.settled) = (None, 0);
        }
        let place = log.place(progress.offset);
        let watermark = progress.offset;
        let start = if progress == Progress::default() {
            Start::At(progress.offset)
        } else {
            Start::Committed(progress)
        };
        let instance = &mut self.instances[i];
        instance.intake(partition.source).assign(partition, start);
        instance.readings[index] = Some(Reading { place, is_stopped: false, watermark });
        self.group.owners.insert(partition, Owner::Held(i));
        self.commit_soon(i);
    }

    fn release(&mut self, i: usize, partitions: &[Partition]) {
        let instance = &mut self.instances[i];
        for partition in partitions {
            self.group.owners.insert(*partition, Owner::Releasing(i));
            let reading = &mut instance.readings[self.broker.place(*partition)];
            reading.as_mut().expect("it is held").is_stopped = true;
        }
        let epochs = instance.epochs(partitions);
        instance.given_up.extend(epochs.iter().copied());
        instance.tell_all(|| Input::Release(epochs.as_slice().into()), self.now);
        let cut_at = self.now + HAND_OVER_TIME;
        instance.hand_overs.push(HandOver { epochs, is_cut: false, cut_at });
        self.at(cut_at, Happening::CutOff(i));
        self.pump(i);
    }

    fn balance_soon(&mut self) {
        if !std::mem::replace(&mut self.group.is_unbalanced, true) {
            let delay = self.millis(10, 200);
            self.at(self.now + delay, Happening::Balance);
        }
    }

    fn joined(&self) -> Vec<usize> {
        let members = self.instances.iter().enumerate();
        members.filter(|(_, one)| one.membership == Membership::Joined).map(|(i, _)| i).collect()
    }

    /// Everything was read, settled and committed by somebody who will stay.
    pub(super) fn is_quiet(&self) -> bool {
        let is_done = |(partition, owner): (&Partition, &Owner)| {
            let Owner::Held(i) = *owner else { return false };
            let instance = &self.instances[i];
            let intake = match partition.source {
                Source::Events => &instance.events,
                Source::Retries => &instance.retries,
            };
            intake.watermark(*partition)
                == Some(self.broker.logs[self.broker.place(*partition)].end())
        };
        self.group.owners.iter().all(is_done)
    }

    pub(super) fn check_the_end(&self) {
        for (i, instance) in self.instances.iter().enumerate() {
            if instance.membership == Membership::Gone {
                continue;
            }
            let held: Vec<_> = instance.dispatchers.iter().map(|one| one.held()).collect();
            let open = [instance.events.open_deliveries(), instance.retries.open_deliveries()];
            assert!(held.iter().all(|&held| held == 0), "i{i} holds {held:?} at the end");
            assert_eq!(open, [0, 0], "i{i} has open deliveries at the end");
            assert!(!instance.has_commits(), "i{i} has commits at the end");
        }
        self.ledger.check_the_end();
    }
}
