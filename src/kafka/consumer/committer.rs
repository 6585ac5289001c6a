//! Commits on a thread of its own, so that polling never waits for the broker.
//!
//! While a join is pending the broker answers no commit of the member; a commit on the polling thread would stand
//! still with it. There is one commit at a time, in order: the last one before partitions are given up cannot be
//! overtaken by an earlier one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use super::context::GroupConsumer;
use super::waker::Waker;
use crate::engine::event::Partition;
use crate::engine::intake::Commit;
use crate::failpoint;

/// The committing thread, seen from the polling one.
#[derive(Debug)]
pub(super) struct Committer {
    requests: Option<SyncSender<Vec<Commit>>>,
    results: Receiver<CommitResult>,
    is_busy: bool,
    thread: Option<JoinHandle<()>>,
}

/// What the broker said.
#[derive(Debug)]
pub(super) struct CommitResult {
    /// What was to be committed.
    pub(super) commits: Vec<Commit>,
    /// Whether it was.
    pub(super) result: Result<(), KafkaError>,
}

impl Committer {
    /// Starts the thread. `topics` are the names that partitions' topics stand for.
    pub(super) fn start(
        consumer: &Arc<GroupConsumer>,
        topics: Vec<String>,
        waker: Waker,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = sync_channel(1);
        let (outbox, results) = sync_channel(1);
        let worker = Worker { consumer: Arc::clone(consumer), topics, keeps_metadata: true };
        let thread = thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || worker.run(&inbox, &outbox, &waker))?;
        Ok(Self { requests: Some(requests), results, is_busy: false, thread: Some(thread) })
    }

    /// Whether a commit is under way.
    pub(super) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Commits, in the background; only when none is under way.
    pub(super) fn commit(&mut self, commits: Vec<Commit>) {
        if let Some(requests) = &self.requests
            && requests.try_send(commits).is_ok()
        {
            self.is_busy = true;
        }
    }

    /// The result of the commit under way, waiting for it at most so long.
    pub(super) fn result(&mut self, timeout: Duration) -> Option<CommitResult> {
        if !self.is_busy {
            return None;
        }
        match self.results.recv_timeout(timeout) {
            Ok(result) => {
                self.is_busy = false;
                Some(result)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                self.is_busy = false;
                None
            }
        }
    }
}

impl Drop for Committer {
    /// Lets go of the consumer: its own end waits for everyone who holds it.
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    consumer: Arc<GroupConsumer>,
    topics: Vec<String>,
    /// Off once the broker has refused metadata of our length.
    keeps_metadata: bool,
}

impl Worker {
    fn run(
        mut self,
        inbox: &Receiver<Vec<Commit>>,
        outbox: &SyncSender<CommitResult>,
        waker: &Waker,
    ) {
        while let Ok(commits) = inbox.recv() {
            let result = self.commit(&commits);
            if outbox.send(CommitResult { commits, result }).is_err() {
                return;
            }
            waker.wake();
        }
    }

    fn commit(&mut self, commits: &[Commit]) -> Result<(), KafkaError> {
        failpoint::kill("before-commit");
        let result = self.consumer.commit(&self.list(commits), CommitMode::Sync);
        let Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::OffsetMetadataTooLarge)) = result
        else {
            return result;
        };
        warn!(
            "the broker's offset.metadata.max.bytes is below 4096: after a crash more will be repeated"
        );
        self.keeps_metadata = false;
        self.consumer.commit(&self.list(commits), CommitMode::Sync)
    }

    fn list(&self, commits: &[Commit]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(commits.len());
        for Commit { partition, progress, .. } in commits {
            let mut element = list.add_partition(self.topic(*partition), partition.number);
            // With metadata, the record at the watermark is open.
            let is_early = !progress.metadata.is_empty() && failpoint::is_planted("commit-early");
            element
                .set_offset(Offset::Offset(progress.offset + i64::from(is_early)))
                .expect("an offset that was read can be committed");
            if self.keeps_metadata && !progress.metadata.is_empty() {
                element.set_metadata(&progress.metadata);
            }
        }
        list
    }

    fn topic(&self, partition: Partition) -> &str {
        &self.topics[usize::from(partition.topic)]
    }
}
