//! Taking partitions over and giving them up.
//!
//! *Assign* reads what the group has committed, restores the trackers under new epochs and starts from explicit
//! offsets. *Revoke* parks what is queued, waits for what is under way, commits with metadata, and forgets: the next
//! owner repeats nothing. *Lost* forgets without a commit, for somebody else may own the partitions already.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::Reader;
use super::context::Rebalance;
use crate::engine::dispatcher::Input;
use crate::engine::event::{Epoch, Partition};
use crate::engine::intake::Start;
use crate::engine::offsets::Progress;
use crate::failpoint;

/// How long a revoke may wait for what is under way.
const REVOKE_GRACE: Duration = Duration::from_secs(5);
/// So long before the end of a grace, what is still under way is cut off and parked; the rest is for the writing.
const CUT_OFF_MARGIN: Duration = Duration::from_secs(1);
/// How long the last commit of a partition may take.
const LAST_COMMIT: Duration = Duration::from_secs(10);
/// What a group on the move is given before the commit is tried again.
const MOMENT: Duration = Duration::from_millis(50);
/// How long one question to the broker may take, and the pause before it is asked again.
const QUESTION: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
/// How long librdkafka is served after the last word to it.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long the group may take to take the last partitions.
const LEAVE: Duration = Duration::from_secs(5);

impl Reader {
    pub(super) fn assign(&mut self, list: &TopicPartitionList) {
        self.metrics.kafka_rebalances_total.with_label_values(&["assigned"]).inc();
        failpoint::kill("in-rebalance");
        let Some(starts) = self.starts(list) else {
            // Asked to stop meanwhile. Librdkafka still waits for the word; nothing of these is read.
            return self.accept(list);
        };
        let mut explicit = TopicPartitionList::with_capacity(starts.len());
        for (partition, start) in starts {
            let topic = &self.topics[usize::from(partition.topic)];
            let offset = Offset::Offset(start.offset());
            if let Err(error) = explicit.add_partition_offset(topic, partition.number, offset) {
                self.fail(&error, "add");
            }
            self.desk.intake_mut().assign(partition, start);
        }
        self.open_queues(&explicit);
        self.accept(&explicit);
        self.update_share();
        self.note_assignment();
    }

    fn accept(&self, list: &TopicPartitionList) {
        if let Err(error) = self.consumer.incremental_assign(list) {
            self.fail(&error, "assign");
        }
    }

    /// Where each partition goes on; `None` if it is to stop before the broker has said.
    fn starts(&self, list: &TopicPartitionList) -> Option<Vec<(Partition, Start)>> {
        let committed = self.ask("committed offsets", |reader| {
            let answer = reader.consumer.committed_offsets(list.clone(), QUESTION)?;
            answer.elements().iter().try_for_each(TopicPartitionListElem::error)?;
            Ok(answer)
        })?;
        let mut starts = Vec::with_capacity(committed.count());
        for element in committed.elements() {
            let start = self.start_of(&element)?;
            if let Some(partition) = self.partition(element.topic(), element.partition()) {
                starts.push((partition, start));
            }
        }
        Some(starts)
    }

    /// What the group has committed for a partition; without a commit, the beginning of its log.
    fn start_of(&self, element: &TopicPartitionListElem<'_>) -> Option<Start> {
        if let Offset::Offset(offset) = element.offset() {
            return Some(Start::Committed(Progress { offset, metadata: metadata_of(element) }));
        }
        let (topic, number) = (element.topic(), element.partition());
        let (low, _) = self.ask("the beginning of the log", |reader| {
            reader.consumer.fetch_watermarks(topic, number, QUESTION)
        })?;
        Some(Start::At(low))
    }

    /// Asks the broker until it answers. An error is never taken for "there is none".
    fn ask<T>(&self, what: &str, question: impl Fn(&Self) -> Result<T, KafkaError>) -> Option<T> {
        while !self.shutdown.is_asked() {
            match question(self) {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    warn!(%error, what, "the broker does not answer; it is asked again");
                    thread::sleep(PAUSE);
                }
            }
        }
        None
    }

    /// Gives each partition a queue of its own. Before it is read: what librdkafka fetched without one would go to the
    /// consumer's own queue, from where nothing can be left unread, and newer records would overtake it.
    fn open_queues(&mut self, list: &TopicPartitionList) {
        for element in list.elements() {
            let (topic, number) = (element.topic(), element.partition());
            let Some(partition) = self.partition(topic, number) else { continue };
            if let Some(mut queue) = self.consumer.split_partition_queue(topic, number) {
                let waker = self.waker.clone();
                queue.set_nonempty_callback(move || waker.wake());
                self.queues.insert(partition, queue);
            }
        }
    }

    /// A record came past its partition's queue. Nobody knows what it has overtaken: the partition goes back to what is
    /// committed.
    pub(super) fn read_anew(&mut self, topic: &str, number: i32) {
        let watermark = |partition| self.desk.intake().watermark(partition);
        if self.partition(topic, number).and_then(watermark).is_none() {
            // Nothing of ours: whoever has the partition reads it.
            return;
        }
        warn!(
            topic,
            partition = number,
            "a record came out of its order; its partition is read anew"
        );
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, number);
        self.lose(&list);
        self.assign(&list);
    }

    pub(super) fn revoke(&mut self, list: &TopicPartitionList) {
        self.metrics.kafka_rebalances_total.with_label_values(&["revoked"]).inc();
        let partitions = self.partitions(list);
        failpoint::kill("in-rebalance");
        self.give_up(&partitions, REVOKE_GRACE);
        self.unassign(list);
    }

    pub(super) fn lose(&mut self, list: &TopicPartitionList) {
        self.metrics.kafka_rebalances_total.with_label_values(&["lost"]).inc();
        self.abandon(&self.partitions(list));
        self.unassign(list);
    }

    /// Forgets partitions that somebody else may have already.
    pub(super) fn abandon(&mut self, partitions: &[Partition]) {
        warn!(source = ?self.source, partitions = partitions.len(), "partitions were lost");
        let epochs = self.epochs(partitions);
        self.desk.outlet().broadcast(|| Input::Abandon(epochs.clone()));
        self.forget(partitions);
    }

    fn unassign(&mut self, list: &TopicPartitionList) {
        if let Err(error) = self.consumer.incremental_unassign(list) {
            self.fail(&error, "unassign");
            // Without an answer librdkafka would wait for ever, and its end with it.
            if let Err(error) = self.consumer.unassign() {
                self.fail(&error, "unassign everything");
            }
        }
        self.update_share();
        self.note_assignment();
    }

    /// Ends what these partitions have in memory, within a grace, and commits it.
    pub(super) fn give_up(&mut self, partitions: &[Partition], grace: Duration) {
        self.ask_for_deleted(partitions);
        for partition in partitions {
            self.queues.remove(partition);
            self.desk.drop_head(*partition);
        }
        let epochs = self.epochs(partitions);
        self.desk.outlet().broadcast(|| Input::Release(epochs.clone()));
        let end = self.clock.now() + grace;
        self.drain(partitions, grace.saturating_sub(CUT_OFF_MARGIN));
        let open = self.desk.intake().open_records(partitions);
        if open > 0 {
            warn!(source = ?self.source, records = open, "attempts are cut off and parked; what has arrived is repeated");
            self.desk.outlet().broadcast(|| Input::CutOff(epochs.clone()));
            self.drain(partitions, self.clock.until(end).max(CUT_OFF_MARGIN));
        }
        let open = self.desk.intake().open_records(partitions);
        if open > 0 {
            warn!(source = ?self.source, records = open, "given up with work open; it is repeated");
        }
        self.commit_last(partitions);
        self.forget(partitions);
    }

    fn drain(&mut self, partitions: &[Partition], time: Duration) {
        let end = self.clock.now() + time;
        while self.desk.intake().open_records(partitions) > 0 {
            let left = self.clock.until(end);
            match self.settlements.recv_timeout(left) {
                Ok(batch) => batch.into_iter().for_each(|s| self.desk.settle(s)),
                Err(_) => return,
            }
        }
    }

    /// Commits what is settled of partitions that are given up, until the broker takes it.
    ///
    /// A group on the move refuses commits of the generation that ends. Then the move is gone along with, until there
    /// is a new generation: without this commit, the next owner would repeat what is settled.
    fn commit_last(&mut self, partitions: &[Partition]) {
        let end = self.clock.now() + LAST_COMMIT;
        loop {
            // One that was under way before.
            self.take_commit_result(LAST_COMMIT);
            let mut commits = self.desk.intake().commits();
            commits.retain(|commit| partitions.contains(&commit.partition));
            if commits.is_empty() {
                return;
            }
            if self.clock.now() >= end {
                let partitions = commits.len();
                return warn!(
                    partitions,
                    "given up without a last commit; what it held is repeated"
                );
            }
            self.committer.commit(commits);
            if !self.take_commit_result(LAST_COMMIT) {
                self.go_along();
            }
        }
    }

    /// Lets the group move on for a moment. While stopping, nobody else answers its rebalances.
    fn go_along(&mut self) {
        let _ = self.consumer.poll(MOMENT);
        if !self.shutdown.is_asked() {
            return;
        }
        match self.context.take_rebalance() {
            Some(Rebalance::Assign(list)) => self.accept(&list),
            Some(Rebalance::Revoke(list)) => {
                let partitions = self.partitions(&list);
                let mut commits = self.desk.intake().commits();
                commits.retain(|commit| partitions.contains(&commit.partition));
                if !commits.is_empty() {
                    self.committer.commit(commits);
                    self.take_commit_result(LAST_COMMIT);
                }
                self.forget(&partitions);
                self.unassign(&list);
            }
            Some(Rebalance::Lost(list)) => {
                self.forget(&self.partitions(&list));
                self.unassign(&list);
            }
            None => {}
        }
    }

    fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.queues.remove(partition);
            self.desk.drop_head(*partition);
            self.desk.intake_mut().forget(*partition);
            self.forget_lag(*partition);
        }
    }

    /// Leaves the group; nothing is read any more that would be worth a drain.
    ///
    /// `owns` says whether partitions were assigned, and so are still to be revoked. A member that is just joining may
    /// be given some at this very moment: librdkafka waits for the answer to that too, and its end with it.
    pub(super) fn leave(&mut self, owns: bool) {
        if self.is_static {
            // It stays a member (KIP-345): its partitions wait for its return until the session runs out, and nobody
            // is rebalanced. Librdkafka tells the group nothing when such a member is closed, but an unsubscribe would.
            self.context.close();
            return info!(source = ?self.source, "the consumer stops and keeps its place in the group");
        }
        self.consumer.unsubscribe();
        let revoked_by = self.clock.now() + LEAVE;
        // Librdkafka 2.12 forgets to tell the group when it is closed with an unassign unfinished; then the partitions
        // would stand still for the whole session time-out. Measured: 10 of 145 without this wait, none with it.
        let mut served_until = self.clock.now() + FAREWELL;
        let mut owns = owns;
        while self.clock.now() < if owns { revoked_by } else { served_until } {
            // What was fetched meanwhile stays in the log for the next owner.
            let _ = self.consumer.poll(MOMENT);
            match self.context.take_rebalance() {
                Some(Rebalance::Assign(list)) => {
                    self.accept(&list);
                    owns = true;
                }
                Some(Rebalance::Revoke(list) | Rebalance::Lost(list)) => {
                    self.unassign(&list);
                    owns = false;
                    served_until = self.clock.now() + FAREWELL;
                }
                None => {}
            }
        }
        self.context.close();
        info!(source = ?self.source, "the consumer has left its group");
    }

    pub(super) fn update_share(&mut self) {
        let owned = u32::try_from(self.desk.intake().assignment().count()).unwrap_or(u32::MAX);
        if let Some(share) = self.share.update(self.source, owned, self.clock.now()) {
            self.desk.outlet().broadcast(|| Input::Share(share));
        }
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        list.elements()
            .iter()
            .filter_map(|element| self.partition(element.topic(), element.partition()))
            .collect()
    }

    fn epochs(&self, partitions: &[Partition]) -> Arc<[(Partition, Epoch)]> {
        self.desk.intake().assignment().filter(|(p, _)| partitions.contains(p)).collect()
    }
}

/// The metadata of a commit; what is not text is nothing that we wrote. Rdkafka can only say so by a panic.
fn metadata_of(element: &TopicPartitionListElem<'_>) -> String {
    catch_unwind(AssertUnwindSafe(|| element.metadata().to_owned())).unwrap_or_default()
}
